//! Quotas at work: rate limits before a request's body is read, lease counts before a lease is kept.
//!
//! What the rules are comes from applied state and is cached; what a client has used is kept on this node, bounded, and forgotten
//! at its end. The rules of choice and time are `quotas`.
//!
//! Deliberately absent: child namespaces, and grouping by entity (both Vault Enterprise).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use api_types::Operation;
use audit::{Logged, SealedReply};
use engine::{Call, Caller, Fields, Request};
use metrics::counter;
use parking_lot::Mutex;
use policy::{Denial, DenialReason};
use quotas::{Book, Clients, Exempt, LeaseCount, RateLimit, Verdict};
use secret::Time;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::{Page, TxnError, View};

use crate::answer::{Answer, Failure, FailureKind};
use crate::core::{Core, OpenCore, RequestSystem};
use crate::records::Asked;
use crate::series;

/// Everything about quotas.
pub(crate) const QUOTA_ROWS: &str = "sys/quotas/";
/// One row a rate limit.
pub(crate) const RATE_ROWS: &str = "sys/quotas/rate-limit/";
/// One row a lease count.
pub(crate) const LEASE_ROWS: &str = "sys/quotas/lease-count/";
/// The settings.
pub(crate) const CONFIG_ROW: &str = "sys/quotas/config";

/// What is exempt until somebody says otherwise: what an operator needs when nothing else gets through.
const EXEMPT: [&str; 7] = [
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
];

/// `sys/quotas/config`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct QuotaConfig {
    pub(crate) exempt: Vec<String>,
    pub(crate) absolute_exempt: Vec<String>,
    pub(crate) audit_logging: bool,
    pub(crate) response_headers: bool,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        let exempt = EXEMPT.iter().map(|p| (*p).to_owned()).collect();
        Self { exempt, absolute_exempt: Vec::new(), audit_logging: false, response_headers: false }
    }
}

/// All that is configured, ready for lookups.
pub(crate) struct Definitions {
    config: QuotaConfig,
    exempt: Exempt,
    rates: Book<RateLimit>,
    leases: Book<LeaseCount>,
}

/// Reads all rows.
pub(crate) fn definitions(view: &mut View<'_>) -> Result<Definitions, TxnError> {
    let config = view.get_json::<QuotaConfig>(CONFIG_ROW)?.map(|c| QuotaConfig::clone(&c)).unwrap_or_default();
    Ok(Definitions {
        exempt: Exempt::new(config.exempt.iter().chain(&config.absolute_exempt)),
        config,
        rates: Book::new(rules(view, RATE_ROWS)?),
        leases: Book::new(rules(view, LEASE_ROWS)?),
    })
}

/// The rules of one kind, by name.
pub(crate) fn rules<R>(view: &mut View<'_>, rows: &str) -> Result<BTreeMap<String, R>, TxnError>
where
    R: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let mut out = BTreeMap::new();
    for name in view.list(rows, &Page::default())? {
        if let Some(rule) = view.get_json::<R>(&format!("{rows}{name}"))? {
            out.insert(name, R::clone(&rule));
        }
    }
    Ok(out)
}

/// Whether a request may come in.
#[derive(Debug)]
pub enum Admission {
    /// It may. The figures are there if they are to be shown.
    Admitted(Option<Verdict>),
    /// A limit by role may apply: ask again with [`Core::admit_login`] when the body is known.
    ByRole,
    /// It may not.
    Refused {
        /// What the client reads.
        failure: Failure,
        /// The figures, if they are to be shown.
        shown: Option<Verdict>,
        /// Audit wants to see it: answer with [`Core::refuse_limited`].
        audited: bool,
    },
}

const FREE: Admission = Admission::Admitted(None);

/// Leases counted for one quota.
struct Counted {
    created: Time,
    /// Those that were there, and those that this node has added since.
    leases: u64,
    /// Where the watch over all leases stood when they were counted.
    watched: u64,
}

/// What this node knows of the use of rate limits.
#[derive(Default)]
pub(crate) struct Usage {
    clients: Clients,
}

