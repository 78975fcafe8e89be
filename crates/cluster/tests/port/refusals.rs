//! Who is turned away, and at which end.

use std::time::Duration;

use cluster::{ClusterKeys, Rpc, To};
use secret::SystemEntropy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{Caller, Memory, Node, keys, now, settings};

const HOUR: Duration = Duration::from_secs(3600);

/// The caller's end of the handshake may be through before the door has judged it; what counts is that nothing comes back.
async fn is_shut_out(caller: &Caller, address: &str) {
    if let Ok(mut stream) = caller.connect(address).await {
        let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
        let mut answer = [0; 64];
        let read = stream.read(&mut answer).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_member_comes_in() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    let mut stream = Caller::member(&keys).connect(&node.address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut settings = [0; 9];
    stream.read_exact(&mut settings).await.unwrap();
    assert_eq!(settings[3], 4, "a SETTINGS frame: this test would see it if a stranger got one");
}

#[tokio::test]
async fn class_g_whoever_cannot_show_that_it_is_a_member_stays_outside() {
    let keys = keys();
    let node = Node::new(1, &keys).await;
    let member = || Caller::member(&keys);
    let with = |certificate| Caller { certificate, ..member() };
    let twelve = Caller { versions: vec![&rustls::version::TLS12], ..member() };
    for (what, caller) in [
        ("no certificate", with(None)),
        ("another cluster", with(Some((crate::scene::keys(), 2, now())))),
        ("ended", with(Some((keys.clone(), 2, now().minus(49 * HOUR))))),
        ("not begun", with(Some((keys.clone(), 2, now().plus(25 * HOUR))))),
        ("no member", with(Some((keys.clone(), 9, now())))),
        ("TLS 1.2", twelve),
        ("another protocol", Caller { protocols: vec![b"h2".to_vec()], ..member() }),
        ("no protocol", Caller { protocols: Vec::new(), ..member() }),
    ] {
        is_shut_out(&caller, &node.address).await;
        assert_eq!(node.inside.count(), 0, "{what}");
    }
    // Clocks may differ by a day.
    for made in [now().minus(47 * HOUR), now().plus(23 * HOUR)] {
        let caller = with(Some((keys.clone(), 2, made)));
        let request = http::Request::post("https://log/vote").body(http_body_util::combinators::UnsyncBoxBody::default());
        assert_eq!(caller.http2(&node.address).await.send_request(request.unwrap()).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn class_g_what_is_not_tls_gets_no_answer() {
    let node = Node::new(1, &keys()).await;
    for text in
        ["GET /v1/sys/health HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0\0\0", "\x16\x03\x01\x7f\x7f"]
    {
        let mut stream = TcpStream::connect(&node.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        // At most a TLS alert.
        assert!(answer.is_empty() || (answer[0] == 21 && answer.len() == 7), "{text:?}: {answer:?}");
    }
    assert_eq!(node.inside.count(), 0);
}

#[tokio::test]
async fn class_g_a_node_speaks_only_to_the_node_it_means() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    let other = To { raft_id: 3, ..two.to() };
    let refused = one.call(other, Rpc::Append, b"entries").await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
    let foreign = Node::new(2, &crate::scene::keys()).await;
    let refused = one.call(foreign.to(), Rpc::Append, b"entries").await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!((two.inside.count(), foreign.inside.count()), (0, 0));
    // The address leads to the right one again.
    one.call(two.to(), Rpc::Append, b"entries").await.unwrap();
}

#[tokio::test]
async fn a_sealed_node_neither_sends_nor_answers() {
    let keys = keys();
    let one = Node::new(1, &keys).await;
    let two = Node::sealed(2, Memory::echoing(), settings()).await;
    assert!(one.call(two.to(), Rpc::Vote, b"").await.is_err());
    assert_eq!(two.call(one.to(), Rpc::Vote, b"").await.unwrap_err(), format!("other at {}: this node is sealed", one.address));
    is_shut_out(&Caller::member(&keys), &two.address).await;
    two.port.enter(&keys, 2).unwrap();
    one.call_until_answered(two.to()).await;
    two.call(one.to(), Rpc::Vote, b"").await.unwrap();
    two.port.leave().await;
    assert!(two.call(one.to(), Rpc::Vote, b"").await.is_err());
    assert!(one.call(two.to(), Rpc::Vote, b"").await.is_err(), "what stood is closed too");
    two.port.enter(&keys, 2).unwrap();
    one.call_until_answered(two.to()).await;
}

#[tokio::test]
async fn class_g_a_member_that_is_removed_is_heard_no_more() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    two.call(one.to(), Rpc::Append, b"entries").await.unwrap();
    one.inside.members.lock().unwrap().remove(&2);
    let before = one.inside.count();
    let refused = two.call(one.to(), Rpc::Append, b"entries").await.unwrap_err();
    assert!(refused.contains("not a member"), "{refused}");
    // The connection ends with it; a new one is not let in.
    while !two.call(one.to(), Rpc::Append, b"entries").await.unwrap_err().contains("at once") {}
    assert_eq!(one.inside.count(), before);
    one.inside.members.lock().unwrap().insert(2);
    two.call_until_answered(one.to()).await;
}

#[tokio::test]
async fn class_g_a_retired_authority_opens_nothing() {
    let first = keys();
    let next = first.with_next(now(), &SystemEntropy).unwrap();
    let adopted = next.with_adopted(now()).unwrap();
    let retired = adopted.without_retired(now().plus(100 * HOUR)).unwrap();
    let old = |keys: &ClusterKeys| Caller { certificate: Some((keys.clone(), 2, now())), ..Caller::member(keys) };
    let node = Node::new(1, &first).await;
    let request = || http::Request::post("https://log/vote").body(http_body_util::combinators::UnsyncBoxBody::default()).unwrap();
    for (ring, lets_first_in, lets_second_in) in
        [(&first, true, false), (&next, true, true), (&adopted, true, true), (&retired, false, true)]
    {
        node.port.enter(ring, 1).unwrap();
        for (caller, comes_in) in [(old(&first), lets_first_in), (old(&adopted), lets_second_in)] {
            if comes_in {
                assert_eq!(caller.http2(&node.address).await.send_request(request()).await.unwrap().status(), 200);
            } else {
                is_shut_out(&caller, &node.address).await;
            }
        }
    }
}
