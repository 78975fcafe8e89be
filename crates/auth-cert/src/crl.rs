//! Revocation lists that an operator gives or names the place of. As in Vault they are believed as they come (their signature
//! is not checked: who may write here, or runs the named place, is trusted) and a serial number counts whoever issued the
//! certificate: that can refuse one too many, never one too few.
//!
//! A list with a place is fetched anew at the first login after its `nextUpdate`; if that fails, the old one stays in force.

use std::collections::BTreeSet;
use std::time::Duration;

use api_types::Map;
use der::Decode;
use engine::{Call, EngineError, Outcome, Response};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use secret::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::Page;
use x509_cert::crl::CertificateList;

use crate::presented::decimal;
use crate::{Cert, page};

const FOLDER: &str = "crls/";
/// How long after a failed fetch the next login tries again.
const RETRY: Duration = Duration::from_secs(300);

/// A list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Crl {
    /// Revoked serial numbers in decimal.
    pub serials: BTreeSet<String>,
    /// Where it is published; empty for a list that was sent.
    pub url: String,
    /// When it is to be fetched anew; only with a place.
    pub fetch_after: Option<Time>,
}

/// All lists of a mount.
#[derive(Default)]
pub struct Crls(Vec<std::sync::Arc<Crl>>);

impl Crls {
    /// Reads every list.
    pub fn load(call: &mut Call<'_>) -> Result<Self, EngineError> {
        let mut out = Vec::new();
        for name in call.view.list(FOLDER, &Page::default())? {
            out.extend(call.view.get_json::<Crl>(&format!("{FOLDER}{name}"))?);
        }
        Ok(Self(out))
    }

    /// Whether any list has the serial number.
    #[must_use]
    pub fn revoked(&self, serial: &str) -> bool {
        self.0.iter().any(|crl| crl.serials.contains(serial))
    }
}

/// Fetches what is due. Failures are logged and change nothing but the time of the next try.
pub async fn refresh(engine: &Cert, call: &mut Call<'_>) -> Result<(), EngineError> {
    for name in call.view.list(FOLDER, &Page::default())? {
        let key = format!("{FOLDER}{name}");
        let Some(crl) = call.view.get_json::<Crl>(&key)? else { continue };
        if crl.url.is_empty() || crl.fetch_after.is_none_or(|due| call.now < due) {
            continue;
        }
        let fetched = engine.fetch.get(&crl.url).await.map_err(|e| e.to_string());
        let fresh = match fetched.and_then(|body| parse(&body, &crl.url, call.now).ok_or_else(|| "no revocation list".to_owned()))
        {
            Ok(fresh) => fresh,
            Err(why) => {
                tracing::warn!(crl = %name, error = %why, "a revocation list could not be fetched anew; the old one stays in force");
                Crl { fetch_after: Some(call.now.plus(RETRY)), ..crl.as_ref().clone() }
            }
        };
        call.view.put_json(&key, &fresh)?;
    }
    Ok(())
}

/// Reads PEM or DER.
fn parse(content: &[u8], url: &str, now: Time) -> Option<Crl> {
    let der = CertificateRevocationListDer::from_pem_slice(content).map(|d| d.to_vec()).unwrap_or_else(|_| content.to_vec());
    let list: CertificateList = CertificateList::from_der(&der).ok()?;
    let tbs = list.tbs_cert_list;
    let serials = tbs.revoked_certificates.unwrap_or_default().iter().map(|r| decimal(r.serial_number.as_bytes())).collect();
    let fetch_after = tbs.next_update.filter(|_| !url.is_empty()).map(|t| {
        let due = Time::from_unix(i64::try_from(t.to_unix_duration().as_secs()).unwrap_or(i64::MAX / 1_000_000_000));
        // A place that serves stale lists is not asked at every login.
        due.max(now.plus(RETRY))
    });
    Some(Crl { serials, url: url.to_owned(), fetch_after })
}

fn key(call: &Call<'_>) -> String {
    format!("{FOLDER}{}", call.fields.str("name"))
}

pub async fn write(engine: &Cert, call: &mut Call<'_>) -> Outcome {
    let key = key(call);
    let sent = call.fields.str("crl").to_owned();
    let url = call.fields.str("url").to_owned();
    let unreadable = || EngineError::invalid("failed to parse CRL: asn1: structure error");
    let crl = if !sent.is_empty() {
        parse(sent.as_bytes(), "", call.now).ok_or_else(unreadable)?
    } else if !url.is_empty() {
        let parsed = url::Url::parse(&url).map_err(|e| EngineError::Invalid(format!("invalid CRL url: {e}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(EngineError::Internal(format!("unsupported protocol scheme {:?}", parsed.scheme())));
        }
        let body = engine.fetch.get(&url).await.map_err(|e| EngineError::Internal(format!("failed to fetch the CRL: {e}")))?;
        parse(&body, &url, call.now).ok_or_else(unreadable)?
    } else {
        return Err(EngineError::invalid("one of 'crl' or 'url' must be provided"));
    };
    call.view.put_json(&key, &crl)?;
    Ok(None)
}

fn missing(call: &Call<'_>) -> EngineError {
    EngineError::Invalid(format!("no such CRL {}", call.fields.str("name")))
}

pub fn read(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let key = key(call);
    let Some(crl) = call.view.get_json::<Crl>(&key)? else { return Err(missing(call)) };
    let serials: Map = crl.serials.iter().map(|s| (s.clone(), Value::Object(Map::new()))).collect();
    let mut data = Map::new();
    data.insert("serials".into(), serials.into());
    if !crl.url.is_empty() {
        data.insert("cdp".into(), json!({ "url": crl.url, "valid_until": crl.fetch_after.map(|t| t.rfc3339_seconds()) }));
    }
    Ok(Some(Response::data(data)))
}

pub fn delete(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let key = key(call);
    if call.view.get(&key)?.is_none() {
        return Err(missing(call));
    }
    call.view.delete(&key)?;
    Ok(None)
}

pub fn list(_: &Cert, call: &mut Call<'_>) -> Outcome {
    let page = page(call);
    Ok(Some(Response::list(call.view.list(FOLDER, &page)?)))
}
