//! Any request to an unsealed server with everything mounted that the binary has: no panic, and no answer that says the server failed.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use secret::{ManualClock, SecretString, SystemEntropy, Time};
use serde_json::Value;
use server_core::{Core, CoreConfig, InitRequest};
use server_http::{Peer, Service, ServiceConfig};
use storage::MemoryStore;
use tokio::runtime::Runtime;

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "LIST", "PATCH", "HEAD", "SCAN"];
const ROOT: &str = "root-token-of-the-fuzzer";
/// What would end or throttle the server, write files, or ask other machines.
const NOT_TRIED: [&str; 9] = [
    "sys/seal",
    "sys/step-down",
    "sys/quotas",
    "sys/audit",
    "sys/storage",
    "sys/mounts",
    "sys/auth",
    "auth/jwt/config",
    "auth/cert/crls",
];

/// Method, whether by root, number of an endpoint (0: the name is the path) and of a field (0: the body is the body), what stands for
/// the path's captures, token, body.
pub type Input<'a> = (u8, bool, u16, u16, &'a str, &'a str, &'a [u8]);

struct World {
    runtime: Runtime,
    service: Service,
    /// Paths with captures in braces, and the names of their fields.
    endpoints: Vec<(String, Vec<String>)>,
}

impl World {
    fn ask(&self, method: &str, path: &str, token: &str, body: &[u8]) -> Option<(u16, Bytes)> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header("X-Vault-Token", token)
            .header("Content-Type", "application/merge-patch+json")
            .body(Full::new(Bytes::copy_from_slice(body)));
        // What is no URI or no header never reaches the service: hyper refuses it before.
        let request = request.ok()?;
        self.runtime.block_on(async {
            let reply = self.service.call(&Peer::default(), request).await;
            let status = reply.status().as_u16();
            Some((status, reply.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
        })
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    let registry = strongroom::engines::registry();
    let (secrets, auth): (Vec<_>, Vec<_>) = (registry.secrets.keys().copied().collect(), registry.auth.keys().copied().collect());
    let core = runtime.block_on(async {
        let settings = replication::Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let core = Core::start(
            Arc::new(MemoryStore::default()),
            settings,
            CoreConfig::default(),
            registry,
            clock,
            Arc::new(SystemEntropy),
        );
        let core = core.await.expect("start");
        let init = InitRequest {
            secret_shares: 1,
            secret_threshold: 1,
            root_token: Some(SecretString::from(ROOT)),
            ..InitRequest::default()
        };
        for share in core.init(init).await.expect("init").shares {
            core.unseal(share, false).await.expect("unseal");
        }
        core
    });
    let mut world = World { service: Service::new(core, ServiceConfig::default()), runtime, endpoints: Vec::new() };
    for (table, kinds) in [("mounts", secrets), ("auth", auth)] {
        for kind in kinds.into_iter().filter(|kind| *kind != "cubbyhole") {
            let made = world.ask("POST", &format!("sys/{table}/{kind}"), ROOT, format!("{{\"type\": \"{kind}\"}}").as_bytes());
            assert_eq!(made.expect("a request").0, 204, "{kind}");
        }
    }
    let (_, document) = world.ask("GET", "sys/internal/specs/openapi", ROOT, b"").expect("a request");
    let document: Value = serde_json::from_slice(&document).expect("JSON");
    for (path, item) in document["paths"].as_object().expect("paths") {
        let schema = &item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"];
        let fields = schema.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default();
        world.endpoints.push((path.trim_matches('/').to_owned(), fields));
    }
    assert!(world.endpoints.len() > 300);
    world
});

pub fn run((method, by_root, endpoint, field, name, token, body): Input<'_>) {
    let method = METHODS[usize::from(method) % METHODS.len()];
    let world = &*WORLD;
    let known = usize::from(endpoint).checked_sub(1).map(|n| &world.endpoints[n % world.endpoints.len()]);
    let path = known.map_or_else(|| name.to_owned(), |(pattern, _)| filled(pattern, name));
    if NOT_TRIED.iter().any(|place| path.starts_with(place)) {
        return;
    }
    let fields = known.map(|(_, fields)| fields.as_slice()).unwrap_or_default();
    let body = match usize::from(field).checked_sub(1) {
        Some(n) if !fields.is_empty() => {
            let value = serde_json::from_slice(body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(body)));
            serde_json::json!({ &fields[n % fields.len()]: value }).to_string().into_bytes()
        }
        _ => body.to_vec(),
    };
    let Some((status, answer)) = world.ask(method, &path, if by_root { ROOT } else { token }, &body) else { return };
    let failed = status == 500 && String::from_utf8_lossy(&answer).contains("internal error");
    assert!(!failed, "{method} {path}: {}", String::from_utf8_lossy(&answer));
}

fn filled(pattern: &str, name: &str) -> String {
    let mut path = String::new();
    for (i, piece) in pattern.split(['{', '}']).enumerate() {
        path += if i % 2 == 0 { piece } else { name };
    }
    path
}
