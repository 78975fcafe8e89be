//! What several groups of `sys/` share: raw replies, errors of commits, and what the engine remembers between requests.

use engine::{EngineError, Kind, Response};
use parking_lot::Mutex;
use secret::SecretBytes;
use serde::Serialize;

use crate::core::CommitError;
use crate::pipeline::{STORAGE_FULL, UNKNOWN_FATE};

/// Kept in memory for as long as the server is unsealed.
#[derive(Default)]
pub(crate) struct Memory {
    /// The request that rotated the key last: run anew after a conflict, it must not rotate again.
    pub(crate) rotated_by: Mutex<String>,
    /// The last step of a root token's making: the request's id and its answer.
    pub(crate) ceremony: Mutex<Option<(String, SecretBytes)>>,
}

/// JSON without envelope, with the final newline Go writes.
pub(crate) fn bare_json<T: Serialize>(value: &T, status: u16) -> Result<Response, EngineError> {
    let mut body = api_types::json::to_vec(value).map_err(|_| EngineError::internal("internal error"))?;
    body.push(b'\n');
    Ok(Response { kind: Kind::Bare { content_type: "application/json".into(), body, status }, ..Response::default() })
}

/// Plain text without envelope.
pub(crate) fn bare_text(text: impl Into<String>, content_type: &str, status: u16) -> Response {
    let kind = Kind::Bare { content_type: content_type.to_owned(), body: text.into().into_bytes(), status };
    Response { kind, ..Response::default() }
}

/// 404 with a text, which no engine error gives: paths that exist only in Vault Enterprise.
pub(crate) fn enterprise_only() -> Result<Option<Response>, EngineError> {
    gone("enterprise-only feature")
}

/// 404 with a text.
pub(crate) fn gone(text: &str) -> Result<Option<Response>, EngineError> {
    bare_json(&serde_json::json!({ "errors": [text] }), 404).map(Some)
}

/// What the client reads when a change of the server's own could not be committed.
pub(crate) fn uncommitted(error: CommitError) -> EngineError {
    use replication::ProposeError as P;
    match error {
        CommitError::Work(e) => e,
        CommitError::Propose(P::NotLeader { .. } | P::Shutdown) => EngineError::Unavailable(crate::standby::NO_LEADER.into()),
        CommitError::Contended => EngineError::Unavailable("overloaded, try again later".into()),
        CommitError::Propose(P::Full(_)) => EngineError::Unavailable(STORAGE_FULL.into()),
        CommitError::Propose(P::Unknown) => EngineError::Unavailable(UNKNOWN_FATE.into()),
        CommitError::Propose(e @ P::TooLarge { .. }) => EngineError::Invalid(e.to_string()),
        CommitError::Propose(_) | CommitError::Barrier(_) => {
            tracing::error!(error = %error, "a change could not be committed");
            EngineError::internal("internal error")
        }
    }
}

/// Errors of the lease and audit rooms as Vault's `sys/` shows them: the client's to mend, in plain words.
pub(crate) fn as_invalid(error: EngineError) -> EngineError {
    match error {
        EngineError::Internal(text) | EngineError::Rejected(text) => EngineError::Invalid(text),
        other => other,
    }
}

/// 200 with an envelope that holds nothing, where other writes answer 204: a lease that is none makes the difference.
pub(crate) fn nothing_but_an_envelope() -> Response {
    Response { secret: Some(Box::default()), ..Response::default() }
}
