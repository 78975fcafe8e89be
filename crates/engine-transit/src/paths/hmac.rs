//! `hmac/`, and `verify/` of what it made.

use api_types::Map;
use engine::{Call, EngineError, Outcome, Response};
use secret::ct_eq;

use super::batch::{Inputs, Item, Results};
use super::sign::hash_name;
use crate::Transit;
use crate::codec;
use crate::crypto::hash::Hash;
use crate::fault::Fault;
use crate::pace;
use crate::policy::Policy;
use crate::store;

const PREFIX: &str = "vault:v";
const NO_KEY: &str = "encryption key not found";

/// Makes an HMAC.
pub(super) fn generate(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let policy = super::named(call)?.ok_or_else(|| EngineError::invalid(NO_KEY))?;
    let version = match call.fields.int("key_version").unwrap_or(0) {
        0 => policy.latest_version,
        v if v != policy.latest_version && v < policy.min_encryption_version => {
            return Err(EngineError::invalid("cannot generate HMAC: version is too old (disallowed by policy)"));
        }
        v => v,
    };
    let key = policy.hmac_key(version)?;
    let name = hash_name(&call.fields);
    let hash = Hash::parse(name)
        .filter(|h| *h != Hash::None)
        .ok_or_else(|| EngineError::Invalid(format!("unsupported algorithm {name:?}")))?;
    let inputs = Inputs::read(&call.fields, None)?;
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for item in &inputs.items {
            let done = read_input(*item, "missing input for HMAC").map(|input| {
                let mac = hash.mac(key, &input).unwrap_or_default();
                Map::from_iter([("hmac".to_owned(), format!("{PREFIX}{version}:{}", codec::encode(mac)).into())])
            });
            match done {
                Ok(answer) if !inputs.batched => return Ok(Some(Response::data(answer))),
                Ok(answer) => results.good(*item, answer),
                Err(fault) if !inputs.batched => return Err(fault.into()),
                Err(fault) => results.bad(*item, &fault, Map::new()),
            }
        }
        results.list()
    })
}

/// Verifies an HMAC.
pub(super) fn verify(call: &mut Call<'_>) -> Outcome {
    let policy = store::load(&mut call.view, call.fields.str("name"))?.ok_or_else(|| EngineError::invalid(NO_KEY))?;
    let name = hash_name(&call.fields);
    let hash = Hash::parse(name)
        .filter(|h| *h != Hash::None)
        .ok_or_else(|| EngineError::Invalid(format!("invalid hash algorithm {name:?}")))?;
    let inputs = Inputs::read(&call.fields, None)?;
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for item in &inputs.items {
            match verified(&policy, hash, *item) {
                Ok(valid) if !inputs.batched => {
                    return Ok(Some(Response::data(Map::from_iter([("valid".to_owned(), valid.into())]))));
                }
                // In a list, only a good one is marked.
                Ok(true) => results.good(*item, Map::from_iter([("valid".to_owned(), true.into())])),
                Ok(false) => results.good(*item, Map::new()),
                Err(fault) if !inputs.batched => return Err(fault.into()),
                Err(fault) => results.bad(*item, &fault, Map::new()),
            }
        }
        results.list()
    })
}

fn verified(policy: &Policy, hash: Hash, item: Item<'_>) -> Result<bool, Fault> {
    let input = read_input(item, "missing input")?;
    let proof = item.text("hmac").ok_or_else(|| Fault::caller("missing hmac"))?;
    let rest = proof.strip_prefix(PREFIX).ok_or_else(|| Fault::caller("invalid HMAC to verify: no prefix"))?;
    let (version, mac) = rest.split_once(':').ok_or_else(|| Fault::caller("invalid HMAC: wrong number of fields"))?;
    let version: i64 = version.parse().map_err(|_| Fault::caller("invalid HMAC: version number could not be decoded"))?;
    let mac = codec::decode(mac).map_err(|e| Fault::Caller(format!("unable to decode verification HMAC as base64: {e}")))?;
    if version > policy.latest_version {
        return Err(Fault::caller("invalid HMAC: version is too new"));
    }
    if version < policy.min_decryption_version {
        return Err(Fault::caller("cannot verify HMAC: version is too old (disallowed by policy)"));
    }
    let want = hash.mac(policy.hmac_key(version)?, &input).unwrap_or_default();
    Ok(ct_eq(&want, &mac))
}

fn read_input(item: Item<'_>, missing: &str) -> Result<Vec<u8>, Fault> {
    let input = item.text("input").ok_or_else(|| Fault::caller(missing))?;
    codec::decode(input).map_err(|e| Fault::Caller(format!("unable to decode input as base64: {e}")))
}
