//! `encrypt/`, `decrypt/` and `rewrap/`.

use std::sync::Arc;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;
use zeroize::Zeroizing;

use super::batch::{Inputs, Item, Results, decoded};
use crate::Transit;
use crate::cipher::Circumstances;
use crate::codec;
use crate::crypto::rsa::Padding;
use crate::fault::Fault;
use crate::kind::{Family, KeyKind};
use crate::pace;
use crate::policy::{KeyEntry, Policy};
use crate::store;

const NO_KEY: &str = "encryption key not found";

/// Encrypts. A caller with the `create` capability makes the key by using it, unless the mount forbids that.
pub(super) fn encrypt(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let inputs = Inputs::read(&call.fields, Some(("plaintext", "missing plaintext to encrypt")))?;
    needs(&inputs, "plaintext", "missing plaintext to encrypt")?;
    let context_sent = agree_on_context(&inputs)?;
    let name = call.fields.str("name");
    let policy = if call.operation == Operation::Create && !store::keys_config(&mut call.view)?.disable_upsert {
        let mut policy = wanted_key(call, context_sent)?;
        policy.add(KeyEntry::generate(policy.kind, 0, call.entropy, call.now)?);
        store::save(&mut call.view, &mut policy)?;
        Arc::new(policy)
    } else {
        store::current(&mut call.view, name, call.now, call.entropy)?.ok_or_else(|| EngineError::invalid(NO_KEY))?
    };
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for (i, item) in inputs.items.iter().enumerate() {
            let done = decoded(item.str("plaintext")).map(Zeroizing::new).and_then(|plaintext| {
                refuse_nonce(&policy, *item)?;
                let with = circumstances(&policy, i, *item, "padding_scheme")?;
                policy.encrypt(item.int("key_version"), &with, &plaintext, call.entropy)
            });
            match done {
                Ok((ciphertext, version)) if !inputs.batched => return Ok(Some(sealed(ciphertext, version))),
                Ok((ciphertext, version)) => results.good(*item, sealed_map(ciphertext, version)),
                Err(fault) if !inputs.batched => return Err(fault.into()),
                Err(fault) => results.bad(*item, &fault, Map::new()),
            }
        }
        results.list_with_status(call)
    })
}

/// Decrypts.
pub(super) fn decrypt(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let inputs = Inputs::read(&call.fields, Some(("ciphertext", "missing ciphertext to decrypt")))?;
    needs(&inputs, "ciphertext", "missing ciphertext to decrypt")?;
    agree_on_context(&inputs)?;
    let policy = store::load(&mut call.view, call.fields.str("name"))?.ok_or_else(|| EngineError::invalid(NO_KEY))?;
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for (i, item) in inputs.items.iter().enumerate() {
            let done = opened(&policy, i, *item, "padding_scheme");
            let shown = |plain: &[u8]| Map::from_iter([("plaintext".to_owned(), codec::encode(plain).into())]);
            match done {
                Ok(plain) if !inputs.batched => return Ok(Some(Response::data(shown(&plain)))),
                Ok(plain) => results.good(*item, shown(&plain)),
                Err(fault) if !inputs.batched => return Err(fault.into()),
                Err(fault) => results.bad(*item, &fault, shown(&[])),
            }
        }
        results.list_with_status(call)
    })
}

/// Decrypts and encrypts anew, so that the plaintext stays here.
pub(super) fn rewrap(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let inputs = Inputs::read(&call.fields, None)?;
    needs(&inputs, "ciphertext", "missing ciphertext to decrypt")?;
    agree_on_context(&inputs)?;
    let policy = store::current(&mut call.view, call.fields.str("name"), call.now, call.entropy)?
        .ok_or_else(|| EngineError::invalid(NO_KEY))?;
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for (i, item) in inputs.items.iter().enumerate() {
            let done = opened(&policy, i, *item, "decrypt_padding_scheme").and_then(|plain| {
                refuse_nonce(&policy, *item)?;
                let with = circumstances(&policy, i, *item, "encrypt_padding_scheme")?;
                policy.encrypt(item.int("key_version"), &with, &plain, call.entropy)
            });
            match done {
                Ok((ciphertext, version)) if !inputs.batched => return Ok(Some(sealed(ciphertext, version))),
                Ok((ciphertext, version)) => results.good(*item, sealed_map(ciphertext, version)),
                Err(fault @ Fault::Caller(_)) if inputs.batched => results.bad(*item, &fault, Map::new()),
                Err(fault) => return Err(fault.into()),
            }
        }
        results.list()
    })
}

