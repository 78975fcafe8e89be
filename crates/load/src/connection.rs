//! One keep-alive connection with one request under way: write, read to the answer's end, again.
//! Absent on purpose: redirects, retries of a request, pipelining. A failed request is counted as failed.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::answer::{Answer, AnswerError, Reading};
use crate::histogram::Histogram;
use crate::limits;
use crate::plan::Target;
use crate::template::{Filling, Template};

/// A target ready to be asked, shared by all its connections over all rounds.
pub struct Prepared {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    template: Template,
    expect: Vec<u16>,
    first: u64,
    spread: u64,
    expire_at: Option<u64>,
    /// Requests begun so far: the source of running numbers, and the limit of a counted run.
    begun: AtomicU64,
    count: u64,
}

/// When answers count.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Answers before are warm-up.
    pub from: Instant,
    /// No request begins after.
    pub until: Instant,
    /// Between an answer and the next request.
    pub pause: Duration,
}

/// What the connections saw within the window.
#[derive(Debug, Default)]
pub struct Tally {
    /// Times of the answers that were expected.
    pub times: Histogram,
    /// Requests without an expected answer, warm-up included.
    pub failures: u64,
    /// What the first of them was.
    pub first_failure: Option<String>,
    /// When the last answer that counts was there.
    pub last: Option<Instant>,
}

/// Why a target cannot be asked at all.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The authority file.
    #[error("cannot read the certificate authority: {0}")]
    Authority(rustls_pki_types::pem::Error),
    /// The authority's certificate, or no TLS at all.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

#[derive(Debug, Error)]
enum ExchangeError {
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Buffers of a connection, used for all its exchanges.
#[derive(Default)]
struct Buffers {
    request: Vec<u8>,
    body: Vec<u8>,
    answer: Vec<u8>,
}

impl Prepared {
    /// Reads the authority, cuts the request. `count` is the most requests ever begun.
    pub fn new(target: &Target, count: Option<u64>) -> Result<Self, PrepareError> {
        Ok(Self {
            address: target.address,
            tls: target.authority.as_deref().map(connector).transpose()?,
            template: Template::new(&target.request, target.address),
            expect: target.request.expect.clone(),
            first: target.request.first,
            spread: target.request.spread.unwrap_or(u64::MAX),
            expire_at: target.request.expire_at,
            begun: AtomicU64::new(0),
            count: count.unwrap_or(u64::MAX),
        })
    }

    /// The next request's filling; `None` when a counted run has begun them all.
    fn next(&self) -> Option<Filling> {
        let ordinal = self.begun.fetch_add(1, Ordering::Relaxed);
        if ordinal >= self.count {
            return None;
        }
        let ttl_seconds = match self.expire_at {
            Some(at) if self.template.has_ttl() => at.saturating_sub(unix_seconds()).max(1),
            _ => 0,
        };
        Some(Filling { number: self.first.saturating_add(ordinal % self.spread), ttl_seconds })
    }
}

impl Tally {
    /// Adds another connection's.
    pub fn merge(&mut self, other: Self) {
        self.times.merge(&other.times);
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.last = self.last.max(other.last);
    }

    fn fail(&mut self, what: impl FnOnce() -> String) {
        self.failures += 1;
        self.first_failure.get_or_insert_with(what);
    }
}

/// Asks again and again until the window or the count ends. A lost connection is opened anew.
pub async fn run(prepared: &Prepared, window: Window) -> Tally {
    let mut tally = Tally::default();
    let mut buffers = Buffers::default();
    loop {
        let lost = match TcpStream::connect(prepared.address).await {
            Ok(tcp) => open(prepared, window, tcp, &mut buffers, &mut tally).await,
            Err(error) => Err(ExchangeError::Io(error)),
        };
        match lost {
            Ok(Next::Done) => return tally,
            Ok(Next::Redial) => {}
            Err(error) => {
                tally.fail(|| error.to_string());
                tokio::time::sleep(limits::REDIAL_PAUSE).await;
            }
        }
        if Instant::now() >= window.until {
            return tally;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Done,
    Redial,
}

async fn open(
    prepared: &Prepared,
    window: Window,
    tcp: TcpStream,
    buffers: &mut Buffers,
    tally: &mut Tally,
) -> Result<Next, ExchangeError> {
    tcp.set_nodelay(true)?;
    match &prepared.tls {
        None => ask(prepared, window, tcp, buffers, tally).await,
        Some(tls) => {
            let name = ServerName::IpAddress(prepared.address.ip().into());
            ask(prepared, window, tls.connect(name, tcp).await?, buffers, tally).await
        }
    }
}

async fn ask<S: Stream>(
    prepared: &Prepared,
    window: Window,
    mut stream: S,
    buffers: &mut Buffers,
    tally: &mut Tally,
) -> Result<Next, ExchangeError> {
    let mut begun = Instant::now();
    while begun < window.until {
        let Some(filling) = prepared.next() else { return Ok(Next::Done) };
        prepared.template.write(filling, &mut buffers.request, &mut buffers.body);
        let answer = exchange(&mut stream, &buffers.request, &mut buffers.answer).await?;
        let ended = Instant::now();
        if !prepared.expect.contains(&answer.status) {
            tally.fail(|| excerpt(answer, &buffers.answer));
        } else if ended >= window.from && ended <= window.until {
            tally.times.record(ended.duration_since(begun));
            tally.last = Some(ended);
        }
        if answer.closes {
            return Ok(Next::Redial);
        }
        begun = ended;
        if !window.pause.is_zero() {
            tokio::time::sleep(window.pause).await;
            begun = Instant::now();
        }
    }
    Ok(Next::Done)
}

async fn exchange<S: Stream>(stream: &mut S, request: &[u8], answer: &mut Vec<u8>) -> Result<Answer, ExchangeError> {
    stream.write_all(request).await?;
    stream.flush().await?;
    answer.clear();
    let mut reading = Reading::default();
    loop {
        answer.reserve(limits::READ_ROOM_BYTES);
        if stream.read_buf(answer).await? == 0 {
            return Err(ExchangeError::Closed);
        }
        if let Some(whole) = reading.advance(answer)? {
            return Ok(whole);
        }
    }
}

/// Says what came. Only an error's text is kept: a success that was not expected could hold a secret.
fn excerpt(answer: Answer, received: &[u8]) -> String {
    let body = received.get(answer.body_from..).unwrap_or_default();
    let text = match answer.status {
        400.. => String::from_utf8_lossy(body.get(..limits::EXCERPT_MAX_BYTES).unwrap_or(body)),
        _ => "".into(),
    };
    format!("status {}: {}", answer.status, text.trim())
}

fn connector(authority: &Path) -> Result<TlsConnector, PrepareError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(PrepareError::Authority)?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_never_shows_the_body_of_a_success() {
        let received = b"HTTP/1.1 x\r\n\r\n{\"client_token\":\"hvs.x\"}\n";
        let cases = [
            (200, "status 200: "),
            (204, "status 204: "),
            (302, "status 302: "),
            (403, "status 403: {\"client_token\":\"hvs.x\"}"),
        ];
        for (status, expected) in cases {
            assert_eq!(excerpt(Answer { status, body_from: 14, closes: false }, received), expected);
        }
    }
}
