//! Any request to an unsealed server with the engines of the binary: no panic, no answer of the 500s, and none that a stranger's
//! token may not have.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use secret::{ManualClock, SecretString, SystemEntropy, Time};
use server_core::{Core, CoreConfig, InitRequest};
use server_http::{Peer, Service, ServiceConfig};
use storage::MemoryStore;
use tokio::runtime::Runtime;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "LIST", "PATCH", "HEAD"];
const ROOT: &str = "root-token-of-the-fuzzer";

struct World {
    runtime: Runtime,
    service: Service,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    let core = runtime.block_on(async {
        let settings = replication::Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let store = Arc::new(MemoryStore::default());
        let core = Core::start(store, settings, CoreConfig::default(), strongroom::engines::registry(), clock, Arc::new(SystemEntropy));
        let core = core.await.expect("start");
        let init = InitRequest { secret_shares: 1, secret_threshold: 1, root_token: Some(SecretString::from(ROOT)), ..InitRequest::default() };
        for share in core.init(init).await.expect("init").shares {
            core.unseal(share).await.expect("unseal");
        }
        core
    });
    World { service: Service::new(core, ServiceConfig::default()), runtime }
});

fuzz_target!(|input: (u8, bool, &str, &str, &[u8])| {
    let (method, known, path, token, body) = input;
    let method = METHODS[usize::from(method) % METHODS.len()];
    if path.starts_with("sys/seal") || path.starts_with("sys/step-down") {
        return;
    }
    let token = if known { ROOT } else { token };
    let request = http::Request::builder()
        .method(method)
        .uri(format!("/v1/{path}"))
        .header("X-Vault-Token", token)
        .header("Content-Type", "application/merge-patch+json")
        .body(Full::new(Bytes::copy_from_slice(body)));
    // What is no URI or no header never reaches the service: hyper refuses it before.
    let Ok(request) = request else { return };
    let reply = WORLD.runtime.block_on(WORLD.service.call(&Peer::default(), request));
    assert_ne!(reply.status().as_u16(), 500, "{method} {path}");
});
