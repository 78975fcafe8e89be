//! RSA: generation, the stored form (Go's `rsa.PrivateKey` as JSON), documents, encryption and signatures.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaPssSaltLength,
    RsaSignatureEncoding,
};
use crypto_bigint::BoxedUint;
use secret::Entropy;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::der;
use super::hash::Hash;
use super::number::Number;
use super::rsa_padding::{self, RawKey, Salt};
use crate::fault::Fault;

/// A private key as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RsaPrivate {
    #[serde(rename = "N")]
    pub(crate) n: Number,
    #[serde(rename = "E")]
    pub(crate) e: u32,
    #[serde(rename = "D")]
    d: Number,
    #[serde(rename = "Primes")]
    primes: Vec<Number>,
    #[serde(rename = "Precomputed", default)]
    precomputed: Precomputed,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Precomputed {
    #[serde(rename = "Dp", default)]
    dp: Option<Number>,
    #[serde(rename = "Dq", default)]
    dq: Option<Number>,
    #[serde(rename = "Qinv", default)]
    qinv: Option<Number>,
    /// Go's key for keys of more than two primes; always empty, but its decoder expects a list.
    #[serde(rename = "CRTValues", default)]
    crt_values: Option<[(); 0]>,
}

/// A public key as stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RsaPublic {
    #[serde(rename = "N")]
    pub(crate) n: Number,
    #[serde(rename = "E")]
    pub(crate) e: u32,
}

/// How a message is padded before it is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Padding {
    #[default]
    Oaep,
    Pkcs1v15,
}

/// How a hash is padded before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Pss(Salt),
    Pkcs1v15,
}

/// A key ready for use; without its private half it encrypts and verifies.
pub(crate) struct RsaKey {
    raw: RawKey,
    encrypt_oaep: OaepPublicEncryptingKey,
    encrypt_pkcs1: Pkcs1PublicEncryptingKey,
    private: Option<Private>,
}

struct Private {
    sign: KeyPair,
    decrypt_oaep: OaepPrivateDecryptingKey,
    decrypt_pkcs1: Pkcs1PrivateDecryptingKey,
    exponent: Number,
}

static PSS_MAX_SHA256: RsaSignatureEncoding = RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
static PSS_MAX_SHA384: RsaSignatureEncoding = RSA_PSS_SHA384.with_pss_salt_length(RsaPssSaltLength::Max);
static PSS_MAX_SHA512: RsaSignatureEncoding = RSA_PSS_SHA512.with_pss_salt_length(RsaPssSaltLength::Max);

impl RsaPrivate {
    /// A fresh key. Takes up to a second for 4096 bits.
    pub(crate) fn generate(bits: usize) -> Result<Self, Fault> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(Fault::server("unsupported RSA key size")),
        };
        let pkcs8 = KeyPair::generate(size)?.as_der()?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// The key inside a PKCS#8 document.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Fault> {
        let unreadable = || Fault::server("error parsing asymmetric key: expected a PKCS#8 RSA key");
        let key =
            der::private_key_parts(pkcs8).filter(|(id, _)| *id == der::OID_RSA).and_then(|(_, inner)| Self::from_pkcs1(inner));
        let key = key.ok_or_else(unreadable)?;
        // AWS-LC checks that the parts belong together.
        KeyPair::from_pkcs8(&key.pkcs8()?).map_err(|_| unreadable())?;
        Ok(key)
    }

    fn from_pkcs1(pkcs1: &[u8]) -> Option<Self> {
        let mut r = der::Reader::new(pkcs1).sequence()?;
        if !r.unsigned()?.is_empty() {
            return None;
        }
        let n = Number::new(r.unsigned()?);
        let e = small(r.unsigned()?)?;
        let d = Number::new(r.unsigned()?);
        let primes = vec![Number::new(r.unsigned()?), Number::new(r.unsigned()?)];
        let precomputed = Precomputed {
            dp: Some(Number::new(r.unsigned()?)),
            dq: Some(Number::new(r.unsigned()?)),
            qinv: Some(Number::new(r.unsigned()?)),
            crt_values: Some([]),
        };
        r.done().then_some(Self { n, e, d, primes, precomputed })
    }

    /// RSAPrivateKey of PKCS#1.
    pub(crate) fn pkcs1(&self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let [p, q] = self.primes.as_slice() else {
            return Err(Fault::server("RSA keys of other than two primes are not supported"));
        };
        let computed = match (&self.precomputed.dp, &self.precomputed.dq, &self.precomputed.qinv) {
            (Some(dp), Some(dq), Some(qinv)) => [dp.clone(), dq.clone(), qinv.clone()],
            _ => self.compute(p, q).ok_or_else(|| Fault::server("stored key is not consistent"))?,
        };
        let e = self.e.to_be_bytes();
        let numbers = [&[][..], self.n.bytes(), &e, self.d.bytes(), p.bytes(), q.bytes()];
        let mut content = Zeroizing::new(Vec::new());
        for number in numbers.into_iter().chain(computed.iter().map(Number::bytes)) {
            content.extend_from_slice(&Zeroizing::new(der::integer(number)));
        }
        Ok(Zeroizing::new(der::value(der::SEQUENCE, &content)))
    }

    /// What Go precomputes, for stored keys that came without.
    fn compute(&self, p: &Number, q: &Number) -> Option<[Number; 3]> {
        let bits = u32::try_from(self.n.bytes().len()).ok()?.checked_mul(8)?;
        let reduced = |prime: &Number| {
            let less_one = prime.wide(bits)?.wrapping_sub(BoxedUint::one_with_precision(bits)).into_nz().into_option()?;
            Some(Number::new(&self.d.wide(bits)?.rem(&less_one).to_be_bytes()))
        };
        let modulus = p.wide(bits)?.into_odd().into_option()?;
        let qinv = q.wide(bits)?.invert_odd_mod(&modulus).into_option()?;
        Some([reduced(p)?, reduced(q)?, Number::new(&qinv.to_be_bytes())])
    }

    /// PKCS#8 PrivateKeyInfo.
    pub(crate) fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let inner = Zeroizing::new(der::value(der::OCTET_STRING, &self.pkcs1()?));
        Ok(Zeroizing::new(der::sequence(&[&der::integer(&[]), &algorithm(), &inner])))
    }

    /// Its public half.
    pub(crate) fn public(&self) -> RsaPublic {
        RsaPublic { n: self.n.clone(), e: self.e }
    }
}

