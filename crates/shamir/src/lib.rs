//! Shamir's secret sharing in Vault's format (contract §10.1): one polynomial over GF(2^8) modulo 0x11B per byte of the
//! secret, a share being `y₁ … y_k ‖ x`. The arithmetic is vsss-rs'; here are the format and the checks it leaves out.
//!
//! Deliberately absent: what the secret is, and how many shares have been given so far (`barrier::progress`).

use secret::{Entropy, EntropyError, SecretBytes};
use vsss_rs::{Gf256, IdentifierGf256};
use zeroize::Zeroize;

/// x is one byte and never zero.
pub const SHARES_MAX: usize = 255;

/// How many shares there are and how many open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    shares: u8,
    threshold: u8,
}

/// Why shares cannot be made or joined. The first group's words are Vault's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShamirError {
    /// Zero shares.
    #[error("shares must be at least one")]
    NoShares,
    /// Zero threshold.
    #[error("threshold must be at least one")]
    NoThreshold,
    /// One of many shares would open.
    #[error("threshold must be greater than one for multiple shares")]
    ThresholdOne,
    /// More needed than there are.
    #[error("threshold cannot be larger than shares")]
    ThresholdAboveShares,
    /// x is one byte.
    #[error("shares must be less than 256")]
    TooManyShares,
    /// An empty secret or share, or shares of different lengths.
    #[error("all parts must be the same length")]
    Length,
    /// The same share twice, or x = 0.
    #[error("duplicate or invalid part detected")]
    Duplicate,
    /// The library refused.
    #[error("shares cannot be processed")]
    Refused,
    /// No randomness.
    #[error("no entropy")]
    NoEntropy,
}

impl From<EntropyError> for ShamirError {
    fn from(_: EntropyError) -> Self {
        Self::NoEntropy
    }
}

impl Threshold {
    /// Checks the pair as Vault does.
    pub fn new(shares: u64, threshold: u64) -> Result<Self, ShamirError> {
        match (shares, threshold) {
            (0, _) => return Err(ShamirError::NoShares),
            (_, 0) => return Err(ShamirError::NoThreshold),
            (s, 1) if s > 1 => return Err(ShamirError::ThresholdOne),
            (256.., _) => return Err(ShamirError::TooManyShares),
            (s, t) if t > s => return Err(ShamirError::ThresholdAboveShares),
            _ => {}
        }
        match (u8::try_from(shares), u8::try_from(threshold)) {
            (Ok(shares), Ok(threshold)) => Ok(Self { shares, threshold }),
            _ => Err(ShamirError::TooManyShares),
        }
    }

    /// Number of shares.
    #[must_use]
    pub fn shares(self) -> u8 {
        self.shares
    }

    /// Number of shares that open.
    #[must_use]
    pub fn threshold(self) -> u8 {
        self.threshold
    }
}

/// The generator that vsss-rs draws coefficients from, fed by [`Entropy`]. A failure of the source is remembered and the
/// shares made with it are thrown away, because the trait has no way to say so.
struct Source<'a> {
    entropy: &'a dyn Entropy,
    failed: bool,
}

impl rand_core::TryRng for Source<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut b = [0; 4];
        self.try_fill_bytes(&mut b)?;
        Ok(u32::from_le_bytes(b))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut b = [0; 8];
        self.try_fill_bytes(&mut b)?;
        Ok(u64::from_le_bytes(b))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        if self.entropy.fill(dst).is_err() {
            self.failed = true;
            // Constant non-zero bytes, so that a rejection-sampling loop in the library still ends.
            dst.fill(0xa5);
        }
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Source<'_> {}

/// Splits `secret`. A single share is the secret itself.
pub fn split(secret: &SecretBytes, shape: Threshold, entropy: &dyn Entropy) -> Result<Vec<SecretBytes>, ShamirError> {
    if secret.is_empty() {
        return Err(ShamirError::Length);
    }
    if shape.shares == 1 {
        return Ok(vec![secret.clone()]);
    }
    let ids = shuffled_ids(entropy)?.into_iter().take(usize::from(shape.shares)).map(|x| IdentifierGf256(Gf256(x)));
    let mut source = Source { entropy, failed: false };
    let shares = Gf256::split_bytes_with_participant_ids_iter(
        usize::from(shape.threshold),
        usize::from(shape.shares),
        secret.expose(),
        &mut source,
        ids,
    )
    .map_err(|_| ShamirError::Refused)?;
    if source.failed {
        return Err(ShamirError::NoEntropy);
    }
    // vsss-rs puts x first, Vault last.
    Ok(shares
        .into_iter()
        .map(|mut s| {
            s.rotate_left(1);
            SecretBytes::new(s)
        })
        .collect())
}

