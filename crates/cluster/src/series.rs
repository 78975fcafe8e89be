//! The names of the metric series of this room, in the style of `server-core::series`. Vault has none of them.

macro_rules! series {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = concat!("vault_", $text);)*
    };
}

series! {
    /// Connections of members that came in.
    ACCEPTED = "cluster_connection_accepted";
    /// Connections that were turned away, by `reason`: [`Refusal`].
    REFUSED = "cluster_connection_refused";
    /// Attempts to reach a member that failed.
    DIAL_FAILURE = "cluster_dial_failure";
}

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// This node is sealed.
    Sealed,
    /// Too many others want to come in.
    Crowded,
    /// It took too long to say who it is.
    Slow,
    /// TLS failed: another version, no certificate, one of another cluster or one that has ended.
    Handshake,
    /// TLS was right, but it speaks something else.
    Protocol,
    /// Its certificate names no node.
    Nameless,
    /// Its id is not of this cluster.
    Stranger,
}

impl Refusal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Crowded => "crowded",
            Self::Slow => "slow",
            Self::Handshake => "handshake",
            Self::Protocol => "protocol",
            Self::Nameless => "nameless",
            Self::Stranger => "stranger",
        }
    }

    /// Counts one.
    pub(crate) fn count(self) {
        metrics::counter!(REFUSED, "reason" => self.as_str()).increment(1);
    }
}
