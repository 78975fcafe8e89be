//! `sys/storage/raft/*` as one node answers them (contract §2.3, §9).
//!
//! Deliberately absent: other nodes. A challenge is given out and its answer checked, but there is no transport by which a node
//! could then join, so a right answer is refused as well, in words.

use std::time::Duration;

use api_types::{Operation, duration};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Kind, Outcome, Response, Route, Stream};
use replication::Peer;
use secret::{SecretBytes, SystemEntropy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SystemEngine;
use super::snapshot::{self, Snapshot};
use super::support::bare_json;
use crate::core::Core;

const AUTOPILOT_ROW: &str = "core/raft/autopilot/configuration";
/// Nodes that may be in the middle of joining. Anybody can ask for a challenge, so there is a bound.
const CHALLENGES_MAX: usize = 64;
/// Longest name of a node that is remembered.
const SERVER_ID_MAX_BYTES: usize = 256;
/// Random bytes of a challenge.
const CHALLENGE_BYTES: usize = 16;
/// What a challenge is sealed for.
const CHALLENGE_CONTEXT: &str = "raft-challenge";
/// Dead servers are not cleaned up with fewer voters than this.
const MIN_QUORUM: i64 = 3;
/// Shortest silence after which a server may count as dead.
const DEAD_SERVER_MIN: Duration = Duration::from_secs(60);

const SERVER: &[Field] = &[
    Field::new("server_id", FieldKind::String, "Name of the node."),
    Field::new("dr_operation_token", FieldKind::String, "Accepted; there is no disaster recovery replication."),
];
const ANSWER: &[Field] = &[
    Field::new("server_id", FieldKind::String, "Name of the node."),
    Field::new("answer", FieldKind::String, "The opened challenge, in base64."),
    Field::new("cluster_addr", FieldKind::String, "host:port of the node."),
    Field::new("non_voter", FieldKind::Bool, "Whether it only learns."),
    Field::new("sdk_version", FieldKind::String, "Version of the node."),
    Field::new("upgrade_version", FieldKind::String, "Version it upgrades to."),
];
const JOIN: &[Field] = &[
    Field::new("leader_api_addr", FieldKind::String, "URL of the leader's API."),
    Field::new("leader_ca_cert", FieldKind::String, "CA of its certificate, PEM."),
    Field::new("leader_client_cert", FieldKind::String, "Client certificate, PEM."),
    Field::new("leader_client_key", FieldKind::String, "Its key, PEM."),
    Field::new("leader_tls_servername", FieldKind::String, "Name in its certificate."),
    Field::new("retry", FieldKind::Bool, "Keep trying."),
    Field::new("non_voter", FieldKind::Bool, "Only learn."),
    Field::new("auto_join", FieldKind::String, "Cloud discovery."),
    Field::new("auto_join_scheme", FieldKind::String, "Scheme for it."),
    Field::new("auto_join_port", FieldKind::Int, "Port for it."),
];
const AUTOPILOT: &[Field] = &[
    Field::new("cleanup_dead_servers", FieldKind::Bool, "Remove servers that are dead."),
    Field::new("last_contact_threshold", FieldKind::DurationSecond, "Silence after which a server is unhealthy."),
    Field::new("dead_server_last_contact_threshold", FieldKind::DurationSecond, "Silence after which it is dead."),
    Field::new("max_trailing_logs", FieldKind::Int, "Entries it may lag behind."),
    Field::new("min_quorum", FieldKind::Int, "Servers that are never cleaned up below."),
    Field::new("server_stabilization_time", FieldKind::DurationSecond, "Health before it may vote."),
    Field::new("disable_upgrade_migration", FieldKind::Bool, "Accepted and shown."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("storage/raft/configuration", &[], "Shows the nodes of the log.").on(
            Operation::Read,
            "Show them.",
            configuration,
        ),
        Route::new("storage/raft/remove-peer", SERVER, "Removes a node.").on(Operation::Update, "Remove a node.", remove_peer),
        Route::new("storage/raft/join", JOIN, "Joins a cluster.").on(Operation::Update, "Join.", join),
        Route::new("storage/raft/bootstrap/challenge", SERVER, "Gives a joining node a challenge.").on(
            Operation::Update,
            "Ask for a challenge.",
            challenge,
        ),
        Route::new("storage/raft/bootstrap/answer", ANSWER, "Takes a joining node's answer.").on(
            Operation::Update,
            "Answer the challenge.",
            answer,
        ),
        Route::new("storage/raft/autopilot/configuration", AUTOPILOT, "Configures how dead servers are handled.")
            .on(Operation::Read, "Read the configuration.", autopilot)
            .on(Operation::Update, "Change the configuration.", set_autopilot),
        Route::new("storage/raft/autopilot/state", &[], "Shows how the nodes fare.").on(Operation::Read, "Show it.", state),
        Route::new("storage/raft/snapshot", &[], "Saves the state of the cluster.")
            .on_async(Operation::Read, "Download a snapshot.", save)
            .on_async(Operation::Update, "Restore a snapshot.", restore)
            .free_form(),
        Route::new("storage/raft/snapshot-force", &[], "Restores a snapshot of another cluster.")
            .on_async(Operation::Update, "Restore a snapshot.", restore)
            .free_form(),
    ]
}

fn in_use(core: &Core) -> Result<(), EngineError> {
    if core.config().storage_type == "raft" {
        return Ok(());
    }
    Err(EngineError::invalid("raft storage is not in use"))
}

fn configuration(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    in_use(&core)?;
    let status = core.replica().status();
    let servers: Vec<Value> = status
        .peers
        .iter()
        .map(|p| {
            json!({
                "node_id": p.node_id,
                "address": p.address,
                "leader": p.leader,
                "protocol_version": "3",
                "voter": p.voter,
            })
        })
        .collect();
    Ok(Some(Response::json(json!({ "config": { "index": status.membership_index, "servers": servers } }))))
}

fn remove_peer(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("server_id");
    if id.is_empty() {
        return Err(EngineError::invalid("no server id provided"));
    }
    let core = engine.core()?;
    in_use(&core)?;
    if core.replica().status().peers.iter().any(|p| p.node_id == id) {
        return Err(EngineError::invalid("the only node of a cluster cannot be removed"));
    }
    Ok(None)
}

/// A node that serves requests belongs to a cluster already; Vault says the same of it.
fn join(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    if core.config().storage_type != "raft" {
        return Err(EngineError::invalid("raft backend not in use"));
    }
    bare_json(&json!({ "joined": true }), 200).map(Some)
}

fn challenge(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let id = call.fields.str("server_id");
    if id.is_empty() {
        return Err(EngineError::invalid("no server id provided"));
    }
    if id.len() > SERVER_ID_MAX_BYTES {
        return Err(EngineError::invalid("server id exceeds max length"));
    }
    let (core, open) = engine.opened()?;
    in_use(&core)?;
    let config = core.sealed.config().ok().flatten().ok_or_else(|| EngineError::internal("internal error"))?;
    let mut pending = engine.memory.challenges.lock();
    if pending.len() >= CHALLENGES_MAX && !pending.contains_key(id) {
        return Err(EngineError::Limited("too many raft challenges in flight".into()));
    }
    let expected = SecretBytes::new(call.entropy.bytes(CHALLENGE_BYTES)?);
    let sealed = open
        .barrier
        .seal_bytes(CHALLENGE_CONTEXT, expected.expose(), call.entropy)
        .map_err(|_| EngineError::internal("internal error"))?;
    pending.insert(id.to_owned(), expected);
    Ok(Some(Response::json(json!({
        "challenge": BASE64_STANDARD.encode(sealed),
        "seal_config": {
            "type": config.seal_type,
            "secret_shares": config.secret_shares,
            "secret_threshold": config.secret_threshold,
            "pgp_keys": null,
            "nonce": "",
            "backup": false,
            "stored_shares": config.stored_shares,
            "name": "",
        },
    }))))
}

/// One answer for each challenge: it cannot be guessed at.
fn answer(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    in_use(&core)?;
    let fields = &call.fields;
    for name in ["server_id", "answer", "cluster_addr"] {
        if fields.str(name).is_empty() {
            return Err(EngineError::Invalid(format!("no {name} provided")));
        }
    }
    let given =
        BASE64_STANDARD.decode(fields.str("answer")).map_err(|_| EngineError::invalid("could not base64 decode answer"))?;
    let expected = engine.memory.challenges.lock().remove(fields.str("server_id"));
    let expected = expected.ok_or_else(|| EngineError::invalid("no expected answer for the server id provided"))?;
    if !expected.ct_eq(&given) {
        return Err(EngineError::invalid("invalid answer given"));
    }
    Err(EngineError::Unavailable("this node cannot take in other nodes".into()))
}

/// Vault's autopilot settings; durations in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Autopilot {
    cleanup_dead_servers: bool,
    last_contact_threshold: u64,
    dead_server_last_contact_threshold: u64,
    max_trailing_logs: i64,
    min_quorum: i64,
    server_stabilization_time: u64,
    disable_upgrade_migration: bool,
}

impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: false,
            last_contact_threshold: 10,
            dead_server_last_contact_threshold: 24 * 3600,
            max_trailing_logs: 1000,
            min_quorum: 0,
            server_stabilization_time: 10,
            disable_upgrade_migration: false,
        }
    }
}

fn stored(call: &mut Call<'_>) -> Result<Autopilot, EngineError> {
    Ok(call.view.get_json::<Autopilot>(AUTOPILOT_ROW)?.map(|a| Autopilot::clone(&a)).unwrap_or_default())
}

fn autopilot(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    in_use(&*engine.core()?)?;
    let config = stored(call)?;
    let text = |seconds: u64| duration::go_string(Duration::from_secs(seconds));
    Ok(Some(Response::json(json!({
        "cleanup_dead_servers": config.cleanup_dead_servers,
        "last_contact_threshold": text(config.last_contact_threshold),
        "dead_server_last_contact_threshold": text(config.dead_server_last_contact_threshold),
        "max_trailing_logs": config.max_trailing_logs,
        "min_quorum": config.min_quorum,
        "server_stabilization_time": text(config.server_stabilization_time),
        "disable_upgrade_migration": config.disable_upgrade_migration,
    }))))
}

fn set_autopilot(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    in_use(&*engine.core()?)?;
    let mut config = stored(call)?;
    let fields = &call.fields;
    for name in ["max_trailing_logs", "min_quorum"] {
        if fields.int(name).is_some_and(|n| n < 0) {
            return Err(EngineError::Invalid(format!("{name} must not be negative")));
        }
    }
    let seconds = |name: &str, old: u64| fields.duration(name).map_or(old, |d| d.as_secs());
    config.cleanup_dead_servers = fields.bool("cleanup_dead_servers").unwrap_or(config.cleanup_dead_servers);
    config.last_contact_threshold = seconds("last_contact_threshold", config.last_contact_threshold);
    config.dead_server_last_contact_threshold =
        seconds("dead_server_last_contact_threshold", config.dead_server_last_contact_threshold);
    config.max_trailing_logs = fields.int("max_trailing_logs").unwrap_or(config.max_trailing_logs);
    config.min_quorum = fields.int("min_quorum").unwrap_or(config.min_quorum);
    config.server_stabilization_time = seconds("server_stabilization_time", config.server_stabilization_time);
    config.disable_upgrade_migration = fields.bool("disable_upgrade_migration").unwrap_or(config.disable_upgrade_migration);
    if config.cleanup_dead_servers && config.min_quorum < MIN_QUORUM {
        return Err(EngineError::Invalid(format!(
            "min_quorum must be set when cleanup_dead_servers is set and it should at least be {MIN_QUORUM}; \
             cleanup_dead_servers: true, min_quorum: {:#x}",
            config.min_quorum
        )));
    }
    let dead = config.dead_server_last_contact_threshold;
    if config.cleanup_dead_servers && dead < DEAD_SERVER_MIN.as_secs() {
        return Err(EngineError::Invalid(format!(
            "dead_server_last_contact_threshold should not be set to less than 1m; received: {dead}"
        )));
    }
    call.view.put_json(AUTOPILOT_ROW, &config)?;
    Ok(None)
}

