//! Certificates and keys from outside.

use std::collections::BTreeSet;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};

use crate::Pki;
use crate::draft::Urls;
use crate::keys::PrivateKey;
use crate::pem::{self, Block};
use crate::reading::Certificate;
use crate::root::NO_URLS;
use crate::store::{Issuer, Named, add_issuer, add_key, all_issuers, hex_joined, setting};

const BUNDLE: &[Field] = &[Field::new("pem_bundle", FieldKind::String, "Certificates and keys, PEM.")];
const SIGNED: &[Field] = &[Field::new("certificate", FieldKind::String, "Certificates, PEM.")];
const KEY: &[Field] = &[
    Field::new("pem_bundle", FieldKind::String, "A private key, PEM."),
    Field::new("key_name", FieldKind::String, "A name for the key."),
];

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    let bundle = |pattern| {
        Route::new(pattern, BUNDLE, "Takes in certificates and keys.").on(
            Operation::Update,
            "Takes in certificates and keys.",
            with_keys,
        )
    };
    vec![
        bundle("config/ca"),
        bundle("issuers/import/bundle"),
        Route::new("issuers/import/cert", BUNDLE, "Takes in certificates.").on(
            Operation::Update,
            "Takes in certificates.",
            without_keys,
        ),
        Route::new("intermediate/set-signed", SIGNED, "Takes in the certificate of a request made here.").on(
            Operation::Update,
            "Takes in certificates.",
            set_signed,
        ),
        Route::new("keys/import", KEY, "Takes in a key.").on(Operation::Update, "Takes in a key.", key),
    ]
}

fn with_keys(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let text = call.fields.str("pem_bundle").to_owned();
    import(call, "pem_bundle", &text, true)
}

fn without_keys(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let text = call.fields.str("pem_bundle").to_owned();
    import(call, "pem_bundle", &text, false)
}

fn set_signed(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let text = call.fields.str("certificate").to_owned();
    import(call, "certificate", &text, false)
}

fn read_blocks(field: &str, text: &str) -> Result<Vec<Block>, EngineError> {
    if text.is_empty() {
        return Err(EngineError::invalid(format!("no data provided in field {field:?}")));
    }
    pem::decode(text).map_err(|e| EngineError::invalid(e.to_string()))
}

fn is_key(block: &Block) -> bool {
    block.label.ends_with("PRIVATE KEY")
}

fn read_key(block: &Block) -> Result<PrivateKey, EngineError> {
    PrivateKey::from_der(&block.der).map_err(|e| EngineError::invalid(e.to_string()))
}

fn import(call: &mut Call<'_>, field: &str, text: &str, allow_keys: bool) -> Outcome {
    let blocks = read_blocks(field, text)?;
    if !allow_keys && blocks.iter().any(is_key) {
        return Err(EngineError::invalid(
            "private keys found in the PEM bundle but not allowed by the path; use /issuers/import/bundle",
        ));
    }
    let (mut keys, mut old_keys) = (Vec::new(), Vec::new());
    for block in blocks.iter().filter(|b| is_key(b)) {
        let (record, new) = add_key(&mut call.view, &read_key(block)?, "", call.entropy)?;
        (if new { &mut keys } else { &mut old_keys }).push(record.id.clone());
    }
    let (mut issuers, mut old_issuers, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut mapping = Map::new();
    for block in blocks.iter().filter(|b| b.label == pem::CERTIFICATE) {
        let certificate =
            Certificate::from_der(&block.der).map_err(|e| EngineError::invalid(format!("unable to parse certificate: {e}")))?;
        if !certificate.is_ca {
            return Err(EngineError::invalid("unable to parse certificate: the given certificate is not a CA certificate"));
        }
        let (record, new) = add_issuer(&mut call.view, &certificate, "", call.entropy)?;
        if seen.insert(record.id.clone()) {
            (if new { &mut issuers } else { &mut old_issuers }).push(record.id.clone());
        }
        mapping.insert(record.id.clone(), record.key_id.clone().into());
    }
    if keys.is_empty() && issuers.is_empty() && old_keys.is_empty() && old_issuers.is_empty() {
        return Err(EngineError::invalid("no certificates or keys were found in the PEM bundle"));
    }
    join_keys(call, &mut mapping)?;
    let urls: Urls = setting(&mut call.view, "config/urls")?;
    let shown = |list: Vec<String>| if list.is_empty() { Value::Null } else { list.into() };
    let warn = !issuers.is_empty() && urls.is_empty();
    let mut response = Response::json(json!({
        "imported_issuers": shown(issuers), "imported_keys": shown(keys), "mapping": mapping,
        "existing_issuers": shown(old_issuers), "existing_keys": shown(old_keys),
    }));
    if warn {
        response.warnings.push(NO_URLS.to_owned());
    }
    Ok(Some(response))
}

/// Gives their key to issuers that came before it.
fn join_keys(call: &mut Call<'_>, mapping: &mut Map) -> Result<(), EngineError> {
    let keys = crate::store::all_keys(&mut call.view)?;
    for issuer in all_issuers(&mut call.view)?.into_iter().filter(|i| i.key_id.is_empty()) {
        let public_id = hex_joined(&issuer.read()?.key.id(), "");
        let Some(key) = keys.iter().find(|k| k.public_id == public_id) else { continue };
        let record = Issuer { key_id: key.id.clone(), ..issuer.as_ref().clone() };
        call.view.put_json(&format!("issuer/{}", record.id), &record)?;
        if let Some(shown) = mapping.get_mut(&record.id) {
            *shown = record.key_id.into();
        }
    }
    Ok(())
}

fn key(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let blocks = read_blocks("pem_bundle", call.fields.str("pem_bundle"))?;
    let name = call.fields.str("key_name").to_owned();
    Named::Key.check(&mut call.view, &name, "")?;
    let [block] = blocks.as_slice() else {
        return Err(EngineError::invalid("only a single key can be present within the pem_bundle for importing"));
    };
    if !is_key(block) {
        return Err(EngineError::invalid("no private key was found in the PEM bundle"));
    }
    let (record, new) = add_key(&mut call.view, &read_key(block)?, &name, call.entropy)?;
    join_keys(call, &mut Map::new())?;
    let mut response = Response::json(json!({ "key_id": record.id, "key_name": record.name, "key_type": record.kind.as_str() }));
    if !new {
        response.warnings.push("Key already imported, use key/ endpoint to update name.".to_owned());
    }
    Ok(Some(response))
}
