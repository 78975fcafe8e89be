//! Who asks, and may they? Everything here reads; nothing is served or written.

use std::sync::{Arc, OnceLock};

use api_types::{Operation, multi_error};
use barrier::Txn;
use engine::token_params::cidrs_allow;
use engine::{Call, Caller, EngineError, Fields, TokenType};
use policy::{Acl, Ask, Denial, DenialReason, Grant};
use quick_cache::sync::Cache;
use storage::View;
use tokens::{Found, TokenEntry};

use crate::answer::{Failure, FailureKind};
use crate::core::{Core, RequestSystem};
use crate::mounts::Mounted;
use crate::pipeline::{Scene, storage_failure};
use crate::sys::explain::{EXPLAIN_PATH, OWN_RIGHTS_PATH};

/// A caller whose token is good.
pub(crate) struct Known {
    pub(crate) found: Found,
    pub(crate) caller: Arc<Caller>,
    pub(crate) acl: Arc<Acl>,
    pub(crate) told: Arc<Told>,
}

/// What audit lines tell of a caller and would work out for every request anew.
#[derive(Default)]
pub(crate) struct Told {
    client_id: OnceLock<String>,
    pub(crate) hashes: audit::Kept,
}

impl Known {
    pub(crate) fn client_id(&self) -> &str {
        self.told.client_id.get_or_init(|| self.caller.client_id())
    }
}

/// What was worked out for a token, good for as long as its record, the policies and identity stay as they were.
#[derive(Clone)]
struct Worked {
    entry: Arc<TokenEntry>,
    policies: u64,
    identity: u64,
    caller: Arc<Caller>,
    acl: Arc<Acl>,
    told: Arc<Told>,
}

/// Callers kept; one is a few hundred bytes.
const CALLERS_COUNT: usize = 8192;

/// Callers by the key of their token.
pub(crate) struct Callers(Cache<String, Worked>);

impl Callers {
    pub(crate) fn new() -> Self {
        Self(Cache::new(CALLERS_COUNT))
    }
}

/// The caller of a request.
pub(crate) enum Who {
    /// No token.
    Nobody,
    /// A token that is not good: unknown, expired, from a foreign address, of a disabled entity.
    Bad(&'static str),
    /// A good token.
    Known(Box<Known>),
}

impl Who {
    pub(crate) fn known(&self) -> Option<&Known> {
        match self {
            Self::Known(k) => Some(k),
            _ => None,
        }
    }
}

/// The decision.
pub(crate) enum Decision {
    /// Allowed. `early` is a mistake found before the decision that is only told to those who may ask.
    /// `fields` are what the existence check has decoded of the request; empty without one.
    Allowed { operation: Operation, grant: Grant, early: Option<EngineError>, fields: Fields },
    /// Refused, with what the client reads.
    Refused(Denial, Failure),
}

const UNKNOWN_TOKEN: &str = "unknown or expired token";

impl Core {
    /// Finds the token, its entity and its access list.
    pub(crate) fn identify(&self, scene: &Scene<'_>, txn: &mut Txn) -> Result<Who, EngineError> {
        let request = scene.request;
        if request.token.is_empty() {
            return Ok(Who::Nobody);
        }
        let open = scene.open;
        let mut view = View::new(txn, "");
        let Some(found) = open.tokens.lookup(&mut view, request.token.expose(), scene.now)? else {
            return Ok(Who::Bad(UNKNOWN_TOKEN));
        };
        let entry = &found.entry;
        // A token that never expires may be used from anywhere, or an operator could lock everybody out.
        if !entry.ttl.is_zero() && !cidrs_allow(&entry.bound_cidrs, request.connection.remote_addr) {
            return Ok(Who::Bad("address is outside the token's networks"));
        }
        let (policies, identity) = open.policies.counts();
        // The decoded record is shared by all its readers, so the same pointer is the same version of the token.
        let current = |w: &Worked| w.policies == policies && w.identity == identity && Arc::ptr_eq(&w.entry, entry);
        if let Some(worked) = open.callers.0.get(&found.key).filter(current) {
            return Ok(Who::Known(Box::new(Known { found, caller: worked.caller, acl: worked.acl, told: worked.told })));
        }
        let (caller, acl) = match self.work_out(scene, &mut view, entry)? {
            Ok(pair) => pair,
            Err(why) => return Ok(Who::Bad(why)),
        };
        let told = Arc::<Told>::default();
        if !found.key.is_empty() {
            let worked = Worked {
                entry: Arc::clone(entry),
                policies,
                identity,
                caller: Arc::clone(&caller),
                acl: Arc::clone(&acl),
                told: Arc::clone(&told),
            };
            open.callers.0.insert(found.key.clone(), worked);
        }
        Ok(Who::Known(Box::new(Known { found, caller, acl, told })))
    }

