//! Policies in storage and access lists in memory: a set of policies is compiled once and used until an applied entry touches
//! a policy (or, for templated sets, identity).

use std::sync::Arc;

use barrier::{Barrier, Txn, Unsealed, Watch};
use policy::{Acl, DEFAULT_POLICY, Identity, Policy, RESPONSE_WRAPPING_POLICY};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use storage::{TxnError, View};

/// Where policies stand.
pub(crate) const POLICY_ROWS: &str = "sys/policy/";

/// Compiled sets kept. A set is shared by all tokens with the same policies, so this is about distinct sets.
const SETS_COUNT: usize = 4096;

/// A stored policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// The two policies that always exist.
pub(crate) fn put_builtin(view: &mut View<'_>) -> Result<(), TxnError> {
    for (name, text) in [("default", DEFAULT_POLICY), ("response-wrapping", RESPONSE_WRAPPING_POLICY)] {
        view.put_json(&format!("{POLICY_ROWS}{name}"), &PolicyRow { name: name.into(), text: text.into() })?;
    }
    Ok(())
}

#[derive(Clone)]
struct Compiled {
    policies: u64,
    identity: u64,
    templated: bool,
    acl: Arc<Acl>,
}

/// Compiled access lists by policy set (and entity, where a policy has templates).
pub(crate) struct PolicyCache {
    policy_watch: Watch,
    identity_watch: Watch,
    sets: Cache<(Arc<[String]>, String), Compiled>,
}

impl PolicyCache {
    pub(crate) fn new(barrier: &Barrier<Unsealed>) -> Result<Self, TxnError> {
        Ok(Self {
            policy_watch: barrier.watch(POLICY_ROWS)?,
            identity_watch: barrier.watch("identity/")?,
            sets: Cache::new(SETS_COUNT),
        })
    }

    /// How often policies and identity changed; what was derived from both is good while both counts stand.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.policy_watch.count(), self.identity_watch.count())
    }

    /// The access list of these (sorted) policies for this entity. Names without a policy give nothing.
    pub(crate) fn acl(
        &self,
        barrier: &Arc<Barrier<Unsealed>>,
        names: &[String],
        entity: Option<&Identity>,
    ) -> Result<Arc<Acl>, TxnError> {
        if names.iter().any(|n| n == "root") {
            return Ok(Arc::new(Acl::root()));
        }
        let entity_id = entity.map_or("", |e| e.id.as_str());
        let key = (Arc::from(names), entity_id.to_owned());
        let (policies, identity) = (self.policy_watch.count(), self.identity_watch.count());
        let current = |found: &Compiled| found.policies == policies && (!found.templated || found.identity == identity);
        if let Some(found) = self.sets.get(&key).filter(current) {
            return Ok(found.acl);
        }
        let mut txn = barrier.begin();
        let parsed = parse_all(&mut txn, names)?;
        let templated = parsed.iter().any(|p| p.is_templated());
        let acl = Arc::new(Acl::compile(&parsed, entity));
        self.sets.insert(key, Compiled { policies, identity, templated, acl: Arc::clone(&acl) });
        Ok(acl)
    }
}

fn parse_all(txn: &mut Txn, names: &[String]) -> Result<Vec<Arc<Policy>>, TxnError> {
    let mut view = View::new(txn, POLICY_ROWS);
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        let Some(row) = view.get_json::<PolicyRow>(name)? else { continue };
        match Policy::parse(&row.name, &row.text) {
            Ok(parsed) => out.push(Arc::new(parsed)),
            // It was checked when it was written; a stricter newer parser must not open anything.
            Err(e) => tracing::error!(policy = name, error = %e, "a stored policy does not parse and gives nothing"),
        }
    }
    Ok(out)
}
