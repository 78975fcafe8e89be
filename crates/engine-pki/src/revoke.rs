//! Revoking certificates: by serial number, by certificate, by proof of the key, by the end of a lease. Issuers are revoked
//! elsewhere (`issuers`); no issuer can be put on its own list.

use std::sync::Arc;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};

use crate::Pki;
use crate::keys::PrivateKey;
use crate::pem;
use crate::reading::Certificate;
use crate::store::{Issued, Revoked, all_issuers, decode, hex_joined, put_issued, serial_key, touch_crls};

const FIELDS: &[Field] = &[
    Field::new("serial_number", FieldKind::String, "The serial number, in hexadecimal with `:` or `-`."),
    Field::new("certificate", FieldKind::String, "The certificate, PEM, instead of its serial number."),
];
const WITH_KEY: &[Field] = &[
    Field::new("serial_number", FieldKind::String, "The serial number, in hexadecimal with `:` or `-`."),
    Field::new("certificate", FieldKind::String, "The certificate, PEM, instead of its serial number."),
    Field::new("private_key", FieldKind::String, "The certificate's private key, PEM."),
];

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    vec![
        Route::new("revoke", FIELDS, "Revokes a certificate.").on(Operation::Update, "Revokes a certificate.", revoke),
        Route::new("revoke-with-key", WITH_KEY, "Revokes a certificate of whoever has its key.").on(
            Operation::Update,
            "Revokes a certificate.",
            revoke_with_key,
        ),
    ]
}

/// A certificate with its storage key and, if the mount knows, its issuer.
struct Found {
    key: String,
    certificate: Certificate,
    issuer_id: String,
}

fn revoke(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let found = find(call)?;
    mark(call, &found)
}

fn revoke_with_key(_: &Pki, call: &mut Call<'_>) -> Outcome {
    if call.fields.str("private_key").is_empty() {
        return Err(EngineError::invalid("The private key must be provided to revoke with proof of possession."));
    }
    let found = find(call)?;
    let blocks = pem::decode(call.fields.str("private_key")).map_err(|e| EngineError::invalid(e.to_string()))?;
    let key = blocks.iter().find(|b| b.label.ends_with("PRIVATE KEY")).and_then(|b| PrivateKey::from_der(&b.der).ok());
    let key = key.ok_or_else(|| EngineError::invalid("failed to parse provided private key"))?;
    if key.public() != found.certificate.key {
        return Err(EngineError::invalid("provided private key does not match the certificate's public key"));
    }
    mark(call, &found)
}

fn find(call: &mut Call<'_>) -> Result<Found, EngineError> {
    let (serial, text) = (call.fields.str("serial_number").to_owned(), call.fields.str("certificate").to_owned());
    match (serial.is_empty(), text.is_empty()) {
        (true, true) => Err(EngineError::invalid("The serial number or certificate to revoke must be provided.")),
        (false, false) => Err(EngineError::invalid("Must provide either the certificate or the serial to revoke; not both.")),
        (false, true) => by_serial(call, &serial),
        (true, false) => by_certificate(call, &text),
    }
}

fn by_serial(call: &mut Call<'_>, serial: &str) -> Result<Found, EngineError> {
    let missing = || EngineError::invalid(format!("certificate with serial {serial} not found"));
    let key = serial_key(serial).ok_or_else(missing)?;
    let issued: Arc<Issued> = call.view.get_json(&format!("certs/{key}"))?.ok_or_else(missing)?;
    let certificate = Certificate::from_der(&decode(&issued.certificate)?).map_err(|e| EngineError::internal(e.to_string()))?;
    Ok(Found { key, certificate, issuer_id: issued.issuer_id.clone() })
}

/// A certificate as it was sent. It is believed only with a signature of one of this mount's issuers, and if a certificate of
/// that serial number is kept, only if it is the same one.
fn by_certificate(call: &mut Call<'_>, text: &str) -> Result<Found, EngineError> {
    let blocks = pem::decode(text).map_err(|_| EngineError::invalid("The provided certificate could not be parsed."))?;
    let block = blocks.iter().find(|b| b.label == pem::CERTIFICATE);
    let read = block.and_then(|b| Certificate::from_der(&b.der).ok());
    let certificate = read.ok_or_else(|| EngineError::invalid("The provided certificate could not be parsed."))?;
    let key = hex_joined(&certificate.serial, "-");
    if let Some(issued) = call.view.get_json::<Issued>(&format!("certs/{key}"))? {
        if decode(&issued.certificate)? != certificate.der {
            return Err(EngineError::invalid("The provided certificate differs from the stored one with its serial number."));
        }
        return Ok(Found { key, certificate, issuer_id: issued.issuer_id.clone() });
    }
    for issuer in all_issuers(&mut call.view)? {
        if certificate.is_signed_by(&issuer.read()?) {
            put_issued(&mut call.view, &certificate.serial, &certificate.der, &issuer.id, certificate.not_after)?;
            return Ok(Found { key, certificate, issuer_id: issuer.id.clone() });
        }
    }
    Err(EngineError::invalid("The provided certificate was not signed by any issuer of this mount."))
}

fn mark(call: &mut Call<'_>, found: &Found) -> Outcome {
    let place = format!("revoked/{}", found.key);
    if let Some(earlier) = call.view.get_json::<Revoked>(&place)? {
        return Ok(Some(answer(&earlier)));
    }
    for issuer in all_issuers(&mut call.view)? {
        if decode(&issuer.certificate)? == found.certificate.der {
            return Err(EngineError::invalid(format!("adding issuer (id: {}) to its own CRL is not allowed", issuer.id)));
        }
    }
    if found.certificate.not_after < call.now.unix() {
        let serial = found.key.replace('-', ":");
        return Ok(Some(Response::warning(format!("certificate {serial} is already expired; refusing to add to CRL"))));
    }
    let record = Revoked { at: call.now, issuer_id: found.issuer_id.clone(), not_after: found.certificate.not_after };
    call.view.put_json(&place, &record)?;
    touch_crls(&mut call.view, call.entropy)?;
    Ok(Some(answer(&record)))
}

fn answer(record: &Revoked) -> Response {
    Response::json(json!({
        "revocation_time": record.at.unix(), "revocation_time_rfc3339": record.at.rfc3339(), "state": "revoked",
    }))
}

/// The end of a lease. A certificate that was not kept, or whose time is over, needs no revocation.
pub fn revoke_leased(call: &mut Call<'_>, internal: &Map) -> Result<(), EngineError> {
    let serial = internal.get("serial_number").and_then(Value::as_str).and_then(serial_key);
    let key = serial.ok_or_else(|| EngineError::internal("the lease names no serial number"))?;
    let Some(issued) = call.view.get_json::<Issued>(&format!("certs/{key}"))? else { return Ok(()) };
    if issued.not_after < call.now.unix() || call.view.get(&format!("revoked/{key}"))?.is_some() {
        return Ok(());
    }
    let record = Revoked { at: call.now, issuer_id: issued.issuer_id.clone(), not_after: issued.not_after };
    call.view.put_json(&format!("revoked/{key}"), &record)?;
    touch_crls(&mut call.view, call.entropy)
}