fn opened(policy: &Policy, i: usize, item: Item<'_>, padding: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let ciphertext = item.str("ciphertext");
    if ciphertext.is_empty() {
        return Err(Fault::caller("missing ciphertext to decrypt"));
    }
    policy.decrypt(&circumstances(policy, i, item, padding)?, ciphertext)
}

/// Refuses a nonce to encrypt with. One to decrypt with is harmless and, where it is not needed, ignored.
pub(super) fn refuse_nonce(policy: &Policy, item: Item<'_>) -> Result<(), Fault> {
    if item.str("nonce").is_empty() || policy.takes_nonce() {
        return Ok(());
    }
    Err(Fault::caller("provided nonce not allowed for this key"))
}

/// What an item says besides the message.
pub(super) fn circumstances(policy: &Policy, i: usize, item: Item<'_>, padding: &str) -> Result<Circumstances, Fault> {
    let context = decoded(item.str("context"))?;
    let nonce = decoded(item.str("nonce"))?;
    let aad = item.str("associated_data");
    if !aad.is_empty() && policy.kind.family() != Family::Aead {
        return Err(Fault::Caller(format!("'[{i}].associated_data' provided for non-AEAD cipher suite {}", policy.kind)));
    }
    let aad = codec::decode(aad)
        .map_err(|e| Fault::Server(format!("unable to get associated_data/additional_data from factory[0]: {e}")))?;
    let padding = padding_scheme(policy.kind, item.str(padding))
        .map_err(|why| Fault::Caller(format!("'[{i}].{padding}' invalid: {why}")))?;
    Ok(Circumstances { context, nonce, aad, padding })
}

fn padding_scheme(kind: KeyKind, text: &str) -> Result<Padding, String> {
    let padding = match text {
        "" => return Ok(Padding::default()),
        "oaep" => Padding::Oaep,
        "pkcs1v15" => Padding::Pkcs1v15,
        other => return Err(format!("unknown padding scheme: {other}")),
    };
    if kind.family() == Family::Rsa { Ok(padding) } else { Err(format!("unsupported key type {kind} for padding scheme")) }
}

/// The key that an encryption makes.
fn wanted_key(call: &Call<'_>, derived: bool) -> Result<Policy, EngineError> {
    let convergent = call.fields.bool("convergent_encryption").unwrap_or(false);
    if convergent && !derived {
        let text = "convergent encryption requires derivation to be enabled, so context is required";
        return Err(EngineError::invalid(text));
    }
    let name = call.fields.text("type").filter(|t| !t.is_empty()).unwrap_or("aes256-gcm96");
    let kind = KeyKind::parse(name).ok_or_else(|| EngineError::Invalid(format!("unknown key type {name}")))?;
    if !kind.encrypts() {
        return Err(EngineError::Invalid(format!("key type {kind} not supported for this operation")));
    }
    let mut policy = Policy::new(call.fields.str("name"), kind);
    policy.set_derived(derived, convergent)?;
    Ok(policy)
}

/// A single input must have what the work is about.
fn needs(inputs: &Inputs<'_>, name: &str, complaint: &str) -> Result<(), EngineError> {
    let missing = inputs.items.first().is_none_or(|i| match name {
        // An empty plaintext can be encrypted.
        "plaintext" => i.text(name).is_none(),
        _ => i.str(name).is_empty(),
    });
    if !inputs.batched && missing { Err(EngineError::invalid(complaint)) } else { Ok(()) }
}

/// Whether contexts were sent: with all inputs or with none.
fn agree_on_context(inputs: &Inputs<'_>) -> Result<bool, EngineError> {
    let sent = |item: &Item<'_>| !item.str("context").is_empty();
    let first = inputs.items.first().is_some_and(sent);
    if inputs.items.iter().any(|item| sent(item) != first) {
        return Err(EngineError::invalid("context should be set either in all the request blocks or in none"));
    }
    Ok(first)
}

fn sealed_map(ciphertext: String, version: i64) -> Map {
    Map::from_iter([("ciphertext".to_owned(), ciphertext.into()), ("key_version".to_owned(), json!(version))])
}

fn sealed(ciphertext: String, version: i64) -> Response {
    Response::data(sealed_map(ciphertext, version))
}
