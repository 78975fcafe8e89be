//! A disk that loses what was not synced. It outlives the runs of its node; each run mounts it anew, and the mount of a
//! run that lost power reads and writes nothing any more.
//!
//! Two journals, as a node in production has them: the log (its own files there) and everything else (the store). A log
//! write that is synced does not make buffered state durable; a synced write of anything else, and a sync, does.

use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use storage::{Batch, BatchOp, Durability, MemoryStore, Snapshot, Space, Store, StoreError};

use crate::random::Random;

/// Told of every commit, after it is visible.
pub trait Probe: Send + Sync {
    /// `batch` is in `store`, which belongs to `node`.
    fn committed(&self, node: usize, batch: &Batch, store: &dyn Store);
    /// `node` lost power; this is what its disk kept.
    fn lost_power(&self, node: usize, store: &dyn Store);
}

/// Ways in which a disk can break its promises; the mutation tests turn them on, nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lies {
    /// A synced write is only buffered.
    pub sync_is_buffered: bool,
    /// The vote is only buffered.
    pub forgets_votes: bool,
    /// Every so manieth batch of state loses its last change.
    pub drops_a_change_every: Option<u64>,
}

/// A node's disk.
pub struct Disk {
    node: usize,
    platter: Mutex<Platter>,
    probe: Arc<dyn Probe>,
    lies: Lies,
}

struct Platter {
    live: Arc<MemoryStore>,
    durable: MemoryStore,
    unsynced: Vec<Batch>,
    mount: u64,
    full: bool,
    /// Commits until the power fails in the middle of what the node is doing, and what to do then.
    fuse: Option<(u64, Arc<dyn Fn() + Send + Sync>)>,
    state_batches: u64,
    lost: u64,
}

impl Disk {
    /// An empty disk.
    pub fn new(node: usize, probe: Arc<dyn Probe>, lies: Lies) -> Arc<Self> {
        let platter = Platter {
            live: Arc::default(),
            durable: MemoryStore::default(),
            unsynced: Vec::new(),
            mount: 0,
            full: false,
            fuse: None,
            state_batches: 0,
            lost: 0,
        };
        Arc::new(Self { node, platter: Mutex::new(platter), probe, lies })
    }

    /// The disk as the node's next run sees it.
    pub fn mount(self: &Arc<Self>) -> Arc<Mount> {
        let mut platter = self.platter.lock();
        platter.mount += 1;
        Arc::new(Mount { disk: Arc::clone(self), mount: platter.mount, live: Arc::clone(&platter.live) })
    }

    /// Power fails. Of what was not synced a part survives, from the oldest on.
    ///
    /// # Errors
    /// None that a disk in memory can have.
    pub fn crash(&self, random: &mut Random) -> Result<(), StoreError> {
        let live = {
            let mut platter = self.platter.lock();
            platter.mount += 1;
            platter.fuse = None;
            let kept = random.index(platter.unsynced.len() + 1);
            platter.lost += (platter.unsynced.len() - kept) as u64;
            for batch in std::mem::take(&mut platter.unsynced).into_iter().take(kept) {
                platter.durable.commit(batch, Durability::Synced)?;
            }
            platter.live = Arc::new(copy(&platter.durable)?);
            Arc::clone(&platter.live)
        };
        self.probe.lost_power(self.node, &*live);
        Ok(())
    }

    /// Whether there is room.
    pub fn set_full(&self, full: bool) {
        self.platter.lock().full = full;
    }

    /// After so many more commits `blow` is called, in the middle of what the node is doing, and nothing is written any more.
    pub fn set_fuse(&self, commits: u64, blow: Arc<dyn Fn() + Send + Sync>) {
        self.platter.lock().fuse = Some((commits, blow));
    }

    /// Takes the fuse out.
    pub fn defuse(&self) {
        self.platter.lock().fuse = None;
    }

    /// Batches that were lost in crashes.
    pub fn lost(&self) -> u64 {
        self.platter.lock().lost
    }

    fn commit(&self, mount: u64, mut batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let (live, blown) = {
            let mut platter = self.platter.lock();
            if platter.mount != mount {
                return Err(no_power());
            }
            if platter.full {
                return Err(StoreError::Full(PathBuf::from("/sim")));
            }
            let blown = match &mut platter.fuse {
                Some((0, _)) => platter.fuse.take().map(|(_, blow)| blow),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            };
            if blown.is_some() {
                platter.mount += 1;
            } else {
                platter.write(&mut batch, durability, self.lies)?;
            }
            (Arc::clone(&platter.live), blown)
        };
        if let Some(blow) = blown {
            blow();
            return Err(no_power());
        }
        self.probe.committed(self.node, &batch, &*live);
        Ok(())
    }
}

impl Platter {
    fn write(&mut self, batch: &mut Batch, durability: Durability, lies: Lies) -> Result<(), StoreError> {
        let is_log = |op: &BatchOp| match op {
            BatchOp::Put(space, ..) | BatchOp::Delete(space, ..) => *space == Space::Log,
        };
        if batch.ops.iter().any(|op| matches!(op, BatchOp::Put(Space::State, ..) | BatchOp::Delete(Space::State, ..))) {
            self.state_batches += 1;
            if lies.drops_a_change_every.is_some_and(|n| self.state_batches.is_multiple_of(n)) {
                let at = batch.ops.iter().position(|op| matches!(op, BatchOp::Put(Space::State, ..)));
                at.map(|at| batch.ops.remove(at));
            }
        }
        self.live.commit(batch.clone(), durability)?;
        let only_vote = batch.ops.iter().all(|op| matches!(op, BatchOp::Put(Space::Meta, key, _) if key == b"raft/vote"));
        let lied = lies.sync_is_buffered || lies.forgets_votes && only_vote;
        let synced = durability == Durability::Synced && !lied;
        if synced && batch.ops.iter().all(is_log) {
            return self.durable.commit(batch.clone(), Durability::Synced);
        }
        self.unsynced.push(batch.clone());
        if synced { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        for batch in std::mem::take(&mut self.unsynced) {
            self.durable.commit(batch, Durability::Synced)?;
        }
        Ok(())
    }
}

/// The disk as one run of the node sees it.
pub struct Mount {
    disk: Arc<Disk>,
    mount: u64,
    live: Arc<MemoryStore>,
}

impl Store for Mount {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.live.get(space, key)
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.live.scan(space, from, to, visit)
    }

    fn last(&self, space: Space) -> Result<Option<(Bytes, Bytes)>, StoreError> {
        self.live.last(space)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.disk.commit(self.mount, batch, durability)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut platter = self.disk.platter.lock();
        if platter.mount != self.mount {
            return Err(no_power());
        }
        if self.disk.lies.sync_is_buffered { Ok(()) } else { platter.sync() }
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.live.snapshot()
    }

    fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn engine(&self) -> &'static str {
        "simulated"
    }
}

fn no_power() -> StoreError {
    StoreError::Poisoned("the machine lost power".to_owned())
}

fn copy(from: &MemoryStore) -> Result<MemoryStore, StoreError> {
    let mut batch = Batch::default();
    for space in Space::ALL {
        from.scan(space, Bound::Unbounded, Bound::Unbounded, &mut |key, value| {
            batch.put(space, key, value);
            ControlFlow::Continue(())
        })?;
    }
    let to = MemoryStore::default();
    to.commit(batch, Durability::Synced)?;
    Ok(to)
}