/// The 255 possible x in random order, so that a share does not tell its place.
fn shuffled_ids(entropy: &dyn Entropy) -> Result<Vec<u8>, EntropyError> {
    let mut keyed = Vec::with_capacity(SHARES_MAX);
    for x in 1..=u8::MAX {
        let mut rank = [0u8; 8];
        entropy.fill(&mut rank)?;
        keyed.push((u64::from_le_bytes(rank), x));
    }
    keyed.sort_unstable();
    Ok(keyed.into_iter().map(|(_, x)| x).collect())
}

/// Joins shares. A wrong set gives wrong bytes, not an error: only the cipher can tell. One share is the secret itself.
pub fn combine(shares: &[SecretBytes]) -> Result<SecretBytes, ShamirError> {
    let [first, rest @ ..] = shares else { return Err(ShamirError::Length) };
    if rest.is_empty() {
        return Ok(first.clone());
    }
    if first.len() < 2 || rest.iter().any(|s| s.len() != first.len()) {
        return Err(ShamirError::Length);
    }
    let mut seen = [false; 256];
    seen.iter_mut().take(1).for_each(|zero| *zero = true);
    for share in shares {
        let x = share.expose().last().copied().unwrap_or(0);
        match seen.get_mut(usize::from(x)) {
            Some(used) if !*used => *used = true,
            _ => return Err(ShamirError::Duplicate),
        }
    }
    let mut x_first: Vec<Vec<u8>> = shares
        .iter()
        .map(|s| {
            let mut s = s.expose().to_vec();
            s.rotate_right(1);
            s
        })
        .collect();
    let joined = Gf256::combine_bytes(&x_first).map_err(|_| ShamirError::Refused);
    x_first.iter_mut().for_each(Zeroize::zeroize);
    joined.map(SecretBytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secret::SystemEntropy;

    #[test]
    fn the_shape_is_checked_in_vaults_words() {
        for (shares, threshold, text) in [
            (0, 0, "shares must be at least one"),
            (1, 0, "threshold must be at least one"),
            (5, 1, "threshold must be greater than one for multiple shares"),
            (3, 4, "threshold cannot be larger than shares"),
            (256, 3, "shares must be less than 256"),
        ] {
            assert_eq!(Threshold::new(shares, threshold).unwrap_err().to_string(), text);
        }
        assert!(Threshold::new(255, 255).is_ok());
        assert!(Threshold::new(1, 1).is_ok());
    }

    /// Computed by hand in GF(2^8) mod 0x11B: secret 0x53, coefficient 0xCA, x = 1 and 2.
    /// f(1) = 53 ⊕ CA = 99; f(2) = 53 ⊕ (CA·2 = 94 ⊕ 1B = 8F) = DC.
    #[test]
    fn the_field_is_rijndaels_and_x_is_last() {
        let a = SecretBytes::new(vec![0x99, 1]);
        let b = SecretBytes::new(vec![0xDC, 2]);
        assert_eq!(combine(&[a, b]).unwrap().expose(), [0x53]);
    }

    #[test]
    fn bad_sets_are_refused() {
        let s = |b: &[u8]| SecretBytes::from(b);
        assert_eq!(combine(&[]).unwrap_err(), ShamirError::Length);
        assert_eq!(combine(&[s(&[1, 2, 3]), s(&[1, 2])]).unwrap_err(), ShamirError::Length);
        assert_eq!(combine(&[s(&[1, 2]), s(&[3, 2])]).unwrap_err(), ShamirError::Duplicate);
        assert_eq!(combine(&[s(&[1, 0]), s(&[3, 2])]).unwrap_err(), ShamirError::Duplicate);
        assert_eq!(combine(&[s(&[1]), s(&[2])]).unwrap_err(), ShamirError::Length);
    }

    #[test]
    fn fewer_than_threshold_give_garbage_and_x_is_spread() {
        let secret = SecretBytes::new(vec![7; 32]);
        let shares = split(&secret, Threshold::new(5, 3).unwrap(), &SystemEntropy).unwrap();
        assert!(shares.iter().all(|s| s.len() == 33));
        assert!(!combine(&shares[..2]).unwrap().ct_eq(secret.expose()));
        assert!(combine(&shares[1..4]).unwrap().ct_eq(secret.expose()));
    }

    proptest! {
        #[test]
        fn any_threshold_of_shares_opens(secret in proptest::collection::vec(any::<u8>(), 1..40), n in 2u64..12, t in 2u64..12) {
            prop_assume!(t <= n);
            let shares = split(&SecretBytes::new(secret.clone()), Threshold::new(n, t).unwrap(), &SystemEntropy).unwrap();
            let from = shares.len() - usize::try_from(t).unwrap();
            prop_assert!(combine(&shares[from..]).unwrap().ct_eq(&secret));
        }
    }
}
