//! Batch tokens: the entry itself, sealed, is the token. Nothing is stored, nothing can be renewed or revoked.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::EngineError;
use secret::{SecretBytes, SecretString};

use crate::TokenEntry;
use crate::limits::MAX_TOKEN_BYTES;

/// What every batch token begins with.
pub(crate) const PREFIX: &str = "hvb.";

/// Seals entries for batch tokens; given by the core from the barrier.
pub trait BatchCipher: Send + Sync {
    /// Seals a plaintext, authenticated.
    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, EngineError>;

    /// Opens what `seal` made; `Ok(None)` if it is anything else.
    fn open(&self, sealed: &[u8]) -> Result<Option<SecretBytes>, EngineError>;
}

/// Makes the token of an entry.
pub(crate) fn encode(cipher: &dyn BatchCipher, entry: &TokenEntry) -> Result<SecretString, EngineError> {
    let plain =
        SecretBytes::new(serde_json::to_vec(entry).map_err(|_| EngineError::internal("a batch token cannot be encoded"))?);
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(cipher.seal(plain.expose())?));
    if token.len() > MAX_TOKEN_BYTES {
        return Err(EngineError::Invalid(format!("batch token would be longer than {MAX_TOKEN_BYTES} bytes")));
    }
    Ok(SecretString::new(token))
}

/// Reads a token; `None` if it is not one of ours.
pub(crate) fn decode(cipher: &dyn BatchCipher, token: &str) -> Result<Option<Arc<TokenEntry>>, EngineError> {
    let Some(sealed) = token.strip_prefix(PREFIX).and_then(|t| URL_SAFE_NO_PAD.decode(t).ok()) else { return Ok(None) };
    let Some(plain) = cipher.open(&sealed)? else { return Ok(None) };
    Ok(serde_json::from_slice(plain.expose()).ok().map(Arc::new))
}
