//! Sealing, stepping down, the data key, and what is told of seal and nodes to callers with a token.
//!
//! Deliberately absent: unseal, init, rekey, seal-status, leader and health (`server-http`, without a token), rotation by itself
//! (`seal::rotation`).

use std::sync::Arc;
use std::time::Duration;

use api_types::{Operation, duration};
use barrier::{Barrier, BarrierError, RotationConfig, Unsealed};
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};
use storage::Changeset;

use super::SystemEngine;
use super::support::{bare_json, uncommitted};
use crate::core::{CONFLICTS_MAX, CommitError, Core};
use crate::standby::NOT_ON_STANDBY;

/// Bounds of `max_operations` (contract §2.2): below a million a busy server rotates all the time; the upper one is the bound
/// for random nonces.
const MAX_OPERATIONS: std::ops::RangeInclusive<i64> = 1_000_000..=3_865_470_566;
/// Shortest interval between rotations, unless it is off.
const INTERVAL_MIN: Duration = Duration::from_secs(24 * 3600);

const ROTATION: &[Field] = &[
    Field::new("enabled", FieldKind::Bool, "Whether automatic rotation is enabled."),
    Field::new("max_operations", FieldKind::Int, "The number of encryption operations performed before the key is rotated."),
    Field::new("interval", FieldKind::DurationSecond, "How long after installation of an active key it is rotated."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("seal", &[], "Seals the server.").on_async(Operation::Update, "Seal the server.", seal),
        Route::new("step-down", &[], "Gives up leadership.").on_async(Operation::Update, "Give up leadership.", step_down),
        Route::new("rotate", &[], "Rotates the data key.").on_async(Operation::Update, "Rotate the data key.", rotate),
        Route::new("rotate/config", ROTATION, "Configures the automatic rotation of the data key.")
            .on(Operation::Read, "Read the configuration.", rotation)
            .on_async(Operation::Update, "Change the configuration.", set_rotation),
        Route::new("key-status", &[], "Shows the data key that is in use.").on(Operation::Read, "Show term and age.", key_status),
        Route::new("ha-status", &[], "Shows the nodes of the cluster.").on(Operation::Read, "List the nodes.", ha_status),
        Route::new("seal-backend-status", &[], "Shows the health of the seals.").on(
            Operation::Read,
            "Show the health.",
            seal_backend_status,
        ),
    ]
}

fn seal<'a>(engine: &'a SystemEngine, _call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let core = engine.core()?;
        if !core.leads() {
            return Err(EngineError::internal(NOT_ON_STANDBY));
        }
        core.seal().await;
        Ok(None)
    })
}

/// A node that nobody can take over from leads on; that is no failure, as in Vault.
fn step_down<'a>(engine: &'a SystemEngine, _: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        engine.core()?.give_up_lead().await;
        Ok(None)
    })
}

fn rotate<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        let id = &call.request.id;
        if !id.is_empty() && *engine.memory.rotated_by.lock() == *id {
            return Ok(None);
        }
        let (now, entropy) = (call.now, call.entropy);
        propose(&core, &open.barrier, |barrier| barrier.rotate(now, entropy)).await?;
        engine.memory.rotated_by.lock().clone_from(id);
        Ok(None)
    })
}

fn rotation(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let config = engine.opened()?.1.barrier.keyring().rotation;
    let interval = match config.interval_seconds {
        0 => Value::from(0),
        n => duration::go_string(Duration::from_secs(n)).into(),
    };
    Ok(Some(Response::json(json!({
        "enabled": config.enabled,
        "max_operations": config.max_operations,
        "interval": interval,
    }))))
}

/// `enabled: false` is accepted and changes nothing, as in Vault: the bound on one key's use is no matter of taste.
fn set_rotation<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let (core, open) = engine.opened()?;
        let max_operations = call.fields.int("max_operations");
        if max_operations.is_some_and(|n| !MAX_OPERATIONS.contains(&n)) {
            let (low, high) = (MAX_OPERATIONS.start(), MAX_OPERATIONS.end());
            return Err(EngineError::Invalid(format!("max_operations must be in the range [{low},{high}]")));
        }
        let interval = call.fields.duration("interval");
        if interval.is_some_and(|d| !d.is_zero() && d < INTERVAL_MIN) {
            let least = duration::go_string(INTERVAL_MIN);
            return Err(EngineError::Invalid(format!("interval must be greater or equal to {least}")));
        }
        let entropy = call.entropy;
        propose(&core, &open.barrier, |barrier| {
            let old = barrier.keyring().rotation;
            let next = RotationConfig {
                enabled: true,
                max_operations: max_operations.and_then(|n| u64::try_from(n).ok()).unwrap_or(old.max_operations),
                interval_seconds: interval.map_or(old.interval_seconds, |d| d.as_secs()),
            };
            barrier.set_rotation(next, entropy)
        })
        .await?;
        Ok(None)
    })
}

fn key_status(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let barrier = &engine.opened()?.1.barrier;
    let active = barrier.keyring().active();
    Ok(Some(Response::json(json!({
        "term": active.term,
        "install_time": active.install_time.rfc3339(),
        "encryptions": barrier.counts().encryptions,
    }))))
}

/// As the leader sees them; a standby passes the question on.
fn ha_status(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    let (status, heard) = (core.replica().status(), core.replica().followers());
    let now = call.now;
    let nodes: Vec<Value> = status
        .peers
        .iter()
        .map(|peer| {
            // Another node's host is not known here; its name in the cluster is.
            let hostname = if peer.raft_id == status.this.raft_id { hostname() } else { peer.node_id.clone() };
            let ago = heard.iter().find(|f| f.raft_id == peer.raft_id).and_then(|f| f.last_contact);
            json!({
                "hostname": hostname,
                "api_address": peer.api_addr,
                "cluster_address": core.cluster_url(&peer.address),
                "active_node": peer.leader,
                "last_echo": ago.map(|ago| now.minus(ago).rfc3339()),
                "echo_duration_ms": 0,
                "clock_skew_ms": 0,
                "version": core.config().version,
                "upgrade_version": core.config().version,
                "replication_primary_canary_age_ms": 0,
            })
        })
        .collect();
    Ok(Some(Response::json(json!({ "nodes": nodes }))))
}

/// The name of this host.
pub(crate) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn seal_backend_status(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    bare_json(&engine.core()?.seal_backend_status(), 200).map(Some)
}

/// Proposes a new keyring by itself: it stands beside the sealed records and is in no request's transaction.
async fn propose(
    core: &Core,
    barrier: &Arc<Barrier<Unsealed>>,
    make: impl Fn(&Barrier<Unsealed>) -> Result<Changeset, BarrierError> + Send,
) -> Result<(), EngineError> {
    for _ in 0..CONFLICTS_MAX {
        let change = make(barrier).map_err(|e| uncommitted(e.into()))?;
        if core.replica.propose(change).await.map_err(|e| uncommitted(e.into()))?.committed {
            return Ok(());
        }
    }
    Err(uncommitted(CommitError::Contended))
}
