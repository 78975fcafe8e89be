//! The client against a server that answers from a script and keeps what it was asked.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking, its helpers too")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Client, ClientError, Config, Environment, Method, Proxy, Request, Tls};
use secret::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the server was asked: head in lower case, body as it came.
#[derive(Clone, Debug)]
struct Asked {
    line: String,
    head: String,
    body: String,
}

type Log = Arc<Mutex<Vec<Asked>>>;

async fn answer_one<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, reply: &str, log: &Log) -> io::Result<()> {
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let n = socket.read(&mut buffer).await?;
        text.extend_from_slice(&buffer[..n]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let lower = head.to_lowercase();
            let length: usize =
                lower.lines().find_map(|l| l.strip_prefix("content-length: ")).and_then(|v| v.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                let line = head.lines().next().unwrap_or_default().to_owned();
                log.lock().unwrap().push(Asked { line, head: lower, body: body.to_owned() });
                break;
            }
        }
        if n == 0 {
            return Ok(());
        }
    }
    socket.write_all(reply.as_bytes()).await?;
    socket.shutdown().await
}

/// Serves each of `replies` to one connection; the last one again and again.
async fn serve(replies: Vec<String>) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let log = Log::default();
    let kept = Arc::clone(&log);
    tokio::spawn(async move {
        let mut n = 0;
        while let Ok((socket, _)) = listener.accept().await {
            let reply = replies[n.min(replies.len() - 1)].clone();
            n += 1;
            let _ = answer_one(socket, &reply, &kept).await;
        }
    });
    (address, log)
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

fn config(address: &str) -> Config {
    Config { address: address.to_owned(), retry_wait_min: Duration::ZERO, retry_wait_max: Duration::ZERO, ..Config::default() }
}

fn client(address: &str) -> Client {
    Client::new(config(address)).unwrap()
}

