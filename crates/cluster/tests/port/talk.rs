//! Members among themselves.

use cluster::{Body, Port, Rpc};
use http_body_util::{BodyExt, Full};

use crate::scene::{Node, echo, keys, settings};

#[tokio::test]
async fn three_nodes_talk_each_with_each_in_every_kind() {
    let keys = keys();
    let nodes = [Node::new(1, &keys).await, Node::new(2, &keys).await, Node::new(3, &keys).await];
    for from in &nodes {
        for to in nodes.iter().filter(|n| n.raft_id != from.raft_id) {
            for rpc in Rpc::ALL {
                let answer = from.call(to.to(), rpc, b"question").await.unwrap();
                assert_eq!(answer, echo(from.raft_id, rpc, &"question".into()));
            }
        }
    }
    for node in &nodes {
        assert_eq!(node.inside.count(), 2 * Rpc::ALL.len());
    }
}

#[tokio::test]
async fn bodies_of_every_length_arrive_whole() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    // Answers are bounded, so what comes back is short of what the echo would be.
    for length in [0, 1, 16_383, 64 * 1024, 64 * 1024 + 1, 900_000] {
        let body: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let answer = one.call(two.to(), Rpc::Append, &body).await.unwrap();
        assert_eq!(answer, echo(1, Rpc::Append, &body.into()));
    }
    let greatest = vec![7; replication::MAX_CHANGE_BYTES];
    let refused = one.call(two.to(), Rpc::Append, &greatest).await.unwrap_err();
    assert!(refused.contains("bytes, where"), "the echo is too long an answer: {refused}");
    assert_eq!(two.inside.asked.lock().unwrap().last(), Some(&(1, Rpc::Append, greatest.len())));
}

#[tokio::test]
async fn a_refusal_comes_back_in_words_and_bounded() {
    let keys = keys();
    let act = |_, _, _| -> futures::future::BoxFuture<'static, _> { Box::pin(std::future::ready(Err("ä".repeat(4000)))) };
    let refusing = crate::scene::Memory::new(Box::new(act), Box::new(|_, _, _| Box::pin(std::future::ready(Err(String::new())))));
    let (one, two) = (Node::new(1, &keys).await, Node::with(2, &keys, refusing).await);
    let refused = one.call(two.to(), Rpc::Propose, b"change").await.unwrap_err();
    assert!(refused.starts_with(&format!("other at {}: it refused: ää", two.address)), "{refused}");
    assert!(refused.len() < 1200 && refused.ends_with('ä'), "{refused}");
}

fn request(uri: &str, body: &'static [u8]) -> http::Request<Body> {
    http::Request::builder()
        .method("LIST")
        .uri(uri)
        .header("host", "vault.example")
        .header("connection", "keep-alive, x-gone")
        .header("transfer-encoding", "chunked")
        .header("x-vault-token", "s.abc")
        .header("strongroom-client", "192.0.2.1")
        .body(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
        .unwrap()
}

#[tokio::test]
async fn a_request_is_passed_on_as_it_came() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    let answer = one.port.forward(two.to(), request("/v1/secret/a%2Fb?list=true&x=%20", b"{}")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-answer"].to_str().unwrap()), (418, "yes"));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "{}");
    let passed_on = two.inside.passed_on.lock().unwrap();
    let (from, parts, body) = passed_on.first().unwrap();
    assert_eq!((*from, parts.method.as_str(), body.as_ref()), (1, "LIST", &b"{}"[..]));
    assert_eq!(parts.uri.to_string(), "/v1/secret/a%2Fb?list=true&x=%20");
    assert_eq!(
        (&parts.headers["x-vault-token"], &parts.headers["strongroom-client"]),
        (&"s.abc".parse().unwrap(), &"192.0.2.1".parse().unwrap())
    );
    for gone in ["host", "connection", "transfer-encoding"] {
        assert!(!parts.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn no_passed_on_request_can_pose_as_one_of_the_log() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    for uri in ["/append", "/snapshot", "https://log/append", "//log/vote", "https://log"] {
        let mut posed = request(uri, b"entries");
        *posed.method_mut() = http::Method::POST;
        posed.headers_mut().insert("host", "log".parse().unwrap());
        let answer = one.port.forward(two.to(), posed).await.unwrap();
        assert_eq!(answer.status().as_u16(), 418, "{uri}");
    }
    assert_eq!(two.inside.count(), 0);
}

#[tokio::test]
async fn an_address_in_use_is_said_by_name() {
    let held = Port::bind(&["127.0.0.1:0".to_owned()], settings()).await.unwrap();
    let address = held.addresses()[0].to_string();
    let refused = Port::bind(std::slice::from_ref(&address), settings()).await.err().unwrap();
    assert_eq!(refused.address, address);
    assert!(refused.to_string().starts_with(&format!("cluster address {address}: Address already in use")), "{refused}");
    held.close().await;
    Port::bind(&[address], settings()).await.unwrap();
    assert!(Port::bind(&["nowhere".to_owned()], settings()).await.is_err());
}

#[tokio::test]
async fn a_passed_on_body_that_breaks_off_is_no_shorter_body() {
    let keys = keys();
    let (one, two) = (Node::new(1, &keys).await, Node::new(2, &keys).await);
    for broken in [true, false] {
        // A length that nobody knows, as of a body that is passed on while it arrives.
        let pieces = futures::stream::iter([
            Ok(hyper::body::Frame::data("{\"a\":1}".into())),
            if broken { Err("the client is gone".into()) } else { Ok(hyper::body::Frame::data("\n".into())) },
        ]);
        let mut asked = request("/v1/secret/a", b"");
        *asked.body_mut() = http_body_util::StreamBody::new(pieces).boxed_unsync();
        assert_eq!(one.port.forward(two.to(), asked).await.is_err(), broken);
    }
    let bodies: Vec<_> = two.inside.passed_on.lock().unwrap().iter().map(|(_, _, body)| body.clone()).collect();
    assert_eq!(bodies.last().unwrap(), "{\"a\":1}\n");
    assert!(bodies.iter().all(|body| body.is_empty() || body.ends_with(b"\n")), "{bodies:?}");
}
