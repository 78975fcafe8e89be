//! The core: what exists once a process, and what exists while it is unsealed.

use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use audit::Broker;
use barrier::{Barrier, Progress, Sealed, Txn, Unsealed, Watch};
use engine::{Mount, System};
use parking_lot::Mutex;
use replication::{Alone, Observer, OpenError, Peers, ProposeError, Replica, Settings};
use secret::{Clock, Entropy, SecretBytes, SystemEntropy, Time};
use serde::{Deserialize, Serialize};
use storage::{Store, TxnError, View};
use tokens::{BatchCipher, TokenEngine, TokenStore};

use crate::cluster::Cluster;
use crate::config::{CoreConfig, Registry};
use crate::decide::Callers;
use crate::finish::TokenNeighbours;
use crate::in_flight::InFlight;
use crate::mounts::Router;
use crate::policies::PolicyCache;
use crate::quota::{self, Definitions, Usage};
use crate::seal::rotation::Noted;
use crate::seal::{Ceremonies, SealHealth};
use crate::series;
use crate::settings::{self, AuditedHeaders, Cached, Cors, UiHeaders};
use crate::sys::SystemEngine;

/// The place in storage of the cluster's name and id.
pub(crate) const CLUSTER_ROW: &str = "core/cluster/info";

/// Name and id of the cluster, made at init.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ClusterInfo {
    pub(crate) name: String,
    pub(crate) id: String,
}

/// Shows applied entries to the open barrier, if there is one.
#[derive(Default)]
struct Applied {
    barrier: ArcSwapOption<Barrier<Unsealed>>,
}

impl Observer for Applied {
    fn applied(&self, _index: u64, keys: &[&[u8]]) {
        if let Some(barrier) = self.barrier.load().as_ref() {
            barrier.touched(keys.iter().copied());
        }
    }

    fn replacing(&self) {
        if let Some(barrier) = self.barrier.load().as_ref() {
            barrier.replacing();
        }
    }

    fn reset(&self) {
        if let Some(barrier) = self.barrier.load().as_ref() {
            barrier.reset();
        }
    }
}

/// One server: sealed or unsealed, standby or active.
pub struct Core {
    pub(crate) config: CoreConfig,
    pub(crate) registry: Registry,
    pub(crate) replica: Replica,
    /// Whether this node leads.
    pub(crate) leads: tokio::sync::watch::Receiver<bool>,
    pub(crate) audit: Broker,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) sealed: Barrier<Sealed>,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) seal_health: SealHealth,
    /// Break-glass shares given, apart from the others: they make another key.
    pub(crate) break_glass: Mutex<Progress>,
    /// Two outer seals of one type are configured, and it is the retiring one that opens.
    pub(crate) opens_by_retiring: std::sync::atomic::AtomicBool,
    /// Somebody sealed this node on purpose: it does not open by itself again in this process.
    pub(crate) closed_by_hand: std::sync::atomic::AtomicBool,
    /// The others have taken this node out of the cluster.
    pub(crate) removed: std::sync::atomic::AtomicBool,
    /// Of the leader, while another node is it.
    pub(crate) heard: Mutex<crate::standby::Heard>,
    /// Initialising, unsealing and sealing exclude each other.
    pub(crate) lifecycle: tokio::sync::Mutex<()>,
    pub(crate) in_flight: InFlight,
    pub(crate) timers: series::Timers,
    pub(crate) usage: Usage,
    pub(crate) cluster: Cluster,
    pub(crate) itself: Weak<Self>,
    applied: Arc<Applied>,
    open: ArcSwapOption<OpenCore>,
}

