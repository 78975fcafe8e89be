//! openraft's log over a [`Disk`](crate::disk::Disk): reads see an entry as soon as it was appended, from memory
//! until (and a little after) it is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use storage::{Space, Store, StoreError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::codec::{self, Ballot, Position, meta};
use crate::disk::{Disk, Write};
use crate::limits::{MARK_BYTES, READ_CHUNK_BYTES, READ_CHUNK_ENTRIES, RECENT_BYTES, SOLE_LOG_BYTES};
use crate::shared::{Hold, Shared};
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::writer::{Done, Job, Writer};

/// The log of one node. Clones share it.
#[derive(Clone)]
pub struct LogStore(Arc<Log>);

struct Log {
    disk: Arc<Disk>,
    shared: Arc<Shared>,
    view: Arc<Mutex<View>>,
    writer: Writer,
    grown_bytes: u64,
    _hold: Hold,
}

/// What the log contains from a reader's point of view, ahead of the disk.
#[derive(Default)]
struct View {
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    /// A run of entries that ends at `last`: everything not on disk yet, and some that is.
    recent: BTreeMap<u64, Recent>,
    recent_bytes: usize,
    /// Bytes appended since this process began.
    total_bytes: u64,
    /// When the last entry was appended.
    last_at: Option<Instant>,
    /// Ascending; what lies before a mark is known to be that old and that far back.
    marks: VecDeque<Mark>,
}

struct Recent {
    entry: Entry,
    bytes: usize,
}

struct Mark {
    index: u64,
    total_bytes: u64,
    at: Instant,
}

impl LogStore {
    /// Opens the log, in the folder `files` or else in `store`. `grown_bytes`: ring [`Shared`]'s bell when the log appended
    /// since the last purge is larger.
    pub fn open(store: Arc<dyn Store>, shared: Arc<Shared>, grown_bytes: u64, files: Option<&Path>) -> Result<Self, StoreError> {
        let vote = read_meta::<Ballot>(&*store, meta::VOTE, "vote")?.map(Vote::from);
        let (disk, purged, last) = Disk::open(store, files)?;
        let (purged, last) = (purged.map(LogId::from), last.map(LogId::from));
        let disk = Arc::new(disk);
        let view = Arc::new(Mutex::new(View { last, purged, vote, ..View::default() }));
        let written = Arc::clone(&view);
        let counting = Arc::clone(&shared);
        let writer = Writer::start(Arc::clone(&disk), Arc::clone(&shared), move |index| {
            written.lock().written(index);
            counting.set_logged(index + 1);
        })?;
        let hold = Hold::on(&shared);
        Ok(Self(Arc::new(Log { disk, shared, view, writer, grown_bytes, _hold: hold })))
    }

    /// The last index that may be purged to keep at most `bytes` or `age` behind it.
    pub(crate) fn purgeable(&self, bytes: u64, age: Duration) -> Option<u64> {
        let view = self.0.view.lock();
        let now = Instant::now();
        let aged = |at: Instant| now.saturating_duration_since(at) > age;
        if view.last_at.is_some_and(aged) {
            return view.last.map(|id| id.index());
        }
        let too_old = |m: &&Mark| view.total_bytes.saturating_sub(m.total_bytes) > bytes || aged(m.at);
        view.marks.iter().rev().find(too_old).map(|m| m.index)
    }

    /// The last index that was purged.
    pub(crate) fn purged_index(&self) -> Option<u64> {
        self.0.view.lock().purged.map(|id| id.index())
    }

    /// Lets the state wait for this log, see [`Shared::logged`].
    pub(crate) fn hold_state_back(&self) {
        self.0.shared.keep_count_of_log(self.last_index().map_or(0, |index| index + 1));
    }

