//! openraft's state machine over [`Space::State`](storage::Space::State). The state, the position it stands for and the
//! membership are committed together, unsynced: what a power loss takes from the state is replayed
//! from the log. It can trail the log on disk, never lead it, and the log is purged only behind what is synced.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;
use storage::{Batch, Changeset, Durability, Overlay, Space, Store, StoreError, versioned};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::codec::{self, Position, Roster, meta};
use crate::error::OpenError;
use crate::install::{Installing, replace_state};
use crate::limits::{APPLY_BATCH_BYTES, APPLY_BATCH_ENTRIES, FULL_DISK_RETRY};
use crate::log::read_meta;
use crate::restore::{self, Token};
use crate::runtime;
use crate::shared::{Hold, Shared};
use crate::snapshot::{self, StateSnapshot};
use crate::types::{Applied, LogId, Membership, Proposal, Snapshot, SnapshotMeta, StoredMembership, Ticket, TypeConfig};

/// Told what changed, so that caches can drop it. Called on the thread that applies: must not block or wait.
pub trait Observer: Send + Sync {
    /// The entry at `index` is committed to the store and touched these stored names; its proposer does not know yet.
    /// Entries come by ascending index, each once per process (again after a restart, when replayed). Conflicts and
    /// entries without writes are not reported.
    fn applied(&self, index: u64, keys: &[&[u8]]);

    /// The whole state is about to be replaced by a snapshot, record by record. Whoever reads from now on reads of two states.
    fn replacing(&self) {}

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
    ticket: Option<Ticket>,
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
        } else if let Some(path) = machine.install_path() {
            // A process that ended before the old state was touched, or right after it was replaced.
            for left in [snapshot::partial_of(&path), path] {
                let _ = std::fs::remove_file(left); // mostly there is none
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
                let keys = change.writes.iter().map(|w| w.key.as_slice()).filter(|key| !restore::is_staged(key));
                let keys: Vec<&[u8]> = keys.collect();
                if !keys.is_empty() {
                    self.observer.applied(entry.id.index(), &keys);
                }
            }
        }
        self.shared.set_applied_index(last.index());
        for entry in &run.entries {
            if let Some(ticket) = entry.ticket {
                self.shared.ledger.applied(ticket, Applied { index: entry.id.index(), committed: entry.committed });
            }
        }
        self.shared.set_applied_term(last.committed_leader_id().term);
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
        let (store, observer) = (Arc::clone(&self.store), Arc::clone(&self.observer));
        let path = self.install_path();
        // What it came from goes when it is in the file: a store keeps in memory all that is written beside an open view.
        let source = Mutex::new(snapshot);
        // It can be begun again at any time, also after it was carried out in part.
        let work = Arc::new(move || -> Result<(), StoreError> {
            let snapshot = {
                let mut source = source.lock();
                if let Some(path) = &path {
                    *source = source.spool(path)?;
                }
                source.clone()
            };
            snapshot.each(&mut |_, _| ControlFlow::Continue(()))?; // a damaged file must not cost the old state
            let mut mark = Batch::default();
            mark.put(Space::Meta, self::meta::INSTALLING, codec::encode(&installing)?);
            store.commit(mark, Durability::Synced)?;
            observer.replacing();
            replace_state(&*store, &installing, &snapshot)?;
            if let Some(Err(error)) = path.as_ref().map(std::fs::remove_file) {
                tracing::warn!(%error, "the installed snapshot's file stays behind");
            }
            Ok(())
        });
        let mut waited = false;
        loop {
            let work = Arc::clone(&work);
            match runtime::blocking(move || work()).await.map_err(|e| codec::corrupt("snapshot installation", e.to_string()))? {
                Err(e @ StoreError::Full(_)) if !self.shared.stopping() => {
                    waited = true;
                    self.shared.set_full(Some(&e));
                    tokio::time::sleep(FULL_DISK_RETRY).await;
                }
                other => break other?,
            }
        }
        if waited {
            self.shared.set_full(None);
        }
        // Before the term of the snapshot shows: who waits for an entry must not take it for one that never came.
        self.shared.ledger.jumped();
        self.load()?;
        self.observer.reset();
        Ok(())
    }

    /// Carries out an entry that replaces the state by what is staged, see `restore`. `false`: not all of it is there, on any
    /// node, and the state stays.
    async fn restore(&mut self, id: LogId, token: &Token) -> Result<bool, StoreError> {
        let view = self.store.snapshot()?;
        let stage = restore::stage(token);
        let expected = view.get(Space::State, &stage)?;
        let staged = StateSnapshot::staged(view, stage);
        let counted = staged.clone();
        // A large state takes a while, and others must hear from this node meanwhile.
        let count = runtime::blocking(move || {
            let mut count = 0_u64;
            let counting = counted.each(&mut |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            counting.map(|()| count)
        });
        let count = count.await.map_err(|e| codec::corrupt("staged records", e.to_string()))??;
        if !expected.is_some_and(|stored| versioned(&stored).is_ok_and(|(_, value)| value == count.to_be_bytes())) {
            tracing::error!("a state was to be restored, but not all of its records are there; the old state stays");
            return Ok(false);
        }
        let meta = SnapshotMeta { last_log_id: Some(id), last_membership: self.membership.clone() };
        self.install(&meta, staged, true).await?;
        Ok(true)
    }
}

impl Run {
    fn is_full(&self) -> bool {
        self.restore.is_some() || self.bytes >= APPLY_BATCH_BYTES || self.entries.len() >= APPLY_BATCH_ENTRIES
    }

    fn add(&mut self, overlay: &mut Overlay<'_>, (entry, responder): EntryResponder<TypeConfig>) -> Result<(), StoreError> {
        let mut pending = Pending { id: entry.log_id, change: None, ticket: None, committed: true, responder };
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(members) => self.set_membership(entry.log_id, members),
            EntryPayload::Normal(Proposal::Restore(token)) => {
                self.restore = Some(token);
                pending.committed = false;
            }
            EntryPayload::Normal(Proposal::Change(change)) => self.change(overlay, &mut pending, change)?,
            EntryPayload::Normal(Proposal::Ticketed(ticket, change)) => {
                pending.ticket = Some(ticket);
                self.change(overlay, &mut pending, change)?;
            }
        }
        self.entries.push(pending);
        Ok(())
    }

    fn change(&mut self, overlay: &mut Overlay<'_>, pending: &mut Pending, change: Arc<Changeset>) -> Result<(), StoreError> {
        pending.committed = overlay.apply(&change, pending.id.index(), &mut self.batch)?;
        self.bytes += change.writes.iter().map(|w| w.value.as_ref().map_or(0, Vec::len)).sum::<usize>();
        pending.change = Some(change);
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
            if let Some(last) = run.entries.last() {
                self.shared.logged(last.id.index()).await.map_err(|e| self.fatal(&e))?;
            }
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
