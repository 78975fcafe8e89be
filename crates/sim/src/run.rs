//! One run: found a cluster, let clients work while things go wrong, lift all faults, see that it heals, judge.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use replication::simulation::{on, watch};
use replication::{ProposeError, Replica};
use storage::{Changeset, Write};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::clients::client;
use crate::faults::{self, Planned};
use crate::history::{Operation, What, value};
use crate::invariants::healed::{PATIENCE, Standing};
use crate::invariants::replay::{Replay, digest_of_store};
use crate::invariants::{Broken, acknowledged, atomic, healed, linearizable, once, revoked};
use crate::members;
use crate::options::Options;
use crate::random::Random;
use crate::records::Inner;
use crate::world::{PLACES, World};

/// Lines of the diary that a failure shows.
const DIARY_LINES: usize = 120;

/// Pause between two looks at a cluster that heals.
const LOOK: Duration = Duration::from_millis(25);

/// What a run was like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Proposals with an answer.
    pub writes: u64,
    /// Of those, conflicts.
    pub conflicts: u64,
    /// Proposals without a certain answer.
    pub unknown: u64,
    /// Proposals that were refused for good.
    pub refused: u64,
    /// Reads with an answer.
    pub reads: u64,
    /// Elections that somebody won.
    pub terms: u64,
    /// Entries of the committed log.
    pub entries: u64,
    /// Unsynced commits that crashes took.
    pub lost_batches: u64,
    /// Messages that arrived, and that did not.
    pub messages: (u64, u64),
    /// Crashes.
    pub crashes: u64,
    /// Virtual time from the end of the faults until all members took writes and had the same state.
    pub healed_in: Duration,
    /// Virtual time of the whole run.
    pub lasted: Duration,
    /// Digest of all that happened, to compare runs of one seed.
    pub digest: u64,
}

/// A broken invariant and how it came about.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What is broken.
    pub broken: Broken,
    plan: Vec<Planned>,
    diary: Vec<(Duration, String)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.broken)?;
        writeln!(f, "repeat it with: cargo run -p sim -- --seed {}", self.seed)?;
        writeln!(f, "the plan:")?;
        self.plan.iter().try_for_each(|planned| writeln!(f, "  {planned}"))?;
        let skipped = self.diary.len().saturating_sub(DIARY_LINES);
        writeln!(f, "the diary{}:", if skipped > 0 { format!(" without its first {skipped} lines") } else { String::new() })?;
        self.diary.iter().skip(skipped).try_for_each(|(at, line)| writeln!(f, "  {at:>10.3?} {line}"))
    }
}

/// Runs a seed.
///
/// # Errors
/// A broken invariant.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Failure>> {
    let mut random = Random::new(seed);
    let plan = faults::plan(&mut random, options.faults, options.chaos);
    let failed = |broken: Broken, diary| Box::new(Failure { seed, broken, plan: plan.clone(), diary });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|e| failed(e.to_string(), Vec::new()))?;
    let ended = runtime.block_on(async {
        let world = World::new(seed, options.clone()).map_err(|e| (e.to_string(), Vec::new()))?;
        let healed = live(&world, &mut random, &plan).await;
        if healed.is_err() {
            show_nodes(&world);
        }
        world.records.judge(healed.clone().map(drop));
        let report = judge(&world, healed.unwrap_or_default());
        world.records.judge(report.clone().map(drop));
        let (broken, diary) = world.records.with(|inner| (inner.broken.take(), std::mem::take(&mut inner.diary)));
        match (broken, report) {
            (None, Ok(report)) => Ok(report),
            (Some((_, broken)), _) | (None, Err(broken)) => Err((broken, diary)),
        }
    });
    runtime.shutdown_background();
    ended.map_err(|(broken, diary)| failed(broken, diary))
}

