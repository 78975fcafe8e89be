//! `bound_claims`: what a role demands of claims. Pure.

use api_types::Map;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::claims::{as_list, find, shown};

/// How the values of `bound_claims` are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BoundClaimsType {
    /// As they are.
    #[default]
    String,
    /// `*` stands for any text.
    Glob,
}

/// Why bound claims are not met. The texts are Vault's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BoundError {
    #[error("claim {0:?} is missing")]
    Missing(String),
    #[error("received claim is not a string, bool, int or list: {0}")]
    Received(String),
    #[error("bound claim is not a string, bool, int or list: {0}")]
    Bound(String),
    #[error("claim {0:?} does not match any associated bound claim values")]
    NoMatch(String),
}

/// Every bound claim must be there and have one of its values. A demand that cannot be met, such as an empty list, is not met.
pub(crate) fn check(bound: &Map, kind: BoundClaimsType, claims: &Map) -> Result<(), BoundError> {
    for (name, wanted) in bound {
        let found = find(claims, name).ok_or_else(|| BoundError::Missing(name.clone()))?;
        let found = as_list(found).ok_or_else(|| BoundError::Received(shown(found)))?;
        let wanted = as_list(wanted).ok_or_else(|| BoundError::Bound(shown(wanted)))?;
        if !found.iter().any(|f| wanted.iter().any(|w| same(w, f, kind))) {
            return Err(BoundError::NoMatch(name.clone()));
        }
    }
    Ok(())
}

/// Kinds do not mix: `3` is not `"3"`.
fn same(wanted: &Value, found: &Value, kind: BoundClaimsType) -> bool {
    match (wanted, found) {
        (Value::String(w), Value::String(f)) if kind == BoundClaimsType::Glob => glob(w, f),
        (Value::String(w), Value::String(f)) => w == f,
        (Value::Bool(w), Value::Bool(f)) => w == f,
        (Value::Number(w), Value::Number(f)) => same_number(w, f),
        _ => false,
    }
}

/// Whole numbers exactly; others as floating-point numbers, so that `3` and `3.0` are one.
fn same_number(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64().is_some_and(|a| Some(a) == b.as_f64()),
    }
}

/// Whether the text is the pattern with something, maybe nothing, for each `*`.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part).filter(|_| !part.is_empty()).or(part.is_empty().then_some(("", text)))
        else {
            return false;
        };
        text = after;
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn verdict(bound: &Value, kind: BoundClaimsType) -> Result<(), String> {
        let (Value::Object(bound), Value::Object(claims)) = (
            bound,
            json!({"mail": "alice@example.test", "groups": ["dev", "ops"], "admin": true, "org": {"unit": "blue", "n": 3}, "empty": ""}),
        ) else {
            panic!("objects")
        };
        check(bound, kind, &claims).map_err(|e| e.to_string())
    }

    #[test]
    fn plain_values_must_be_the_same() {
        let no_match = |name: &str| Err(format!("claim {name:?} does not match any associated bound claim values"));
        for (bound, want) in [
            (json!({}), Ok(())),
            (json!({"mail": "alice@example.test"}), Ok(())),
            (json!({"mail": ["x", "alice@example.test"]}), Ok(())),
            (json!({"groups": "dev"}), Ok(())),
            (json!({"/org/n": 3}), Ok(())),
            (json!({"/org/n": 3.0}), Ok(())),
            (json!({"/org/n": [4, 3]}), Ok(())),
            (json!({"admin": true}), Ok(())),
            (json!({"mail": "Alice@example.test"}), no_match("mail")),
            (json!({"mail": "alice@example.test "}), no_match("mail")),
            (json!({"mail": "*"}), no_match("mail")),
            (json!({"mail": ""}), no_match("mail")),
            (json!({"mail": []}), no_match("mail")),
            (json!({"groups": ["nope"]}), no_match("groups")),
            (json!({"/org/n": "3"}), no_match("/org/n")),
            (json!({"/org/n": 3.1}), no_match("/org/n")),
            (json!({"admin": "true"}), no_match("admin")),
            (json!({"admin": false}), no_match("admin")),
            (json!({"groups": [["dev"]]}), no_match("groups")),
            (json!({"nope": "x"}), Err("claim \"nope\" is missing".into())),
            (json!({"/org/none": "blue"}), Err("claim \"/org/none\" is missing".into())),
            (json!({"mail": "alice@example.test", "nope": 1}), Err("claim \"nope\" is missing".into())),
            (json!({"org": "x"}), Err("received claim is not a string, bool, int or list: map[n:3 unit:blue]".into())),
            (json!({"mail": {"a": 1}}), Err("bound claim is not a string, bool, int or list: map[a:1]".into())),
            (json!({"mail": null}), Err("bound claim is not a string, bool, int or list: <nil>".into())),
        ] {
            assert_eq!(verdict(&bound, BoundClaimsType::String), want, "{bound}");
        }
    }

    #[test]
    fn patterns_match_texts_only() {
        for (bound, want) in [
            (json!({"mail": "*@example.test"}), true),
            (json!({"mail": ["x*", "alice@*"]}), true),
            (json!({"groups": ["*z", "o*s"]}), true),
            (json!({"empty": "*"}), true),
            (json!({"mail": "ALICE*"}), false),
            (json!({"mail": "*@example"}), false),
            (json!({"mail": "alice*alice@example.test"}), false),
            (json!({"mail": ""}), false),
            (json!({"admin": "*"}), false),
            (json!({"/org/n": "*"}), false),
            (json!({"nope": "*"}), false),
            (json!({"org": "*"}), false),
        ] {
            assert_eq!(verdict(&bound, BoundClaimsType::Glob).is_ok(), want, "{bound}");
        }
    }

    /// The obvious way, by backtracking.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, t) => t.is_none(),
            (Some((b'*', p)), t) => naive(p, text) || t.is_some_and(|(_, t)| naive(pattern, t)),
            (Some((p, ps)), Some((t, ts))) => p == t && naive(ps, ts),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn globs_agree_with_the_obvious_way(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(glob(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
