//! The broker: sends each entry to every device and mints the proofs.
//!
//! The order is the contract's (§7.5): the request's entry before it is carried out, the answer's before it leaves, and both
//! together where nothing is carried out but a look (docs/decisions/0009); with devices
//! enabled at least one must take it, with none enabled nothing waits. Times come from the records; only the test entry of a new
//! device and the wait for devices look at a clock, because both belong to the edge.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_types::{Map, Operation};
use arc_swap::ArcSwap;
use policy::{Denial, DenialReason, Grant};
use secret::{Clock, SecretString, SystemClock};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::config::{Limits, Plan};
use crate::device::{Ack, Device, Given};
use crate::guard::{Guarded, resolved};
use crate::line::Refusal;
use crate::permit::Heads;
use crate::record::{PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord};
use crate::sink::Target;
use crate::{DeviceConfig, DeviceStatus, EnableError, Logged, Permit, SealedReply};

/// How long a request waits for a device: Vault's own limit for socket devices. A healthy disk answers in microseconds, and
/// clients give up after a minute.
const TIME_OUT_SECONDS: u64 = 2;

/// What the server's configuration file says about audit.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a request waits for a device before it is taken for hung, unless the device has a `write_timeout` of its own.
    pub time_out: Duration,
    /// Where no audit file may lie: plugins, storage, configuration.
    pub guarded: Vec<Guarded>,
    /// Where the machine's log daemon may listen, for `syslog`.
    pub syslog_sockets: Vec<PathBuf>,
    /// `allow_audit_log_prefixing`: whether devices may have the option `prefix`.
    pub allow_prefixing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            time_out: Duration::from_secs(TIME_OUT_SECONDS),
            guarded: Vec::new(),
            // The places that Go's package looks at, so Vault as well.
            syslog_sockets: ["/dev/log", "/var/run/syslog", "/var/run/log"].map(PathBuf::from).to_vec(),
            allow_prefixing: false,
        }
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

/// The devices of this server. Share it with an `Arc`.
pub struct Broker {
    settings: Settings,
    devices: ArcSwap<Vec<Arc<Device>>>,
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
        f.debug_struct("Broker").field("devices", &self.devices.load().len()).finish_non_exhaustive()
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
        Self { settings, devices: ArcSwap::default(), changing: tokio::sync::Mutex::new(()) }
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn has_devices(&self) -> bool {
        !self.devices.load().is_empty()
    }