    /// The entity, the policies and the access list of a token; the inner error says why it is not good.
    fn work_out(
        &self,
        scene: &Scene<'_>,
        view: &mut View<'_>,
        entry: &TokenEntry,
    ) -> Result<Result<(Arc<Caller>, Arc<Acl>), &'static str>, EngineError> {
        let profile = match entry.entity_id.as_str() {
            "" => None,
            id => match identity::profile(view, id)? {
                None => return Ok(Err("entity is gone")),
                found => found,
            },
        };
        if profile.as_ref().is_some_and(|p| p.disabled) {
            return Ok(Err("entity is disabled"));
        }
        let identity_policies = profile.as_ref().map(|p| p.policies.clone()).unwrap_or_default();
        let mut policies: Vec<String> = entry.policies.iter().chain(&identity_policies).cloned().collect();
        policies.sort_unstable();
        policies.dedup();
        let acl = scene.open.policies.acl(&scene.open.barrier, &policies, profile.as_ref().map(|p| &p.facts))?;
        let caller = Caller {
            accessor: entry.accessor.clone(),
            display_name: entry.display_name.clone(),
            is_root: acl.is_root(),
            policies,
            token_policies: entry.policies.clone(),
            identity_policies,
            entity_id: entry.entity_id.clone(),
            token_type: if entry.is_batch() { TokenType::Batch } else { TokenType::Service },
            cubbyhole_id: entry.cubbyhole_id.clone(),
            metadata: entry.meta.clone(),
            issued: entry.creation_time,
            // What root has on every path; others are asked per path.
            sudo: acl.is_root(),
            identity: Arc::new(profile.map(|p| p.facts).unwrap_or_default()),
        };
        Ok(Ok((Arc::new(caller), acl)))
    }

    /// Asks the policies. The existence check comes first, because it tells `create` from `update`.
    pub(crate) fn decide(
        &self,
        scene: &Scene<'_>,
        txn: &mut Txn,
        who: &Who,
        resolved: Option<&(Arc<Mounted>, &str)>,
    ) -> Result<Decision, Failure> {
        let known = match who {
            Who::Known(known) => known,
            Who::Nobody => {
                let denial = Denial { reason: DenialReason::Token("no token"), pattern: None };
                return Ok(Decision::Refused(denial, Failure::new(FailureKind::Denied, "permission denied")));
            }
            Who::Bad(why) => {
                let denial = Denial { reason: DenialReason::Token(why), pattern: None };
                let texts: &[&str] =
                    if *why == UNKNOWN_TOKEN { &["permission denied", "invalid token"] } else { &["permission denied"] };
                return Ok(Decision::Refused(denial, Failure::new(FailureKind::Denied, multi_error(texts))));
            }
        };
        let request = scene.request;
        let mut early = None;
        let mut fields = Fields::default();
        let mut operation = request.operation;
        if let (Operation::Update, Some((mounted, rest))) = (operation, resolved) {
            match self.exists(scene, txn, known, mounted, rest, &mut fields) {
                Ok(Some(false)) => operation = Operation::Create,
                Ok(_) => {}
                Err(e @ EngineError::Storage(_)) => return Err(storage_failure(&e)),
                Err(e) => early = Some(e),
            }
        }
        let needs_sudo = resolved.is_some_and(|(m, rest)| policy::paths::needs_sudo(&m.entry.mount_type, rest, operation));
        // A mount's own name is its root, and policies are written for the name with its slash.
        let root =
            resolved.filter(|(_, rest)| rest.is_empty() && !request.path.ends_with('/')).map(|_| format!("{}/", request.path));
        let ask = Ask {
            operation,
            path: root.as_deref().unwrap_or(&request.path),
            data: &request.data,
            wrap_ttl: request.wrap.as_ref().map(|w| w.ttl),
            needs_sudo,
        };
        let decided = known.acl.decide(&ask).or_else(|denial| explain_own(&known.acl, &ask, denial));
        Ok(match decided {
            Ok(grant) => Decision::Allowed { operation, grant, early, fields },
            Err(denial) => Decision::Refused(denial, Failure::new(FailureKind::Denied, multi_error(&["permission denied"]))),
        })
    }

    fn exists(
        &self,
        scene: &Scene<'_>,
        txn: &mut Txn,
        known: &Known,
        mounted: &Mounted,
        rest: &str,
        fields: &mut Fields,
    ) -> Result<Option<bool>, EngineError> {
        let system = RequestSystem(Arc::clone(&scene.router));
        let mut call = Call {
            request: scene.request,
            operation: scene.request.operation,
            path: rest,
            fields: Fields::default(),
            view: View::new(txn, &*mounted.prefix),
            mount: &mounted.facts,
            caller: &known.caller,
            now: scene.now,
            entropy: &*self.entropy,
            system: &system,
        };
        let exists = mounted.backend.exists(&mut call);
        *fields = call.fields;
        exists
    }
}

/// Who may read its own access list may have it explained: the default policy of every cluster allows the one and has no word of
/// the other. Such a grant never carries `sudo`, and a deny on the endpoint itself stands.
fn explain_own(acl: &Acl, ask: &Ask<'_>, denial: Denial) -> Result<Grant, Denial> {
    let own = ask.path == EXPLAIN_PATH && ask.operation == Operation::Update && denial.reason != DenialReason::ExplicitDeny;
    if !own {
        return Err(denial);
    }
    let rights = Ask { operation: Operation::Read, path: OWN_RIGHTS_PATH, ..*ask };
    acl.decide(&rights).map(Grant::without_sudo).map_err(|_| denial)
}
