//! What the claims of a good token say about who it is: alias, metadata, groups. Pure.

use std::collections::BTreeMap;

use api_types::Map;
use engine::{Alias, Auth};
use serde_json::Value;

use crate::bound::{self, BoundError};
use crate::claims::{as_list, find, shown};
use crate::role::Role;

/// Why claims name nobody. The texts are Vault's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("claim {0:?} not found in token")]
    NoUser(String),
    #[error("claim {0:?} could not be converted to string")]
    UserNotText(String),
    #[error("error converting claim '{0}' to string")]
    MetadataNotText(String),
    #[error("failed to fetch groups: {0:?} claim not found in token")]
    NoGroups(String),
    #[error("{0:?} claim could not be converted to string list")]
    GroupsNotList(String),
    #[error("value {0} in groups claim could not be parsed as string")]
    GroupNotText(String),
    #[error("error validating claims: {0}")]
    Bound(#[from] BoundError),
}

/// Judges the bound claims and makes what a login of `role` gets.
pub(crate) fn grant(role_name: &str, role: &Role, claims: &Map) -> Result<Auth, IdentityError> {
    let name = user(role, claims)?;
    let mut metadata = mapped(role, claims)?;
    metadata.insert("role".to_owned(), role_name.to_owned());
    let group_aliases = groups(role, claims)?;
    if let Some(bound) = &role.bound_claims {
        bound::check(bound, role.bound_claims_type, claims)?;
    }
    let mut auth = Auth {
        display_name: name.clone(),
        alias: Some(Alias { name, metadata: metadata.clone() }),
        group_aliases,
        metadata,
        internal: [("role".to_owned(), role_name.into())].into_iter().collect(),
        ..Auth::default()
    };
    role.token.apply(&mut auth);
    Ok(auth)
}

fn user(role: &Role, claims: &Map) -> Result<String, IdentityError> {
    let claim = &role.user_claim;
    let found = if role.user_claim_json_pointer { find(claims, claim) } else { claims.get(claim).filter(|v| !v.is_null()) };
    match found {
        None => Err(IdentityError::NoUser(claim.clone())),
        Some(Value::String(name)) => Ok(name.clone()),
        Some(_) => Err(IdentityError::UserNotText(claim.clone())),
    }
}

fn mapped(role: &Role, claims: &Map) -> Result<BTreeMap<String, String>, IdentityError> {
    let mut out = BTreeMap::new();
    for (claim, key) in role.claim_mappings.iter().flatten() {
        match find(claims, claim) {
            None => {}
            Some(Value::String(text)) => {
                out.insert(key.clone(), text.clone());
            }
            Some(_) => return Err(IdentityError::MetadataNotText(claim.clone())),
        }
    }
    Ok(out)
}

fn groups(role: &Role, claims: &Map) -> Result<Vec<String>, IdentityError> {
    let claim = &role.groups_claim;
    if claim.is_empty() {
        return Ok(Vec::new());
    }
    let found = find(claims, claim).ok_or_else(|| IdentityError::NoGroups(claim.clone()))?;
    let found = as_list(found).ok_or_else(|| IdentityError::GroupsNotList(claim.clone()))?;
    let text = |v: &Value| v.as_str().map(str::to_owned).ok_or_else(|| IdentityError::GroupNotText(shown(v)));
    let mut names: Vec<String> = found.iter().map(text).collect::<Result<_, _>>()?;
    names.retain(|n| !n.is_empty());
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims() -> Map {
        let value = json!({
            "sub": "alice", "mail": "alice@example.test", "groups": ["dev", "", "ops"], "one": "dev", "admin": true,
            "org": {"unit": "blue", "n": 3}, "role": "root", "mixed": ["a", 1]
        });
        let Value::Object(map) = value else { panic!("an object") };
        map
    }

    fn role(change: impl FnOnce(&mut Role)) -> Role {
        let mut role = Role::default();
        role.user_claim = "sub".into();
        change(&mut role);
        role
    }

    #[test]
    fn who_is_not_named_by_text_is_nobody() {
        for (claim, pointer, want) in [
            ("sub", false, Ok("alice")),
            ("sub", true, Ok("alice")),
            ("/org/unit", true, Ok("blue")),
            ("/org/unit", false, Err("claim \"/org/unit\" not found in token")),
            ("/org/n", true, Err("claim \"/org/n\" could not be converted to string")),
            ("groups", false, Err("claim \"groups\" could not be converted to string")),
            ("admin", false, Err("claim \"admin\" could not be converted to string")),
            ("org", false, Err("claim \"org\" could not be converted to string")),
            ("Sub", false, Err("claim \"Sub\" not found in token")),
            ("", true, Err("claim \"\" not found in token")),
        ] {
            let role = role(|r| {
                r.user_claim = claim.into();
                r.user_claim_json_pointer = pointer;
            });
            let got = grant("r", &role, &claims()).map(|a| a.display_name).map_err(|e| e.to_string());
            assert_eq!(got, want.map(str::to_owned).map_err(str::to_owned), "{claim} {pointer}");
        }
    }

    #[test]
    fn groups_are_texts() {
        for (claim, want) in [
            ("", Ok(vec![])),
            ("groups", Ok(vec!["dev", "ops"])),
            ("one", Ok(vec!["dev"])),
            ("/org/unit", Ok(vec!["blue"])),
            ("nope", Err("failed to fetch groups: \"nope\" claim not found in token")),
            ("admin", Err("value true in groups claim could not be parsed as string")),
            ("mixed", Err("value 1 in groups claim could not be parsed as string")),
            ("/org/n", Err("value 3 in groups claim could not be parsed as string")),
            ("org", Err("\"org\" claim could not be converted to string list")),
        ] {
            let role = role(|r| r.groups_claim = claim.into());
            let got = grant("r", &role, &claims()).map(|a| a.group_aliases).map_err(|e| e.to_string());
            let want = want.map(|names| names.into_iter().map(str::to_owned).collect()).map_err(str::to_owned);
            assert_eq!(got, want, "{claim}");
        }
    }

    #[test]
    fn metadata_comes_through_the_mappings_and_the_role_is_the_servers_word() {
        let mapped = |pairs: &[(&str, &str)]| {
            let role = role(|r| r.claim_mappings = Some(pairs.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect()));
            grant("dev", &role, &claims()).map(|a| a.metadata.into_iter().collect::<Vec<_>>()).map_err(|e| e.to_string())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            mapped(&[("mail", "email"), ("/org/unit", "unit"), ("nope", "x")]),
            Ok(vec![pair("email", "alice@example.test"), pair("role", "dev"), pair("unit", "blue")])
        );
        assert_eq!(mapped(&[("role", "role")]), Ok(vec![pair("role", "dev")]));
        for claim in ["admin", "groups", "org", "/org/n"] {
            assert_eq!(mapped(&[(claim, "x")]), Err(format!("error converting claim '{claim}' to string")));
        }
    }
}
