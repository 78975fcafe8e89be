//! The program over real sockets: that the edge is wired to the commands.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{Read, Write};
use std::net::TcpListener;

use cli::host::{Host, Output, Terminal};
use cli::transport::HttpConnect;
use client::Environment;
use secret::SystemEntropy;

fn run(address: &str, words: &[&str]) -> (i32, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    let mut host = Host {
        program: "vault".to_owned(),
        env: Environment::from_iter([("VAULT_ADDR", address), ("VAULT_TOKEN", "hvs.x")]),
        output: Output { out: &mut out, err: &mut err },
        out_is_terminal: false,
        input: &mut std::io::empty(),
        prompt: &mut Terminal,
        connect: &mut HttpConnect,
        entropy: &SystemEntropy,
    };
    let code = cli::run_on(&mut host, &args);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn a_read_goes_there_and_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = vec![0u8; 4096];
        let n = socket.read(&mut asked).unwrap();
        let body = r#"{"data":{"a":"b"}}"#;
        write!(socket, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8_lossy(&asked[..n]).to_lowercase()
    });
    let (code, out, err) = run(&address, &["read", "-field=a", "cubbyhole/x"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "b", ""));
    let asked = server.join().unwrap();
    assert!(asked.starts_with("get /v1/cubbyhole/x http/1.1\r\n") && asked.contains("x-vault-token: hvs.x"), "{asked}");
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let (code, out, err) = run(&format!("http://{at}"), &["status"]);
    let text = format!(
        "Error checking seal status: Get \"http://{at}/v1/sys/seal-status\": dial tcp {at}: connect: connection refused\n"
    );
    assert_eq!((code, out.as_str(), err), (1, "", text));
    assert_eq!(run("nonsense", &["read", "a"]).0, 2);
}

#[test]
fn the_process_itself() {
    let words = |w: &[&str]| w.iter().map(Into::into).collect();
    assert_eq!(cli::run(words(&["/usr/bin/vault", "version"]), Environment::default()), 0);
    assert_eq!(cli::run(words(&["strongroom", "policy", "fmt", "/nowhere"]), Environment::default()), 1);
    assert_eq!(cli::run(Vec::new(), Environment::default()), 127);
}

#[test]
fn a_pause_between_two_polls_ends() {
    use cli::host::Connect;
    let config = client::Config::from_environment(&Environment::default()).unwrap();
    let mut transport = HttpConnect.connect(config).unwrap();
    let began = std::time::Instant::now();
    transport.pause(std::time::Duration::from_millis(1));
    assert!(began.elapsed() >= std::time::Duration::from_millis(1));
}
