//! Snapshots, which sled has not: each keeps the values that later commits replace ("before images"). A read asks there
//! first and then the tree.
//!
//! A commit pays, per key and living snapshot, one read of the tree, the first time it touches the key; nobody waits for
//! a reader longer than one chunk. Memory holds the touched keys only; their old values go to an unlinked file.

use std::collections::BTreeMap;
use std::fs::File;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use storage::disk::{guarded, is_empty_range};
use storage::{Snapshot, Space, StoreError};

use crate::store::{in_space, range_in_space, unreadable};

/// Pairs read under one lock: some hundred microseconds during which commits wait.
const CHUNK_PAIRS: usize = 128;

/// Name of the file of old values; unlinked as soon as it is open, so one name serves all.
const SPILL: &str = "SPILL";

/// The living snapshots of a store.
#[derive(Default)]
pub(crate) struct Held(Vec<Weak<SledSnapshot>>);

/// A view of the instant it was made at.
pub(crate) struct SledSnapshot {
    tree: sled::Db,
    before: RwLock<Before>,
}

struct Before {
    /// Where the file of old values is made when the first comes.
    directory: PathBuf,
    images: BTreeMap<Vec<u8>, Image>,
    spill: Option<File>,
    spilled_bytes: u64,
    /// Set when an old value could not be kept: the view is no longer whole. The commit goes on.
    lost: bool,
}

/// What a key held.
#[derive(Clone, Copy)]
enum Image {
    Absent,
    Value { at: u64, bytes: usize },
}

impl Held {
    pub(crate) fn add(&mut self, snapshot: &Arc<SledSnapshot>) {
        self.0.retain(|held| held.strong_count() > 0);
        self.0.push(Arc::downgrade(snapshot));
    }

    /// Before a commit changes `key`: keeps what it holds now.
    pub(crate) fn keep(&mut self, tree: &sled::Db, key: &[u8]) -> Result<(), sled::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.retain(|held| held.strong_count() > 0);
        for snapshot in self.0.iter().filter_map(Weak::upgrade) {
            let mut before = snapshot.before.write().unwrap_or_else(PoisonError::into_inner);
            if !before.lost && !before.images.contains_key(key) {
                let value = tree.get(key)?;
                before.keep(key, value.as_deref());
            }
        }
        Ok(())
    }
}

impl SledSnapshot {
    pub(crate) fn new(tree: sled::Db, directory: &Path) -> Self {
        let before =
            Before { directory: directory.to_owned(), images: BTreeMap::new(), spill: None, spilled_bytes: 0, lost: false };
        Self { tree, before: RwLock::new(before) }
    }