/// What this node knows of the leases below lease count quotas, by the quotas' names. Good for as long as it is open.
#[derive(Default)]
pub(crate) struct LeaseCounts(Mutex<HashMap<String, Counted>>);

impl Core {
    /// Asks the rate limits, before anything of the request but its head is read (CVE class N). `path` is below `/v1/`.
    #[must_use]
    pub fn admit(&self, path: &str, operation: Operation, client: Option<IpAddr>) -> Admission {
        let Some((open, limits)) = self.limits() else { return FREE };
        if limits.exempt.covers(path) {
            return FREE;
        }
        let Ok(router) = open.router(&self.config) else { return FREE };
        let (mount, rest) = router.resolve(path).map_or(("", path), |(m, rest)| (m.entry.uuid.as_str(), rest));
        let is_login = operation.is_write() && rest.split('/').next() == Some("login");
        if !is_login || limits.rates.with_role(mount).next().is_none() {
            return self.take(&limits, path, limits.rates.find(mount, rest, ""), client);
        }
        // Which one applies stands in the body. If all that might apply are used up, it need not be read.
        let may_apply = limits.rates.with_role(mount).chain(limits.rates.find(mount, rest, ""));
        let (client, now) = (known(client), self.clock.now());
        let is_spent =
            |(name, rule): (&str, &RateLimit)| !self.usage.clients.look(rule.fingerprint(name), rule, client, now).allowed;
        let has_fallback = limits.rates.find(mount, rest, "").is_some();
        if has_fallback && may_apply.into_iter().all(is_spent) {
            return self.take(&limits, path, limits.rates.find(mount, rest, ""), Some(client));
        }
        Admission::ByRole
    }

    /// The second question, for a login whose limit depends on its role.
    #[must_use]
    pub fn admit_login(&self, request: &Request) -> Admission {
        let Some((open, limits)) = self.limits() else { return FREE };
        let Ok(router) = open.router(&self.config) else { return FREE };
        let Some((mounted, rest)) = router.resolve(&request.path) else { return FREE };
        let mut txn = open.barrier.begin();
        let (caller, system) = (Caller::default(), RequestSystem(Arc::clone(&router)));
        let mut call = Call {
            request,
            operation: request.operation,
            path: rest,
            fields: Fields::default(),
            view: View::new(&mut txn, mounted.entry.data_prefix()),
            mount: &mounted.facts,
            caller: &caller,
            now: self.clock.now(),
            entropy: &*self.entropy,
            system: &system,
        };
        let role = mounted.backend.login_role(&mut call).ok().flatten().unwrap_or_default();
        let rule = limits.rates.find(&mounted.entry.uuid, rest, &role);
        self.take(&limits, &request.path, rule, request.connection.remote_addr)
    }

    /// Records a request that a rate limit stopped, where the operator wants that.
    pub async fn refuse_limited(&self, request: &Request, failure: Failure) -> Logged<Answer> {
        let Some(open) = self.open() else { return self.unrecorded(failure, SealedReply::Sealed) };
        let Ok(audited) = open.audited_headers() else { return self.unrecorded(failure, SealedReply::RateLimited) };
        let router = open.router(&self.config).ok();
        let mounted = router.as_ref().and_then(|r| r.resolve(&request.path)).map(|(m, _)| &**m);
        let now = self.clock.now();
        let asked = Asked {
            request,
            headers: &request.headers,
            operation: request.operation,
            mounted,
            known: None,
            now,
            audited: &audited,
        };
        let denial = Denial { reason: DenialReason::Token("rate limit quota exceeded"), pattern: None };
        let text = failure.errors.first().cloned();
        let kind = failure.kind;
        let record = || asked.request_record(None, text.as_deref());
        match self.audit.refuse(&denial, record, Answer::Failure(failure)).await {
            Ok(logged) => logged,
            Err(e) => {
                tracing::error!(error = %e, ?kind, "no audit device took the entry of a request over its rate limit");
                self.unrecorded(Failure::internal(), SealedReply::AuditFailed)
            }
        }
    }

