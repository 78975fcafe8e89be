//! Intermediates: requests made here, requests signed here, and certificates signed once more by another root.

use api_types::{Map, Operation};
use engine::{BoxFuture, Call, EngineError, Field, Outcome, Response, Route};

use crate::answer::{Exported, Format, issued, put_signed};
use crate::draft::{Basic, Extension, basic_constraints, request};
use crate::fields::{alt_names, authority_fields, complete, hash_bits, subject};
use crate::issue::{kept_extensions, read_request};
use crate::pem;
use crate::reading::Certificate;
use crate::root::{NO_URLS, Source, authority_draft, check_exported, require_sudo};
use crate::signing::{Authority, apart, serial};
use crate::store::{Named, Usage, add_key, put_issued};
use crate::validity;
use crate::{Pki, oids};

const REQUEST: &[Field] = authority_fields! {
    "exported", String, "`internal`, `exported` (the key is shown once) or `existing`.";
    "key_type", String, "`rsa`, `ec` or `ed25519`.";
    "key_bits", Int, "Size of the key; 0 for the kind's default.";
    "key_name", String, "A name for the key.";
    "key_ref", String, "The key of an `existing` request.";
    "add_basic_constraints", Bool, "The request asks to be an authority.";
};

const SIGN: &[Field] = authority_fields! {
    "issuer_ref", String, "The issuer instead of the default one.";
    "csr", String, "The certificate request, PEM.";
    "use_csr_values", Bool, "Subject, names and extensions are the request's.";
    "skid", String, "Subject key identifier in hexadecimal, for cross-signing.";
    "enforce_leaf_not_after_behavior", Bool, "The issuer's rule for leaves that outlive it counts here too.";
};

const SELF_ISSUED: &[Field] = &[
    Field::new("issuer_ref", engine::FieldKind::String, "The issuer instead of the default one."),
    Field::new("certificate", engine::FieldKind::String, "The self-issued certificate, PEM."),
    Field::new("require_matching_certificate_algorithms", engine::FieldKind::Bool, "Both keys must be of one kind."),
];

const SINCE_INTERMEDIATE: &str = " Since this certificate is an intermediate, it might be useful to regenerate this \
     certificate after fixing this problem for the root mount.";

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    let request = |pattern| {
        Route::new(pattern, REQUEST, "A request for an intermediate.").on_async(Operation::Update, "Makes a request.", generate)
    };
    let sign =
        |pattern| Route::new(pattern, SIGN, "Signs an intermediate.").on_async(Operation::Update, "Signs an intermediate.", sign);
    let again = |pattern| {
        Route::new(pattern, SELF_ISSUED, "Signs a self-issued certificate.").on_async(
            Operation::Update,
            "Signs a self-issued certificate once more.",
            self_issued,
        )
    };
    vec![
        request("intermediate/generate/{exported}"),
        request("issuers/generate/intermediate/{exported}"),
        request("intermediate/cross-sign"),
        sign("root/sign-intermediate"),
        sign("issuer/{issuer_ref}/sign-intermediate"),
        again("root/sign-self-issued"),
        again("issuer/{issuer_ref}/sign-self-issued"),
    ]
}

fn generate<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        if call.path == "intermediate/cross-sign" {
            let mut data = call.request.data.clone();
            data.insert("exported".into(), "existing".into());
            call.fields = engine::Fields::decode(REQUEST, &[], &data)?;
        }
        check_exported(&call.fields)?;
        let format = Format::of(&call.fields)?;
        let key_name = call.fields.str("key_name").to_owned();
        Named::Key.check(&mut call.view, &key_name, "")?;
        let hash_bits = hash_bits(call.fields.int("signature_bits").unwrap_or(0))?;
        let exclude = call.fields.bool("exclude_cn_from_sans").unwrap_or(false);
        let subject = subject(&call.fields);
        let names = complete(alt_names(&call.fields)?, &subject.common_name, exclude)?;
        let asks = call.fields.bool("add_basic_constraints").unwrap_or(false);
        let extra: Vec<Extension> =
            basic_constraints(if asks { Basic::Authority(None) } else { Basic::Absent }).into_iter().collect();
        let key = Source::of(&mut call.view, &call.fields)?.key().await?;
        let scheme = key.scheme(hash_bits, call.fields.bool("use_pss").unwrap_or(false));
        let (der, key) = apart(move || request(&subject.to_der(), &names, &extra, &key, scheme).map(|der| (der, key))).await?;
        let (record, _) = add_key(&mut call.view, &key, &key_name, call.entropy)?;
        let shown = Exported { key: &key, as_pkcs8: call.fields.str("private_key_format") == "pkcs8" };
        let shown = (call.fields.str("exported") == "exported").then_some(&shown);
        let mut map = Map::new();
        put_signed(&mut map, "csr", pem::REQUEST, format, &der, shown, &[])?;
        map.insert("key_id".into(), record.id.clone().into());
        Ok(Some(Response::data(map)))
    })
}

fn reference(call: &Call<'_>) -> String {
    call.fields.text("issuer_ref").filter(|r| !r.is_empty()).unwrap_or("default").to_owned()
}