    /// The next pairs after `from`, at most [`CHUNK_PAIRS`], and the key to go on after; `None` at the end of the range.
    fn chunk(&self, space: Space, from: Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> Result<Chunk, StoreError> {
        // Held over the whole chunk: a commit notes its before images under the write lock before it touches the tree,
        // so a key without an image is, until this lock opens, as it was when the snapshot was made.
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        before.whole()?;
        let range = (from, to.clone());
        let images = before.images.range::<Vec<u8>, _>(range.clone()).peekable();
        let mut merged = Merge { images, live: self.tree.range(range).peekable() };
        let mut chunk = Chunk::default();
        for _ in 0..CHUNK_PAIRS {
            let Some((key, found)) = merged.next().transpose().map_err(|e| unreadable(space, e))? else {
                chunk.go_on_after = None;
                break;
            };
            let value = match found {
                Found::Live(value) => Some(value.to_vec()),
                Found::Image(image) => before.read(image)?,
            };
            chunk.go_on_after = Some(key.clone());
            chunk.pairs.extend(value.map(|value| (key, value)));
        }
        Ok(chunk)
    }
}

#[derive(Default)]
struct Chunk {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    go_on_after: Option<Vec<u8>>,
}

impl Snapshot for SledSnapshot {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = in_space(space, key);
        let before = self.before.read().unwrap_or_else(PoisonError::into_inner);
        before.whole()?;
        if let Some(image) = before.images.get(&key) {
            return Ok(before.read(*image)?.map(Bytes::from));
        }
        guarded(space.as_str(), || {
            let value = self.tree.get(&key).map_err(|e| unreadable(space, e))?;
            Ok(value.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    fn scan(
        &self,
        space: Space,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let (mut from, to) = range_in_space(space, from, to);
        loop {
            let chunk = guarded(space.as_str(), || self.chunk(space, from, &to))?;
            for (key, value) in &chunk.pairs {
                if visit(key.get(1..).unwrap_or_default(), value).is_break() {
                    return Ok(());
                }
            }
            match chunk.go_on_after {
                // At the very end the range would turn around, which a BTreeMap answers with a panic.
                Some(last) if !is_empty_range(Bound::Excluded(last.as_slice()), to.as_ref().map(Vec::as_slice)) => {
                    from = Bound::Excluded(last);
                }
                _ => return Ok(()),
            }
        }
    }
}

impl Before {
    fn keep(&mut self, key: &[u8], value: Option<&[u8]>) {
        let image = match value.map(|value| self.spill(value)).transpose() {
            Ok(image) => image.unwrap_or(Image::Absent),
            Err(_) => {
                self.lost = true;
                self.images.clear();
                return;
            }
        };
        self.images.insert(key.to_owned(), image);
    }

    fn spill(&mut self, value: &[u8]) -> std::io::Result<Image> {
        let file = match &self.spill {
            Some(file) => file,
            None => {
                let path = self.directory.join(SPILL);
                let file = File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                std::fs::remove_file(path)?;
                self.spill.insert(file)
            }
        };
        file.write_all_at(value, self.spilled_bytes)?;
        let image = Image::Value { at: self.spilled_bytes, bytes: value.len() };
        self.spilled_bytes += value.len() as u64;
        Ok(image)
    }

    fn read(&self, image: Image) -> Result<Option<Vec<u8>>, StoreError> {
        let Image::Value { at, bytes } = image else { return Ok(None) };
        let unreadable = |source| StoreError::Io { context: "read an old value kept for a snapshot".to_owned(), source };
        let file = self.spill.as_ref().ok_or_else(|| unreadable(std::io::ErrorKind::NotFound.into()))?;
        let mut value = vec![0; bytes];
        file.read_exact_at(&mut value, at).map_err(unreadable)?;
        Ok(Some(value))
    }

    /// A view that lost an old value answers nothing. The usual cause is a full disk, and so it is reported.
    fn whole(&self) -> Result<(), StoreError> {
        if self.lost { Err(StoreError::Full(self.directory.clone())) } else { Ok(()) }
    }
}

enum Found {
    Live(sled::IVec),
    Image(Image),
}

/// Both sources in ascending order; where both have a key, the image counts.
struct Merge<'a, I: Iterator<Item = (&'a Vec<u8>, &'a Image)>> {
    images: Peekable<I>,
    live: Peekable<sled::Iter>,
}

impl<'a, I: Iterator<Item = (&'a Vec<u8>, &'a Image)>> Iterator for Merge<'a, I> {
    type Item = Result<(Vec<u8>, Found), sled::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.images.peek(), self.live.peek()) {
            (None, None) => return None,
            (None, Some(_)) | (_, Some(Err(_))) => std::cmp::Ordering::Greater,
            (Some(_), None) => std::cmp::Ordering::Less,
            (Some((image, _)), Some(Ok((live, _)))) => image.as_slice().cmp(live),
        };
        if order.is_eq() {
            self.live.next();
        }
        if order.is_gt() {
            return self.live.next().map(|pair| pair.map(|(key, value)| (key.to_vec(), Found::Live(value))));
        }
        self.images.next().map(|(key, image)| Ok((key.clone(), Found::Image(*image))))
    }
}
