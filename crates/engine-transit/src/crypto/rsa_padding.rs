//! RSA where AWS-LC's safe API ends: verification that finds the salt length by itself (what Vault calls `auto`), and
//! signatures over SHA-1, SHA-224, SHA-3, no hash, or with a chosen salt length.
//!
//! The private operation here is the one piece of public-key arithmetic of our own. It runs in constant time
//! (`crypto-bigint`'s Montgomery exponentiation), on a blinded number, and its result is checked with the public key before
//! it leaves, so that a fault in the machine does not give the key away. It never decrypts: decryption, where padding
//! oracles live, is AWS-LC's alone.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use secret::Entropy;
use zeroize::Zeroizing;

use super::hash::Hash;
use super::number::Number;
use crate::fault::Fault;

/// How long the salt of a PSS signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Salt {
    /// As long as fits when signing, whatever is found when verifying.
    Auto,
    /// As long as the hash.
    Hash,
    /// This many bytes.
    Exactly(usize),
}

impl Salt {
    /// Bytes of salt in a new signature.
    pub(crate) fn signing_length(self, hash: Hash, modulus_bits: usize) -> usize {
        match self {
            Self::Auto => (modulus_bits.saturating_sub(1)).div_ceil(8).saturating_sub(2 + hash.length()),
            Self::Hash => hash.length(),
            Self::Exactly(n) => n,
        }
    }
}

/// Modulus and public exponent, ready for arithmetic.
pub(crate) struct RawKey {
    params: BoxedMontyParams,
    modulus: Odd<BoxedUint>,
    exponent: BoxedUint,
    bits: usize,
    length: usize,
}

impl RawKey {
    pub(crate) fn new(n: &Number, e: u32) -> Option<Self> {
        let length = n.bytes().len();
        let bits = length * 8 - usize::try_from(n.bytes().first()?.leading_zeros()).ok()?;
        let modulus = n.wide(u32::try_from(length * 8).ok()?)?.into_odd().into_option()?;
        // The modulus is no secret.
        let params = BoxedMontyParams::new_vartime(modulus.clone());
        Some(Self { params, modulus, exponent: BoxedUint::from(e), bits, length })
    }

    /// Bits of the modulus.
    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Bytes of the modulus, and so of a signature.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// `message ^ e mod n`; nothing if the message is not a number below `n` in the modulus's length.
    pub(crate) fn public(&self, message: &[u8]) -> Option<Vec<u8>> {
        let number = self.number(message)?;
        let result = BoxedMontyForm::new(number, &self.params).pow(&self.exponent).retrieve();
        Some(self.bytes(&result).to_vec())
    }

    /// `message ^ d mod n`, blinded and checked.
    pub(crate) fn private(&self, message: &[u8], d: &Number, entropy: &dyn Entropy) -> Result<Vec<u8>, Fault> {
        let failed = || Fault::server("RSA signing failed");
        let number = BoxedMontyForm::new(self.number(message).ok_or_else(failed)?, &self.params);
        let exponent = Zeroizing::new(d.wide(self.modulus.bits_precision()).ok_or_else(failed)?);
        let (blind, unblind) = self.blinding(entropy)?;
        let result = number.mul(&blind.pow(&self.exponent)).pow(&exponent).mul(&unblind);
        if result.pow(&self.exponent).retrieve() != number.retrieve() {
            return Err(failed());
        }
        Ok(self.bytes(&result.retrieve()).to_vec())
    }

    fn blinding(&self, entropy: &dyn Entropy) -> Result<(BoxedMontyForm, BoxedMontyForm), Fault> {
        loop {
            let bytes = Zeroizing::new(entropy.bytes(self.length)?);
            // Half of all draws or more are below the modulus, and all but a vanishing share of those have an inverse.
            let Some(number) = self.number(&bytes) else { continue };
            if let Some(inverse) = number.invert_odd_mod(&self.modulus).into_option() {
                return Ok((BoxedMontyForm::new(number, &self.params), BoxedMontyForm::new(inverse, &self.params)));
            }
        }
    }

    fn number(&self, bytes: &[u8]) -> Option<BoxedUint> {
        let number = BoxedUint::from_be_slice(bytes, self.modulus.bits_precision()).ok()?;
        (bytes.len() == self.length && number < *self.modulus.as_ref()).then_some(number)
    }

