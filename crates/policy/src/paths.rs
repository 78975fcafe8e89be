//! Two frozen tables, by type of mount: paths that need no token, and paths that need `sudo` (contract §4.4, §4.5).
//!
//! An entry is relative to the mount. A closing `*` matches any rest, a `+` one segment. Tests hold the lists still, so that
//! opening a path is always a change somebody sees. Deliberately absent: ACME (no engine serves it).

use api_types::Operation;

use crate::grant::{Grant, GrantKind};

/// `(mount type, path)`.
const OPEN: &[(&str, &str)] = &[
    ("system", "decode-token"),
    ("system", "generate-root/attempt"),
    ("system", "generate-root/update"),
    ("system", "health"),
    ("system", "init"),
    ("system", "internal/specs/openapi"),
    ("system", "internal/ui/authenticated-messages"),
    ("system", "internal/ui/feature-flags"),
    ("system", "internal/ui/mounts"),
    ("system", "internal/ui/mounts/*"),
    ("system", "internal/ui/namespaces"),
    ("system", "internal/ui/unauthenticated-messages"),
    ("system", "leader"),
    ("system", "mfa/validate"),
    ("system", "rekey-recovery-key/init"),
    ("system", "rekey-recovery-key/update"),
    ("system", "rekey-recovery-key/verify"),
    ("system", "rekey/init"),
    ("system", "rekey/update"),
    ("system", "rekey/verify"),
    ("system", "replication/dr/status"),
    ("system", "replication/performance/status"),
    ("system", "replication/status"),
    ("system", "seal-backend-status"),
    ("system", "seal-status"),
    ("system", "storage/raft/bootstrap/answer"),
    ("system", "storage/raft/bootstrap/challenge"),
    ("system", "storage/raft/join"),
    ("system", "unseal"),
    ("system", "wrapping/lookup"),
    ("system", "wrapping/pubkey"),
    ("identity", "oidc/+/.well-known/*"),
    ("identity", "oidc/.well-known/*"),
    ("identity", "oidc/provider/+/.well-known/*"),
    ("identity", "oidc/provider/+/token"),
    // Carries an access token of the provider, which the path checks itself; it is no token of the token store.
    ("identity", "oidc/provider/+/userinfo"),
    ("approle", "login"),
    ("cert", "login"),
    ("jwt", "login"),
    ("jwt", "oidc/auth_url"),
    ("jwt", "oidc/callback"),
    ("kubernetes", "login"),
    ("ldap", "login/+"),
    ("oidc", "login"),
    ("oidc", "oidc/auth_url"),
    ("oidc", "oidc/callback"),
    ("userpass", "login/+"),
    ("pki", "ca"),
    ("pki", "ca/pem"),
    ("pki", "ca_chain"),
    ("pki", "cert/*"),
    ("pki", "crl"),
    ("pki", "crl/delta"),
    ("pki", "crl/delta/pem"),
    ("pki", "crl/pem"),
    ("pki", "issuer/+/crl"),
    ("pki", "issuer/+/crl/delta"),
    ("pki", "issuer/+/crl/delta/der"),
    ("pki", "issuer/+/crl/delta/pem"),
    ("pki", "issuer/+/crl/der"),
    ("pki", "issuer/+/crl/pem"),
    ("pki", "issuer/+/der"),
    ("pki", "issuer/+/json"),
    ("pki", "issuer/+/pem"),
    ("pki", "issuers/"),
    ("pki", "ocsp"),
    ("pki", "ocsp/*"),
    ("ssh", "public_key"),
    ("ssh", "verify"),
];

const SUDO: &[(&str, &str)] = &[
    ("system", "audit"),
    ("system", "audit/*"),
    ("system", "auth/*"),
    ("system", "break-glass"),
    ("system", "config/auditing/*"),
    ("system", "config/cors"),
    ("system", "config/ui/headers/*"),
    ("system", "internal/counters/activity/export"),
    ("system", "internal/inspect/*"),
    ("system", "leases"),
    ("system", "leases/lookup/*"),
    ("system", "leases/revoke-force/*"),
    ("system", "leases/revoke-prefix/*"),
    ("system", "plugins/catalog/*"),
    ("system", "plugins/runtimes/catalog/*"),
    ("system", "raw"),
    ("system", "raw/*"),
    ("system", "remount"),
    ("system", "rekey-break-glass/*"),
    ("system", "replication/+/primary/*"),
    ("system", "replication/+/secondary/*"),
    ("system", "replication/primary/*"),
    ("system", "replication/recover"),
    ("system", "replication/reindex"),
    ("system", "replication/secondary/*"),
    ("system", "reporting/scan"),
    ("system", "revoke-force/*"),
    ("system", "revoke-prefix/*"),
    ("system", "rotate"),
    ("system", "seal"),
    ("system", "step-down"),
    ("system", "storage/raft/snapshot-auto/config/*"),
    ("pki", "root"),
    ("pki", "root/sign-self-issued"),
    ("token", "accessors"),
    ("token", "accessors/"),
    ("token", "revoke-orphan"),
    ("token", "revoke-orphan/*"),
];

/// A grant, if a path of a mount needs no token. `path` is relative to the mount and as the router sees it. Internal operations
/// (a lease's renewal or revocation) and HEAD outside `sys/health` are never open.
#[must_use]
pub fn open(mount_type: &str, path: &str, operation: Operation) -> Option<Grant> {
    let from_client = match operation {
        Operation::Renew | Operation::Revoke | Operation::Scan => false,
        Operation::Header => mount_type == "system" && path == "health",
        _ => true,
    };
    (from_client && stands_in(OPEN, mount_type, path)).then(|| Grant::by_nobody(GrantKind::Open))
}

/// Whether a path of a mount asks for `sudo` besides the operation's capability.
#[must_use]
pub fn needs_sudo(mount_type: &str, path: &str, _operation: Operation) -> bool {
    stands_in(SUDO, mount_type, path)
}

/// Every open path, as (mount type, path relative to the mount).
pub fn all_open() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPEN.iter().copied()
}

/// Every path that needs `sudo`, as (mount type, path relative to the mount).
pub fn all_sudo() -> impl Iterator<Item = (&'static str, &'static str)> {
    SUDO.iter().copied()
}

fn stands_in(table: &[(&str, &str)], mount_type: &str, path: &str) -> bool {
    // A dot segment or an empty one would be read differently further down.
    let clean = || !path.split('/').any(|s| s == "." || s == "..") && !path.contains("//") && !path.starts_with('/');
    table.iter().any(|(t, pattern)| *t == mount_type && matches(pattern, path)) && clean()
}

/// Compared segment by segment, without building a pattern: this runs for every request.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, prefix) = pattern.strip_suffix('*').map_or((pattern, false), |p| (p, true));
    let (mut pattern, mut path) = (pattern, path);
    loop {
        match (pattern.split_once('/'), path.split_once('/')) {
            (Some((want, more_pattern)), Some((have, more_path))) if want == have || (want == "+" && !have.is_empty()) => {
                (pattern, path) = (more_pattern, more_path);
            }
            (Some(_), _) => return false,
            (None, _) if prefix => return path.starts_with(pattern),
            (None, Some(_)) => return false,
            (None, None) => return pattern == path || (pattern == "+" && !path.is_empty()),
        }
    }
}
