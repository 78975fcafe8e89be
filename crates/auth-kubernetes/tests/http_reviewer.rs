//! The reviewer that uses the network, against small servers on loopback: trust, redirects, bounds, what is sent.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use auth_kubernetes::{Answer, HttpReviewer, NoAnswer, Question, Reviewer, Target, Trust};
use rustls_pki_types::PrivateKeyDer;
use secret::{SecretString, Time};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that gives the same bytes to every request, and what it was sent.
struct Server {
    port: u16,
    heard: tokio::sync::mpsc::UnboundedReceiver<String>,
    connections: Arc<AtomicUsize>,
}

async fn serve(reply: String, tls: Option<tokio_rustls::TlsAcceptor>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = tokio::sync::mpsc::unbounded_channel();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let (reply, tell, tls) = (reply.clone(), tell.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => speak(socket, &reply, &tell).await,
                    Some(tls) => {
                        if let Ok(socket) = tls.accept(socket).await {
                            speak(socket, &reply, &tell).await;
                        }
                    }
                }
            });
        }
    });
    Server { port, heard, connections }
}

/// HTTP/1.1 as far as these tests need it: head, body by length, one fixed reply; an empty reply is silence.
async fn speak(mut socket: impl AsyncRead + AsyncWrite + Unpin, reply: &str, tell: &tokio::sync::mpsc::UnboundedSender<String>) {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = socket.read(&mut buffer).await.unwrap_or(0);
        if n == 0 {
            return;
        }
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |l| l.parse().unwrap());
        if body.len() < length {
            continue;
        }
        tell.send(std::mem::take(&mut text)).unwrap();
        socket.write_all(reply.as_bytes()).await.unwrap();
    }
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn review() -> Question {
    Question::TokenReview { token: SecretString::from("cli.ent.jwt"), audiences: vec!["vault".into()] }
}

async fn ask(reviewer: &HttpReviewer, host: String, trust: Trust, question: &Question) -> Result<Answer, NoAnswer> {
    let bearer = SecretString::from(" rev.iew.er\n");
    reviewer.ask(&Target { host, trust }, &bearer, question, Time::from_unix(0)).await
}

#[tokio::test]
async fn sends_what_the_contract_says_and_keeps_the_connection() {
    let mut server = serve(reply("201 Created", "{\"x\":1}"), None).await;
    let reviewer = HttpReviewer::default();
    for host in [format!("http://127.0.0.1:{}", server.port), format!("http://127.0.0.1:{}/", server.port)] {
        let answer = ask(&reviewer, host, Trust::System, &review()).await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (201, b"{\"x\":1}".as_slice()));
        let heard = server.heard.recv().await.unwrap();
        let (head, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\n"), "{head}");
        for line in ["authorization: Bearer rev.iew.er", "accept: application/json", "content-type: application/json"] {
            assert_eq!(head.lines().filter(|l| *l == line).count(), 1, "{line}: {head}");
        }
        assert!(body.contains("\"token\":\"cli.ent.jwt\"") && body.contains("\"audiences\":[\"vault\"]"), "{body}");
    }
    ask(&reviewer, format!("http://127.0.0.1:{}", server.port), Trust::System, &Question::Namespace("apps".into()))
        .await
        .unwrap();
    assert!(server.heard.recv().await.unwrap().starts_with("GET /api/v1/namespaces/apps HTTP/1.1\r\n"));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "one connection for all");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let other = serve(reply("201 Created", "{}"), None).await;
    let to =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{}/x\r\ncontent-length: 0\r\n\r\n", other.port);
    let server = serve(to, None).await;
    let answer =
        ask(&HttpReviewer::default(), format!("http://127.0.0.1:{}", server.port), Trust::System, &review()).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(other.connections.load(Ordering::SeqCst), 0, "the bearer did not travel");
}

#[tokio::test]
async fn long_silent_and_absent_answers_fail_without_the_token_in_the_reason() {
    let long = serve(reply("200 OK", &"x".repeat(2 * 1024 * 1024 + 1)), None).await;
    let silent = serve(String::new(), None).await;
    let (reviewer, impatient) = (HttpReviewer::default(), HttpReviewer::new(Duration::from_millis(300)));
    for (reviewer, host, reason) in [
        (&impatient, format!("http://127.0.0.1:{}", silent.port), "timed out"),
        // Nobody is given port 1 by chance.
        (&reviewer, "http://127.0.0.1:1".to_owned(), "refused"),
        (&reviewer, "127.0.0.1:6443".to_owned(), "no URL"),
        (&reviewer, "ftp://127.0.0.1".to_owned(), "scheme"),
        (&reviewer, String::new(), "no URL"),
    ] {
        let e = ask(reviewer, host.clone(), Trust::System, &review()).await.unwrap_err().to_string();
        assert!(e.contains(reason), "{host}: {e}");
        assert!(!e.contains("rev.iew") && !e.contains("cli.ent"), "{e}");
    }
    let e = ask(&reviewer, format!("http://127.0.0.1:{}", long.port), Trust::System, &review()).await.unwrap_err();
    assert!(e.to_string().contains("longer than"), "{e}");
    let bearer = SecretString::from("line\nbreak canary");
    let target = Target { host: format!("http://127.0.0.1:{}", long.port), trust: Trust::System };
    let e = reviewer.ask(&target, &bearer, &review(), Time::from_unix(0)).await.unwrap_err().to_string();
    assert!(e.contains("header") && !e.contains("canary"), "{e}");
}

struct Ca {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

fn ca() -> Ca {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    Ca { issuer: rcgen::Issuer::new(params, key), pem }
}

fn acceptor(ca: &Ca, name: &str) -> tokio_rustls::TlsAcceptor {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca.issuer).unwrap();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn only_the_configured_ca_is_trusted_and_only_for_the_right_name() {
    let (own, other) = (ca(), ca());
    let server = serve(reply("201 Created", "{}"), Some(acceptor(&own, "127.0.0.1"))).await;
    let wrong_name = serve(reply("201 Created", "{}"), Some(acceptor(&own, "10.0.0.1"))).await;
    let reviewer = HttpReviewer::default();
    let at = |s: &Server| format!("https://127.0.0.1:{}", s.port);
    let pem = |text: &str| Trust::Pem(text.into());
    assert!(ask(&reviewer, at(&server), pem(&own.pem), &review()).await.is_ok());
    assert!(ask(&reviewer, at(&server), pem(&format!("{}{}", other.pem, own.pem)), &review()).await.is_ok(), "a bundle");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (host, trust) in [
        (at(&server), pem(&other.pem)),
        (at(&server), Trust::System),
        (at(&server), pem(broken)),
        (at(&server), pem("")),
        (at(&wrong_name), pem(&own.pem)),
    ] {
        let e = ask(&reviewer, host, trust.clone(), &review()).await.unwrap_err().to_string();
        assert!(e.contains("certificate"), "{trust:?}: {e}");
    }
    // A changed CA counts at once: the good one works again after the bad ones, the bad ones still do not.
    assert!(ask(&reviewer, at(&server), pem(&own.pem), &review()).await.is_ok());
    assert!(ask(&reviewer, at(&server), pem(&other.pem), &review()).await.is_err());
}
