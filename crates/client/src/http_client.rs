//! The edge: sends a [`Request`] over a socket, retries, follows one redirect.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use secret::{Entropy, SecretString, SystemEntropy};
use url::Url;

use crate::config::{Config, ConfigError, Proxy};
use crate::error::ClientError;
use crate::limits::{DEFAULT_WRAP_TTL, REPLY_MAX_BYTES};
use crate::reply::Reply;
use crate::request::{Body, Method, Request};
use crate::{retry, tls};

/// A client of one server. Cheap to keep, costly to make (it reads certificates): make one and share it.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    config: Config,
}

impl Client {
    /// Reads the certificates that `config` names and prepares connections; opens none yet.
    pub fn new(config: Config) -> Result<Self, ClientError> {
        let bad = |cause: &dyn std::fmt::Display| ConfigError::Address(config.address.clone(), cause.to_string());
        let address = Url::parse(&config.address).map_err(|e| bad(&e))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(&config.tls)?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(config.timeout);
        let base = match address.scheme() {
            "http" | "https" if address.host_str().is_some() => address,
            "unix" => {
                builder = builder.unix_socket(Path::new(address.path()).to_path_buf());
                Url::parse("http://localhost").map_err(|e| bad(&e))?
            }
            other => return Err(bad(&format_args!("unsupported scheme {other:?}")).into()),
        };
        builder = match &config.proxy {
            Proxy::Environment if is_loopback(&base) => builder.no_proxy(),
            Proxy::Environment => builder,
            Proxy::Url(url) => {
                builder.proxy(reqwest::Proxy::all(url.expose()).map_err(|_| ConfigError::Variable("VAULT_PROXY_ADDR"))?)
            }
        };
        let http = builder.build().map_err(|e| ConfigError::Build(root_cause(&e)))?;
        Ok(Self { http, base, config })
    }

    /// The settings this client was made from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Replaces the token of all further requests.
    pub fn set_token(&mut self, token: Option<SecretString>) {
        self.config.token = token;
    }

    /// The whole URL of a request.
    #[must_use]
    pub fn url(&self, request: &Request) -> String {
        format!("{}{}", self.base.as_str().trim_end_matches('/'), request.path_and_query())
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub async fn send(&self, request: &Request) -> Result<Reply, ClientError> {
        let (url, response) = self.answer(request).await?;
        let status = response.status().as_u16();
        let body = read_all(response, request, &url).await?;
        Ok(Reply { method: request.method.on_wire(), url, namespace: self.namespace(request), status, body })
    }

    /// Sends a request and hands the answer to `sink` piece by piece; an error answer is returned as such.
    pub async fn stream(&self, request: &Request, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), ClientError> {
        let (url, mut response) = self.answer(request).await?;
        let status = response.status().as_u16();
        if status >= 400 {
            let body = read_all(response, request, &url).await?;
            let reply = Reply { method: request.method.on_wire(), url, namespace: self.namespace(request), status, body };
            return reply.check().map(drop);
        }
        while let Some(piece) = response.chunk().await.map_err(|e| exchange(request, &url, &e))? {
            sink(&piece)?;
        }
        Ok(())
    }

    fn namespace(&self, request: &Request) -> Option<String> {
        self.config.namespace.clone().filter(|_| request.namespaced)
    }

    /// One exchange, with retries and at most one redirect.
    async fn answer(&self, request: &Request) -> Result<(String, reqwest::Response), ClientError> {
        let url = self.url(request);
        let response = self.tries(request, &url).await?;
        let status = response.status().as_u16();
        if !matches!(status, 301 | 302 | 307) || !self.config.follow_redirect {
            return Ok((url, response));
        }
        let Some(location) = response.headers().get(http::header::LOCATION).and_then(|v| v.to_str().ok()) else {
            return Ok((url, response));
        };
        let from = Url::parse(&url).map_err(|e| ClientError::Decode(e.to_string()))?;
        let to = from.join(location).map_err(|e| ClientError::Decode(format!("Location: {e}")))?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(ClientError::Downgrade);
        }
        let response = self.tries(request, to.as_str()).await?;
        Ok((to.into(), response))
    }

