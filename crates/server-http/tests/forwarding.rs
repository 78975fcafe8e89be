//! Three nodes with their HTTP services: what a standby passes on, what it sends away, and what it answers itself.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used, reason = "tests may fail loudly")]

#[path = "../../server-core/tests/common/mod.rs"]
mod common;
#[path = "../../server-core/tests/cluster/nodes.rs"]
mod nodes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use replication::{To, Unreachable};
use serde_json::{Value, json};
use server_http::{Forwarder, Peer, Service, ServiceConfig};

use common::Server;
use nodes::{Trio, api_addr, eventually};

/// The way between the services of one process.
#[derive(Default)]
struct Between {
    services: OnceLock<Vec<(u64, Arc<Service>)>>,
    passed_on: Mutex<Vec<String>>,
}

impl Forwarder for Between {
    fn forward<'a>(&'a self, to: To<'a>, request: Request<Bytes>) -> BoxFuture<'a, Result<Response<Bytes>, Unreachable>> {
        Box::pin(async move {
            self.passed_on.lock().unwrap().push(request.uri().path().to_owned());
            let services = self.services.get().unwrap();
            let (_, service) = services.iter().find(|(id, _)| *id == to.raft_id).ok_or(Unreachable("nobody".into()))?;
            let (parts, body) = service.forwarded(request.map(Full::new)).await.into_parts();
            Ok(Response::from_parts(parts, body.collect().await.unwrap().to_bytes()))
        })
    }
}

struct Cluster {
    trio: Trio,
    services: Vec<Arc<Service>>,
    between: Arc<Between>,
}

/// What a client sees.
#[derive(Debug)]
struct Seen {
    status: u16,
    location: String,
    body: Value,
}

impl Cluster {
    async fn start() -> Self {
        let trio = Trio::start().await;
        let between = Arc::new(Between::default());
        let services: Vec<Arc<Service>> = trio
            .nodes
            .iter()
            .map(|n| {
                let forwarder: Arc<dyn Forwarder> = Arc::<Between>::clone(&between);
                Arc::new(Service::new(Arc::clone(&n.core), ServiceConfig::default()).with_forwarder(forwarder))
            })
            .collect();
        let known = trio.nodes.iter().zip(&services).map(|(n, s)| (n.core.replica().raft_id(), Arc::clone(s))).collect();
        assert!(between.services.set(known).is_ok());
        Self { trio, services, between }
    }

    fn service(&self, node: &Server) -> &Service {
        let at = self.trio.nodes.iter().position(|n| std::ptr::eq(n, node)).unwrap();
        &self.services[at]
    }

    /// Where the leader's API is.
    async fn leader_api(&self) -> String {
        let leader = self.trio.leader().await;
        api_addr(self.trio.nodes.iter().position(|n| std::ptr::eq(n, leader)).unwrap())
    }

    fn passed_on(&self) -> Vec<String> {
        std::mem::take(&mut self.between.passed_on.lock().unwrap())
    }

    async fn send(&self, node: &Server, method: &str, target: &str, headers: &[(&str, &str)], body: Value) -> Seen {
        self.send_from("10.9.1.1:5555", node, method, target, headers, body).await
    }

