//! The engines and auth methods in this binary.

use std::sync::Arc;

use auth_kubernetes::{HttpReviewer, Kubernetes, LocalPaths};
use engine::Backend;
use server_core::{MountEntry, Registry};

/// All of them, by the type they are mounted as.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.secrets.insert("kv", Arc::new(kv));
    registry.secrets.insert("pki", Arc::new(|_| Arc::new(engine_pki::Pki::new())));
    registry.upgrades.insert("kv", Arc::new(|view, _, now, limit| engine_kv::upgrade_v1_to_v2(view, now, limit)));
    registry.secrets.insert("cubbyhole", Arc::new(|_| Arc::new(engine_cubbyhole::Cubbyhole::new())));
    registry.secrets.insert("transit", Arc::new(|_| Arc::new(engine_transit::Transit::new())));
    registry.secrets.insert("ssh", Arc::new(|_| Arc::new(engine_ssh::Ssh::new())));
    registry.secrets.insert("totp", Arc::new(|_| Arc::new(engine_totp::Totp::new())));
    // One set of counters for all mounts that lock names, which sys/locked-users shows.
    let lockout = Arc::clone(&registry.lockout);
    registry.auth.insert("approle", Arc::new(move |_| Arc::new(auth_approle::Approle::with_lockout(Arc::clone(&lockout)))));
    let lists: Arc<dyn auth_cert::Fetch> = Arc::new(auth_cert::HttpFetch::default());
    registry.auth.insert("cert", Arc::new(move |_| Arc::new(auth_cert::Cert::new(Arc::clone(&lists)))));
    let lockout = Arc::clone(&registry.lockout);
    registry.auth.insert("userpass", Arc::new(move |_| Arc::new(auth_userpass::Userpass::with_lockout(Arc::clone(&lockout)))));
    // One for all mounts, so that they share the connections to API servers and the bound on them.
    let kubernetes: Arc<dyn Backend> = Arc::new(Kubernetes::new(Arc::new(HttpReviewer::default()), LocalPaths::default()));
    registry.auth.insert("kubernetes", Arc::new(move |_| Arc::clone(&kubernetes)));
    // One for both names and all mounts: fetched keys and the bound on sign-ins under way are shared, mounts are told apart inside.
    let jwt: Arc<dyn Backend> = Arc::new(auth_jwt::Jwt::new(Arc::new(outbound::Outbound::new(outbound::Reach::NotLinkLocal))));
    for name in ["jwt", "oidc"] {
        let jwt = Arc::clone(&jwt);
        registry.auth.insert(name, Arc::new(move |_| Arc::clone(&jwt)));
    }
    registry
}

fn kv(entry: &MountEntry) -> Arc<dyn Backend> {
    let version = entry.options.as_ref().and_then(|o| o.get("version")).map(String::as_str);
    if version == Some("2") { Arc::new(engine_kv::KvV2::new()) } else { Arc::new(engine_kv::KvV1::new()) }
}