fn state(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let (core, open) = engine.opened()?;
    in_use(&core)?;
    let status = core.replica().status();
    let healthy = status.leader.is_some() && status.failure.is_none();
    let voters: Vec<&str> = status.peers.iter().filter(|p| p.voter).map(|p| p.node_id.as_str()).collect();
    let describe = |p: &Peer| {
        json!({
            "id": p.node_id,
            "name": p.node_id,
            "address": p.address,
            "node_status": "alive",
            "last_contact": "0s",
            "last_term": status.term,
            "last_index": status.last_log,
            "healthy": healthy,
            "stable_since": open.since.rfc3339(),
            "status": if p.leader { "leader" } else if p.voter { "voter" } else { "non-voter" },
            "version": core.config().version,
            "upgrade_version": core.config().version,
            "node_type": "voter",
        })
    };
    let servers: api_types::Map = status.peers.iter().map(|p| (p.node_id.clone(), describe(p))).collect();
    Ok(Some(Response::json(json!({
        "healthy": healthy,
        "failure_tolerance": voters.len().saturating_sub(1) / 2,
        "leader": status.leader.as_ref().map(|l| l.node_id.as_str()).unwrap_or_default(),
        "voters": voters,
        "servers": servers,
    }))))
}

fn save<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        in_use(&core)?;
        let now = call.now;
        // Reading the whole state takes long.
        let taken = tokio::task::spawn_blocking(move || Snapshot::take(&core, &open, now, &SystemEntropy)).await;
        let taken = taken.map_err(|_| EngineError::internal("internal error"))??;
        let kind = Kind::Stream { content_type: "application/gzip".into(), body: taken.stream() };
        let mut response = Response { kind, ..Response::default() };
        response.headers.insert("Content-Disposition".into(), vec!["attachment".into()]);
        Ok(Some(response))
    })
}

fn restore<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        in_use(&core)?;
        let force = call.path.ends_with("snapshot-force");
        let upload = call.request.upload.as_ref().and_then(Stream::take);
        let upload = upload.ok_or_else(|| EngineError::invalid("the request has no snapshot in its body"))?;
        let snapshot = snapshot::receive_upload(&core, &open, upload, force).await?;
        // What this request has read is not there any more, and its token may be unknown to the new state.
        call.view.void();
        core.replace_state(snapshot, open).await?;
        Ok(None)
    })
}
