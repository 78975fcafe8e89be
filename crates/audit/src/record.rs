//! What is recorded, as plain values. Each device hashes on its own while it writes (see `line`), because each has a salt of
//! its own.
//!
//! Deliberately absent: hashing, JSON names, and defaults that could hide a fact: an empty field is left out of the line.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use api_types::{Map, Operation};
use secret::{SecretString, Time};

/// A request about to be carried out, or refused.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// When the entry is made.
    pub time: Time,
    /// Who asks; `None` if no token was found.
    pub auth: Option<AuthRecord>,
    /// What is asked.
    pub request: RequestFacts,
    /// The error text of a refusal. Written in plain, so it must hold no secret.
    pub error: Option<String>,
}

/// An answer about to leave.
#[derive(Debug, Clone)]
pub struct ResponseRecord {
    /// When the entry is made.
    pub time: Time,
    /// Who asked.
    pub auth: Option<AuthRecord>,
    /// What was asked.
    pub request: RequestFacts,
    /// What is answered.
    pub response: ResponseFacts,
    /// The error text. Written in plain, so it must hold no secret.
    pub error: Option<String>,
}

/// A token and what it stands for: of the caller, or in the answer to a login.
#[derive(Debug, Clone, Default)]
pub struct AuthRecord {
    /// The token in the form the client presented (or is given). Hashed.
    pub client_token: SecretString,
    /// Its accessor. Hashed unless the device has `hmac_accessor=false`.
    pub accessor: String,
    /// The token's display name.
    pub display_name: String,
    /// All policies.
    pub policies: Vec<String>,
    /// Policies on the token.
    pub token_policies: Vec<String>,
    /// Policies through identity.
    pub identity_policies: Vec<String>,
    /// The token goes without the `default` policy.
    pub no_default_policy: bool,
    /// The token's metadata. Written in plain, as Vault does.
    pub metadata: BTreeMap<String, String>,
    /// Uses the token was made with; 0 means any number.
    pub num_uses: u64,
    /// Uses left; 0 if the uses are not counted.
    pub remaining_uses: u64,
    /// The entity, empty if there is none.
    pub entity_id: String,
    /// This login made the entity.
    pub entity_created: bool,
    /// `service` or `batch`; `default` where no token was needed.
    pub token_type: String,
    /// The token's life in seconds; 0 is left out.
    pub token_ttl_seconds: u64,
    /// When the token was made.
    pub token_issue_time: Option<Time>,
    /// The decision.
    pub policy_results: Option<PolicyResults>,
}

/// The decision on a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyResults {
    /// Whether it may go on.
    pub allowed: bool,
    /// Names of the policies that allowed it.
    pub granting: Vec<String>,
    /// Why it was refused; never a value. Not in Vault's lines: ours say what the client is not told.
    pub reason: Option<String>,
}

/// A header that is registered for audit (`sys/config/auditing/request-headers`).
#[derive(Debug, Clone, Default)]
pub struct AuditedHeader {
    /// The values as they came.
    pub values: Vec<String>,
    /// Whether they are hashed.
    pub hmac: bool,
}

/// What was asked.
#[derive(Clone)]
pub struct RequestFacts {
    /// The `request_id` of the answer.
    pub id: String,
    /// The entity, or a name for the token's set of policies.
    pub client_id: String,
    /// The operation, `create` and `update` already told apart.
    pub operation: Operation,
    /// Where the engine is mounted, with a trailing `/`.
    pub mount_point: String,
    /// `kv`, `token`, …
    pub mount_type: String,
    /// `secret` or `auth`.
    pub mount_class: String,
    /// The mount's accessor.
    pub mount_accessor: String,
    /// The engine's version.
    pub mount_running_version: String,
    /// The token's inner id. Hashed.
    pub client_token: SecretString,
    /// Its accessor. Hashed unless the device has `hmac_accessor=false`.
    pub client_token_accessor: String,
    /// The path below `/v1/`.
    pub path: String,
    /// The URI as it came, if it says more than the path.
    pub request_uri: String,
    /// The parameters. All text in them is hashed.
    pub data: Option<Map>,
    /// The client's address.
    pub remote_address: String,
    /// The client's port; 0 is left out.
    pub remote_port: u16,
    /// The wrapping asked for; written as whole seconds.
    pub wrap_ttl: Option<Duration>,
    /// Only those registered for audit, by lower-case name.
    pub headers: BTreeMap<String, AuditedHeader>,
    /// The client certificate's serial number, hex with colons.
    pub client_certificate_serial_number: String,
    /// `X-Vault-Policy-Override` was set.
    pub policy_override: bool,
    /// Top-level keys of `data` whose values stay plain (`audit_non_hmac_request_keys` of the mount).
    pub plain_data_keys: Vec<String>,
}

impl RequestFacts {
    /// The least that is known of a request; everything else is empty. Meant for `..RequestFacts::new(…)` as well.
    #[must_use]
    pub fn new(id: impl Into<String>, operation: Operation, path: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            client_id: String::new(),
            operation,
            mount_point: String::new(),
            mount_type: String::new(),
            mount_class: String::new(),
            mount_accessor: String::new(),
            mount_running_version: String::new(),
            client_token: SecretString::default(),
            client_token_accessor: String::new(),
            path: path.into(),
            request_uri: String::new(),
            data: None,
            remote_address: String::new(),
            remote_port: 0,
            wrap_ttl: None,
            headers: BTreeMap::new(),
            client_certificate_serial_number: String::new(),
            policy_override: false,
            plain_data_keys: Vec::new(),
        }
    }
}

impl fmt::Debug for RequestFacts {
    /// Names the request without its parameters, which are the client's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFacts").field("id", &self.id).field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// What is answered. The mount's facts are taken from the request.
#[derive(Clone, Default)]
pub struct ResponseFacts {
    /// The token that a login or a token creation yields.
    pub auth: Option<AuthRecord>,
    /// The payload. All text in it is hashed.
    pub data: Option<Map>,
    /// Shown to the client beside the data. Written in plain.
    pub warnings: Vec<String>,
    /// The lease of a secret. Written in plain.
    pub lease_id: String,
    /// The wrapping token that the client gets in place of the answer.
    pub wrap_info: Option<WrapRecord>,
    /// Headers the engine sends along. Written in plain.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Where the client is sent.
    pub redirect: String,
    /// Top-level keys of `data` whose values stay plain: `audit_non_hmac_response_keys` of the mount, and keys whose value is
    /// known to be an instant (`expire_time` of a token lookup), which Vault formats and does not hash.
    pub plain_data_keys: Vec<String>,
    /// The answer to a listing; devices with `elide_list_responses` write counts then.
    pub is_list: bool,
}

impl fmt::Debug for ResponseFacts {
    /// Says what kind of answer it is, not what is in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFacts")
            .field("auth", &self.auth.is_some())
            .field("data", &self.data.is_some())
            .field("wrapped", &self.wrap_info.is_some())
            .finish_non_exhaustive()
    }
}

/// A wrapping token and what it stands for.
#[derive(Debug, Clone, Default)]
pub struct WrapRecord {
    /// Life of the wrapping token.
    pub ttl: Duration,
    /// The wrapping token. Hashed.
    pub token: SecretString,
    /// Its accessor. Hashed unless the device has `hmac_accessor=false`.
    pub accessor: String,
    /// When it was made.
    pub creation_time: Time,
    /// The path whose answer is wrapped.
    pub creation_path: String,
    /// Accessor of the token inside, if the answer is a login. Hashed like `accessor`.
    pub wrapped_accessor: String,
}