    /// Records an allowed request. `record` is called only if there is a device.
    pub async fn permit<'r>(&self, grant: Grant, record: impl FnOnce() -> RequestRecord<'r>) -> Result<Permit, AuditError> {
        let mut heads = Heads::default();
        let sent = {
            let devices = self.devices.load();
            if devices.is_empty() {
                return Ok(Permit::new(grant, heads));
            }
            let record = record();
            send(&devices, &record.request, |device, out| {
                let head = device.scribe.head(record.auth.as_ref(), &record.request);
                device.scribe.request(&record, &head, None, out);
                heads.keep(device.scribe.hasher.number(), head);
            })
        };
        settled(sent).await?;
        Ok(Permit::new(grant, heads))
    }

    /// For a request that has no effect before its answer: its entry is owed, and written with that of the answer, or by
    /// [`Broker::redeem`] as soon as there is to be an effect after all.
    #[must_use]
    pub fn promise(&self, grant: Grant) -> Permit {
        Permit::owing(grant)
    }

    /// Records a request whose entry is owed; any other is recorded already.
    pub async fn redeem<'r>(&self, permit: Permit, record: impl FnOnce() -> RequestRecord<'r>) -> Result<Permit, AuditError> {
        if !permit.is_owed() {
            return Ok(permit);
        }
        self.permit(permit.into_grant(), record).await
    }

    /// Records a refused request and its answer, as one entry of two lines: Vault writes a `request` and a `response`, both with
    /// the error. What the client is not told, the reason, stands in `denial`.
    pub async fn refuse<'r, T>(
        &self,
        denial: &Denial,
        record: impl FnOnce() -> RequestRecord<'r>,
        answer: T,
    ) -> Result<Logged<T>, AuditError> {
        let sent = {
            let devices = self.devices.load();
            if devices.is_empty() {
                return Ok(Logged::new(answer));
            }
            let (request, response) = refused(record());
            let refusal = Refusal { reason: reason_text(denial), rule: denial.pattern.clone() };
            send(&devices, &request.request, |device, out| {
                let head = device.scribe.head(request.auth.as_ref(), &request.request);
                device.scribe.request(&request, &head, Some(&refusal), out);
                device.scribe.response(&response, &head, Some(&refusal), out);
            })
        };
        settled(sent).await?;
        Ok(Logged::new(answer))
    }

    /// Records the answer to a permitted request. `record` is called only if there is a device.
    pub async fn answer<'r, T>(
        &self,
        permit: &Permit,
        record: impl FnOnce() -> ResponseRecord<'r>,
        answer: T,
    ) -> Result<Logged<T>, AuditError> {
        self.recording(permit, record).logged(answer).await
    }

    /// The first half of [`Broker::answer`]: `record` may borrow the answer, which is handed over only when the devices are waited
    /// for.
    pub fn recording<'r>(&self, permit: &Permit, record: impl FnOnce() -> ResponseRecord<'r>) -> Recording {
        let devices = self.devices.load();
        if devices.is_empty() {
            return Recording(Sent::default());
        }
        let record = record();
        Recording(send(&devices, &record.request, |device, out| match permit.heads().of(device.scribe.hasher.number()) {
            _ if permit.is_owed() => device.scribe.pair(&record, out),
            Some(head) => device.scribe.response(&record, head, None, out),
            None => {
                let head = device.scribe.head(record.auth.as_ref(), &record.request);
                device.scribe.response(&record, &head, None, out);
            }
        }))
    }

    /// The request's transaction is run again after a conflict: the same entry stands for it, the decision is a fresh one.
    #[must_use]
    pub fn repeat(&self, permit: Permit, grant: Grant) -> Permit {
        // The second run may have found another operation: its answer's line is written afresh.
        if permit.is_owed() { Permit::owing(grant) } else { Permit::new(grant, Heads::default()) }
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
        let left =
            |devices: &Arc<Vec<Arc<Device>>>| -> Vec<_> { devices.iter().filter(|d| d.path != path).map(Arc::clone).collect() };
        let before = self.devices.rcu(left);
        before.iter().any(|d| d.path == path)
    }

    /// Removes all devices, at seal.
    pub fn disable_all(&self) {
        self.devices.store(Arc::default());
    }

    /// Whether exactly this device is in force: its path with its salt. A device that was taken out and put back has another salt.
    #[must_use]
    pub fn has(&self, path: &str, salt: &SecretString) -> bool {
        self.hash(path, "").is_some_and(|hash| hash == crate::hash::Hasher::new(salt).hash(""))
    }

    /// `input` as the device would write it; `None` if there is no such device.
    #[must_use]
    pub fn hash(&self, path: &str, input: &str) -> Option<String> {
        let path = normal(path);
        self.devices.load().iter().find(|d| d.path == path).map(|d| d.scribe.hasher.hash(input))
    }

    /// Closes and opens all files, on SIGHUP.
    pub fn reopen(&self) {
        for device in self.devices.load().iter() {
            device.reopen();
        }
    }

    /// How the devices fare, in the order of enabling.
    #[must_use]
    pub fn statuses(&self) -> Vec<DeviceStatus> {
        self.devices.load().iter().map(|d| d.status()).collect()
    }

    fn add(&self, device: Device) {
        let device = Arc::new(device);
        self.devices.rcu(|devices| {
            let mut all = devices.as_ref().clone();
            all.push(Arc::clone(&device));
            all
        });
    }

    fn prepare(&self, path: &str, config: DeviceConfig, salt: &SecretString) -> Result<(Device, bool), EnableError> {
        let path = normal(path);
        if path == "/" {
            return Err(EnableError::NoPath);
        }
        let limits = Limits {
            guarded: self.settings.guarded.clone(),
            allow_prefixing: self.settings.allow_prefixing,
            time_out: self.settings.time_out,
            syslog_sockets: self.settings.syslog_sockets.clone(),
        };
        let devices = self.devices.load();
        if devices.iter().any(|d| d.path.starts_with(&path) || path.starts_with(&d.path)) {
            return Err(EnableError::PathInUse);
        }
        let plan: Plan = config.plan(&limits)?;
        if devices.iter().any(|d| same_file(&d.target, &plan.target)) {
            return Err(EnableError::FileInUse);
        }
        if plan.fallback && devices.iter().any(|d| d.fallback) {
            return Err(EnableError::SecondFallback);
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
        let mut line = Vec::new();
        device.scribe.request(&record, &device.scribe.head(None, &record.request), None, &mut line);
        let word = match device.give(&mut line, true) {
            Given::Told(word) => word,
            Given::Waits(answer) => wait(device, answer, Instant::now()).await,
        };
        word.map_err(|reason| match &device.target {
            Target::Socket(..) | Target::Syslog => EnableError::TestMessage(reason.to_string()),
            target => EnableError::Test { target: target.to_string(), reason: reason.to_string() },
        })
    }
}

