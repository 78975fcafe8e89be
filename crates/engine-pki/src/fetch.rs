//! What anyone may read: the default issuer, its chain, certificates by serial number. And the lists of serial numbers, which
//! need a token.

use std::sync::Arc;

use api_types::{Map, Operation};
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::json;

use crate::crl::{self, empty};
use crate::pem;
use crate::reading::Certificate;
use crate::store::{Issued, IssuersConfig, Revoked, chain, decode, hex_joined, pems, resolve_issuer, serial_key, setting};
use crate::{Pki, wanted_page};

const CERT: &[Field] = &[Field::new("serial", FieldKind::String, "A serial number, or `ca`, `ca_chain`, `crl`, `delta-crl`.")];

/// Raw DER.
pub const DER_TYPE: &str = "application/pkix-cert";
/// Raw PEM.
pub const PEM_TYPE: &str = "application/pem-certificate-chain";

/// The routes; those of revocation lists too.
pub fn routes() -> Vec<Route<Pki>> {
    let mut routes = vec![
        Route::new("ca", &[], "The default issuer, DER.")
            .on(Operation::Read, "Reads the default issuer.", |_, call| raw_ca(call, false)),
        Route::new("ca/pem", &[], "The default issuer, PEM.")
            .on(Operation::Read, "Reads the default issuer.", |_, call| raw_ca(call, true)),
        Route::new("ca_chain", &[], "The default issuer and those above it, PEM.").on(
            Operation::Read,
            "Reads the chain.",
            raw_chain,
        ),
        Route::new("cert/{serial:any}", CERT, "A certificate.").on_async(Operation::Read, "Reads a certificate.", read),
        Route::new("cert/{serial:any}/raw", CERT, "A certificate, DER.").on(
            Operation::Read,
            "Reads a certificate.",
            |_, call| raw_certificate(call, false),
        ),
        Route::new("cert/{serial:any}/raw/pem", CERT, "A certificate, PEM.").on(
            Operation::Read,
            "Reads a certificate.",
            |_, call| raw_certificate(call, true),
        ),
        Route::new("certs/?", &[], "Lists certificates.")
            .on(Operation::List, "Lists serial numbers.", |_, call| list(call, "certs/")),
        Route::new("certs/revoked/?", &[], "Lists revoked certificates.").on(
            Operation::List,
            "Lists serial numbers.",
            |_, call| list(call, "revoked/"),
        ),
    ];
    routes.extend(crl::routes());
    routes
}

fn default_chain(call: &mut Call<'_>) -> Result<Option<Vec<Certificate>>, EngineError> {
    if setting::<IssuersConfig>(&mut call.view, "config/issuers")?.default.is_empty() {
        return Ok(None);
    }
    let issuer = resolve_issuer(&mut call.view, "default")?;
    chain(&mut call.view, &issuer).map(Some)
}

fn raw_ca(call: &mut Call<'_>, as_pem: bool) -> Outcome {
    let content_type = if as_pem { PEM_TYPE } else { DER_TYPE };
    let Some(chain) = default_chain(call)? else { return Ok(Some(empty(content_type))) };
    let Some(first) = chain.first() else { return Ok(Some(empty(content_type))) };
    Ok(Some(raw(first.der.as_slice(), as_pem)))
}

/// A certificate without envelope.
#[must_use]
pub fn raw(der: &[u8], as_pem: bool) -> Response {
    if as_pem {
        Response::bare(PEM_TYPE, pem::encode(pem::CERTIFICATE, der).into_bytes())
    } else {
        Response::bare(DER_TYPE, der.to_vec())
    }
}

fn raw_chain(_: &Pki, call: &mut Call<'_>) -> Outcome {
    // PEM, and yet with this type: what Vault says, and what clients compare.
    let Some(chain) = default_chain(call)? else { return Ok(Some(empty(DER_TYPE))) };
    Ok(Some(Response::bare(DER_TYPE, pems(&chain).join("\n").into_bytes())))
}

fn find(call: &mut Call<'_>, serial: &str) -> Result<Option<(String, Arc<Issued>)>, EngineError> {
    let Some(key) = serial_key(serial) else { return Ok(None) };
    Ok(call.view.get_json::<Issued>(&format!("certs/{key}"))?.map(|issued| (key, issued)))
}

fn raw_certificate(call: &mut Call<'_>, as_pem: bool) -> Outcome {
    let serial = call.fields.str("serial").to_owned();
    match serial.as_str() {
        "ca" => return raw_ca(call, as_pem),
        "ca_chain" => {
            let Some(chain) = default_chain(call)? else { return Ok(None) };
            return Ok(Some(Response::bare(PEM_TYPE, pems(&chain).join("\n").into_bytes())));
        }
        _ => {}
    }
    let Some((_, issued)) = find(call, &serial)? else { return Ok(None) };
    Ok(Some(raw(&decode(&issued.certificate)?, as_pem)))
}

fn read<'a>(pki: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let serial = call.fields.str("serial").to_owned();
        let none = || EngineError::invalid("no default issuer currently configured");
        let mut map = Map::new();
        map.insert("revocation_time".into(), 0.into());
        map.insert("revocation_time_rfc3339".into(), "".into());
        match serial.as_str() {
            "ca" | "ca_chain" => {
                let chain = default_chain(call)?.ok_or_else(none)?;
                let first = chain.first().ok_or_else(none)?;
                map.insert("authority_key_id".into(), hex_joined(authority_of(first), ":").into());
                let text = if serial == "ca" { pem::encode(pem::CERTIFICATE, &first.der) } else { pems(&chain).join("\n") };
                if serial == "ca_chain" {
                    map.insert("ca_chain".into(), text.clone().into());
                }
                map.insert("certificate".into(), text.into());
            }
            "crl" | "delta-crl" => {
                let Some(text) = crl::default_pem(pki, call, serial == "delta-crl").await? else { return Ok(None) };
                map.insert("certificate".into(), text.into());
            }
            _ => {
                let Some((key, issued)) = find(call, &serial)? else { return Ok(None) };
                let der = decode(&issued.certificate)?;
                if let Ok(certificate) = Certificate::from_der(&der) {
                    map.insert("authority_key_id".into(), hex_joined(authority_of(&certificate), ":").into());
                }
                map.insert("certificate".into(), pem::encode(pem::CERTIFICATE, &der).into());
                if let Some(revoked) = call.view.get_json::<Revoked>(&format!("revoked/{key}"))? {
                    map.insert("revocation_time".into(), revoked.at.unix().into());
                    map.insert("revocation_time_rfc3339".into(), revoked.at.rfc3339().into());
                    map.insert("issuer_id".into(), json!(revoked.issuer_id));
                }
            }
        }
        Ok(Some(Response::data(map)))
    })
}

fn authority_of(certificate: &Certificate) -> &[u8] {
    certificate.authority_key_id.as_deref().unwrap_or_default()
}

fn list(call: &mut Call<'_>, folder: &str) -> Outcome {
    let mut page = wanted_page(call);
    page.after = page.after.map(|after| after.replace(':', "-"));
    let serials = call.view.list(folder, &page)?;
    Ok(Some(Response::list(serials.into_iter().map(|s| s.replace('-', ":")).collect())))
}
