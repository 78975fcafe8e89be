//! Work that takes long must not hold up the requests that share its thread.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::limits::BATCH_INLINE_ITEMS;

/// Runs work of many milliseconds, such as making an RSA key.
pub(crate) fn off_the_loop<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Runs the work on a number of items, which takes long if they are many.
pub(crate) fn at_length<T>(items: usize, work: impl FnOnce() -> T) -> T {
    if items > BATCH_INLINE_ITEMS { off_the_loop(work) } else { work() }
}
