//! What a node does that does not lead: nearly everything the leader does.
//!
//! Every unsealed node serves requests by itself: it waits until its state holds what was acknowledged anywhere, runs the request,
//! and proposes what was written; the leader only puts it in order. So what is derived from applied state is right on every node.
//! A few requests ask for what lives in the leader's memory, or are about the leader itself: the edge passes them on. Which ones,
//! and why nothing else needs to be, is in `docs/cluster-memory.md`.
//!
//! Deliberately absent: how a request travels (`server-http`, `cluster`), membership (`cluster/` here), elections (`replication`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use replication::{Peer, ProposeError, State};
use tokio::time::Instant;

use crate::answer::{Failure, FailureKind};
use crate::core::{Core, OpenCore};
use crate::seal::LeaderHeard;

/// How long a request waits for a leader, through an election. An election takes about a second; a cluster that has none after this
/// is not about to get one.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often a standby asks the leader whether it is there, and after how much silence it says so. Vault's beat is five seconds.
const HEARTBEAT: Duration = Duration::from_secs(2);
const UNHEARD: Duration = Duration::from_secs(10);
/// How long a leader that goes tries to hand over first.
const HAND_OVER: Duration = Duration::from_secs(5);
/// Silence after which a node is not asked to take over.
const HEIR_SILENCE: Duration = Duration::from_secs(2);

pub(crate) const NO_LEADER: &str = "no active Vault instance found";
/// Vault's words for sealing a node that does not lead.
pub(crate) const NOT_ON_STANDBY: &str = "vault cannot seal when in standby mode; please restart instead";

/// Where a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Here,
    /// By the leader: pass it on.
    Leader,
    /// By the leader, and the client has to go there by itself.
    Elsewhere,
}

/// Whose a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// It is about the node that is asked.
    Own,
    /// Any unsealed node's.
    Any,
    /// It needs the leader's memory, or is about the leader.
    Leader,
    /// The leader's, and too large to pass on.
    Stream,
}

fn duty(path: &str) -> Duty {
    let Some(rest) = path.strip_prefix("sys/") else { return Duty::Any };
    let rest = rest.trim_end_matches('/');
    match rest {
        "init"
        | "seal-status"
        | "unseal"
        | "seal"
        | "health"
        | "leader"
        | "host-info"
        | "monitor"
        | "metrics"
        | "pprof"
        | "in-flight-req"
        | "config/state"
        | "storage/raft/join"
        | "storage/raft/bootstrap" => Duty::Own,
        "storage/raft/snapshot" | "storage/raft/snapshot-force" | "storage/raft/snapshot-load" => Duty::Stream,
        // Any open node gives one, also while nobody leads.
        "storage/raft/bootstrap/challenge" => Duty::Own,
        "step-down" | "ha-status" | "generate-root/attempt" | "generate-root/update" => Duty::Leader,
        "rekey/init" | "rekey/update" | "rekey/verify" => Duty::Leader,
        "rekey-recovery-key/init" | "rekey-recovery-key/update" | "rekey-recovery-key/verify" => Duty::Leader,
        "rekey-break-glass/init" | "rekey-break-glass/update" | "rekey-break-glass/verify" => Duty::Leader,
        _ if rest.starts_with("config/state/") || rest.starts_with("pprof/") => Duty::Own,
        _ if rest.starts_with("storage/raft/") => Duty::Leader,
        _ => Duty::Any,
    }
}

impl Core {
    /// Whether this node leads and may write. One load.
    #[must_use]
    pub fn leads(&self) -> bool {
        *self.leads.borrow()
    }

    /// Where a request for `path` (below `/v1/`) is to be answered. `stays`: its sender forbids passing it on.
    #[must_use]
    pub fn place(&self, path: &str, stays: bool) -> Place {
        if self.leads() {
            return Place::Here;
        }
        let Some(open) = self.open() else { return Place::Here };
        match duty(path) {
            Duty::Own => Place::Here,
            Duty::Stream => Place::Elsewhere,
            _ if stays => Place::Elsewhere,
            Duty::Leader => Place::Leader,
            Duty::Any => {
                let router = open.router(&self.config).ok();
                let of_leader = router.is_some_and(|r| r.resolve(path).is_some_and(|(m, rest)| is_remembered(m, rest)));
                if of_leader { Place::Leader } else { Place::Here }
            }
        }
    }