    async fn send_from(
        &self,
        from: &str,
        node: &Server,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Seen {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let peer = Peer { address: Some(from.parse::<SocketAddr>().unwrap()), ..Peer::default() };
        let reply = self.service(node).call(&peer, request.body(Full::new(bytes)).unwrap()).await;
        let (parts, body) = reply.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let location = parts.headers.get("location").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        Seen { status: parts.status.as_u16(), location, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_passes_on_what_the_leader_alone_can_answer() {
    let cluster = Cluster::start().await;
    let standbys = cluster.trio.standbys().await;
    let (one, other) = (standbys[0], standbys[1]);
    let shape = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let started = cluster.send(one, "PUT", "/v1/sys/rekey/init", &[], shape).await;
    assert_eq!((started.status, &started.body["started"]), (200, &json!(true)), "{started:?}");
    for node in [other, cluster.trio.leader().await] {
        let seen = cluster.send(node, "GET", "/v1/sys/rekey/init", &[], Value::Null).await;
        assert_eq!(seen.body["nonce"], started.body["nonce"], "all nodes speak of the same rekey");
    }
    let nonce = json!({ "nonce": started.body["nonce"] });
    assert_eq!(cluster.send(other, "DELETE", "/v1/sys/rekey/init", &[], nonce).await.status, 204);
    // Errors come back as they are.
    let wrong = cluster.send(one, "PUT", "/v1/sys/rekey/update", &[], json!({ "key": "00".repeat(33), "nonce": "x" })).await;
    assert_eq!((wrong.status, &wrong.body["errors"][0]), (400, &json!("no barrier rekey in progress")));
    let attempt = cluster.send(one, "PUT", "/v1/sys/generate-root/attempt", &[], json!({})).await;
    let seen = cluster.send(other, "GET", "/v1/sys/generate-root/attempt", &[], Value::Null).await;
    assert_eq!((&seen.body["nonce"], &seen.body["started"]), (&attempt.body["nonce"], &json!(true)));
    let nodes = cluster.send(other, "GET", "/v1/sys/ha-status", &[("x-vault-token", &other.root)], Value::Null).await;
    assert_eq!(nodes.body["nodes"].as_array().unwrap().iter().filter(|n| !n["last_echo"].is_null()).count(), 2, "{nodes:?}");
    cluster.passed_on();
    // Everything else it does itself.
    for (method, target, body) in [
        ("POST", "/v1/sys/mounts/kv", json!({ "type": "kv" })),
        ("POST", "/v1/kv/x", json!({ "a": 1 })),
        ("GET", "/v1/kv/x", Value::Null),
        ("PUT", "/v1/sys/rotate", json!({})),
    ] {
        let seen = cluster.send(one, method, target, &[("x-vault-token", &one.root)], body).await;
        assert!(seen.status == 200 || seen.status == 204, "{target}: {seen:?}");
    }
    assert_eq!(cluster.passed_on(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stepping_down_is_asked_of_any_node_and_needs_a_token() {
    let cluster = Cluster::start().await;
    let standby = cluster.trio.standbys().await[0];
    let before = cluster.trio.leader().await.core.replica().raft_id();
    let refused = cluster.send(standby, "PUT", "/v1/sys/step-down", &[], Value::Null).await;
    assert_eq!((refused.status, cluster.passed_on()), (403, vec!["/v1/sys/step-down".to_owned()]));
    let done = cluster.send(standby, "PUT", "/v1/sys/step-down", &[("x-vault-token", &standby.root)], Value::Null).await;
    assert_eq!(done.status, 204, "{done:?}");
    let nodes = &cluster.trio.nodes;
    eventually("another leader", || nodes.iter().any(|n| n.core.leads() && n.core.replica().raft_id() != before)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forbids_passing_on_is_sent_to_the_leader_for_all_but_the_nodes_own_affairs() {
    let cluster = Cluster::start().await;
    let standby = cluster.trio.standbys().await[0];
    let leader = cluster.trio.leader().await;
    let api = cluster.leader_api().await;
    let token = ("x-vault-token", standby.root.as_str());
    let stays = ("x-vault-no-request-forwarding", "true");
    for (method, target) in [
        ("GET", "/v1/kv/data/a%20b?version=2"),
        ("PUT", "/v1/sys/rekey/init"),
        ("PUT", "/v1/sys/step-down"),
        ("LIST", "/v1/auth/token/accessors"),
    ] {
        let seen = cluster.send(standby, method, target, &[token, stays], Value::Null).await;
        assert_eq!((seen.status, seen.location), (307, format!("{api}{target}")), "{target}");
    }
    // The header says nothing if it is empty, and nothing to the leader.
    let own = "/v1/auth/token/lookup-self";
    let empty = ("x-vault-no-request-forwarding", "");
    assert_eq!(cluster.send(standby, "GET", own, &[token, empty], Value::Null).await.status, 200);
    assert_eq!(cluster.send(leader, "GET", own, &[token, stays], Value::Null).await.status, 200);
    for (target, status) in [
        ("/v1/sys/health", 429),
        ("/v1/sys/leader", 200),
        ("/v1/sys/seal-status", 200),
        ("/v1/sys/init", 200),
        ("/v1/sys/host-info", 200),
        ("/v1/sys/in-flight-req", 200),
    ] {
        assert_eq!(cluster.send(standby, "GET", target, &[token, stays], Value::Null).await.status, status, "{target}");
    }
    // Snapshots are never passed on.
    for (method, target) in [
        ("GET", "/v1/sys/storage/raft/snapshot"),
        ("POST", "/v1/sys/storage/raft/snapshot"),
        ("POST", "/v1/sys/storage/raft/snapshot-force"),
    ] {
        let seen = cluster.send(standby, method, target, &[token], Value::Null).await;
        assert_eq!((seen.status, seen.location), (307, format!("{api}{target}")));
    }
    assert_eq!(cluster.passed_on(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standbys_health_and_seal_are_its_own() {
    let cluster = Cluster::start().await;
    let standby = cluster.trio.standbys().await[0];
    let leader = cluster.trio.leader().await;
    for (target, on_leader, on_standby) in [
        ("/v1/sys/health", 200, 429),
        ("/v1/sys/health?standbyok=true", 200, 200),
        ("/v1/sys/health?standbycode=299&activecode=298", 298, 299),
        ("/v1/sys/health?haunhealthycode=x", 400, 400),
        ("/v1/sys/health?removedcode=99", 400, 400),
    ] {
        assert_eq!(cluster.send(leader, "GET", target, &[], Value::Null).await.status, on_leader, "{target}");
        assert_eq!(cluster.send(standby, "GET", target, &[], Value::Null).await.status, on_standby, "{target}");
        assert_eq!(cluster.send(standby, "HEAD", target, &[], Value::Null).await.status, on_standby, "{target}");
    }
    let told = cluster.send(standby, "GET", "/v1/sys/health", &[], Value::Null).await.body;
    assert_eq!((&told["standby"], &told["sealed"], &told["ha_connection_healthy"]), (&json!(true), &json!(false), &json!(true)));
    let told = cluster.send(leader, "GET", "/v1/sys/health", &[], Value::Null).await.body;
    assert!(told["standby"] == false && told.get("ha_connection_healthy").is_none(), "{told}");
    let refused = cluster.send(standby, "PUT", "/v1/sys/seal", &[("x-vault-token", &standby.root)], Value::Null).await;
    assert_eq!(refused.status, 500);
    assert_eq!(refused.body, json!({ "errors": ["vault cannot seal when in standby mode; please restart instead"] }));
    // Cut off from the leader it says so.
    cluster.trio.lines.cut(&standby.core);
    eventually("silence is noticed", || standby.core.health().leader.is_some_and(|l| !l.healthy)).await;
    let lost = cluster.send(standby, "GET", "/v1/sys/health", &[], Value::Null).await;
    assert_eq!((lost.status, &lost.body["ha_connection_healthy"]), (474, &json!(false)));
    let lost = cluster.send(standby, "GET", "/v1/sys/health?haunhealthycode=299&standbyok=true", &[], Value::Null).await;
    assert_eq!(lost.status, 299);
}

/// A request that was passed on once is answered or given back, whoever is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_passed_on_twice() {
    let cluster = Cluster::start().await;
    let standby = cluster.trio.standbys().await[0];
    for target in ["/v1/sys/rekey/init", "/v1/sys/ha-status", "/v1/sys/storage/raft/snapshot"] {
        let request = Request::get(target).header("x-vault-token", &standby.root).body(Full::new(Bytes::new())).unwrap();
        let reply = cluster.service(standby).forwarded(request).await;
        assert_eq!(reply.status(), 503, "{target}");
        assert!(reply.headers().contains_key("x-strongroom-not-leading"), "{target}");
    }
    assert_eq!(cluster.passed_on(), Vec::<String>::new());
}

/// CVE class: an address that decides is the client's own, not one that it names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_address_goes_along_and_cannot_be_made_up() {
    let cluster = Cluster::start().await;
    let standby = cluster.trio.standbys().await[0];
    let leader = cluster.trio.leader().await;
    let policy = json!({ "policy": "path \"sys/ha-status\" { capabilities = [\"read\"] }" });
    standby.post("sys/policies/acl/members", policy).await.ok();
    let role = json!({ "allowed_policies": ["members"], "token_bound_cidrs": ["10.9.0.0/16"] });
    standby.post("auth/token/roles/near", role).await.ok();
    let made = standby.post("auth/token/create/near", json!({ "policies": ["members"], "ttl": "1h" })).await;
    assert!(made.failure.is_none(), "{made:?}");
    let token = ("x-vault-token", made.token.as_str());
    let forged = ("x-strongroom-client", "10.9.1.1:5555");
    for node in [standby, leader] {
        for (from, headers, status) in [
            ("10.9.1.1:5555", vec![token], 200),
            ("10.8.1.1:5555", vec![token], 403),
            ("10.8.1.1:5555", vec![token, forged], 403),
            ("10.9.1.1:5555", vec![token, ("x-strongroom-client", "10.8.1.1:1")], 200),
        ] {
            let seen = cluster.send_from(from, node, "GET", "/v1/sys/ha-status", &headers, Value::Null).await;
            assert_eq!(seen.status, status, "{from} {headers:?}");
        }
    }
}
