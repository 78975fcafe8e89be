//! AES-GCM and ChaCha20-Poly1305. A sealed message is `nonce ‖ ciphertext ‖ tag`, as Vault writes it.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::fault::Fault;
use crate::kind::KeyKind;
use crate::limits::NONCE_BYTES;

/// A cipher with its key schedule worked out.
pub(crate) struct Cipher(LessSafeKey);

/// A nonce.
pub(crate) type NonceBytes = [u8; NONCE_BYTES];

impl Cipher {
    /// Prepares a key of the kind's length.
    pub(crate) fn new(kind: KeyKind, key: &[u8]) -> Result<Self, Fault> {
        let algorithm = match kind {
            KeyKind::Aes128Gcm => &AES_128_GCM,
            KeyKind::Aes256Gcm => &AES_256_GCM,
            KeyKind::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return Err(Fault::Server(format!("unsupported key type {kind}"))),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| Fault::server("could not derive enc key, length not correct"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals. `show_nonce` puts the nonce in front; only keys of the oldest convergent form leave it out.
    pub(crate) fn seal(&self, nonce: NonceBytes, aad: &[u8], plaintext: &[u8], show_nonce: bool) -> Result<Vec<u8>, Fault> {
        let head: &[u8] = if show_nonce { &nonce } else { &[] };
        let mut out = Vec::with_capacity(head.len() + plaintext.len() + self.0.algorithm().tag_len());
        out.extend_from_slice(head);
        out.extend_from_slice(plaintext);
        let (_, body) = out.split_at_mut_checked(head.len()).unwrap_or_default();
        let tag = self.0.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens `ciphertext ‖ tag`.
    pub(crate) fn open(&self, nonce: NonceBytes, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = sealed.to_vec();
        let length = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out)
            .map_err(|_| Fault::caller("cipher: message authentication failed"))?
            .len();
        out.truncate(length);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [(KeyKind, usize); 3] = [(KeyKind::Aes128Gcm, 16), (KeyKind::Aes256Gcm, 32), (KeyKind::ChaCha20Poly1305, 32)];

    #[test]
    fn every_bit_counts() {
        for (kind, length) in KINDS {
            let cipher = Cipher::new(kind, &vec![7; length]).unwrap();
            let sealed = cipher.seal([1; 12], b"aad", b"attack at dawn", false).unwrap();
            assert_eq!(cipher.open([1; 12], b"aad", &sealed).unwrap(), b"attack at dawn");
            assert!(cipher.open([2; 12], b"aad", &sealed).is_err());
            assert!(cipher.open([1; 12], b"", &sealed).is_err());
            for i in 0..sealed.len() * 8 {
                let mut bent = sealed.clone();
                bent[i / 8] ^= 1 << (i % 8);
                assert!(cipher.open([1; 12], b"aad", &bent).is_err(), "{kind} bit {i}");
            }
            for short in 0..sealed.len() {
                assert!(cipher.open([1; 12], b"aad", &sealed[..short]).is_err(), "{kind} {short} bytes");
            }
            assert!(Cipher::new(kind, &vec![7; length - 1]).is_err());
            let shown = cipher.seal([1; 12], b"aad", b"attack at dawn", true).unwrap();
            assert_eq!(shown, [&[1; 12][..], &sealed].concat());
        }
        assert!(Cipher::new(KeyKind::Rsa2048, &[7; 32]).is_err());
    }

    #[test]
    fn aes_256_gcm_test_case_14() {
        // McGrew and Viega, test case 14: key, nonce and plaintext all zero.
        let sealed = Cipher::new(KeyKind::Aes256Gcm, &[0; 32]).unwrap().seal([0; 12], b"", &[0; 16], false).unwrap();
        assert_eq!(hex::encode(sealed), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
    }
}
