//! `keys/<name>/csr` and `set-certificate`: certificate requests signed with a key, and the chain that came of one.

use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;

use crate::Transit;
use crate::codec;
use crate::crypto::ed25519;
use crate::crypto::rsa_padding::Salt;
use crate::crypto::x509;
use crate::fault::Fault;
use crate::kind::Family;
use crate::policy::{KeyEntry, Policy};
use crate::record::Blob;
use crate::signature::{Manner, Marshaling};
use crate::store;

/// Signs a certificate request: a given one with this key put in, or an empty one.
pub(super) fn request(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let policy = usable(call)?;
    let version = wanted_version(call, &policy);
    let entry = policy.entry(version)?;
    if entry.lacks_private_half() {
        return Err(EngineError::invalid("private key not imported for key version selected"));
    }
    let template = match call.fields.str("csr") {
        "" => None,
        pem => Some(first_block(pem).ok_or_else(|| EngineError::invalid("could not decode PEM CSR"))?),
    };
    let public = public_der(&policy, entry)?;
    let body = x509::request_body(template.as_deref(), &public)
        .ok_or_else(|| EngineError::invalid("could not create the csr: the given one cannot be read"))?;
    let (hash, algorithm) = x509::signing(policy.kind.family());
    let manner =
        Manner { hash, prehashed: false, marshaling: Marshaling::Asn1, algorithm: "pkcs1v15".to_owned(), salt: Salt::Auto };
    let signed = policy.sign(version, &[], &body, &manner, call.entropy)?;
    let (_, signature) = policy.split(&signed.text, "signature")?;
    let signature = codec::decode(signature).map_err(EngineError::Internal)?;
    let csr = codec::pem("CERTIFICATE REQUEST", &x509::request(&body, &algorithm, &signature));
    Ok(Some(Response::json(json!({ "name": policy.name, "type": policy.kind.name(), "csr": csr }))))
}

/// Stores the certificate chain of a version, if its leaf is for this key.
pub(super) fn set_chain(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let mut policy = (*usable(call)?).clone();
    let version = wanted_version(call, &policy);
    let chain: Vec<Vec<u8>> = codec::parse_pem(call.fields.str("certificate_chain")).into_iter().map(|(_, der)| der).collect();
    check_chain(&policy, version, &chain)?;
    let entry = policy.keys.get_mut(&version).ok_or_else(|| EngineError::invalid("no such key version"))?;
    entry.certificate_chain = Some(chain.into_iter().map(Blob::new).collect());
    let shown = super::keys::chain_pem(entry);
    store::save(&mut call.view, &mut policy)?;
    let data = json!({ "name": policy.name, "type": policy.kind.name(), "certificate_chain": shown });
    Ok(Some(Response::json(data)))
}

fn check_chain(policy: &Policy, version: i64, chain: &[Vec<u8>]) -> Result<(), Fault> {
    let refuse = |why: &str| Fault::Caller(format!("failed to persist certificate chain: {why}"));
    let unreadable = || Fault::caller("could not parse a certificate in the certificate chain");
    let parsed: Vec<x509::Certificate<'_>> =
        chain.iter().map(|der| x509::Certificate::parse(der).ok_or_else(unreadable)).collect::<Result<_, _>>()?;
    let (Some(leaf), Some(last)) = (parsed.first(), parsed.last()) else {
        return Err(Fault::caller("provided certificate chain did not contain any valid PEM encoded certificate"));
    };
    if leaf.is_ca {
        return Err(refuse("certificate in the first element is not a valid leaf certificate"));
    }
    if parsed.len() > 1 && !last.is_ca {
        return Err(refuse("certificate in the last element is not a valid CA certificate"));
    }
    if leaf.public_key != public_der(policy, policy.entry(version)?)? {
        return Err(refuse("leaf certificate public key does not match the selected key version"));
    }
    Ok(())
}

fn usable(call: &mut Call<'_>) -> Result<std::sync::Arc<Policy>, EngineError> {
    let policy = super::named(call)?
        .ok_or_else(|| EngineError::Invalid(format!("key with provided name '{}' not found", call.fields.str("name"))))?;
    if !policy.kind.signs() {
        return Err(EngineError::Invalid(format!("key type '{}' does not support signing", policy.kind)));
    }
    if policy.derived {
        return Err(EngineError::invalid("operation not supported for keys with derivation enabled"));
    }
    Ok(policy)
}

fn wanted_version(call: &Call<'_>, policy: &Policy) -> i64 {
    call.fields.int("version").filter(|v| *v != 0).unwrap_or(policy.latest_version)
}

fn first_block(pem: &str) -> Option<Vec<u8>> {
    codec::parse_pem(pem).into_iter().next().map(|(_, der)| der)
}

/// SubjectPublicKeyInfo of a version.
fn public_der(policy: &Policy, entry: &KeyEntry) -> Result<Vec<u8>, Fault> {
    let missing = || Fault::server("stored key is not consistent");
    match policy.kind.family() {
        Family::Rsa => Ok(entry.rsa_public().ok_or_else(missing)?.der()),
        Family::Ecdsa(curve) => Ok(curve.public_der(&entry.ec_point(curve).ok_or_else(missing)?)),
        _ => Ok(ed25519::public_der(&codec::decode(&entry.public_key).map_err(|_| missing())?)),
    }
}
