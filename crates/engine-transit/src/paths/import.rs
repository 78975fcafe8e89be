//! `wrapping_key`, `keys/<name>/import` and `import_version`: keys that were made elsewhere.
//!
//! Deliberately absent: SHA-224 inside OAEP, which AWS-LC does not decrypt with; an OAEP of our own would be a place for
//! padding oracles.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepAlgorithm};
use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;
use zeroize::Zeroizing;

use super::keys::{flag, rotation_period};
use crate::Transit;
use crate::codec;
use crate::crypto::ec::EcKey;
use crate::crypto::ed25519;
use crate::crypto::rsa::{Padding, RsaPrivate, RsaPublic};
use crate::fault::Fault;
use crate::kind::{Family, KeyKind};
use crate::limits::{HMAC_KEY_MAX_BYTES, HMAC_KEY_MIN_BYTES, WRAPPED_KEY_BYTES};
use crate::policy::{KeyEntry, Policy, Prepared};
use crate::record::Blob;
use crate::store;

/// What a client brings.
enum Material {
    /// The key itself, or PKCS#8.
    Private(Zeroizing<Vec<u8>>),
    /// PEM of a public key.
    Public(String),
}

/// Shows the public key that imports are wrapped with; makes it at the first time.
pub(super) fn wrapping_key(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let policy = match store::wrapping_key(&mut call.view)? {
        Some(found) => (*found).clone(),
        None => {
            let mut fresh = Policy::new("wrapping-key", KeyKind::Rsa4096);
            fresh.add(KeyEntry::generate(fresh.kind, 0, call.entropy, call.now)?);
            store::put_wrapping_key(&mut call.view, &fresh)?;
            fresh
        }
    };
    let public = policy.entry(policy.latest_version)?.rsa_public().ok_or_else(|| EngineError::internal("no wrapping key"))?;
    Ok(Some(Response::json(json!({ "public_key": codec::pem("PUBLIC KEY", &public.der()) }))))
}

/// Makes a key of material from elsewhere.
pub(super) fn import(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let raised = |text: &str| Err(EngineError::internal(text));
    let fields = &call.fields;
    let period = rotation_period(call)?.unwrap_or(0);
    let may_rotate = flag(call, "allow_rotation");
    if period != 0 && !may_rotate {
        return raised("allow_rotation must be set to true if auto-rotation is enabled");
    }
    let name = fields.text("type").filter(|t| !t.is_empty()).unwrap_or("aes256-gcm96");
    let kind = KeyKind::parse(name).ok_or_else(|| EngineError::Invalid(format!("unknown key type: {name}")))?;
    let mut policy = Policy::new(fields.str("name"), kind);
    policy.set_derived(flag(call, "derived"), false)?;
    policy.exportable = flag(call, "exportable");
    policy.allow_plaintext_backup = flag(call, "allow_plaintext_backup");
    policy.auto_rotate_period = period;
    policy.imported = true;
    policy.allow_imported_key_rotation = may_rotate;
    if store::exists(&mut call.view, &policy.name)? {
        return raised(
            "the import path cannot be used with an existing key; use import-version to rotate an existing imported key",
        );
    }
    let material = material(call, kind)?;
    add(call, &mut policy, &material)?;
    store::save(&mut call.view, &mut policy)?;
    Ok(None)
}

/// Adds a version of material from elsewhere, or brings the private half of a version that has only the public one.
pub(super) fn import_version(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name");
    let mut policy = match store::load(&mut call.view, name)? {
        Some(found) => (*found).clone(),
        None => {
            let text = format!("no key found with name {name}; to import a new key, use the import/ endpoint");
            return Err(EngineError::Internal(text));
        }
    };
    if !policy.imported {
        return Err(EngineError::internal("the import_version endpoint can only be used with an imported key"));
    }
    if policy.convergent_encryption {
        return Err(EngineError::internal("import_version cannot be used on keys with convergent encryption enabled"));
    }
    let material = material(call, policy.kind)?;
    match (call.fields.int("version").filter(|v| *v != 0), &material) {
        (Some(version), Material::Public(_)) => {
            policy.entry(version)?;
            let text = "cannot add a public key to a key version that already has a public key set";
            return Err(EngineError::internal(text));
        }
        (Some(version), Material::Private(key)) => complete(&mut policy, version, key)?,
        (None, Material::Private(key)) if latest_is_public_only(&policy) => {
            let latest = policy.latest_version;
            if complete(&mut policy, latest, key).is_err() {
                add(call, &mut policy, &material)?;
            }
        }
        (None, _) => add(call, &mut policy, &material)?,
    }
    store::save(&mut call.view, &mut policy)?;
    Ok(None)
}

