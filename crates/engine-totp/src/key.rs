//! A key as it is kept, and how one is made of what a client sends. The texts are Vault's.

use engine::{EngineError, Fields};
use secret::Entropy;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::base32;
use crate::code::{Algorithm, Scheme};
use crate::otpauth::OtpAuth;

/// Size of a made key unless asked otherwise: as long as the output of SHA-1 (RFC 4226 §4, R6).
const KEY_BYTES_DEFAULT: i64 = 20;
/// Longest key that is made: twice the block of SHA-512; longer ones are hashed down anyway.
const KEY_BYTES_MAX: i64 = 256;
/// Longest key that is taken over, in characters of Base32.
const KEY_MAX_CHARS: usize = 4096;
const PERIOD_SECS_DEFAULT: i64 = 30;
const DIGITS_DEFAULT: i64 = 6;
const SKEW_DEFAULT: i64 = 1;

/// A key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The shared secret in Base32.
    pub secret: String,
    /// Who issued it.
    pub issuer: String,
    /// Whose it is.
    pub account_name: String,
    /// Seconds.
    pub period: u64,
    /// The hash.
    pub algorithm: Algorithm,
    /// 6 or 8.
    pub digits: u32,
    /// 0 or 1.
    pub skew: u64,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl Key {
    /// A key of what was sent: made, or taken over from `key` or `url`.
    pub fn from_fields(fields: &Fields, entropy: &dyn Entropy) -> Result<Self, EngineError> {
        let refuse = |text: &str| Err(EngineError::invalid(text));
        let generate = fields.bool("generate").unwrap_or(false);
        let mut issuer = fields.str("issuer").to_owned();
        let mut account_name = fields.str("account_name").to_owned();
        let mut text = Zeroizing::new(fields.str("key").to_owned());
        let mut digits = fields.int("digits").unwrap_or(DIGITS_DEFAULT);
        let mut period =
            fields.duration("period").map_or(PERIOD_SECS_DEFAULT, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        let mut algorithm = fields.text("algorithm").unwrap_or("SHA1").to_owned();
        let key_bytes = fields.int("key_size").unwrap_or(KEY_BYTES_DEFAULT);
        let skew = fields.int("skew").unwrap_or(SKEW_DEFAULT);
        let url = fields.str("url");
        if generate {
            if !text.is_empty() {
                return refuse("a key should not be passed if generate is true");
            }
            if !url.is_empty() {
                return refuse("a url should not be passed if generate is true");
            }
        } else if !url.is_empty() {
            let Some(said) = OtpAuth::parse(url) else { return refuse("an error occurred while parsing url string") };
            let number = |text: &Option<String>, name: &str, into: &mut i64| match text {
                None => Ok(()),
                Some(t) => t
                    .parse()
                    .map(|n| *into = n)
                    .map_err(|_| EngineError::Invalid(format!("an error occurred while parsing {name} value in url"))),
            };
            number(&said.period, "period", &mut period)?;
            number(&said.digits, "digits", &mut digits)?;
            issuer = said.issuer.unwrap_or(issuer);
            account_name = said.account_name;
            algorithm = said.algorithm.unwrap_or(algorithm);
            text = said.secret;
        }
        let Some(algorithm) = Algorithm::parse(&algorithm) else { return refuse("the algorithm value is not valid") };
        if digits != 6 && digits != 8 {
            return refuse("the digits value can only be 6 or 8");
        }
        if period <= 0 {
            return refuse("the period value must be greater than zero");
        }
        if skew != 0 && skew != 1 {
            return refuse("the skew value must be 0 or 1");
        }
        let secret = if generate {
            if account_name.is_empty() {
                return refuse("the account_name value is required for generated keys");
            }
            if issuer.is_empty() {
                return refuse("the issuer value is required for generated keys");
            }
            made(key_bytes, entropy)?
        } else {
            taken_over(&text)?
        };
        Ok(Self {
            secret: secret.as_str().to_owned(),
            issuer,
            account_name,
            period: period.unsigned_abs(),
            algorithm,
            digits: if digits == 8 { 8 } else { 6 },
            skew: skew.unsigned_abs(),
        })
    }

    /// How its codes are made.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        Scheme { algorithm: self.algorithm, digits: self.digits, period_secs: self.period, skew: self.skew }
    }

    /// The secret's bytes.
    pub fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, EngineError> {
        base32::decode(&self.secret).map_err(|_| EngineError::internal("the stored key cannot be read"))
    }
}

fn made(bytes: i64, entropy: &dyn Entropy) -> Result<Zeroizing<String>, EngineError> {
    if bytes <= 0 {
        return Err(EngineError::invalid("the key_size value must be greater than zero"));
    }
    if bytes > KEY_BYTES_MAX {
        return Err(EngineError::Invalid(format!("the key_size value must not be greater than {KEY_BYTES_MAX}")));
    }
    let raw = Zeroizing::new(entropy.bytes(usize::try_from(bytes).unwrap_or_default())?);
    Ok(base32::encode(&raw))
}

fn taken_over(text: &str) -> Result<Zeroizing<String>, EngineError> {
    if text.is_empty() {
        return Err(EngineError::invalid("the key value is required"));
    }
    if text.len() > KEY_MAX_CHARS {
        return Err(EngineError::invalid("invalid key value: too long"));
    }
    let bytes = base32::decode(text).map_err(|e| EngineError::Invalid(format!("invalid key value: {e}")))?;
    Ok(base32::encode(&bytes))
}
