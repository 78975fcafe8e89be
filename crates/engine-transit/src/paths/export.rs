//! `export/` and `byok-export/`: keys that may leave, in the clear or wrapped.

use api_types::Map;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::OaepAlgorithm;
use engine::{Call, EngineError, Outcome, Response};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::import::oaep;
use super::keys::chain_pem;
use crate::Transit;
use crate::codec;
use crate::crypto::ec::Curve;
use crate::crypto::ed25519;
use crate::crypto::rsa::RsaKey;
use crate::fault::Fault;
use crate::kind::{Family, KeyKind};
use crate::policy::{KeyEntry, Policy, Prepared};
use crate::store;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Encryption,
    Signing,
    Hmac,
    Public,
    Chain,
}

impl Part {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "encryption-key" => Self::Encryption,
            "signing-key" => Self::Signing,
            "hmac-key" => Self::Hmac,
            "public-key" => Self::Public,
            "certificate-chain" => Self::Chain,
            _ => return None,
        })
    }

    fn is_public(self) -> bool {
        matches!(self, Self::Public | Self::Chain)
    }
}

/// How it is written. The default differs by kind: base64 of raw keys, PKCS#1 for RSA, SEC 1 for ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Default,
    Raw,
    Der,
    Pem,
}

/// Shows the versions of an exportable key, or one of them.
pub(super) fn export(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let part_name = call.fields.str("type").to_owned();
    let part = Part::parse(&part_name).ok_or_else(|| EngineError::Invalid(format!("invalid export type: {part_name}")))?;
    let form = match call.fields.str("format") {
        "" => Form::Default,
        "raw" => Form::Raw,
        "der" => Form::Der,
        "pem" => Form::Pem,
        other => return Err(EngineError::Invalid(format!("invalid format: {other}"))),
    };
    let Some(policy) = super::named(call)? else { return Ok(None) };
    if !policy.exportable && !part.is_public() {
        return Err(EngineError::invalid("private key material is not exportable"));
    }
    let refuse = |text: &str| Err(EngineError::invalid(text));
    match part {
        Part::Encryption if !policy.kind.encrypts() => return refuse("encryption not supported for the key"),
        Part::Signing if !policy.kind.signs() => return refuse("signing not supported for the key"),
        Part::Chain if !policy.kind.signs() => {
            return refuse("certificate chain not supported for keys that do not support signing");
        }
        _ => {}
    }
    answer(&policy, call.fields.str("version"), |entry| {
        exported(policy.kind, entry, part, form)?
            .ok_or_else(|| Fault::Server(format!("unknown key type {} for export type {part_name}", policy.kind)))
    })
}

/// Wraps the versions of an exportable key for import under another key.
pub(super) fn byok(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let missing = |which: &str| EngineError::Internal(format!("no such {which}"));
    let destination =
        store::load(&mut call.view, call.fields.str("destination"))?.ok_or_else(|| missing("destination key to export to"))?;
    let source = store::current(&mut call.view, call.fields.str("source"), call.now, call.entropy)?
        .ok_or_else(|| missing("source key for export"))?;
    if !source.exportable {
        return Err(EngineError::invalid("key is not exportable"));
    }
    let hash = oaep(call.fields.text("hash").filter(|h| !h.is_empty()).unwrap_or("SHA256"))?;
    if destination.kind.family() != Family::Rsa {
        return Err(EngineError::internal("unsupported key type in use; must be a rsa key"));
    }
    let Prepared::Rsa(wrapper) = destination.entry(destination.latest_version)?.prepared(destination.kind)? else {
        return Err(EngineError::internal("unsupported key type in use; must be a rsa key"));
    };
    answer(&source, call.fields.str("version"), |entry| {
        let ephemeral = Zeroizing::new(call.entropy.bytes(32)?);
        wrapped(wrapper, hash, &ephemeral, &material(source.kind, entry)?).map(codec::encode)
    })
}

/// All versions, or the one asked for.
fn answer(policy: &Policy, version: &str, show: impl Fn(&KeyEntry) -> Result<String, Fault>) -> Outcome {
    let mut keys = Map::new();
    if version.is_empty() {
        for (number, entry) in &policy.keys {
            keys.insert(number.to_string(), Value::String(show(entry)?));
        }
    } else {
        let refuse = |text: &str| EngineError::invalid(text);
        let number = match version {
            "latest" => policy.latest_version,
            text => text.trim_start_matches('v').parse().map_err(|_| refuse("invalid key version"))?,
        };
        if number < policy.min_decryption_version {
            return Err(refuse("version for export is below minimum decryption version"));
        }
        let entry = policy.keys.get(&number).ok_or_else(|| refuse("version does not exist or cannot be found"))?;
        keys.insert(number.to_string(), Value::String(show(entry)?));
    }
    Ok(Some(Response::json(json!({ "name": policy.name, "type": policy.kind.name(), "keys": keys }))))
}

