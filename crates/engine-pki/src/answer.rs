//! Certificates and keys in answers: PEM, DER in Base64, or one bundle.

use api_types::Map;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{EngineError, Fields};
use serde_json::Value;

use crate::keys::PrivateKey;
use crate::pem;
use crate::reading::Certificate;
use crate::store::{hex_joined, pems, serial_text};

/// The wish of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PEM, without a last newline.
    Pem,
    /// DER in Base64.
    Der,
    /// PEM of key, certificate and chain in one text.
    Bundle,
}

impl Format {
    /// Reads `format`.
    pub fn of(f: &Fields) -> Result<Self, EngineError> {
        match f.str("format") {
            "" | "pem" => Ok(Self::Pem),
            "der" => Ok(Self::Der),
            "pem_bundle" => Ok(Self::Bundle),
            _ => Err(EngineError::invalid("the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\"")),
        }
    }

    /// One value in this format.
    #[must_use]
    pub fn text(self, label: &str, der: &[u8]) -> String {
        if self == Self::Der { STANDARD.encode(der) } else { pem::encode(label, der) }
    }
}

/// A private key for the client.
pub struct Exported<'a> {
    /// The key.
    pub key: &'a PrivateKey,
    /// As PKCS#8 in PEM, whatever the format.
    pub as_pkcs8: bool,
}

/// Puts `private_key` and `private_key_type` into an answer.
pub fn put_key(map: &mut Map, format: Format, exported: &Exported<'_>) -> Result<(), EngineError> {
    let failed = |e: crate::keys::KeyError| EngineError::internal(e.to_string());
    let text = if exported.as_pkcs8 || format != Format::Der {
        exported.key.pem(exported.as_pkcs8).map_err(failed)?.to_string()
    } else {
        STANDARD.encode(exported.key.traditional().map_err(failed)?.1.expose())
    };
    map.insert("private_key".into(), text.into());
    map.insert("private_key_type".into(), exported.key.spec().kind.as_str().into());
    Ok(())
}

/// Puts one signed thing (`certificate` or `csr`) into an answer; in a bundle the key stands before it and `after` behind.
pub fn put_signed(
    map: &mut Map,
    name: &str,
    label: &str,
    format: Format,
    der: &[u8],
    key: Option<&Exported<'_>>,
    after: &[String],
) -> Result<(), EngineError> {
    let mut text = format.text(label, der);
    if format == Format::Bundle {
        if let Some(exported) = key {
            let own = exported.key.pem(false).map_err(|e| EngineError::internal(e.to_string()))?;
            text = format!("{}\n{text}", own.as_str());
        }
        for more in after {
            text.push('\n');
            text.push_str(more);
        }
    }
    map.insert(name.into(), text.into());
    if let Some(exported) = key {
        put_key(map, format, exported)?;
    }
    Ok(())
}

/// The answer with a leaf or intermediate: the certificate, its chain, the issuer.
pub fn issued(
    format: Format,
    certificate: &[u8],
    serial: &[u8],
    not_after: i64,
    chain: &[Certificate],
    key: Option<&Exported<'_>>,
    remove_roots: bool,
) -> Result<Map, EngineError> {
    let shown: Vec<Certificate> = chain.iter().filter(|c| !remove_roots || !c.is_self_signed()).cloned().collect();
    let mut map = Map::new();
    put_signed(&mut map, "certificate", pem::CERTIFICATE, format, certificate, key, &pems(&shown))?;
    let texts: Vec<Value> = shown.iter().map(|c| format.text(pem::CERTIFICATE, &c.der).into()).collect();
    map.insert("ca_chain".into(), Value::Array(texts));
    if let Some(issuer) = chain.first() {
        map.insert("issuing_ca".into(), format.text(pem::CERTIFICATE, &issuer.der).into());
        map.insert("authority_key_id".into(), hex_joined(&issuer.key_id, ":").into());
    }
    map.insert("serial_number".into(), serial_text(serial).into());
    map.insert("expiration".into(), not_after.into());
    Ok(map)
}
