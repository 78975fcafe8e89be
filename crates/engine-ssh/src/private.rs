//! Private keys: made here, or read from PEM of PKCS#1, SEC 1, PKCS#8 and OpenSSH. All arithmetic on secrets is aws-lc-rs, but
//! for two remainders that OpenSSH's format leaves out of RSA keys.
//!
//! Deliberately absent: keys under a passphrase, DSA, RSA below 2048 bits, signatures with SHA-1.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crypto_bigint::{BoxedUint, NonZero};
use der::asn1::{AnyRef, OctetStringRef, UintRef};
use der::{Decode, Encode};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::public::PublicKey;
use crate::wire::{Reader, Write};

/// RSA keys unless a length is said.
const RSA_BITS_DEFAULT: i64 = 4096;
const OPENSSH: &str = "OPENSSH PRIVATE KEY";
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
/// Characters in a line of PEM.
const PEM_LINE: usize = 64;

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A kind that is not made here.
    #[error("unknown ssh key pair algorithm: {0}")]
    Unknown(String),
    /// A curve that is not made here.
    #[error("unknown ECDSA key pair algorithm and bits: {0} / {1}")]
    Curve(String, i64),
    /// Too short.
    #[error("refusing to generate weak rsa key: {0} bits < 2048 bits")]
    Weak(i64),
    /// A length that is not made here.
    #[error("unsupported bit length for RSA key: {0}")]
    RsaBits(i64),
    /// Not a key that can be read.
    #[error("ssh: no key found")]
    Unreadable,
    /// Needs a passphrase.
    #[error("ssh: this private key is passphrase protected")]
    Protected,
    /// The provider failed.
    #[error("the key operation failed")]
    Failed,
}

impl From<aws_lc_rs::error::Unspecified> for KeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Failed
    }
}

impl From<aws_lc_rs::error::KeyRejected> for KeyError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::Unreadable
    }
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySpec {
    /// RSA of so many bits.
    Rsa(u32),
    /// ECDSA on the curve of so many bits.
    Ec(u32),
    /// Ed25519.
    Ed25519,
}

impl KeySpec {
    /// Reads Vault's `key_type` and `key_bits` (0 is the usual).
    pub fn parse(kind: &str, bits: i64) -> Result<Self, KeyError> {
        match (kind, bits) {
            ("rsa" | "ssh-rsa", 0) => Self::parse(kind, RSA_BITS_DEFAULT),
            ("rsa" | "ssh-rsa", 2048 | 3072 | 4096 | 8192) => Ok(Self::Rsa(u32::try_from(bits).unwrap_or_default())),
            ("rsa" | "ssh-rsa", n) if n < 2048 => Err(KeyError::Weak(n)),
            ("rsa" | "ssh-rsa", n) => Err(KeyError::RsaBits(n)),
            ("ec", 0 | 256) | ("ecdsa-sha2-nistp256", _) => Ok(Self::Ec(256)),
            ("ec", 384) | ("ecdsa-sha2-nistp384", _) => Ok(Self::Ec(384)),
            ("ec", 521) | ("ecdsa-sha2-nistp521", _) => Ok(Self::Ec(521)),
            ("ec", n) => Err(KeyError::Curve(kind.to_owned(), n)),
            ("ed25519" | "ssh-ed25519", _) => Ok(Self::Ed25519),
            _ => Err(KeyError::Unknown(kind.to_owned())),
        }
    }
}

