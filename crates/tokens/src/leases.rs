//! Leases: secrets that must be revoked when their time is over (contract §7.1).
//!
//! Deliberately absent: calls of engines. The core asks [`Leases`] what is due, has the engine undo it, and then says
//! [`Leases::remove`] or [`Leases::failed`].

use std::sync::Arc;
use std::time::Duration;

use api_types::Map;
use engine::{EngineError, LeasedSecret, Mount};
use secret::{Entropy, Time};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Page, View};

use crate::due::{self, DueItem};
use crate::entry::{is_default, nanos, seconds_left};
use crate::limits::{ID_CHARS, REVOKE_ATTEMPTS, REVOKE_BACKOFF_SECONDS};
use crate::store::stored;
use crate::{Found, Life};

const ID: &str = "sys/expire/id/";
const TOKEN: &str = "sys/expire/token/";
/// Leases read in one go while they are counted.
const COUNT_PAGE: usize = 1024;
const IRREVOCABLE: &str = "sys/expire/irrevocable/";

/// A leased secret as it is stored.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// The request path that made it.
    pub path: String,
    /// Accessor of the mount that made it.
    pub mount_accessor: String,
    /// Key of the token it dies with; empty for batch tokens.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// What the engine needs for renewal and revocation; not shown.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub internal: Map,
    /// When it was made.
    pub issue_time: Time,
    /// When it ends.
    pub expire_time: Time,
    /// The last renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_renewal: Option<Time>,
    /// The end of the batch token it was made with, which no renewal passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// Life granted at issue.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub ttl: Duration,
    /// The role's limit; zero is the mount's.
    #[serde(with = "nanos", skip_serializing_if = "is_default")]
    pub max_ttl: Duration,
    /// Whether it may be renewed.
    #[serde(skip_serializing_if = "is_default")]
    pub renewable: bool,
    /// When it is to be revoked, if not when it ends: after a failed attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Time>,
    /// Failed attempts to revoke it.
    #[serde(skip_serializing_if = "is_default")]
    pub attempts: u32,
    /// Why it was given up on; empty while it was not.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub irrevocable: String,
}

/// What stands under a lease id.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseRecord {
    /// The lease of a token, by the token's key: times are in the token's entry.
    Token(String),
    /// The lease of a secret.
    Secret(Box<Lease>),
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("path", &self.path).field("expire_time", &self.expire_time).finish_non_exhaustive()
    }
}

/// A lease that was found.
#[derive(Debug, Clone)]
pub enum Held {
    /// Of a token.
    Token(Found),
    /// Of a secret.
    Secret(Lease),
}

/// What is known about a lease to be made, beside its [`LeasedSecret`].
pub struct NewLease<'a> {
    /// The request path, without a leading `/`.
    pub path: &'a str,
    /// The mount of the engine.
    pub mount: &'a Mount,
    /// The token that asked; its end is the lease's.
    pub owner: Option<&'a Found>,
    /// The time of the request.
    pub now: Time,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
}

/// A renewal that the engine has agreed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extension {
    /// Asked for by the client; zero is the lease's own.
    pub increment: Duration,
    /// The engine's new wish; zero is the lease's own.
    pub ttl: Duration,
    /// The engine's new limit; zero is the lease's own.
    pub max_ttl: Duration,
}

/// What to do after a failed revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It stands in the index again, for this time.
    Again(Time),
    /// It was given up on.
    GivenUp,
}

/// The rules over stored leases.
pub struct Leases;

impl Leases {
    /// Where all leases stand, one record each.
    pub const FOLDER: &str = ID;

