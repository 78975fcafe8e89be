//! Where and when something happens, for the log and for what ages. A `Call` itself cannot be held while the network is asked.

use std::fmt::Display;

use engine::Call;
use secret::Time;

/// One request on one mount.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) mount: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) now: Time,
}

impl<'a> Place<'a> {
    pub(crate) fn of(call: &Call<'a>) -> Self {
        Self { mount: &call.mount.path, request_id: &call.request.id, now: call.now }
    }

    /// Clients get Vault's words; the operator finds the cause in the log. `error` holds no secret.
    pub(crate) fn complain(&self, error: &dyn Display, what: &str) {
        tracing::warn!(mount = self.mount, request_id = self.request_id, %error, "{what}");
    }
}
