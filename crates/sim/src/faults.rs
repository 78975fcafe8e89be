//! What goes wrong and when. The plan comes from the seed before anything runs; only who leads is found out on the way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use replication::simulation::watch;
use tokio::time::sleep;

use crate::members;
use crate::network::Weather;
use crate::random::Random;
use crate::world::{PLACES, World};

/// A node as a plan names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// That one.
    Node(usize),
    /// Whoever leads then.
    Leader,
}

/// One thing that goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing passes from one to the other; the way back stays open.
    OneWay(usize, usize),
    /// It hears nobody, or nobody hears it, or both.
    Alone { who: Who, deaf: bool, mute: bool },
    /// Two halves that do not see each other; the bits say who is in which.
    Halves(u8),
    /// All wires are slow, or lose messages, or deliver twice.
    Storm(Weather),
    /// It stands still, and its clock jumps when it goes on.
    Pause(Who),
    /// It loses power.
    Kill(Who),
    /// All lose power at once.
    KillAll,
    /// It loses power in the middle of what it does, so many commits later.
    Fuse(Who, u64),
    /// Its disk is slower by this factor.
    SlowDisk(Who, u64),
    /// Its disk has no room.
    FullDisk(Who),
    /// The leader hands over.
    StepDown,
    /// The node at a place joins and gets a vote.
    Join(usize),
    /// A node is removed, and its disk is thrown away.
    Leave(usize),
}

/// A fault with its time.
#[derive(Debug, Clone)]
pub struct Planned {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts, where it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3?} for {:>9.3?}: {:?}", self.at, self.lasts, self.fault)
    }
}

