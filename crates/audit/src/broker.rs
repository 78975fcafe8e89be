//! The broker: sends each entry to every device and mints the proofs.
//!
//! The order is the contract's (§7.5): the request's entry before it is carried out, the answer's before it leaves; with devices
//! enabled at least one must take it, with none enabled nothing waits. Times come from the records; only the test entry of a new
//! device and the wait for devices look at a clock, because both belong to the edge.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use parking_lot::RwLock;
use policy::{Denial, DenialReason, Grant};
use secret::{Clock, SecretString, SystemClock};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::{Limits, Plan, resolved};
use crate::device::{Ack, Device};
use crate::line::Scribe;
use crate::record::{PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord};
use crate::sink::Target;
use crate::{DeviceConfig, DeviceStatus, EnableError, Logged, Permit, SealedReply};

/// How long a request waits for a device: Vault's own limit for socket devices. A healthy disk answers in microseconds, and
/// clients give up after a minute.
const TIME_OUT_SECONDS: u64 = 2;

/// What the server's configuration file says about audit.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a request waits for a device before it is taken for hung.
    pub time_out: Duration,
    /// `plugin_directory`: no audit file may lie in it.
    pub plugin_directory: Option<PathBuf>,
    /// `allow_audit_log_prefixing`: whether devices may have the option `prefix`.
    pub allow_prefixing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { time_out: Duration::from_secs(TIME_OUT_SECONDS), plugin_directory: None, allow_prefixing: false }
    }
}

/// No device took the entry. The client reads `internal error` (500); this text is for the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditError {
    /// Each device with its reason, in the order of enabling.
    pub failures: Vec<Failure>,
}

