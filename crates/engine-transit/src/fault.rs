//! Why a cryptographic operation gives no result, before it is known how the path that asked for it reports that.

use engine::EngineError;

/// Texts are what the client reads, so they are Vault's where Vault has one; none holds a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The input is wrong.
    #[error("{0}")]
    Caller(String),
    /// The operation failed on our side of the line.
    #[error("{0}")]
    Server(String),
}

impl Fault {
    pub(crate) fn caller(text: impl Into<String>) -> Self {
        Self::Caller(text.into())
    }

    pub(crate) fn server(text: impl Into<String>) -> Self {
        Self::Server(text.into())
    }
}

impl From<Fault> for EngineError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Caller(text) => Self::Invalid(text),
            Fault::Server(text) => Self::Internal(text),
        }
    }
}

impl From<secret::EntropyError> for Fault {
    fn from(e: secret::EntropyError) -> Self {
        Self::Server(e.to_string())
    }
}

/// AWS-LC says nothing more than that it failed.
impl From<aws_lc_rs::error::Unspecified> for Fault {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Server("cryptographic operation failed".to_owned())
    }
}
