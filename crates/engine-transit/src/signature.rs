//! Signatures and MACs with a named key.

use secret::Entropy;

use crate::codec;
use crate::crypto::hash::Hash;
use crate::crypto::rsa::Scheme;
use crate::crypto::rsa_padding::Salt;
use crate::crypto::{ec, ed25519};
use crate::fault::Fault;
use crate::kind::Family;
use crate::policy::{KeyEntry, Policy, Prepared};

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marshaling {
    /// DER for ECDSA, standard base64.
    Asn1,
    /// Two numbers side by side for ECDSA, URL-safe base64.
    Jws,
}

/// How to sign or verify.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) hash: Hash,
    /// The input is a hash already.
    pub(crate) prehashed: bool,
    pub(crate) marshaling: Marshaling,
    /// `pss`, `pkcs1v15`, or what the client sent instead; empty is `pss`.
    pub(crate) algorithm: String,
    pub(crate) salt: Salt,
}

/// A signature.
pub(crate) struct Signed {
    /// `vault:v<n>:…`.
    pub(crate) text: String,
    pub(crate) version: i64,
    /// The public key of a derived key.
    pub(crate) public_key: Option<Vec<u8>>,
}

impl Manner {
    fn scheme(&self) -> Result<Scheme, Fault> {
        match self.algorithm.as_str() {
            "" | "pss" => Ok(Scheme::Pss(self.salt)),
            "pkcs1v15" => Ok(Scheme::Pkcs1v15),
            other => Err(Fault::Server(format!("unsupported rsa signature algorithm {other}"))),
        }
    }

    fn hashed(&self, policy: &Policy, input: &[u8]) -> Vec<u8> {
        if self.prehashed || !policy.kind.hashes_input() { input.to_vec() } else { self.hash.of(&[input]) }
    }
}

impl Policy {
    /// Signs the input.
    pub(crate) fn sign(
        &self,
        version: i64,
        context: &[u8],
        input: &[u8],
        manner: &Manner,
        entropy: &dyn Entropy,
    ) -> Result<Signed, Fault> {
        let version = self.writing_version(version, "signing")?;
        let entry = self.entry(version)?;
        if entry.lacks_private_half() {
            return Err(ec::no_private_half());
        }
        let input = manner.hashed(self, input);
        let mut public_key = None;
        let bytes = if self.kind.family() == Family::Ed25519 && self.derived {
            let key = self.derived_ed25519(entry, context)?;
            public_key = key.get(ed25519::HALF_BYTES..).map(<[u8]>::to_vec);
            ed25519::prepare(&key)?.try_sign(&input)?.as_ref().to_vec()
        } else {
            match entry.prepared(self.kind)? {
                Prepared::Ed25519(key) => key.try_sign(&input)?.as_ref().to_vec(),
                Prepared::Rsa(key) => key.sign(manner.scheme()?, manner.hash, &input, entropy)?,
                Prepared::Ec(key) => {
                    let der = key.sign(&input)?;
                    match manner.marshaling {
                        Marshaling::Asn1 => der,
                        Marshaling::Jws => key.fixed(&der).ok_or_else(|| Fault::server("signature could not be computed"))?,
                    }
                }
                Prepared::Cipher(_) => return Err(Fault::Server(format!("unsupported key type {}", self.kind))),
            }
        };
        let body = match manner.marshaling {
            Marshaling::Asn1 => codec::encode(bytes),
            Marshaling::Jws => codec::encode_url(&bytes),
        };
        Ok(Signed { text: self.prefix(version) + &body, version, public_key })
    }

    /// Whether the signature is good.
    pub(crate) fn verify(&self, context: &[u8], input: &[u8], signature: &str, manner: &Manner) -> Result<bool, Fault> {
        let (version, body) = self.split(signature, "signature")?;
        self.check_readable(version, "signature")?;
        let bytes = match manner.marshaling {
            Marshaling::Asn1 => codec::decode(body).ok(),
            Marshaling::Jws => codec::decode_url(body),
        };
        let bytes = bytes.ok_or_else(|| Fault::caller("invalid base64 signature value"))?;
        let entry = self.entry(version)?;
        let input = manner.hashed(self, input);
        if self.kind.family() == Family::Ed25519 {
            let public = if self.derived {
                self.derived_ed25519(entry, context)?.get(ed25519::HALF_BYTES..).unwrap_or_default().to_vec()
            } else {
                codec::decode(&entry.public_key).map_err(|_| Fault::server("stored key is not consistent"))?
            };
            return Ok(ed25519::verify(&public, &input, &bytes));
        }
        match entry.prepared(self.kind)? {
            Prepared::Rsa(key) => key.verify(manner.scheme()?, manner.hash, &input, &bytes),
            Prepared::Ec(key) => {
                let der = match manner.marshaling {
                    Marshaling::Jws => key.der_of_fixed(&bytes),
                    Marshaling::Asn1 if ec::numbers(&bytes).is_some() => bytes,
                    Marshaling::Asn1 => return Err(Fault::caller("supplied signature is invalid")),
                };
                key.verify(&input, &der)
            }
            _ => Err(Fault::Server(format!("unsupported key type {}", self.kind))),
        }
    }

    /// The Ed25519 key (seed and public key) of a context.
    pub(crate) fn derived_ed25519(&self, entry: &KeyEntry, context: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, Fault> {
        let seed =
            self.derive(entry, context, ed25519::HALF_BYTES).map_err(|e| Fault::Server(format!("error deriving key: {e}")))?;
        ed25519::expand(&seed)
    }

    /// The key for HMAC of a version.
    pub(crate) fn hmac_key(&self, version: i64) -> Result<&[u8], Fault> {
        if version < 0 {
            return Err(Fault::caller("key version does not exist (cannot be negative)"));
        }
        if version > self.latest_version {
            return Err(Fault::Caller(format!("key version does not exist; latest key version is {}", self.latest_version)));
        }
        let entry = self.entry(version)?;
        let key = if self.kind.family() == Family::Hmac { &entry.key } else { &entry.hmac_key };
        if key.is_empty() {
            return Err(Fault::caller("no HMAC key exists for that key version"));
        }
        Ok(key.bytes())
    }
}
