//! What clients do: each asks one node after the other, remembers when it asked and what it was told, and judges nothing.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

use replication::simulation::{Noted, noted, on, watch};
use replication::{ProposeError, Replica};
use storage::{Changeset, Check, Space, StoreError, Write, range_digest, versioned};
use tokio::time::{sleep, timeout};

use crate::history::{Id, Operation, Rows, What, parse, value};
use crate::invariants::atomic::{ACCOUNTS, CLAIMS, MONEY, TWINS};
use crate::invariants::revoked::TOKENS;
use crate::network::Reached;
use crate::random::Random;
use crate::world::{PLACES, World};

/// First key behind [`CLAIMS`].
const BEHIND_CLAIMS: &[u8] = b"claim0";
/// Registers; few, so that clients meet.
const REGISTER_COUNT: u64 = 3;

/// Works until `over`.
pub async fn client(world: Arc<World>, client: usize, mut random: Random, mut over: watch::Receiver<bool>) {
    while !*over.borrow_and_update() && !world.records.is_broken() {
        let pause = Duration::from_micros(random.between(1_000, 90_000));
        sleep(pause).await;
        let hand = Hand { world: Arc::clone(&world), client, node: random.index(PLACES) };
        hand.act(&mut random).await;
    }
}

/// A client at a node.
struct Hand {
    world: Arc<World>,
    client: usize,
    node: usize,
}

impl Hand {
    async fn act(&self, random: &mut Random) {
        let Some(run) = self.world.run(self.node) else { return };
        let patience =
            Duration::from_millis(if random.chance(200) { random.between(5, 400) } else { random.between(2_000, 14_000) });
        match random.below(11) {
            0 | 1 => drop(self.read(&run, patience).await),
            2 | 3 => {
                let id = self.world.records.id();
                self.write(&run, patience, id, put(vec![], &[(register(random), Some(value(id, "")))])).await;
            }
            4 => {
                let id = self.world.records.id();
                let who = format!("who/{}", self.client).into_bytes();
                let rows = [(who, Some(value(id, ""))), (register(random), None)];
                self.write(&run, patience, id, put(vec![], &rows)).await;
            }
            5 => self.compare_and_set(&run, patience, random).await,
            6 => self.twins(&run, patience, random).await,
            7 => self.transfer(&run, patience, random).await,
            8 => self.claim(&run, patience).await,
            9 => {
                let id = self.world.records.id();
                let token = [TOKENS, id.to_string().as_bytes()].concat();
                self.write(&run, patience, id, put(vec![], &[(token, Some(value(id, "")))])).await;
            }
            _ => self.revoke(&run, patience, random).await,
        }
    }

    async fn compare_and_set(&self, run: &Reached, patience: Duration, random: &mut Random) {
        let Some((rows, _)) = self.read(run, patience).await else { return };
        let key = register(random);
        let id = self.world.records.id();
        let new = if random.chance(800) { Some(value(id, "")) } else { None };
        let who = (format!("who/{}", self.client).into_bytes(), Some(value(id, "")));
        self.write(run, patience, id, put(vec![unchanged(&rows, &key)], &[who, (key, new)])).await;
    }

    async fn twins(&self, run: &Reached, patience: Duration, random: &mut Random) {
        let Some((rows, _)) = self.read(run, patience).await else { return };
        let id = self.world.records.id();
        let checks = if random.chance(500) { TWINS.map(|key| unchanged(&rows, key)).to_vec() } else { vec![] };
        let mut change = put(checks, &TWINS.map(|key| (key.to_vec(), Some(value(id, "")))));
        if self.world.options.break_it.changes_are_split {
            let second = change.writes.split_off(1);
            self.write(run, patience, id, change).await;
            change = Changeset { checks: vec![], writes: second };
        }
        self.write(run, patience, id, change).await;
    }

