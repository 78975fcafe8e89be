//! The key/value engines: version 1 (one value per path) and version 2 (a history per path, soft delete, check-and-set).
//!
//! Both are mounted as `kv`; the core picks by `mount.options["version"]`: `"2"` is [`KvV2`], `"1"` or nothing is [`KvV1`].
//! A mount that goes from 1 to 2 keeps its view; [`upgrade_v1_to_v2`] moves its secrets over in bounded steps.
//!
//! Layout of the view: `plain/<path>` and `unversioned` (version 1); `config`, `metadata/<path>`, `latest/<path>` and
//! `versions/<path>/<n>` (version 2, see `store`).
//!
//! Deliberately absent: policy checks, path hygiene (`..`, trailing slashes on writes), JSON limits, leases that can be
//! renewed (`leased_passthrough`), events.

mod attribution;
mod custom_metadata;
mod limits;
mod merge_patch;
mod model;
mod store;
mod upgrade;
mod v1;
mod v2;

pub use upgrade::{needs_upgrade, upgrade_v1_to_v2};
pub use v1::KvV1;
pub use v2::KvV2;

use engine::Call;
use serde_json::Value;
use storage::Page;

/// The part of a listing that `after` and `limit` ask for (our extension; Vault always lists everything). Read from what was
/// sent and not declared as fields, because on writes both names are ordinary names of a secret.
fn wanted_page(call: &Call<'_>) -> Page {
    let sent = |name| match call.request.data.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    Page { after: Some(sent("after")).filter(|a| !a.is_empty()), limit: sent("limit").parse().ok().filter(|n| *n > 0) }
}
