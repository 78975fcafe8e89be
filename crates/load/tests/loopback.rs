//! The program as the driver script runs it: a plan on stdin, a report on stdout, against a server on loopback that counts.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests: a panic here is a failed test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

/// Request lines that a server has seen.
type Seen = Arc<Mutex<Vec<String>>>;

/// Answers each request with `answer`, keeping the connection if the answer says so.
fn server(answer: &'static str) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let noted = Arc::clone(&noted);
            thread::spawn(move || answer_all(stream, answer, &noted));
        }
    });
    (address, seen)
}

fn answer_all(mut stream: TcpStream, answer: &str, noted: &Seen) {
    let mut buffer = [0_u8; 4096];
    // The requests of these tests are small: one read is one request.
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        noted.lock().unwrap().push(text.lines().next().unwrap().to_owned());
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.contains("Connection: close") {
            return;
        }
    }
}

fn drive(plan: &Value) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_load"))
        .arg("drive")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(plan.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn first_round(plan: &Value) -> Value {
    let output = drive(plan);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["targets"][0]["rounds"][0].clone()
}

fn counted(address: SocketAddr, expect: u16) -> Value {
    json!({
        "requests": 50, "connections": 4, "threads": 2,
        "targets": [{
            "name": "t", "address": address.to_string(), "pid": std::process::id(),
            "request": {"method": "LIST", "path": "/v1/k-{{i}}", "expect": [expect], "first": 100, "spread": 25},
        }],
    })
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
const CLOSING: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied";

#[test]
fn a_counted_plan_asks_exactly_that_often_and_numbers_repeat() {
    for answer in [OK, CHUNKED, CLOSING] {
        let (address, seen) = server(answer);
        let round = first_round(&counted(address, 200));
        assert_eq!((round["answers"].as_u64(), round["failures"].as_u64()), (Some(50), Some(0)), "{answer}: {round}");
        assert!(round["memory"]["rss_kib"].as_u64() > Some(0));
        let mut lines = seen.lock().unwrap().clone();
        lines.sort();
        let mut expected: Vec<String> = (100..125).flat_map(|number| vec![format!("LIST /v1/k-{number} HTTP/1.1"); 2]).collect();
        expected.sort();
        assert_eq!(lines, expected, "{answer}");
    }
}

#[test]
fn an_answer_that_was_not_expected_is_a_failure_and_told() {
    let (address, _) = server(DENIED);
    let round = first_round(&counted(address, 200));
    assert_eq!((round["answers"].as_u64(), round["failures"].as_u64()), (Some(0), Some(50)));
    assert_eq!(round["first_failure"], "status 403: denied");
    assert_eq!(round["cpu_seconds_per_1000"], Value::Null);
}

#[test]
fn a_timed_plan_goes_over_all_targets_in_every_round() {
    let (one, _) = server(OK);
    let (other, _) = server(CHUNKED);
    let target = |name: &str, address: SocketAddr| json!({"name": name, "address": address.to_string(), "request": {"method": "GET", "path": "/", "expect": [200]}});
    let output = drive(&json!({
        "rounds": 3, "measure_ms": 20, "warm_up_ms": 5, "connections": 2,
        "targets": [target("one", one), target("other", other)],
    }));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (index, name) in ["one", "other"].into_iter().enumerate() {
        let results = &report["targets"][index];
        assert_eq!(results["name"], name);
        assert_eq!(results["rounds"].as_array().unwrap().len(), 3);
        for round in results["rounds"].as_array().unwrap() {
            assert!(round["answers"].as_u64() > Some(0), "{round}");
            assert!(round["p50_us"].as_f64() <= round["p99_us"].as_f64() && round["p99_us"].as_f64() <= round["max_us"].as_f64());
        }
    }
}

#[test]
fn a_plan_that_leaves_loopback_or_is_not_understood_does_nothing() {
    let away = json!({"requests": 1, "connections": 1, "targets": [
        {"name": "t", "address": "203.0.113.7:80", "request": {"method": "GET", "path": "/", "expect": [200]}}]});
    let unknown = json!({"requests": 1, "connections": 1, "targets": [], "forever": true});
    for (plan, told) in
        [(away, "203.0.113.7:80 is not a loopback address"), (unknown, "unknown field `forever`"), (json!(7), "invalid type")]
    {
        let output = drive(&plan);
        assert!(!output.status.success());
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(told), "{stderr}");
    }
}