/// What exists while unsealed; dropping it wipes the keys and stops the workers.
pub struct OpenCore {
    pub(crate) barrier: Arc<Barrier<Unsealed>>,
    pub(crate) tokens: Arc<TokenStore>,
    pub(crate) policies: PolicyCache,
    pub(crate) callers: Callers,
    audited_headers: Cached<AuditedHeaders>,
    pub(crate) audit_table: crate::sys::audit::Table,
    cors: Cached<Option<Cors>>,
    quotas: Cached<Definitions>,
    ui_headers: Cached<UiHeaders>,
    pub(crate) cluster: ClusterInfo,
    pub(crate) since: Time,
    /// What holders of shares do together; gone with the keys.
    pub(crate) ceremonies: tokio::sync::Mutex<Ceremonies>,
    pub(crate) noted: Noted,
    /// Rises with whatever any node does to a lease.
    pub(crate) leases_touched: Watch,
    pub(crate) lease_counts: quota::LeaseCounts,
    registry: Registry,
    routes: Routes,
    /// Dropped with the open core; workers that hold the receiver end then.
    pub(crate) alive: tokio::sync::watch::Sender<()>,
}

struct Routes {
    table: [Watch; 2],
    built: Mutex<[u64; 2]>,
    router: ArcSwap<Router>,
}

struct BarrierCipher(Arc<Barrier<Unsealed>>);

/// Where batch tokens are sealed for: they are no records, so the name only keeps them apart from records.
const BATCH_CONTEXT: &str = "batch-token";

impl BatchCipher for BarrierCipher {
    fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, engine::EngineError> {
        self.0
            .seal_bytes(BATCH_CONTEXT, plaintext, &SystemEntropy)
            .map_err(|_| engine::EngineError::internal("batch token cannot be sealed"))
    }

    fn open(&self, sealed: &[u8]) -> Result<Option<SecretBytes>, engine::EngineError> {
        Ok(self.0.open_bytes(BATCH_CONTEXT, sealed).ok())
    }
}

impl Core {
    /// Opens the log and the applied state of a node that reaches no other. The core is sealed, or not initialised, afterwards.
    pub async fn start(
        store: Arc<dyn Store>,
        settings: Settings,
        config: CoreConfig,
        registry: Registry,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>, OpenError> {
        Self::start_with_peers(store, settings, config, registry, clock, entropy, Arc::new(Alone)).await
    }

    /// The same with a way to other nodes.
    pub async fn start_with_peers(
        store: Arc<dyn Store>,
        settings: Settings,
        config: CoreConfig,
        registry: Registry,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        peers: Arc<dyn Peers>,
    ) -> Result<Arc<Self>, OpenError> {
        let applied = Arc::new(Applied::default());
        let observer: Arc<dyn Observer> = Arc::<Applied>::clone(&applied);
        let replica = Replica::open_with_peers(Arc::clone(&store), settings, observer, peers).await?;
        let cluster = Cluster::load(&*store)?;
        let sealed = Barrier::new(store);
        // Keys without an applied entry: a file of the store is gone. Nothing could be committed, so say so instead of waiting.
        if replica.applied_index() == 0 && sealed.config().ok().flatten().is_some() {
            return Err(OpenError::Start(
                "the data is there, but the records of replication are missing: storage is damaged".into(),
            ));
        }
        let audit = Broker::with_settings(audit::Settings {
            allow_prefixing: config.allow_audit_log_prefixing,
            guarded: config.guarded_from_audit.clone(),
            ..audit::Settings::default()
        });
        Ok(Arc::new_cyclic(|itself| Self {
            config,
            registry,
            leads: replica.leadership(),
            replica,
            audit,
            clock,
            entropy,
            sealed,
            progress: Mutex::new(Progress::default()),
            seal_health: SealHealth::default(),
            break_glass: Mutex::new(Progress::default()),
            opens_by_retiring: std::sync::atomic::AtomicBool::new(false),
            closed_by_hand: std::sync::atomic::AtomicBool::new(false),
            removed: std::sync::atomic::AtomicBool::new(false),
            heard: Mutex::default(),
            lifecycle: tokio::sync::Mutex::new(()),
            in_flight: InFlight::default(),
            timers: series::Timers::new(),
            usage: Usage::default(),
            cluster,
            itself: itself.clone(),
            applied,
            open: ArcSwapOption::empty(),
        }))
    }

    /// The unsealed part; `None` while sealed.
    #[must_use]
    pub fn open(&self) -> Option<Arc<OpenCore>> {
        self.open.load_full()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &CoreConfig {
        &self.config
    }

    /// The replicated log, for status.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// The audit devices.
    #[must_use]
    pub fn audit(&self) -> &Broker {
        &self.audit
    }

    /// Number of requests being served now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.count()
    }

    /// Does now what the worker does in its next rounds for mounts that were disabled, moved or upgraded. For tests, which do
    /// not wait.
    #[doc(hidden)]
    pub async fn tidy_mounts(&self) -> Result<(), String> {
        let Some(open) = self.open() else { return Ok(()) };
        crate::expiry::tidy_mounts(self, &open).await.map_err(|e| e.to_string())
    }

    /// Does now what the worker does in its next round for the data key: replace it if it is due, and note its use. For tests.
    #[doc(hidden)]
    pub async fn tend_data_key(&self) -> Result<(), String> {
        let Some(open) = self.open() else { return Ok(()) };
        crate::seal::rotation::carry_on(self, &open).await.map_err(|e| e.to_string())
    }

    /// Pretends that the data key was used so often. For tests, which cannot encrypt a million records.
    #[doc(hidden)]
    pub fn pretend_encryptions(&self, count: u64) {
        if let Some(open) = self.open() {
            open.barrier.count_encryptions(count.saturating_sub(open.barrier.counts().encryptions));
        }
    }

    /// Pretends that this node used the data key so often and noted nothing of it. For tests.
    #[doc(hidden)]
    pub fn pretend_encryptions_here(&self, count: u64) {
        if let Some(open) = self.open() {
            open.barrier.count_encryptions(count);
        }
    }

    /// The term of the data key that this node would use now. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn data_key_term(&self) -> Option<u32> {
        self.open().map(|open| open.barrier.keyring().active().term)
    }

