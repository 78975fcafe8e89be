//! `sys/storage/raft/*` (contract §2.3, §9). What changes or judges the membership is the leader's; the edge passes it on.
//!
//! Deliberately absent: what joining and membership are (`cluster`), joining while sealed (`server-http`).

use std::time::Duration;

use api_types::{Operation, duration};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Kind, Outcome, Response, Route, Stream};
use secret::SystemEntropy;
use serde_json::{Value, json};
use storage::TxnError;

use super::SystemEngine;
use super::snapshot::{self, Snapshot};
use super::support::bare_json;
use crate::cluster::autopilot::{CONFIGURATION_ROW, Configuration, Judged};
use crate::cluster::{HostError, Joiner};
use crate::core::Core;

/// Dead servers are not cleaned up with fewer voters than this.
const MIN_QUORUM: i64 = 3;
/// Shortest silence after which a server may count as dead.
const DEAD_SERVER_MIN: Duration = Duration::from_secs(60);

const SERVER: &[Field] = &[
    Field::new("server_id", FieldKind::String, "Name of the node."),
    Field::new("dr_operation_token", FieldKind::String, "Accepted; there is no disaster recovery replication."),
];
const CHALLENGE: &[Field] = &[
    Field::new("server_id", FieldKind::String, "Name of the node."),
    Field::new("with_root_key", FieldKind::Bool, "Also give the root key as it is stored, and where this node is."),
];
const ANSWER: &[Field] = &[
    Field::new("server_id", FieldKind::String, "Name of the node."),
    Field::new("answer", FieldKind::String, "The opened challenge, in base64."),
    Field::new("statement", FieldKind::String, "What the node says of itself, sealed under the root key, in base64."),
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
        Route::new("storage/raft/remove-peer", SERVER, "Removes a node.").on_async(
            Operation::Update,
            "Remove a node.",
            remove_peer,
        ),
        Route::new("storage/raft/join", JOIN, "Joins a cluster.").on(Operation::Update, "Join.", join),
        Route::new("storage/raft/bootstrap/challenge", CHALLENGE, "Gives a joining node a challenge.").on(
            Operation::Update,
            "Ask for a challenge.",
            challenge,
        ),
        Route::new("storage/raft/bootstrap/answer", ANSWER, "Takes a joining node's answer.").on_async(
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

/// The leader takes itself out only after another node has taken over, which then takes it out when it is asked again.
fn remove_peer<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let id = call.fields.str("server_id");
        if id.is_empty() {
            return Err(EngineError::invalid("no server id provided"));
        }
        let core = engine.core()?;
        in_use(&core)?;
        core.take_out(id).await.map(|_| None)
    })
}

/// A node that serves requests belongs to a cluster already; Vault says the same of it.
fn join(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    if core.config().storage_type != "raft" {
        return Err(EngineError::invalid("raft backend not in use"));
    }
    bare_json(&json!({ "joined": true }), 200).map(Some)
}

/// Over HTTP the edge asks the core itself (`server-http`), so that it works while nobody leads.
fn challenge(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let with_root_key = call.fields.bool("with_root_key").unwrap_or(false);
    let from = call.request.connection.remote_addr;
    let data = engine.core()?.challenge(call.fields.str("server_id"), with_root_key, from).map_err(refused)?;
    Ok(Some(Response::json(data)))
}

fn answer<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let core = engine.core()?;
        in_use(&core)?;
        let fields = &call.fields;
        for name in ["server_id", "answer", "cluster_addr"] {
            if fields.str(name).is_empty() {
                return Err(EngineError::Invalid(format!("no {name} provided")));
            }
        }
        let decoded = |name: &str| BASE64_STANDARD.decode(fields.str(name));
        let given = decoded("answer").map_err(|_| EngineError::invalid("could not base64 decode answer"))?;
        let statement = decoded("statement").map_err(|_| EngineError::invalid("could not base64 decode statement"))?;
        let statement = Some(statement.as_slice()).filter(|s| !s.is_empty());
        let joiner = Joiner { server_id: fields.str("server_id"), answer: &given, statement };
        let admitted = core.admit_node(joiner).await.map_err(refused)?;
        let peer = |(id, address, voter): &(String, String, bool)| json!({ "id": id, "address": address, "suffrage": i32::from(!voter) });
        Ok(Some(Response::json(json!({
            "peers": admitted.peers.iter().map(peer).collect::<Vec<_>>(),
            "tls_keyring": BASE64_STANDARD.encode(&admitted.keyring),
            "autoloaded_license": "",
        }))))
    })
}

fn refused(error: HostError) -> EngineError {
    match error {
        HostError::Sealed => EngineError::Storage(TxnError::Sealed),
        HostError::NotRaft | HostError::Invalid(_) => EngineError::Invalid(error.to_string()),
        HostError::TooMany => EngineError::Limited(error.to_string()),
        HostError::Unavailable(text) => EngineError::Unavailable(text),
        HostError::Internal => EngineError::internal("internal error"),
    }
}

fn stored(call: &mut Call<'_>) -> Result<Configuration, EngineError> {
    Ok(call.view.get_json::<Configuration>(CONFIGURATION_ROW)?.map(|a| Configuration::clone(&a)).unwrap_or_default())
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
    call.view.put_json(CONFIGURATION_ROW, &config)?;
    Ok(None)
}

fn state(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let (core, open) = engine.opened()?;
    in_use(&core)?;
    let status = core.replica().status();
    let judged = core.judged(&open);
    let names = |voter: bool| -> Vec<&str> {
        judged.nodes.iter().filter(|n| n.seen.voter == voter).map(|n| n.seen.node_id.as_str()).collect()
    };
    let describe = |n: &Judged| {
        json!({
            "id": n.seen.node_id,
            "name": n.seen.node_id,
            "address": n.seen.address,
            "node_status": if n.dead { "failed" } else { "alive" },
            "last_contact": duration::go_string(n.silent),
            "last_term": status.term,
            "last_index": n.seen.matched,
            "healthy": n.healthy,
            "stable_since": n.stable_since.rfc3339(),
            "status": if n.seen.leader { "leader" } else if n.seen.voter { "voter" } else { "non-voter" },
            "version": core.config().version,
            "upgrade_version": core.config().version,
            "node_type": if n.seen.barred { "non-voter" } else { "voter" },
        })
    };
    let servers: api_types::Map = judged.nodes.iter().map(|n| (n.seen.node_id.clone(), describe(n))).collect();
    let mut data = json!({
        "healthy": judged.healthy,
        "failure_tolerance": judged.failure_tolerance,
        "leader": status.leader.as_ref().map(|l| l.node_id.as_str()).unwrap_or_default(),
        "voters": names(true),
        "servers": servers,
    });
    if let (Some(data), false) = (data.as_object_mut(), names(false).is_empty()) {
        data.insert("non_voters".into(), names(false).into());
    }
    Ok(Some(Response::json(data)))
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
