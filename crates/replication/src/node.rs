//! Whose store this is: the operator's name and the random raft id that is the node's true identity.

use secret::Entropy;
use storage::{Batch, Durability, Space, Store};

use crate::codec::{self, Identity, meta};
use crate::error::OpenError;
use crate::log::read_meta;

/// Raft id and name of the node whose store it is; `None` for a store that no node has opened yet.
///
/// # Errors
/// The store's.
pub fn identity(store: &dyn Store) -> Result<Option<(u64, String)>, storage::StoreError> {
    Ok(read_meta::<Identity>(store, meta::NODE, "node identity")?.map(|i| (i.raft_id, i.node_id)))
}

/// The identity in the store; written there on the first call.
pub(crate) fn identify(store: &dyn Store, node_id: &str, entropy: &dyn Entropy) -> Result<Identity, OpenError> {
    if let Some(stored) = read_meta::<Identity>(store, meta::NODE, "node identity")? {
        if !node_id.is_empty() && node_id != stored.node_id {
            return Err(OpenError::OtherNode { stored: stored.node_id, given: node_id.to_owned() });
        }
        return Ok(stored);
    }
    let node_id = match node_id {
        "" => entropy.uuid().map_err(|e| OpenError::Entropy(e.to_string()))?,
        given => given.to_owned(),
    };
    let identity = Identity { raft_id: draw(entropy)?, node_id };
    let mut batch = Batch::default();
    batch.put(Space::Meta, meta::NODE, codec::encode(&identity)?);
    store.commit(batch, Durability::Synced)?;
    Ok(identity)
}

/// A random number that nobody else has. Not 0, which stands for nobody in particular.
pub(crate) fn draw(entropy: &dyn Entropy) -> Result<u64, OpenError> {
    let mut raw = [0; 8];
    entropy.fill(&mut raw).map_err(|e| OpenError::Entropy(e.to_string()))?;
    Ok(u64::from_be_bytes(raw).max(1))
}
