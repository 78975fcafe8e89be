//! `.well-known`: documents anybody may read. They tell addresses and public keys, and no name of a role, client or person.

use std::collections::BTreeSet;

use engine::{Call, EngineError, Outcome};
use identity::IdentityEngine;
use jose::JwkSet;
use serde_json::json;

use crate::rows::{self, CLIENTS, Client, ROLES, Role};
use crate::{config, keyring, oauth, providers, scopes};

/// What keys may sign with, as Vault lists it.
const ALGORITHMS: [&str; 7] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"];

/// The document of identity tokens.
pub(crate) fn configuration(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let issuer = config::issuer(engine, &mut call.view)?;
    Ok(Some(oauth::cacheable(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ALGORITHMS,
    }))))
}

/// The keys of identity tokens: those that some role uses.
pub(crate) fn keys(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let mut used = BTreeSet::new();
    for name in rows::names(&mut call.view, ROLES)? {
        if let Some(role) = rows::load::<Role>(&mut call.view, ROLES, &name)? {
            used.insert(role.key.clone());
        }
    }
    published(call, &used)
}

/// The document of a provider.
pub(crate) fn provider_configuration(engine: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let provider = providers::find(&mut call.view, &name)?.ok_or(EngineError::NotFound)?;
    let (base, issuer) = (providers::base(engine, &provider), providers::issuer(engine, &provider, &name));
    let scopes: Vec<&str> = provider.scopes_supported.iter().map(String::as_str).chain([scopes::OPENID]).collect();
    Ok(Some(oauth::cacheable(&json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/keys"),
        "authorization_endpoint": format!("{base}/ui/vault/identity/oidc/provider/{name}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "id_token_signing_alg_values_supported": ALGORITHMS,
        "response_types_supported": ["code"],
        "scopes_supported": scopes,
        "claims_supported": [],
        "subject_types_supported": ["public"],
        "grant_types_supported": ["authorization_code"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["plain", "S256"],
    }))))
}

/// The keys of a provider: those that the clients it allows use.
pub(crate) fn provider_keys(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let provider = providers::find(&mut call.view, &name)?.ok_or(EngineError::NotFound)?;
    let mut used = BTreeSet::new();
    for name in rows::names(&mut call.view, CLIENTS)? {
        if let Some(client) = rows::load::<Client>(&mut call.view, CLIENTS, &name)?.filter(|c| provider.allows(&c.id)) {
            used.insert(client.key.clone());
        }
    }
    published(call, &used)
}

fn published(call: &mut Call<'_>, names: &BTreeSet<String>) -> Outcome {
    let mut set = JwkSet::default();
    for name in names {
        if let Some(key) = keyring::named(&mut call.view, name)? {
            set.keys.extend(keyring::published(&key, call.now).cloned());
        }
    }
    Ok(Some(oauth::bare(200, &set.to_json())))
}