/// How an RSA authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaHash {
    /// `rsa-sha2-256`.
    Sha256,
    /// `rsa-sha2-512`.
    Sha512,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(u32, Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key pair.
pub struct PrivateKey(Pair);

impl PrivateKey {
    /// Makes one; slow for RSA.
    pub fn generate(spec: KeySpec) -> Result<Self, KeyError> {
        Ok(Self(match spec {
            KeySpec::Rsa(bits) => Pair::Rsa(Box::new(RsaKeyPair::generate(match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                8192 => KeySize::Rsa8192,
                _ => KeySize::Rsa4096,
            })?)),
            KeySpec::Ec(bits) => Pair::Ec(bits, Box::new(EcdsaKeyPair::generate(curve(bits))?)),
            KeySpec::Ed25519 => Pair::Ed25519(Box::new(Ed25519KeyPair::generate()?)),
        }))
    }

    /// Reads PEM.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("Proc-Type: 4,ENCRYPTED") || text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
            return Err(KeyError::Protected);
        }
        if let Some((_, after)) = text.split_once(&format!("-----BEGIN {OPENSSH}-----")) {
            let (body, _) = after.split_once(&format!("-----END {OPENSSH}-----")).ok_or(KeyError::Unreadable)?;
            let bare: Zeroizing<String> = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
            return from_openssh(&Zeroizing::new(BASE64_STANDARD.decode(bare.as_bytes()).map_err(|_| KeyError::Unreadable)?));
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::Unreadable)?;
        Self::from_der(key.secret_der())
    }

    /// Reads PKCS#8, PKCS#1 or SEC 1.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            return Ok(Self(Pair::Rsa(Box::new(pair))));
        }
        for bits in [256, 384, 521] {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(curve(bits), der) {
                return Ok(Self(Pair::Ec(bits, Box::new(pair))));
            }
        }
        Ok(Self(Pair::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(der)?))))
    }

    /// The form in which it is stored.
    pub fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(Zeroizing::new(match &self.0 {
            Pair::Rsa(p) => AsDer::<Pkcs8V1Der<'_>>::as_der(p.as_ref())?.as_ref().to_vec(),
            Pair::Ec(_, p) => p.to_pkcs8v1()?.as_ref().to_vec(),
            Pair::Ed25519(p) => p.to_pkcs8v1()?.as_ref().to_vec(),
        }))
    }

    /// The form in which it is given to a client, with a newline at its end.
    pub fn pem(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(match &self.0 {
            Pair::Rsa(_) => pem("RSA PRIVATE KEY", inner(&self.pkcs8()?)?),
            Pair::Ec(_, p) => pem("EC PRIVATE KEY", p.private_key().as_der()?.as_ref()),
            Pair::Ed25519(p) => {
                let seed = p.seed()?;
                pem(OPENSSH, &openssh_ed25519(seed.as_be_bytes()?.as_ref(), p.public_key().as_ref(), &self.public()?))
            }
        })
    }

    /// Its public half.
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        let mut blob = Vec::new();
        match &self.0 {
            Pair::Rsa(p) => {
                let numbers = RsaPublic::from_der(p.public_key().as_ref()).map_err(|_| KeyError::Failed)?;
                blob.string(b"ssh-rsa");
                blob.mpint(numbers.e.as_bytes());
                blob.mpint(numbers.n.as_bytes());
            }
            Pair::Ec(bits, p) => {
                blob.string(format!("ecdsa-sha2-nistp{bits}").as_bytes());
                blob.string(format!("nistp{bits}").as_bytes());
                blob.string(p.public_key().as_ref());
            }
            Pair::Ed25519(p) => {
                blob.string(b"ssh-ed25519");
                blob.string(p.public_key().as_ref());
            }
        }
        PublicKey::from_blob(&blob).map_err(|_| KeyError::Failed)
    }

    /// A signature as SSH sends it, its kind included.
    pub fn sign(&self, message: &[u8], hash: RsaHash) -> Result<Vec<u8>, KeyError> {
        let rng = SystemRandom::new();
        let mut out = Vec::new();
        match &self.0 {
            Pair::Rsa(p) => {
                let mut signature = vec![0; p.public_modulus_len()];
                match hash {
                    RsaHash::Sha256 => p.sign(&RSA_PKCS1_SHA256, &rng, message, &mut signature)?,
                    RsaHash::Sha512 => p.sign(&RSA_PKCS1_SHA512, &rng, message, &mut signature)?,
                }
                out.string(if hash == RsaHash::Sha256 { b"rsa-sha2-256" } else { b"rsa-sha2-512" });
                out.string(&signature);
            }
            Pair::Ec(bits, p) => {
                let both = p.sign(&rng, message)?;
                let (r, s) = both.as_ref().split_at(both.as_ref().len() / 2);
                let mut numbers = Vec::new();
                numbers.mpint(r);
                numbers.mpint(s);
                out.string(format!("ecdsa-sha2-nistp{bits}").as_bytes());
                out.string(&numbers);
            }
            Pair::Ed25519(p) => {
                out.string(b"ssh-ed25519");
                out.string(p.try_sign(message)?.as_ref());
            }
        }
        Ok(out)
    }
}

fn curve(bits: u32) -> &'static EcdsaSigningAlgorithm {
    match bits {
        384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
    }
}

#[derive(der::Sequence)]
struct RsaPublic<'a> {
    n: UintRef<'a>,
    e: UintRef<'a>,
}

#[derive(der::Sequence)]
struct RsaPrivate<'a> {
    version: u8,
    n: UintRef<'a>,
    e: UintRef<'a>,
    d: UintRef<'a>,
    p: UintRef<'a>,
    q: UintRef<'a>,
    dp: UintRef<'a>,
    dq: UintRef<'a>,
    qinv: UintRef<'a>,
}

#[derive(der::Sequence)]
struct Pkcs8<'a> {
    version: u8,
    algorithm: AnyRef<'a>,
    key: &'a OctetStringRef,
}

fn inner(pkcs8: &[u8]) -> Result<&[u8], KeyError> {
    Ok(Pkcs8::from_der(pkcs8).map_err(|_| KeyError::Failed)?.key.as_bytes())
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(BASE64_STANDARD.encode(der));
    let mut out = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % PEM_LINE == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str(&format!("\n-----END {label}-----\n"));
    out
}

