//! One entry as one line of JSON: Vault's key names, empty fields left out, secrets hashed while they are written.
//!
//! Text inside `data` is hashed by default and stays plain only by name, so a field that an engine adds tomorrow does not leak.
//! Keys, numbers and booleans are never hashed. Contract §7.5.

use std::collections::BTreeMap;

use api_types::{Map, Operation, json};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::hash::{Hasher, Text};
use crate::record::{
    AuditedHeader, AuthRecord, PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord, WrapRecord,
};

/// How one device writes entries.
pub(crate) struct Style {
    /// Put before each line.
    pub(crate) prefix: String,
    /// Write everything in plain.
    pub(crate) log_raw: bool,
    /// Hash accessors.
    pub(crate) hmac_accessor: bool,
    /// Write counts in place of listings.
    pub(crate) elide_list_responses: bool,
}

/// What writes a device's lines.
pub(crate) struct Scribe {
    pub(crate) style: Style,
    pub(crate) hasher: Hasher,
}

impl Scribe {
    /// The line of a request, newline included. The error names no content.
    pub(crate) fn request(&self, record: &RequestRecord) -> Result<Vec<u8>, serde_json::Error> {
        self.line(&Entry {
            time: record.time.rfc3339(),
            kind: "request",
            auth: record.auth.as_ref().map(|a| self.auth(a)),
            request: self.asked(&record.request),
            response: None,
            error: record.error.as_deref().unwrap_or_default(),
        })
    }

    /// The line of an answer, newline included.
    pub(crate) fn response(&self, record: &ResponseRecord) -> Result<Vec<u8>, serde_json::Error> {
        self.line(&Entry {
            time: record.time.rfc3339(),
            kind: "response",
            auth: record.auth.as_ref().map(|a| self.auth(a)),
            request: self.asked(&record.request),
            response: Some(self.answered(&record.response, &record.request)),
            error: record.error.as_deref().unwrap_or_default(),
        })
    }

    fn line(&self, entry: &Entry<'_>) -> Result<Vec<u8>, serde_json::Error> {
        let mut body = json::to_vec(entry)?;
        body.push(b'\n');
        if self.style.prefix.is_empty() {
            return Ok(body);
        }
        let mut line = self.style.prefix.clone().into_bytes();
        line.append(&mut body);
        Ok(line)
    }

    fn hasher(&self) -> Option<&Hasher> {
        (!self.style.log_raw).then_some(&self.hasher)
    }

    fn secret<'a>(&'a self, text: &'a str) -> Text<'a> {
        Text { text, hasher: self.hasher() }
    }

    fn accessor<'a>(&'a self, text: &'a str) -> Text<'a> {
        Text { text, hasher: self.hasher().filter(|_| self.style.hmac_accessor) }
    }

    fn auth<'a>(&'a self, a: &'a AuthRecord) -> AuthPart<'a> {
        AuthPart {
            accessor: self.accessor(&a.accessor),
            client_token: self.secret(a.client_token.expose()),
            display_name: &a.display_name,
            entity_created: a.entity_created,
            entity_id: &a.entity_id,
            identity_policies: &a.identity_policies,
            metadata: &a.metadata,
            no_default_policy: a.no_default_policy,
            num_uses: a.num_uses,
            policies: &a.policies,
            policy_results: a.policy_results.as_ref().map(ResultsPart::new),
            remaining_uses: a.remaining_uses,
            token_issue_time: a.token_issue_time.map(secret::Time::rfc3339_seconds),
            token_policies: &a.token_policies,
            token_ttl: a.token_ttl_seconds,
            token_type: &a.token_type,
        }
    }

    fn asked<'a>(&'a self, r: &'a RequestFacts) -> RequestPart<'a> {
        RequestPart {
            client_certificate_serial_number: &r.client_certificate_serial_number,
            client_id: &r.client_id,
            client_token: self.secret(r.client_token.expose()),
            client_token_accessor: self.accessor(&r.client_token_accessor),
            data: self.data(r.data.as_ref(), &r.plain_data_keys, false),
            headers: HeadersPart { headers: &r.headers, hasher: self.hasher() },
            id: &r.id,
            mount_accessor: &r.mount_accessor,
            mount_class: &r.mount_class,
            mount_point: &r.mount_point,
            mount_running_version: &r.mount_running_version,
            mount_type: &r.mount_type,
            namespace: ROOT_NAMESPACE,
            operation: r.operation,
            path: &r.path,
            policy_override: r.policy_override,
            remote_address: &r.remote_address,
            remote_port: r.remote_port,
            request_uri: &r.request_uri,
            wrap_ttl: r.wrap_ttl.map_or(0, |d| d.as_secs()),
        }
    }

    fn answered<'a>(&'a self, r: &'a ResponseFacts, request: &'a RequestFacts) -> ResponsePart<'a> {
        ResponsePart {
            auth: r.auth.as_ref().map(|a| self.auth(a)),
            data: self.data(r.data.as_ref(), &r.plain_data_keys, r.is_list && self.style.elide_list_responses),
            headers: &r.headers,
            mount_accessor: &request.mount_accessor,
            mount_class: &request.mount_class,
            mount_point: &request.mount_point,
            mount_running_plugin_version: &request.mount_running_version,
            mount_type: &request.mount_type,
            redirect: &r.redirect,
            secret: SecretPart { lease_id: &r.lease_id },
            warnings: &r.warnings,
            wrap_info: r.wrap_info.as_ref().map(|w| self.wrap(w)),
        }
    }

    fn wrap<'a>(&'a self, w: &'a WrapRecord) -> WrapPart<'a> {
        WrapPart {
            accessor: self.accessor(&w.accessor),
            creation_path: &w.creation_path,
            creation_time: w.creation_time.rfc3339(),
            token: self.secret(w.token.expose()),
            ttl: w.ttl.as_secs(),
            wrapped_accessor: self.accessor(&w.wrapped_accessor),
        }
    }

    fn data<'a>(&'a self, map: Option<&'a Map>, plain: &'a [String], elide: bool) -> Option<DataPart<'a>> {
        let map = map.filter(|m| !m.is_empty())?;
        Some(DataPart { map, plain, elide, hasher: self.hasher() })
    }
}

