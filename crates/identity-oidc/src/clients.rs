//! `oidc/client`: relying parties.

use std::sync::Arc;

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use identity::IdentityEngine;
use serde_json::{Value, json};
use storage::View;

use crate::limits::{CLIENT_SECRET_CHARS, CODE_CHARS, DAY};
use crate::rows::{self, CLIENT_IDS, CLIENTS, Client, ClientKind, DEFAULT, Pointer};
use crate::{assignments, keyring};

/// Vault's prefix of client secrets; scanners for leaked secrets look for it.
const SECRET_PREFIX: &str = "hvo_secret_";

/// The client with this id.
pub(crate) fn by_id(view: &mut View<'_>, id: &str) -> Result<Option<Arc<Client>>, EngineError> {
    let Some(owner) = rows::load::<Pointer>(view, CLIENT_IDS, id)? else { return Ok(None) };
    rows::load(view, CLIENTS, &owner.name)
}

pub(crate) fn exists(_: &IdentityEngine, call: &mut Call<'_>) -> Result<bool, EngineError> {
    Ok(rows::load::<Client>(&mut call.view, CLIENTS, call.fields.str("name"))?.is_some())
}

pub(crate) fn write(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let old = rows::load::<Client>(&mut call.view, CLIENTS, &name)?;
    let fresh = Client {
        name: name.clone(),
        key: DEFAULT.to_owned(),
        id_token_ttl: DAY.as_secs(),
        access_token_ttl: DAY.as_secs(),
        ..Client::default()
    };
    let mut client = old.as_deref().cloned().unwrap_or(fresh);
    fixed_fields(call, &mut client, old.is_some())?;
    if let Some(uris) = call.fields.texts("redirect_uris") {
        client.redirect_uris = rows::unique(uris);
    }
    if let Some(names) = call.fields.texts("assignments") {
        client.assignments = rows::unique(names);
    }
    if let Some(ttl) = call.fields.duration("id_token_ttl") {
        client.id_token_ttl = ttl.as_secs();
    }
    if let Some(ttl) = call.fields.duration("access_token_ttl") {
        client.access_token_ttl = ttl.as_secs();
    }
    for assignment in client.assignments.clone() {
        if assignments::find(&mut call.view, &assignment)?.is_none() {
            return Err(EngineError::Invalid(format!("assignment {assignment:?} does not exist")));
        }
    }
    let key = keyring::named(&mut call.view, &client.key)?;
    let key = key.ok_or_else(|| EngineError::Invalid(format!("key {:?} does not exist", client.key)))?;
    if client.id_token_ttl > key.verification_ttl {
        return Err(EngineError::invalid(
            "a client's id_token_ttl cannot be greater than the verification_ttl of the key it references",
        ));
    }
    if client.id.is_empty() {
        client.id = call.entropy.base62(CODE_CHARS)?;
        rows::save(&mut call.view, CLIENT_IDS, &client.id, &Pointer { name: name.clone() })?;
    }
    if client.secret.is_empty() && client.kind == ClientKind::Confidential {
        client.secret = format!("{SECRET_PREFIX}{}", call.entropy.base62(CLIENT_SECRET_CHARS)?);
    }
    // From here on the key is published, so it has to be there.
    keyring::ready(&mut call.view, &client.key, &key, call.now, call.entropy)?;
    rows::save(&mut call.view, CLIENTS, &name, &client)?;
    Ok(None)
}

/// What a client keeps for life.
fn fixed_fields(call: &Call<'_>, client: &mut Client, there: bool) -> Result<(), EngineError> {
    if let Some(text) = call.fields.text("client_type") {
        let kind = match text {
            "confidential" => ClientKind::Confidential,
            "public" => ClientKind::Public,
            _ => return Err(EngineError::Invalid(format!("invalid client_type {text:?}"))),
        };
        if there && kind != client.kind {
            return Err(EngineError::invalid("client_type modification is not allowed"));
        }
        client.kind = kind;
    }
    if let Some(key) = call.fields.text("key") {
        if there && key != client.key {
            return Err(EngineError::invalid("key modification is not allowed"));
        }
        key.clone_into(&mut client.key);
    }
    Ok(())
}

pub(crate) fn read(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let Some(client) = rows::load::<Client>(&mut call.view, CLIENTS, call.fields.str("name"))? else { return Ok(None) };
    let mut map = shown(&client);
    if client.kind == ClientKind::Confidential {
        map.insert("client_secret".to_owned(), client.secret.clone().into());
    }
    Ok(Some(Response::data(map)))
}

/// Without the secrets.
pub(crate) fn list(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let names = rows::names(&mut call.view, CLIENTS)?;
    let mut info = Map::new();
    for name in &names {
        if let Some(client) = rows::load::<Client>(&mut call.view, CLIENTS, name)? {
            info.insert(name.clone(), shown(&client).into());
        }
    }
    if names.is_empty() {
        return Ok(Some(Response::list(names)));
    }
    Ok(Some(Response::json(json!({ "keys": names, "key_info": info }))))
}

pub(crate) fn delete(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if let Some(client) = rows::load::<Client>(&mut call.view, CLIENTS, &name)? {
        rows::remove(&mut call.view, CLIENT_IDS, &client.id)?;
        rows::remove(&mut call.view, CLIENTS, &name)?;
    }
    Ok(None)
}

fn shown(client: &Client) -> Map {
    let kind = match client.kind {
        ClientKind::Confidential => "confidential",
        ClientKind::Public => "public",
    };
    let pairs: [(&str, Value); 7] = [
        ("access_token_ttl", client.access_token_ttl.into()),
        ("assignments", client.assignments.clone().into()),
        ("client_id", client.id.clone().into()),
        ("client_type", kind.into()),
        ("id_token_ttl", client.id_token_ttl.into()),
        ("key", client.key.clone().into()),
        ("redirect_uris", client.redirect_uris.clone().into()),
    ];
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
