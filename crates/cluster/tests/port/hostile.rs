//! A member that does not keep to the rules: it has a certificate, and writes what it likes.

use bytes::Bytes;
use cluster::{Body, Rpc};
use futures::stream;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::scene::{Caller, Memory, Node, keys};

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without end, whose length nobody knows.
fn endless() -> Body {
    let pieces = stream::repeat_with(|| Ok(Frame::data(Bytes::from_static(&[0; 1024]))));
    StreamBody::new(pieces).boxed_unsync()
}

async fn ask(node: &Node, keys: &cluster::ClusterKeys, request: Request<Body>) -> (u16, String) {
    let mut sender = Caller::member(keys).http2(&node.address).await;
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn post(uri: &str, body: Body) -> Request<Body> {
    Request::builder().method(Method::POST).uri(uri).body(body).unwrap()
}

#[tokio::test]
async fn class_n_bodies_are_judged_by_their_length_before_they_are_read() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    let too_long = |uri: &str, length: u64| {
        let mut request = post(uri, endless());
        request.headers_mut().insert("content-length", length.into());
        request
    };
    for (request, want) in [
        (too_long("https://log/append", 49 << 20), "a body of 51380224 bytes, where 50331648 are allowed"),
        (too_long("https://log/append", 1 << 59), "a body of 576460752303423488 bytes, where 50331648 are allowed"),
        (too_long("https://log/vote", 65_537), "a body of 65537 bytes, where 65536 are allowed"),
        (too_long("https://log/read-index", 1 << 40), "a body of 1099511627776 bytes, where 65536 are allowed"),
        (post("https://log/append", endless()), "a body without its length"),
        (post("https://log/hello", full(vec![0; 65_537])), "a body of 65537 bytes, where 65536 are allowed"),
    ] {
        assert_eq!(ask(&node, &keys, request).await, (413, want.to_owned()));
    }
    assert_eq!(node.inside.count(), 0);
    assert_eq!(ask(&node, &keys, post("https://log/vote", full(vec![0; 65_536]))).await.0, 200);
}

#[tokio::test]
async fn places_that_nobody_knows_are_refused() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    for (method, uri, status) in [
        ("POST", "https://log/", 404),
        ("POST", "https://log/Append", 404),
        ("POST", "https://log/append/", 404),
        ("POST", "https://log//append", 404),
        ("POST", "https://log/../append", 404),
        ("GET", "https://log/append", 404),
        ("PUT", "https://log/vote", 404),
        ("POST", "https://LOG/append", 404),
        ("POST", "https://log:8201/append", 404),
        ("POST", "https://elsewhere/append", 404),
        ("POST", "https://log/snapshot", 400),
    ] {
        let request = Request::builder().method(method).uri(uri).body(full("entries")).unwrap();
        assert_eq!(ask(&node, &keys, request).await.0, status, "{method} {uri}");
    }
    for head in ["", "*", "====", &"A".repeat(100_000)] {
        let mut request = post("https://log/snapshot", full("state"));
        request.headers_mut().insert("strongroom-snapshot-head", head.parse().unwrap());
        assert!(matches!(ask(&node, &keys, request).await.0, 400 | 503), "{}", head.len());
    }
    assert_eq!(node.inside.count(), 0);
}

#[tokio::test]
async fn class_n_rubbish_after_the_handshake_ends_the_connection_and_nothing_else() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let frame = |bytes: &[u8]| [preface.as_slice(), bytes].concat();
    for rubbish in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        vec![0xff; 4096],
        frame(&[0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0]),
        frame(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
        frame(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        frame(&[[0u8, 0, 0, 4, 0, 0, 0, 0, 0].as_slice(), &[0, 0, 4, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]].concat()),
        frame(&[[0u8, 0, 0, 4, 0, 0, 0, 0, 0].as_slice(), &[0, 0, 1, 0, 0, 0, 0, 0, 9, 0]].concat()),
    ] {
        let mut stream = Caller::member(&keys).connect(&node.address).await.unwrap();
        stream.write_all(&rubbish).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await; // ends: the door closes by itself
    }
    assert_eq!(node.inside.count(), 0);
    let two = Node::new(2, &keys).await;
    two.call(node.to(), Rpc::Vote, b"").await.unwrap();
}

#[tokio::test]
async fn class_n_headers_are_bounded() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    let mut request = post("https://api/v1/a", full(""));
    for n in 0..40 {
        request.headers_mut().append("x-long", format!("{n}{}", "x".repeat(8000)).parse().unwrap());
    }
    let mut sender = Caller::member(&keys).http2(&node.address).await;
    let refused = sender.send_request(request).await;
    assert!(refused.is_err() || refused.unwrap().status().as_u16() == 431);
    assert!(node.inside.passed_on.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_member_with_very_many_connections_loses_its_oldest() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    let mut connections = Vec::new();
    for _ in 0..40 {
        let mut sender = Caller::member(&keys).http2(&node.address).await;
        assert_eq!(sender.send_request(post("https://log/vote", full(""))).await.unwrap().status(), 200);
        connections.push(sender);
    }
    while connections.iter().filter(|c| !c.is_closed()).count() > 12 {
        tokio::task::yield_now().await;
    }
    assert!(connections.last().is_some_and(|c| !c.is_closed()));
}

#[tokio::test]
async fn many_bodies_at_once_take_turns() {
    let keys = keys();
    let (one, two) = (Node::with(1, &keys, Memory::echoing()).await, Node::new(2, &keys).await);
    let body = vec![0; 40 << 20];
    let calls = (0..6).map(|_| two.call(one.to(), Rpc::Propose, &body));
    for refused in futures::future::join_all(calls).await {
        // The echo of such a body is too long an answer, but it arrived.
        assert!(refused.unwrap_err().contains("bytes, where"));
    }
    assert_eq!(one.inside.count(), 6);
}
