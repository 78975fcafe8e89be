//! Who belongs to the cluster: its founding, nodes that join and leave, leaders that hand over. As an operator does it, one
//! step after the other, each of which may fail and is not repeated.

use std::sync::Arc;
use std::time::Duration;

use replication::simulation::on;
use replication::{ChangeError, NewMember, Replica};
use tokio::time::timeout;

use crate::network::{Reached, address};
use crate::world::{FOUNDERS, World};

/// How long an operator waits for one step.
const PATIENCE: Duration = Duration::from_secs(12);

/// Makes a cluster of the first places.
pub async fn found(world: &Arc<World>) {
    for node in 0..FOUNDERS {
        world.start(node).await;
    }
    let Some(first) = world.run(0) else { return };
    let founder = Arc::clone(&first.replica);
    let founded = on(first.machine.clone(), async move { founder.bootstrap().await }).await;
    world.records.judge(founded.map_err(|e| format!("the cluster cannot be founded: {e}")));
    for node in 1..FOUNDERS {
        let joined = take_in(world, &first, node).await;
        world.records.judge(joined.map_err(|e| format!("node {node} cannot join a sound cluster: {e}")));
    }
}

/// Starts the node at a place and lets it join.
pub async fn join(world: &Arc<World>, node: usize) {
    world.start(node).await;
    let Some(leader) = leader(world) else { return };
    match take_in(world, &leader, node).await {
        Ok(()) => world.records.note(format!("node {node} joined")),
        Err(e) => world.records.note(format!("node {node} did not join: {e}")),
    }
}

/// Removes a node if enough others remain, and throws its disk away once the cluster said that it is removed.
pub async fn leave(world: &Arc<World>, node: usize) {
    let Some(leader) = leader(world) else { return };
    if leader.replica.status().peers.iter().filter(|peer| peer.voter).count() <= FOUNDERS {
        return;
    }
    let name = world.name(node);
    let removed = step(&leader, |replica| async move { replica.remove(&name).await }).await;
    match removed {
        Ok(()) => {
            world.records.note(format!("node {node} left"));
            world.replace_disk(node);
        }
        Err(e) => world.records.note(format!("node {node} did not leave: {e}")),
    }
}

/// The leader hands over.
pub async fn step_down(world: &Arc<World>) {
    let Some(leader) = leader(world) else { return };
    match step(&leader, |replica| async move { replica.step_down().await }).await {
        Ok(()) => world.records.note("the leader stepped down".to_owned()),
        Err(e) => world.records.note(format!("the leader did not step down: {e}")),
    }
}

async fn take_in(world: &Arc<World>, leader: &Reached, node: usize) -> Result<(), String> {
    let Some(run) = world.run(node) else { return Err("it does not run".to_owned()) };
    let name = world.name(node);
    let api_addr = format!("https://node-{node}:8200");
    let new = NewMember { raft_id: run.replica.raft_id(), node_id: name.clone(), address: address(node), api_addr };
    step(leader, |replica| async move { replica.add_learner(new).await }).await?;
    step(leader, |replica| async move { replica.promote(&name).await }).await
}

async fn step<W, F>(leader: &Reached, work: W) -> Result<(), String>
where
    W: FnOnce(Arc<Replica>) -> F,
    F: Future<Output = Result<(), ChangeError>> + Send,
{
    let work = work(Arc::clone(&leader.replica));
    tokio::select! {
        biased;
        done = timeout(PATIENCE, on(leader.machine.clone(), work)) => match done {
            Ok(done) => done.map_err(|e| e.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        },
        () = leader.machine.died() => Err("the leader died".to_owned()),
    }
}

fn leader(world: &World) -> Option<Reached> {
    world.run(world.leader()?)
}
