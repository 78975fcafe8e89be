//! The unseal progress: shares given so far. Pure: no clock, no cipher, no storage.

use secret::{Entropy, EntropyError, SecretBytes};
use shamir::{ShamirError, combine};

/// What giving a share did.
#[derive(Debug)]
pub enum ShareOutcome {
    /// More shares are needed. A share that was given before counts once.
    Waiting,
    /// The threshold is reached; this is what the shares make. The progress starts anew whatever becomes of it.
    Complete(SecretBytes),
    /// The shares cannot be joined; the progress starts anew.
    Refused(ShamirError),
}

/// Shares given towards one unsealing.
#[derive(Debug, Default)]
pub struct Progress {
    shares: Vec<SecretBytes>,
    nonce: String,
}

impl Progress {
    /// How many different shares were given.
    #[must_use]
    pub fn given(&self) -> usize {
        self.shares.len()
    }

    /// Names this attempt; empty when none is under way.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Whether this very share was given already.
    #[must_use]
    pub fn contains(&self, share: &SecretBytes) -> bool {
        self.shares.iter().any(|s| s.ct_eq(share.expose()))
    }

    /// Forgets all shares.
    pub fn reset(&mut self) {
        self.shares.clear();
        self.nonce.clear();
    }

    /// Takes a share.
    pub fn give(&mut self, share: SecretBytes, threshold: u8, entropy: &dyn Entropy) -> Result<ShareOutcome, EntropyError> {
        if self.nonce.is_empty() {
            self.nonce = entropy.uuid()?;
        }
        if !self.contains(&share) {
            self.shares.push(share);
        }
        if self.shares.len() < usize::from(threshold) {
            return Ok(ShareOutcome::Waiting);
        }
        let joined = combine(&self.shares);
        self.reset();
        Ok(match joined {
            Ok(key) => ShareOutcome::Complete(key),
            Err(e) => ShareOutcome::Refused(e),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secret::SeededEntropy;
    use shamir::{Threshold, split};

    fn shares() -> (SecretBytes, Vec<SecretBytes>) {
        let secret = SecretBytes::new(vec![9; 32]);
        let shares = split(&secret, Threshold::new(5, 3).unwrap(), &SeededEntropy::new(1)).unwrap();
        (secret, shares)
    }

    #[test]
    fn a_repeated_share_counts_once() {
        let (secret, shares) = shares();
        let e = SeededEntropy::new(2);
        let mut p = Progress::default();
        for share in [&shares[0], &shares[0], &shares[1]] {
            assert!(matches!(p.give(share.clone(), 3, &e).unwrap(), ShareOutcome::Waiting));
        }
        assert_eq!(p.given(), 2);
        assert!(!p.nonce().is_empty());
        match p.give(shares[4].clone(), 3, &e).unwrap() {
            ShareOutcome::Complete(key) => assert!(key.ct_eq(secret.expose())),
            other => panic!("{other:?}"),
        }
        assert_eq!((p.given(), p.nonce()), (0, ""));
    }

    #[test]
    fn shares_that_do_not_fit_start_anew() {
        let (_, shares) = shares();
        let e = SeededEntropy::new(2);
        let mut p = Progress::default();
        p.give(shares[0].clone(), 3, &e).unwrap();
        p.give(SecretBytes::new(vec![1; 20]), 3, &e).unwrap();
        assert!(matches!(p.give(shares[1].clone(), 3, &e).unwrap(), ShareOutcome::Refused(ShamirError::Length)));
        assert_eq!(p.given(), 0);
    }
}
