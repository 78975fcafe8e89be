//! Asks servers outside over HTTP(S): one client, and so one pool of connections, for each set of roots; every wait, every answer
//! and the number of questions at once are bounded.
//!
//! A client depends on the roots only, so a changed CA is a new client by itself and nothing has to be invalidated. Deliberately
//! absent: redirects (what a question carries goes to the named host and nowhere else, and no answer chooses where we go next),
//! cookies, retries, and any opinion on what an answer means.

mod limits;
mod presented;
mod roots;

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use rustls::ClientConfig;
use secret::{SecretString, Time};
use tokio::sync::Semaphore;

use crate::limits::{
    CLIENTS_MAX, CONNECT_TIMEOUT, IDLE_CONNECTION_MAX, REQUEST_TIMEOUT, REQUESTS_IN_FLIGHT_MAX, SYSTEM_ROOTS_REUSE, TURN_WAIT_MAX,
};

pub use presented::{Presented, put};
pub use roots::has_certificate;

/// Roots of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trust {
    /// These PEM certificates and no others.
    Pem(Arc<str>),
    /// The system's roots, or those built in where the system has none.
    System,
}

impl Trust {
    /// A named CA, or the system's roots where the text is empty.
    #[must_use]
    pub fn named(pem: &str) -> Self {
        if pem.is_empty() { Self::System } else { Self::Pem(pem.into()) }
    }
}

/// How the asker shows who it is. No `Debug`: it holds secrets.
pub enum Credentials<'a> {
    /// It does not.
    None,
    /// `Authorization: Bearer`; blanks around the token are dropped.
    Bearer(&'a SecretString),
    /// `Authorization: Basic`, name and password as they go on the wire.
    Basic(&'a str, &'a SecretString),
    /// Headers of the asker's own making, such as a signature over the request.
    Headers(&'a [(String, SecretString)]),
}

/// What is sent. No `Debug`: it may hold secrets.
pub enum Payload {
    /// Nothing: a GET.
    None,
    /// A POST of JSON text.
    Json(Vec<u8>),
    /// A POST of `application/x-www-form-urlencoded` text.
    Form(SecretString),
    /// A PUT of nothing.
    EmptyPut,
    /// A POST of another content type.
    Typed(&'static str, Vec<u8>),
}

/// One question.
pub struct Question<'a> {
    /// `http` or `https`.
    pub url: &'a str,
    /// Who may vouch for the server's certificate.
    pub trust: &'a Trust,
    /// Who asks.
    pub credentials: Credentials<'a>,
    /// What is sent.
    pub payload: Payload,
    /// Longest body that is read, in bytes; more is no answer.
    pub answer_max_bytes: usize,
}

impl<'a> Question<'a> {
    /// A GET without credentials.
    #[must_use]
    pub fn get(url: &'a str, trust: &'a Trust, answer_max_bytes: usize) -> Self {
        Self { url, trust, credentials: Credentials::None, payload: Payload::None, answer_max_bytes }
    }
}

/// What came back: status and body, whatever they are.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, bounded by the question.
    pub body: Vec<u8>,
}

/// No answer came. The text is for the log; it holds neither URL nor credentials.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Who may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Anybody: the operator names the host.
    Anywhere,
    /// Nobody on a link-local address, where clouds keep their metadata: part of the URL comes from somebody else.
    NotLinkLocal,
    /// Somebody on this machine or its link, whatever proxy the environment names: what is said there is for nobody else.
    NoProxy,
}

/// The way out.
pub struct Outbound {
    /// Most recently used last.
    clients: Mutex<Vec<Kept>>,
    turns: Semaphore,
    timeout: Duration,
    reach: Reach,
}

#[derive(Clone)]
struct Kept {
    trust: Trust,
    built: Time,
    client: reqwest::Client,
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

impl Outbound {
    /// With the default time limit for a whole exchange, ten seconds.
    #[must_use]
    pub fn new(reach: Reach) -> Self {
        Self::with_timeout(reach, REQUEST_TIMEOUT)
    }

    /// With another time limit for a whole exchange.
    #[must_use]
    pub fn with_timeout(reach: Reach, timeout: Duration) -> Self {
        Self { clients: Mutex::new(Vec::new()), turns: Semaphore::new(REQUESTS_IN_FLIGHT_MAX), timeout, reach }
    }

