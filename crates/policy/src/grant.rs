//! The outcome of a decision. Both outcomes go to audit; only a [`Grant`] becomes a permit there.

use std::sync::Arc;

use crate::capability::Capabilities;

/// Why a request was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// A rule of the caller's policies.
    Rule,
    /// The caller has the `root` policy.
    Root,
    /// The path needs no token (login, health): it stands in [`crate::paths`].
    Open,
}

/// A policy that says something about a pattern, and what it allows there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) policy: Arc<str>,
    pub(crate) capabilities: Capabilities,
}

/// Proof that a request was allowed. Made only in this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    kind: GrantKind,
    sudo: bool,
    /// Shared with the compiled rule, so that granting allocates nothing.
    sources: Option<Arc<[Source]>>,
    /// Which of the sources count.
    needed: Capabilities,
}

impl Grant {
    /// By the policies in `sources` that have a capability of `needed`.
    pub(crate) fn by_policies(kind: GrantKind, sudo: bool, sources: Arc<[Source]>, needed: Capabilities) -> Self {
        Self { kind, sudo, sources: Some(sources), needed }
    }

    /// By no policy: open paths and help.
    pub(crate) fn by_nobody(kind: GrantKind) -> Self {
        Self { kind, sudo: false, sources: None, needed: Capabilities::NONE }
    }

    /// The same grant for somebody who asks about himself: what `sudo` opens stays closed.
    #[must_use]
    pub fn without_sudo(self) -> Self {
        Self { sudo: false, ..self }
    }

    /// Why.
    #[must_use]
    pub fn kind(&self) -> GrantKind {
        self.kind
    }

    /// Whether the caller also has `sudo` on the path.
    #[must_use]
    pub fn sudo(&self) -> bool {
        self.sudo
    }

    /// Names of the policies whose rules allowed it, in the order of the token's policies.
    pub fn granting_policies(&self) -> impl Iterator<Item = &str> + '_ {
        let sources = self.sources.as_deref().unwrap_or_default();
        sources.iter().filter(|s| s.capabilities.any_of(self.needed)).map(|s| &*s.policy)
    }
}

/// What stood in the way, for audit lines and `explain`; the client only reads "permission denied".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DenialReason {
    /// No rule matches the path.
    NoRule,
    /// The matching rule lacks the operation's capability.
    MissingCapability,
    /// The matching rule says `deny`.
    ExplicitDeny,
    /// The path needs `sudo` and the rule lacks it.
    MissingSudo,
    /// A parameter that is denied, not allowed, or required and missing; the name of the parameter, never its value.
    Parameter(String),
    /// The rule demands response wrapping within limits that the request does not keep.
    Wrapping,
    /// The token is not valid for this request (unknown, expired, from a foreign address, disabled entity).
    Token(&'static str),
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: DenialReason,
    /// The pattern of the rule that decided, if one matched.
    pub pattern: Option<String>,
}
