//! The least policy text that adds capabilities to one path and changes nothing else.
//!
//! Patterns do not add up: an exact stanza takes the place of the pattern that decided before. So it repeats what that pattern
//! allowed there, with its conditions.

use api_types::duration::go_string;
use serde_json::Value;

use crate::acl::Acl;
use crate::capability::Capabilities;
use crate::params::{Conditions, ValueLists};
use crate::pattern::Pattern;

/// HCL that allows `needed` on `path`.
pub(crate) fn least(acl: &Acl, path: &str, list: bool, needed: Capabilities) -> String {
    if let Some((text, capabilities, _)) = acl.found(path, list)
        && (text == path || (list && path.strip_suffix('/') == Some(text)))
        && matches!(Pattern::new(text), Pattern::Exact(_))
        && !capabilities.is_deny()
    {
        // Stanzas for the same path add up.
        return stanza(text, needed, None);
    }
    let mut out = at(acl, path, needed);
    let folder = format!("{path}/");
    if !path.ends_with('/') && changes_lists(acl, path, &folder, needed) {
        out.push('\n');
        out.push_str(&at(acl, &folder, Capabilities::NONE));
    }
    out
}

/// A stanza that repeats what is allowed at `path` and adds `needed`.
fn at(acl: &Acl, path: &str, needed: Capabilities) -> String {
    let found = acl.found(path, false);
    let kept = found.map_or(Capabilities::NONE, |(_, c, _)| c).without(Capabilities::LIST).without(Capabilities::DENY);
    let conditions = found.and_then(|(_, _, conditions)| conditions);
    stanza(path, kept.with(listable(acl, path)).with(needed), conditions)
}

/// The capability to list a path, if it is there.
fn listable(acl: &Acl, path: &str) -> Capabilities {
    acl.found(path, true).map_or(Capabilities::NONE, |(_, c, _)| c).and(Capabilities::LIST)
}

/// Whether an exact stanza for `path` would decide lists of `folder`, and otherwise than before.
fn changes_lists(acl: &Acl, path: &str, folder: &str, needed: Capabilities) -> bool {
    let exact = acl.found(folder, true).is_some_and(|(text, ..)| text == folder);
    !exact && listable(acl, folder) != listable(acl, path).with(needed.and(Capabilities::LIST))
}

fn stanza(path: &str, capabilities: Capabilities, conditions: Option<&Conditions>) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let names: Vec<String> = capabilities.names().into_iter().map(quoted).collect();
    let mut out = format!("path {} {{\n  capabilities = [{}]\n", quoted(path), names.join(", "));
    if let Some(conditions) = conditions {
        lists(&mut out, "allowed_parameters", &conditions.allowed);
        lists(&mut out, "denied_parameters", &conditions.denied);
        if !conditions.required.is_empty() {
            let names: Vec<String> = conditions.required.iter().map(|n| quoted(n)).collect();
            out.push_str(&format!("  required_parameters = [{}]\n", names.join(", ")));
        }
        for (key, ttl) in [("min_wrapping_ttl", conditions.min_wrap_ttl), ("max_wrapping_ttl", conditions.max_wrap_ttl)] {
            if !ttl.is_zero() {
                out.push_str(&format!("  {key} = \"{}\"\n", go_string(ttl)));
            }
        }
    }
    out.push_str("}\n");
    out
}

fn lists(out: &mut String, key: &str, lists: &ValueLists) {
    if lists.is_empty() {
        return;
    }
    out.push_str(&format!("  {key} = {{\n"));
    for (name, values) in lists {
        let values: Vec<String> = values.iter().map(Value::to_string).collect();
        out.push_str(&format!("    {} = [{}]\n", Value::from(name.as_str()), values.join(", ")));
    }
    out.push_str("  }\n");
}
