//! Asks API servers over HTTPS: one client, and so one pool of connections, for each set of roots.
//!
//! A client depends on the roots only, so a changed CA (in the configuration or in the pod's file) is a new client by itself
//! and nothing has to be invalidated. Redirects are not followed: the bearer goes to the configured host and nowhere else.

use std::error::Error;
use std::sync::Arc;

use engine::BoxFuture;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use secret::{SecretString, Time};
use tokio::sync::Semaphore;

use crate::limits::{
    ANSWER_MAX_BYTES, CLIENTS_MAX, CONNECT_TIMEOUT, IDLE_CONNECTION_MAX, REQUEST_TIMEOUT, REQUESTS_IN_FLIGHT_MAX,
    SYSTEM_ROOTS_REUSE, TURN_WAIT_MAX,
};
use crate::review::{Answer, NoAnswer, Question, Reviewer, Target, Trust};

/// Where Linux distributions keep their roots, in Go's order.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The [`Reviewer`] of a running server.
pub struct HttpReviewer {
    /// Most recently used last.
    clients: Mutex<Vec<Kept>>,
    turns: Semaphore,
    timeout: std::time::Duration,
}

#[derive(Clone)]
struct Kept {
    trust: Trust,
    built: Time,
    client: reqwest::Client,
}

impl Default for HttpReviewer {
    fn default() -> Self {
        Self::new(REQUEST_TIMEOUT)
    }
}

impl Reviewer for HttpReviewer {
    fn ask<'a>(
        &'a self,
        target: &'a Target,
        bearer: &'a SecretString,
        question: &'a Question,
        now: Time,
    ) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        Box::pin(async move {
            let client = self.client(&target.trust, now)?;
            let turn = tokio::time::timeout(TURN_WAIT_MAX, self.turns.acquire()).await;
            let Ok(Ok(_turn)) = turn else { return Err(NoAnswer("too many requests to API servers at once".to_owned())) };
            let url = format!("{}{}", target.host.strip_suffix('/').unwrap_or(&target.host), question.path());
            let request = match question.body() {
                Some(body) => client.post(url).header(CONTENT_TYPE, JSON).body(body),
                None => client.get(url),
            };
            let sent = request.header(ACCEPT, JSON).header(AUTHORIZATION, authorization(bearer)?).send().await;
            read(sent.map_err(no_answer)?).await
        })
    }
}

impl HttpReviewer {
    /// With another time limit for a whole exchange than the default of ten seconds.
    #[must_use]
    pub fn new(timeout: std::time::Duration) -> Self {
        Self { clients: Mutex::new(Vec::new()), turns: Semaphore::new(REQUESTS_IN_FLIGHT_MAX), timeout }
    }

    /// The client for these roots, built if there is none.
    fn client(&self, trust: &Trust, now: Time) -> Result<reqwest::Client, NoAnswer> {
        let mut clients = self.clients.lock();
        let fresh =
            |kept: &Kept| kept.trust != Trust::System || (kept.built <= now && now.since(kept.built) < SYSTEM_ROOTS_REUSE);
        let kept = clients.iter().position(|k| k.trust == *trust).map(|i| clients.remove(i)).filter(fresh);
        let kept = match kept {
            Some(kept) => kept,
            None => Kept { trust: trust.clone(), built: now, client: self.build(trust)? },
        };
        if clients.len() >= CLIENTS_MAX {
            clients.remove(0);
        }
        clients.push(kept.clone());
        Ok(kept.client)
    }

    fn build(&self, trust: &Trust) -> Result<reqwest::Client, NoAnswer> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| NoAnswer(format!("no TLS client: {e}")))?
            .with_root_certificates(roots(trust))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.timeout)
            .pool_idle_timeout(IDLE_CONNECTION_MAX)
            // A connection that a load balancer dropped silently is noticed before logins pile up on it.
            .http2_keep_alive_interval(CONNECT_TIMEOUT)
            .http2_keep_alive_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(no_answer)
    }
}

/// A named CA replaces the system's roots. One without a usable certificate trusts nobody, so that every connection fails.
fn roots(trust: &Trust) -> RootCertStore {
    let mut store = RootCertStore::empty();
    match trust {
        Trust::Pem(pem) => {
            store.add_parsable_certificates(certificates(pem.as_bytes()));
        }
        Trust::System => {
            let own = std::env::var("SSL_CERT_FILE").ok();
            for path in own.as_deref().into_iter().chain(SYSTEM_BUNDLES) {
                if let Ok(text) = std::fs::read(path) {
                    store.add_parsable_certificates(certificates(&text));
                    break;
                }
            }
            if store.is_empty() {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
    }
    store
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// The header's content is marked so that no debug output shows it.
fn authorization(bearer: &SecretString) -> Result<HeaderValue, NoAnswer> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", bearer.expose().trim()))
        .map_err(|_| NoAnswer("the reviewer's token cannot be sent in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the body, but not more of it than any answer needs.
async fn read(mut response: reqwest::Response) -> Result<Answer, NoAnswer> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(NoAnswer(format!("the API server's answer is longer than {ANSWER_MAX_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body })
}

/// The whole chain of causes, without the URL.
fn no_answer(error: reqwest::Error) -> NoAnswer {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    NoAnswer(text)
}