/// Founding, chaos, healing; how long the healing took.
async fn live(world: &Arc<World>, random: &mut Random, plan: &[Planned]) -> Result<Duration, Broken> {
    members::found(world).await;
    let (end_faults, faults_over) = watch::channel(false);
    let (end_clients, clients_over) = watch::channel(false);
    let began = Instant::now();
    let mut happening = JoinSet::new();
    for planned in plan {
        happening.spawn(faults::happen(Arc::clone(world), planned.clone(), faults_over.clone()));
    }
    let mut clients = JoinSet::new();
    for n in 0..world.options.clients {
        clients.spawn(client(Arc::clone(world), n, random.split(), clients_over.clone()));
    }
    while began.elapsed() < world.options.chaos && !world.records.is_broken() {
        sleep(LOOK).await;
    }
    end_faults.send_replace(true);
    while happening.join_next().await.is_some() {}
    faults::lift_all(world).await;
    let lifted = Instant::now();
    end_clients.send_replace(true);
    while clients.join_next().await.is_some() {}
    heal(world, lifted + PATIENCE).await?;
    Ok(lifted.elapsed())
}

/// Waits until each member that runs takes a write and a read, and then until all stand at the same entry.
async fn heal(world: &Arc<World>, deadline: Instant) -> Result<(), Broken> {
    let late = |what: &str| format!("the cluster does not heal within {PATIENCE:?} of virtual time: {what}");
    let members = loop {
        let members = members_of(world);
        let ready = members.iter().filter(|node| world.run(**node).is_some()).count();
        if !members.is_empty() && ready == members.len() {
            break members;
        }
        if Instant::now() > deadline {
            return Err(late(&format!("nobody leads, or members are missing: {members:?}")));
        }
        sleep(LOOK).await;
    };
    for node in &members {
        let mut shown = None;
        loop {
            match probe(world, *node, deadline).await {
                Some(Ok(())) => break,
                Some(Err(error)) => {
                    let text = error.to_string();
                    if shown.as_ref() != Some(&text) {
                        world.records.note(format!("node {node} is not healed yet: {text}"));
                        shown = Some(text);
                    }
                }
                None => return Err(late(&format!("node {node} does not answer"))),
            }
            if Instant::now() > deadline {
                return Err(late(&format!("node {node} takes no writes")));
            }
            sleep(LOOK).await;
        }
    }
    loop {
        let standings = standings(world, &members)?;
        match healed::judge(&standings) {
            Ok(()) => return Ok(()),
            Err(broken) if Instant::now() > deadline => return Err(late(&broken)),
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Notes what each node says of itself.
fn show_nodes(world: &World) {
    for node in world.running() {
        let Some(run) = world.run(node) else { continue };
        let status = run.replica.status();
        let peers: Vec<String> =
            status.peers.iter().map(|p| format!("{}{}", p.node_id, if p.voter { "" } else { "?" })).collect();
        let followers: Vec<String> = run
            .replica
            .followers()
            .iter()
            .map(|f| format!("{} at {} ({:?} ago)", f.node_id, f.matched, f.last_contact))
            .collect();
        world.records.note(format!(
            "node {node} ({:x}): {:?} in term {}, leader {:?}, log {}, committed {}, applied {}, members {peers:?} of entry {}, \
             followers {followers:?}, failure {:?}",
            run.replica.raft_id(),
            status.state,
            status.term,
            status.leader.map(|leader| leader.node_id),
            status.last_log,
            status.committed,
            status.applied,
            status.membership_index,
            status.failure,
        ));
    }
}

/// Places of the members, as the leader knows them; none while nobody leads.
fn members_of(world: &World) -> Vec<usize> {
    let Some(leader) = world.leader().and_then(|leader| world.run(leader)) else { return Vec::new() };
    let names: BTreeSet<String> = leader.replica.status().peers.into_iter().map(|peer| peer.node_id).collect();
    (0..PLACES).filter(|node| names.contains(&world.name(*node))).collect()
}

async fn probe(world: &Arc<World>, node: usize, deadline: Instant) -> Option<Result<(), ProposeError>> {
    let run = world.run(node)?;
    let id = world.records.id();
    let key = format!("probe/{node}").into_bytes();
    let change = Changeset { checks: vec![], writes: vec![Write { key, value: Some(value(id, "")) }] };
    let began = world.records.with(|inner| inner.history.tick());
    let proposed = change.clone();
    let replica: Arc<Replica> = Arc::clone(&run.replica);
    let asked = on(run.machine.clone(), async move {
        let applied = replica.propose(proposed).await?;
        replica.read_barrier().await?;
        Ok(applied)
    });
    let answer = timeout_at(deadline, asked).await.ok();
    let applied = answer.as_ref().and_then(|answer| answer.as_ref().ok()).map(|applied| (applied.index, applied.committed));
    world.records.with(|inner| {
        let ended = applied.map(|_| inner.history.tick());
        let what = What::Write { id, change, applied };
        inner.history.operations.push(Operation { client: usize::MAX, node, began, ended, what });
    });
    answer.map(|answer| answer.map(drop))
}

fn standings(world: &World, members: &[usize]) -> Result<Vec<Standing>, Broken> {
    let running = members.iter().filter_map(|node| Some((*node, world.run(*node)?)));
    running
        .map(|(node, run)| {
            let digest = digest_of_store(&**run.replica.store()).map_err(|e| e.to_string())?;
            Ok((node, run.replica.applied_index(), digest))
        })
        .collect()
}

/// Judges all that needs the end to be judged.
fn judge(world: &World, healed_in: Duration) -> Result<Report, Broken> {
    let records = &world.records;
    let lasted = records.now();
    records.with(|inner| {
        if let Some((_, broken)) = &inner.broken {
            return Err(broken.clone());
        }
        let wanted: BTreeSet<u64> = inner
            .history
            .operations
            .iter()
            .filter_map(|operation| match operation.what {
                What::Read { applied, .. } => Some(applied),
                What::Write { .. } => None,
            })
            .collect();
        let replay = Replay::of(&inner.agreement, &inner.deletions, &wanted)?;
        acknowledged::judge(&inner.history, &replay)?;
        once::judge(&replay, &inner.refused)?;
        atomic::judge(&inner.history)?;
        revoked::judge(&inner.history)?;
        linearizable::judge(&inner.history, &replay)?;
        Ok(report(world, inner, healed_in, lasted))
    })
}

fn report(world: &World, inner: &Inner, healed_in: Duration, lasted: Duration) -> Report {
    let mut report = Report {
        refused: inner.refused.len() as u64,
        terms: inner.leaders.terms() as u64,
        entries: inner.agreement.log.len() as u64,
        lost_batches: (0..PLACES).filter_map(|node| world.disk(node)).map(|disk| disk.lost()).sum(),
        messages: world.network.counts(),
        crashes: inner.diary.iter().filter(|(_, line)| line.ends_with("lost power")).count() as u64,
        healed_in,
        lasted,
        digest: inner.digest,
        ..Report::default()
    };
    for operation in &inner.history.operations {
        match operation.what {
            What::Read { .. } => report.reads += 1,
            What::Write { applied: Some((_, committed)), .. } => {
                report.writes += 1;
                report.conflicts += u64::from(!committed);
            }
            What::Write { applied: None, .. } => report.unknown += 1,
        }
    }
    report.unknown = report.unknown.saturating_sub(report.refused);
    report
}

/// What many runs were like together.
#[derive(Debug, Clone, Default)]
pub struct Total {
    /// Runs.
    pub runs: u64,
    sums: BTreeMap<&'static str, u64>,
    /// The slowest healing.
    pub slowest: (Duration, u64),
}

impl Total {
    /// Adds a run.
    pub fn add(&mut self, seed: u64, report: &Report) {
        self.runs += 1;
        let parts = [
            ("writes answered", report.writes),
            ("conflicts", report.conflicts),
            ("unknown fates", report.unknown),
            ("refused", report.refused),
            ("reads", report.reads),
            ("elections", report.terms),
            ("entries", report.entries),
            ("crashes", report.crashes),
            ("unsynced commits lost", report.lost_batches),
            ("messages", report.messages.0),
            ("messages lost", report.messages.1),
            ("virtual seconds", report.lasted.as_secs()),
        ];
        for (name, number) in parts {
            *self.sums.entry(name).or_default() += number;
        }
        self.slowest = self.slowest.max((report.healed_in, seed));
    }

    /// The sum of one thing that a report counts, by its name there.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        self.sums.get(name).copied().unwrap_or(0)
    }

    /// Adds what another thread added up.
    pub fn merge(&mut self, other: &Self) {
        self.runs += other.runs;
        for (name, number) in &other.sums {
            *self.sums.entry(name).or_default() += number;
        }
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seeds", self.runs)?;
        self.sums.iter().try_for_each(|(name, number)| write!(f, ", {number} {name}"))?;
        write!(f, "; slowest healing {:.1?} of virtual time (seed {})", self.slowest.0, self.slowest.1)
    }
}