    async fn transfer(&self, run: &Reached, patience: Duration, random: &mut Random) {
        let Some((rows, _)) = self.read(run, patience).await else { return };
        let id = self.world.records.id();
        let account = |n: u64| [ACCOUNTS, n.to_string().as_bytes()].concat();
        let balance = |n: u64| rows.get(&account(n)).and_then(|(_, v)| parse(v)?.1.parse::<i64>().ok());
        let all: Vec<u64> = (0..3).collect();
        let new: Vec<(u64, i64)> = if let (Some(a), Some(b)) = (balance(0), balance(1)) {
            let (from, to) = if random.chance(500) { (0, 2) } else { (1, 2) };
            let amount = i64::try_from(random.between(1, 20)).unwrap_or(1);
            let before = if from == 0 { a } else { b };
            vec![(from, before - amount), (to, balance(2).unwrap_or(0) + amount)]
        } else {
            all.iter().map(|n| (*n, MONEY / 3)).collect()
        };
        let checks = new.iter().map(|(n, _)| unchanged(&rows, &account(*n))).collect();
        let rows: Vec<_> = new.iter().map(|(n, sum)| (account(*n), Some(value(id, &sum.to_string())))).collect();
        self.write(run, patience, id, put(checks, &rows)).await;
    }

    async fn claim(&self, run: &Reached, patience: Duration) {
        let Some((rows, digest)) = self.read(run, patience).await else { return };
        let id = self.world.records.id();
        let check = Check::Range { from: CLAIMS.to_vec(), to: BEHIND_CLAIMS.to_vec(), digest };
        let taken: Vec<Vec<u8>> = rows.keys().filter(|key| key.starts_with(CLAIMS)).cloned().collect();
        let mine = [CLAIMS, self.client.to_string().as_bytes()].concat();
        let who = (format!("who/{}", self.client).into_bytes(), Some(value(id, "")));
        let rows: Vec<_> = if taken.is_empty() {
            vec![(mine, Some(value(id, "")))]
        } else {
            std::iter::once(who).chain(taken.into_iter().map(|key| (key, None))).collect()
        };
        self.write(run, patience, id, put(vec![check], &rows)).await;
    }

    /// Deletes a token, and once that is acknowledged looks on every node.
    async fn revoke(&self, run: &Reached, patience: Duration, random: &mut Random) {
        let Some((rows, _)) = self.read(run, patience).await else { return };
        let id = self.world.records.id();
        let chosen = self.world.records.with(|inner| {
            let free: Vec<&Vec<u8>> =
                rows.keys().filter(|k| k.starts_with(TOKENS) && !inner.deletions.contains_key(*k)).collect();
            let token = random.pick(&free).map(|key| (*key).clone())?;
            inner.deletions.insert(token.clone(), id);
            Some(token)
        });
        let Some(token) = chosen else { return };
        if self.write(run, patience, id, put(vec![], &[(token, None)])).await != Some(true) {
            return;
        }
        for node in self.world.running() {
            let (world, client) = (Arc::clone(&self.world), self.client);
            tokio::spawn(async move {
                let hand = Self { world, client, node };
                if let Some(run) = hand.world.run(node) {
                    hand.read(&run, patience).await;
                }
            });
        }
    }

    /// Reads all rows behind a barrier; also the digest of the claims at the same instant.
    async fn read(&self, run: &Reached, patience: Duration) -> Option<(Rows, u64)> {
        let began = self.world.records.with(|inner| inner.history.tick());
        let replica = Arc::clone(&run.replica);
        let barrier = !self.world.options.break_it.reads_without_barrier;
        let (world, node) = (Arc::clone(&self.world), self.node);
        let asked = on(run.machine.clone(), async move {
            if barrier {
                replica.read_barrier().await?;
            }
            let seen = look(&replica).map_err(|e| ProposeError::Storage(e.to_string()))?;
            let told = world.records.with(|inner| {
                let told = inner.told.entry(node).or_default();
                seen.1.iter().try_for_each(|(key, (version, _))| told.shows(node, key, *version))
            });
            world.records.judge(told);
            Ok::<_, ProposeError>(seen)
        });
        let answer = tokio::select! {
            biased;
            answer = timeout(patience, asked) => answer.ok(),
            () = run.machine.died() => None,
        };
        match answer {
            Some(Ok((applied, rows, digest))) => {
                self.world.records.note(format!("client {} reads entry {applied} on node {}", self.client, self.node));
                self.world.records.with(|inner| {
                    let ended = Some(inner.history.tick());
                    let what = What::Read { applied, rows: rows.clone() };
                    inner.history.operations.push(Operation { client: self.client, node: self.node, began, ended, what });
                });
                Some((rows, digest))
            }
            Some(Err(error)) => {
                self.world.records.note(format!("client {} cannot read on node {}: {error}", self.client, self.node));
                None
            }
            None => None,
        }
    }

