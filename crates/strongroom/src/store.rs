//! Opens the configured store.

use std::sync::Arc;

use replication::Settings;
use storage::{MemoryStore, Store, StoreError};
use storage_fjall::{FjallOptions, FjallStore};
use storage_sled::{SledOptions, SledStore};

use crate::config::{Engine, StorageConfig};

/// The store's own folder below the configured path. The path itself may be a mounted volume, whose root is often open to
/// everybody and holds `lost+found`; the store demands a folder that is its own.
const FOLDER: &str = "db";

/// The files of the replicated log, beside the store.
const LOG_FOLDER: &str = "log";

/// The store, and the replication settings that go with it.
pub fn open(config: &StorageConfig, cluster_addr: &str, api_addr: &str) -> Result<(Arc<dyn Store>, Settings), StoreError> {
    match config {
        StorageConfig::Memory => Ok((Arc::new(MemoryStore::default()), Settings::new("", cluster_addr, api_addr))),
        StorageConfig::Raft { path, node_id, engine, trailing_logs, snapshot_threshold, .. } => {
            let mut settings = Settings::new(node_id.clone(), cluster_addr, api_addr);
            settings.snapshot_dir = Some(path.join("snapshots"));
            settings.log_dir = Some(path.join(LOG_FOLDER));
            settings.trailing_logs = trailing_logs.unwrap_or(settings.trailing_logs);
            settings.snapshot_threshold = snapshot_threshold.unwrap_or(settings.snapshot_threshold);
            let store: Arc<dyn Store> = match engine {
                Engine::Fjall => Arc::new(FjallStore::open(&path.join(FOLDER), FjallOptions::default())?),
                Engine::Sled => Arc::new(SledStore::open(&path.join(FOLDER), SledOptions::default())?),
            };
            Ok((store, settings))
        }
    }
}
