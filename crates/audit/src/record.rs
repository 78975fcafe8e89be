//! What is recorded, borrowed from the request that is being served. Each device hashes on its own while it writes (see `line`),
//! because each has a salt of its own.
//!
//! Deliberately absent: hashing, JSON names, and defaults that could hide a fact: an empty field is left out of the line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use api_types::{Map, Operation};
use secret::{SecretString, Time};

use crate::hash::Kept;

/// A token on its way into a line. Hashed there, and never printed by `Debug`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Shy<'a>(&'a str);

impl<'a> Shy<'a> {
    pub(crate) fn expose(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Shy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shy(***)")
    }
}

impl<'a> From<&'a str> for Shy<'a> {
    fn from(text: &'a str) -> Self {
        Self(text)
    }
}

impl<'a> From<&'a SecretString> for Shy<'a> {
    fn from(text: &'a SecretString) -> Self {
        Self(text.expose())
    }
}

/// A request about to be carried out, or refused.
#[derive(Debug, Clone)]
pub struct RequestRecord<'a> {
    /// When the entry is made.
    pub time: Time,
    /// Who asks; `None` if no token was found.
    pub auth: Option<AuthRecord<'a>>,
    /// What is asked.
    pub request: RequestFacts<'a>,
    /// The error text of a refusal. Written in plain, so it must hold no secret.
    pub error: Option<Cow<'a, str>>,
}

/// An answer about to leave.
#[derive(Debug, Clone)]
pub struct ResponseRecord<'a> {
    /// When the entry is made.
    pub time: Time,
    /// Who asked.
    pub auth: Option<AuthRecord<'a>>,
    /// What was asked.
    pub request: RequestFacts<'a>,
    /// What is answered.
    pub response: ResponseFacts<'a>,
    /// The error text. Written in plain, so it must hold no secret.
    pub error: Option<Cow<'a, str>>,
}

/// A token and what it stands for: of the caller, or in the answer to a login.
#[derive(Debug, Clone, Default)]
pub struct AuthRecord<'a> {
    /// The token in the form the client presented (or is given). Hashed.
    pub client_token: Shy<'a>,
    /// Its accessor. Hashed unless the device has `hmac_accessor=false`.
    pub accessor: &'a str,
    /// The token's display name.
    pub display_name: &'a str,
    /// All policies.
    pub policies: Cow<'a, [String]>,
    /// Policies on the token.
    pub token_policies: &'a [String],
    /// Policies through identity.
    pub identity_policies: &'a [String],
    /// The token goes without the `default` policy.
    pub no_default_policy: bool,
    /// The token's metadata. Written in plain, as Vault does.
    pub metadata: Option<&'a BTreeMap<String, String>>,
    /// Uses the token was made with; 0 means any number.
    pub num_uses: u64,
    /// Uses left; 0 if the uses are not counted.
    pub remaining_uses: u64,
    /// The entity, empty if there is none.
    pub entity_id: &'a str,
    /// This login made the entity.
    pub entity_created: bool,
    /// `service` or `batch`; `default` where no token was needed.
    pub token_type: &'a str,
    /// The token's life in seconds; 0 is left out.
    pub token_ttl_seconds: u64,
    /// When the token was made.
    pub token_issue_time: Option<Time>,
    /// The decision.
    pub policy_results: Option<PolicyResults<'a>>,
    /// Where the hashes of this very token and accessor are kept between requests.
    pub kept: Option<&'a Kept>,
}

/// The decision on a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyResults<'a> {
    /// Whether it may go on.
    pub allowed: bool,
    /// Names of the policies that allowed it.
    pub granting: Vec<&'a str>,
}

/// A header that is registered for audit (`sys/config/auditing/request-headers`).
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditedHeader<'a> {
    /// Its lower-case name.
    pub name: &'a str,
    /// The values as they came.
    pub values: &'a [String],
    /// Whether they are hashed.
    pub hmac: bool,
}

/// An object that is sent or answered.
#[derive(Clone)]
pub enum Payload<'a> {
    /// As values.
    Map(Cow<'a, Map>),
    /// As JSON text of an object, known to be valid and in Go's form (what the server sends).
    Raw(&'a str),
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload(***)")
    }
}

impl<'a> From<&'a Map> for Payload<'a> {
    fn from(map: &'a Map) -> Self {
        Self::Map(Cow::Borrowed(map))
    }
}

impl From<Map> for Payload<'_> {
    fn from(map: Map) -> Self {
        Self::Map(Cow::Owned(map))
    }
}

