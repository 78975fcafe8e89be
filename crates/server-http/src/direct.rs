//! What is answered without token, envelope or pipeline: health, leader, init, seal-status, unseal (contract §1.8, §2.1), and the
//! rekeys (`direct_rekey`). Audit has each of them in its table of unrecorded replies.

use std::sync::Arc;

use api_types::Map;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, StatusCode};
use secret::SecretBytes;
use serde::Serialize;
use serde_json::{Value, json};
use server_core::{Core, InitRequest, NodeState, SealError, share_from_text};
use zeroize::Zeroizing;

use crate::direct_rekey;
use crate::request::parse_bool;
use crate::respond::{self, Reply};

/// The paths served here, below `/v1/`. `sys/seal` and `sys/step-down` only have their methods checked here.
pub(crate) fn serves(path: &str) -> bool {
    matches!(path, "sys/health" | "sys/leader" | "sys/init" | "sys/seal-status" | "sys/unseal") || direct_rekey::serves(path)
}

/// Paths that go through the pipeline, but whose bodies Vault parses with a handler of its own.
pub(crate) fn is_hard_coded(path: &str) -> bool {
    serves(path) || matches!(path, "sys/generate-root/attempt" | "sys/generate-root/update")
}

/// 405 for these paths' other methods; `None` if the method is right or the path is none of them.
pub(crate) fn wrong_method(path: &str, method: &Method) -> Option<Reply> {
    let m = method.as_str();
    let right = match path {
        "sys/health" => matches!(m, "GET" | "HEAD"),
        "sys/leader" | "sys/seal-status" => m == "GET",
        "sys/init" => matches!(m, "GET" | "PUT" | "POST"),
        "sys/unseal" | "sys/seal" | "sys/step-down" | "sys/generate-root/update" => matches!(m, "PUT" | "POST"),
        "sys/generate-root/attempt" => matches!(m, "GET" | "PUT" | "POST" | "DELETE"),
        path if direct_rekey::serves(path) => direct_rekey::takes(path, m),
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
        path if direct_rekey::serves(path) => direct_rekey::answer(core, path, method, data).await,
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
    echo_duration_ms: u128,
    clock_skew_ms: i64,
    replication_primary_canary_age_ms: u64,
    removed_from_cluster: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ha_connection_healthy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_request_forwarding_heartbeat_ms: Option<u128>,
}

/// The codes of `sys/health`: in which state, by which query parameter another one is wanted, and which it is otherwise.
const CODES: [(&str, u16); 8] = [
    ("activecode", 200),
    ("standbycode", 429),
    ("sealedcode", 503),
    ("uninitcode", 501),
    ("haunhealthycode", 474),
    ("removedcode", 530),
    // States that this server does not have; their codes are checked all the same.
    ("drsecondarycode", 472),
    ("performancestandbycode", 473),
];

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
    let mut codes = CODES.map(|(_, code)| code);
    for ((name, _), slot) in CODES.iter().zip(&mut codes) {
        if let Some(t) = text(name) {
            match t.parse::<u16>().ok().filter(|c| (100..=599).contains(c)) {
                Some(code) => *slot = code,
                None => return bad(),
            }
        }
    }
    let [active, standby, sealed, uninit, unheard, removed, ..] = codes;
    let health = core.health();
    let code = match health.state {
        NodeState::Uninitialised => uninit,
        _ if health.removed => removed,
        NodeState::Sealed => sealed,
        NodeState::Standby if health.leader.is_some_and(|l| !l.healthy) => unheard,
        NodeState::Standby if standby_ok => active,
        NodeState::Standby => standby,
        NodeState::Active => active,
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
        echo_duration_ms: health.leader.map_or(0, |l| l.took.as_millis()),
        clock_skew_ms: 0,
        replication_primary_canary_age_ms: 0,
        removed_from_cluster: health.removed,
        ha_connection_healthy: health.leader.map(|l| l.healthy),
        last_request_forwarding_heartbeat_ms: health.leader.and_then(|l| l.ago).map(|ago| ago.as_millis()),
    };
    respond::json_body(status, &body)
}

/// A refusal of init or unseal.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Refusal {
    pub(crate) fn reply(self) -> Reply {
        respond::errors(self.0, &[self.1])
    }
}

/// The fields of a hard-coded handler's body: key names in any case, `null` as absent.
pub(crate) struct Body(Map);

impl Body {
    pub(crate) fn new(data: &Map) -> Self {
        Self(data.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_ascii_lowercase(), v.clone())).collect())
    }

    /// A whole number; one below zero counts as zero, which every check refuses in the same words.
    pub(crate) fn number(&self, name: &str) -> Result<u64, Refusal> {
        match self.0.get(name) {
            None => Ok(0),
            Some(v) => v.as_u64().or_else(|| v.as_i64().map(|_| 0)).ok_or_else(|| wrong_type(name)),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.0.get(name) {
            None => Ok(false),
            Some(v) => v.as_bool().ok_or_else(|| wrong_type(name)),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, Refusal> {
        match self.0.get(name) {
            None => Ok(""),
            Some(v) => v.as_str().ok_or_else(|| wrong_type(name)),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| wrong_type(name))?;
        items.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name))).collect()
    }
}

pub(crate) fn wrong_type(name: &str) -> Refusal {
    invalid(&format!("failed to parse JSON input: json: cannot unmarshal into field {name:?}"))
}

pub(crate) fn invalid(text: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, text.to_owned())
}