    /// Registers a lease and fills `secret.lease_id`, `secret.ttl`. Three records. The answer is warnings.
    ///
    /// # Errors
    /// `Internal` if no time is left for it, so that no secret without a lease leaves the server.
    pub fn register(view: &mut View<'_>, secret: &mut LeasedSecret, new: &NewLease<'_>) -> Result<Vec<String>, EngineError> {
        let life = Life { ttl: secret.ttl, role_max: secret.max_ttl, ..Life::on(new.mount) };
        let mut granted = life.grant(new.now, new.now).map_err(|e| EngineError::internal(e.to_string()))?;
        // Batch tokens cannot take a lease along, so the lease ends with them from the start.
        let not_after = new.owner.filter(|o| o.key.is_empty()).and_then(|o| o.entry.expire_time);
        if let Some(end) = not_after {
            granted.ttl = granted.ttl.min(end.since(new.now));
        }
        let id = format!("{}/{}", new.path.trim_end_matches('/'), new.entropy.base62(ID_CHARS)?);
        let lease = Lease {
            path: new.path.to_owned(),
            mount_accessor: new.mount.accessor.clone(),
            token: new.owner.map(|o| o.key.clone()).unwrap_or_default(),
            internal: secret.internal.clone(),
            issue_time: new.now,
            expire_time: new.now.plus(granted.ttl),
            not_after,
            ttl: granted.ttl,
            max_ttl: secret.max_ttl,
            renewable: secret.renewable,
            ..Lease::default()
        };
        due::note(view, lease.expire_time, &DueItem::Lease(id.clone()))?;
        if !lease.token.is_empty() {
            view.put(&format!("{}{}", token_folder(&lease.token), due::segment(&id)), b"1".as_slice().into())?;
        }
        LeaseRecord::Secret(Box::new(lease)).put(view, &id)?;
        secret.lease_id = id;
        secret.ttl = granted.ttl;
        Ok(granted.warnings)
    }

    /// The lease with this id, whatever its state.
    pub fn lookup(view: &mut View<'_>, id: &str) -> Result<Option<Held>, EngineError> {
        Ok(match LeaseRecord::get(view, id)?.as_deref() {
            None => None,
            Some(LeaseRecord::Secret(lease)) => Some(Held::Secret(Lease::clone(lease))),
            Some(LeaseRecord::Token(key)) => stored(view, key)?.map(|entry| Held::Token(Found { entry, key: key.clone() })),
        })
    }

    /// The `data` of `sys/leases/lookup`.
    ///
    /// # Errors
    /// `Invalid` with `invalid lease`.
    pub fn show(view: &mut View<'_>, id: &str, now: Time) -> Result<Map, EngineError> {
        let (issue, expire, renewal, renewable) = match Self::lookup(view, id)? {
            None => return Err(EngineError::invalid("invalid lease")),
            Some(Held::Secret(l)) => (l.issue_time, Some(l.expire_time), l.last_renewal, l.renewable),
            Some(Held::Token(f)) => (f.entry.creation_time, f.entry.expire_time, f.entry.last_renewal, f.entry.renewable),
        };
        let time = |t: Option<Time>| t.map_or(Value::Null, |t| t.rfc3339().into());
        let mut data = Map::new();
        data.insert("id".into(), id.into());
        data.insert("issue_time".into(), issue.rfc3339().into());
        data.insert("expire_time".into(), time(expire));
        data.insert("last_renewal".into(), time(renewal));
        data.insert("renewable".into(), (renewable && expire.is_some_and(|end| end > now)).into());
        data.insert("ttl".into(), expire.map_or(0, |end| seconds_left(end, now)).into());
        Ok(data)
    }

    /// The lease, if it may be renewed now: asked before the engine is.
    ///
    /// # Errors
    /// `Invalid`, in Vault's words.
    pub fn renewable(view: &mut View<'_>, id: &str, now: Time) -> Result<Lease, EngineError> {
        match Self::lookup(view, id)? {
            None => Err(EngineError::invalid("lease not found")),
            Some(Held::Token(_)) => Err(EngineError::invalid("tokens cannot be renewed through this endpoint")),
            Some(Held::Secret(lease)) if lease.expire_time <= now => Err(EngineError::invalid("lease expired")),
            Some(Held::Secret(lease)) if !lease.renewable => Err(EngineError::invalid("lease is not renewable")),
            Some(Held::Secret(lease)) => Ok(lease),
        }
    }