    fn bytes(&self, number: &BoxedUint) -> Zeroizing<Vec<u8>> {
        let all = Zeroizing::new(number.to_be_bytes().to_vec());
        let surplus = all.len().saturating_sub(self.length);
        Zeroizing::new(all.get(surplus..).unwrap_or_default().to_vec())
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2). Without a hash, the input goes in as it is.
pub(crate) fn pkcs1v15(hash: Hash, hashed: &[u8], length: usize) -> Option<Vec<u8>> {
    if hash != Hash::None && hashed.len() != hash.length() {
        return None;
    }
    let info = digest_info(hash);
    let fill = length.checked_sub(3 + info.len() + hashed.len()).filter(|n| *n >= 8)?;
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&[0, 1]);
    out.resize(2 + fill, 0xff);
    out.push(0);
    out.extend_from_slice(&info);
    out.extend_from_slice(hashed);
    Some(out)
}

/// EMSA-PSS (RFC 8017 §9.1.1), filled with zeros to the modulus's length.
pub(crate) fn pss(hash: Hash, hashed: &[u8], salt: &[u8], modulus_bits: usize) -> Option<Vec<u8>> {
    let em_bits = modulus_bits.checked_sub(1)?;
    let em_length = em_bits.div_ceil(8);
    let fill = em_length.checked_sub(hash.length() + salt.len() + 2)?;
    if hash == Hash::None {
        return None;
    }
    let h = hash.of(&[&[0; 8], hashed, salt]);
    let mut db = vec![0; fill];
    db.push(1);
    db.extend_from_slice(salt);
    mask(&mut db, hash, &h);
    if let Some(first) = db.first_mut() {
        *first &= top_mask(em_bits);
    }
    let mut out = vec![0; modulus_bits.div_ceil(8) - em_length];
    out.extend_from_slice(&db);
    out.extend_from_slice(&h);
    out.push(0xbc);
    Some(out)
}

/// EMSA-PSS verification (RFC 8017 §9.1.2). All of it is public, so it may take the short way out.
pub(crate) fn pss_matches(hash: Hash, hashed: &[u8], salt: Salt, padded: &[u8], modulus_bits: usize) -> bool {
    checked_pss(hash, hashed, salt, padded, modulus_bits).unwrap_or(false)
}

fn checked_pss(hash: Hash, hashed: &[u8], salt: Salt, padded: &[u8], modulus_bits: usize) -> Option<bool> {
    if hash == Hash::None || hashed.len() != hash.length() {
        return None;
    }
    let em_bits = modulus_bits.checked_sub(1)?;
    let em_length = em_bits.div_ceil(8);
    let (front, em) = padded.split_at_checked(padded.len().checked_sub(em_length)?)?;
    let (&trailer, em) = em.split_last()?;
    let (masked, h) = em.split_at_checked(em.len().checked_sub(hash.length())?)?;
    let top = top_mask(em_bits);
    if trailer != 0xbc || front.iter().any(|b| *b != 0) || masked.first()? & !top != 0 {
        return Some(false);
    }
    let mut db = masked.to_vec();
    mask(&mut db, hash, h);
    *db.first_mut()? &= top;
    let fill = db.iter().position(|b| *b != 0)?;
    let found = db.get(fill + 1..)?;
    let long_enough = match salt {
        Salt::Auto => true,
        other => found.len() == other.signing_length(hash, modulus_bits),
    };
    Some(long_enough && db.get(fill) == Some(&1) && hash.of(&[&[0; 8], hashed, found]) == h)
}

fn top_mask(em_bits: usize) -> u8 {
    match em_bits % 8 {
        0 => 0xff,
        used => (1u8 << used).wrapping_sub(1),
    }
}

/// XORs MGF1 of the seed over the bytes (RFC 8017 §B.2.1).
fn mask(bytes: &mut [u8], hash: Hash, seed: &[u8]) {
    for (counter, block) in bytes.chunks_mut(hash.length().max(1)).enumerate() {
        let counter = u32::try_from(counter).unwrap_or(u32::MAX).to_be_bytes();
        for (to, from) in block.iter_mut().zip(hash.of(&[seed, &counter])) {
            *to ^= from;
        }
    }
}

/// The DER in front of a hash: `DigestInfo` up to the hash itself.
fn digest_info(hash: Hash) -> Vec<u8> {
    let length = u8::try_from(hash.length()).unwrap_or(0);
    let nist = |last: u8| {
        let mut out = vec![0x30, 17 + length, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last];
        out.extend_from_slice(&[0x05, 0x00, 0x04, length]);
        out
    };
    match hash {
        Hash::None => Vec::new(),
        Hash::Sha1 => vec![0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14],
        Hash::Sha256 => nist(1),
        Hash::Sha384 => nist(2),
        Hash::Sha512 => nist(3),
        Hash::Sha224 => nist(4),
        Hash::Sha3_224 => nist(7),
        Hash::Sha3_256 => nist(8),
        Hash::Sha3_384 => nist(9),
        Hash::Sha3_512 => nist(10),
    }
}