/// OpenSSH's `PROTOCOL.key`, without encryption.
fn openssh_ed25519(seed: &[u8], point: &[u8], public: &PublicKey) -> Zeroizing<Vec<u8>> {
    let mut secret = Zeroizing::new(Vec::new());
    // Two equal numbers tell a reader that it used the right passphrase; without one any will do.
    secret.u32(0);
    secret.u32(0);
    secret.string(b"ssh-ed25519");
    secret.string(point);
    secret.string(&Zeroizing::new([seed, point].concat()));
    secret.string(b"");
    let padding = (8 - secret.len() % 8) % 8;
    secret.extend((1..=padding).map(|n| u8::try_from(n).unwrap_or_default()));
    let mut out = Zeroizing::new(OPENSSH_MAGIC.to_vec());
    out.string(b"none");
    out.string(b"none");
    out.string(b"");
    out.u32(1);
    out.string(&public.blob);
    out.string(&secret);
    out
}

fn from_openssh(bytes: &[u8]) -> Result<PrivateKey, KeyError> {
    let unreadable = |_| KeyError::Unreadable;
    let mut reader = Reader(bytes.strip_prefix(OPENSSH_MAGIC).ok_or(KeyError::Unreadable)?);
    let cipher = reader.string().map_err(unreadable)?;
    let kdf = reader.string().map_err(unreadable)?;
    reader.string().map_err(unreadable)?;
    if cipher != b"none" || kdf != b"none" {
        return Err(KeyError::Protected);
    }
    if reader.u32().map_err(unreadable)? != 1 {
        return Err(KeyError::Unreadable);
    }
    reader.string().map_err(unreadable)?; // the public key, which stands inside as well
    let mut secret = Reader(reader.string().map_err(unreadable)?);
    if secret.u32().map_err(unreadable)? != secret.u32().map_err(unreadable)? {
        return Err(KeyError::Unreadable);
    }
    let kind = secret.string().map_err(unreadable)?;
    let mut next = || secret.string().map_err(unreadable);
    match kind {
        b"ssh-ed25519" => {
            let point = next()?;
            let seed = next()?.get(..32).ok_or(KeyError::Unreadable)?;
            Ok(PrivateKey(Pair::Ed25519(Box::new(Ed25519KeyPair::from_seed_and_public_key(seed, point)?))))
        }
        b"ssh-rsa" => {
            let [n, e, d, qinv, p, q] = [next()?, next()?, next()?, next()?, next()?, next()?];
            from_rsa_numbers(n, e, d, qinv, p, q)
        }
        b"ecdsa-sha2-nistp256" => from_point(256, next()?, next()?, next()?),
        b"ecdsa-sha2-nistp384" => from_point(384, next()?, next()?, next()?),
        b"ecdsa-sha2-nistp521" => from_point(521, next()?, next()?, next()?),
        _ => Err(KeyError::Unreadable),
    }
}

fn from_point(bits: u32, _curve: &[u8], point: &[u8], number: &[u8]) -> Result<PrivateKey, KeyError> {
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or_default();
    let bare: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
    let mut padded = Zeroizing::new(vec![0; length.saturating_sub(bare.len())]);
    padded.extend(bare);
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve(bits), &padded, point)?;
    Ok(PrivateKey(Pair::Ec(bits, Box::new(pair))))
}

fn from_rsa_numbers(n: &[u8], e: &[u8], d: &[u8], qinv: &[u8], p: &[u8], q: &[u8]) -> Result<PrivateKey, KeyError> {
    let uint = |bytes| UintRef::new(bytes).map_err(|_| KeyError::Unreadable);
    let (dp, dq) = (remainder(d, p)?, remainder(d, q)?);
    let numbers = RsaPrivate {
        version: 0,
        n: uint(n)?,
        e: uint(e)?,
        d: uint(d)?,
        p: uint(p)?,
        q: uint(q)?,
        dp: uint(&dp)?,
        dq: uint(&dq)?,
        qinv: uint(qinv)?,
    };
    let der = Zeroizing::new(numbers.to_der().map_err(|_| KeyError::Unreadable)?);
    Ok(PrivateKey(Pair::Rsa(Box::new(RsaKeyPair::from_der(&der)?))))
}

/// `d mod (prime - 1)`.
fn remainder(d: &[u8], prime: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Longer than any key that is accepted: 16384 bits.
    if d.len() > 2049 || prime.len() > 2049 {
        return Err(KeyError::Unreadable);
    }
    let d = BoxedUint::from_be_slice_vartime(d);
    let less = BoxedUint::from_be_slice_vartime(prime).wrapping_sub(BoxedUint::one());
    let less: NonZero<BoxedUint> = Option::from(NonZero::new(less)).ok_or(KeyError::Unreadable)?;
    Ok(Zeroizing::new(d.rem(&less).to_be_bytes().to_vec()))
}