impl RsaPublic {
    /// SubjectPublicKeyInfo.
    pub(crate) fn der(&self) -> Vec<u8> {
        let key = der::sequence(&[&der::integer(self.n.bytes()), &der::integer(&self.e.to_be_bytes())]);
        der::sequence(&[&algorithm(), &der::bit_string(&key)])
    }

    /// The key of a SubjectPublicKeyInfo.
    pub(crate) fn from_der(spki: &[u8]) -> Option<Self> {
        let (id, _, key) = der::public_key_parts(spki)?;
        let mut r = der::Reader::new(key).sequence()?;
        let public = Self { n: Number::new(r.unsigned()?), e: small(r.unsigned()?)? };
        PublicEncryptingKey::from_der(spki).ok()?;
        (id == der::OID_RSA && r.done()).then_some(public)
    }

    /// Bits of the modulus.
    pub(crate) fn bits(&self) -> usize {
        let bytes = self.n.bytes();
        bytes.len() * 8 - bytes.first().map_or(0, |b| usize::try_from(b.leading_zeros()).unwrap_or(0))
    }
}

impl RsaKey {
    /// Prepares a key from what is kept.
    pub(crate) fn new(public: &RsaPublic, private: Option<&RsaPrivate>) -> Result<Self, Fault> {
        let bad = |_| Fault::server("stored key is not consistent");
        let encrypt = PublicEncryptingKey::from_der(&public.der()).map_err(bad)?;
        let private = match private {
            Some(key) => {
                let pkcs8 = key.pkcs8()?;
                let decrypt = PrivateDecryptingKey::from_pkcs8(&pkcs8).map_err(bad)?;
                Some(Private {
                    sign: KeyPair::from_pkcs8(&pkcs8).map_err(bad)?,
                    decrypt_oaep: OaepPrivateDecryptingKey::new(decrypt.clone())?,
                    decrypt_pkcs1: Pkcs1PrivateDecryptingKey::new(decrypt)?,
                    exponent: key.d.clone(),
                })
            }
            None => None,
        };
        Ok(Self {
            raw: RawKey::new(&public.n, public.e).ok_or_else(|| Fault::server("stored key is not consistent"))?,
            encrypt_oaep: OaepPublicEncryptingKey::new(encrypt.clone())?,
            encrypt_pkcs1: Pkcs1PublicEncryptingKey::new(encrypt)?,
            private,
        })
    }