/// One device that did not take an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Where it is enabled.
    pub device: String,
    /// Why; holds no content of the entry.
    pub reason: String,
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no audit device took the entry")?;
        for (i, failure) in self.failures.iter().enumerate() {
            write!(f, "{} {}: {}", if i == 0 { ":" } else { ";" }, failure.device, failure.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for AuditError {}

type Devices = Arc<Vec<Arc<Device>>>;

/// The devices of this server. Share it with an `Arc`.
pub struct Broker {
    settings: Settings,
    devices: RwLock<Devices>,
    /// One change of the table at a time, since enabling waits for a device in between.
    changing: tokio::sync::Mutex<()>,
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("devices", &self.devices.read().len()).finish_non_exhaustive()
    }
}

impl Broker {
    /// No devices, default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::with_settings(Settings::default())
    }

    /// No devices.
    #[must_use]
    pub fn with_settings(settings: Settings) -> Self {
        Self { settings, devices: RwLock::default(), changing: tokio::sync::Mutex::new(()) }
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        !self.devices.read().is_empty()
    }

    /// Records an allowed request. `record` is called only if there is a device.
    pub async fn permit(&self, grant: Grant, record: impl FnOnce() -> RequestRecord + Send) -> Result<Permit, AuditError> {
        let devices = self.devices();
        if !devices.is_empty() {
            let record = record();
            self.send(&devices, |scribe| scribe.request(&record)).await?;
        }
        Ok(Permit::new(grant))
    }

    /// Records a refused request and its answer, as one entry of two lines: Vault writes a `request` and a `response`, both with
    /// the error. What the client is not told, the reason, stands in `auth.policy_results.reason`.
    pub async fn refuse<T>(
        &self,
        denial: &Denial,
        record: impl FnOnce() -> RequestRecord + Send,
        answer: T,
    ) -> Result<Logged<T>, AuditError> {
        let devices = self.devices();
        if !devices.is_empty() {
            let (request, response) = refused(record(), denial);
            let sent = self.send(&devices, |scribe| {
                let mut lines = scribe.request(&request)?;
                lines.append(&mut scribe.response(&response)?);
                Ok(lines)
            });
            sent.await?;
        }
        Ok(Logged::new(answer))
    }

    /// Records the answer to a permitted request. `record` is called only if there is a device.
    pub async fn answer<T>(
        &self,
        _permit: &Permit,
        record: impl FnOnce() -> ResponseRecord + Send,
        answer: T,
    ) -> Result<Logged<T>, AuditError> {
        let devices = self.devices();
        if !devices.is_empty() {
            let record = record();
            self.send(&devices, |scribe| scribe.response(&record)).await?;
        }
        Ok(Logged::new(answer))
    }

    /// The request's transaction is run again after a conflict: the same entry stands for it, the decision is a fresh one.
    #[must_use]
    pub fn repeat(&self, permit: Permit, grant: Grant) -> Permit {
        drop(permit);
        Permit::new(grant)
    }

    /// An answer that needs no entry, for the reason that stands with its kind.
    #[must_use]
    pub fn unauditable<T>(&self, answer: T, kind: SealedReply) -> Logged<T> {
        tracing::trace!(?kind, "answered without an audit entry");
        Logged::new(answer)
    }

    /// Adds a device once it has taken a test entry (unless it has `skip_test=true`).
    ///
    /// `salt` is the text of the device's salt: the key of its hashes.
    pub async fn enable(&self, path: &str, config: DeviceConfig, salt: SecretString) -> Result<(), EnableError> {
        let _one = self.changing.lock().await;
        let (device, skip_test) = self.prepare(path, config, &salt)?;
        if !skip_test {
            self.test(&device).await?;
        }
        self.add(device);
        Ok(())
    }

    /// Adds a device of the stored table at unseal. It is in force even if it cannot be written to now: a lost disk must stop
    /// requests, as before the restart, and not switch recording off.
    pub async fn restore(&self, path: &str, config: DeviceConfig, salt: SecretString) -> Result<(), EnableError> {
        let _one = self.changing.lock().await;
        let (device, _) = self.prepare(path, config, &salt)?;
        self.add(device);
        Ok(())
    }

    /// Removes a device; `false` if there was none. What waits in its queue is still written.
    pub fn disable(&self, path: &str) -> bool {
        let path = normal(path);
        let mut devices = self.devices.write();
        let left: Vec<_> = devices.iter().filter(|d| d.path != path).map(Arc::clone).collect();
        let found = left.len() < devices.len();
        *devices = Arc::new(left);
        found
    }

    /// Removes all devices, at seal.
    pub fn disable_all(&self) {
        *self.devices.write() = Devices::default();
    }

    /// `input` as the device would write it; `None` if there is no such device.
    #[must_use]
    pub fn hash(&self, path: &str, input: &str) -> Option<String> {
        let path = normal(path);
        self.devices.read().iter().find(|d| d.path == path).map(|d| d.scribe.hasher.hash(input))
    }

    /// Closes and opens all files, on SIGHUP.
    pub fn reopen(&self) {
        for device in self.devices().iter() {
            device.reopen();
        }
    }

    /// How the devices fare, in the order of enabling.
    #[must_use]
    pub fn statuses(&self) -> Vec<DeviceStatus> {
        self.devices().iter().map(|d| d.status()).collect()
    }

    fn devices(&self) -> Devices {
        Arc::clone(&self.devices.read())
    }

    fn add(&self, device: Device) {
        let mut devices = self.devices.write();
        let mut all = devices.as_ref().clone();
        all.push(Arc::new(device));
        *devices = Arc::new(all);
    }

    fn prepare(&self, path: &str, config: DeviceConfig, salt: &SecretString) -> Result<(Device, bool), EnableError> {
        let path = normal(path);
        if path == "/" {
            return Err(EnableError::NoPath);
        }
        let limits =
            Limits { plugin_directory: self.settings.plugin_directory.clone(), allow_prefixing: self.settings.allow_prefixing };
        let devices = self.devices();
        if devices.iter().any(|d| d.path.starts_with(&path) || path.starts_with(&d.path)) {
            return Err(EnableError::PathInUse);
        }
        let plan: Plan = config.plan(&limits)?;
        if devices.iter().any(|d| same_file(&d.target, &plan.target)) {
            return Err(EnableError::FileInUse);
        }
        let skip_test = plan.skip_test;
        Ok((Device::start(path, config, plan, salt)?, skip_test))
    }

    async fn test(&self, device: &Device) -> Result<(), EnableError> {
        let record = RequestRecord {
            time: SystemClock.now(),
            auth: None,
            request: RequestFacts::new("", Operation::Update, "sys/audit/test"),
            error: None,
        };
        let reason = match queue(device, |scribe| scribe.request(&record)) {
            Ok(answer) => match self.wait(device, answer, Instant::now() + self.settings.time_out).await {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            },
            Err(reason) => reason,
        };
        Err(EnableError::Test { target: device.target.to_string(), reason: reason.to_string() })
    }

    /// Gives the entry to all devices and waits for all, but for none beyond the time-out.
    async fn send(
        &self,
        devices: &[Arc<Device>],
        line: impl Fn(&Scribe) -> Result<Vec<u8>, serde_json::Error>,
    ) -> Result<(), AuditError> {
        // Queue everywhere first: the devices then write side by side, and one deadline holds for all.
        let queued: Vec<_> = devices.iter().map(|device| (device, queue(device, &line))).collect();
        let deadline = Instant::now() + self.settings.time_out;
        let mut failures = Vec::new();
        for (device, answer) in queued {
            let word = match answer {
                Ok(answer) => self.wait(device, answer, deadline).await,
                Err(reason) => Err(reason),
            };
            if let Err(reason) = word {
                device.warn(&reason);
                failures.push(Failure { device: device.path.clone(), reason: reason.to_string() });
            }
        }
        if failures.len() < devices.len() { Ok(()) } else { Err(AuditError { failures }) }
    }

    async fn wait(&self, device: &Device, answer: oneshot::Receiver<Ack>, deadline: Instant) -> Ack {
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(word)) => word,
            Ok(Err(_)) => Err("its writer ended".into()),
            Err(_) => Err(device.stall(self.settings.time_out)),
        }
    }
}

