//! One question to a server whose operator has said how its certificate is checked and which one is shown to it.
//!
//! For rare questions: a client is built for each. Redirects are not followed; where one leads is told.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::header::{CONTENT_TYPE, LOCATION};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secret::SecretString;

use crate::limits::{CONNECT_TIMEOUT, REQUEST_TIMEOUT};
use crate::{Answer, JSON, NoAnswer, Trust, no_answer, read, roots};

/// How two servers show each other who they are.
pub struct Presented<'a> {
    /// Who may vouch for the other one.
    pub trust: &'a Trust,
    /// What is shown to it, PEM; nothing if empty.
    pub certificate: &'a str,
    /// The key that belongs to that, PEM.
    pub key: &'a SecretString,
    /// The name in its certificate, if it is not the URL's; else empty.
    pub server_name: &'a str,
}

/// Puts JSON to a URL. Beside the answer: where it leads, if it is a redirect.
pub async fn put(
    url: &str,
    presented: &Presented<'_>,
    body: Vec<u8>,
    answer_max_bytes: usize,
) -> Result<(Answer, Option<String>), NoAnswer> {
    let mut url = url::Url::parse(url).map_err(|e| NoAnswer(format!("no URL: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(NoAnswer("the scheme is neither http nor https".to_owned()));
    }
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(presented)?)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT);
    if !presented.server_name.is_empty() && url.scheme() == "https" {
        // The name takes the host's place in the URL, and the host's addresses are given for it: so it is both asked for and checked.
        builder = builder.resolve_to_addrs(presented.server_name, &addresses(&url).await?);
        url.set_host(Some(presented.server_name)).map_err(|e| NoAnswer(format!("the server name is none: {e}")))?;
    }
    let client = builder.build().map_err(no_answer)?;
    let response = client.put(url).header(CONTENT_TYPE, JSON).body(body).send().await.map_err(no_answer)?;
    let leads_to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
    let leads_to = leads_to.filter(|_| response.status().is_redirection());
    Ok((read(response, answer_max_bytes).await?, leads_to))
}

async fn addresses(url: &url::Url) -> Result<Vec<SocketAddr>, NoAnswer> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let found = tokio::net::lookup_host((host, port)).await.map_err(|e| NoAnswer(format!("its name does not resolve: {e}")))?;
    Ok(found.collect())
}

fn tls(presented: &Presented<'_>) -> Result<ClientConfig, NoAnswer> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| NoAnswer(format!("no TLS client: {e}")))?
        .with_root_certificates(roots::store(presented.trust));
    if presented.certificate.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(presented.certificate.as_bytes()).collect();
    let chain = chain.map_err(|_| NoAnswer("the client certificate is no PEM".to_owned()))?;
    let key = PrivateKeyDer::from_pem_slice(presented.key.expose().as_bytes());
    let key = key.map_err(|_| NoAnswer("the key of the client certificate is no PEM".to_owned()))?;
    builder.with_client_auth_cert(chain, key).map_err(|e| NoAnswer(format!("the client certificate cannot be used: {e}")))
}
