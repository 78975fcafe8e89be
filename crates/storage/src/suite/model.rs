//! The reference the suites compare with: ordered maps in memory, and dice that fall the same way each run.

use std::collections::BTreeMap;

use super::{Outcome, Pairs, ensure, said};
use crate::{Batch, BatchOp, Space, StoreError};

/// What a store should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    spaces: BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Model {
    /// Applies a batch.
    pub fn apply(&mut self, batch: &Batch) {
        for op in &batch.ops {
            match op {
                BatchOp::Put(space, key, value) => {
                    self.spaces.entry(space.as_str()).or_default().insert(key.clone(), value.clone());
                }
                BatchOp::Delete(space, key) => {
                    self.spaces.entry(space.as_str()).or_default().remove(key);
                }
            }
        }
    }

    /// Compares with what `read` says each space holds.
    pub(crate) fn compare(&self, read: impl Fn(Space) -> Result<Pairs, StoreError>) -> Outcome {
        let nothing = BTreeMap::new();
        for space in Space::ALL {
            let wanted = self.spaces.get(space.as_str()).unwrap_or(&nothing);
            let found = read(space).map_err(said)?;
            if let Some((w, f)) = wanted.iter().zip(&found).find(|((wk, wv), (fk, fv))| *wk != fk || *wv != fv) {
                let (found, wanted) = (f.1.len(), w.1.len());
                return Err(format!("{space:?} holds {:02x?} ({found} bytes) where {:02x?} ({wanted} bytes) belongs", f.0, w.0));
            }
            ensure!(found.len() == wanted.len(), "{space:?} holds {} keys, not {}", found.len(), wanted.len());
        }
        Ok(())
    }
}

/// A small generator (xorshift*): the suites repeat exactly from their seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Sixty-four random bits.
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// Random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.roll().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// A batch over few keys, so that overwrites and deletes meet something.
    pub fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..=self.below(12) {
            let space = match self.below(4) {
                0 => Space::Log,
                1 => Space::Meta,
                _ => Space::State,
            };
            let mut key = vec![b'k'];
            for _ in 0..self.below(3) {
                key.push(match self.below(4) {
                    0 => 0,
                    1 => b'a',
                    2 => b'b',
                    _ => 0xff,
                });
            }
            if self.below(3) == 0 {
                batch.delete(space, key);
            } else {
                let bytes = usize::try_from(self.below(2000)).unwrap_or(0);
                batch.put(space, key, self.bytes(bytes));
            }
        }
        batch
    }
}