fn queue(
    device: &Device,
    line: impl Fn(&Scribe) -> Result<Vec<u8>, serde_json::Error>,
) -> Result<oneshot::Receiver<Ack>, Arc<str>> {
    let bytes = line(&device.scribe).map_err(|_| Arc::<str>::from("the entry cannot be written as JSON"))?;
    device.enqueue(&bytes)
}

/// Both entries of a refusal, with everything filled in that the denial tells.
fn refused(mut request: RequestRecord, denial: &Denial) -> (RequestRecord, ResponseRecord) {
    if let Some(auth) = request.auth.as_mut() {
        let results = auth.policy_results.get_or_insert_with(PolicyResults::default);
        results.allowed = false;
        results.granting.clear();
        results.reason.get_or_insert_with(|| reason_text(denial));
    }
    request.error.get_or_insert_with(|| api_types::multi_error(&["permission denied"]));
    let mut data = Map::new();
    data.insert("error".to_owned(), "permission denied".into());
    let response = ResponseRecord {
        time: request.time,
        auth: request.auth.clone(),
        request: request.request.clone(),
        response: ResponseFacts { data: Some(data), ..ResponseFacts::default() },
        error: request.error.clone(),
    };
    (request, response)
}

/// The reason in words: the rule's pattern and a parameter's name, never a value.
fn reason_text(denial: &Denial) -> String {
    let text = match &denial.reason {
        DenialReason::NoRule => "no rule matches the path".to_owned(),
        DenialReason::MissingCapability => "the rule lacks the capability".to_owned(),
        DenialReason::ExplicitDeny => "the rule denies".to_owned(),
        DenialReason::MissingSudo => "the path needs sudo".to_owned(),
        DenialReason::Parameter(name) => format!("parameter {name:?} is not allowed"),
        DenialReason::Wrapping => "the rule demands response wrapping".to_owned(),
        DenialReason::Token(why) => (*why).to_owned(),
    };
    match &denial.pattern {
        Some(pattern) => format!("{text} (rule {pattern:?})"),
        None => text,
    }
}

/// Device paths end in `/`, as mount paths do.
fn normal(path: &str) -> String {
    format!("{}/", path.trim_matches('/'))
}

/// Two writers on one file would take back each other's lines. Streams and the void can be shared.
fn same_file(a: &Target, b: &Target) -> bool {
    match (a, b) {
        (Target::File(a), Target::File(b)) => resolved(a) == resolved(b),
        _ => false,
    }
}
