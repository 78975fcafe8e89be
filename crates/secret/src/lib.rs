//! The words every room speaks: holders of secret bytes, time as a value, and the two things that
//! come from outside (a clock and entropy) as traits.
//!
//! Deliberately absent: any cipher, any I/O beyond [`SystemClock`] and [`SystemEntropy`].

mod bytes;
mod entropy;
mod time;

pub use bytes::{SecretBytes, SecretString, ct_eq};
pub use entropy::{Entropy, EntropyError, SeededEntropy, SystemEntropy};
pub use time::{Clock, ManualClock, SystemClock, Time};
