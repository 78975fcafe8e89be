//! Getting revocation lists from where a CA publishes them, and asking OCSP responders: `http` or `https`, one bounded answer, no
//! redirects, no header that tells who asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::BoxFuture;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use rustls::{ClientConfig, RootCertStore};

/// Longest list that is read: a million revocations.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// Longest answer of a responder that is read: a signature and a few certificates.
const OCSP_ANSWER_BYTES_MAX: usize = 64 << 10;
/// A CA that needs longer does not hold up logins.
const TIMEOUT: Duration = Duration::from_secs(10);

const OCSP_REQUEST: &str = "application/ocsp-request";
const OCSP_RESPONSE: &str = "application/ocsp-response";
const LINK_LOCAL: &str = "the address is link-local";

/// Why nothing came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(pub String);

/// Where lists and answers come from.
pub trait Fetch: Send + Sync {
    /// The body at `url`.
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>>;

    /// The answer of the OCSP responder at `url` to a DER question. Certificates name responders, so link-local addresses,
    /// where clouds keep their metadata, are not to be asked.
    fn ask_ocsp<'a>(&'a self, url: &'a str, question: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, FetchError>>;
}

/// The [`Fetch`] of a running server.
pub struct HttpFetch {
    client: Result<reqwest::Client, FetchError>,
}

impl Default for HttpFetch {
    fn default() -> Self {
        Self { client: client() }
    }
}

impl Fetch for HttpFetch {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            let client = self.client.as_ref().map_err(Clone::clone)?;
            read(client.get(url).send().await.map_err(failed)?, ANSWER_BYTES_MAX).await
        })
    }

    fn ask_ocsp<'a>(&'a self, url: &'a str, question: &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async move {
            let client = self.client.as_ref().map_err(Clone::clone)?;
            let url = reachable(url)?;
            let request =
                client.post(url).header(CONTENT_TYPE, OCSP_REQUEST).header(ACCEPT, OCSP_RESPONSE).body(question.to_vec());
            let answer = request.send().await.map_err(failed)?;
            // A name may lead there although its text does not say so.
            if answer.remote_addr().is_some_and(|peer| is_link_local(peer.ip())) {
                return Err(FetchError(LINK_LOCAL.to_owned()));
            }
            read(answer, OCSP_ANSWER_BYTES_MAX).await
        })
    }
}

/// The body of a success, bounded.
async fn read(mut answer: reqwest::Response, most: usize) -> Result<Vec<u8>, FetchError> {
    if !answer.status().is_success() {
        return Err(FetchError(format!("unexpected status {}", answer.status().as_u16())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > most {
            return Err(FetchError(format!("the answer is longer than {most} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Only the two schemes, and no address that is link-local.
fn reachable(text: &str) -> Result<url::Url, FetchError> {
    let url = url::Url::parse(text).map_err(|e| FetchError(format!("no URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(FetchError("the scheme is neither http nor https".to_owned()));
    }
    let address = match url.host() {
        Some(url::Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(url::Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        _ => None,
    };
    if address.is_some_and(is_link_local) { Err(FetchError(LINK_LOCAL.to_owned())) } else { Ok(url) }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn client() -> Result<reqwest::Client, FetchError> {
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| FetchError(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .map_err(failed)
}

fn failed(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    FetchError(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_class_j_a_certificate_cannot_send_us_to_link_local_addresses_or_files() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://2852039166/",
            "file:///etc/passwd",
            "ldap://ca.test/x",
            "nothing",
            "",
        ] {
            assert!(reachable(url).is_err(), "{url}");
        }
        assert!(reachable("http://127.0.0.1:8200/ocsp").is_ok() && reachable("https://ca.test/").is_ok());
    }
}
