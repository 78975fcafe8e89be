//! A secret as rows of a table, and single fields of it.

use client::{SecretAuth, SecretReply, WrapInfo};
use serde_json::{Number, Value};

use super::durations::{go_time, human_value, names_a_duration};
use super::value::{go_quoted, go_value};

type Row = (String, String);

/// The rows of a secret, none if it holds nothing.
#[must_use]
pub fn rows(secret: &SecretReply) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    if is_positive(&secret.lease_duration) {
        let duration = human_value(&Value::Number(secret.lease_duration.clone()));
        if secret.lease_id.is_empty() {
            // No lease, so the number only says how often reading again makes sense.
            out.push(("refresh_interval".to_owned(), duration));
        } else {
            out.push(("lease_id".to_owned(), secret.lease_id.clone()));
            out.push(("lease_duration".to_owned(), duration));
            out.push(("lease_renewable".to_owned(), secret.renewable.to_string()));
        }
    }
    if let Some(auth) = &secret.auth {
        match &auth.mfa_requirement {
            Some(Value::Object(requirement)) => out.extend(mfa_rows(requirement)),
            _ => out.extend(auth_rows(auth)),
        }
    }
    if let Some(wrap) = &secret.wrap_info {
        out.extend(wrap_rows(wrap));
    }
    for (key, value) in secret.data.iter().flatten() {
        let text = if names_a_duration(key) { human_value(value) } else { go_value(value) };
        out.push((key.clone(), text));
    }
    out
}

fn is_positive(n: &Number) -> bool {
    n.as_f64().is_some_and(|f| f > 0.0)
}

fn token_duration(auth: &SecretAuth) -> String {
    if is_positive(&auth.lease_duration) { human_value(&Value::Number(auth.lease_duration.clone())) } else { "∞".to_owned() }
}

fn auth_rows(auth: &SecretAuth) -> Vec<Row> {
    let list = |names: &Option<Vec<String>>| go_quoted(names.as_deref().unwrap_or_default());
    let mut out = vec![
        ("token".to_owned(), auth.client_token.clone()),
        ("token_accessor".to_owned(), auth.accessor.clone()),
        ("token_duration".to_owned(), token_duration(auth)),
        ("token_renewable".to_owned(), auth.renewable.to_string()),
        ("token_policies".to_owned(), list(&auth.token_policies)),
        ("identity_policies".to_owned(), list(&auth.identity_policies)),
        ("policies".to_owned(), list(&auth.policies)),
    ];
    for (key, value) in auth.metadata.iter().flatten() {
        out.push((format!("token_meta_{key}"), go_value(value)));
    }
    out
}

fn mfa_rows(requirement: &api_types::Map) -> Vec<Row> {
    let mut out = vec![("mfa_request_id".to_owned(), requirement.get("mfa_request_id").map(go_value).unwrap_or_default())];
    for (name, constraint) in requirement.get("mfa_constraints").and_then(Value::as_object).into_iter().flatten() {
        for method in constraint.get("any").and_then(Value::as_array).into_iter().flatten() {
            let word = |key: &str| method.get(key).map(go_value).unwrap_or_default();
            let prefix = format!("mfa_constraint_{name}_{}", word("type"));
            out.push((format!("{prefix}_id"), word("id")));
            out.push((format!("{prefix}_uses_passcode"), word("uses_passcode")));
        }
    }
    out
}

fn wrap_rows(wrap: &WrapInfo) -> Vec<Row> {
    let mut out = vec![
        ("wrapping_token:".to_owned(), wrap.token.clone()),
        ("wrapping_accessor:".to_owned(), wrap.accessor.clone()),
        ("wrapping_token_ttl:".to_owned(), human_value(&Value::Number(wrap.ttl.clone()))),
        ("wrapping_token_creation_time:".to_owned(), go_time(&wrap.creation_time)),
        ("wrapping_token_creation_path:".to_owned(), wrap.creation_path.clone()),
    ];
    if !wrap.wrapped_accessor.is_empty() {
        out.push(("wrapped_accessor:".to_owned(), wrap.wrapped_accessor.clone()));
    }
    out
}

