//! What is answered without token, envelope or pipeline: health, leader, init, seal-status, unseal (contract §1.8, §2.1). Audit has
//! each of them in its table of unrecorded replies.

use std::sync::Arc;

use api_types::Map;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use secret::SecretBytes;
use serde::Serialize;
use serde_json::{Value, json};
use server_core::{Core, InitRequest, NodeState, SealError};
use zeroize::Zeroizing;

use crate::request::parse_bool;
use crate::respond::{self, Reply};

/// The paths served here, below `/v1/`. `sys/seal` and `sys/step-down` only have their methods checked here.
pub(crate) fn serves(path: &str) -> bool {
    matches!(path, "sys/health" | "sys/leader" | "sys/init" | "sys/seal-status" | "sys/unseal")
}

/// 405 for these paths' other methods; `None` if the method is right or the path is none of them.
pub(crate) fn wrong_method(path: &str, method: &Method) -> Option<Reply> {
    let m = method.as_str();
    let right = match path {
        "sys/health" => matches!(m, "GET" | "HEAD"),
        "sys/leader" | "sys/seal-status" => m == "GET",
        "sys/init" => matches!(m, "GET" | "PUT" | "POST"),
        "sys/unseal" | "sys/seal" | "sys/step-down" => matches!(m, "PUT" | "POST"),
        _ => return None,
    };
    (!right).then(|| respond::errors(StatusCode::METHOD_NOT_ALLOWED, &[]))
}

/// Answers one of [`serves`]'s paths. `data` is the query of a read or the body of a write.
pub(crate) async fn answer(core: &Arc<Core>, path: &str, method: &Method, data: &Map) -> Reply {
    match path {
        "sys/health" => health(core, method, data),
        "sys/leader" => match core.leader() {
            Some(leader) => respond::json_body(StatusCode::OK, &leader),
            None => respond::errors(StatusCode::SERVICE_UNAVAILABLE, &["Vault is sealed".to_owned()]),
        },
        "sys/seal-status" => respond::json_body(StatusCode::OK, &core.seal_status()),
        "sys/init" if method == Method::GET => respond::json_body(StatusCode::OK, &json!({ "initialized": core.initialised() })),
        "sys/init" => init(core, data).await,
        _ => unseal(core, data).await,
    }
}

/// `sys/metrics` for listeners that open it to everybody, in Prometheus' text form.
pub(crate) fn metrics(core: &Core) -> Reply {
    match &core.config().metrics {
        Some(text) => respond::bare(200, "text/plain; version=0.0.4; charset=utf-8", text().into_bytes()),
        None => respond::bare(400, "text/plain; charset=utf-8", b"prometheus is not enabled".to_vec()),
    }
}

#[derive(Serialize)]
struct HealthBody {
    initialized: bool,
    sealed: bool,
    standby: bool,
    performance_standby: bool,
    replication_performance_mode: &'static str,
    replication_dr_mode: &'static str,
    server_time_utc: i64,
    version: String,
    enterprise: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    echo_duration_ms: u64,
    clock_skew_ms: i64,
    replication_primary_canary_age_ms: u64,
    removed_from_cluster: bool,
}

fn health(core: &Core, method: &Method, query: &Map) -> Reply {
    let bad = || respond::errors(StatusCode::BAD_REQUEST, &[]);
    let text = |name: &str| query.get(name).and_then(Value::as_str);
    let flag = |name: &str| match text(name) {
        None => Some(false),
        // A bare `?standbyok` is false in Vault; probes must send `=true`.
        Some("") => Some(false),
        Some(t) => parse_bool(t),
    };
    let (Some(standby_ok), Some(_)) = (flag("standbyok"), flag("perfstandbyok")) else { return bad() };
    let mut codes = [200u16, 429, 503, 501];
    for (name, slot) in [("activecode", 0), ("standbycode", 1), ("sealedcode", 2), ("uninitcode", 3)] {
        if let Some(t) = text(name) {
            match (t.parse::<u16>().ok().filter(|c| (100..=599).contains(c)), codes.get_mut(slot)) {
                (Some(code), Some(to)) => *to = code,
                _ => return bad(),
            }
        }
    }
    // Codes for states this server does not have are checked all the same.
    for name in ["drsecondarycode", "performancestandbycode", "haunhealthycode", "removedcode"] {
        if text(name).is_some_and(|t| t.parse::<u16>().is_err()) {
            return bad();
        }
    }
    let [active, standby, sealed, uninit] = codes;
    let health = core.health();
    let code = match health.state {
        NodeState::Active => active,
        NodeState::Standby if standby_ok => active,
        NodeState::Standby => standby,
        NodeState::Sealed => sealed,
        NodeState::Uninitialised => uninit,
    };
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    if method == Method::HEAD {
        return respond::empty(status);
    }
    let open = matches!(health.state, NodeState::Active | NodeState::Standby);
    let (cluster_name, cluster_id) = health.cluster.unzip();
    let body = HealthBody {
        initialized: health.state != NodeState::Uninitialised,
        sealed: !open,
        standby: health.state != NodeState::Active,
        performance_standby: false,
        replication_performance_mode: if open { "disabled" } else { "unknown" },
        replication_dr_mode: if open { "disabled" } else { "unknown" },
        server_time_utc: health.now.unix(),
        version: health.version,
        enterprise: false,
        cluster_name,
        cluster_id,
        echo_duration_ms: 0,
        clock_skew_ms: 0,
        replication_primary_canary_age_ms: 0,
        removed_from_cluster: false,
    };
    respond::json_body(status, &body)
}

