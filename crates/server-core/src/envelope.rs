//! The envelope of logical responses (contract §1.5): all nine keys, always, in Go's order. It is made here and not in
//! `server-http` because a wrapped response is stored as this very text.

use api_types::{Map, json};
use engine::{Auth, Data, Response, TokenType};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokens::WrapInfo;

struct Envelope<'a> {
    request_id: &'a str,
    lease_id: &'a str,
    renewable: bool,
    lease_duration: u64,
    data: Body<'a>,
    wrap_info: Option<Wrapped<'a>>,
    warnings: &'a [String],
    auth: Option<Login<'a>>,
    mount_type: &'a str,
    injected: Option<&'a Map>,
}

enum Body<'a> {
    Nothing,
    Map(&'a Map),
    Raw(&'a RawValue),
}

#[derive(Serialize)]
struct Wrapped<'a> {
    token: &'a str,
    accessor: &'a str,
    ttl: u64,
    creation_time: String,
    creation_path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    wrapped_accessor: &'a str,
}

#[derive(Serialize)]
struct Login<'a> {
    client_token: &'a str,
    accessor: &'a str,
    policies: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    token_policies: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    identity_policies: &'a [String],
    metadata: Option<&'a std::collections::BTreeMap<String, String>>,
    lease_duration: u64,
    renewable: bool,
    entity_id: &'a str,
    token_type: &'a str,
    orphan: bool,
    mfa_requirement: Option<Value>,
    num_uses: u64,
}

fn login(auth: &Auth) -> Login<'_> {
    let mut policies: Vec<&str> = auth.token_policies.iter().chain(&auth.identity_policies).map(String::as_str).collect();
    policies.sort_unstable();
    policies.dedup();
    Login {
        client_token: auth.client_token.expose(),
        accessor: &auth.accessor,
        policies,
        token_policies: &auth.token_policies,
        identity_policies: &auth.identity_policies,
        metadata: (!auth.metadata.is_empty()).then_some(&auth.metadata),
        lease_duration: auth.ttl.as_secs(),
        renewable: auth.renewable,
        entity_id: &auth.entity_id,
        token_type: if auth.token_type == TokenType::Batch { "batch" } else { "service" },
        orphan: auth.orphan,
        mfa_requirement: None,
        num_uses: auth.num_uses,
    }
}

/// The response as JSON text without a final newline. With `inject`, the keys of `data` stand at the top level as well, as
/// Vault does on its old `sys/` paths.
#[must_use]
pub fn render(response: &Response, request_id: &str, mount_type: &str, inject: bool) -> Vec<u8> {
    let injected = match (&response.data, inject) {
        (Some(data), true) => Some(injectable(data.to_map())),
        _ => None,
    };
    let secret = response.secret.as_deref();
    let envelope = Envelope {
        request_id,
        lease_id: secret.map_or("", |s| s.lease_id.as_str()),
        renewable: secret.is_some_and(|s| s.renewable && !s.lease_id.is_empty()),
        lease_duration: secret.map_or(0, |s| s.ttl.as_secs()),
        data: match &response.data {
            None => Body::Nothing,
            Some(Data::Map(m)) => Body::Map(m),
            Some(Data::Raw(r)) => Body::Raw(r),
        },
        wrap_info: None,
        warnings: &response.warnings,
        auth: response.auth.as_deref().map(login),
        mount_type,
        injected: injected.as_ref(),
    };
    let data_bytes = match &response.data {
        Some(Data::Raw(raw)) => raw.get().len(),
        _ => 0,
    };
    encode(&envelope, data_bytes)
}

/// A data key that is also an envelope key would appear twice; the envelope's wins.
fn injectable(mut data: Map) -> Map {
    for key in ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth", "mount_type"] {
        data.remove(key);
    }
    data
}

/// The reply that stands in for a wrapped response: everything but `wrap_info` is empty.
#[must_use]
pub fn render_wrapped(wrap: &WrapInfo) -> Vec<u8> {
    let envelope = Envelope {
        request_id: "",
        lease_id: "",
        renewable: false,
        lease_duration: 0,
        data: Body::Nothing,
        wrap_info: Some(Wrapped {
            token: wrap.token.expose(),
            accessor: &wrap.accessor,
            ttl: wrap.ttl.as_secs(),
            creation_time: wrap.creation_time.rfc3339(),
            creation_path: &wrap.creation_path,
            wrapped_accessor: &wrap.wrapped_accessor,
        }),
        warnings: &[],
        auth: None,
        mount_type: "",
        injected: None,
    };
    encode(&envelope, 0)
}

/// Of an envelope without its data.
const ENVELOPE_BYTES: usize = 512;

/// `data_bytes` is the length of data that is text already, so that the buffer need not grow.
fn encode(e: &Envelope<'_>, data_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENVELOPE_BYTES + data_bytes);
    match write(&mut out, e) {
        Ok(()) => out,
        // Maps with text keys, texts and numbers always encode.
        Err(_) => b"{\"errors\":[\"internal error\"]}".to_vec(),
    }
}

/// Member by member: nearly every answer goes through here, and all but `data` is the same few bytes.
fn write(out: &mut Vec<u8>, e: &Envelope<'_>) -> Result<(), serde_json::Error> {
    out.extend_from_slice(b"{\"request_id\":");
    json::string(out, e.request_id);
    out.extend_from_slice(b",\"lease_id\":");
    json::string(out, e.lease_id);
    out.extend_from_slice(if e.renewable { b",\"renewable\":true" } else { b",\"renewable\":false" });
    out.extend_from_slice(b",\"lease_duration\":");
    json::to_writer(out, &e.lease_duration)?;
    out.extend_from_slice(b",\"data\":");
    match e.data {
        Body::Nothing => out.extend_from_slice(b"null"),
        Body::Map(map) => json::map(out, map),
        Body::Raw(raw) => out.extend_from_slice(raw.get().as_bytes()),
    }
    out.extend_from_slice(b",\"wrap_info\":");
    json::to_writer(out, &e.wrap_info)?;
    out.extend_from_slice(b",\"warnings\":");
    json::to_writer(out, &(!e.warnings.is_empty()).then_some(e.warnings))?;
    out.extend_from_slice(b",\"auth\":");
    json::to_writer(out, &e.auth)?;
    out.extend_from_slice(b",\"mount_type\":");
    json::string(out, e.mount_type);
    for (key, value) in e.injected.into_iter().flatten() {
        out.push(b',');
        json::string(out, key);
        out.push(b':');
        json::value(out, value);
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_nine_keys_in_order_even_when_empty() {
        let text = String::from_utf8(render(&Response::default(), "id", "kv", false)).unwrap();
        assert_eq!(
            text,
            r#"{"request_id":"id","lease_id":"","renewable":false,"lease_duration":0,"data":null,"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}"#
        );
    }

    #[test]
    fn old_sys_paths_show_data_twice() {
        let text = render(&Response::json(json!({"keys": ["a"], "data": 1})), "id", "system", true);
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value["keys"], json!(["a"]));
        assert_eq!(value["data"], json!({"keys": ["a"], "data": 1}));
    }
}