    /// The node that leads, for a request that is not answered here; waits for one, bounded. `None`: it is this node.
    pub async fn leader_in_reach(&self) -> Result<Option<Peer>, Failure> {
        let limit = self.config.request_timeout.min(LEADER_PATIENCE);
        let found = tokio::time::timeout(limit, async {
            loop {
                if self.leads() {
                    return None;
                }
                let status = self.replica.status();
                if let Some(leader) = status.leader.filter(|leader| leader.raft_id != status.this.raft_id) {
                    return Some(leader);
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        found.await.map_err(|_| no_leader())
    }

    /// Where the leader's API is, without a closing slash, for a client that has to go there by itself.
    pub async fn leader_address(&self) -> Result<Option<String>, Failure> {
        let Some(leader) = self.leader_in_reach().await? else { return Ok(None) };
        let address = leader.api_addr.trim_end_matches('/');
        if address.is_empty() {
            return Err(Failure::new(FailureKind::Internal, "local node not active but active cluster node not found"));
        }
        Ok(Some(address.to_owned()))
    }

    /// Waits until this node's state holds everything that was acknowledged anywhere before the call; through an election, bounded.
    pub(crate) async fn caught_up(&self) -> Result<(), Failure> {
        self.replica.read_barrier().await.map_err(|e| behind(&e))
    }

    /// Waits until this node leads, at most for as long as nobody else does; the failure says why not.
    pub(crate) async fn wait_active(&self) -> Result<(), Failure> {
        if self.leads() {
            return Ok(());
        }
        if let Some(failure) = self.replica.status().failure {
            return Err(behind(&ProposeError::Storage(failure)));
        }
        match self.leader_in_reach().await? {
            None => Ok(()),
            // What asks for this is the leader's own affair, and was passed on while another node led.
            Some(_) => Err(no_leader()),
        }
    }

    /// What this standby hears of the leader.
    pub(crate) fn leader_heard(&self) -> LeaderHeard {
        let heard = *self.heard.lock();
        let ago = heard.at.map(|at| at.elapsed());
        let silent = heard.at.or(heard.listening_since).is_some_and(|since| since.elapsed() >= UNHEARD);
        LeaderHeard { healthy: !silent, ago, took: heard.took }
    }

    /// Whether the others have taken this node out of the cluster.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire) || self.replica.status().state == State::Removed
    }

    /// The others have taken this node out of the cluster.
    pub(crate) fn set_removed(&self, removed: bool) {
        self.removed.store(removed, Ordering::Release);
    }

    /// Gives the lead to another node, if there is one that can take it. Bounded; afterwards this node leads on only if nobody else
    /// could.
    pub async fn give_up_lead(&self) {
        // Who has not answered for a while will not answer this either; at the end of the last node nobody is there to be asked.
        let heirs = self.replica.followers().iter().any(|f| f.voter && f.last_contact.is_some_and(|ago| ago < HEIR_SILENCE));
        if !self.leads() || !heirs {
            return;
        }
        match tokio::time::timeout(HAND_OVER, self.replica.step_down()).await {
            Ok(Ok(())) => tracing::info!("another node leads now"),
            Ok(Err(e)) => tracing::warn!(error = %e, "the lead could not be handed over"),
            Err(_) => tracing::warn!("the lead could not be handed over in time"),
        }
    }
}

/// What an open standby knows of the line to the leader.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    listening_since: Option<Instant>,
    at: Option<Instant>,
    took: Duration,
}

/// Starts what asks the leader, while another node leads, whether it is there; it ends when the open core is dropped.
pub(crate) fn listen(core: &Arc<Core>, open: &OpenCore) {
    let mut alive = open.alive.subscribe();
    *core.heard.lock() = Heard { listening_since: Some(Instant::now()), ..Heard::default() };
    let core = Arc::downgrade(core);
    tokio::spawn(async move {
        loop {
            let Some(core) = core.upgrade() else { return };
            let began = Instant::now();
            if core.leads() {
                *core.heard.lock() = Heard { listening_since: Some(began), ..Heard::default() };
            } else {
                core.heard.lock().listening_since.get_or_insert(began);
                if core.replica.read_barrier().await.is_ok() {
                    let mut heard = core.heard.lock();
                    (heard.at, heard.took) = (Some(Instant::now()), began.elapsed());
                }
            }
            drop(core);
            tokio::select! {
                // The sender is dropped with the open core.
                _ = alive.changed() => return,
                () = tokio::time::sleep(HEARTBEAT) => {}
            }
        }
    });
}

/// Engine memory that one node has and the others do not: sign-ins under way, between the address a browser is sent to and its
/// coming back.
fn is_remembered(mounted: &crate::Mounted, rest: &str) -> bool {
    matches!(mounted.entry.mount_type.as_str(), "jwt" | "oidc") && rest.starts_with("oidc/")
}

/// The answer to somebody who wants to seal a node that does not lead.
#[must_use]
pub fn refuse_to_seal() -> Failure {
    Failure::new(FailureKind::Internal, NOT_ON_STANDBY)
}

fn no_leader() -> Failure {
    Failure::new(FailureKind::Unavailable, NO_LEADER)
}

fn behind(error: &ProposeError) -> Failure {
    if let ProposeError::Storage(text) = error {
        tracing::error!(failure = text, "storage has failed; this node serves nothing until it is restarted");
        return Failure::new(FailureKind::Unavailable, "storage has failed on this node");
    }
    no_leader()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_leaders_goes_to_the_leader() {
        for (path, want) in [
            ("secret/data/a", Duty::Any),
            ("auth/token/create", Duty::Any),
            ("sys/mounts/kv", Duty::Any),
            ("sys/rotate", Duty::Any),
            ("sys/rekey/backup", Duty::Any),
            ("sys/rekey/recovery-key-backup", Duty::Any),
            ("sys/rekey/init", Duty::Leader),
            ("sys/rekey-recovery-key/verify", Duty::Leader),
            ("sys/rekey-break-glass/update", Duty::Leader),
            ("sys/break-glass", Duty::Any),
            ("sys/generate-root/update", Duty::Leader),
            ("sys/step-down", Duty::Leader),
            ("sys/ha-status", Duty::Leader),
            ("sys/storage/raft/configuration", Duty::Leader),
            ("sys/storage/raft/remove-peer", Duty::Leader),
            ("sys/storage/raft/bootstrap/challenge", Duty::Own),
            ("sys/storage/raft/bootstrap/answer", Duty::Leader),
            ("sys/storage/raft/bootstrap", Duty::Own),
            ("sys/storage/raft/join", Duty::Own),
            ("sys/storage/raft/snapshot", Duty::Stream),
            ("sys/storage/raft/snapshot-force", Duty::Stream),
            ("sys/health", Duty::Own),
            ("sys/healthy", Duty::Any),
            ("sys/seal", Duty::Own),
            ("sys/host-info/", Duty::Own),
            ("sys/config/state/sanitized", Duty::Own),
            ("sys/config/cors", Duty::Any),
            ("sys/in-flight-req", Duty::Own),
        ] {
            assert_eq!(duty(path), want, "{path}");
        }
    }
}