#[tokio::test]
async fn sends_what_vaults_client_sends() {
    let (address, log) = serve(vec![reply("204 No Content", "", "")]).await;
    let mut c = config(&address);
    c.token = Some(SecretString::from("hvs.x"));
    c.namespace = Some("team".to_owned());
    c.headers = vec![("X-Vault-MFA".to_owned(), "m:1".to_owned()), ("X-Vault-MFA".to_owned(), "n:2".to_owned())];
    let client = Client::new(c).unwrap();
    client.send(&Request::list("secret/metadata/")).await.unwrap();
    client.send(&Request::put("secret/data/a b").json(&serde_json::json!({"a": "<b>"}))).await.unwrap();
    client.send(&Request::patch("secret/data/a").json(&serde_json::json!({"a": null}))).await.unwrap();
    client.send(&Request::put("sys/wrapping/wrap").without_token().without_namespace()).await.unwrap();
    let asked = log.lock().unwrap().clone();
    assert_eq!(asked[0].line, "GET /v1/secret/metadata?list=true HTTP/1.1");
    for part in
        ["x-vault-request: true", "x-vault-token: hvs.x", "x-vault-namespace: team", "x-vault-mfa: m:1", "x-vault-mfa: n:2"]
    {
        assert!(asked[0].head.contains(part), "{part} in {}", asked[0].head);
    }
    assert!(!asked[0].head.contains("x-vault-wrap-ttl"));
    assert_eq!(
        (asked[1].line.as_str(), asked[1].body.as_str()),
        ("PUT /v1/secret/data/a%20b HTTP/1.1", r#"{"a":"\u003cb\u003e"}"#)
    );
    assert!(asked[2].head.contains("content-type: application/merge-patch+json") && asked[2].line.starts_with("PATCH "));
    assert!(asked[3].head.contains("x-vault-wrap-ttl: 5m"));
    assert!(!asked[3].head.contains("x-vault-token") && !asked[3].head.contains("x-vault-namespace"));
}

#[tokio::test]
async fn retries_what_may_pass_and_nothing_else() {
    // (answers, requests made, final status)
    let cases: [(&[&str], usize, u16); 9] = [
        (&["500 X", "200 OK"], 2, 200),
        (&["503 X", "502 X", "200 OK"], 3, 200),
        (&["500 X", "500 X", "500 X", "200 OK"], 3, 500),
        (&["429 X", "200 OK"], 2, 200),
        (&["412 X", "200 OK"], 2, 200),
        (&["501 X", "200 OK"], 1, 501),
        (&["400 X", "200 OK"], 1, 400),
        (&["403 X", "200 OK"], 1, 403),
        (&["404 X", "200 OK"], 1, 404),
    ];
    for (statuses, count, last) in cases {
        let (address, log) = serve(statuses.iter().map(|s| reply(s, "retry-after: 0\r\n", "{}")).collect()).await;
        let answer = client(&address).send(&Request::put("x").json("b")).await.unwrap();
        assert_eq!((answer.status, log.lock().unwrap().len()), (last, count), "{statuses:?}");
        assert!(log.lock().unwrap().iter().all(|a| a.body == "\"b\""), "the body goes with every try");
    }
}

#[tokio::test]
async fn health_is_asked_once_and_retries_can_be_off() {
    let (address, log) = serve(vec![reply("503 X", "", "{}")]).await;
    assert_eq!(client(&address).send(&Request::get("sys/health")).await.unwrap().status, 503);
    let c = Client::new(Config { max_retries: 0, ..config(&address) }).unwrap();
    assert_eq!(c.send(&Request::get("x")).await.unwrap().status, 503);
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn follows_one_redirect_with_method_body_and_token() {
    let (leader, leader_log) = serve(vec![reply("200 OK", "", "{}")]).await;
    let (standby, _) = serve(vec![reply("307 X", &format!("location: {leader}/v1/x?a=b\r\n"), "")]).await;
    let mut c = config(&standby);
    c.token = Some(SecretString::from("hvs.x"));
    let answer = Client::new(c).unwrap().send(&Request::put("x").json("b")).await.unwrap();
    assert_eq!((answer.status, answer.url), (200, format!("{leader}/v1/x?a=b")));
    let asked = leader_log.lock().unwrap()[0].clone();
    assert_eq!((asked.line.as_str(), asked.body.as_str()), ("PUT /v1/x?a=b HTTP/1.1", "\"b\""));
    assert!(asked.head.contains("x-vault-token: hvs.x"));
}

#[tokio::test]
async fn a_second_redirect_is_not_followed() {
    let (address, log) = serve(vec![reply("307 X", "location: /v1/y\r\n", "")]).await;
    let answer = client(&address).send(&Request::get("x")).await.unwrap();
    assert_eq!((answer.status, log.lock().unwrap().len()), (307, 2));
    let c = Client::new(Config { follow_redirect: false, ..config(&address) }).unwrap();
    c.send(&Request::get("x")).await.unwrap();
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn streams_arrive_and_their_errors_are_errors() {
    let (address, _) = serve(vec![reply("200 OK", "", "line 1\nline 2\n"), reply("400 X", "", r#"{"errors":["no"]}"#)]).await;
    let client = client(&address);
    let mut got = Vec::new();
    client.stream(&Request::get("sys/monitor").untimed(), &mut |b| io::Write::write_all(&mut got, b)).await.unwrap();
    assert_eq!(got, b"line 1\nline 2\n");
    let e = client.stream(&Request::get("sys/monitor"), &mut |_| Ok(())).await.unwrap_err();
    assert_eq!(e.status(), Some(400));
    let text = format!("Error making API request.\n\nURL: GET {address}/v1/sys/monitor\nCode: 400. Errors:\n\n* no");
    assert_eq!(e.to_string(), text);
}

#[tokio::test]
async fn a_file_is_sent_as_it_is() {
    let (address, log) = serve(vec![reply("204 X", "", "")]).await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    io::Write::write_all(&mut file, b"raw").unwrap();
    client(&address)
        .send(&Request::new(Method::Post, "sys/storage/raft/snapshot").file(file.path().to_path_buf()))
        .await
        .unwrap();
    assert!(log.lock().unwrap()[0].body.contains("raw"));
    let e = client(&address).send(&Request::post("x").file("/nowhere".into())).await.unwrap_err();
    assert!(e.to_string().starts_with("open /nowhere: "), "{e}");
}

#[tokio::test]
async fn refused_connections_read_as_go_says_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let e = client(&format!("http://127.0.0.1:{port}")).send(&Request::get("sys/seal-status")).await.unwrap_err();
    assert_eq!(
        e.to_string(),
        format!("Get \"http://127.0.0.1:{port}/v1/sys/seal-status\": dial tcp 127.0.0.1:{port}: connect: connection refused")
    );
}

#[test]
fn bad_settings_are_refused() {
    for address in ["nonsense", "ftp://h", "http://", "//h"] {
        assert!(Client::new(config(address)).is_err(), "{address}");
    }
    for tls in [
        Tls { ca_cert: Some("/nowhere".to_owned()), ..Tls::default() },
        Tls { ca_cert_bytes: Some("no pem".to_owned()), ..Tls::default() },
        Tls { ca_path: Some("/nowhere".to_owned()), ..Tls::default() },
        Tls { client_cert: Some("/a".to_owned()), ..Tls::default() },
        Tls { client_cert: Some("/nowhere".to_owned()), client_key: Some("/nowhere".to_owned()), ..Tls::default() },
        Tls { server_name: Some("not a name".to_owned()), ..Tls::default() },
    ] {
        assert!(matches!(Client::new(Config { tls, ..config("https://h") }), Err(ClientError::Config(_))));
    }
}

// ---- TLS ----

struct Server {
    address: String,
    pem: String,
}

/// An https server whose self-signed certificate carries `name`; `ca` makes it a CA certificate, as `-dev-tls` users do.
async fn serve_tls(name: &str, ca: bool, reply_text: String) -> Server {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    if ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(socket) = acceptor.accept(socket).await {
                let _ = answer_one(socket, &reply_text, &Log::default()).await;
            }
        }
    });
    Server { address, pem: certificate.pem() }
}

async fn ask(server: &Server, tls: Tls) -> Result<u16, String> {
    let client = Client::new(Config { tls, max_retries: 0, ..config(&server.address) }).map_err(|e| e.to_string())?;
    client.send(&Request::get("x")).await.map(|r| r.status).map_err(|e| e.to_string())
}

#[tokio::test]
async fn certificates_are_checked() {
    for ca in [false, true] {
        let server = serve_tls("127.0.0.1", ca, reply("200 OK", "", "{}")).await;
        let root = || Some(server.pem.clone());
        assert_eq!(ask(&server, Tls { ca_cert_bytes: root(), ..Tls::default() }).await, Ok(200), "ca: {ca}");
        assert_eq!(ask(&server, Tls { skip_verify: true, ..Tls::default() }).await, Ok(200));
        let refused = ask(&server, Tls::default()).await.unwrap_err();
        assert!(refused.contains("tls: failed to verify certificate: x509: "), "{refused}");
        let other = Tls { ca_cert_bytes: root(), server_name: Some("vault".to_owned()), ..Tls::default() };
        assert!(ask(&server, other).await.is_err(), "the name must match, ca: {ca}");
    }
}

#[tokio::test]
async fn another_server_name_may_be_asked_for() {
    for ca in [false, true] {
        let server = serve_tls("vault", ca, reply("200 OK", "", "{}")).await;
        let tls = |name: Option<&str>| Tls {
            ca_cert_bytes: Some(server.pem.clone()),
            server_name: name.map(str::to_owned),
            ..Tls::default()
        };
        assert_eq!(ask(&server, tls(Some("vault"))).await, Ok(200));
        assert!(ask(&server, tls(None)).await.is_err());
    }
}

#[tokio::test]
async fn a_ca_certificate_of_somebody_else_is_not_a_leaf() {
    let server = serve_tls("127.0.0.1", true, reply("200 OK", "", "{}")).await;
    let other = serve_tls("127.0.0.1", true, String::new()).await;
    assert!(ask(&server, Tls { ca_cert_bytes: Some(other.pem), ..Tls::default() }).await.is_err());
}

#[tokio::test]
async fn a_redirect_never_leaves_tls() {
    let (plain, log) = serve(vec![reply("200 OK", "", "{}")]).await;
    let server = serve_tls("127.0.0.1", false, reply("307 X", &format!("location: {plain}/v1/x\r\n"), "")).await;
    let refused = ask(&server, Tls { skip_verify: true, ..Tls::default() }).await;
    assert_eq!(refused, Err("redirect would cause protocol downgrade".to_owned()));
    assert!(log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn plain_http_to_an_https_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let c = Client::new(Config { max_retries: 0, ..config(&address) }).unwrap();
    let e = c.send(&Request::get("x")).await.unwrap_err().to_string();
    assert!(e.ends_with("http: server gave HTTP response to HTTPS client"), "{e}");
}

#[tokio::test]
async fn a_proxy_is_used_when_named() {
    let (proxy, log) = serve(vec![reply("200 OK", "", "{}")]).await;
    let mut c = Config::from_environment(&Environment::from_iter([("VAULT_HTTP_PROXY", proxy.as_str())])).unwrap();
    assert!(matches!(c.proxy, Proxy::Url(_)));
    c.address = "http://vault.invalid:8200".to_owned();
    Client::new(c).unwrap().send(&Request::get("x")).await.unwrap();
    assert_eq!(log.lock().unwrap()[0].line, "GET http://vault.invalid:8200/v1/x HTTP/1.1");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let (address, log) = serve(vec![reply("200 OK", "", "{}")]).await;
    let answer = client(&address.replace("127.0.0.1", "localhost")).send(&Request::get("x")).await.unwrap();
    assert_eq!((answer.status, log.lock().unwrap().len()), (200, 1));
}