fn sign<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let format = Format::of(&call.fields)?;
        let reference = reference(call);
        let authority = Authority::load(&mut call.view, &reference, Usage::IssuingCertificates)?;
        let request = read_request(&call.fields)?;
        let (mut draft, mut warnings) = authority_draft(call, request.key.clone())?;
        if call.fields.bool("use_csr_values").unwrap_or(false) {
            draft.subject = request.subject.clone();
            draft.names = complete(request.names.clone(), "", true)?;
            draft.extra = kept_extensions(&request).into_iter().filter(|e| e.id != oids::KEY_USAGE).collect();
            let asked = request.extension::<x509_cert::ext::pkix::KeyUsage>(oids::KEY_USAGE);
            draft.key_usage |= asked.ok().flatten().map_or(0, |u| u.0.bits());
        }
        draft.basic = Basic::Authority(below(&authority.certificate, draft.basic)?);
        if call.fields.bool("enforce_leaf_not_after_behavior").unwrap_or(false) {
            let behavior = authority.issuer.leaf_not_after_behavior;
            draft.not_after =
                validity::within(draft.not_after, &authority.certificate, behavior).map_err(EngineError::Invalid)?;
        }
        draft.key_id = key_identifier(call.fields.str("skid"))?;
        draft.urls = authority.urls.clone();
        authority.admits(&draft)?;
        if draft.urls.is_empty() {
            warnings.push(format!("{NO_URLS}{SINCE_INTERMEDIATE}"));
        }
        let hash_bits = hash_bits(call.fields.int("signature_bits").unwrap_or(0))?;
        let signer = authority.signer(hash_bits, call.fields.bool("use_pss").unwrap_or(false));
        let serial = serial(call.entropy)?;
        let Authority { issuer, chain, key, .. } = authority;
        let (number, end) = (serial.clone(), draft.not_after);
        let der = apart(move || draft.sign(&number, &signer, &key)).await?;
        put_issued(&mut call.view, &serial, &der, &issuer.id, end)?;
        // What is trusted below starts with the new certificate itself.
        let mut shown = vec![Certificate::from_der(&der).map_err(|e| EngineError::internal(e.to_string()))?];
        shown.extend(chain.iter().cloned());
        let mut map = issued(format, &der, &serial, end, &chain, None, false)?;
        let texts: Vec<serde_json::Value> = shown.iter().map(|c| format.text(pem::CERTIFICATE, &c.der).into()).collect();
        map.insert("ca_chain".into(), texts.into());
        let mut response = Response::data(map);
        response.warnings = warnings;
        Ok(Some(response))
    })
}

/// The path length of an authority below `issuer`: as wished, but always less than the issuer's own.
fn below(issuer: &Certificate, wished: Basic) -> Result<Option<u8>, EngineError> {
    let wished = match wished {
        Basic::Authority(n) => n,
        _ => None,
    };
    match issuer.path_len {
        None => Ok(wished),
        Some(0) => Err(EngineError::invalid(
            "signing certificate has a max path length of zero, and cannot issue further CA certificates",
        )),
        Some(n) => match wished {
            None => Ok(Some(n.saturating_sub(1))),
            Some(w) if w < n => Ok(Some(w)),
            Some(w) => Err(EngineError::invalid(format!(
                "requested max path length of {w} is greater than signing certificate's max path length of {n}"
            ))),
        },
    }
}

fn key_identifier(text: &str) -> Result<Option<Vec<u8>>, EngineError> {
    if text.is_empty() {
        return Ok(None);
    }
    let plain: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    let pairs: Vec<&str> = (0..plain.len()).step_by(2).filter_map(|i| plain.get(i..i + 2)).collect();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|p| u8::from_str_radix(p, 16).ok()).collect();
    match bytes {
        Some(bytes) if plain.len().is_multiple_of(2) && (1..=64).contains(&bytes.len()) => Ok(Some(bytes)),
        _ => Err(EngineError::invalid(format!("cannot parse given SKID value as hex: {text:?}"))),
    }
}

/// The same key, subject, times and constraints, under another issuer. On the path without an issuer it needs `sudo`.
fn self_issued<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        if call.path == "root/sign-self-issued" {
            require_sudo(call)?;
        }
        let blocks =
            pem::decode(call.fields.str("certificate")).map_err(|_| EngineError::invalid("certificate contains no data"))?;
        let block = blocks.first().ok_or_else(|| EngineError::invalid("certificate contains no data"))?;
        let certificate =
            Certificate::from_der(&block.der).map_err(|e| EngineError::invalid(format!("error parsing certificate: {e}")))?;
        if !certificate.is_ca {
            return Err(EngineError::invalid("the given certificate is not a CA certificate"));
        }
        if certificate.subject != certificate.issuer {
            return Err(EngineError::invalid("the given certificate is not self-issued"));
        }
        let reference = reference(call);
        let authority = Authority::load(&mut call.view, &reference, Usage::IssuingCertificates)?;
        let same_kind = authority.certificate.key.spec().kind == certificate.key.spec().kind;
        if call.fields.bool("require_matching_certificate_algorithms").unwrap_or(false) && !same_kind {
            return Err(EngineError::invalid("certificate key types do not match"));
        }
        let mut draft = crate::draft::Draft::new(
            certificate.subject.clone(),
            certificate.key.clone(),
            certificate.not_before,
            certificate.not_after,
        );
        draft.basic = Basic::Authority(below(&authority.certificate, Basic::Authority(certificate.path_len))?);
        draft.key_usage = certificate.key_usage.unwrap_or(oids::KEY_CERT_SIGN | oids::CRL_SIGN);
        draft.constraints = certificate.constraints.clone();
        draft.key_id = Some(certificate.key_id.clone());
        draft.urls = authority.urls.clone();
        let signer = authority.signer(0, false);
        let serial = certificate.serial.clone();
        let Authority { chain, key, .. } = authority;
        let der = apart(move || draft.sign(&serial, &signer, &key)).await?;
        let mut map = Map::new();
        map.insert("certificate".into(), pem::encode(pem::CERTIFICATE, &der).into());
        if let Some(issuer) = chain.first() {
            map.insert("issuing_ca".into(), pem::encode(pem::CERTIFICATE, &issuer.der).into());
        }
        Ok(Some(Response::data(map)))
    })
}
