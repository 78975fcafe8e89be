//! What leaves the core: an answer or a failure, still without a status code.

use api_types::{Map, multi_error};
use engine::{EngineError, Response};
use tokens::WrapInfo;

/// The kind of a failure; `server-http` has the one table from here to status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is wrong.
    Invalid,
    /// The caller may not.
    Denied,
    /// Nothing is there.
    NotFound,
    /// The path knows no such operation.
    UnsupportedOperation,
    /// The body or an entry is too large.
    TooLarge,
    /// A quota is used up.
    Limited,
    /// The server's fault.
    Internal,
    /// Sealed, no leader, or something outside does not answer.
    Unavailable,
}

/// A failure as the client sees it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// The texts in `errors`; may be empty.
    pub errors: Vec<String>,
    /// `data` beside `errors`.
    pub data: Option<Map>,
}

impl Failure {
    /// A failure with one text.
    #[must_use]
    pub fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        Self { kind, errors: vec![text.into()], data: None }
    }

    /// 404 with empty `errors`.
    #[must_use]
    pub fn not_found() -> Self {
        Self { kind: FailureKind::NotFound, errors: Vec::new(), data: None }
    }

    /// The one answer while sealed.
    #[must_use]
    pub fn sealed() -> Self {
        Self::new(FailureKind::Unavailable, "Vault is sealed")
    }

    /// The server's fault, without details.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(FailureKind::Internal, "internal error")
    }

    /// From an engine's refusal. Where a caller with a token asks, Vault frames what its engines raise as errors (rather than
    /// answer) as a list of one; clients match that text, so it is kept.
    #[must_use]
    pub fn from_engine(error: &EngineError, framed: bool) -> Self {
        let frame = |text: &str| if framed { multi_error(&[text]) } else { text.to_owned() };
        let text = error.to_string();
        match error {
            EngineError::Invalid(_) => Self::new(FailureKind::Invalid, text),
            EngineError::InvalidWithData { data, .. } => {
                Self { data: Some(data.clone()), ..Self::new(FailureKind::Invalid, text) }
            }
            EngineError::Rejected(_) => Self::new(FailureKind::Invalid, frame(&text)),
            EngineError::Denied(_) => Self::new(FailureKind::Denied, text),
            EngineError::NotFound => Self::not_found(),
            EngineError::Absent(_) => Self::new(FailureKind::NotFound, text),
            EngineError::UnsupportedOperation => Self::new(FailureKind::UnsupportedOperation, frame(&text)),
            EngineError::UnsupportedPath => Self::new(FailureKind::NotFound, frame(&text)),
            EngineError::Limited(_) => Self::new(FailureKind::Limited, text),
            EngineError::Unavailable(_) => Self::new(FailureKind::Unavailable, text),
            EngineError::Storage(storage::TxnError::Sealed) => Self::sealed(),
            EngineError::Internal(_) => Self::new(FailureKind::Internal, frame(&text)),
            EngineError::Storage(_) | EngineError::Entropy(_) => Self::internal(),
        }
    }
}

/// A complete answer, ready to be recorded and then serialised.
#[derive(Debug)]
pub enum Answer {
    /// The engine's response in its envelope.
    Response {
        /// The request's id.
        request_id: String,
        /// Type of the mount that served it.
        mount_type: String,
        /// The response.
        response: Box<Response>,
        /// A list that came out empty is a 404 unless it carries warnings.
        is_list: bool,
        /// The request was a read: nothing is a 404, not a 204.
        is_read: bool,
        /// The keys of `data` stand at the top level as well.
        inject: bool,
    },
    /// The response was wrapped.
    Wrapped(Box<WrapInfo>),
    /// Refused.
    Failure(Failure),
}
