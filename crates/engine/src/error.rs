//! How an engine refuses. Variants say whose fault it is; the status code is the edge's business.

use api_types::duration::DurationError;
use secret::EntropyError;
use storage::TxnError;

/// Why an engine gives no ordinary answer. The texts are what the client reads, so they are Vault's where Vault has one,
/// and they never hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request is wrong (400). The text is shown as it is.
    #[error("{0}")]
    Invalid(String),
    /// The request is wrong, and data explains it (400 with `data`).
    #[error("{text}")]
    InvalidWithData {
        /// Error text.
        text: String,
        /// The `data` beside `errors`.
        data: api_types::Map,
    },
    /// The request is wrong (400), in the words of an internal error: where the caller holds a token the core frames the text
    /// as Vault does (`1 error occurred:…`), which clients match.
    #[error("{0}")]
    Rejected(String),
    /// The caller may not (403). The text is shown as it is.
    #[error("{0}")]
    Denied(String),
    /// Nothing is there (404, empty `errors`).
    #[error("not found")]
    NotFound,
    /// Nothing is there, in words (404). The text is shown as it is.
    #[error("{0}")]
    Absent(String),
    /// The path exists but not for this operation (405).
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// No path of the engine matches (404).
    #[error("unsupported path")]
    UnsupportedPath,
    /// A limit on rate or number is reached (429).
    #[error("{0}")]
    Limited(String),
    /// Something outside does not answer now (503).
    #[error("{0}")]
    Unavailable(String),
    /// The server's fault, with a text that is safe to show (500).
    #[error("{0}")]
    Internal(String),
    /// Storage failed (500, or 503 when sealed).
    #[error(transparent)]
    Storage(TxnError),
    /// No randomness (500).
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl EngineError {
    /// A client's mistake, in words.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// A refusal, in words.
    pub fn denied(text: impl Into<String>) -> Self {
        Self::Denied(text.into())
    }

    /// The server's fault, in words that are safe to show.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }
}

impl From<TxnError> for EngineError {
    /// A name that cannot be kept is the client's mistake, not the storage's.
    fn from(e: TxnError) -> Self {
        match e {
            TxnError::Name(text) => Self::Rejected(text.to_owned()),
            other => Self::Storage(other),
        }
    }
}

impl From<DurationError> for EngineError {
    fn from(e: DurationError) -> Self {
        Self::Invalid(e.to_string())
    }
}
