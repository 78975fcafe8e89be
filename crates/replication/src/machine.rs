//! openraft's state machine over [`Space::State`](storage::Space::State). The state, the position it stands for and the
//! membership are committed together, unsynced: what a power loss takes from the state is replayed
//! from the log. It can trail the log on disk, never lead it, and the log is purged only behind what is synced.

use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::PathBuf;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use serde::{Deserialize, Serialize};
use storage::{Batch, Changeset, Durability, Overlay, Space, Store, StoreError};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::codec::{self, Position, Roster, meta};
use crate::error::OpenError;
use crate::limits::{APPLY_BATCH_BYTES, APPLY_BATCH_ENTRIES, FULL_DISK_RETRY, INSTALL_BATCH_BYTES, INSTALL_BATCH_KEYS};
use crate::log::read_meta;
use crate::restore::{self, Token};
use crate::shared::{Hold, Shared};
use crate::snapshot::StateSnapshot;
use crate::types::{Applied, LogId, Membership, Proposal, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};

/// Told what changed, so that caches can drop it. Called on the thread that applies: must not block or wait.
pub trait Observer: Send + Sync {
    /// The entry at `index` is committed to the store and touched these stored names; its proposer does not know yet.
    /// Entries come by ascending index, each once per process (again after a restart, when replayed). Conflicts and
    /// entries without writes are not reported.
    fn applied(&self, index: u64, keys: &[&[u8]]);

    /// The whole state was replaced by a snapshot.
    fn reset(&self);
}

/// Name of the file in the snapshot folder that an installation is read from.
const INSTALL_FILE: &str = "install.snapshot";

/// The applied state of one node.
pub struct Machine {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    observer: Arc<dyn Observer>,
    snapshot_dir: Option<PathBuf>,
    applied: Option<LogId>,
    membership: StoredMembership,
    _hold: Hold,
}

/// Entries that share a store commit.
#[derive(Default)]
struct Run {
    entries: Vec<Pending>,
    batch: Batch,
    bytes: usize,
    membership: Option<StoredMembership>,
    /// The last entry replaces the state.
    restore: Option<Token>,
}

struct Pending {
    id: LogId,
    change: Option<Arc<Changeset>>,
    committed: bool,
    responder: Option<ApplyResponder<TypeConfig>>,
}