/// What was asked.
#[derive(Clone)]
pub struct RequestFacts<'a> {
    /// The `request_id` of the answer.
    pub id: &'a str,
    /// The entity, or a name for the token's set of policies.
    pub client_id: &'a str,
    /// The operation, `create` and `update` already told apart.
    pub operation: Operation,
    /// Where the engine is mounted, with a trailing `/`.
    pub mount_point: &'a str,
    /// `kv`, `token`, …
    pub mount_type: &'a str,
    /// `secret` or `auth`.
    pub mount_class: &'a str,
    /// The mount's accessor.
    pub mount_accessor: &'a str,
    /// The engine's version.
    pub mount_running_version: Cow<'a, str>,
    /// The token's inner id. Hashed.
    pub client_token: Shy<'a>,
    /// Its accessor. Hashed unless the device has `hmac_accessor=false`.
    pub client_token_accessor: &'a str,
    /// The path below `/v1/`.
    pub path: &'a str,
    /// The URI as it came, if it says more than the path.
    pub request_uri: &'a str,
    /// The parameters. All text in them is hashed.
    pub data: Option<Payload<'a>>,
    /// The client's address.
    pub remote_address: Option<IpAddr>,
    /// The client's port; 0 is left out.
    pub remote_port: u16,
    /// The wrapping asked for; written as whole seconds.
    pub wrap_ttl: Option<Duration>,
    /// Only those registered for audit, by name.
    pub headers: Vec<AuditedHeader<'a>>,
    /// The client certificate's serial number, hex with colons.
    pub client_certificate_serial_number: &'a str,
    /// `X-Vault-Policy-Override` was set.
    pub policy_override: bool,
    /// Top-level keys of `data` whose values stay plain (`audit_non_hmac_request_keys` of the mount).
    pub plain_data_keys: &'a [String],
}

impl<'a> RequestFacts<'a> {
    /// The least that is known of a request; everything else is empty. Meant for `..RequestFacts::new(…)` as well.
    #[must_use]
    pub fn new(id: &'a str, operation: Operation, path: &'a str) -> Self {
        Self {
            id,
            client_id: "",
            operation,
            mount_point: "",
            mount_type: "",
            mount_class: "",
            mount_accessor: "",
            mount_running_version: Cow::Borrowed(""),
            client_token: Shy::default(),
            client_token_accessor: "",
            path,
            request_uri: "",
            data: None,
            remote_address: None,
            remote_port: 0,
            wrap_ttl: None,
            headers: Vec::new(),
            client_certificate_serial_number: "",
            policy_override: false,
            plain_data_keys: &[],
        }
    }
}

impl fmt::Debug for RequestFacts<'_> {
    /// Names the request without its parameters, which are the client's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFacts").field("id", &self.id).field("operation", &self.operation).finish_non_exhaustive()
    }
}

/// What is answered. The mount's facts are taken from the request.
#[derive(Clone, Default)]
pub struct ResponseFacts<'a> {
    /// The token that a login or a token creation yields.
    pub auth: Option<AuthRecord<'a>>,
    /// The payload. All text in it is hashed.
    pub data: Option<Payload<'a>>,
    /// Shown to the client beside the data. Written in plain.
    pub warnings: &'a [String],
    /// The lease of a secret. Written in plain.
    pub lease_id: &'a str,
    /// The wrapping token that the client gets in place of the answer.
    pub wrap_info: Option<WrapRecord<'a>>,
    /// Headers the engine sends along. Written in plain.
    pub headers: Option<&'a BTreeMap<String, Vec<String>>>,
    /// Where the client is sent.
    pub redirect: &'a str,
    /// Top-level keys of `data` whose values stay plain: `audit_non_hmac_response_keys` of the mount, and keys whose value is
    /// known to be an instant (`expire_time` of a token lookup), which Vault formats and does not hash.
    pub plain_data_keys: &'a [String],
    /// The answer to a listing; devices with `elide_list_responses` write counts then.
    pub is_list: bool,
}

impl fmt::Debug for ResponseFacts<'_> {
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
pub struct WrapRecord<'a> {
    /// Life of the wrapping token.
    pub ttl: Duration,
    /// The wrapping token. Hashed.
    pub token: Shy<'a>,
    /// Its accessor. Hashed unless the device has `hmac_accessor=false`.
    pub accessor: &'a str,
    /// When it was made.
    pub creation_time: Time,
    /// The path whose answer is wrapped.
    pub creation_path: &'a str,
    /// Accessor of the token inside, if the answer is a login. Hashed like `accessor`.
    pub wrapped_accessor: &'a str,
}
