//! Roots: making them, and deleting everything.

use std::time::Duration;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, Fields, Outcome, Response, Route};
use storage::View;

use crate::answer::{Exported, Format, put_signed};
use crate::draft::{Basic, Draft, Signer, Urls};
use crate::fields::{alt_names, authority_fields, complete, constraints, hash_bits, subject};
use crate::keys::{KeySpec, PrivateKey, SpecError};
use crate::limits::NOT_BEFORE_SECONDS;
use crate::reading::Certificate;
use crate::signing::{apart, serial};
use crate::store::{
    Key, Named, add_issuer, add_key, all_issuers, all_keys, put_issued, resolve_key, serial_text, setting, touch_crls,
};
use crate::validity::{self, Ask};
use crate::{Pki, oids, pem};

const FIELDS: &[Field] = authority_fields! {
    "exported", String, "`internal`, `exported` (the key is shown once) or `existing`.";
    "key_type", String, "`rsa`, `ec` or `ed25519`.";
    "key_bits", Int, "Size of the key; 0 for the kind's default.";
    "issuer_name", String, "A name for the issuer.";
    "key_name", String, "A name for the key.";
    "key_ref", String, "The key of an `existing` root.";
};

/// Why URLs matter, in Vault's words.
pub const NO_URLS: &str = "This mount hasn't configured any authority information access (AIA) fields; this may make it harder for \
     systems to find missing certificates in the chain or to validate revocation status of certificates. Consider updating \
     /config/urls or the newly generated issuer with this information.";
const NO_SUBJECT: &str = "This issuer certificate was generated without a Subject; this makes it likely that issuing leaf certs with \
     this certificate will cause TLS validation libraries to reject this certificate.";

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    let new_root = |pattern| {
        Route::new(pattern, FIELDS, "A new root.")
            .on_async(Operation::Update, "Makes a self-signed certificate.", |_, call| Box::pin(generate(call, "")))
    };
    vec![
        new_root("root/generate/{exported}"),
        new_root("issuers/generate/root/{exported}"),
        Route::new("root/rotate/{exported}", FIELDS, "A new root beside the old one.").on_async(
            Operation::Update,
            "Makes a self-signed certificate, named `next` unless another name is given.",
            |_, call| Box::pin(generate(call, "next")),
        ),
        Route::new("root", &[], "All issuers and keys.").on(Operation::Delete, "Deletes all issuers and keys.", delete_all),
    ]
}

/// Where a key comes from.
pub enum Source {
    /// A key of the mount.
    Existing(std::sync::Arc<Key>),
    /// A new one.
    New(KeySpec),
}

impl Source {
    /// Reads `exported`, `key_type`, `key_bits`, `key_ref`.
    pub fn of(view: &mut View<'_>, f: &Fields) -> Result<Self, EngineError> {
        if f.str("exported") == "existing" {
            let reference = f.text("key_ref").filter(|r| !r.is_empty()).unwrap_or("default");
            return Ok(Self::Existing(resolve_key(view, reference)?));
        }
        let kind = f.text("key_type").unwrap_or("rsa");
        let bits = f.int("key_bits").unwrap_or(0);
        KeySpec::parse(kind, bits).map(Self::New).map_err(|e| match e {
            SpecError::UnknownType(kind) => {
                EngineError::invalid(format!("unsupported hash signature algorithm for keyType {kind}: {bits}"))
            }
            other => EngineError::invalid(other.to_string()),
        })
    }

    /// The key itself.
    pub async fn key(self) -> Result<PrivateKey, EngineError> {
        match self {
            Self::Existing(record) => record.load(),
            Self::New(spec) => apart(move || PrivateKey::generate(spec)).await,
        }
    }
}

/// Refuses a kind that is not one; `kms` is Vault Enterprise's.
pub fn check_exported(f: &Fields) -> Result<(), EngineError> {
    match f.str("exported") {
        "internal" | "exported" | "existing" => Ok(()),
        "kms" => Err(EngineError::invalid("managed keys are not supported by this server")),
        _ => {
            Err(EngineError::invalid("the \"exported\" path parameter must be \"internal\", \"existing\", exported\" or \"kms\""))
        }
    }
}

/// The draft of an authority as the fields describe it, without URLs.
pub fn authority_draft(call: &Call<'_>, key: crate::public::PublicKey) -> Result<(Draft, Vec<String>), EngineError> {
    let f = &call.fields;
    let ask = Ask {
        ttl: f.duration("ttl").unwrap_or_default(),
        not_after: f.str("not_after"),
        default_ttl: call.mount.default_lease_ttl,
        max_ttl: call.mount.max_lease_ttl,
    };
    let (end, warnings) = validity::end(ask, call.now).map_err(EngineError::Invalid)?;
    let back = f.duration("not_before_duration").unwrap_or(Duration::from_secs(NOT_BEFORE_SECONDS.unsigned_abs()));
    let subject = subject(f);
    let exclude = f.bool("exclude_cn_from_sans").unwrap_or(false);
    let mut draft = Draft::new(subject.to_der(), key, call.now.minus(back).unix(), end);
    draft.names = complete(alt_names(f)?, &subject.common_name, exclude)?;
    draft.constraints = constraints(f)?;
    draft.key_usage = oids::KEY_CERT_SIGN | oids::CRL_SIGN;
    draft.basic = Basic::Authority(path_length(f)?);
    Ok((draft, warnings))
}

