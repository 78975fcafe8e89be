//! `sign/` and `verify/`.

use api_types::Map;
use engine::{Call, EngineError, Fields, Outcome, Response};
use serde_json::json;

use super::batch::{Inputs, Item, Results};
use super::hmac;
use crate::Transit;
use crate::codec;
use crate::crypto::hash::Hash;
use crate::crypto::rsa_padding::Salt;
use crate::fault::Fault;
use crate::pace;
use crate::policy::Policy;
use crate::signature::{Manner, Marshaling, Signed};
use crate::store;

/// Signs.
pub(super) fn sign(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let manner = manner(&call.fields)?;
    let policy = super::named(call)?.ok_or_else(|| EngineError::invalid("signing key not found"))?;
    if !policy.kind.signs() {
        return Err(EngineError::Invalid(format!("key type {} does not support signing", policy.kind)));
    }
    unhashed_needs_prehashed(&manner)?;
    let inputs = Inputs::read(&call.fields, None)?;
    let version = call.fields.int("key_version").unwrap_or(0);
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for item in &inputs.items {
            // What is wrong with the request is told as such; what signing itself refuses is, on a single input, raised as an
            // error of the server, which is how Vault has it.
            let read = read_input(*item, inputs.batched);
            let done = read.map(|(input, context)| policy.sign(version, &context, &input, &manner, call.entropy));
            match done {
                Ok(Ok(signed)) if !inputs.batched => return Ok(Some(Response::data(show(signed, "public_key")))),
                Ok(Ok(signed)) => results.good(*item, show(signed, "publickey")),
                Ok(Err(fault)) if !inputs.batched => return Err(EngineError::Internal(fault.to_string())),
                Err(fault) if !inputs.batched => return Err(fault.into()),
                Ok(Err(fault)) | Err(fault) => {
                    results.bad(*item, &fault, Map::from_iter([("key_version".to_owned(), 0.into())]));
                }
            }
        }
        results.list()
    })
}

/// Verifies a signature or, if that was sent, an HMAC.
pub(super) fn verify(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let inputs = Inputs::read(&call.fields, None)?;
    if proof_sent(&inputs)? == "hmac" {
        drop(inputs);
        return hmac::verify(call);
    }
    let manner = manner(&call.fields)?;
    let policy = store::load(&mut call.view, call.fields.str("name"))?
        .ok_or_else(|| EngineError::invalid("signature verification key not found"))?;
    if !policy.kind.signs() {
        return Err(EngineError::Invalid(format!("key type {} does not support verification", policy.kind)));
    }
    unhashed_needs_prehashed(&manner)?;
    pace::at_length(inputs.items.len(), || {
        let mut results = Results::default();
        for item in &inputs.items {
            let shown = |valid: bool| Map::from_iter([("valid".to_owned(), valid.into())]);
            match verified(&policy, *item, inputs.batched, &manner) {
                Ok(valid) if !inputs.batched => return Ok(Some(Response::data(shown(valid)))),
                Ok(valid) => results.good(*item, shown(valid)),
                Err(fault) if !inputs.batched => return Err(fault.into()),
                Err(fault) => results.bad(*item, &fault, shown(false)),
            }
        }
        results.list()
    })
}

fn verified(policy: &Policy, item: Item<'_>, batched: bool, manner: &Manner) -> Result<bool, Fault> {
    let (input, context) = read_input(item, batched)?;
    let signature = item.text("signature").ok_or_else(|| Fault::caller("missing signature"))?;
    policy.verify(&context, &input, signature, manner)
}

