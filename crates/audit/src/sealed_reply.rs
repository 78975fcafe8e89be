//! The closed list of answers that leave without an audit entry, each with its reason.
//!
//! Contract §7.5, and Vault's own list of non-audited paths. A new kind of unrecorded answer has to be added here, in sight.

/// Why an answer needs no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealedReply {
    /// `sys/health`.
    Health,
    /// `sys/seal-status`.
    SealStatus,
    /// `sys/leader`.
    Leader,
    /// `sys/init`, question and act.
    Init,
    /// `sys/unseal`.
    Unseal,
    /// `sys/rekey/*` and `sys/rekey-recovery-key/*`.
    Rekey,
    /// `sys/storage/raft/join`.
    RaftJoin,
    /// `sys/storage/raft/bootstrap`.
    RaftBootstrap,
    /// `sys/internal/ui/feature-flags`.
    FeatureFlags,
    /// `sys/metrics` and the like where a listener opens them to everybody.
    OpenTelemetry,
    /// Any other path while the server is sealed or not initialised.
    Sealed,
    /// A standby sends the client to the active node, or cannot reach it.
    Standby,
    /// The bytes were no request: bad HTTP, bad JSON, too large, an unknown method, a preflight of CORS.
    NotARequest,
    /// A rate limit stopped the request before anybody was asked.
    RateLimited,
    /// No device took the entry: the answer is an error without content.
    AuditFailed,
}

impl SealedReply {
    /// Every kind, for tests and documentation.
    pub const ALL: [Self; 15] = [
        Self::Health,
        Self::SealStatus,
        Self::Leader,
        Self::Init,
        Self::Unseal,
        Self::Rekey,
        Self::RaftJoin,
        Self::RaftBootstrap,
        Self::FeatureFlags,
        Self::OpenTelemetry,
        Self::Sealed,
        Self::Standby,
        Self::NotARequest,
        Self::RateLimited,
        Self::AuditFailed,
    ];

    /// Why nothing is lost by not recording it.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Health => "asked every second by load balancers, also while sealed; shows no secret",
            Self::SealStatus | Self::Leader => "asked while sealed, when devices and salts cannot be read; shows no secret",
            Self::Init => "there is no device before there is a store",
            Self::Unseal => "devices and salts can be read only afterwards",
            Self::Rekey => "served beside the request pipeline as in Vault; the key shares are the authority, not a token",
            Self::RaftJoin | Self::RaftBootstrap => "happens on a node that is not unsealed yet",
            Self::FeatureFlags => "the same for everybody, asked by the login page",
            Self::OpenTelemetry => "the operator opened it to everybody; shows no secret",
            Self::Sealed => "nothing can be read and nothing is decided",
            Self::Standby => "the active node records the request when it arrives there",
            Self::NotARequest => "there is no operation or path that could be recorded",
            Self::RateLimited => "recording what was shed would let the flood through to the disk",
            Self::AuditFailed => "the failure to record is what is being answered; it goes to the server's log",
        }
    }
}