/// A refusal of init or unseal.
struct Refusal(StatusCode, String);

impl Refusal {
    fn reply(self) -> Reply {
        respond::errors(self.0, &[self.1])
    }
}

/// The fields of a hard-coded handler's body: key names in any case, `null` as absent.
struct Body(Map);

impl Body {
    fn new(data: &Map) -> Self {
        Self(data.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect())
    }

    fn number(&self, name: &str) -> Result<u64, Refusal> {
        match self.0.get(name) {
            None => Ok(0),
            Some(v) => v.as_u64().ok_or_else(|| wrong_type(name)),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.0.get(name) {
            None => Ok(false),
            Some(v) => v.as_bool().ok_or_else(|| wrong_type(name)),
        }
    }

    fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.0.get(name) {
            None => Ok(""),
            Some(v) => v.as_str().ok_or_else(|| wrong_type(name)),
        }
    }

    fn has_items(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|v| v.as_array().is_none_or(|a| !a.is_empty()))
    }
}

fn wrong_type(name: &str) -> Refusal {
    invalid(&format!("failed to parse JSON input: json: cannot unmarshal into field {name:?}"))
}

fn invalid(text: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, text.to_owned())
}

fn failed(error: &SealError) -> Refusal {
    match error {
        SealError::Internal(text) => {
            tracing::error!(error = text, "a seal operation failed");
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned())
        }
        other => invalid(&other.to_string()),
    }
}

async fn init(core: &Core, data: &Map) -> Reply {
    init_checked(core, data).await.unwrap_or_else(Refusal::reply)
}

async fn init_checked(core: &Core, data: &Map) -> Result<Reply, Refusal> {
    let body = Body::new(data);
    if core.initialised() {
        return Err(failed(&SealError::AlreadyInitialised));
    }
    if body.number("recovery_shares")? != 0 || body.number("recovery_threshold")? != 0 {
        return Err(invalid("parameters recovery_shares,recovery_threshold not applicable to seal type shamir"));
    }
    if body.has_items("pgp_keys") || body.has_items("recovery_pgp_keys") || !body.text("root_token_pgp_key")?.is_empty() {
        // Never ignored: shares would come out in plain where somebody asked for encrypted ones.
        return Err(invalid("encrypting shares or the root token to PGP keys is not supported by this version"));
    }
    let request = InitRequest {
        secret_shares: body.number("secret_shares")?,
        secret_threshold: body.number("secret_threshold")?,
        root_token: None,
    };
    let made = core.init(request).await.map_err(|e| failed(&e))?;
    let keys: Vec<String> = made.shares.iter().map(|s| hex(s.expose())).collect();
    let keys_base64: Vec<String> = made.shares.iter().map(|s| BASE64_STANDARD.encode(s.expose())).collect();
    let reply = json!({ "keys": keys, "keys_base64": keys_base64, "root_token": made.root_token.expose() });
    Ok(respond::json_body(StatusCode::OK, &reply))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    text.as_bytes().chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok()).collect()
}

/// A share as typed: hexadecimal if it is and has a share's length, else base64.
fn share(text: &str) -> Option<SecretBytes> {
    if let Some(bytes) = unhex(text).filter(|b| (16..=33).contains(&b.len())) {
        return Some(SecretBytes::new(bytes));
    }
    BASE64_STANDARD.decode(text).ok().map(SecretBytes::new)
}

async fn unseal(core: &Core, data: &Map) -> Reply {
    unseal_checked(core, data).await.unwrap_or_else(Refusal::reply)
}

async fn unseal_checked(core: &Core, data: &Map) -> Result<Reply, Refusal> {
    let body = Body::new(data);
    let key = Zeroizing::new(body.text("key")?.to_owned());
    let reset = body.flag("reset")?;
    if body.flag("migrate")? {
        let text = "can't perform a seal migration, no migration seal found".to_owned();
        return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, text));
    }
    if reset {
        core.reset_unseal().await.map_err(|e| failed(&e))?;
    } else {
        if key.is_empty() {
            return Err(invalid("'key' must be specified in request body as JSON, or 'reset' set to true"));
        }
        let share = share(&key).ok_or_else(|| invalid("'key' must be a valid hex or base64 string"))?;
        core.unseal(share).await.map_err(|e| failed(&e))?;
    }
    Ok(respond::json_body(StatusCode::OK, &core.seal_status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_hex_or_base64() {
        let bytes = vec![0xab; 33];
        assert!(share(&hex(&bytes)).unwrap().ct_eq(&bytes));
        assert!(share(&BASE64_STANDARD.encode(&bytes)).unwrap().ct_eq(&bytes));
        // Hex of another length is read as base64, as Vault does.
        assert_eq!(share("abcd").unwrap().len(), 3);
        assert!(share("not a key").is_none());
        assert!(share("é").is_none());
    }
}