    /// Gives a lease more time after the engine agreed: the time granted, and warnings.
    ///
    /// # Errors
    /// As [`Leases::renewable`]; `Internal` with `past the max TTL, cannot renew`.
    pub fn extend(
        view: &mut View<'_>,
        id: &str,
        wish: &Extension,
        mount: &Mount,
        now: Time,
    ) -> Result<(Duration, Vec<String>), EngineError> {
        let mut lease = Self::renewable(view, id, now)?;
        let or = |new: Duration, old: Duration| if new.is_zero() { old } else { new };
        lease.max_ttl = or(wish.max_ttl, lease.max_ttl);
        let life = Life { increment: wish.increment, ttl: or(wish.ttl, lease.ttl), role_max: lease.max_ttl, ..Life::on(mount) };
        let mut granted = life.grant(lease.issue_time, now).map_err(|e| EngineError::internal(e.to_string()))?;
        if let Some(end) = lease.not_after {
            granted.ttl = granted.ttl.min(end.since(now));
        }
        let from = lease.due();
        lease.expire_time = now.plus(granted.ttl);
        lease.last_renewal = Some(now);
        lease.moved(view, id, from)?;
        Ok((granted.ttl, granted.warnings))
    }

    /// Forgets a lease whose secret was undone. For a token's lease, revoke the token instead.
    pub fn remove(view: &mut View<'_>, id: &str) -> Result<(), EngineError> {
        let Some(Held::Secret(lease)) = Self::lookup(view, id)? else { return Ok(()) };
        due::forget(view, lease.due(), &DueItem::Lease(id.to_owned()))?;
        if !lease.token.is_empty() {
            view.delete(&format!("{}{}", token_folder(&lease.token), due::segment(id)))?;
        }
        if !lease.irrevocable.is_empty() {
            view.delete(&format!("{IRREVOCABLE}{}", due::segment(id)))?;
        }
        LeaseRecord::delete(view, id)
    }

    /// Ends a secret's lease now and puts it at the head of the index; answers whether there was one. It can no longer be
    /// renewed. For a token's lease, revoke the token instead.
    pub fn make_due(view: &mut View<'_>, id: &str, now: Time) -> Result<bool, EngineError> {
        let Some(Held::Secret(mut lease)) = Self::lookup(view, id)? else { return Ok(false) };
        let from = lease.due();
        lease.expire_time = lease.expire_time.min(due::this_second(now));
        lease.retry_time = None;
        lease.moved(view, id, from)?;
        Ok(true)
    }

    /// Notes that an engine could not undo a secret: it is tried again later, twice as late each time, and given up on after
    /// six attempts. `why` is kept for the operator and must hold no secret.
    pub fn failed(view: &mut View<'_>, id: &str, why: &str, now: Time) -> Result<Attempt, EngineError> {
        let Some(Held::Secret(mut lease)) = Self::lookup(view, id)? else { return Ok(Attempt::GivenUp) };
        let from = lease.due();
        lease.expire_time = lease.expire_time.min(due::this_second(now));
        if lease.attempts + 1 < REVOKE_ATTEMPTS {
            let again = now.plus(Duration::from_secs(REVOKE_BACKOFF_SECONDS << lease.attempts));
            lease.attempts += 1;
            lease.retry_time = Some(again);
            lease.moved(view, id, from)?;
            return Ok(Attempt::Again(again));
        }
        due::forget(view, from, &DueItem::Lease(id.to_owned()))?;
        lease.attempts = REVOKE_ATTEMPTS;
        let why = if why.is_empty() { "unknown" } else { why };
        why.clone_into(&mut lease.irrevocable);
        view.put(&format!("{IRREVOCABLE}{}", due::segment(id)), b"1".as_slice().into())?;
        LeaseRecord::Secret(Box::new(lease)).put(view, id)?;
        Ok(Attempt::GivenUp)
    }

    /// One folder of lease ids, as `sys/leases/lookup/<prefix>/` lists it.
    pub fn list(view: &mut View<'_>, prefix: &str, page: &Page) -> Result<Vec<String>, EngineError> {
        Ok(view.list(&folder(prefix), page)?)
    }