/// Everything lives in the root namespace.
const ROOT_NAMESPACE: Namespace = Namespace { id: "root" };

#[derive(Serialize)]
struct Namespace {
    id: &'static str,
}

#[derive(Serialize)]
struct Entry<'a> {
    time: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<AuthPart<'a>>,
    request: RequestPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponsePart<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct AuthPart<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    accessor: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    client_token: Text<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    display_name: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    entity_created: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    entity_id: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    identity_policies: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    no_default_policy: bool,
    #[serde(skip_serializing_if = "is_default")]
    num_uses: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    policies: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_results: Option<ResultsPart<'a>>,
    #[serde(skip_serializing_if = "is_default")]
    remaining_uses: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_issue_time: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    token_policies: &'a [String],
    #[serde(skip_serializing_if = "is_default")]
    token_ttl: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    token_type: &'a str,
}

#[derive(Serialize)]
struct ResultsPart<'a> {
    allowed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    granting_policies: Vec<GrantingPolicy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> ResultsPart<'a> {
    fn new(results: &'a PolicyResults) -> Self {
        let name = |name: &'a String| GrantingPolicy { name, namespace_id: ROOT_NAMESPACE.id, kind: "acl" };
        Self {
            allowed: results.allowed,
            granting_policies: results.granting.iter().map(name).collect(),
            reason: results.reason.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct GrantingPolicy<'a> {
    name: &'a str,
    namespace_id: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct RequestPart<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    client_certificate_serial_number: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    client_id: &'a str,
    #[serde(skip_serializing_if = "Text::is_empty")]
    client_token: Text<'a>,
    #[serde(skip_serializing_if = "Text::is_empty")]
    client_token_accessor: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataPart<'a>>,
    #[serde(skip_serializing_if = "HeadersPart::is_empty")]
    headers: HeadersPart<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_accessor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_class: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_point: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_running_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_type: &'a str,
    namespace: Namespace,
    operation: Operation,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    policy_override: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    remote_address: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    remote_port: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_uri: &'a str,
    #[serde(skip_serializing_if = "is_default")]
    wrap_ttl: u64,
}

#[derive(Serialize)]
struct ResponsePart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<AuthPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataPart<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_accessor: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_class: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_point: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_running_plugin_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mount_type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    redirect: &'a str,
    #[serde(skip_serializing_if = "SecretPart::is_empty")]
    secret: SecretPart<'a>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    wrap_info: Option<WrapPart<'a>>,
}

#[derive(Serialize)]
struct SecretPart<'a> {
    lease_id: &'a str,
}

impl SecretPart<'_> {
    fn is_empty(&self) -> bool {
        self.lease_id.is_empty()
    }
}

#[derive(Serialize)]
struct WrapPart<'a> {
    #[serde(skip_serializing_if = "Text::is_empty")]
    accessor: Text<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    creation_path: &'a str,
    creation_time: String,
    #[serde(skip_serializing_if = "Text::is_empty")]
    token: Text<'a>,
    #[serde(skip_serializing_if = "is_default")]
    ttl: u64,
    #[serde(skip_serializing_if = "Text::is_empty")]
    wrapped_accessor: Text<'a>,
}

struct HeadersPart<'a> {
    headers: &'a BTreeMap<String, AuditedHeader>,
    hasher: Option<&'a Hasher>,
}

impl HeadersPart<'_> {
    fn is_empty(&self) -> bool {
        self.headers.is_empty()
    }
}

impl Serialize for HeadersPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.headers.iter().map(|(name, header)| {
            let hasher = self.hasher.filter(|_| header.hmac);
            (name, header.values.iter().map(|text| Text { text, hasher }).collect::<Vec<_>>())
        }))
    }
}

/// The top level of `data`, where names can be exempt from hashing.
struct DataPart<'a> {
    map: &'a Map,
    plain: &'a [String],
    elide: bool,
    hasher: Option<&'a Hasher>,
}

impl Serialize for DataPart<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(Some(self.map.len()))?;
        for (key, value) in self.map {
            match (self.elide, key.as_str(), value) {
                (true, "keys", Value::Array(names)) => out.serialize_entry(key, &names.len())?,
                (true, "key_info", Value::Object(infos)) => out.serialize_entry(key, &infos.len())?,
                _ if self.plain.contains(key) => out.serialize_entry(key, value)?,
                _ => out.serialize_entry(key, &Masked { value, hasher: self.hasher })?,
            }
        }
        out.end()
    }
}

/// A value whose texts are hashed at any depth.
struct Masked<'a> {
    value: &'a Value,
    hasher: Option<&'a Hasher>,
}

impl Serialize for Masked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let hasher = self.hasher;
        match self.value {
            Value::String(text) => Text { text, hasher }.serialize(serializer),
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    out.serialize_element(&Masked { value, hasher })?;
                }
                out.end()
            }
            Value::Object(map) => serializer.collect_map(map.iter().map(|(k, value)| (k, Masked { value, hasher }))),
            Value::Null | Value::Bool(_) | Value::Number(_) => self.value.serialize(serializer),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
