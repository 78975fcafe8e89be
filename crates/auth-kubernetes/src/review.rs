//! What is asked of an API server and what its answers mean: TokenReview, namespace labels, service account annotations
//! (contract §1.6). Pure; [`Reviewer`] is the seam to the network.

use std::collections::BTreeMap;

use engine::BoxFuture;
pub use outbound::{Answer, NoAnswer, Trust};
use secret::{SecretString, Time};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::claims::ServiceAccount;

/// Annotations with this prefix become alias metadata, without it.
const ANNOTATION_PREFIX: &str = "vault.hashicorp.com/alias-metadata-";

/// Metadata that comes from the token and from nowhere else.
const RESERVED_METADATA: [&str; 4] =
    ["service_account_name", "service_account_namespace", "service_account_secret_name", "service_account_uid"];

/// The API server to ask, and whose certificates to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// URL; one trailing `/` is ignored.
    pub host: String,
    /// Who may vouch for the server's certificate.
    pub trust: Trust,
}

/// One question to an API server. No `Debug`: it may hold the client's token.
pub enum Question {
    /// Is this token good, for one of these audiences? No audiences means the server's own.
    TokenReview {
        /// The client's token.
        token: SecretString,
        /// Wanted audiences.
        audiences: Vec<String>,
    },
    /// What are this namespace's labels? The name must be a valid one.
    Namespace(String),
    /// What are this account's annotations? The names must be valid ones.
    ServiceAccount {
        /// Namespace of the account.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Carries questions to an API server. The network is behind it; tests put a table there.
pub trait Reviewer: Send + Sync + 'static {
    /// Asks `target`, as `bearer`. `now` is only used to age what is cached.
    fn ask<'a>(
        &'a self,
        target: &'a Target,
        bearer: &'a SecretString,
        question: &'a Question,
        now: Time,
    ) -> BoxFuture<'a, Result<Answer, NoAnswer>>;
}

/// Why a token was not vouched for. For the log only: clients get `permission denied`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewError {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("lookup failed: service account unauthorized; this could mean it has been deleted or recreated with a new token")]
    Unauthorized,
    #[error("lookup failed: the API server answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("lookup failed: the API server's answer is not a TokenReview")]
    Unreadable,
    #[error("lookup failed: {0}")]
    Reported(String),
    #[error("lookup failed: service account jwt not valid")]
    NotAuthenticated,
    #[error("lookup failed: the token is not for the wanted audience")]
    Audience,
    #[error("lookup failed: unexpected username format")]
    Username,
    #[error("the token's {0} is not what the API server says")]
    Mismatch(&'static str),
}

/// Why an object could not be read. Shown to the client where the contract says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("failed to get {what} (code {status} status {message})")]
    Refused { what: &'static str, status: u16, message: String },
    #[error("failed to read {what}")]
    Unreadable { what: &'static str },
    #[error(
        "entity alias metadata keys for only internal use found from the client token's associated service account annotations: \
         keys=[{0}]"
    )]
    Reserved(String),
}

impl Question {
    /// The HTTP method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::TokenReview { .. } => "POST",
            Self::Namespace(_) | Self::ServiceAccount { .. } => "GET",
        }
    }

    /// The path, below `host`.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::TokenReview { .. } => "/apis/authentication.k8s.io/v1/tokenreviews".to_owned(),
            Self::Namespace(name) => format!("/api/v1/namespaces/{name}"),
            Self::ServiceAccount { namespace, name } => format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}"),
        }
    }

    /// The JSON body; none for reads.
    #[must_use]
    pub fn body(&self) -> Option<Vec<u8>> {
        let Self::TokenReview { token, audiences } = self else { return None };
        let mut spec = json!({ "token": token.expose() });
        if let (false, Some(map)) = (audiences.is_empty(), spec.as_object_mut()) {
            map.insert("audiences".to_owned(), audiences.clone().into());
        }
        let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec });
        serde_json::to_vec(&review).ok()
    }
}

#[derive(Deserialize)]
struct TokenReview {
    #[serde(default)]
    status: ReviewStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReviewStatus {
    authenticated: bool,
    error: String,
    user: User,
    audiences: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What an API server says instead of an object.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
}

/// Whether the API server vouches for exactly this account, for one of the audiences that were asked for.
pub(crate) fn judge(answer: &Answer, audiences: &[String], account: &ServiceAccount) -> Result<(), ReviewError> {
    if answer.status == 401 {
        return Err(ReviewError::Unauthorized);
    }
    if !(200..=206).contains(&answer.status) || status(answer).kind == "Status" {
        return Err(ReviewError::Refused { status: answer.status, message: status(answer).message });
    }
    let review: TokenReview = parse(&answer.body).ok_or(ReviewError::Unreadable)?;
    let status = review.status;
    if !status.error.is_empty() {
        return Err(ReviewError::Reported(status.error));
    }
    if !status.authenticated {
        return Err(ReviewError::NotAuthenticated);
    }
    // A server that does not know audiences names none, and then the token may be meant for somebody else.
    let vouched = status.audiences.unwrap_or_default();
    if !audiences.is_empty() && !audiences.iter().any(|a| vouched.contains(a)) {
        return Err(ReviewError::Audience);
    }
    let mut parts = status.user.username.split(':');
    let (Some("system"), Some("serviceaccount"), Some(namespace), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(ReviewError::Username);
    };
    if account.name != name {
        return Err(ReviewError::Mismatch("service account name"));
    }
    if account.uid.is_empty() || account.uid != status.user.uid {
        return Err(ReviewError::Mismatch("service account uid"));
    }
    if account.namespace != namespace {
        return Err(ReviewError::Mismatch("namespace"));
    }
    Ok(())
}

/// The labels of a namespace.
pub(crate) fn labels(answer: &Answer) -> Result<BTreeMap<String, String>, ObjectError> {
    Ok(object(answer, "namespace")?.labels.unwrap_or_default())
}

/// What a service account's annotations add to the alias.
pub(crate) fn alias_metadata(answer: &Answer) -> Result<BTreeMap<String, String>, ObjectError> {
    let annotations = object(answer, "service account")?.annotations.unwrap_or_default();
    let metadata: BTreeMap<String, String> = annotations
        .into_iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATION_PREFIX)?.to_owned(), value)))
        .collect();
    let reserved: Vec<String> =
        RESERVED_METADATA.iter().filter(|k| metadata.contains_key(**k)).map(|k| format!("{k:?}")).collect();
    if reserved.is_empty() { Ok(metadata) } else { Err(ObjectError::Reserved(reserved.join(" "))) }
}

fn object(answer: &Answer, what: &'static str) -> Result<Metadata, ObjectError> {
    if answer.status != 200 {
        return Err(ObjectError::Refused { what, status: answer.status, message: status(answer).message });
    }
    parse::<Object>(&answer.body).map(|o| o.metadata).ok_or(ObjectError::Unreadable { what })
}

fn status(answer: &Answer) -> Status {
    parse(&answer.body).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests;
