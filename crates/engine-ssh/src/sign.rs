//! `sign` and `issue`: what a client asks for, held against its role. The texts are Vault's.

use std::collections::{BTreeMap, BTreeSet};

use engine::{Call, EngineError, Field, FieldKind, Outcome, Response};
use serde_json::json;

use crate::certificate::{CertType, Draft};
use crate::private::{KeySpec, RsaHash};
use crate::public::PublicKey;
use crate::roles::{self, CaRole, Role, split, texts};
use crate::{Ssh, ca};

const KEY_ID_DEFAULT: &str = "vault-{{token_display_name}}-{{public_key_hash}}";

/// Declared fields of `sign`; `issue` has two more.
pub const SIGN: [Field; 8] = [
    Field::new("role", FieldKind::String, "Name of the role."),
    Field::new("public_key", FieldKind::String, "The key to sign, as in authorized_keys."),
    Field::new("valid_principals", FieldKind::String, "Users or hosts, comma-separated."),
    Field::new("ttl", FieldKind::DurationSecond, "Validity."),
    Field::new("cert_type", FieldKind::String, "`user` (default) or `host`."),
    Field::new("key_id", FieldKind::String, "Key id, where the role allows to choose it."),
    Field::new("critical_options", FieldKind::Map, "Critical options."),
    Field::new("extensions", FieldKind::Map, "Extensions."),
];

/// Declared fields of `issue`.
pub const ISSUE: [Field; 9] = {
    let [role, _, principals, ttl, kind, id, options, extensions] = SIGN;
    let key_type = Field::new("key_type", FieldKind::String, "`rsa` (default), `ec` or `ed25519`.");
    [
        role,
        principals,
        ttl,
        kind,
        id,
        options,
        extensions,
        key_type,
        Field::new("key_bits", FieldKind::Int, "Length; 0 is the usual."),
    ]
};

fn ca_role(call: &mut Call<'_>, name: &str, word: &str) -> Result<CaRole, EngineError> {
    match roles::load(call, name)?.as_deref() {
        Some(Role::Ca(role)) => Ok(role.as_ref().clone()),
        // A role for passwords allows no kind of certificate.
        Some(Role::Otp(_)) => Ok(CaRole::default()),
        None => Err(EngineError::Invalid(format!("{word} role: {name}"))),
    }
}

pub fn sign(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let name = roles::name(call)?;
    let role = ca_role(call, &name, "Unknown")?;
    let text = call.fields.str("public_key");
    if text.is_empty() {
        return Err(EngineError::invalid("missing public_key"));
    }
    let key = PublicKey::parse(text).map_err(|e| EngineError::Invalid(format!("failed to parse public_key as SSH key: {e}")))?;
    check_length(&role, &key)?;
    let (serial, certificate) = certify(call, &name, &role, &key)?;
    Ok(Some(Response::json(json!({ "serial_number": format!("{serial:x}"), "signed_key": certificate }))))
}

pub async fn issue(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let name = roles::name(call)?;
    let role = ca_role(call, &name, "unknown")?;
    let kind = call.fields.text("key_type").unwrap_or("rsa").to_owned();
    let spec =
        KeySpec::parse(&kind, call.fields.int("key_bits").unwrap_or(0)).map_err(|e| EngineError::Invalid(e.to_string()))?;
    let internal = |e: crate::private::KeyError| EngineError::Internal(e.to_string());
    let pair = ca::generate(spec).await.map_err(internal)?;
    let key = pair.public().map_err(internal)?;
    check_length(&role, &key)?;
    let (serial, certificate) = certify(call, &name, &role, &key)?;
    Ok(Some(Response::json(json!({
        "serial_number": format!("{serial:x}"),
        "signed_key": certificate,
        "private_key": pair.pem().map_err(internal)?.as_str(),
        "private_key_type": kind,
    }))))
}

