//! What is kept and how: the ordered map a disk engine provides ([`Store`]), the atomic change that is replicated
//! ([`Changeset`]), and what an engine sees of it ([`Transaction`], [`View`]).
//!
//! Deliberately absent: any disk engine (`storage-fjall`, `storage-sled`), any key or cipher (`barrier`), any consensus.

mod changeset;
pub mod disk;
mod memory;
mod store;
pub mod suite;
mod transaction;

pub use changeset::{Changeset, Check, Overlay, PublicRecord, StoredBytes, Write, apply, range_digest, versioned};
pub use memory::{MemoryStore, MemoryTransaction};
pub use store::{Batch, BatchOp, Durability, Snapshot, Space, Store, StoreError};
pub use transaction::{Listing, Page, PageNames, Record, Transaction, TxnError, View};