/// The faults of a run, by their time.
#[must_use]
pub fn plan(random: &mut Random, faults: usize, chaos: Duration) -> Vec<Planned> {
    let millis = u64::try_from(chaos.as_millis()).unwrap_or(u64::MAX);
    // Some runs know only some kinds of faults, so that one kind does not drown another.
    let kinds = random.number() | random.number();
    let mut planned: Vec<Planned> = (0..faults)
        .map(|_| Planned {
            at: Duration::from_millis(random.below(millis)),
            lasts: Duration::from_millis(random.between(20, 2_500)),
            fault: fault(random, kinds),
        })
        .collect();
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn fault(random: &mut Random, kinds: u64) -> Fault {
    let kind = (0..64).map(|_| random.below(18)).find(|kind| kinds >> kind & 1 == 1).unwrap_or(0);
    let who = if random.chance(400) { Who::Leader } else { Who::Node(random.index(PLACES)) };
    match kind {
        0 => Fault::OneWay(random.index(PLACES), random.index(PLACES)),
        1 | 2 => {
            let (deaf, mute) = random.pick(&[(true, true), (true, false), (false, true)]).copied().unwrap_or_default();
            Fault::Alone { who, deaf, mute }
        }
        3 => Fault::Halves(u8::try_from(random.below(32)).unwrap_or(0)),
        4 | 5 => {
            let delay_min_micros = random.below(30_000);
            Fault::Storm(Weather {
                delay_min_micros,
                delay_max_micros: delay_min_micros + random.below(250_000),
                lost_per_mille: random.below(200),
                twice_per_mille: random.below(300),
            })
        }
        6 | 7 => Fault::Pause(who),
        8 | 9 => Fault::Kill(who),
        10 => Fault::KillAll,
        11 | 12 => Fault::Fuse(who, random.below(40)),
        13 => Fault::SlowDisk(who, random.between(5, 800)),
        14 => Fault::FullDisk(who),
        15 => Fault::StepDown,
        16 => Fault::Join(random.index(PLACES)),
        _ => Fault::Leave(random.index(PLACES)),
    }
}

/// Lets a fault happen at its time, and undoes it after it has lasted or when it is `over`.
pub async fn happen(world: Arc<World>, planned: Planned, mut over: watch::Receiver<bool>) {
    wait(planned.at, &mut over).await;
    if *over.borrow() {
        return;
    }
    let who = |who: Who| match who {
        Who::Node(node) => node,
        Who::Leader => world.leader().unwrap_or(0),
    };
    world.records.note(format!("fault: {:?}", planned.fault));
    match planned.fault {
        Fault::OneWay(from, to) => cut(&world, &[(from, to)], planned.lasts, &mut over).await,
        Fault::Alone { who: alone, deaf, mute } => {
            let alone = who(alone);
            let others = (0..PLACES).filter(|node| *node != alone);
            let ways = others.flat_map(|other| [(deaf, (other, alone)), (mute, (alone, other))]);
            let ways: Vec<(usize, usize)> = ways.filter(|(cut, _)| *cut).map(|(_, way)| way).collect();
            cut(&world, &ways, planned.lasts, &mut over).await;
        }
        Fault::Halves(bits) => {
            let side = |node: usize| bits >> node & 1;
            let pairs = (0..PLACES).flat_map(|a| (0..PLACES).map(move |b| (a, b)));
            let ways: Vec<(usize, usize)> = pairs.filter(|(a, b)| side(*a) != side(*b)).collect();
            cut(&world, &ways, planned.lasts, &mut over).await;
        }
        Fault::Storm(weather) => {
            world.network.set_weather(weather);
            wait(planned.lasts, &mut over).await;
            world.network.set_weather(Weather::FAIR);
        }
        Fault::Pause(paused) => {
            if let Some(run) = world.run(who(paused)) {
                run.machine.pause();
                wait(planned.lasts, &mut over).await;
                run.machine.resume();
            }
        }
        Fault::Kill(killed) => {
            let node = who(killed);
            world.kill(node);
            wait(planned.lasts, &mut over).await;
            world.start(node).await;
        }
        Fault::KillAll => {
            let all = world.running();
            all.iter().for_each(|node| world.kill(*node));
            wait(planned.lasts, &mut over).await;
            for node in all {
                world.start(node).await;
            }
        }
        Fault::Fuse(fused, commits) => {
            let node = who(fused);
            if let Some(disk) = world.disk(node) {
                let burning = Arc::clone(&world);
                disk.set_fuse(commits, Arc::new(move || burning.kill(node)));
            }
            wait(planned.lasts, &mut over).await;
            world.start(node).await;
        }
        Fault::SlowDisk(slow, factor) => {
            if let Some(run) = world.run(who(slow)) {
                run.machine.slow_disk(factor);
                wait(planned.lasts, &mut over).await;
                run.machine.slow_disk(1);
            }
        }
        Fault::FullDisk(full) => {
            if let Some(disk) = world.disk(who(full)) {
                disk.set_full(true);
                wait(planned.lasts, &mut over).await;
                disk.set_full(false);
            }
        }
        Fault::StepDown => members::step_down(&world).await,
        Fault::Join(node) => members::join(&world, node).await,
        Fault::Leave(node) => members::leave(&world, node).await,
    }
}

/// Undoes what may be left, and starts what does not run.
pub async fn lift_all(world: &Arc<World>) {
    world.network.mend();
    for node in 0..PLACES {
        if let Some(disk) = world.disk(node) {
            disk.set_full(false);
            disk.defuse();
        }
        if let Some(run) = world.run(node) {
            run.machine.slow_disk(1);
            run.machine.resume();
        }
        world.start(node).await;
    }
    world.records.note("all faults are over".to_owned());
}

async fn cut(world: &World, ways: &[(usize, usize)], lasts: Duration, over: &mut watch::Receiver<bool>) {
    ways.iter().for_each(|(from, to)| world.network.set_cut(*from, *to, true));
    wait(lasts, over).await;
    ways.iter().for_each(|(from, to)| world.network.set_cut(*from, *to, false));
}

async fn wait(time: Duration, over: &mut watch::Receiver<bool>) {
    tokio::select! {
        biased;
        _ = over.wait_for(|over| *over) => {}
        () = sleep(time) => {}
    }
}