fn check_length(role: &CaRole, key: &PublicKey) -> Result<(), EngineError> {
    let rules = &role.allowed_user_key_lengths;
    if rules.is_empty() {
        return Ok(());
    }
    let family = key.family();
    let meant = |kind: &str| kind == family || kind == key.kind || (kind == "ecdsa" && family == "ec");
    let mut rules = rules.iter().filter(|(kind, _)| meant(kind)).map(|(_, bits)| bits).peekable();
    let refuse = |why: String| Err(EngineError::Invalid(format!("public_key failed to meet the key requirements: {why}")));
    if rules.peek().is_none() {
        return refuse(format!("key of type {family} is not allowed"));
    }
    // Ed25519 has one length only.
    if family == "ed25519" || rules.flatten().any(|bits| *bits == 0 || *bits == i64::from(key.bits)) {
        return Ok(());
    }
    refuse(format!("key is of an invalid size: {}", key.bits))
}

fn certify(call: &mut Call<'_>, name: &str, role: &CaRole, key: &PublicKey) -> Result<(u64, String), EngineError> {
    let kind = cert_type(call, role)?;
    let principals = principals(call, role, kind)?;
    let key_id = key_id(call, name, role, key)?;
    let critical_options = critical_options(call, role)?;
    let extensions = extensions(call, role, kind)?;
    let ttl = ttl(call, role)?;
    let hash = match role.algorithm_signer.as_str() {
        "rsa-sha2-512" => RsaHash::Sha512,
        "ssh-rsa" => return Err(EngineError::invalid("algorithm_signer ssh-rsa is not supported: SHA-1 signatures are unsafe")),
        _ => RsaHash::Sha256,
    };
    let authority = ca::load(call)?;
    let (mut nonce, mut serial) = ([0; 32], [0; 8]);
    call.entropy.fill(&mut nonce)?;
    call.entropy.fill(&mut serial)?;
    let serial = u64::from_be_bytes(serial);
    let now = u64::try_from(call.now.unix()).unwrap_or_default();
    let draft = Draft {
        key,
        nonce,
        serial,
        kind,
        key_id,
        principals,
        valid_after: now.saturating_sub(role.not_before_duration),
        valid_before: now.saturating_add(ttl),
        critical_options,
        extensions,
    };
    let certificate = draft.sign(&authority, hash).map_err(|e| EngineError::Internal(format!("failed to sign: {e}")))?;
    Ok((serial, certificate))
}

fn cert_type(call: &Call<'_>, role: &CaRole) -> Result<CertType, EngineError> {
    let asked = call.fields.text("cert_type").filter(|t| !t.is_empty()).unwrap_or("user");
    let (kind, allowed) = match asked {
        "user" => (CertType::User, role.allow_user_certificates),
        "host" => (CertType::Host, role.allow_host_certificates),
        _ => return Err(EngineError::invalid("cert_type must be either 'user' or 'host'")),
    };
    if allowed { Ok(kind) } else { Err(EngineError::Invalid(format!("cert_type '{asked}' is not allowed by role"))) }
}

/// A certificate without principals is good for every user of every host that trusts the authority (CVE class R), so whatever
/// else the role says, `allow_empty_principals` must say so.
fn principals(call: &Call<'_>, role: &CaRole, kind: CertType) -> Result<Vec<String>, EngineError> {
    let asked: BTreeSet<String> = match call.fields.text("valid_principals") {
        Some(text) => split(text).map(str::to_owned).collect(),
        None if kind == CertType::Host || role.default_user.is_empty() => BTreeSet::new(),
        None => {
            let user = rendered(&role.default_user, role.default_user_template, call).ok_or_else(|| {
                EngineError::invalid("default_user cannot be rendered: the caller's identity lacks what its template asks for")
            })?;
            split(&user).map(str::to_owned).collect()
        }
    };
    if asked.is_empty() {
        return if role.allow_empty_principals {
            Ok(Vec::new())
        } else {
            Err(EngineError::invalid("empty valid principals not allowed by role"))
        };
    }
    let (text, is_template) = match kind {
        CertType::User => (&role.allowed_users, role.allowed_users_template),
        CertType::Host => (&role.allowed_domains, role.allowed_domains_template),
    };
    let allowed: Vec<String> = split(text).filter_map(|t| rendered(t, is_template, call)).collect();
    if split(text).next().is_none() {
        return Err(EngineError::invalid("role is not configured to allow any principals"));
    }
    for principal in &asked {
        let good = allowed.iter().any(|a| a == "*" || matches_principal(role, kind, a, principal));
        // The star is a rule and never a name.
        if !good || principal == "*" {
            return Err(EngineError::Invalid(format!("{principal} is not a valid value for valid_principals")));
        }
    }
    Ok(asked.into_iter().collect())
}

