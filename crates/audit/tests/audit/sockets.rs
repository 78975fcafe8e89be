//! `socket` and `syslog` against real listeners: that close, hang, are slow, go away and come back (demand O5).

use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use audit::{Broker, DeviceConfig, EnableError, Health, Settings};
use serde_json::Value;

use crate::common::{IMPATIENT, file, grant, ids, long_record, patient, permit, until};

fn socket(address: &str, more: &[(&str, &str)]) -> DeviceConfig {
    let mut options: std::collections::BTreeMap<_, _> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    options.insert("address".into(), address.into());
    DeviceConfig { device_type: "socket".into(), options, ..DeviceConfig::default() }
}

/// Accepts the connection that the device makes when it has something to say.
fn accepted(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Reads until `done`, and gives the ids of all whole lines.
async fn read_ids(stream: &mut impl Read, text: &mut Vec<u8>, what: &str, done: impl Fn(&[String]) -> bool) -> Vec<String> {
    let mut chunk = vec![0u8; 1 << 20];
    let mut found = Vec::new();
    until(what, || {
        match stream.read(&mut chunk) {
            Ok(n) => text.extend_from_slice(&chunk[..n]),
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        found = whole_ids(text);
        done(&found)
    })
    .await;
    found
}

/// The ids of the lines that are whole. One that a hang cut off is ended by the newline before the next.
fn whole_ids(text: &[u8]) -> Vec<String> {
    let lines = text.split_inclusive(|b| *b == b'\n').filter(|l| l.ends_with(b"\n"));
    let parsed = lines.filter_map(|l| serde_json::from_slice::<Value>(l).ok());
    parsed.filter_map(|l| l["request"]["id"].as_str().map(str::to_owned)).collect()
}

fn health(broker: &Broker, path: &str) -> Health {
    broker.statuses().into_iter().find(|s| s.path == path).unwrap().health
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_closes_is_noticed_before_the_next_entry() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = patient();
    broker.enable("s", socket(&address, &[]), "s".into()).await.unwrap();
    let mut first = accepted(&listener);
    permit(&broker, "one").await.unwrap();
    assert_eq!(read_ids(&mut first, &mut Vec::new(), "the first line", |ids| !ids.is_empty()).await, ["one"]);
    drop(first);
    permit(&broker, "two").await.unwrap();
    let mut second = accepted(&listener);
    assert_eq!(read_ids(&mut second, &mut Vec::new(), "the second line", |ids| !ids.is_empty()).await, ["two"], "none was lost");

    // Nobody listens any more: that is named, and one who comes back is found.
    drop((second, listener));
    let error = permit(&broker, "lost").await.unwrap_err().to_string();
    assert!(error.starts_with("no audit device took the entry: s/: Connection refused"), "{error}");
    assert_eq!(health(&broker, "s/"), Health::Failing);
    let listener = TcpListener::bind(&address).unwrap();
    permit(&broker, "three").await.unwrap();
    let mut third = accepted(&listener);
    assert_eq!(read_ids(&mut third, &mut Vec::new(), "the third line", |ids| !ids.is_empty()).await, ["three"]);
    assert_eq!(health(&broker, "s/"), Health::Healthy);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_hangs_is_named_within_its_time_out_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = patient();
    broker.enable("s", socket(&listener.local_addr().unwrap().to_string(), &[IMPATIENT]), "s".into()).await.unwrap();
    broker.enable("log", file(&log, &[]), "s".into()).await.unwrap();
    let mut hung = accepted(&listener);
    let mut sent = 0;
    while health(&broker, "s/") == Health::Healthy {
        let id: &str = &sent.to_string();
        broker.permit(grant(), || long_record(id)).await.unwrap();
        sent += 1;
        assert!(sent < 500, "the buffers of the kernel have an end");
    }
    permit(&broker, "meanwhile").await.unwrap();
    assert_eq!(ids(&log).len(), sent + 1, "the other device missed nothing");
    assert!(broker.statuses()[0].missed >= 1);

    let mut text = Vec::new();
    read_ids(&mut hung, &mut text, "the flood", |_| health(&broker, "s/") == Health::Healthy).await;
    permit(&broker, "after").await.unwrap();
    let seen = read_ids(&mut hung, &mut text, "the last line", |ids| ids.last().is_some_and(|id| id == "after")).await;
    assert_eq!(seen.iter().filter(|id| *id == "0").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_every_line_whole_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let broker = patient();
    broker.enable("u", socket(path.to_str().unwrap(), &[("socket_type", "unix")]), "s".into()).await.unwrap();
    let mut stream = listener.accept().unwrap().0;
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut few = [0u8; 700];
        while let Ok(n @ 1..) = stream.read(&mut few) {
            text.extend_from_slice(&few[..n]);
            std::thread::yield_now();
        }
        whole_ids(&text)
    });
    let sent: Vec<String> = (0..30).map(|i| i.to_string()).collect();
    for id in &sent {
        broker.permit(grant(), || long_record(id)).await.unwrap();
    }
    assert!(broker.disable("u"));
    assert_eq!(reader.join().unwrap(), sent);
    // The socket's file is gone: who enables the device is told.
    std::fs::remove_file(&path).unwrap();
    let refused = broker.enable("u", socket(path.to_str().unwrap(), &[("socket_type", "unix")]), "s".into()).await.unwrap_err();
    assert_eq!(refused.to_string(), "audit backend failed test message: No such file or directory (os error 2)");
}

#[tokio::test]
async fn over_udp_an_entry_is_a_datagram_and_one_that_is_too_long_is_its_own_fault() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    let broker = patient();
    let address = listener.local_addr().unwrap().to_string();
    broker.enable("d", socket(&address, &[("socket_type", "udp"), ("skip_test", "true")]), "s".into()).await.unwrap();
    let error = broker.permit(grant(), || long_record("long")).await.unwrap_err().to_string();
    assert!(error.contains("d/: an entry of ") && error.ends_with(" bytes is too long for a datagram"), "{error}");
    permit(&broker, "short").await.unwrap();
    let mut datagram = vec![0u8; 1 << 16];
    let n = listener.recv(&mut datagram).unwrap();
    assert_eq!(whole_ids(&datagram[..n]), ["short"]);
    let status = broker.statuses().remove(0);
    assert_eq!((status.recorded, status.missed, status.health), (1, 1, Health::Healthy));
}

