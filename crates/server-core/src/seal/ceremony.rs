//! What several holders of shares do together while the server is unsealed: rekeying, and making a root token. Here are the
//! shares given so far (pure) and why a step is refused.
//!
//! A ceremony lives in the memory of the node that leads, as long as it leads and is unsealed.

use secret::SecretBytes;
use shamir::{ShamirError, combine};

use super::generate_root::RootGeneration;
use super::rekey::Rekey;
use crate::answer::{Failure, FailureKind};

/// Everything under way. It belongs to one term of leadership: what another leader did meanwhile makes it void.
#[derive(Default)]
pub(crate) struct Ceremonies {
    /// The term of the cluster's leadership in which they began.
    pub(crate) term: u64,
    pub(crate) barrier_rekey: Option<Rekey>,
    pub(crate) recovery_rekey: Option<Rekey>,
    pub(crate) break_glass_rekey: Option<Rekey>,
    pub(crate) root_generation: Option<RootGeneration>,
}

/// Shares given towards one ceremony.
#[derive(Default)]
pub(crate) struct Given(Vec<SecretBytes>);

/// What giving a share did.
pub(crate) enum GiveOutcome {
    /// This very share is there already; nothing changed.
    Repeated,
    /// More are needed.
    Waiting,
    /// What the shares make. They are forgotten, whatever becomes of it.
    Joined(SecretBytes),
    /// They cannot be joined, and are forgotten.
    Refused(ShamirError),
}

impl Given {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn give(&mut self, share: SecretBytes, threshold: u8) -> GiveOutcome {
        if self.0.iter().any(|s| s.ct_eq(share.expose())) {
            return GiveOutcome::Repeated;
        }
        self.0.push(share);
        if self.0.len() < usize::from(threshold) {
            return GiveOutcome::Waiting;
        }
        let joined = combine(&self.0);
        self.0.clear();
        joined.map_or_else(GiveOutcome::Refused, GiveOutcome::Joined)
    }
}

/// Why a step of a ceremony is refused. The words are Vault's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CeremonyError {
    /// Nothing can be decided.
    #[error("Vault is sealed")]
    Sealed,
    /// The client's to mend.
    #[error("{0}")]
    Invalid(String),
    /// The new shares cannot be made like that. Vault answers this as its own fault, and clients see it so.
    #[error("invalid rekey seal configuration: {0}")]
    Shape(String),
    /// The shares do not belong together, or to this server.
    #[error("{0}")]
    WrongShares(String),
    /// Something of the server failed; the log has the details.
    #[error("internal error")]
    Failed(Failure),
}

impl CeremonyError {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %error, "a ceremony of the seal failed");
        Self::Failed(Failure::internal())
    }

    /// What the client sees.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Sealed => Failure::sealed(),
            Self::Invalid(text) => Failure::new(FailureKind::Invalid, text.clone()),
            Self::Shape(_) | Self::WrongShares(_) => Failure::new(FailureKind::Internal, self.to_string()),
            Self::Failed(failure) => failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secret::SeededEntropy;
    use shamir::{Threshold, split};

    #[test]
    fn shares_count_once_and_a_wrong_set_only_empties_itself() {
        let secret = SecretBytes::new(vec![9; 32]);
        let shares = split(&secret, Threshold::new(3, 2).unwrap(), &SeededEntropy::new(1)).unwrap();
        let [a, b, _] = shares.as_slice() else { panic!("three") };
        let mut given = Given::default();
        assert!(matches!(given.give(a.clone(), 2), GiveOutcome::Waiting));
        assert!(matches!(given.give(a.clone(), 2), GiveOutcome::Repeated));
        assert_eq!(given.count(), 1);
        assert!(matches!(given.give(SecretBytes::new(vec![1; 20]), 2), GiveOutcome::Refused(ShamirError::Length)));
        assert_eq!(given.count(), 0);
        assert!(matches!(given.give(a.clone(), 2), GiveOutcome::Waiting));
        match given.give(b.clone(), 2) {
            GiveOutcome::Joined(key) => assert!(key.ct_eq(secret.expose())),
            _ => panic!("joined"),
        }
    }
}
