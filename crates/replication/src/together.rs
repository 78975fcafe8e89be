//! A proposal in a cluster: it goes to the leader, and is answered when it is applied here.
//!
//! No change is applied twice. Each carries a ticket, by which this node recognises it when it applies it, whoever took it.
//! When a leader's answer is lost, the change's fate is open in that leader's term: it is asked for again only from the same
//! leader in the same term, which takes a ticket once (`desk`). A leader of a later term gets it only when an entry of a
//! later term was applied here: terms in a log never fall, so whatever of the earlier term is committed was applied before,
//! and this was not among it. What cannot be found out in time ends in [`ProposeError::Unknown`].

use std::sync::Arc;

use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::vote::leader_id_std::CommittedLeaderId;
use storage::Changeset;
use tokio::time::{Instant, timeout_at};

use crate::desk::Task;
use crate::error::ProposeError;
use crate::inner::{Inner, Leadership};
use crate::ledger::Waiter;
use crate::limits::APPEND_PATIENCE;
use crate::network::Rpc;
use crate::types::{Applied, Proposal, Ticket};
use crate::wire::{Motion, Outcome};

impl Inner {
    pub(crate) async fn propose_together(self: &Arc<Self>, change: Changeset) -> Result<Applied, ProposeError> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let deadline = Instant::now() + self.patience;
        let mut waiter = self.shared.ledger.enroll();
        let ticket = waiter.ticket;
        let change = Arc::new(change);
        // The term in which it may have reached a log.
        let mut open: Option<u64> = None;
        let mut asked = None;
        loop {
            let leadership = tokio::select! {
                biased;
                applied = waiter.applied() => return Ok(applied),
                found = self.next_leadership(asked, deadline) => found,
            };
            let Some(now) = leadership else { return Err(self.give_up(open)) };
            if let Some(term) = open.filter(|term| *term < now.term) {
                match self.settle(&mut waiter, term, deadline).await {
                    Some(outcome) => return outcome,
                    None => open = None,
                }
            }
            asked = Some(now);
            let outcome = tokio::select! {
                biased;
                applied = waiter.applied() => return Ok(applied),
                outcome = timeout_at(deadline, self.move_at(now, ticket, &change, open)) => outcome.unwrap_or(Outcome::Open),
                refusal = self.shared.stays_full() => return Err(refusal),
            };
            match outcome {
                Outcome::Applied(applied) => return self.applied_here(waiter, applied, deadline).await,
                Outcome::NotHere => {}
                Outcome::Open => open = Some(now.term),
                Outcome::Full(text) => return Err(ProposeError::Full(text)),
                Outcome::TooLarge => return Err(ProposeError::Storage("the leader has smaller limits".to_owned())),
            }
        }
    }

    fn give_up(&self, open: Option<u64>) -> ProposeError {
        if open.is_some() && self.shared.failure().is_none() { ProposeError::Unknown } else { self.leaderless() }
    }

    /// Waits until it is certain whether a proposal of this term is committed; `None`: it is not and never will be.
    async fn settle(&self, waiter: &mut Waiter, term: u64, deadline: Instant) -> Option<Result<Applied, ProposeError>> {
        let mut applied_term = self.shared.watch_applied_term();
        let passed = tokio::select! {
            biased;
            applied = waiter.applied() => return Some(Ok(applied)),
            passed = timeout_at(deadline, applied_term.wait_for(|now| *now > term)) => passed.is_ok_and(|passed| passed.is_ok()),
        };
        let seen = waiter.seen();
        match seen.applied {
            Some(applied) => Some(Ok(applied)),
            None if passed && !seen.jumped => None,
            None => Some(Err(self.give_up(Some(term)))),
        }
    }

    /// Waits until what the leader has applied is applied here too.
    async fn applied_here(&self, mut waiter: Waiter, applied: Applied, deadline: Instant) -> Result<Applied, ProposeError> {
        tokio::select! {
            biased;
            applied = waiter.applied() => Ok(applied),
            reached = timeout_at(deadline, self.reach(applied.index)) => match reached {
                Ok(Ok(())) => Ok(applied),
                Ok(Err(e)) => Err(e),
                Err(_) => Err(ProposeError::Unknown),
            },
        }
    }

    /// Waits until the state here holds this entry.
    pub(crate) async fn reach(&self, index: u64) -> Result<(), ProposeError> {
        if self.shared.applied_index() >= index {
            return Ok(());
        }
        let mut progress = self.raft.watch_apply_progress();
        loop {
            if progress.get().is_some_and(|id| id.index() >= index) || self.shared.applied_index() >= index {
                return Ok(());
            }
            progress.changed().await.map_err(|_| self.stopped())?;
        }
    }

    async fn move_at(self: &Arc<Self>, at: Leadership, ticket: Ticket, change: &Arc<Changeset>, open: Option<u64>) -> Outcome {
        if at.leader == self.id {
            if open == Some(at.term) {
                return Outcome::Open; // it was appended here already; only waiting is left
            }
            return self.append(at.term, ticket, Arc::clone(change)).await;
        }
        let Some(member) = self.member(at.leader) else { return Outcome::NotHere };
        let motion = Motion { term: at.term, ticket, change: change.as_ref() };
        let asked = self.wire.call(at.leader, &member, Rpc::Propose, &motion, APPEND_PATIENCE).await;
        asked.unwrap_or_else(|error| {
            tracing::debug!(%error, leader = member.node_id, "a proposal was not answered");
            Outcome::Open
        })
    }

    /// Puts a change into the log, if this node leads in that term, and waits for it.
    async fn append(&self, term: u64, ticket: Ticket, change: Arc<Changeset>) -> Outcome {
        let (responder, written) = ProgressResponder::complete_only();
        let write = self.raft.write(Proposal::Ticketed(ticket, change)).with_leader(CommittedLeaderId::new(term));
        if write.responder(responder).await.is_err() {
            return Outcome::Open;
        }
        match written.await {
            Ok(Ok(response)) => Outcome::Applied(response.data),
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Outcome::NotHere,
            Ok(Err(_)) | Err(_) => Outcome::Open,
        }
    }

    /// The leader's part: takes a motion once, and answers when it is applied here.
    pub(crate) async fn carry(self: &Arc<Self>, motion: Motion<Changeset>) -> Outcome {
        let Motion { term, ticket, change } = motion;
        if self.leadership() != Some(Leadership { leader: self.id, term }) {
            return Outcome::NotHere;
        }
        if crate::replica::check_size(&change).is_err() {
            return Outcome::TooLarge;
        }
        let mut outcome = match self.desk.take(term, ticket) {
            Task::Forgotten => return Outcome::Open,
            Task::Known(outcome) => outcome,
            Task::New(tell, outcome) => {
                let inner = Arc::clone(self);
                // Not a part of this call: the caller's connection may end, and its question come again.
                crate::runtime::spawn(async move {
                    let outcome = inner.append(term, ticket, Arc::new(change)).await;
                    if outcome == Outcome::NotHere {
                        inner.desk.give_back(term, ticket);
                    }
                    tell.send_replace(Some(outcome));
                });
                outcome
            }
        };
        tokio::select! {
            biased;
            told = outcome.wait_for(Option::is_some) => told.ok().and_then(|told| told.clone()).unwrap_or(Outcome::Open),
            refusal = self.shared.stays_full() => Outcome::Full(refusal.to_string()),
        }
    }
}