    /// Asks. `now` is only used to age the clients.
    pub async fn ask(&self, question: Question<'_>, now: Time) -> Result<Answer, NoAnswer> {
        let url = self.target(question.url)?;
        let client = self.client(question.trust, now)?;
        let turn = tokio::time::timeout(TURN_WAIT_MAX, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(NoAnswer("too many requests to servers outside at once".to_owned())) };
        let request = match question.payload {
            Payload::None => client.get(url),
            Payload::EmptyPut => client.put(url),
            Payload::Json(body) => client.post(url).header(CONTENT_TYPE, JSON).body(body),
            Payload::Form(body) => client.post(url).header(CONTENT_TYPE, FORM).body(body.expose().to_owned()),
            Payload::Typed(content_type, body) => client.post(url).header(CONTENT_TYPE, content_type).body(body),
        };
        let mut request = match authorization(&question.credentials)? {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        if let Credentials::Headers(headers) = &question.credentials {
            for (name, value) in *headers {
                request = request.header(name.as_str(), sensitive(value.expose())?);
            }
        }
        let response = request.header(ACCEPT, JSON).send().await.map_err(no_answer)?;
        // A name may lead there although its text does not say so.
        if self.reach == Reach::NotLinkLocal && response.remote_addr().is_some_and(|peer| is_link_local(peer.ip())) {
            return Err(NoAnswer(LINK_LOCAL.to_owned()));
        }
        read(response, question.answer_max_bytes).await
    }

    /// Only the two schemes, and no address that is out of reach.
    fn target(&self, text: &str) -> Result<url::Url, NoAnswer> {
        let url = url::Url::parse(text).map_err(|e| NoAnswer(format!("no URL: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NoAnswer("the scheme is neither http nor https".to_owned()));
        }
        let address = match url.host() {
            Some(url::Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(url::Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            _ => None,
        };
        if self.reach == Reach::NotLinkLocal && address.is_some_and(is_link_local) {
            return Err(NoAnswer(LINK_LOCAL.to_owned()));
        }
        Ok(url)
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
            .with_root_certificates(roots::store(trust))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let builder = reqwest::Client::builder();
        let builder = if self.reach == Reach::NoProxy { builder.no_proxy() } else { builder };
        builder
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

const LINK_LOCAL: &str = "the address is link-local";

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The header's content is marked so that no debug output shows it.
fn authorization(credentials: &Credentials<'_>) -> Result<Option<HeaderValue>, NoAnswer> {
    let text = match credentials {
        Credentials::None | Credentials::Headers(_) => return Ok(None),
        Credentials::Bearer(token) => format!("Bearer {}", token.expose().trim()),
        Credentials::Basic(name, password) => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{}", password.expose())))
        }
    };
    sensitive(&text).map(Some)
}

fn sensitive(text: &str) -> Result<HeaderValue, NoAnswer> {
    let mut value = HeaderValue::from_str(text).map_err(|_| NoAnswer("the credentials cannot be sent in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the body, but not more of it than the question allows.
async fn read(mut response: reqwest::Response, max_bytes: usize) -> Result<Answer, NoAnswer> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(NoAnswer(format!("the answer is longer than {max_bytes} bytes")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_t_link_local_targets_and_other_schemes_are_out_of_reach() {
        let guarded = Outbound::new(Reach::NotLinkLocal);
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "https://169.254.1.1:8443/jwks",
            "file:///etc/passwd",
            "ftp://idp/jwks",
            "gopher://idp/",
            "nothing",
            "",
        ] {
            assert!(guarded.target(url).is_err(), "{url}");
        }
        for url in ["http://127.0.0.1:8200/jwks", "https://idp.example/jwks", "https://10.0.0.1/"] {
            assert!(guarded.target(url).is_ok(), "{url}");
        }
        assert!(Outbound::new(Reach::Anywhere).target("https://169.254.1.1/").is_ok());
    }

    #[test]
    fn credentials_do_not_print() {
        let token = SecretString::from("hunter2");
        for credentials in [Credentials::Bearer(&token), Credentials::Basic("id", &token)] {
            let shown = format!("{:?}", authorization(&credentials).unwrap());
            assert!(shown.contains("Sensitive") && !shown.contains("hunter2") && !shown.contains("aWQ6"), "{shown}");
        }
        assert!(authorization(&Credentials::Bearer(&SecretString::from("a\nb"))).is_err());
        assert!(sensitive("hunter2").unwrap().is_sensitive() && sensitive("a\nb").is_err());
    }
}