fn failed(error: &SealError) -> Refusal {
    match error {
        SealError::Internal(text) => {
            tracing::error!(error = text, "a seal operation failed");
            Refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned())
        }
        other @ (SealError::NoMigration
        | SealError::MigrationPending
        | SealError::Outer(_)
        | SealError::NoSeal(_)
        | SealError::Removed) => Refusal(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
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
    let request = InitRequest {
        secret_shares: body.number("secret_shares")?,
        secret_threshold: body.number("secret_threshold")?,
        pgp_keys: body.texts("pgp_keys")?,
        recovery_shares: body.number("recovery_shares")?,
        recovery_threshold: body.number("recovery_threshold")?,
        recovery_pgp_keys: body.texts("recovery_pgp_keys")?,
        break_glass_shares: body.number("break_glass_shares")?,
        break_glass_threshold: body.number("break_glass_threshold")?,
        break_glass_pgp_keys: body.texts("break_glass_pgp_keys")?,
        root_token_pgp_key: body.text("root_token_pgp_key")?.to_owned(),
        root_token: None,
    };
    let made = core.init(request).await.map_err(|e| failed(&e))?;
    let hexed = |shares: &[SecretBytes]| shares.iter().map(|s| hex(s.expose())).collect::<Vec<_>>();
    let base64 = |shares: &[SecretBytes]| shares.iter().map(|s| BASE64_STANDARD.encode(s.expose())).collect::<Vec<_>>();
    let mut reply = Map::new();
    reply.insert("keys".into(), hexed(&made.shares).into());
    reply.insert("keys_base64".into(), base64(&made.shares).into());
    if !made.recovery_shares.is_empty() {
        reply.insert("recovery_keys".into(), hexed(&made.recovery_shares).into());
        reply.insert("recovery_keys_base64".into(), base64(&made.recovery_shares).into());
    }
    if !made.break_glass_shares.is_empty() {
        reply.insert("break_glass_keys".into(), hexed(&made.break_glass_shares).into());
        reply.insert("break_glass_keys_base64".into(), base64(&made.break_glass_shares).into());
    }
    reply.insert("root_token".into(), made.root_token.expose().into());
    Ok(respond::json_body(StatusCode::OK, &reply))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

async fn unseal(core: &Core, data: &Map) -> Reply {
    unseal_checked(core, data).await.unwrap_or_else(Refusal::reply)
}

async fn unseal_checked(core: &Core, data: &Map) -> Result<Reply, Refusal> {
    let body = Body::new(data);
    let key = Zeroizing::new(body.text("key")?.to_owned());
    let reset = body.flag("reset")?;
    let migrate = body.flag("migrate")?;
    let break_glass = body.flag("break_glass")?;
    if reset {
        core.reset_unseal().await.map_err(|e| failed(&e))?;
    } else {
        if key.is_empty() {
            return Err(invalid("'key' must be specified in request body as JSON, or 'reset' set to true"));
        }
        let share = share_from_text(&key).ok_or_else(|| invalid("'key' must be a valid hex or base64 string"))?;
        let taken =
            if break_glass { core.unseal_with_break_glass(share, migrate).await } else { core.unseal(share, migrate).await };
        taken.map_err(|e| failed(&e))?;
    }
    Ok(respond::json_body(StatusCode::OK, &core.seal_status()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::direct_raft;

    /// CVE class F: what is answered beside the pipeline is a closed list. Every path of `sys/` that is open to everybody is here,
    /// in the pipeline's own frozen list (`server-core`), or nowhere.
    #[test]
    fn class_f_paths_beside_the_pipeline_are_these() {
        let open = policy_paths();
        let direct: Vec<&str> = open.iter().map(String::as_str).filter(|p| serves(p) || direct_raft::may_serve(p)).collect();
        assert_eq!(
            direct,
            [
                "sys/health",
                "sys/init",
                "sys/leader",
                "sys/rekey-recovery-key/init",
                "sys/rekey-recovery-key/update",
                "sys/rekey-recovery-key/verify",
                "sys/rekey/init",
                "sys/rekey/update",
                "sys/rekey/verify",
                "sys/seal-status",
                "sys/storage/raft/bootstrap/challenge",
                "sys/storage/raft/join",
                "sys/unseal"
            ]
        );
        for path in
            ["sys/rekey/backup", "sys/rekey/recovery-key-backup", "sys/rekey", "sys/rekey/init/", "sys/seal", "sys/rotate"]
        {
            assert!(!serves(path), "{path}");
        }
    }

    fn policy_paths() -> Vec<String> {
        policy::paths::all_open().filter(|(t, _)| *t == "system").map(|(_, p)| format!("sys/{p}")).collect()
    }

    #[test]
    fn other_methods_are_refused_before_anything_else() {
        for (path, method, refused) in [
            ("sys/rekey/init", Method::DELETE, false),
            ("sys/rekey/init", Method::PATCH, true),
            ("sys/rekey/update", Method::GET, false),
            ("sys/rekey/update", Method::DELETE, true),
            ("sys/rekey-recovery-key/verify", Method::DELETE, false),
            ("sys/generate-root/attempt", Method::DELETE, false),
            ("sys/generate-root/attempt", Method::HEAD, true),
            ("sys/generate-root/update", Method::DELETE, true),
            ("sys/seal", Method::GET, true),
        ] {
            assert_eq!(wrong_method(path, &method).is_some(), refused, "{method} {path}");
        }
    }
}
