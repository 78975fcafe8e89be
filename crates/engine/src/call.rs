//! One call of an engine: the request, its decoded fields, the caller, and the only storage it can reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::Operation;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use secret::{Entropy, Time};
use sha2::{Digest, Sha256};
use storage::View;

use crate::{Fields, Mount, Request, TokenType};

/// Who is asking, after the token was found and its policies gathered.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The token's accessor; empty without a token and for batch tokens.
    pub accessor: String,
    /// The token's display name.
    pub display_name: String,
    /// All policies, sorted.
    pub policies: Vec<String>,
    /// Policies on the token.
    pub token_policies: Vec<String>,
    /// Policies through identity.
    pub identity_policies: Vec<String>,
    /// The entity; empty if there is none.
    pub entity_id: String,
    /// What templates may read of the entity; empty without one.
    pub identity: Arc<policy::Identity>,
    /// Service or batch.
    pub token_type: TokenType,
    /// Names the token's cubbyhole; empty without a service token.
    pub cubbyhole_id: String,
    /// The token's metadata.
    pub metadata: BTreeMap<String, String>,
    /// When the token was made: the login, for a login's token. The epoch without one.
    pub issued: Time,
    /// The token has the `root` policy.
    pub is_root: bool,
    /// The policies give `sudo` on this very path.
    pub sudo: bool,
}

impl Caller {
    /// The name under which audit lines, KV attributions and counts know the client: the entity, or a digest of the policies for a
    /// token without one (SHA-256 over the sorted names, joined by U+001F, then a NUL and the namespace's id, in base64).
    #[must_use]
    pub fn client_id(&self) -> String {
        if !self.entity_id.is_empty() {
            return self.entity_id.clone();
        }
        let mut policies: Vec<&str> = self.policies.iter().map(String::as_str).collect();
        policies.sort_unstable();
        BASE64_STANDARD.encode(Sha256::digest(format!("{}\0root", policies.join("\u{1f}"))))
    }
}

/// What an engine may ask of the server around it. Answers come from applied state.
pub trait System: Send + Sync {
    /// The mount with this accessor.
    fn mount_by_accessor(&self, accessor: &str) -> Option<Arc<Mount>>;
}

/// One call. Engines read and write `view`; the core commits it, or nothing.
pub struct Call<'a> {
    /// What the client sent.
    pub request: &'a Request,
    /// The operation, `Create` or `Update` already told apart.
    pub operation: Operation,
    /// The path below the mount.
    pub path: &'a str,
    /// Captures, body and query decoded by the route's fields.
    pub fields: Fields,
    /// The mount's storage inside this request's transaction.
    pub view: View<'a>,
    /// Where the engine is mounted.
    pub mount: &'a Mount,
    /// Who is asking.
    pub caller: &'a Caller,
    /// The time of the request.
    pub now: Time,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
    /// The server around the engine.
    pub system: &'a dyn System,
}

impl Call<'_> {
    /// The same request inside another mount, for what is asked of its engine meanwhile: without path or fields, over the mount's
    /// storage below `prefix` of this call's.
    pub fn within<'c>(&'c mut self, operation: Operation, mount: &'c Mount, prefix: &str) -> Call<'c> {
        Call {
            request: self.request,
            operation,
            path: "",
            fields: Fields::default(),
            view: self.view.below(prefix),
            mount,
            caller: self.caller,
            now: self.now,
            entropy: self.entropy,
            system: self.system,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_an_entity_is_known_by_its_policies() {
        // The id under which every Vault server counts its root tokens.
        let root = Caller { policies: vec!["root".into()], ..Caller::default() };
        assert_eq!(root.client_id(), "0DHqvq2D77kL2/JTPSZkTMJbkFVmUu0TzMi0jiXcFy8=");
        let one = Caller { policies: vec!["a".into(), "default".into()], ..Caller::default() };
        let other = Caller { policies: vec!["default".into(), "a".into()], ..Caller::default() };
        assert_eq!(one.client_id(), other.client_id());
        assert_ne!(one.client_id(), root.client_id());
        let person = Caller { entity_id: "e-1".into(), ..root };
        assert_eq!(person.client_id(), "e-1");
    }
}