impl Machine {
    /// Opens the state in `store`, finishing an installation that a crash interrupted. `snapshot_dir` holds a received
    /// snapshot while it is installed; without it (memory stores) an installation cannot survive the process.
    pub fn open(
        store: Arc<dyn Store>,
        shared: Arc<Shared>,
        observer: Arc<dyn Observer>,
        snapshot_dir: Option<PathBuf>,
    ) -> Result<Self, OpenError> {
        let hold = Hold::on(&shared);
        let membership = StoredMembership::default();
        let mut machine = Self { store, shared, observer, snapshot_dir, applied: None, membership, _hold: hold };
        if let Some(mark) = read_meta::<Installing>(&*machine.store, meta::INSTALLING, "mark")? {
            let path =
                machine.install_path().ok_or_else(|| OpenError::Snapshot("no snapshot folder is configured".to_owned()))?;
            tracing::warn!(path = %path.display(), "finishing an interrupted snapshot installation");
            let snapshot = StateSnapshot::of_file(path.clone());
            replace_state(&*machine.store, &mark, &snapshot).map_err(|e| OpenError::Snapshot(e.to_string()))?;
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, "the installed snapshot's file stays behind");
            }
        }
        machine.load()?;
        Ok(machine)
    }

    fn load(&mut self) -> Result<(), StoreError> {
        self.applied = read_meta::<Position>(&*self.store, meta::APPLIED, "applied position")?.map(LogId::from);
        self.membership = match read_meta::<Roster>(&*self.store, meta::MEMBERSHIP, "membership")? {
            Some(roster) => roster.restore()?,
            None => StoredMembership::default(),
        };
        if let Some(id) = self.applied {
            self.shared.set_applied(id.committed_leader_id().term, id.index());
        }
        Ok(())
    }

    fn install_path(&self) -> Option<PathBuf> {
        self.snapshot_dir.as_ref().map(|dir| dir.join(INSTALL_FILE))
    }

    /// Commits the run, shows it to the observer and only then answers the proposers.
    async fn finish(&mut self, mut run: Run) -> Result<(), StoreError> {
        if let Some(token) = run.restore.take()
            && let Some(mut entry) = run.entries.pop()
        {
            Box::pin(self.finish(run)).await?;
            entry.committed = self.restore(entry.id, &token).await?;
            // A refused one is only passed over.
            run = Run { entries: vec![entry], ..Run::default() };
        }
        let Some(last) = run.entries.last().map(|e| e.id) else { return Ok(()) };
        let mut batch = run.batch;
        batch.put(Space::Meta, meta::APPLIED, codec::encode(&Position::from(&last))?);
        if let Some(membership) = &run.membership {
            batch.put(Space::Meta, meta::MEMBERSHIP, codec::encode(&Roster::from(membership))?);
        }
        self.commit(batch).await?;
        if let Some(membership) = run.membership {
            self.membership = membership;
        }
        self.applied = Some(last);
        for entry in &run.entries {
            if let (true, Some(change)) = (entry.committed, &entry.change) {
                let keys: Vec<&[u8]> = change.writes.iter().map(|w| w.key.as_slice()).collect();
                if !keys.is_empty() {
                    self.observer.applied(entry.id.index(), &keys);
                }
            }
        }
        self.shared.set_applied(last.committed_leader_id().term, last.index());
        for entry in run.entries {
            if let Some(responder) = entry.responder {
                responder.send(Applied { index: entry.id.index(), committed: entry.committed });
            }
        }
        Ok(())
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut waited = false;
        loop {
            let attempt = || self.store.commit(batch.clone(), Durability::Buffered);
            // An fsync under way makes this commit wait; other tasks must not wait with it.
            let outcome = match Handle::current().runtime_flavor() {
                RuntimeFlavor::MultiThread if self.shared.syncing() => tokio::task::block_in_place(attempt),
                _ => attempt(),
            };
            match outcome {
                Ok(()) => {
                    if waited {
                        self.shared.set_full(None);
                    }
                    return Ok(());
                }
                Err(e @ StoreError::Full(_)) if !self.shared.stopping() => {
                    waited = true;
                    self.shared.set_full(Some(&e));
                    tokio::time::sleep(FULL_DISK_RETRY).await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn fatal(&self, error: &StoreError) -> io::Error {
        self.shared.fail(error)
    }

    fn view(&self) -> Result<Snapshot, StoreError> {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        Ok(Snapshot { meta, snapshot: StateSnapshot::of_view(self.store.snapshot()?) })
    }

    /// Position of the last applied entry.
    pub(crate) fn applied_index(&self) -> Option<u64> {
        self.applied.map(|id| id.index())
    }

    async fn install(&mut self, meta: &SnapshotMeta, snapshot: StateSnapshot, restored: bool) -> Result<(), StoreError> {
        let at = meta.last_log_id.as_ref().map(Position::from);
        let installing = Installing { at, roster: Roster::from(&meta.last_membership), restored };
        let store = Arc::clone(&self.store);
        let path = self.install_path();
        let work = move || {
            let snapshot = match &path {
                Some(path) => snapshot.spool(path)?,
                None => snapshot,
            };
            snapshot.each(&mut |_, _| ControlFlow::Continue(()))?; // a damaged file must not cost the old state
            let mut mark = Batch::default();
            mark.put(Space::Meta, self::meta::INSTALLING, codec::encode(&installing)?);
            store.commit(mark, Durability::Synced)?;
            replace_state(&*store, &installing, &snapshot)?;
            if let Some(Err(error)) = path.as_ref().map(std::fs::remove_file) {
                tracing::warn!(%error, "the installed snapshot's file stays behind");
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| codec::corrupt("snapshot installation", e.to_string()))??;
        self.load()?;
        self.observer.reset();
        Ok(())
    }

    /// Carries out an entry that replaces the state. `false`: its file is not there, or not whole, and the state stays. Nobody
    /// was told otherwise: the file is removed only when the state that came from it cannot be lost.
    async fn restore(&mut self, id: LogId, token: &Token) -> Result<bool, StoreError> {
        let (Some(dir), Some(path)) = (self.snapshot_dir.clone(), self.install_path()) else { return Ok(false) };
        let received = restore::path_of(&dir, token);
        let linked = || {
            let _ = std::fs::remove_file(&path); // what an earlier crash may have left
            std::fs::hard_link(&received, &path).or_else(|_| std::fs::copy(&received, &path).map(drop))?;
            std::fs::File::open(&path)?.sync_all()?;
            std::fs::File::open(&dir)?.sync_all()
        };
        let snapshot = StateSnapshot::of_file(path.clone());
        let usable = linked().is_ok() && snapshot.each(&mut |_, _| ControlFlow::Continue(())).is_ok();
        if !usable {
            tracing::error!(path = %received.display(), "a snapshot was to be restored, but its file is not whole; the state stays");
            return Ok(false);
        }
        let meta = SnapshotMeta { last_log_id: Some(id), last_membership: self.membership.clone() };
        self.install(&meta, snapshot, true).await?;
        if let Err(error) = restore::forget(&dir) {
            tracing::warn!(%error, "the file of a restored snapshot stays behind");
        }
        Ok(true)
    }
}

/// Says that the state is being replaced, and by what.
#[derive(Serialize, Deserialize)]
struct Installing {
    at: Option<Position>,
    roster: Roster,
    /// The records have no version of their own: they get the index of `at`.
    restored: bool,
}

impl Run {
    fn is_full(&self) -> bool {
        self.restore.is_some() || self.bytes >= APPLY_BATCH_BYTES || self.entries.len() >= APPLY_BATCH_ENTRIES
    }

    fn add(&mut self, overlay: &mut Overlay<'_>, (entry, responder): EntryResponder<TypeConfig>) -> Result<(), StoreError> {
        let mut pending = Pending { id: entry.log_id, change: None, committed: true, responder };
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(members) => self.set_membership(entry.log_id, members),
            EntryPayload::Normal(Proposal::Restore(token)) => {
                self.restore = Some(token);
                pending.committed = false;
            }
            EntryPayload::Normal(Proposal::Change(change)) => {
                pending.committed = overlay.apply(&change, entry.log_id.index(), &mut self.batch)?;
                self.bytes += change.writes.iter().map(|w| w.value.as_ref().map_or(0, Vec::len)).sum::<usize>();
                pending.change = Some(change);
            }
        }
        self.entries.push(pending);
        Ok(())
    }

    fn set_membership(&mut self, at: LogId, members: Membership) {
        self.membership = Some(StoredMembership::new(Some(at), members));
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = StateSnapshot;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let store = Arc::clone(&self.store);
        loop {
            let mut run = Run::default();
            let mut ended = false;
            let mut overlay = Overlay::new(&*store);
            while !run.is_full() {
                match entries.try_next().await? {
                    Some(item) => run.add(&mut overlay, item).map_err(|e| self.fatal(&e))?,
                    None => {
                        ended = true;
                        break;
                    }
                }
            }
            drop(overlay);
            self.finish(run).await.map_err(|e| self.fatal(&e))?;
            if ended {
                return Ok(());
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder(self.view().map_err(|e| self.fatal(&e)))
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: StateSnapshot) -> io::Result<()> {
        self.install(meta, snapshot, false).await.map_err(|e| self.fatal(&e))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if self.applied.is_none() {
            return Ok(None);
        }
        self.view().map(Some).map_err(|e| self.fatal(&e))
    }
}

/// A snapshot costs nothing to make: it is a view of the store, and the state itself is the durable copy.
pub struct Builder(io::Result<Snapshot>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = StateSnapshot;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        std::mem::replace(&mut self.0, Err(io::Error::other("a snapshot is taken once")))
    }
}

/// Replaces the state by the snapshot's. The caller has left a durable mark; it goes with the last commit, so a crash
/// anywhere in between starts this again.
fn replace_state(store: &dyn Store, mark: &Installing, snapshot: &StateSnapshot) -> Result<(), StoreError> {
    clear_state(store)?;
    let version = mark.at.filter(|_| mark.restored).map(|at| at.index.to_be_bytes());
    let mut batch = Batch::default();
    let mut bytes = 0;
    let mut failed = None;
    snapshot.each(&mut |key, value| {
        batch.put(Space::State, key, [version.as_ref().map_or(&[][..], |v| v), value].concat());
        bytes += key.len() + value.len();
        if bytes >= INSTALL_BATCH_BYTES {
            bytes = 0;
            if let Err(e) = store.commit(std::mem::take(&mut batch), Durability::Buffered) {
                failed = Some(e);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(e) = failed {
        return Err(e);
    }
    match mark.at {
        Some(at) => {
            batch.put(Space::Meta, meta::APPLIED, codec::encode(&at)?);
            batch.put(Space::Meta, meta::INSTALLED, codec::encode(&at)?);
        }
        None => batch.delete(Space::Meta, meta::APPLIED),
    }
    batch.put(Space::Meta, meta::MEMBERSHIP, codec::encode(&mark.roster)?);
    batch.delete(Space::Meta, meta::INSTALLING);
    store.commit(batch, Durability::Synced)
}

fn clear_state(store: &dyn Store) -> Result<(), StoreError> {
    loop {
        let mut batch = Batch::default();
        store.scan(Space::State, Bound::Unbounded, Bound::Unbounded, &mut |key, _| {
            batch.delete(Space::State, key);
            if batch.ops.len() < INSTALL_BATCH_KEYS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if batch.is_empty() {
            return Ok(());
        }
        store.commit(batch, Durability::Buffered)?;
    }
}
