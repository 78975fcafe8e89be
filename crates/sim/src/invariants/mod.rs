//! What must always hold, a file for each. The first five watch while the cluster runs; the others judge the history of the
//! clients and the committed log when it is over.

pub mod acknowledged;
pub mod agreement;
pub mod atomic;
pub mod healed;
pub mod leaders;
pub mod linearizable;
pub mod logs;
pub mod observers;
pub mod once;
pub mod replay;
pub mod revoked;

/// What is broken, in words.
pub type Broken = String;