    /// Proposes a change: `Some(committed)` if there was an answer.
    async fn write(&self, run: &Reached, patience: Duration, id: Id, change: Changeset) -> Option<bool> {
        let began = self.world.records.with(|inner| inner.history.tick());
        let answer = self.propose(run, patience, change.clone()).await;
        let records = &self.world.records;
        let (client, node) = (self.client, self.node);
        let applied = match answer {
            Some(Ok(applied)) => {
                records.note(format!("client {client}: change {id} on node {node} is {applied:?}"));
                let hidden = self.world.options.break_it.conflicts_are_hidden;
                Some((applied.index, applied.committed || hidden))
            }
            Some(Err(error)) => {
                records.note(format!("client {client}: change {id} on node {node} fails: {error}"));
                if matches!(error, ProposeError::NotLeader { .. } | ProposeError::Uninitialized | ProposeError::TooLarge { .. }) {
                    records.with(|inner| inner.refused.push(id));
                }
                None
            }
            None => {
                records.note(format!("client {client}: change {id} on node {node} has no answer"));
                None
            }
        };
        if applied.is_none() && self.world.options.break_it.unknown_is_repeated {
            let another = self.world.leader().and_then(|leader| self.world.run(leader));
            if let Some(run) = another.filter(|_| !records.with(|inner| inner.refused.contains(&id))) {
                let _what_a_bad_client_ignores = self.propose(&run, patience, change.clone()).await;
            }
        }
        records.with(|inner| {
            let ended = applied.map(|_| inner.history.tick());
            let what = What::Write { id, change, applied };
            inner.history.operations.push(Operation { client, node, began, ended, what });
        });
        applied.map(|(_, committed)| committed)
    }

    async fn propose(
        &self,
        run: &Reached,
        patience: Duration,
        change: Changeset,
    ) -> Option<Result<replication::Applied, ProposeError>> {
        let replica = Arc::clone(&run.replica);
        let asked = on(run.machine.clone(), async move { replica.propose(change).await });
        tokio::select! {
            biased;
            answer = timeout(patience, asked) => answer.ok(),
            () = run.machine.died() => None,
        }
    }
}

/// All rows of one instant and the entry that they stand for.
fn look(replica: &Replica) -> Result<(u64, Rows, u64), StoreError> {
    let view = replica.store().snapshot()?;
    let digest = range_digest(&**replica.store(), CLAIMS, BEHIND_CLAIMS)?;
    let (mut applied, mut rows, mut failed) = (0, Rows::new(), None);
    view.scan(Space::Meta, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
        match noted(key, value) {
            Ok(Noted::Applied { index, .. }) => applied = index,
            Ok(_) => {}
            Err(e) => failed = Some(e),
        }
        ControlFlow::Continue(())
    })?;
    view.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut |key, stored| {
        match versioned(stored) {
            Ok((version, value)) => drop(rows.insert(key.to_vec(), (version, value.to_vec()))),
            Err(e) => failed = Some(e),
        }
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok((applied, rows, digest)), Err)
}

fn register(random: &mut Random) -> Vec<u8> {
    format!("r/{}", random.below(REGISTER_COUNT)).into_bytes()
}

fn unchanged(rows: &Rows, key: &[u8]) -> Check {
    Check::Version { key: key.to_vec(), version: rows.get(key).map_or(0, |(version, _)| *version) }
}

fn put(checks: Vec<Check>, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Changeset {
    let writes = rows.iter().map(|(key, value)| Write { key: key.clone(), value: value.clone() }).collect();
    Changeset { checks, writes }
}