/// The part in the form; nothing if the kind has no such part.
fn exported(kind: KeyKind, entry: &KeyEntry, part: Part, form: Form) -> Result<Option<String>, Fault> {
    Ok(Some(match (part, kind.family()) {
        (Part::Hmac, family) => {
            raw_only(form)?;
            codec::encode(if family == Family::Hmac { entry.key.bytes() } else { entry.hmac_key.bytes() })
        }
        (Part::Encryption, Family::Aead) => {
            raw_only(form)?;
            codec::encode(entry.key.bytes())
        }
        (Part::Encryption | Part::Signing, Family::Rsa) => {
            let Some(key) = &entry.rsa_key else { return Ok(Some(String::new())) };
            match form {
                Form::Default => codec::pem("RSA PRIVATE KEY", &key.pkcs1()?),
                form => document(form, "PRIVATE KEY", &key.pkcs8()?)?,
            }
        }
        (Part::Signing, Family::Ecdsa(curve)) => ec_private(curve, entry, form)?,
        (Part::Signing, Family::Ed25519) => match form {
            Form::Default | Form::Raw => codec::encode(entry.key.bytes()),
            form => document(form, "PRIVATE KEY", &ed25519::pkcs8(seed(entry)))?,
        },
        (Part::Public, Family::Rsa) => match entry.rsa_public() {
            Some(key) => document(pem_by_default(form), "PUBLIC KEY", &key.der())?,
            None => return Err(Fault::server("requested to encode an RSA public key with no RSA key present")),
        },
        (Part::Public, Family::Ecdsa(curve)) => {
            let point = entry.ec_point(curve).ok_or_else(|| Fault::server("stored key is not consistent"))?;
            document(pem_by_default(form), "PUBLIC KEY", &curve.public_der(&point))?
        }
        (Part::Public, Family::Ed25519) => match form {
            Form::Default | Form::Raw => entry.public_key.clone(),
            form => {
                let public = codec::decode(&entry.public_key).map_err(|_| Fault::server("stored key is not consistent"))?;
                document(form, "PUBLIC KEY", &ed25519::public_der(&public))?
            }
        },
        (Part::Chain, _) => match &entry.certificate_chain {
            Some(_) => chain_pem(entry),
            None => return Err(Fault::server("selected key version does not have a certificate chain imported")),
        },
        _ => return Ok(None),
    })
    .map(|text| text.trim().to_owned()))
}

fn ec_private(curve: Curve, entry: &KeyEntry, form: Form) -> Result<String, Fault> {
    let (Some(scalar), Some(point)) = (&entry.ec_d, entry.ec_point(curve)) else { return Ok(String::new()) };
    let scalar = scalar.padded(curve.bytes());
    match form {
        Form::Default => Ok(codec::pem("EC PRIVATE KEY", &curve.private_der(&scalar, &point, true))),
        form => document(form, "PRIVATE KEY", &curve.pkcs8(&scalar, &point)),
    }
}

fn pem_by_default(form: Form) -> Form {
    if form == Form::Default { Form::Pem } else { form }
}

fn document(form: Form, label: &str, der: &[u8]) -> Result<String, Fault> {
    match form {
        Form::Pem => Ok(codec::pem(label, der)),
        Form::Der => Ok(codec::encode(der)),
        Form::Raw | Form::Default => Err(Fault::server("unknown key format; supported values are ``, `der`, or `pem`")),
    }
}

fn raw_only(form: Form) -> Result<(), Fault> {
    match form {
        Form::Default | Form::Raw => Ok(()),
        _ => Err(Fault::server("unknown format for HMAC key; supported values are `` or `raw`")),
    }
}

fn seed(entry: &KeyEntry) -> &[u8] {
    entry.key.bytes().get(..ed25519::HALF_BYTES).unwrap_or_default()
}

/// What an import elsewhere wants to find inside the wrapping.
fn material(kind: KeyKind, entry: &KeyEntry) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let missing = || Fault::server("failed to wrap target key for import: the version has no private part");
    match kind.family() {
        Family::Aead | Family::Hmac => Ok(Zeroizing::new(entry.key.bytes().to_vec())),
        Family::Ed25519 if !entry.key.is_empty() => Ok(ed25519::pkcs8(seed(entry))),
        Family::Ed25519 => Err(missing()),
        Family::Rsa => entry.rsa_key.as_ref().ok_or_else(missing)?.pkcs8(),
        Family::Ecdsa(curve) => {
            let (Some(scalar), Some(point)) = (&entry.ec_d, entry.ec_point(curve)) else { return Err(missing()) };
            Ok(curve.pkcs8(&scalar.padded(curve.bytes()), &point))
        }
    }
}

/// The ephemeral AES key under RSA-OAEP, then the material under AES-KWP (RFC 5649).
fn wrapped(key: &RsaKey, hash: &'static OaepAlgorithm, ephemeral: &[u8], material: &[u8]) -> Result<Vec<u8>, Fault> {
    let mut out = key.wrap(hash, ephemeral)?;
    // KWP adds 8 bytes and fills up to a multiple of 8.
    let mut inner = vec![0; material.len() + 15];
    out.extend_from_slice(AesKek::new(&AES_256, ephemeral)?.wrap_with_padding(material, &mut inner)?);
    Ok(out)
}