#[tokio::test]
async fn sockets_that_cannot_be_reached_are_refused() {
    let broker = patient();
    let free = "127.0.0.1:1"; // nobody is given this port by chance
    for address in [free, "127.0.0.1", "127.0.0.1:port", "/nowhere/socket"] {
        let refused = broker.enable("s", socket(address, &[]), "s".into()).await.unwrap_err();
        assert!(matches!(refused, EnableError::TestMessage(_)), "{address}: {refused}");
    }
    assert!(!broker.has_devices());
    // Untested it is in force and stops requests, as a lost device does.
    broker.enable("s", socket(free, &[("skip_test", "true")]), "s".into()).await.unwrap();
    assert!(permit(&broker, "x").await.is_err());
}

fn syslog(dir: &Path, options: &[(&str, &str)]) -> (Broker, DeviceConfig) {
    let settings = Settings {
        syslog_sockets: vec![dir.join("gone"), dir.join("log")],
        time_out: std::time::Duration::from_secs(60),
        ..Settings::default()
    };
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let config = DeviceConfig { device_type: "syslog".into(), options, ..DeviceConfig::default() };
    (Broker::with_settings(settings), config)
}

fn message(daemon: &UnixDatagram) -> String {
    let mut datagram = vec![0u8; 1 << 20];
    let n = daemon.recv(&mut datagram).unwrap();
    String::from_utf8(datagram[..n].to_vec()).unwrap()
}

#[tokio::test]
async fn the_log_daemon_gets_framed_lines_and_may_be_started_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, config) = syslog(dir.path(), &[("facility", "local3"), ("tag", "strong")]);
    let refused = broker.enable("log", config.clone(), "s".into()).await.unwrap_err();
    assert_eq!(refused.to_string(), "audit backend failed test message: there is no log daemon");
    let daemon = UnixDatagram::bind(dir.path().join("log")).unwrap();
    broker.enable("log", config, "s".into()).await.unwrap();
    let text = message(&daemon);
    // local3 (19) and informational (6); RFC 3164 §4.1.
    assert!(text.starts_with("<158>") && text.ends_with("}\n"), "{text}");
    let (head, line) = text.split_at(text.find('{').unwrap());
    assert!(head.ends_with(&format!(" strong[{}]: ", std::process::id())), "{head}");
    assert_eq!(serde_json::from_str::<Value>(line).unwrap()["request"]["path"], "sys/audit/test");

    drop(daemon);
    std::fs::remove_file(dir.path().join("log")).unwrap();
    assert!(permit(&broker, "lost").await.is_err());
    let daemon = UnixDatagram::bind(dir.path().join("log")).unwrap();
    permit(&broker, "found").await.unwrap();
    assert!(message(&daemon).contains("\"found\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_daemon_that_hangs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = UnixDatagram::bind(dir.path().join("log")).unwrap();
    let (broker, config) = syslog(dir.path(), &[IMPATIENT]);
    broker.enable("log", config, "s".into()).await.unwrap();
    let mut refused = None;
    for i in 0..10_000 {
        if let Err(e) = permit(&broker, &i.to_string()).await {
            refused = Some(e.to_string());
            break;
        }
    }
    let refused = refused.expect("the queue of the kernel has an end");
    assert!(refused.starts_with("no audit device took the entry: log/: "), "{refused}");
    // The daemon wakes up.
    daemon.set_nonblocking(true).unwrap();
    let mut datagram = vec![0u8; 1 << 16];
    until("the recovery", || {
        while daemon.recv(&mut datagram).is_ok() {}
        health(&broker, "log/") == Health::Healthy
            || (health(&broker, "log/") == Health::Failing && broker.statuses()[0].queued_bytes == 0)
    })
    .await;
    permit(&broker, "again").await.unwrap();
    assert_eq!(health(&broker, "log/"), Health::Healthy);
}
