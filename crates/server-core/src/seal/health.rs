//! How well the outer seal does: each use of it counts, and while the server is open it is tried now and then, so that an operator
//! learns that it is gone before the next restart needs it.

use std::sync::Arc;
use std::time::Duration;

use autoseal::{Blob, SealFault, SealWrapper};
use metrics::counter;
use parking_lot::Mutex;
use secret::{SecretBytes, Time};
use serde_json::{Map, Value, json};

use crate::core::Core;
use crate::series;

/// Between two trials of a seal that does well, and of one that does not. Each costs two questions to it.
const TRIAL: Duration = Duration::from_secs(600);
const TRIAL_FAILING: Duration = Duration::from_secs(60);
/// What is wrapped and opened again in a trial.
const TRIAL_BYTES: usize = 32;

/// What is known of the outer seal in use.
#[derive(Default)]
pub(crate) struct SealHealth(Mutex<Seen>);

#[derive(Clone, Copy, Default)]
struct Seen {
    last_success: Option<Time>,
    failing_since: Option<Time>,
}

impl Core {
    /// Opens with an outer seal, and remembers how that went if it is the one in use.
    pub(super) async fn open_by(&self, seal: &Arc<dyn SealWrapper>, blob: &Blob) -> Result<SecretBytes, SealFault> {
        let outcome = seal.open(blob).await;
        if self.config.seals.active.as_ref().is_some_and(|active| Arc::ptr_eq(active, seal)) {
            self.note_health(outcome.as_ref().err());
        }
        outcome
    }

    /// Wraps with the outer seal in use, and remembers how that went.
    pub(super) async fn wrap_by(&self, active: &dyn SealWrapper, plain: &SecretBytes) -> Result<Blob, SealFault> {
        let outcome = active.wrap(plain, &*self.entropy).await;
        self.note_health(outcome.as_ref().err());
        outcome
    }

    fn note_health(&self, fault: Option<&SealFault>) {
        let now = self.clock.now();
        let mut seen = self.seal_health.0.lock();
        match fault {
            None => {
                if let Some(since) = seen.failing_since.take() {
                    tracing::info!(seal = self.active_seal_type(), since = since.rfc3339(), "the seal answers again");
                }
                seen.last_success = Some(now);
            }
            Some(fault) => {
                if seen.failing_since.is_none() {
                    tracing::warn!(error = %fault, "the seal in use does not do its work");
                }
                seen.failing_since.get_or_insert(now);
                counter!(series::SEAL_FAILURE).increment(1);
            }
        }
    }

    /// Wraps something and opens it again.
    pub async fn try_seal(&self) {
        let Some(active) = self.config.seals.active.as_ref() else { return };
        let Ok(plain) = self.entropy.bytes(TRIAL_BYTES).map(SecretBytes::new) else { return };
        let Ok(blob) = self.wrap_by(&**active, &plain).await else { return };
        let opened = self.open_by(active, &blob).await;
        if opened.is_ok_and(|opened| !opened.ct_eq(plain.expose())) {
            self.note_health(Some(&SealFault::Foreign(active.seal_type(), "it opened something else than it wrapped".into())));
        }
    }

    /// Tries the seal now and then for as long as the server runs.
    pub(super) fn watch_seal(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let failing = core.upgrade().map(|c| c.seal_health.0.lock().failing_since.is_some());
                tokio::time::sleep(if failing == Some(true) { TRIAL_FAILING } else { TRIAL }).await;
                let Some(core) = core.upgrade() else { return };
                if core.open().is_some() {
                    core.try_seal().await;
                }
            }
        });
    }

    /// `(healthy, last success in seconds since the epoch)` of the outer seal, for the metrics; `None` where shares open.
    pub(crate) fn seal_figures(&self) -> Option<(bool, Option<i64>)> {
        self.config.seals.active.as_ref()?;
        let seen = *self.seal_health.0.lock();
        Some((seen.failing_since.is_none(), seen.last_success.map(Time::unix)))
    }

    /// `sys/seal-backend-status`. Vault's fields, and `last_success` of an outer seal.
    pub(crate) fn seal_backend_status(&self) -> Value {
        let name = self.seal_status().seal_type;
        let mut backend = Map::new();
        backend.insert("name".into(), name.into());
        let Some(active) = self.config.seals.active.as_ref() else {
            backend.insert("healthy".into(), true.into());
            return json!({ "healthy": true, "backends": [backend], "fully_wrapped": true });
        };
        let seen = *self.seal_health.0.lock();
        let healthy = seen.failing_since.is_none();
        backend.insert("healthy".into(), healthy.into());
        let mut whole = Map::new();
        whole.insert("healthy".into(), healthy.into());
        if let Some(since) = seen.failing_since.map(Time::rfc3339) {
            backend.insert("unhealthy_since".into(), since.clone().into());
            whole.insert("unhealthy_since".into(), since.into());
        }
        if let Some(time) = seen.last_success.map(Time::rfc3339) {
            backend.insert("last_success".into(), time.into());
        }
        let blob = self.sealed.wrapped_root().ok().and_then(|bytes| Blob::from_bytes(&bytes));
        let is_current = blob.is_some_and(|b| b.seal == active.seal_type() && active.is_current(&b));
        whole.insert("backends".into(), json!([backend]));
        whole.insert("fully_wrapped".into(), is_current.into());
        Value::Object(whole)
    }
}
