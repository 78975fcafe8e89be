//! CVE class F: which routes answer without a token, over every path that the built-in engines declare.
//!
//! The list is frozen: a route that becomes open, by an entry in `policy::paths` or by a new pattern below an open prefix,
//! fails here until somebody writes it down.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use api_types::Operation;
use engine::Backend;

use super::SystemEngine;

/// `<mount type> <pattern> <operation>`.
const OPEN: &[&str] = &[
    "approle login update",
    "cert login update",
    "identity oidc/.well-known/keys/? read",
    "identity oidc/.well-known/openid-configuration/? read",
    "identity oidc/provider/{name}/.well-known/keys read",
    "identity oidc/provider/{name}/.well-known/openid-configuration read",
    "identity oidc/provider/{name}/token update",
    "identity oidc/provider/{name}/userinfo read",
    "identity oidc/provider/{name}/userinfo update",
    "kubernetes login update",
    "pki ca read",
    "pki ca/pem read",
    "pki ca_chain read",
    "pki cert/{serial:any} read",
    "pki cert/{serial:any}/raw read",
    "pki cert/{serial:any}/raw/pem read",
    "pki crl read",
    "pki crl/delta read",
    "pki crl/delta/pem read",
    "pki crl/pem read",
    "pki issuer/{issuer_ref}/crl read",
    "pki issuer/{issuer_ref}/crl/delta read",
    "pki issuer/{issuer_ref}/crl/delta/der read",
    "pki issuer/{issuer_ref}/crl/delta/pem read",
    "pki issuer/{issuer_ref}/crl/der read",
    "pki issuer/{issuer_ref}/crl/pem read",
    "pki issuer/{issuer_ref}/der read",
    "pki issuer/{issuer_ref}/json read",
    "pki issuer/{issuer_ref}/pem read",
    "pki issuers/? list",
    "ssh public_key read",
    "ssh verify update",
    "system decode-token update",
    "system generate-root/attempt delete",
    "system generate-root/attempt read",
    "system generate-root/attempt update",
    "system generate-root/update update",
    "system internal/specs/openapi read",
    "system internal/ui/authenticated-messages read",
    "system internal/ui/feature-flags read",
    "system internal/ui/mounts read",
    "system internal/ui/mounts/{path...} read",
    "system internal/ui/namespaces read",
    "system internal/ui/unauthenticated-messages read",
    "system replication/dr/status read",
    "system replication/performance/status read",
    "system replication/status read",
    "system seal-backend-status read",
    "system storage/raft/bootstrap/answer update",
    "system storage/raft/bootstrap/challenge update",
    "system storage/raft/join update",
    "system wrapping/lookup read",
    "system wrapping/lookup update",
    "userpass login/{username} update",
];

fn engines() -> Vec<Arc<dyn Backend>> {
    vec![
        Arc::new(SystemEngine::new(Weak::new())),
        Arc::new(identity::IdentityEngine::with(String::new(), identity_oidc::routes())),
        Arc::new(engine_cubbyhole::Cubbyhole::new()),
        Arc::new(engine_kv::KvV1::new()),
        Arc::new(engine_kv::KvV2::new()),
        Arc::new(auth_approle::Approle::new()),
        Arc::new(auth_kubernetes::Kubernetes::new(
            Arc::new(auth_kubernetes::HttpReviewer::default()),
            auth_kubernetes::LocalPaths::default(),
        )),
        Arc::new(auth_cert::Cert::new(Arc::new(auth_cert::HttpFetch::default()))),
        Arc::new(auth_userpass::Userpass::new()),
        Arc::new(engine_totp::Totp::new()),
        Arc::new(engine_ssh::Ssh::new()),
        Arc::new(engine_pki::Pki::new()),
        Arc::new(engine_transit::Transit::new()),
        Arc::new(tokens::TokenEngine::new(Arc::new(tokens::TokenStore::new(Arc::new(NoCipher))))),
    ]
}

struct NoCipher;

impl tokens::BatchCipher for NoCipher {
    fn seal(&self, _: &[u8]) -> Result<Vec<u8>, engine::EngineError> {
        Err(engine::EngineError::internal("none"))
    }

    fn open(&self, _: &[u8]) -> Result<Option<secret::SecretBytes>, engine::EngineError> {
        Ok(None)
    }
}

/// Paths that a pattern takes: each capture as one segment, optional ends with and without.
fn examples(pattern: &str) -> Vec<String> {
    let filled: Vec<&str> = pattern.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
    let path = filled.join("/");
    match path.strip_suffix("/?") {
        Some(bare) => vec![bare.to_owned(), format!("{bare}/")],
        None => vec![path],
    }
}

#[test]
fn routes_without_a_token_are_these() {
    let mut found = BTreeSet::new();
    for engine in engines() {
        for (pattern, operations) in engine.patterns() {
            for operation in operations {
                let open = |p: &String| policy::paths::open(engine.mount_type(), p, operation).is_some();
                if examples(pattern).iter().any(open) {
                    found.insert(format!("{} {pattern} {}", engine.mount_type(), operation.as_str()));
                }
            }
        }
    }
    let frozen: BTreeSet<String> = OPEN.iter().map(|s| (*s).to_owned()).collect();
    assert_eq!(found, frozen);
}

#[test]
fn no_operation_of_the_server_itself_is_open() {
    for (mount_type, path) in policy::paths::all_open() {
        let path = path.replace(['*', '+'], "x");
        for operation in [Operation::Renew, Operation::Revoke] {
            assert!(policy::paths::open(mount_type, &path, operation).is_none(), "{mount_type} {path}");
        }
    }
}
