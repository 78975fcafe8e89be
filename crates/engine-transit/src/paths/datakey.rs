//! `datakey/`: fresh keys for clients, encrypted with a named key.

use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;
use zeroize::Zeroizing;

use super::batch::Item;
use super::crypt::{circumstances, refuse_nonce};
use crate::Transit;
use crate::codec;

/// Makes a data key; only the path with `plaintext` shows it, so that policies can tell the two apart.
pub(super) fn generate(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let shown = match call.fields.str("plaintext") {
        "plaintext" => true,
        "wrapped" => false,
        _ => return Err(EngineError::invalid("Invalid path, must be 'plaintext' or 'wrapped'")),
    };
    if codec::decode(call.fields.str("context")).is_err() {
        return Err(EngineError::invalid("failed to base64-decode context"));
    }
    let policy = super::named(call)?.ok_or_else(|| EngineError::invalid("encryption key not found"))?;
    let bytes = match call.fields.int("bits").unwrap_or(256) {
        128 => 16,
        256 => 32,
        512 => 64,
        _ => return Err(EngineError::invalid("invalid bit length")),
    };
    let key = Zeroizing::new(call.entropy.bytes(bytes)?);
    let item = Item::Request(&call.fields);
    refuse_nonce(&policy, item)?;
    let with = circumstances(&policy, 0, item, "padding_scheme")?;
    let (ciphertext, version) = policy.encrypt(0, &with, &key, call.entropy)?;
    let mut data = json!({ "ciphertext": ciphertext, "key_version": version });
    if let (true, Some(map)) = (shown, data.as_object_mut()) {
        map.insert("plaintext".to_owned(), codec::encode(&*key).into());
    }
    Ok(Some(Response::json(data)))
}