    /// The last index of the log.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.0.view.lock().last.map(|id| id.index())
    }

    /// Bytes beyond which the log is purged: followers need some of it, a sole node nothing.
    pub(crate) fn limit_bytes(&self) -> u64 {
        if self.0.shared.is_sole() { self.0.grown_bytes.min(SOLE_LOG_BYTES) } else { self.0.grown_bytes }
    }

    async fn submit(&self, write: Write) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.0.writer.send(Job::Write(write, Done::Reply(reply)))?;
        answer.await.map_err(|_| io::Error::other("the log writer has stopped"))?
    }

    /// Entries of `[start, end)` that the log holds, at most `limit_bytes` (but at least one) of them.
    fn read(&self, start: u64, end: u64, limit_bytes: usize) -> io::Result<Vec<Entry>> {
        let (start, memory_from, recent) = {
            let view = self.0.view.lock();
            let start = start.max(view.first_index());
            let end = end.min(view.last.map_or(0, |id| id.index() + 1));
            if start >= end {
                return Ok(Vec::new());
            }
            let memory_from = view.recent.keys().next().copied().unwrap_or(end).min(end);
            let recent: Vec<(Entry, usize)> = view.recent.range(start..end).map(|(_, r)| (r.entry.clone(), r.bytes)).collect();
            (start, memory_from, recent)
        };
        let mut bytes = 0;
        let mut entries = Vec::new();
        if start < memory_from {
            bytes = self.0.disk.read(start, memory_from, limit_bytes, &mut entries).map_err(|e| self.0.shared.fail(&e))?;
        }
        for (entry, size) in recent {
            if bytes > limit_bytes {
                break;
            }
            bytes += size;
            entries.push(entry);
        }
        check_no_hole(&entries).map_err(|e| self.0.shared.fail(&e))?;
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = half_open(&range);
        self.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.view.lock().vote)
    }

    /// In chunks, so that a long replay does not hold the whole log in memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = half_open(&range);
        let log = self.clone();
        stream::try_unfold(start, move |at| {
            let log = log.clone();
            async move {
                if at >= end {
                    return Ok::<_, io::Error>(None);
                }
                let chunk = log.read(at, end.min(at.saturating_add(READ_CHUNK_ENTRIES)), READ_CHUNK_BYTES)?;
                let next = chunk.last().map_or(end, |e| e.log_id.index() + 1);
                Ok(Some((stream::iter(chunk.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_CHUNK_BYTES)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = self.0.view.lock();
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let encoded = codec::encode(&Ballot::from(vote)).map_err(|e| self.0.shared.fail(&e))?;
        self.submit(Write::Vote(encoded)).await?;
        self.0.view.lock().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        let mut appended = Vec::new();
        for entry in entries {
            let bytes = codec::encode_entry(&entry).map_err(|e| self.0.shared.fail(&e))?;
            let position = Position::from(&entry.log_id);
            appended.push(Recent { bytes: bytes.len(), entry });
            encoded.push((position, bytes));
        }
        let grown = {
            let mut view = self.0.view.lock();
            for recent in appended {
                view.append(recent);
            }
            view.grown()
        };
        if grown > self.limit_bytes() {
            self.0.shared.log_grew.notify_one();
        }
        // With followers the disk must not hold up what is sent to them.
        if self.0.disk.is_direct() && self.0.shared.is_sole() && self.0.writer.is_idle() {
            callback.io_completed(self.0.writer.write_here(Write::Append(encoded)).await);
            return Ok(());
        }
        self.0.writer.send(Job::Write(Write::Append(encoded), Done::Append(callback)))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let range = self.0.view.lock().truncate(last_log_id);
        let Some(range) = range else { return Ok(()) };
        let after = last_log_id.as_ref().map(Position::from);
        // openraft appends nothing before this is done.
        self.submit(Write::Truncate { after, from: *range.start(), to: *range.end() }).await?;
        self.0.shared.set_logged(*range.start());
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let upto = Position::from(&log_id);
        let (first, all) = {
            let mut view = self.0.view.lock();
            (view.purge(log_id), view.last == Some(log_id))
        };
        let Some(from) = first else { return Ok(()) };
        if self.0.disk.is_direct() && !all {
            // Nobody depends on it, and it waits for the state to be durable.
            let log = self.clone();
            tokio::task::spawn_blocking(move || log.purge_files(from, upto));
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.0.writer.send(Job::Purge { from, upto, done: if all { Done::Reply(reply) } else { Done::Nobody } })?;
        if all { answer.await.map_err(|_| io::Error::other("the log writer has stopped"))? } else { Ok(()) }
    }
}

impl LogStore {
    fn purge_files(&self, from: u64, upto: Position) {
        match self.0.disk.purge(from, upto) {
            Ok(()) => {}
            // The next purge takes these files too.
            Err(e @ StoreError::Full(_)) => tracing::warn!(error = %e, "the log could not be purged"),
            Err(e) => drop(self.0.shared.fail(&e)),
        }
    }
}

impl View {
    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |id| id.index() + 1)
    }

    fn append(&mut self, recent: Recent) {
        let index = recent.entry.log_id.index();
        self.last = Some(recent.entry.log_id);
        self.recent_bytes += recent.bytes;
        self.total_bytes += recent.bytes as u64;
        let now = Instant::now();
        self.last_at = Some(now);
        if self.marks.back().is_none_or(|m| self.total_bytes - m.total_bytes > MARK_BYTES) {
            self.marks.push_back(Mark { index, total_bytes: self.total_bytes, at: now });
        }
        if let Some(replaced) = self.recent.insert(index, recent) {
            self.recent_bytes -= replaced.bytes;
        }
    }

    /// Everything up to `index` is on disk, so memory may let go of the oldest.
    fn written(&mut self, index: u64) {
        while self.recent_bytes > RECENT_BYTES {
            match self.recent.first_entry() {
                Some(first) if *first.key() <= index => self.recent_bytes -= first.remove().bytes,
                _ => return,
            }
        }
    }

    fn grown(&self) -> u64 {
        self.marks.front().map_or(0, |m| self.total_bytes - m.total_bytes)
    }

    /// Forgets what follows `after`; answers what the disk has to forget.
    fn truncate(&mut self, after: Option<LogId>) -> Option<std::ops::RangeInclusive<u64>> {
        let from = after.map_or(0, |id| id.index() + 1);
        let to = self.last?.index();
        if from > to {
            return None;
        }
        for (_, gone) in self.recent.split_off(&from) {
            self.recent_bytes -= gone.bytes;
        }
        while self.marks.back().is_some_and(|m| m.index >= from) {
            self.marks.pop_back();
        }
        self.last = after.max(self.purged);
        Some(from..=to)
    }

    /// Forgets everything up to `upto`; answers the first index that the disk has to forget.
    fn purge(&mut self, upto: LogId) -> Option<u64> {
        let from = self.first_index();
        if from > upto.index() {
            return None;
        }
        let kept = self.recent.split_off(&(upto.index() + 1));
        for gone in std::mem::replace(&mut self.recent, kept).into_values() {
            self.recent_bytes -= gone.bytes;
        }
        while self.marks.front().is_some_and(|m| m.index <= upto.index()) {
            self.marks.pop_front();
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index() < upto.index()) {
            self.last = Some(upto);
        }
        Some(from)
    }
}

/// A record of `Space::Meta`.
pub(crate) fn read_meta<T: serde::de::DeserializeOwned>(
    store: &dyn Store,
    key: &[u8],
    what: &str,
) -> Result<Option<T>, StoreError> {
    store.get(Space::Meta, key)?.map(|bytes| codec::decode(what, &bytes)).transpose()
}

fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(i) => *i,
        Bound::Excluded(i) => i.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(i) => i.saturating_add(1),
        Bound::Excluded(i) => *i,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn check_no_hole(entries: &[Entry]) -> Result<(), StoreError> {
    let broken = entries.iter().zip(entries.iter().skip(1)).find(|(a, b)| a.log_id.index() + 1 != b.log_id.index());
    match broken {
        None => Ok(()),
        Some((a, b)) => {
            Err(codec::corrupt("log", format!("entries are missing between {} and {}", a.log_id.index(), b.log_id.index())))
        }
    }
}
