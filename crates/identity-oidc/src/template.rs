//! Claims from templates: JSON text with `{{…}}` in places of values, filled in from the entity.
//!
//! What is filled in is always a whole JSON value that this room wrote (class B): a name with quotes or braces stays text, and is
//! never read as a template again. Reserved claims cannot come from a template, neither when it is written nor when it is filled.

use api_types::{Map, duration};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use policy::{AliasFacts, Identity};
use secret::Time;
use serde_json::{Value, json};

use crate::limits::TEMPLATE_MAX_BYTES;

/// Claims that this server alone writes, in the order Vault names them.
const RESERVED: [&str; 10] = ["iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"];

/// The template behind the `template` field, which may be base64 of it. The error is a 400's text.
pub(crate) fn accept(text: &str) -> Result<String, String> {
    if text.len() > TEMPLATE_MAX_BYTES {
        return Err(format!("template is too long (limit: {TEMPLATE_MAX_BYTES} bytes)"));
    }
    let decoded = BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let template = decoded.unwrap_or_else(|| text.to_owned());
    for key in claims(&template, &Identity::default(), Time::default())?.keys() {
        if RESERVED.contains(&key.as_str()) {
            return Err(format!("top level key {key:?} not allowed. Restricted keys: {}", RESERVED.join(", ")));
        }
    }
    Ok(template)
}

/// The claims of a stored template for an entity; reserved ones are dropped.
pub(crate) fn fill(template: &str, who: &Identity, now: Time) -> Result<Map, String> {
    let mut map = claims(template, who, now)?;
    map.retain(|key, _| !RESERVED.contains(&key.as_str()));
    Ok(map)
}

/// Top-level keys of a stored template.
pub(crate) fn keys(template: &str) -> Vec<String> {
    claims(template, &Identity::default(), Time::default()).map(|m| m.keys().cloned().collect()).unwrap_or_default()
}

fn claims(template: &str, who: &Identity, now: Time) -> Result<Map, String> {
    if template.is_empty() {
        return Ok(Map::new());
    }
    let text = substitute(template, who, now).map_err(|why| format!("error parsing template: {why}"))?;
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("error parsing template JSON: expected an object".to_owned()),
        Err(e) => Err(format!("error parsing template JSON: invalid JSON at line {}, column {}", e.line(), e.column())),
    }
}

/// One pass from left to right; what was filled in is not looked at again.
fn substitute(template: &str, who: &Identity, now: Time) -> Result<String, String> {
    const UNBALANCED: &str = "unbalanced templating characters";
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once("{{") {
        let (selector, after) = after.split_once("}}").ok_or(UNBALANCED)?;
        if literal.contains("}}") || selector.contains("{{") {
            return Err(UNBALANCED.to_owned());
        }
        out.push_str(literal);
        out.push_str(&value(selector.trim(), who, now)?.to_string());
        rest = after;
    }
    if rest.contains("}}") {
        return Err(UNBALANCED.to_owned());
    }
    out.push_str(rest);
    Ok(out)
}

fn value(selector: &str, who: &Identity, now: Time) -> Result<Value, String> {
    if let Some(rest) = selector.strip_prefix("identity.entity.") {
        return entity(rest, who);
    }
    if selector.starts_with("identity.groups.") {
        return Err("string contains groups template directives but no groups were provided".to_owned());
    }
    match selector.strip_prefix("time.") {
        Some(rest) => time(rest, now),
        None => Err(nothing()),
    }
}

fn entity(selector: &str, who: &Identity) -> Result<Value, String> {
    Ok(match selector {
        "id" => json!(who.id),
        "name" => json!(who.name),
        "metadata" => json!(who.metadata),
        "groups.names" => list(who.groups.iter().map(|g| g.name.as_str())),
        "groups.ids" => list(who.groups.iter().map(|g| g.id.as_str())),
        _ => match (selector.strip_prefix("metadata."), selector.strip_prefix("aliases.")) {
            (Some(key), _) => json!(who.metadata.get(key).map(String::as_str).unwrap_or_default()),
            (_, Some(rest)) => {
                let (accessor, rest) = rest.split_once('.').ok_or("invalid alias selector")?;
                let mut on_mount = who.aliases.iter().filter(|a| a.mount_accessor == accessor);
                // Two on one mount would leave it open who is meant (CVE-2021-43998).
                let found = on_mount.next().filter(|_| on_mount.next().is_none());
                alias(rest, found.unwrap_or(&AliasFacts::default()))?
            }
            _ => return Err(nothing()),
        },
    })
}

fn alias(selector: &str, found: &AliasFacts) -> Result<Value, String> {
    Ok(match selector {
        "id" => json!(found.id),
        "name" => json!(found.name),
        "metadata" => json!(found.metadata),
        "custom_metadata" => json!(found.custom_metadata),
        _ => {
            let (map, key) = match (selector.strip_prefix("metadata."), selector.strip_prefix("custom_metadata.")) {
                (Some(key), _) => (&found.metadata, key),
                (_, Some(key)) => (&found.custom_metadata, key),
                _ => return Err(nothing()),
            };
            json!(map.get(key).map(String::as_str).unwrap_or_default())
        }
    })
}

fn time(selector: &str, now: Time) -> Result<Value, String> {
    let apart = |text: &str| {
        let parsed = duration::parse(text).ok().and_then(duration::Signed::unsigned);
        parsed.ok_or_else(|| format!("invalid duration: time: invalid duration {text:?}"))
    };
    let at = match (selector.strip_prefix("now.plus."), selector.strip_prefix("now.minus.")) {
        (Some(text), _) => now.plus(apart(text)?),
        (_, Some(text)) => now.minus(apart(text)?),
        _ if selector == "now" => now,
        _ => return Err(format!("invalid time selector {selector:?}")),
    };
    Ok(json!(at.unix()))
}

