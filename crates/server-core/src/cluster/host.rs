//! The side of the cluster: gives out challenges, judges answers, takes nodes in and out.
//!
//! Nothing is kept of a node before it has proved the root key, and what is done for it until then is the same small work for everybody.
//! Challenges are given by every unsealed node; nodes are taken in by the leader.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::EngineError;
use replication::{ChangeError, NewMember};
use serde_json::{Value, json};
use storage::View;

use super::autopilot::{self, NON_VOTERS_ROW};
use super::ceremony::{Challenge, Neighbour, Statement, Welcome};
use super::ring;
use crate::core::{Core, OpenCore};

/// Longest name of a node that is remembered.
const SERVER_ID_MAX_BYTES: usize = 256;
/// Silence after which the name of a node may pass to another one: its disk was lost and it comes back under the old name.
const REPLACED_AFTER: Duration = Duration::from_secs(10);
/// How long a node may take to be taken in or out.
const CHANGE_PATIENCE: Duration = Duration::from_secs(20);
/// Pause before a change that another one stands in the way of is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no challenge, or the answer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Sealed.
    #[error("Vault is sealed")]
    Sealed,
    /// Not on this storage.
    #[error("raft storage is not in use")]
    NotRaft,
    /// The client's mistake.
    #[error("{0}")]
    Invalid(String),
    /// No room for another challenge.
    #[error("too many raft challenges in flight")]
    TooMany,
    /// Somebody else has to do it, or nobody can now.
    #[error("{0}")]
    Unavailable(String),
    /// The server's fault.
    #[error("internal error")]
    Internal,
}

/// What an answer says, before it is believed.
pub(crate) struct Joiner<'a> {
    /// Name of the node.
    pub server_id: &'a str,
    /// The opened challenge, for nodes of Vault's kind.
    pub answer: &'a [u8],
    /// The sealed statement, for nodes of this kind.
    pub statement: Option<&'a [u8]>,
}

/// What an admitted node gets.
pub(crate) struct Admitted {
    /// Name, cluster address and whether it votes, of each node.
    pub peers: Vec<(String, String, bool)>,
    /// Keys and neighbours, sealed under the root key.
    pub keyring: Vec<u8>,
}

impl Core {
    /// Gives out a challenge: `data` of the answer. Constant work. `with_root_key` is what a node of this kind asks for: the root key as
    /// it is stored, sealed by shares or by the outer seal, and where this node is, by which whoever lost the others finds them again.
    pub fn challenge(&self, server_id: &str, with_root_key: bool, from: Option<IpAddr>) -> Result<Value, HostError> {
        let open = self.open().ok_or(HostError::Sealed)?;
        if self.config.storage_type != "raft" {
            return Err(HostError::NotRaft);
        }
        if server_id.is_empty() {
            return Err(HostError::Invalid("no server id provided".into()));
        }
        if server_id.len() > SERVER_ID_MAX_BYTES {
            return Err(HostError::Invalid("server id exceeds max length".into()));
        }
        let internal = |e: &dyn std::fmt::Display| {
            tracing::error!(error = %e, "no challenge can be given");
            HostError::Internal
        };
        let seal = self.seal_config().ok_or(HostError::Sealed)?;
        let fresh = Challenge::new(self.clock.now(), &*self.entropy).map_err(|e| internal(&e))?;
        let challenge = if with_root_key {
            fresh
        } else {
            let expected = self.cluster.challenges.lock().expect(server_id, from, fresh.bytes().clone(), self.clock.now());
            Challenge::again(expected.ok_or(HostError::TooMany)?)
        };
        let sealed = challenge.seal(&open.barrier, &*self.entropy).map_err(|e| internal(&e))?;
        let mut data = json!({
            "challenge": BASE64_STANDARD.encode(sealed),
            "seal_config": {
                "type": seal.seal_type,
                "secret_shares": seal.secret_shares,
                "secret_threshold": seal.secret_threshold,
                "pgp_keys": null,
                "nonce": "",
                "backup": false,
                "stored_shares": seal.stored_shares,
                "name": "",
            },
        });
        if let (true, Some(data)) = (with_root_key, data.as_object_mut()) {
            let root_key = self.sealed.wrapped_root().map_err(|e| internal(&e))?;
            data.insert("root_key".into(), BASE64_STANDARD.encode(root_key).into());
            data.insert("raft_id".into(), format!("{:016x}", self.replica.raft_id()).into());
            data.insert("cluster_addr".into(), self.replica.status().this.address.into());
        }
        Ok(data)
    }

    /// Judges an answer, and takes the node in if it proves the root key. The leader's.
    pub(crate) async fn admit_node(&self, joiner: Joiner<'_>) -> Result<Admitted, HostError> {
        let open = self.open().ok_or(HostError::Sealed)?;
        if self.config.storage_type != "raft" {
            return Err(HostError::NotRaft);
        }
        let Some(statement) = joiner.statement else { return Err(self.of_another_kind(&joiner)) };
        let said = Statement::believe(&*open.barrier, statement, self.clock.now()).map_err(|e| {
            tracing::warn!(error = %e, node_id = joiner.server_id, "a node that wants to join was refused");
            HostError::Invalid("invalid answer given".into())
        })?;
        if said.node_id.len() > SERVER_ID_MAX_BYTES {
            return Err(HostError::Invalid("server id exceeds max length".into()));
        }
        let _alone = self.cluster.changing.lock().await;
        let taken = tokio::time::timeout(CHANGE_PATIENCE, self.take_in(&open, &said)).await;
        taken.map_err(|_| HostError::Unavailable("the cluster did not take the node in in time; try again".into()))??;
        let ring = ring::stored(&open).ok().flatten().ok_or(HostError::Internal)?;
        let neighbours: Vec<Neighbour> = self.neighbours();
        let peers = neighbours.iter().map(|n| (n.node_id.clone(), n.address.clone(), n.voter)).collect();
        let welcome = Welcome { keys: (*ring).clone(), neighbours, upto: self.replica.applied_index() };
        let keyring = welcome.seal(&open.barrier, &*self.entropy).map_err(|_| HostError::Internal)?;
        tracing::info!(node_id = said.node_id, address = said.address, "a node joined the cluster");
        Ok(Admitted { peers, keyring })
    }