    /// Lets applied entries reach `barrier`'s caches; must happen before anything is read through it.
    pub(crate) fn attach(&self, barrier: Option<Arc<Barrier<Unsealed>>>) {
        self.applied.barrier.store(barrier);
    }

    pub(crate) fn set_open(&self, open: Option<Arc<OpenCore>>) {
        self.open.store(open);
    }

    /// Proposes what a transaction wrote. `false` is a conflict: nothing was written and the request runs anew.
    pub(crate) async fn commit(&self, txn: Txn) -> Result<bool, CommitError> {
        let Some(change) = txn.finish(&*self.entropy)? else { return Ok(false) };
        Ok(self.replica.propose(change).await?.committed)
    }

    /// Runs `work` in transactions of its own until one commits. For the server's own doings (workers, seal operations), not
    /// for requests.
    pub(crate) async fn transact<T>(
        &self,
        open: &OpenCore,
        mut work: impl FnMut(&mut View<'_>) -> Result<T, engine::EngineError> + Send,
    ) -> Result<T, CommitError>
    where
        T: Send,
    {
        for _ in 0..CONFLICTS_MAX {
            let mut txn = open.barrier.begin();
            let value = work(&mut View::new(&mut txn, "")).map_err(CommitError::Work)?;
            if !txn.has_writes() || self.commit(txn).await? {
                return Ok(value);
            }
        }
        Err(CommitError::Contended)
    }
}

/// How often a request runs anew after conflicts before it is given up. With optimistic checks every conflict means that another
/// request succeeded, so this many in a row only happens under heavy contention on one key.
pub(crate) const CONFLICTS_MAX: usize = 64;

/// Why something could not be committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    #[error(transparent)]
    Propose(#[from] ProposeError),
    #[error(transparent)]
    Barrier(#[from] barrier::BarrierError),
    #[error(transparent)]
    Work(engine::EngineError),
    #[error("too many concurrent changes to the same records")]
    Contended,
}

impl OpenCore {
    /// Builds the unsealed part over an open barrier.
    pub(crate) fn build(core: &Core, barrier: Arc<Barrier<Unsealed>>, now: Time) -> Result<Self, TxnError> {
        let tokens = Arc::new(TokenStore::new(Arc::new(BarrierCipher(Arc::clone(&barrier)))));
        let mut registry = core.registry.clone();
        let itself = core.itself.clone();
        registry.secrets.insert("system", Arc::new(move |_| Arc::new(SystemEngine::new(itself.clone()))));
        let address = core.config.api_addr.clone();
        registry.secrets.insert(
            "identity",
            Arc::new(move |_| Arc::new(identity::IdentityEngine::with(address.clone(), identity_oidc::routes()))),
        );
        let (store, itself) = (Arc::clone(&tokens), core.itself.clone());
        registry.auth.insert(
            "token",
            Arc::new(move |_| {
                let rooms = Arc::new(TokenNeighbours(itself.clone()));
                Arc::new(TokenEngine::new(Arc::clone(&store)).with_neighbours(rooms))
            }),
        );
        let table = [barrier.watch(crate::Table::Mounts.rows())?, barrier.watch(crate::Table::Auth.rows())?];
        let counts = [0, 1].map(|i| table.get(i).map_or(0, Watch::count));
        let mut txn = barrier.begin();
        let router = Router::build(&mut txn, &registry, &core.config, &Router::default())?;
        let cluster = View::new(&mut txn, "").get_json::<ClusterInfo>(CLUSTER_ROW)?.map(|c| (*c).clone()).unwrap_or_default();
        let policies = PolicyCache::new(&barrier)?;
        Ok(Self {
            tokens,
            policies,
            callers: Callers::new(),
            audit_table: crate::sys::audit::Table::new(&barrier)?,
            audited_headers: Cached::new(&barrier, settings::AUDITED_HEADER_ROWS, settings::audited_headers)?,
            cors: Cached::new(&barrier, settings::CORS_ROWS, settings::cors)?,
            quotas: Cached::new(&barrier, quota::QUOTA_ROWS, quota::definitions)?,
            ui_headers: Cached::new(&barrier, settings::UI_HEADER_ROWS, settings::ui_headers)?,
            cluster,
            since: now,
            ceremonies: tokio::sync::Mutex::default(),
            noted: Noted::load(&barrier, now)?,
            leases_touched: barrier.watch(tokens::Leases::FOLDER)?,
            lease_counts: quota::LeaseCounts::default(),
            registry,
            routes: Routes { table, built: Mutex::new(counts), router: ArcSwap::from_pointee(router) },
            alive: tokio::sync::watch::channel(()).0,
            barrier,
        })
    }

    /// The router for the mount table as applied.
    pub(crate) fn router(&self, config: &CoreConfig) -> Result<Arc<Router>, TxnError> {
        let now = [0, 1].map(|i| self.routes.table.get(i).map_or(0, Watch::count));
        if *self.routes.built.lock() == now {
            return Ok(self.routes.router.load_full());
        }
        let mut built = self.routes.built.lock();
        if *built != now {
            let mut txn = self.barrier.begin();
            let next = Router::build(&mut txn, &self.registry, config, &self.routes.router.load())?;
            self.routes.router.store(Arc::new(next));
            *built = now;
        }
        Ok(self.routes.router.load_full())
    }

    /// The request headers that audit lines show.
    pub(crate) fn audited_headers(&self) -> Result<Arc<AuditedHeaders>, TxnError> {
        self.audited_headers.get(&self.barrier)
    }

    /// `sys/config/cors`; `None` while it is off.
    pub fn cors(&self) -> Result<Arc<Option<Cors>>, TxnError> {
        self.cors.get(&self.barrier)
    }

    /// The quotas as applied.
    pub(crate) fn quotas(&self) -> Result<Arc<Definitions>, TxnError> {
        self.quotas.get(&self.barrier)
    }

    /// Headers of the web UI's answers.
    pub fn ui_headers(&self) -> Result<Arc<UiHeaders>, TxnError> {
        self.ui_headers.get(&self.barrier)
    }

    /// The types that can be mounted.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// What engines may ask of the server during one request.
pub(crate) struct RequestSystem(pub(crate) Arc<Router>);

impl System for RequestSystem {
    fn mount_by_accessor(&self, accessor: &str) -> Option<Arc<Mount>> {
        self.0.by_accessor(accessor).map(|m| Arc::clone(&m.facts))
    }
}
