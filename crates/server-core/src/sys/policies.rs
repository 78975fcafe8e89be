//! `sys/policies/acl`, and `sys/policy` as it was called first: the texts of access policies.
//!
//! A text is parsed when it is written; what does not parse is not stored. The next request of a token sees the change.

use api_types::{Map, Operation};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response, Route};
use policy::{CONTROL_GROUP_POLICY, Policy};
use serde_json::json;
use storage::{Page, View};

use super::SystemEngine;
use crate::policies::{POLICY_ROWS, PolicyRow};

/// Policies that nobody may change. Those of the server's own tokens are not listed either.
const IMMUTABLE: [&str; 3] = ["root", "response-wrapping", "control-group"];
const UNLISTED: [&str; 2] = ["response-wrapping", "control-group"];

const NAME: Field = Field::new("name", FieldKind::String, "Name of the policy; kept in lower case.");
const POLICY: Field = Field::new("policy", FieldKind::String, "The rules, as HCL or JSON, also in base64.");
const ACL: &[Field] = &[NAME, POLICY];
const OLD: &[Field] = &[NAME, POLICY, Field::new("rules", FieldKind::String, "The old name of policy.")];
pub(super) const LISTING: &[Field] = &[
    Field::new("after", FieldKind::String, "Only names that come after this one."),
    Field::new("limit", FieldKind::Int, "At most this many names."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("policies/acl/?", LISTING, "List the access policies.").on(Operation::List, "List the policies.", list),
        Route::new("policies/acl/{name...}", ACL, "Read, write or delete an access policy.")
            .on(Operation::Read, "Read the policy.", |_, c| read(c, "policy"))
            .on(Operation::Update, "Write the policy.", write)
            .on(Operation::Delete, "Delete the policy.", delete),
        Route::new("policy/?", LISTING, "List the access policies.").on(Operation::Read, "List the policies.", list_twice).on(
            Operation::List,
            "List the policies.",
            list_twice,
        ),
        Route::new("policy/{name...}", OLD, "Read, write or delete an access policy.")
            .on(Operation::Read, "Read the policy.", |_, c| read(c, "rules"))
            .on(Operation::Update, "Write the policy.", write)
            .on(Operation::Delete, "Delete the policy.", delete),
    ]
}

/// The part of a listing that `after` and `limit` ask for.
pub(super) fn page_of(names: Vec<String>, fields: &Fields) -> Vec<String> {
    let after = fields.str("after");
    let limit = fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usize::MAX);
    names.into_iter().filter(|n| after.is_empty() || n.as_str() > after).take(limit).collect()
}

/// All names below a prefix, also those with slashes, sorted.
pub(super) fn names_below(view: &mut View<'_>, prefix: &str) -> Result<Vec<String>, EngineError> {
    let mut names = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for name in view.list(&format!("{prefix}{folder}"), &Page::default())? {
            let full = format!("{folder}{name}");
            if name.ends_with('/') { folders.push(full) } else { names.push(full) }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A text that may have been sent in base64, which no policy looks like.
pub(super) fn plain_text(sent: &str) -> String {
    let decoded = BASE64_STANDARD.decode(sent).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| sent.to_owned())
}

/// Whether a name can be a storage path. Others cannot exist.
pub(super) fn is_name(name: &str) -> bool {
    name.split('/').all(|s| !s.is_empty() && s != "." && s != "..")
}

fn all(call: &mut Call<'_>) -> Result<Vec<String>, EngineError> {
    let mut names = names_below(&mut call.view, POLICY_ROWS)?;
    names.retain(|n| !IMMUTABLE.contains(&n.as_str()) && !UNLISTED.contains(&n.as_str()));
    let after = call.fields.str("after").to_owned();
    if after == "root" {
        return Ok(Vec::new());
    }
    // Vault puts it at the end whatever comes before it.
    let limit = call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(usize::MAX);
    let mut page: Vec<String> = names.into_iter().filter(|n| after.is_empty() || *n > after).take(limit).collect();
    if page.len() < limit {
        page.push("root".to_owned());
    }
    Ok(page)
}

fn list(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(all(call)?)))
}

fn list_twice(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let names = all(call)?;
    Ok(Some(Response::json(json!({ "keys": names, "policies": names }))))
}

fn name(fields: &Fields) -> String {
    fields.str("name").to_lowercase()
}

fn read(call: &mut Call<'_>, key: &str) -> Outcome {
    let name = name(&call.fields);
    let text = match name.as_str() {
        "root" => String::new(),
        "control-group" => CONTROL_GROUP_POLICY.to_owned(),
        other if !is_name(other) => return Ok(None),
        other => match call.view.get_json::<PolicyRow>(&format!("{POLICY_ROWS}{other}"))? {
            Some(row) => row.text.clone(),
            None => return Ok(None),
        },
    };
    let mut data = Map::new();
    data.insert("name".into(), name.into());
    data.insert(key.to_owned(), text.into());
    Ok(Some(Response::data(data)))
}

fn write(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let mut answer = Response::default();
    let name = name(&call.fields);
    if name != call.fields.str("name") {
        answer.warnings.push(format!("policy name was converted to {name}"));
    }
    if !is_name(&name) {
        return Err(EngineError::invalid("policy name must be provided in the URL"));
    }
    let mut sent = call.fields.str("policy");
    if sent.is_empty() {
        sent = call.fields.str("rules");
        if !sent.is_empty() {
            answer.warnings.push("'rules' is deprecated, please use 'policy' instead".to_owned());
        }
    }
    if sent.is_empty() {
        return Err(EngineError::invalid("'policy' parameter not supplied or empty"));
    }
    let text = plain_text(sent);
    Policy::parse(&name, &text).map_err(|e| EngineError::Invalid(e.to_string()))?;
    if IMMUTABLE.contains(&name.as_str()) {
        return Err(EngineError::Invalid(format!("cannot update {name:?} policy")));
    }
    call.view.put_json(&format!("{POLICY_ROWS}{name}"), &PolicyRow { name, text })?;
    Ok((!answer.warnings.is_empty()).then_some(answer))
}

fn delete(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let name = name(&call.fields);
    if name == "default" {
        return Err(EngineError::invalid("cannot delete default policy"));
    }
    if IMMUTABLE.contains(&name.as_str()) {
        return Err(EngineError::Invalid(format!("cannot delete {name:?} policy")));
    }
    if is_name(&name) {
        call.view.delete(&format!("{POLICY_ROWS}{name}"))?;
    }
    Ok(None)
}