    /// A node that answers in Vault's way. The right answer only proves that it could be told so in words.
    fn of_another_kind(&self, joiner: &Joiner<'_>) -> HostError {
        let now = self.clock.now();
        match self.cluster.challenges.lock().is_right(joiner.server_id, joiner.answer, now) {
            None => HostError::Invalid("no expected answer for the server id provided".into()),
            Some(false) => HostError::Invalid("invalid answer given".into()),
            Some(true) => HostError::Invalid("only nodes of the same program can join this cluster".into()),
        }
    }

    /// The nodes as the membership has them.
    pub(super) fn neighbours(&self) -> Vec<Neighbour> {
        let peers = self.replica.status().peers;
        let of = |p: replication::Peer| Neighbour {
            raft_id: p.raft_id,
            node_id: p.node_id,
            address: p.address,
            api_addr: p.api_addr,
            voter: p.voter,
        };
        peers.into_iter().map(of).collect()
    }

    async fn take_in(&self, open: &OpenCore, said: &Statement) -> Result<(), HostError> {
        let namesake = self.neighbours().into_iter().find(|n| n.node_id == said.node_id && n.raft_id != said.raft_id);
        if let Some(old) = namesake {
            let heard = self.replica.followers().iter().find(|f| f.raft_id == old.raft_id).and_then(|f| f.last_contact);
            let is_leader = old.raft_id == self.replica.raft_id();
            if is_leader || heard.is_some_and(|silence| silence < REPLACED_AFTER) {
                let id = &said.node_id;
                return Err(HostError::Invalid(format!("the node id {id:?} is in use by a live node of the cluster")));
            }
            tracing::warn!(
                node_id = said.node_id,
                "a node comes back without its data: it takes the place of the one that it was"
            );
            self.changed(|| self.replica.remove(&said.node_id)).await.map_err(|e| unchanged(&e))?;
        }
        let mark = |view: &mut View<'_>| autopilot::bar(view, said.raft_id, said.non_voter);
        self.transact(open, mark).await.map_err(|e| {
            tracing::warn!(error = %e, "a node could not be taken in");
            HostError::Unavailable("the cluster cannot take in a node now; try again".into())
        })?;
        let member = || NewMember {
            raft_id: said.raft_id,
            node_id: said.node_id.clone(),
            address: said.address.clone(),
            api_addr: said.api_addr.clone(),
        };
        self.changed(|| self.replica.add_learner(member())).await.map_err(|e| unchanged(&e))
    }

    /// Takes a node out. `Ok(false)`: there is none of this name.
    pub(crate) async fn take_out(&self, node_id: &str) -> Result<bool, EngineError> {
        let _alone = self.cluster.changing.lock().await;
        let known = self.neighbours().into_iter().find(|n| n.node_id == node_id);
        let Some(known) = known else { return Ok(false) };
        let removed = tokio::time::timeout(CHANGE_PATIENCE, self.changed(|| self.replica.remove(node_id))).await;
        match removed {
            Err(_) => Err(EngineError::Unavailable("the change of the membership was not confirmed in time".into())),
            Ok(Err(ChangeError::LastVoter(_))) => Err(EngineError::internal("need at least one voter in configuration: {[]}")),
            Ok(Err(e)) => Err(EngineError::Unavailable(e.to_string())),
            Ok(Ok(())) => {
                tracing::info!(node_id, address = known.address, "a node was taken out of the cluster");
                Ok(true)
            }
        }
    }

    /// Gives a node a vote.
    pub(super) async fn give_vote(&self, node_id: &str) -> Result<(), ChangeError> {
        let _alone = self.cluster.changing.lock().await;
        self.replica.promote(node_id).await
    }

    /// A change of the membership, again while another one stands in its way. The caller bounds it.
    async fn changed<F: Future<Output = Result<(), ChangeError>>>(&self, change: impl Fn() -> F) -> Result<(), ChangeError> {
        loop {
            match change().await {
                Err(ChangeError::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                other => return other,
            }
        }
    }

    /// The nodes that never get a vote.
    pub(super) fn barred(&self, open: &OpenCore) -> Vec<u64> {
        let mut txn = open.barrier.begin();
        let stored = View::new(&mut txn, "").get_json::<Vec<String>>(NON_VOTERS_ROW).ok().flatten();
        stored.map(|ids| ids.iter().filter_map(|id| u64::from_str_radix(id, 16).ok()).collect()).unwrap_or_default()
    }
}

fn unchanged(error: &ChangeError) -> HostError {
    match error {
        ChangeError::Taken(_) => HostError::Invalid(error.to_string()),
        _ => {
            tracing::warn!(error = %error, "a node could not be taken in");
            HostError::Unavailable(format!("the cluster cannot take in a node now: {error}"))
        }
    }
}
