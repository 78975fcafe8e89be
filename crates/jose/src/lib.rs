//! Signed tokens: compact JWS (RFC 7515), the keys they are checked with (RFC 7517, RFC 7638) and the registered claims of a JWT
//! (RFC 7519).
//!
//! The way of a token: [`Jws::parse`] takes it apart, [`Jws::verify`] or [`JwkSet::verify`] gives its [`Claims`] and nothing else
//! does, [`Claims::check`] looks at times, issuer and audience. The way back: [`PrivateKey::sign`].
//!
//! Deliberately absent: HMAC and unsigned tokens (no code path can confuse a public key with a secret), encryption (JWE), JSON
//! serialisation, `crit` extensions, keys that a header brings along (`jku`, `jwk`, `x5u`, `x5c`), and any fetching of keys.

mod algorithm;
mod claims;
mod jwk;
mod jws;
mod limits;
mod private;
mod public;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use claims::{Claims, ClaimsError, Expected, TimeRules};
pub use jwk::{Jwk, JwkError, JwkSet};
pub use jws::{Jws, JwsError};
pub use limits::{JWKS_MAX_BYTES, JWS_MAX_BYTES, NUMERIC_DATE_MAX_SECONDS, SET_MAX_KEYS};
pub use private::{PrivateKey, PrivateKeyError};
pub use public::{PublicKey, PublicKeyError};
