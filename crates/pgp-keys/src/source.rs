//! The generator that rPGP draws from, fed by [`Entropy`].

use rand_core_06::{CryptoRng, Error, RngCore};
use secret::Entropy;

/// A failure of the source is remembered and what was made with it is thrown away: most of the trait has no way to say so.
pub(crate) struct Source<'a> {
    entropy: &'a dyn Entropy,
    pub(crate) failed: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn new(entropy: &'a dyn Entropy) -> Self {
        Self { entropy, failed: false }
    }
}

impl RngCore for Source<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut b = [0; 4];
        self.fill_bytes(&mut b);
        u32::from_le_bytes(b)
    }

    fn next_u64(&mut self) -> u64 {
        let mut b = [0; 8];
        self.fill_bytes(&mut b);
        u64::from_le_bytes(b)
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        if self.entropy.fill(dest).is_err() {
            self.failed = true;
            // Not zero, so that a loop that waits for a non-zero value still ends.
            dest.fill(0xa5);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for Source<'_> {}