/// An answer's entry on its way to the devices.
#[must_use = "an answer may leave only when it is recorded"]
pub struct Recording(Sent);

impl Recording {
    /// Waits until a device has the entry.
    pub async fn logged<T>(self, answer: T) -> Result<Logged<T>, AuditError> {
        settled(self.0).await?;
        Ok(Logged::new(answer))
    }
}

/// An entry that was given to devices.
#[derive(Default)]
struct Sent {
    /// How many have it already.
    taken: usize,
    /// The others.
    open: Vec<Open>,
}

/// A device that has not taken an entry, or not yet.
struct Open {
    device: Arc<Device>,
    since: Instant,
    given: Given,
}

thread_local! {
    /// Where lines are made before they are copied into a queue.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
/// Capacity that is kept for the next entry.
const KEPT_LINES_BYTES: usize = 64 << 10;

/// Gives an entry to all devices whose filter takes it, or to the fallback device if there is one and no filter does. Queues
/// everywhere before anybody waits: the devices write side by side.
fn send(devices: &[Arc<Device>], request: &RequestFacts<'_>, mut write: impl FnMut(&Device, &mut Vec<u8>)) -> Sent {
    let takes = |device: &&Arc<Device>| !device.fallback && device.filter.as_ref().is_none_or(|f| f.takes(request));
    let left_over = !devices.iter().any(|d| takes(&d));
    // A disk that hangs under the request's own hands must not keep the entry from another device.
    let alone = devices.len() == 1;
    let mut sent = Sent::default();
    for device in devices.iter().filter(|d| takes(d) || (left_over && d.fallback)) {
        let given = LINES.with_borrow_mut(|lines| {
            write(device, lines);
            let given = device.give(lines, alone);
            lines.clear();
            lines.shrink_to(KEPT_LINES_BYTES);
            given
        });
        match given {
            Given::Told(Ok(())) => sent.taken += 1,
            given => sent.open.push(Open { device: Arc::clone(device), since: Instant::now(), given }),
        }
    }
    sent
}

/// Waits for all devices, but for none beyond its time-out; one is enough. An entry that every filter left out needs none.
async fn settled(sent: Sent) -> Result<(), AuditError> {
    let mut failures = Vec::new();
    let mut taken = sent.taken;
    for Open { device, since, given } in sent.open {
        let word = match given {
            Given::Told(word) => word,
            Given::Waits(answer) => wait(&device, answer, since).await,
        };
        match word {
            Ok(()) => taken += 1,
            Err(reason) => {
                device.warn(&reason);
                failures.push(Failure { device: device.path.clone(), reason: reason.to_string() });
            }
        }
    }
    if taken > 0 || failures.is_empty() { Ok(()) } else { Err(AuditError { failures }) }
}

async fn wait(device: &Device, answer: oneshot::Receiver<Ack>, since: Instant) -> Ack {
    // On the heap: a timer is aligned to a cache line, and would have every future around it so.
    match Box::pin(tokio::time::timeout_at(since + device.time_out, answer)).await {
        Ok(Ok(word)) => word,
        Ok(Err(_)) => Err("its writer ended".into()),
        Err(_) => Err(device.stall()),
    }
}

/// Both entries of a refusal, with everything filled in that the denial tells.
fn refused(mut request: RequestRecord<'_>) -> (RequestRecord<'_>, ResponseRecord<'_>) {
    if let Some(auth) = request.auth.as_mut() {
        let results = auth.policy_results.get_or_insert_with(PolicyResults::default);
        results.allowed = false;
        results.granting.clear();
    }
    request.error.get_or_insert_with(|| Cow::Owned(api_types::multi_error(&["permission denied"])));
    let mut data = Map::new();
    data.insert("error".to_owned(), "permission denied".into());
    let response = ResponseRecord {
        time: request.time,
        auth: None,
        request: request.request.clone(),
        response: ResponseFacts { data: Some(data.into()), ..ResponseFacts::default() },
        error: request.error.clone(),
    };
    (request, response)
}

/// The reason in words: a parameter's name, never a value.
fn reason_text(denial: &Denial) -> String {
    match &denial.reason {
        DenialReason::NoRule => "no rule matches the path".to_owned(),
        DenialReason::MissingCapability => "the rule lacks the capability".to_owned(),
        DenialReason::ExplicitDeny => "the rule denies".to_owned(),
        DenialReason::MissingSudo => "the path needs sudo".to_owned(),
        DenialReason::Parameter(name) => format!("parameter {name:?} is not allowed"),
        DenialReason::Wrapping => "the rule demands response wrapping".to_owned(),
        DenialReason::Token(why) => (*why).to_owned(),
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
