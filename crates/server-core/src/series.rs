//! The names of the metric series (contract §7.6), in one place, with their prefix. Dashboards made for Vault find them.
//!
//! Deliberately absent: a recorder (the binary installs one) and Vault's series that would need a scan of all leases or tokens
//! at each scrape.

use std::time::Instant;

use audit::Health;
use metrics::{Histogram, counter, gauge, histogram};
use replication::State;

use crate::core::Core;
use crate::mounts::Table;

macro_rules! series {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = concat!("vault_", $text);)*
    };
}

series! {
    /// Milliseconds a request took (summary).
    HANDLE_REQUEST = "core_handle_request";
    /// The same for logins.
    HANDLE_LOGIN_REQUEST = "core_handle_login_request";
    /// 1 while unsealed.
    UNSEALED = "core_unsealed";
    /// 1 while this node serves requests.
    ACTIVE = "core_active";
    /// 1 while the outer seal does its work. Vault's series on its seals have other names.
    SEAL_HEALTHY = "seal_healthy";
    /// When it last did, seconds since the epoch.
    SEAL_LAST_SUCCESS = "seal_last_success_seconds";
    /// Questions to it that came to nothing.
    SEAL_FAILURE = "seal_failure";
    /// Requests being served.
    IN_FLIGHT = "core_in_flight_requests";
    /// Mounts, by `type` (`logical`, `auth`).
    MOUNTS = "core_mount_table_num_entries";
    /// Requests that a rate limit quota refused, by its `name`.
    RATE_LIMITED = "quota_rate_limit_violation";
    /// Leases that a lease count quota refused, by its `name`.
    LEASES_LIMITED = "quota_lease_count_violation";
    /// Transactions run anew after a conflict. Vault has no such series.
    CONFLICTS = "core_transaction_conflict";
    /// Milliseconds for the entry of a request (summary).
    AUDIT_REQUEST = "audit_log_request";
    /// Requests that no device took.
    AUDIT_REQUEST_FAILURE = "audit_log_request_failure";
    /// Milliseconds for the entry of an answer (summary).
    AUDIT_RESPONSE = "audit_log_response";
    /// Answers that no device took.
    AUDIT_RESPONSE_FAILURE = "audit_log_response_failure";
    /// 1 while a device takes entries, by `device`.
    AUDIT_DEVICE = "audit_device_healthy";
    /// Records sealed with the present key.
    ENCRYPTIONS = "barrier_estimated_encryptions";
    /// Records read.
    BARRIER_GET = "barrier_get_count";
    /// Records written.
    BARRIER_PUT = "barrier_put_count";
    /// Records removed.
    BARRIER_DELETE = "barrier_delete_count";
    /// Folders listed.
    BARRIER_LIST = "barrier_list_count";
    /// Entries of the log in the applied state.
    RAFT_APPLIED = "raft_storage_stats_applied_index";
    /// Entries of the log that are committed.
    RAFT_COMMITTED = "raft_storage_stats_commit_index";
    /// Term of the log.
    RAFT_TERM = "raft_storage_stats_term";
    /// 1 while this node leads.
    RAFT_LEADER = "raft_state_leader";
    /// 1 while it follows.
    RAFT_FOLLOWER = "raft_state_follower";
    /// 1 while it stands for election.
    RAFT_CANDIDATE = "raft_state_candidate";
    /// Nodes of the cluster.
    RAFT_PEERS = "raft_peers";
    /// 1 while all nodes are well.
    AUTOPILOT_HEALTHY = "autopilot_healthy";
    /// Nodes that may fail without loss of service.
    AUTOPILOT_TOLERANCE = "autopilot_failure_tolerance";
    /// Resident memory, bytes.
    RUNTIME_ALLOC = "runtime_alloc_bytes";
    /// Virtual memory, bytes.
    RUNTIME_SYS = "runtime_sys_bytes";
    /// Threads; Vault's series counts goroutines.
    RUNTIME_THREADS = "runtime_num_goroutines";
}