fn matches_principal(role: &CaRole, kind: CertType, allowed: &str, principal: &str) -> bool {
    match kind {
        CertType::User => allowed == principal,
        CertType::Host => {
            (role.allow_bare_domains && allowed == principal)
                || (role.allow_subdomains
                    && principal.strip_suffix(allowed).is_some_and(|front| front.len() > 1 && front.ends_with('.')))
        }
    }
}

/// Fills a template; `None` where the caller's identity lacks what it asks for, so that the rule allows nothing. A value that would
/// be more than one name, or any name, allows nothing either.
fn rendered(text: &str, is_template: bool, call: &Call<'_>) -> Option<String> {
    let is_one_name = |value: &str| !value.trim().is_empty() && !value.chars().any(|c| matches!(c, ',' | '*') || c.is_control());
    if is_template { policy::fill(text, &call.caller.identity, is_one_name) } else { Some(text.to_owned()) }
}

fn key_id(call: &Call<'_>, name: &str, role: &CaRole, key: &PublicKey) -> Result<String, EngineError> {
    let asked = call.fields.str("key_id");
    if !asked.is_empty() {
        return if role.allow_user_key_ids {
            Ok(asked.to_owned())
        } else {
            Err(EngineError::invalid("setting key_id is not allowed by role"))
        };
    }
    let format = if role.key_id_format.is_empty() { KEY_ID_DEFAULT } else { role.key_id_format.as_str() };
    // The display name last: nothing it holds is read as a template.
    Ok(format
        .replace("{{role_name}}", name)
        .replace("{{public_key_hash}}", &key.hash())
        .replace("{{token_display_name}}", &call.caller.display_name))
}

fn refused(asked: &BTreeMap<String, String>, allowed: &str) -> Vec<String> {
    let allowed: BTreeSet<&str> = split(allowed).collect();
    asked.keys().filter(|name| !allowed.contains(name.as_str())).cloned().collect()
}

fn critical_options(call: &Call<'_>, role: &CaRole) -> Result<BTreeMap<String, String>, EngineError> {
    let asked = texts(call.fields.map("critical_options"));
    if asked.is_empty() {
        return Ok(role.default_critical_options.clone());
    }
    // Vault's rule: without a list any option may be asked for; they restrict and never widen.
    let refused =
        if role.allowed_critical_options.is_empty() { Vec::new() } else { refused(&asked, &role.allowed_critical_options) };
    if refused.is_empty() {
        Ok(asked)
    } else {
        Err(EngineError::Invalid(format!("critical options not on allowed list: [{}]", refused.join(" "))))
    }
}

fn extensions(call: &Call<'_>, role: &CaRole, kind: CertType) -> Result<BTreeMap<String, String>, EngineError> {
    let asked = texts(call.fields.map("extensions"));
    if asked.is_empty() {
        if kind == CertType::Host {
            // None is defined for hosts.
            return Ok(BTreeMap::new());
        }
        let fill = |(name, value): (&String, &String)| {
            rendered(value, role.default_extensions_template, call)
                .map(|v| (name.clone(), v))
                .ok_or_else(|| EngineError::Invalid(format!("default extension {name} cannot be rendered")))
        };
        return role.default_extensions.iter().map(fill).collect();
    }
    let refused = if role.allowed_extensions == "*" { Vec::new() } else { refused(&asked, &role.allowed_extensions) };
    if refused.is_empty() {
        Ok(asked)
    } else {
        Err(EngineError::Invalid(format!("extensions [{}] are not on allowed list", refused.join(" "))))
    }
}

/// Seconds.
fn ttl(call: &Call<'_>, role: &CaRole) -> Result<u64, EngineError> {
    let or = |n: u64, other: u64| if n == 0 { other } else { n };
    let most = or(role.max_ttl, call.mount.max_lease_ttl.as_secs());
    match call.fields.duration("ttl").map(|d| d.as_secs()).filter(|s| *s > 0) {
        Some(asked) if asked > most => Err(EngineError::Invalid(format!("ttl is larger than maximum allowed {most}"))),
        Some(asked) => Ok(asked),
        None => Ok(or(role.ttl, call.mount.default_lease_ttl.as_secs()).min(most)),
    }
}
