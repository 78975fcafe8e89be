//! The data types of SSH (RFC 4251 §5): bytes with a length before them, and numbers.

/// Text or bytes of the wrong shape; in the words of Go's SSH library, which clients of Vault know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ssh: short read")]
pub struct ShortRead;

/// Reads from the front.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], ShortRead> {
        let (front, rest) = self.0.split_at_checked(n).ok_or(ShortRead)?;
        self.0 = rest;
        Ok(front)
    }

    /// A big-endian number of 32 bits.
    pub fn u32(&mut self) -> Result<u32, ShortRead> {
        self.take(4).and_then(|b| b.try_into().map(u32::from_be_bytes).map_err(|_| ShortRead))
    }

    /// Bytes with their length before them; an `mpint` too.
    pub fn string(&mut self) -> Result<&'a [u8], ShortRead> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| ShortRead)?)
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes to the end of bytes.
pub trait Write {
    /// A big-endian number of 32 bits.
    fn u32(&mut self, n: u32);
    /// A big-endian number of 64 bits.
    fn u64(&mut self, n: u64);
    /// Bytes with their length before them.
    fn string(&mut self, bytes: &[u8]);
    /// A number that is not negative, from its big-endian bytes.
    fn mpint(&mut self, bytes: &[u8]);
}

impl Write for Vec<u8> {
    fn u32(&mut self, n: u32) {
        self.extend(n.to_be_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.extend(n.to_be_bytes());
    }

    fn string(&mut self, bytes: &[u8]) {
        // Nothing that is written here comes near 4 GiB: requests are bounded far below.
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.extend(bytes);
    }

    fn mpint(&mut self, bytes: &[u8]) {
        let bare: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
        let sign = usize::from(bare.first().is_some_and(|b| b & 0x80 != 0));
        self.u32(u32::try_from(bare.len() + sign).unwrap_or(u32::MAX));
        self.extend(std::iter::repeat_n(0, sign));
        self.extend(bare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_rfc_4251() {
        for (bytes, want) in [
            (&[][..], &[0, 0, 0, 0][..]),
            (&[0], &[0, 0, 0, 0]),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[9, 0xa3, 0x78], &[0, 0, 0, 3, 9, 0xa3, 0x78]),
        ] {
            let mut out = Vec::new();
            out.mpint(bytes);
            assert_eq!(out, want);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_and_cut_text_is_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..50)) {
            let mut out = Vec::new();
            out.string(&bytes);
            proptest::prop_assert_eq!(Reader(&out).string(), Ok(bytes.as_slice()));
            out.pop();
            proptest::prop_assert_eq!(Reader(&out).string(), Err(ShortRead));
        }
    }
}