/// The hash inside OAEP by its name.
pub(super) fn oaep(name: &str) -> Result<&'static OaepAlgorithm, EngineError> {
    match name.to_uppercase().as_str() {
        "SHA1" => Ok(&OAEP_SHA1_MGF1SHA1),
        "SHA256" => Ok(&OAEP_SHA256_MGF1SHA256),
        "SHA384" => Ok(&OAEP_SHA384_MGF1SHA384),
        "SHA512" => Ok(&OAEP_SHA512_MGF1SHA512),
        _ => Err(EngineError::Invalid(format!("unknown hash function: {name}"))),
    }
}

fn material(call: &mut Call<'_>, kind: KeyKind) -> Result<Material, EngineError> {
    let (ciphertext, public) = (call.fields.str("ciphertext"), call.fields.str("public_key"));
    if !ciphertext.is_empty() && !public.is_empty() {
        let text = "only one of the following fields, ciphertext and public_key, can be set";
        return Err(EngineError::internal(text));
    }
    if !public.is_empty() {
        if !kind.asymmetric() {
            return Err(EngineError::internal("provided type does not support public_key import"));
        }
        return Ok(Material::Public(public.to_owned()));
    }
    let hash = oaep(call.fields.text("hash_function").filter(|h| !h.is_empty()).unwrap_or("SHA256"))?;
    let ciphertext = codec::decode(ciphertext).map_err(EngineError::Internal)?;
    let policy = store::wrapping_key(&mut call.view)?;
    let (wrapped, inner) = ciphertext
        .split_at_checked(WRAPPED_KEY_BYTES)
        .filter(|(_, inner)| !inner.is_empty())
        .ok_or_else(|| EngineError::internal("provided ciphertext is too short"))?;
    let policy = policy.ok_or_else(|| EngineError::internal("error importing key: wrapping key was nil"))?;
    let Prepared::Rsa(key) = policy.entry(policy.latest_version)?.prepared(policy.kind)? else {
        return Err(EngineError::internal("error importing key: wrapping key was nil"));
    };
    Ok(Material::Private(unwrap(key, hash, wrapped, inner)?))
}

/// One text for all failures inside, so that nothing can be learned about the padding.
fn unwrap(
    key: &crate::crypto::rsa::RsaKey,
    hash: &'static OaepAlgorithm,
    wrapped: &[u8],
    inner: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let failed = || Fault::server("the imported key cannot be unwrapped");
    let ephemeral = Zeroizing::new(key.decrypt_with(Padding::Oaep, hash, wrapped).map_err(|_| failed())?);
    if ephemeral.len() != 32 {
        return Err(failed());
    }
    let mut out = Zeroizing::new(vec![0; inner.len()]);
    let kek = AesKek::new(&AES_256, &ephemeral)?;
    let length = kek.unwrap_with_padding(inner, &mut out).map_err(|_| failed())?.len();
    out.truncate(length);
    Ok(out)
}

fn latest_is_public_only(policy: &Policy) -> bool {
    policy.keys.get(&policy.latest_version).is_some_and(KeyEntry::lacks_private_half)
}

fn add(call: &Call<'_>, policy: &mut Policy, material: &Material) -> Result<(), Fault> {
    let mut entry = KeyEntry::empty(call.entropy, call.now)?;
    match material {
        Material::Private(key) => set_private(policy, &mut entry, key)?,
        Material::Public(pem) => set_public(policy, &mut entry, pem)?,
    }
    policy.add(entry);
    Ok(())
}

