//! Quotas: which rule applies to a request, and whether there is room in it (Vault's `sys/quotas`, public API documentation).
//!
//! ```text
//! Book::find(mount, rest, role) → Rule → Clients::take(rule, client, now) → Verdict
//! ```
//!
//! Deliberately absent: storage, mount paths (a rule names its mount by uuid, so a moved mount takes its rules along and those
//! of a removed one apply to nothing), the counting of leases (the core counts), and a clock: `now` is an argument.

mod book;
mod clients;
mod exempt;
mod rule;
mod window;

pub use book::Book;
pub use clients::{CLIENTS_COUNT_MAX, Clients};
pub use exempt::Exempt;
pub use rule::{LeaseCount, RateLimit, Scope, Scoped};
pub use window::{Verdict, Window};