    async fn tries(&self, request: &Request, url: &str) -> Result<reqwest::Response, ClientError> {
        let mut attempt = 0;
        loop {
            let outcome = self.once(request, url).await;
            let (worth_it, status, after) = match &outcome {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let after =
                        response.headers().get(http::header::RETRY_AFTER).and_then(|v| v.to_str().ok()).map(str::to_owned);
                    (retry::is_worth_it(status) && !is_health(request), Some(status), after)
                }
                Err(Failed::Exchange(e)) => (e.is_connect() && !is_certificate_error(e), None, None),
                Err(Failed::Local(_)) => (false, None, None),
            };
            if !worth_it || attempt >= self.config.max_retries {
                return outcome.map_err(|e| match e {
                    Failed::Exchange(e) => exchange(request, url, &e),
                    Failed::Local(e) => e,
                });
            }
            attempt += 1;
            let jitter = SystemEntropy.bytes(1).ok().and_then(|b| b.first().copied()).unwrap_or(0);
            let (min, max) = (self.config.retry_wait_min, self.config.retry_wait_max);
            let pause = retry::pause(attempt, status, after.as_deref(), min, max, jitter);
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
        }
    }

    async fn once(&self, request: &Request, url: &str) -> Result<reqwest::Response, Failed> {
        let method = match request.method {
            Method::Get | Method::List => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
            Method::Head => reqwest::Method::HEAD,
        };
        let mut out = self.http.request(method, url).headers(self.headers(request)?);
        if request.timed {
            out = out.timeout(self.config.timeout);
        }
        out = match &request.body {
            Body::Empty => out,
            Body::Json(bytes) => out.header("content-type", "application/json").body(bytes.clone()),
            Body::MergePatch(bytes) => out.header("content-type", "application/merge-patch+json").body(bytes.clone()),
            Body::File(path) => {
                let failed = |e: io::Error| ClientError::File { path: path.display().to_string(), cause: e.to_string() };
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                let length = file.metadata().await.map_err(failed)?.len();
                out.header("content-length", length).body(file)
            }
        };
        out.send().await.map_err(Failed::Exchange)
    }

    fn headers(&self, request: &Request) -> Result<http::HeaderMap, ClientError> {
        let mut out = http::HeaderMap::new();
        let mut add = |name: &str, value: &str, secret: bool| {
            let wrong = || ClientError::Header(name.to_owned());
            let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = http::HeaderValue::from_str(value).map_err(|_| wrong())?;
            value.set_sensitive(secret);
            out.append(name, value);
            Ok::<(), ClientError>(())
        };
        add(api_types::headers::REQUEST, "true", false)?;
        let token = request.token.as_ref().unwrap_or(&self.config.token);
        if let Some(token) = token.as_ref().filter(|t| !t.is_empty()) {
            add(api_types::headers::TOKEN, token.expose(), true)?;
        }
        if let Some(namespace) = self.namespace(request) {
            add(api_types::headers::NAMESPACE, &namespace, false)?;
        }
        let needs_wrapping = request.path == "sys/wrapping/wrap" && request.method != Method::Get;
        let wrap_ttl = self.config.wrap_ttl.as_deref().or(needs_wrapping.then_some(DEFAULT_WRAP_TTL));
        if let Some(ttl) = wrap_ttl.filter(|_| request.wrapped) {
            add(api_types::headers::WRAP_TTL, ttl, false)?;
        }
        for (name, value) in self.config.headers.iter().chain(&request.headers) {
            add(name, value, true)?;
        }
        Ok(out)
    }
}

/// Why one try brought no answer.
enum Failed {
    Exchange(reqwest::Error),
    Local(ClientError),
}

impl From<ClientError> for Failed {
    fn from(e: ClientError) -> Self {
        Self::Local(e)
    }
}

async fn read_all(mut response: reqwest::Response, request: &Request, url: &str) -> Result<Bytes, ClientError> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|e| exchange(request, url, &e))? {
        if body.len() + piece.len() > REPLY_MAX_BYTES {
            return Err(ClientError::TooLarge(REPLY_MAX_BYTES));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// Health answers with 429 and 5xx to tell a state; asking again would not change it.
fn is_health(request: &Request) -> bool {
    request.path == "sys/health"
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn exchange(request: &Request, url: &str, e: &reqwest::Error) -> ClientError {
    let verb = match request.method {
        Method::Get | Method::List => "Get",
        Method::Put => "Put",
        Method::Post => "Post",
        Method::Patch => "Patch",
        Method::Delete => "Delete",
        Method::Head => "Head",
    };
    ClientError::Exchange { verb, url: url.to_owned(), cause: cause(url, e) }
}

/// Go's words for the troubles that scripts look for, the innermost error's own words for the rest.
fn cause(url: &str, e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned();
    }
    let target = Url::parse(url).ok();
    let host = target.as_ref().and_then(Url::host_str).unwrap_or_default().to_owned();
    let port = target.as_ref().and_then(Url::port_or_known_default).unwrap_or_default();
    match innermost_io(e) {
        Some(io::ErrorKind::ConnectionRefused) => format!("dial tcp {host}:{port}: connect: connection refused"),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        Some(io::ErrorKind::UnexpectedEof) => "EOF".to_owned(),
        _ => match tls_error(e) {
            Some(rustls::Error::InvalidMessage(_)) => "http: server gave HTTP response to HTTPS client".to_owned(),
            Some(rustls::Error::InvalidCertificate(why)) => {
                format!("tls: failed to verify certificate: x509: {}", certificate_words(why))
            }
            Some(other) => format!("tls: {other}"),
            None => root_cause(e),
        },
    }
}

fn certificate_words(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as C;
    match why {
        C::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        other => other.to_string(),
    }
}

fn is_certificate_error(e: &reqwest::Error) -> bool {
    matches!(tls_error(e), Some(rustls::Error::InvalidCertificate(_)))
}

fn innermost_io(e: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut found = None;
    let mut next = e.source();
    while let Some(e) = next {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            found = Some(io.kind());
        }
        next = e.source();
    }
    found
}

/// rustls' error travels inside an `io::Error`, which shows it through `get_ref` only.
fn tls_error(e: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = e.source();
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = e.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = inner.and_then(|i| i.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        next = inner.map(|i| i as &dyn std::error::Error).or_else(|| e.source());
    }
    None
}

fn root_cause(e: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = e;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