fn path_length(f: &Fields) -> Result<Option<u8>, EngineError> {
    match f.int("max_path_length").unwrap_or(-1) {
        n if n < 0 => Ok(None),
        n => u8::try_from(n).map(Some).map_err(|_| EngineError::invalid("max_path_length is too large")),
    }
}

async fn generate(call: &mut Call<'_>, default_name: &str) -> Outcome {
    check_exported(&call.fields)?;
    let format = Format::of(&call.fields)?;
    let issuer_name = call.fields.text("issuer_name").filter(|n| !n.is_empty()).unwrap_or(default_name).to_owned();
    let key_name = call.fields.str("key_name").to_owned();
    Named::Issuer.check(&mut call.view, &issuer_name, "")?;
    Named::Key.check(&mut call.view, &key_name, "")?;
    let hash_bits = hash_bits(call.fields.int("signature_bits").unwrap_or(0))?;
    let source = Source::of(&mut call.view, &call.fields)?;
    let exported = call.fields.str("exported") == "exported";
    let key = source.key().await?;
    let (mut draft, mut warnings) = authority_draft(call, key.public())?;
    draft.urls = setting::<Urls>(&mut call.view, "config/urls")?;
    if draft.urls.enable_templating {
        // The issuer has no id yet, and a root's own URLs are of little use.
        draft.urls = Urls::default();
    }
    let scheme = key.scheme(hash_bits, call.fields.bool("use_pss").unwrap_or(false));
    let signer = Signer { name: draft.subject.clone(), key_id: key.public().id(), scheme };
    let serial = serial(call.entropy)?;
    let (number, end, without_urls) = (serial.clone(), draft.not_after, draft.urls.is_empty());
    if call.fields.str("common_name").is_empty() {
        warnings.push(NO_SUBJECT.to_owned());
    }
    if without_urls {
        warnings.push(NO_URLS.to_owned());
    }
    let (der, key) = apart(move || draft.sign(&number, &signer, &key).map(|der| (der, key))).await?;
    let certificate = Certificate::from_der(&der).map_err(|e| EngineError::internal(e.to_string()))?;
    let (key_record, _) = add_key(&mut call.view, &key, &key_name, call.entropy)?;
    let (issuer, _) = add_issuer(&mut call.view, &certificate, &issuer_name, call.entropy)?;
    put_issued(&mut call.view, &serial, &der, &issuer.id, end)?;
    let mut map = Map::new();
    let shown = Exported { key: &key, as_pkcs8: call.fields.str("private_key_format") == "pkcs8" };
    put_signed(&mut map, "certificate", pem::CERTIFICATE, format, &der, exported.then_some(&shown), &[])?;
    map.insert("issuing_ca".into(), format.text(pem::CERTIFICATE, &der).into());
    map.insert("serial_number".into(), serial_text(&serial).into());
    map.insert("expiration".into(), end.into());
    map.insert("issuer_id".into(), issuer.id.clone().into());
    map.insert("issuer_name".into(), issuer.name.clone().into());
    map.insert("key_id".into(), key_record.id.clone().into());
    map.insert("key_name".into(), key_record.name.clone().into());
    let mut response = Response::data(map);
    response.warnings = warnings;
    Ok(Some(response))
}

/// Needs `sudo`: it cannot be undone, and the path is that of an ordinary read.
fn delete_all(_: &Pki, call: &mut Call<'_>) -> Outcome {
    require_sudo(call)?;
    let issuers = all_issuers(&mut call.view)?;
    for issuer in &issuers {
        Named::Issuer.rename(&mut call.view, &issuer.id, &issuer.name, "")?;
        call.view.delete(&format!("issuer/{}", issuer.id))?;
    }
    for key in all_keys(&mut call.view)? {
        Named::Key.rename(&mut call.view, &key.id, &key.name, "")?;
        call.view.delete(&format!("key/{}", key.id))?;
    }
    call.view.delete("config/issuers")?;
    call.view.delete("config/keys")?;
    touch_crls(&mut call.view, call.entropy)?;
    Ok(None)
}

/// Refuses a caller whose policies do not give `sudo` here.
pub fn require_sudo(call: &Call<'_>) -> Result<(), EngineError> {
    if call.caller.sudo || call.caller.is_root { Ok(()) } else { Err(EngineError::denied("permission denied")) }
}
