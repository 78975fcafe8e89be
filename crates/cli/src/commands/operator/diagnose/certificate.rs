//! Until when the certificates in a PEM file are valid. Deliberately absent: chains and names.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use der::Decode;
use jiff::Timestamp;
use x509_cert::Certificate;

/// When the certificates of a PEM text start to be valid together, and when the first one ends.
pub(super) fn validity(pem: &str) -> Result<(Timestamp, Timestamp), String> {
    let mut whole: Option<(Timestamp, Timestamp)> = None;
    for block in pem.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let body: String = block.split("-----END").next().unwrap_or_default().split_whitespace().collect();
        let bytes = BASE64_STANDARD.decode(body).map_err(|_| "a certificate is not base64".to_owned())?;
        let certificate = Certificate::from_der(&bytes).map_err(|e| format!("a certificate cannot be read: {e}"))?;
        let validity = certificate.tbs_certificate().validity();
        let at = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).map_err(|e| e.to_string())?;
            Timestamp::from_second(seconds).map_err(|e| e.to_string())
        };
        let (from, until) = (at(validity.not_before)?, at(validity.not_after)?);
        whole = Some(whole.map_or((from, until), |(f, u)| (f.max(from), u.min(until))));
    }
    whole.ok_or_else(|| "there is no certificate in it".to_owned())
}