    /// How many lease ids `covered` picks, counted up to `limit`. Nothing is checked at commit: for figures, not for decisions
    /// of a transaction.
    pub fn count_where(view: &mut View<'_>, limit: u64, covered: impl Fn(&str) -> bool) -> Result<u64, storage::TxnError> {
        let mut count = 0;
        let mut folders = vec![ID.to_owned()];
        while let Some(folder) = folders.pop() {
            let mut page = Page { after: None, limit: Some(COUNT_PAGE) };
            loop {
                let names = view.page(&folder, &page)?.names;
                let Some(last) = names.last().cloned() else { break };
                page.after = Some(last);
                for name in names {
                    let full = format!("{folder}{name}");
                    if name.ends_with('/') {
                        folders.push(full);
                    } else if full.strip_prefix(ID).is_some_and(&covered) {
                        count += 1;
                        if count >= limit {
                            return Ok(count);
                        }
                    }
                }
            }
        }
        Ok(count)
    }

    /// Up to `limit` leases at any depth below a prefix; the prefix may also be one lease's id. Tokens are named by their
    /// key. What `revoke-prefix` works through until nothing is left.
    pub fn below(view: &mut View<'_>, prefix: &str, limit: usize) -> Result<Vec<DueItem>, EngineError> {
        let mut out = Vec::new();
        let exact = prefix.trim_end_matches('/');
        if let (false, Some(record)) = (exact.is_empty(), LeaseRecord::get(view, exact)?) {
            out.push(record.item(exact));
        }
        let mut folders = vec![folder(prefix)];
        while let Some(path) = folders.pop() {
            for name in view.list(&path, &Page::default())? {
                let full = format!("{path}{name}");
                if name.ends_with('/') {
                    folders.push(full);
                    continue;
                }
                if out.len() >= limit {
                    return Ok(out);
                }
                let Some(id) = full.strip_prefix(ID) else { continue };
                if let Some(record) = LeaseRecord::get(view, id)? {
                    out.push(record.item(id));
                }
            }
        }
        Ok(out)
    }

    /// Up to `limit` leases that were given up on, with the reason.
    pub fn irrevocable(view: &mut View<'_>, limit: usize) -> Result<Vec<(String, Lease)>, EngineError> {
        let names = view.list(IRREVOCABLE, &Page { after: None, limit: Some(limit) })?;
        let mut out = Vec::with_capacity(names.len());
        for id in names.iter().filter_map(|name| due::from_segment(name)) {
            if let Some(Held::Secret(lease)) = Self::lookup(view, &id)? {
                out.push((id, lease));
            }
        }
        Ok(out)
    }
}

impl Lease {
    /// Whether it is to be revoked now. The expiry worker asks again with the record in hand: between reading the index and
    /// this, a renewal may have been committed.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        self.due() <= now
    }

    /// Where it stands in the due-time index.
    fn due(&self) -> Time {
        self.retry_time.unwrap_or(self.expire_time)
    }

    /// Stores a changed lease and moves it in the index, where it stood at `from`.
    fn moved(self, view: &mut View<'_>, id: &str, from: Time) -> Result<(), EngineError> {
        let item = DueItem::Lease(id.to_owned());
        due::forget(view, from, &item)?;
        due::note(view, self.due(), &item)?;
        LeaseRecord::Secret(Box::new(self)).put(view, id)
    }
}

impl LeaseRecord {
    pub(crate) fn get(view: &mut View<'_>, id: &str) -> Result<Option<Arc<Self>>, EngineError> {
        Ok(view.get_json::<Self>(&format!("{ID}{id}"))?)
    }

    pub(crate) fn put(&self, view: &mut View<'_>, id: &str) -> Result<(), EngineError> {
        Ok(view.put_json(&format!("{ID}{id}"), self)?)
    }

    pub(crate) fn delete(view: &mut View<'_>, id: &str) -> Result<(), EngineError> {
        Ok(view.delete(&format!("{ID}{id}"))?)
    }

    fn item(&self, id: &str) -> DueItem {
        match self {
            Self::Token(key) => DueItem::Token(key.clone()),
            Self::Secret(_) => DueItem::Lease(id.to_owned()),
        }
    }
}

impl std::fmt::Debug for LeaseRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "LeaseRecord::Token",
            Self::Secret(_) => "LeaseRecord::Secret",
        })
    }
}

/// The folder of a token's leases.
pub(crate) fn token_folder(key: &str) -> String {
    format!("{TOKEN}{key}/")
}

fn folder(prefix: &str) -> String {
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() { ID.to_owned() } else { format!("{ID}{prefix}/") }
}
