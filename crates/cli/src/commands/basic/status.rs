//! `status`, and the table of seal and HA state that `operator unseal` prints too.

use client::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use crate::command::Command;
use crate::exit::{Failure, Fault, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::render::key_values;
use crate::session::Session;

/// Prints seal and HA state.
pub static COMMAND: Command = Command {
    path: "status",
    synopsis: "Print seal and HA status",
    operands: "[options]",
    about: "\
Prints whether the server is sealed, and what it knows of its cluster.
The exit code is 0 when unsealed, 2 when sealed, 1 on error.",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let local = |fault: Fault| match fault {
        Fault::Client(e) => Failure::Local(format!("Error checking seal status: {e}")),
        Fault::Other(Failure::Server(text)) => Failure::Local(text),
        Fault::Other(other) => other,
    };
    let seal: SealStatus = s.json(&Request::get("sys/seal-status").without_namespace()).map_err(local)?;
    let sealed = seal.sealed;
    show(s, seal)?;
    Ok(if sealed { 2 } else { 0 })
}

/// `sys/seal-status`, in the key order of Vault's JSON output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealStatus {
    /// Kind of seal.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Whether there are keys.
    #[serde(default)]
    pub initialized: bool,
    /// Whether nothing can be read.
    pub sealed: bool,
    /// Shares needed.
    #[serde(default)]
    pub t: u64,
    /// Shares made.
    #[serde(default)]
    pub n: u64,
    /// Shares given so far.
    #[serde(default)]
    pub progress: u64,
    /// Id of this unseal.
    #[serde(default)]
    pub nonce: String,
    /// Version of the API.
    #[serde(default)]
    pub version: String,
    /// RFC 3339.
    #[serde(default)]
    pub build_date: String,
    /// Whether the seal is being changed.
    #[serde(default)]
    pub migration: bool,
    /// Only when unsealed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
    /// Only when unsealed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_id: String,
    /// Whether an auto-seal holds the keys.
    #[serde(default)]
    pub recovery_seal: bool,
    /// `shamir` with an auto-seal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recovery_seal_type: String,
    /// Only where break-glass shares were issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// Kind of storage.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub storage_type: String,
    /// Whether the cluster put this node out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_from_cluster: Option<bool>,
    /// What the operator should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
}

/// Break-glass shares, as `sys/seal-status` tells of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakGlass {
    /// Shares needed.
    pub t: u64,
    /// Shares made.
    pub n: u64,
    /// Shares given so far.
    pub progress: u64,
    /// Id of this attempt.
    pub nonce: String,
}

/// `sys/leader`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Leader {
    #[serde(default)]
    ha_enabled: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_self: bool,
    #[serde(default = "never")]
    active_time: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    leader_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    leader_cluster_address: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    performance_standby: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    performance_standby_last_remote_wal: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    last_wal: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    raft_committed_index: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    raft_applied_index: u64,
}

#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    seal: SealStatus,
    #[serde(flatten)]
    leader: Leader,
}

/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn never() -> String {
    NEVER.to_owned()
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Asks for the leader and prints both.
pub fn show(s: &mut Session<'_, '_>, seal: SealStatus) -> Result<(), Failure> {
    let leader = match s.look_up(Request::get("sys/leader").without_namespace()).and_then(|r| Ok(r.json::<Leader>()?)) {
        Ok(leader) => leader,
        // A sealed node of a cluster does not tell; that it refuses says that there is one.
        Err(fault @ Fault::Client(_)) if fault.to_string().contains("Vault is sealed") => Leader { ha_enabled: true, ..blank() },
        Err(fault) => return Err(Failure::Local(format!("Error checking leader status: {fault}"))),
    };
    let table = key_values(rows(&seal, &leader));
    s.show(&Whole { seal, leader }, &table)
}

fn blank() -> Leader {
    Leader {
        ha_enabled: false,
        is_self: false,
        active_time: never(),
        leader_address: String::new(),
        leader_cluster_address: String::new(),
        performance_standby: false,
        performance_standby_last_remote_wal: 0,
        last_wal: 0,
        raft_committed_index: 0,
        raft_applied_index: 0,
    }
}

fn rows(seal: &SealStatus, leader: &Leader) -> Vec<(&'static str, String)> {
    let shares = if seal.recovery_seal { "Total Recovery Shares" } else { "Total Shares" };
    let mut out = vec![("Seal Type", seal.kind.clone())];
    if seal.recovery_seal {
        out.push(("Recovery Seal Type", seal.recovery_seal_type.clone()));
    }
    out.push(("Initialized", seal.initialized.to_string()));
    out.push(("Sealed", seal.sealed.to_string()));
    out.push((shares, seal.n.to_string()));
    out.push(("Threshold", seal.t.to_string()));
    if seal.sealed {
        out.push(("Unseal Progress", format!("{}/{}", seal.progress, seal.t)));
        out.push(("Unseal Nonce", seal.nonce.clone()));
    }
    if let Some(glass) = &seal.break_glass {
        out.push(("Break-Glass Shares", format!("{} of {}", glass.t, glass.n)));
        if seal.sealed {
            out.push(("Break-Glass Progress", format!("{}/{}", glass.progress, glass.t)));
        }
    }
    if seal.migration {
        out.push(("Seal Migration in Progress", "true".to_owned()));
    }
    out.push(("Version", seal.version.clone()));
    out.push(("Build Date", seal.build_date.clone()));
    out.push(("Storage Type", seal.storage_type.clone()));
    if !seal.cluster_name.is_empty() && !seal.cluster_id.is_empty() {
        out.push(("Cluster Name", seal.cluster_name.clone()));
        out.push(("Cluster ID", seal.cluster_id.clone()));
    }
    if let Some(removed) = seal.removed_from_cluster {
        out.push(("Removed From Cluster", removed.to_string()));
    }
    out.push(("HA Enabled", leader.ha_enabled.to_string()));
    if leader.ha_enabled && !seal.sealed {
        out.extend(ha_rows(leader));
    }
    if leader.raft_committed_index > 0 {
        out.push(("Raft Committed Index", leader.raft_committed_index.to_string()));
    }
    if leader.raft_applied_index > 0 {
        out.push(("Raft Applied Index", leader.raft_applied_index.to_string()));
    }
    if leader.last_wal > 0 {
        out.push(("Last WAL", leader.last_wal.to_string()));
    }
    if let Some(warnings) = &seal.warnings {
        out.push(("Warnings", format!("[{}]", warnings.join(" "))));
    }
    out
}

fn ha_rows(leader: &Leader) -> Vec<(&'static str, String)> {
    let mut out = vec![("HA Cluster", leader.leader_cluster_address.clone())];
    if leader.is_self {
        out.push(("HA Mode", "active".to_owned()));
        if leader.active_time != NEVER {
            out.push(("Active Since", leader.active_time.clone()));
        }
    } else {
        let address = if leader.leader_address.is_empty() { "<none>".to_owned() } else { leader.leader_address.clone() };
        out.push(("HA Mode", if leader.performance_standby { "performance standby" } else { "standby" }.to_owned()));
        out.push(("Active Node Address", address));
    }
    out
}

/// A field of a bare status answer as text for a table.
#[must_use]
pub fn cell(map: &api_types::Map, key: &str) -> String {
    map.get(key).map(crate::render::go_value).unwrap_or_default()
}

/// A number of a bare status answer.
#[must_use]
pub fn number(map: &api_types::Map, key: &str) -> u64 {
    match map.get(key) {
        Some(Value::Number(n)) => Number::as_u64(n).unwrap_or(0),
        _ => 0,
    }
}