/// The value of `-field`: names of the token and of the wrapping first, then `data`.
#[must_use]
pub fn field(secret: &SecretReply, name: &str) -> Option<Value> {
    let list = |names: &Option<Vec<String>>| Value::from(names.clone().unwrap_or_default());
    if let Some(wrap) = &secret.wrap_info {
        let found = match name {
            "wrapping_token" => Some(Value::from(wrap.token.clone())),
            "wrapping_accessor" => Some(Value::from(wrap.accessor.clone())),
            "wrapping_token_ttl" => Some(Value::Number(wrap.ttl.clone())),
            "wrapping_token_creation_time" => Some(Value::from(wrap.creation_time.clone())),
            "wrapping_token_creation_path" => Some(Value::from(wrap.creation_path.clone())),
            "wrapped_accessor" => Some(Value::from(wrap.wrapped_accessor.clone())),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    if let Some(auth) = &secret.auth {
        let found = match name {
            "token" => Some(Value::from(auth.client_token.clone())),
            "token_accessor" => Some(Value::from(auth.accessor.clone())),
            "token_duration" => Some(Value::Number(auth.lease_duration.clone())),
            "token_renewable" => Some(Value::from(auth.renewable)),
            "token_policies" => Some(list(&auth.token_policies)),
            "identity_policies" => Some(list(&auth.identity_policies)),
            "policies" => Some(list(&auth.policies)),
            meta => auth.metadata.as_ref().and_then(|m| m.get(meta.strip_prefix("token_meta_")?)).cloned(),
        };
        if found.is_some() {
            return found;
        }
    }
    match name {
        "refresh_interval" if secret.get(name).is_none() => Some(Value::Number(secret.lease_duration.clone())),
        "lease_id" | "lease_duration" | "lease_renewable" if secret.get(name).is_none() && !secret.lease_id.is_empty() => {
            Some(match name {
                "lease_id" => Value::from(secret.lease_id.clone()),
                "lease_duration" => Value::Number(secret.lease_duration.clone()),
                _ => Value::from(secret.renewable),
            })
        }
        "data" => secret.get(name).cloned().or_else(|| secret.data.clone().map(Value::Object)),
        _ => secret.get(name).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::key_values;

    fn secret(text: &str) -> SecretReply {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_token() {
        let s = secret(
            r#"{"auth":{"client_token":"hvs.x","accessor":"acc","policies":["default","p"],"token_policies":["default","p"],
                "metadata":{"username":"bob"},"lease_duration":0,"renewable":true}}"#,
        );
        let text = "\
Key                    Value
---                    -----
token                  hvs.x
token_accessor         acc
token_duration         ∞
token_renewable        true
token_policies         [\"default\" \"p\"]
identity_policies      []
policies               [\"default\" \"p\"]
token_meta_username    bob";
        assert_eq!(key_values(rows(&s)), text);
        assert_eq!(field(&s, "token"), Some(Value::from("hvs.x")));
        assert_eq!(field(&s, "token_meta_username"), Some(Value::from("bob")));
        assert_eq!(field(&s, "nothing"), None);
    }

    #[test]
    fn a_wrapped_answer() {
        let s = secret(
            r#"{"wrap_info":{"token":"hvs.w","accessor":"acc","ttl":60,"creation_time":"2026-11-24T12:00:00.25Z","creation_path":"secret/data/x"}}"#,
        );
        let text = "\
Key                              Value
---                              -----
wrapping_token:                  hvs.w
wrapping_accessor:               acc
wrapping_token_ttl:              1m
wrapping_token_creation_time:    2026-11-24 12:00:00.25 +0000 UTC
wrapping_token_creation_path:    secret/data/x";
        assert_eq!(key_values(rows(&s)), text);
        assert_eq!(field(&s, "wrapping_token_ttl"), Some(Value::from(60)));
    }

    #[test]
    fn a_lease_and_data() {
        let s = secret(
            r#"{"lease_id":"db/creds/r/1","lease_duration":3600,"renewable":true,
                "data":{"ttl":7200,"n":1.50,"e":"","z":null,"l":["a",1],"m":{"k":"v"}}}"#,
        );
        let text = "\
Key                Value
---                -----
lease_id           db/creds/r/1
lease_duration     1h
lease_renewable    true
e                  n/a
l                  [a 1]
m                  map[k:v]
n                  1.50
ttl                2h
z                  <nil>";
        assert_eq!(key_values(rows(&s)), text);
        let v1 = secret(r#"{"lease_id":"","lease_duration":2764800,"data":{"a":"b"}}"#);
        assert_eq!(rows(&v1).first(), Some(&("refresh_interval".to_owned(), "768h".to_owned())));
    }

    #[test]
    fn a_second_factor_is_owed() {
        let s = secret(
            r#"{"auth":{"mfa_requirement":{"mfa_request_id":"id","mfa_constraints":{"c":{"any":[{"type":"totp","id":"m","uses_passcode":true}]}}}}}"#,
        );
        assert_eq!(
            rows(&s),
            [("mfa_request_id", "id"), ("mfa_constraint_c_totp_id", "m"), ("mfa_constraint_c_totp_uses_passcode", "true")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
        );
    }
}