    /// Encrypts; OAEP is with SHA-256 and without label.
    pub(crate) fn encrypt(&self, padding: Padding, plaintext: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0; self.raw.length()];
        let length = match padding {
            Padding::Oaep => self.encrypt_oaep.encrypt(&OAEP_SHA256_MGF1SHA256, plaintext, &mut out, None).map(|c| c.len()),
            Padding::Pkcs1v15 => self.encrypt_pkcs1.encrypt(plaintext, &mut out).map(|c| c.len()),
        };
        let length = length
            .map_err(|_| Fault::server("failed to RSA encrypt the plaintext: crypto/rsa: message too long for RSA key size"))?;
        out.truncate(length);
        Ok(out)
    }

    /// Decrypts. Every failure reads the same, whatever was wrong with the padding.
    pub(crate) fn decrypt(&self, padding: Padding, ciphertext: &[u8]) -> Result<Vec<u8>, Fault> {
        self.decrypt_with(padding, &OAEP_SHA256_MGF1SHA256, ciphertext)
    }

    /// Decrypts with a chosen hash inside OAEP, for wrapped imports.
    pub(crate) fn decrypt_with(
        &self,
        padding: Padding,
        oaep: &'static OaepAlgorithm,
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let key = self
            .private
            .as_ref()
            .ok_or_else(|| Fault::server("cannot decrypt ciphertext, key version does not have a private counterpart"))?;
        let mut out = Zeroizing::new(vec![0; self.raw.length()]);
        let length = match padding {
            Padding::Oaep => key.decrypt_oaep.decrypt(oaep, ciphertext, &mut out, None).map(|p| p.len()),
            Padding::Pkcs1v15 => key.decrypt_pkcs1.decrypt(ciphertext, &mut out).map(|p| p.len()),
        };
        let length = length.map_err(|_| Fault::server("failed to RSA decrypt the ciphertext: crypto/rsa: decryption error"))?;
        Ok(out.get(..length).unwrap_or_default().to_vec())
    }

    /// Encrypts an ephemeral key for an import elsewhere.
    pub(crate) fn wrap(&self, oaep: &'static OaepAlgorithm, secret: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = vec![0; self.raw.length()];
        self.encrypt_oaep.encrypt(oaep, secret, &mut out, None)?;
        Ok(out)
    }

    /// Signs what was hashed with `hash`.
    pub(crate) fn sign(&self, scheme: Scheme, hash: Hash, hashed: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>, Fault> {
        let key = self.private.as_ref().ok_or_else(super::ec::no_private_half)?;
        if hash != Hash::None && hashed.len() != hash.length() {
            return Err(Fault::server("crypto/rsa: input must be hashed message"));
        }
        self.check_salt(scheme, hash)?;
        if let Some((encoding, algorithm)) = native(scheme, hash) {
            let mut out = vec![0; self.raw.length()];
            key.sign.sign_digest(encoding, &Digest::import_less_safe(hashed, algorithm)?, &mut out)?;
            return Ok(out);
        }
        let padded = match scheme {
            Scheme::Pkcs1v15 => rsa_padding::pkcs1v15(hash, hashed, self.raw.length()),
            Scheme::Pss(salt) => {
                let salt = Zeroizing::new(entropy.bytes(salt.signing_length(hash, self.raw.bits()))?);
                rsa_padding::pss(hash, hashed, &salt, self.raw.bits())
            }
        };
        let padded = padded.ok_or_else(|| Fault::server("crypto/rsa: message too long for RSA key size"))?;
        self.raw.private(&padded, &key.exponent, entropy)
    }

    /// Whether the signature is good.
    pub(crate) fn verify(&self, scheme: Scheme, hash: Hash, hashed: &[u8], signature: &[u8]) -> Result<bool, Fault> {
        self.check_salt(scheme, hash)?;
        let Some(padded) = self.raw.public(signature) else { return Ok(false) };
        Ok(match scheme {
            Scheme::Pkcs1v15 => {
                rsa_padding::pkcs1v15(hash, hashed, self.raw.length()).is_some_and(|want| secret::ct_eq(&want, &padded))
            }
            Scheme::Pss(salt) => rsa_padding::pss_matches(hash, hashed, salt, &padded, self.raw.bits()),
        })
    }

    fn check_salt(&self, scheme: Scheme, hash: Hash) -> Result<(), Fault> {
        match scheme {
            Scheme::Pss(Salt::Exactly(n)) if n > Salt::Auto.signing_length(hash, self.raw.bits()) => {
                Err(Fault::caller(format!("requested salt length {n} is invalid")))
            }
            _ => Ok(()),
        }
    }
}

fn native(scheme: Scheme, hash: Hash) -> Option<(&'static RsaSignatureEncoding, &'static digest::Algorithm)> {
    Some(match (scheme, hash) {
        (Scheme::Pkcs1v15, Hash::Sha256) => (&RSA_PKCS1_SHA256, &digest::SHA256),
        (Scheme::Pkcs1v15, Hash::Sha384) => (&RSA_PKCS1_SHA384, &digest::SHA384),
        (Scheme::Pkcs1v15, Hash::Sha512) => (&RSA_PKCS1_SHA512, &digest::SHA512),
        (Scheme::Pss(Salt::Auto), Hash::Sha256) => (&PSS_MAX_SHA256, &digest::SHA256),
        (Scheme::Pss(Salt::Auto), Hash::Sha384) => (&PSS_MAX_SHA384, &digest::SHA384),
        (Scheme::Pss(Salt::Auto), Hash::Sha512) => (&PSS_MAX_SHA512, &digest::SHA512),
        (Scheme::Pss(Salt::Hash), Hash::Sha256) => (&RSA_PSS_SHA256, &digest::SHA256),
        (Scheme::Pss(Salt::Hash), Hash::Sha384) => (&RSA_PSS_SHA384, &digest::SHA384),
        (Scheme::Pss(Salt::Hash), Hash::Sha512) => (&RSA_PSS_SHA512, &digest::SHA512),
        _ => return None,
    })
}

fn algorithm() -> Vec<u8> {
    der::sequence(&[&der::value(der::OBJECT_ID, der::OID_RSA), der::NULL])
}

fn small(big_endian: &[u8]) -> Option<u32> {
    (big_endian.len() <= 4).then(|| big_endian.iter().fold(0, |n, b| (n << 8) | u32::from(*b)))
}