    /// The definitions, if there is any rate limit at all.
    fn limits(&self) -> Option<(Arc<OpenCore>, Arc<Definitions>)> {
        let open = self.open()?;
        let limits = match open.quotas() {
            Ok(limits) => limits,
            Err(e) => {
                tracing::error!(error = %e, "quotas cannot be read");
                return None;
            }
        };
        (!limits.rates.is_empty()).then_some((open, limits))
    }

    fn take(&self, limits: &Definitions, path: &str, rule: Option<(&str, &RateLimit)>, client: Option<IpAddr>) -> Admission {
        let Some((name, rule)) = rule else { return FREE };
        let verdict = self.usage.clients.take(rule.fingerprint(name), rule, known(client), self.clock.now());
        let shown = limits.config.response_headers.then_some(verdict);
        if verdict.allowed {
            return Admission::Admitted(shown);
        }
        counter!(series::RATE_LIMITED, "name" => name.to_owned()).increment(1);
        let text = format!("request path {path:?}: rate limit quota exceeded");
        Admission::Refused { failure: Failure::new(FailureKind::Limited, text), shown, audited: limits.config.audit_logging }
    }

    /// Whether one more lease below a request's path would be too many. Counts it if not.
    ///
    /// The count only ever errs on the high side (leases end without telling, requests fail after they were counted, and where
    /// other nodes add leases too, whatever was done to any lease counts as one more), so the leases are counted anew before
    /// anything is refused. Requests that other nodes are serving at the same instant are not seen: so many may be added above
    /// the maximum.
    pub(crate) async fn lease_refused(&self, open: &Arc<OpenCore>, mount: &str, rest: &str) -> Result<bool, TxnError> {
        let limits = open.quotas()?;
        let Some((name, rule)) = limits.leases.find(mount, rest, "") else { return Ok(false) };
        let is_alone = self.replica.status().peers.len() < 2;
        let others = |c: &Counted| if is_alone { 0 } else { open.leases_touched.count().saturating_sub(c.watched) };
        if count_lease(&open.lease_counts, name, rule, others) {
            return Ok(false);
        }
        let watched = open.leases_touched.count();
        let leases = self.leases_under(open, &limits, name).await?;
        open.lease_counts.0.lock().insert(name.to_owned(), Counted { created: rule.created, leases, watched });
        if count_lease(&open.lease_counts, name, rule, others) {
            return Ok(false);
        }
        counter!(series::LEASES_LIMITED, "name" => name.to_owned()).increment(1);
        Ok(true)
    }

    /// The leases that a quota covers, counted no further than its maximum. On a thread of its own: there may be many.
    pub(crate) async fn leases_under(
        &self,
        open: &Arc<OpenCore>,
        limits: &Arc<Definitions>,
        name: &str,
    ) -> Result<u64, TxnError> {
        let (open, limits, name) = (Arc::clone(open), Arc::clone(limits), name.to_owned());
        let router = open.router(&self.config)?;
        let counted = tokio::task::spawn_blocking(move || {
            let Some((_, rule)) = limits.leases.iter().find(|(n, _)| *n == name) else { return Ok(0) };
            let covered = |lease: &str| {
                let path = lease.rsplit_once('/').map_or("", |(path, _)| path);
                let found = router.resolve(path).and_then(|(m, rest)| limits.leases.find(&m.entry.uuid, rest, ""));
                found.or_else(|| limits.leases.find("", path, "")).is_some_and(|(n, _)| n == name)
            };
            let mut txn = open.barrier.begin();
            tokens::Leases::count_where(&mut View::new(&mut txn, ""), rule.max_leases.saturating_add(1), covered)
        });
        counted.await.unwrap_or(Ok(0))
    }
}

/// Who has no address shares one window with the others that have none.
fn known(client: Option<IpAddr>) -> IpAddr {
    client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn count_lease(counts: &LeaseCounts, name: &str, rule: &LeaseCount, others: impl Fn(&Counted) -> u64) -> bool {
    let mut counts = counts.0.lock();
    let current = |c: &&mut Counted| c.created == rule.created && c.leases.saturating_add(others(c)) < rule.max_leases;
    counts.get_mut(name).filter(current).map(|c| c.leases += 1).is_some()
}