/// Which proof the inputs bring: all of them the same one.
fn proof_sent(inputs: &Inputs<'_>) -> Result<&'static str, EngineError> {
    const PROOFS: [&str; 3] = ["signature", "hmac", "cmac"];
    let counts = PROOFS.map(|name| inputs.items.iter().filter(|i| !i.str(name).is_empty()).count());
    let sent: Vec<(&'static str, usize)> = PROOFS.into_iter().zip(counts).filter(|(_, n)| *n > 0).collect();
    let refuse = |text: &str| Err(EngineError::invalid(text));
    match (sent.as_slice(), inputs.batched) {
        ([], false) => refuse("missing one of 'signature', 'hmac' or 'cmac' arguments to verify"),
        ([], true) => refuse("no batch_input elements have 'signature', 'hmac' or 'cmac'"),
        ([("cmac", _)], _) => refuse("CMAC is not supported by any key type of this server"),
        ([(name, n)], true) if *n < inputs.items.len() => {
            Err(EngineError::Invalid(format!("some elements of batch_input are missing '{name}'")))
        }
        ([(name, _)], _) => Ok(name),
        (_, true) => refuse("elements of batch_input must all provide either 'signature', 'hmac' or 'cmac'"),
        (_, false) => refuse("provide one of 'signature', 'hmac' or 'cmac'"),
    }
}

/// Input and context of an item. A single request without input signs nothing, which is something.
fn read_input(item: Item<'_>, batched: bool) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    let input = match item.text("input") {
        None if batched => return Err(Fault::caller("missing input")),
        input => input.unwrap_or_default(),
    };
    let input = codec::decode(input).map_err(|e| Fault::Caller(format!("unable to decode input: {e}")))?;
    let context = codec::decode(item.str("context")).map_err(|_| Fault::caller("failed to base64-decode context"))?;
    Ok((input, context))
}

fn manner(fields: &Fields) -> Result<Manner, EngineError> {
    let name = hash_name(fields);
    let hash = Hash::parse(name).ok_or_else(|| EngineError::Invalid(format!("invalid hash algorithm {name:?}")))?;
    let marshaling = match fields.text("marshaling_algorithm").unwrap_or("asn1") {
        "asn1" => Marshaling::Asn1,
        "jws" => Marshaling::Jws,
        other => return Err(EngineError::Invalid(format!("invalid marshaling type {other:?}"))),
    };
    Ok(Manner {
        hash,
        prehashed: fields.bool("prehashed").unwrap_or(false),
        marshaling,
        algorithm: fields.str("signature_algorithm").to_owned(),
        salt: salt(fields.text("salt_length").unwrap_or("auto"))?,
    })
}

/// The hash algorithm's name: from the path, else from either field, else the default.
pub(super) fn hash_name(fields: &Fields) -> &str {
    ["urlalgorithm", "hash_algorithm", "algorithm"]
        .into_iter()
        .find_map(|name| fields.text(name).filter(|t| !t.is_empty()))
        .unwrap_or("sha2-256")
}

/// Go's numbers for the two words, 0 and -1, are taken as well.
fn salt(text: &str) -> Result<Salt, EngineError> {
    match text.to_lowercase().as_str() {
        "auto" | "0" => Ok(Salt::Auto),
        "hash" | "-1" => Ok(Salt::Hash),
        other => {
            let length: i64 = other
                .parse()
                .map_err(|_| EngineError::Invalid(format!("salt length neither 'auto', 'hash', nor an int: {text}")))?;
            usize::try_from(length)
                .map(Salt::Exactly)
                .map_err(|_| EngineError::Invalid(format!("salt length is invalid: {length}")))
        }
    }
}

fn unhashed_needs_prehashed(manner: &Manner) -> Result<(), EngineError> {
    if manner.hash == Hash::None && (!manner.prehashed || manner.algorithm != "pkcs1v15") {
        let text = "hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15";
        return Err(EngineError::invalid(text));
    }
    Ok(())
}

fn show(signed: Signed, public_key: &str) -> Map {
    let mut map =
        Map::from_iter([("signature".to_owned(), signed.text.into()), ("key_version".to_owned(), json!(signed.version))]);
    if let Some(public) = signed.public_key {
        map.insert(public_key.to_owned(), codec::encode(public).into());
    }
    map
}
