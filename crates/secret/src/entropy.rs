//! Randomness as an argument, so that every decision can be replayed in a test.

use std::sync::Mutex;

/// The system could not give random bytes.
#[derive(Debug)]
pub struct EntropyError;

impl std::fmt::Display for EntropyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no entropy from the operating system")
    }
}

impl std::error::Error for EntropyError {}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A source of cryptographic randomness.
pub trait Entropy: Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;

    /// `n` fresh bytes.
    fn bytes(&self, n: usize) -> Result<Vec<u8>, EntropyError> {
        let mut out = vec![0u8; n];
        self.fill(&mut out)?;
        Ok(out)
    }

    /// Text of `n` characters out of `[0-9A-Za-z]`, uniformly: bytes of 248 and above are thrown away
    /// (248 = 4 × 62), so there is no modulo bias.
    fn base62(&self, n: usize) -> Result<String, EntropyError> {
        let mut out = String::with_capacity(n);
        while out.len() < n {
            for b in self.bytes(n - out.len() + 8)? {
                if let (true, true, Some(c)) = (b < 248, out.len() < n, BASE62.get(usize::from(b % 62))) {
                    out.push(char::from(*c));
                }
            }
        }
        Ok(out)
    }

    /// A random (version 4) UUID in its usual text form, RFC 9562 §5.4.
    fn uuid(&self) -> Result<String, EntropyError> {
        let mut b = [0u8; 16];
        self.fill(&mut b)?;
        let n = (u128::from_be_bytes(b) & !(0xf000 << 64) & !(0xc000 << 48)) | (0x4000 << 64) | (0x8000 << 48);
        let h = format!("{n:032x}");
        let mut out = String::with_capacity(36);
        for (i, c) in h.chars().enumerate() {
            if matches!(i, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            out.push(c);
        }
        Ok(out)
    }

    /// `n` lower-case hexadecimal digits.
    fn hex(&self, n: usize) -> Result<String, EntropyError> {
        let mut out = String::with_capacity(n + 1);
        for b in self.bytes(n.div_ceil(2))? {
            out.push_str(&format!("{b:02x}"));
        }
        out.truncate(n);
        Ok(out)
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(|_| EntropyError)
    }
}

/// Predictable bytes for tests and simulations (SplitMix64). Never for keys.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Starts the sequence at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let mut state = self.0.lock().map_err(|_| EntropyError)?;
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            for (to, from) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *to = from;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_has_version_and_variant() {
        for _ in 0..100 {
            let u = SystemEntropy.uuid().unwrap();
            assert_eq!(u.len(), 36);
            assert_eq!(u.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&u.as_bytes()[19]), "{u}");
        }
    }

    #[test]
    fn base62_has_the_length_asked_for_and_the_whole_alphabet() {
        let s = SystemEntropy.base62(20_000).unwrap();
        assert_eq!(s.len(), 20_000);
        assert!(BASE62.iter().all(|c| s.as_bytes().contains(c)));
        assert!(s.bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn seeded_entropy_repeats_itself() {
        assert_eq!(SeededEntropy::new(7).base62(30).unwrap(), SeededEntropy::new(7).base62(30).unwrap());
        assert_ne!(SeededEntropy::new(7).base62(30).unwrap(), SeededEntropy::new(8).base62(30).unwrap());
    }
}