/// `null` without members, as Vault's clients know it.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { Value::Null } else { json!(names) }
}

fn nothing() -> String {
    "no value could be found for one of the template directives".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::GroupFacts;
    use proptest::prelude::*;

    fn ann() -> Identity {
        Identity {
            id: "e-1".into(),
            name: "ann".into(),
            metadata: [("team".to_owned(), "a\"b".to_owned())].into(),
            aliases: vec![AliasFacts { mount_accessor: "up_1".into(), name: "ann@x".into(), ..AliasFacts::default() }],
            groups: vec![GroupFacts { id: "g-1".into(), name: "dev".into(), ..GroupFacts::default() }],
        }
    }

    #[test]
    fn every_directive_gives_a_value() {
        let now = Time::from_unix(10_000);
        for (selector, want) in [
            ("identity.entity.id", json!("e-1")),
            (" identity.entity.name ", json!("ann")),
            ("identity.entity.metadata", json!({"team": "a\"b"})),
            ("identity.entity.metadata.team", json!("a\"b")),
            ("identity.entity.metadata.none", json!("")),
            ("identity.entity.groups.names", json!(["dev"])),
            ("identity.entity.groups.ids", json!(["g-1"])),
            ("identity.entity.aliases.up_1.name", json!("ann@x")),
            ("identity.entity.aliases.up_2.name", json!("")),
            ("identity.entity.aliases.up_2.metadata", json!({})),
            ("identity.entity.aliases.up_1.custom_metadata.k", json!("")),
            ("time.now", json!(10_000)),
            ("time.now.plus.1h", json!(13_600)),
            ("time.now.minus.1h", json!(6400)),
        ] {
            let map = fill(&format!(r#"{{"x": {{{{{selector}}}}} }}"#), &ann(), now).unwrap();
            assert_eq!(map.get("x"), Some(&want), "{selector}");
        }
        let lonely = fill(r#"{"x": {{identity.entity.groups.names}} }"#, &Identity::default(), now).unwrap();
        assert_eq!(lonely.get("x"), Some(&Value::Null));
    }

    #[test]
    fn what_is_no_template_is_refused_when_written() {
        let no_value = "error parsing template: no value could be found for one of the template directives";
        for (template, want) in [
            ("{bad", "error parsing template JSON: invalid JSON at line 1, column 2"),
            ("[]", "error parsing template JSON: expected an object"),
            (r#"{"a":1}x"#, "error parsing template JSON: invalid JSON at line 1, column 8"),
            (r#"{"a":{{identity.bad}} }"#, no_value),
            (r#"{"a":{{identity.entity.groups}} }"#, no_value),
            (r#"{"a":{{}} }"#, no_value),
            (r#"{"a":{{identity.entity.aliases.a.b}} }"#, no_value),
            (r#"{"a":{{identity.entity.aliases.a}} }"#, "error parsing template: invalid alias selector"),
            (r#"{"a":{{time.nope}} }"#, "error parsing template: invalid time selector \"nope\""),
            (r#"{"a":{{time.now.plus.x}} }"#, "error parsing template: invalid duration: time: invalid duration \"x\""),
            (r#"{"a":{{identity.entity.name }"#, "error parsing template: unbalanced templating characters"),
            (r#"{"a":"}}"}"#, "error parsing template: unbalanced templating characters"),
        ] {
            assert_eq!(accept(template).unwrap_err(), want, "{template}");
        }
        for reserved in RESERVED {
            let text = accept(&format!(r#"{{"{reserved}": 1}}"#)).unwrap_err();
            assert!(text.starts_with(&format!("top level key {reserved:?} not allowed. Restricted keys: iat, aud,")), "{text}");
        }
        assert_eq!(accept(&BASE64_STANDARD.encode(r#"{"a":1}"#)).unwrap(), r#"{"a":1}"#);
        assert!(accept(&format!("{{\"a\":\"{}\"}}", "x".repeat(TEMPLATE_MAX_BYTES))).is_err());
    }

    #[test]
    fn class_b_values_cannot_become_claims() {
        let mut eve = ann();
        for name in [r#"x", "sub": "root"#, r#"x"}, "iss": {"a":"b"#, "{{identity.entity.id}}", "}}", "\\", "\u{0}\n"] {
            eve.name = name.into();
            let map = fill(r#"{"name": {{identity.entity.name}} }"#, &eve, Time::default()).unwrap();
            assert_eq!(map, json!({ "name": name }).as_object().cloned().unwrap());
        }
        // A directive as a whole object, whose keys an operator or auth method chose.
        eve.metadata = [("sub".to_owned(), "root".to_owned()), ("team".to_owned(), "x".to_owned())].into();
        let map = fill("{{identity.entity.metadata}}", &eve, Time::default()).unwrap();
        assert_eq!(map, json!({"team": "x"}).as_object().cloned().unwrap(), "reserved claims are dropped");
    }

    proptest! {
        #[test]
        fn class_b_any_name_stays_one_text(name in "\\PC*", template in "\\PC{0,60}") {
            let eve = Identity { name: name.clone(), ..Identity::default() };
            let map = fill(r#"{"a": {{identity.entity.name}}, "b": 1}"#, &eve, Time::default()).unwrap();
            prop_assert_eq!(map.get("a").and_then(Value::as_str), Some(name.as_str()));
            prop_assert_eq!(map.len(), 2);
            let _ = accept(&template);
        }
    }
}