/// What every request notes, found once: the recorder is installed before the core starts.
pub(crate) struct Timers {
    pub(crate) request: Timer,
    pub(crate) login: Timer,
    pub(crate) audit_request: Timer,
    pub(crate) audit_response: Timer,
}

/// A summary of milliseconds.
pub(crate) struct Timer(Histogram);

impl Timers {
    pub(crate) fn new() -> Self {
        let timer = |series: &'static str| Timer(histogram!(series));
        Self {
            request: timer(HANDLE_REQUEST),
            login: timer(HANDLE_LOGIN_REQUEST),
            audit_request: timer(AUDIT_REQUEST),
            audit_response: timer(AUDIT_RESPONSE),
        }
    }
}

impl Timer {
    /// Notes how long something took.
    pub(crate) fn took(&self, since: Instant) {
        self.0.record(since.elapsed().as_secs_f64() * 1000.0);
    }
}

/// Sets what is looked at only when somebody asks.
pub(crate) fn refresh(core: &Core) {
    let open = core.open();
    gauge!(UNSEALED).set(flag(open.is_some()));
    gauge!(ACTIVE).set(flag(core.state() == crate::NodeState::Active));
    gauge!(IN_FLIGHT).set(whole(core.in_flight()));
    if let Some((healthy, last)) = core.seal_figures() {
        gauge!(SEAL_HEALTHY).set(flag(healthy));
        if let Some(seconds) = last.and_then(|s| u64::try_from(s).ok()) {
            gauge!(SEAL_LAST_SUCCESS).set(whole(seconds));
        }
    }
    for device in core.audit().statuses() {
        gauge!(AUDIT_DEVICE, "device" => device.path).set(flag(device.health == Health::Healthy));
    }
    if let Some(open) = open {
        let counts = open.barrier.counts();
        gauge!(ENCRYPTIONS).set(whole(counts.encryptions));
        counter!(BARRIER_GET).absolute(counts.gets);
        counter!(BARRIER_PUT).absolute(counts.puts);
        counter!(BARRIER_DELETE).absolute(counts.deletes);
        counter!(BARRIER_LIST).absolute(counts.lists);
        if let Ok(router) = open.router(core.config()) {
            for (table, name) in [(Table::Mounts, "logical"), (Table::Auth, "auth")] {
                gauge!(MOUNTS, "type" => name).set(whole(router.table(table).count() as u64));
            }
        }
    }
    replication(core);
    runtime();
}

fn replication(core: &Core) {
    let status = core.replica().status();
    gauge!(RAFT_APPLIED).set(whole(status.applied));
    gauge!(RAFT_COMMITTED).set(whole(status.committed));
    gauge!(RAFT_TERM).set(whole(status.term));
    gauge!(RAFT_LEADER).set(flag(status.state == State::Leader));
    gauge!(RAFT_FOLLOWER).set(flag(status.state == State::Follower));
    gauge!(RAFT_CANDIDATE).set(flag(status.state == State::Candidate));
    gauge!(RAFT_PEERS).set(whole(status.peers.len() as u64));
    gauge!(AUTOPILOT_HEALTHY).set(flag(status.leader.is_some() && status.failure.is_none()));
    let voters = status.peers.iter().filter(|p| p.voter).count() as u64;
    gauge!(AUTOPILOT_TOLERANCE).set(whole(voters.saturating_sub(1) / 2));
}

/// What the kernel says of this process. On other systems than Linux these series are missing.
fn runtime() {
    let Ok(text) = std::fs::read_to_string("/proc/self/status") else { return };
    let known = [("VmRSS:", RUNTIME_ALLOC, 1024.0), ("VmSize:", RUNTIME_SYS, 1024.0), ("Threads:", RUNTIME_THREADS, 1.0)];
    for (key, series, unit) in known {
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|n| n.parse::<f64>().ok());
        if let Some(n) = number {
            gauge!(series).set(n * unit);
        }
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Counts beyond 2^53 would lose their last digits; none of these gets there.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn whole(n: u64) -> f64 {
    n as f64
}