fn set_private(policy: &mut Policy, entry: &mut KeyEntry, key: &[u8]) -> Result<(), Fault> {
    let kind = policy.kind;
    let length = i64::try_from(key.len()).unwrap_or(i64::MAX);
    let wrong_length = || Err(Fault::Server(format!("invalid key size {length} bytes for key type {kind}")));
    match kind.family() {
        Family::Aead if key.len() != kind.cipher_key_bytes() => return wrong_length(),
        Family::Hmac if !(HMAC_KEY_MIN_BYTES..=HMAC_KEY_MAX_BYTES).contains(&length) => return wrong_length(),
        Family::Aead => entry.key = Blob::new(key.to_vec()),
        Family::Hmac => {
            policy.key_size = length;
            entry.key = Blob::new(key.to_vec());
            entry.hmac_key = entry.key.clone();
        }
        Family::Ecdsa(curve) => entry.set_ec(curve, &EcKey::from_pkcs8(curve, key)?),
        Family::Ed25519 => entry.set_ed25519(&ed25519::from_pkcs8(key)?),
        Family::Rsa => {
            let key = RsaPrivate::from_pkcs8(key)?;
            check_bits(kind, &key.public())?;
            entry.rsa_key = Some(key);
        }
    }
    Ok(())
}

fn set_public(policy: &Policy, entry: &mut KeyEntry, pem: &str) -> Result<(), Fault> {
    if policy.kind.family() == Family::Ed25519 && policy.derived {
        return Err(Fault::server(
            "unable to import only public key for derived Ed25519 key: imported key should not be an Ed25519 key pair but \
             is instead an HKDF key",
        ));
    }
    let (_, der) =
        codec::parse_pem(pem).into_iter().next().ok_or_else(|| Fault::server("error parsing public key: not in PEM format"))?;
    let wrong = || Fault::Server(format!("error parsing public key: expected a key of type {}", policy.kind));
    match policy.kind.family() {
        Family::Rsa => {
            let key = RsaPublic::from_der(&der).ok_or_else(wrong)?;
            check_bits(policy.kind, &key)?;
            entry.rsa_public_key = Some(key);
        }
        Family::Ecdsa(curve) => {
            let point = curve.point_of(&der).ok_or_else(wrong)?;
            let (x, y) = point.get(1..).and_then(|p| p.split_at_checked(curve.bytes())).ok_or_else(wrong)?;
            entry.set_ec_public(curve, x, y);
        }
        Family::Ed25519 => entry.public_key = codec::encode(ed25519::public_of(&der).ok_or_else(wrong)?),
        Family::Aead | Family::Hmac => return Err(wrong()),
    }
    Ok(())
}

fn check_bits(kind: KeyKind, key: &RsaPublic) -> Result<(), Fault> {
    let (want, got) = (kind.rsa_bits() / 8, key.bits().div_ceil(8));
    if want == got {
        return Ok(());
    }
    Err(Fault::Server(format!("invalid key size: expected {want} bytes, got {got} bytes")))
}

/// Puts the private half beside the public one it belongs to.
fn complete(policy: &mut Policy, version: i64, key: &[u8]) -> Result<(), Fault> {
    if !policy.kind.asymmetric() {
        return Err(Fault::server("provided type does not support importing key versions"));
    }
    let old = policy.entry(version)?.clone();
    if !old.lacks_private_half() {
        return Err(Fault::server("private key imported, key version cannot be updated"));
    }
    let mut entry = old.shell();
    set_private(policy, &mut entry, key)?;
    let same = entry.public_key == old.public_key && entry.rsa_public().map(|k| k.der()) == old.rsa_public().map(|k| k.der());
    if !same {
        return Err(Fault::server("cannot import key, key pair does not match"));
    }
    policy.keys.insert(version, entry);
    Ok(())
}
