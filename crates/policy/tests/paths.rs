//! The frozen tables. A change here opens or closes the server: look twice (CVE class F).

use api_types::Operation;
use policy::{GrantKind, paths};

fn frozen(entries: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    entries.map(|(mount, path)| format!("{mount} {path}\n")).collect()
}

#[test]
fn class_f_open_paths_are_exactly_these() {
    let want = "\
system decode-token
system generate-root/attempt
system generate-root/update
system health
system init
system internal/specs/openapi
system internal/ui/authenticated-messages
system internal/ui/feature-flags
system internal/ui/mounts
system internal/ui/mounts/*
system internal/ui/namespaces
system internal/ui/unauthenticated-messages
system leader
system mfa/validate
system rekey-recovery-key/init
system rekey-recovery-key/update
system rekey-recovery-key/verify
system rekey/init
system rekey/update
system rekey/verify
system replication/dr/status
system replication/performance/status
system replication/status
system seal-backend-status
system seal-status
system storage/raft/bootstrap/answer
system storage/raft/bootstrap/challenge
system storage/raft/join
system unseal
system wrapping/lookup
system wrapping/pubkey
identity oidc/+/.well-known/*
identity oidc/.well-known/*
identity oidc/provider/+/.well-known/*
identity oidc/provider/+/token
identity oidc/provider/+/userinfo
approle login
cert login
jwt login
jwt oidc/auth_url
jwt oidc/callback
kubernetes login
ldap login/+
oidc login
oidc oidc/auth_url
oidc oidc/callback
userpass login/+
pki ca
pki ca/pem
pki ca_chain
pki cert/*
pki crl
pki crl/delta
pki crl/delta/pem
pki crl/pem
pki issuer/+/crl
pki issuer/+/crl/delta
pki issuer/+/crl/delta/der
pki issuer/+/crl/delta/pem
pki issuer/+/crl/der
pki issuer/+/crl/pem
pki issuer/+/der
pki issuer/+/json
pki issuer/+/pem
pki issuers/
pki ocsp
pki ocsp/*
ssh public_key
ssh verify
";
    assert_eq!(frozen(paths::all_open()), want);
}

#[test]
fn open_means_the_mount_type_and_the_whole_path() {
    let table = [
        ("system", "health", true),
        ("system", "internal/ui/mounts/secret/x", true),
        ("userpass", "login/ann", true),
        ("kubernetes", "login", true),
        ("identity", "oidc/provider/p/token", true),
        ("identity", "oidc/.well-known/keys", true),
        ("pki", "cert/ca_chain", true),
        ("pki", "issuer/i/crl/pem", true),
        ("system", "mounts", false),
        ("system", "healthy", false),
        ("system", "health/", false),
        ("system", "health/x", false),
        ("system", "Health", false),
        ("system", "/health", false),
        ("system", "internal/ui/mountsx", false),
        ("system", "internal/ui/mounts/../../../raw/x", false),
        ("system", "internal/ui/mounts//x", false),
        ("system", "internal/ui/mounts/./x", false),
        ("system", "raw/health", false),
        ("system", "wrapping/unwrap", false),
        ("system", "rekey/backup", false),
        ("system", "storage/raft/configuration", false),
        ("system", "key-status", false),
        ("kv", "health", false),
        ("kv", "login", false),
        ("cubbyhole", "x", false),
        ("token", "lookup-self", false),
        ("token", "login", false),
        ("userpass", "login", false),
        ("userpass", "login/", false),
        ("userpass", "login/ann/password", false),
        ("userpass", "users/ann", false),
        ("kubernetes", "login/x", false),
        ("kubernetes", "role/x", false),
        ("approle", "role/r/secret-id", false),
        ("identity", "oidc/provider//token", false),
        ("identity", "oidc/provider/p/q/token", false),
        ("identity", "entity", false),
        ("pki", "certs/", false),
        ("pki", "issuer/i", false),
        ("pki", "root", false),
        ("ssh", "config/ca", false),
        ("", "health", false),
    ];
    for (mount, path, want) in table {
        let grant = paths::open(mount, path, Operation::Update);
        assert_eq!(grant.is_some(), want, "{mount} {path}");
        assert!(grant.is_none_or(|g| g.kind() == GrantKind::Open && !g.sudo() && g.granting_policies().next().is_none()));
    }
    for op in [Operation::Renew, Operation::Revoke] {
        assert!(paths::open("system", "health", op).is_none());
    }
    assert!(paths::open("system", "health", Operation::Header).is_some());
    assert!(paths::open("system", "init", Operation::Header).is_none());
}

#[test]
fn sudo_is_asked_for_where_the_contract_says() {
    let table = [
        ("system", "audit", true),
        ("system", "audit/file", true),
        ("system", "auth/github", true),
        ("system", "auth/github/tune", true),
        ("system", "raw", true),
        ("system", "raw/core/x", true),
        ("system", "remount", true),
        ("system", "rotate", true),
        ("system", "seal", true),
        ("system", "step-down", true),
        ("system", "leases/lookup/auth/", true),
        ("system", "leases/revoke-force/x", true),
        ("system", "leases/revoke-prefix/x", true),
        ("system", "revoke-prefix/x", true),
        ("system", "config/cors", true),
        ("system", "config/auditing/request-headers/x", true),
        ("system", "plugins/catalog/auth/x", true),
        ("system", "replication/dr/primary/enable", true),
        ("token", "accessors/", true),
        ("token", "revoke-orphan", true),
        ("pki", "root", true),
        ("pki", "root/sign-self-issued", true),
        ("system", "auth", false),
        ("system", "mounts/x", false),
        ("system", "policies/acl/x", false),
        ("system", "leases/lookup", false),
        ("system", "leases/renew", false),
        ("system", "leases/revoke", false),
        ("system", "storage/raft/configuration", false),
        ("system", "seal-status", false),
        ("system", "unseal", false),
        ("system", "auditx", false),
        ("system", "audit-hash/file", false),
        ("system", "replication/status", false),
        ("system", "config/state/sanitized", false),
        ("token", "create-orphan", false),
        ("token", "create", false),
        ("token", "revoke", false),
        ("kv", "audit", false),
        ("kv", "seal", false),
        ("pki", "root/generate/internal", false),
        ("kv", "root", false),
    ];
    for (mount, path, want) in table {
        assert_eq!(paths::needs_sudo(mount, path, Operation::Update), want, "{mount} {path}");
    }
    assert_eq!(paths::all_sudo().count(), 38);
    assert!(paths::all_open().all(|(mount, path)| !paths::needs_sudo(mount, path, Operation::Update)));
}
