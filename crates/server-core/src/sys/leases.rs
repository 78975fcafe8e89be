//! `sys/leases/*` and its older aliases (contract §7.1).
//!
//! Secrets are undone by their engines outside the request's transaction, each in one of its own. Tokens that the caller
//! itself hangs on are revoked inside it, so that the request can still be answered.
//!
//! Deliberately absent: work for `tidy`. A lease and its place in the index are written together, so nothing is ever left over.

use std::collections::{BTreeMap, BTreeSet};

use api_types::Operation;
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Fields, Kind, LeasedSecret, Outcome, Response, Route};
use futures::future::join_all;
use serde_json::{Value, json};
use storage::{Page, View};
use tokens::{DueItem, Extension, Held, Leases};

use super::SystemEngine;
use super::support::{as_invalid, uncommitted};
use crate::core::{Core, OpenCore};
use crate::expiry::revoke_lease;
use crate::finish::{REVOKE_STEPS, not_renewed};

/// Leases taken from the index in one go by a revocation of a prefix.
const ROUND: usize = 256;
/// Secrets of one prefix undone at the same time, as many as the expiry worker does.
const REVOKING_MAX: usize = 16;
/// Irrevocable leases shown unless the client asks for another number (Vault's bound).
const SHOWN_MAX: usize = 10_000;

const LEASE_ID: Field = Field::new("lease_id", FieldKind::String, "The lease.");
const URL_LEASE_ID: Field = Field::new("url_lease_id", FieldKind::String, "The lease, in the path.");
const SYNC: Field = Field::new("sync", FieldKind::Bool, "Whether to wait for the revocation; true by default.");
const PREFIX: Field = Field::new("prefix", FieldKind::String, "Leases below this path.");

const RENEW: &[Field] =
    &[LEASE_ID, URL_LEASE_ID, Field::new("increment", FieldKind::DurationSecond, "Wished life from now, in seconds.")];
const REVOKE: &[Field] = &[LEASE_ID, URL_LEASE_ID, SYNC];
const BELOW: &[Field] = &[PREFIX, SYNC];
const FORCE: &[Field] = &[PREFIX];
const LIST: &[Field] = &[
    PREFIX,
    Field::new("after", FieldKind::String, "Names after this one."),
    Field::new("limit", FieldKind::Int, "At most so many names."),
];
const OF_TYPE: &[Field] = &[
    Field::new("type", FieldKind::String, "irrevocable."),
    Field::new("include_child_namespaces", FieldKind::Bool, "Accepted; there are no namespaces."),
    Field::new("limit", FieldKind::String, "At most so many leases, or none."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    let mut out = vec![
        Route::new("leases", OF_TYPE, "Lists leases that were given up on.").on(Operation::Read, "List them.", irrevocable),
        Route::new("leases/count", OF_TYPE, "Counts leases that were given up on.").on(Operation::Read, "Count them.", count),
        Route::new("leases/tidy", &[], "Removes leases that belong to nothing.").on(Operation::Update, "Start tidying.", tidy),
        Route::new("leases/lookup/{prefix...}", LIST, "Lists leases below a path.").on(Operation::List, "List leases.", list),
        Route::new("leases/lookup/?", &[LEASE_ID], "Shows a lease.").on(Operation::Update, "Show a lease.", lookup).on(
            Operation::List,
            "List the first level.",
            list,
        ),
    ];
    for pattern in ["leases/renew", "leases/renew/{url_lease_id...}", "renew", "renew/{url_lease_id...}"] {
        out.push(Route::new(pattern, RENEW, "Renews a lease.").on_async(Operation::Update, "Renew.", renew));
    }
    for pattern in ["leases/revoke-prefix/{prefix...}", "revoke-prefix/{prefix...}"] {
        let synopsis = "Revokes leases below a path.";
        out.push(Route::new(pattern, BELOW, synopsis).on_async(Operation::Update, "Revoke.", revoke_prefix));
    }
    for pattern in ["leases/revoke-force/{prefix...}", "revoke-force/{prefix...}"] {
        let synopsis = "Revokes leases below a path whether or not their engines agree.";
        out.push(Route::new(pattern, FORCE, synopsis).on_async(Operation::Update, "Forget.", revoke_force));
    }
    for pattern in ["leases/revoke", "leases/revoke/{url_lease_id...}", "revoke", "revoke/{url_lease_id...}"] {
        out.push(Route::new(pattern, REVOKE, "Revokes a lease.").on_async(Operation::Update, "Revoke.", revoke));
    }
    out
}

/// The lease the client means: the body's, else the path's.
fn lease_id(fields: &Fields) -> Result<String, EngineError> {
    [fields.str("lease_id"), fields.str("url_lease_id")]
        .into_iter()
        .find(|id| !id.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| EngineError::invalid("lease_id must be specified"))
}

fn lookup(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let id = lease_id(&call.fields)?;
    Ok(Some(Response::data(Leases::show(&mut call.view, &id, call.now)?)))
}

fn list(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let limit = call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let page = Page { after: call.fields.text("after").map(str::to_owned), limit };
    Ok(Some(Response::list(Leases::list(&mut call.view, call.fields.str("prefix"), &page)?)))
}

fn asks_for_irrevocable(call: &Call<'_>) -> bool {
    call.fields.str("type").eq_ignore_ascii_case("irrevocable")
}

fn irrevocable(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    if !asks_for_irrevocable(call) {
        return Ok(None);
    }
    let limit = match call.fields.str("limit") {
        "" => SHOWN_MAX,
        none if none.eq_ignore_ascii_case("none") => usize::MAX,
        text => match text.parse::<usize>() {
            Ok(0) => return Err(EngineError::Rejected("limit must be 'none' or a positive integer".into())),
            Ok(n) => n,
            Err(_) if text.parse::<i64>().is_ok() => {
                return Err(EngineError::Rejected("limit must be 'none' or a positive integer".into()));
            }
            Err(e) => return Err(EngineError::Rejected(format!("invalid 'limit' provided: {e}"))),
        },
    };
    let mut found = Leases::irrevocable(&mut call.view, limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let leases: Vec<Value> = found
        .iter()
        .map(|(id, lease)| json!({ "lease_id": id, "mount_id": lease.mount_accessor, "error": lease.irrevocable }))
        .collect();
    let response = Response::json(json!({ "lease_count": leases.len(), "leases": leases }));
    Ok(Some(if more { response.with_warning("there are more leases than were asked for") } else { response }))
}

fn count(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    if !asks_for_irrevocable(call) {
        return Ok(None);
    }
    let found = Leases::irrevocable(&mut call.view, usize::MAX)?;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, lease) in &found {
        *counts.entry(&lease.mount_accessor).or_default() += 1;
    }
    Ok(Some(Response::json(json!({ "lease_count": found.len(), "counts": counts }))))
}

fn tidy(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let text = "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.";
    Ok(Some(Response { kind: Kind::Accepted, ..Response::warning(text) }))
}

/// Asks the engine first, then gives the lease more time, all in the request's transaction.
fn renew<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let id = lease_id(&call.fields)?;
        let increment = call.fields.duration("increment").unwrap_or_default();
        let lease = Leases::renewable(&mut call.view, &id, call.now)?;
        let (_, router) = engine.routed()?;
        let Some(mounted) = router.by_accessor(&lease.mount_accessor) else {
            return Err(EngineError::invalid("failed to renew entry: the engine of this lease is not mounted"));
        };
        let mut inner = call.within(Operation::Renew, &mounted.facts, &mounted.entry.data_prefix());
        let answer = mounted.backend.renew_secret(&mut inner, &lease.internal).await.map_err(|e| as_invalid(not_renewed(e)))?;
        let mut response = answer.unwrap_or_default();
        let wish = response.secret.as_deref().map_or_else(Extension::default, |s| Extension {
            ttl: s.ttl,
            max_ttl: s.max_ttl,
            ..Extension::default()
        });
        let wish = Extension { increment, ..wish };
        let (ttl, warnings) = Leases::extend(&mut call.view, &id, &wish, &mounted.facts, call.now).map_err(as_invalid)?;
        response.warnings.extend(warnings);
        response.secret = Some(Box::new(LeasedSecret { lease_id: id, ttl, renewable: true, ..LeasedSecret::default() }));
        Ok(Some(response))
    })
}

fn revoke<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let id = lease_id(&call.fields)?;
        let sync = call.fields.bool("sync").unwrap_or(true);
        let (core, open) = engine.opened()?;
        // Looked up outside the request's transaction: what is revoked below would be a conflict with it.
        let held = Leases::lookup(&mut View::new(&mut open.barrier.begin(), ""), &id)?;
        match held {
            Some(Held::Token(found)) => {
                open.tokens.revoke_tree(&mut call.view, &found.key, call.now, REVOKE_STEPS)?;
            }
            Some(Held::Secret(_)) if sync => revoke_lease(&core, &open, &id).await.map_err(as_invalid)?,
            Some(Held::Secret(_)) => {
                Leases::make_due(&mut call.view, &id, call.now)?;
            }
            None => {}
        }
        Ok(done(sync))
    })
}

fn revoke_prefix<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    let sync = call.fields.bool("sync").unwrap_or(true);
    Box::pin(below(engine, call, if sync { Mode::Wait } else { Mode::Queue }))
}

fn revoke_force<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(below(engine, call, Mode::Force))
}

/// 204 when it is done, 202 when it goes on in the background.
fn done(sync: bool) -> Option<Response> {
    (!sync).then(|| Response { kind: Kind::Accepted, ..Response::default() })
}

/// What becomes of a secret whose engine does not undo it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The request fails.
    Wait,
    /// The lease is forgotten.
    Force,
    /// Nobody waits: leases are due now and the expiry worker goes on.
    Queue,
}

async fn below(engine: &SystemEngine, call: &mut Call<'_>, mode: Mode) -> Outcome {
    let (core, open) = engine.opened()?;
    let prefix = call.fields.str("prefix").to_owned();
    let own = lineage(&open, call)?;
    let mut later = BTreeSet::new();
    let mut last = Vec::new();
    loop {
        // Without waiting, secrets stay where they are, so all are taken in one round.
        let limit = if mode == Mode::Queue { usize::MAX } else { ROUND + later.len() };
        let found = Leases::below(&mut View::new(&mut open.barrier.begin(), ""), &prefix, limit)?;
        // A round that finds what the last one found has come as far as it can.
        if found.is_empty() || found == last {
            break;
        }
        last.clone_from(&found);
        let (mut leases, mut tokens) = (Vec::new(), Vec::new());
        for item in found {
            match item {
                DueItem::Token(key) if own.contains(&key) => drop(later.insert(key)),
                DueItem::Token(key) => tokens.push(key),
                DueItem::Lease(id) => leases.push(id),
            }
        }
        for key in &tokens {
            end(&core, &open, key).await?;
        }
        undo(&core, &open, &leases, mode).await?;
        if mode == Mode::Queue {
            break;
        }
    }
    for key in &later {
        open.tokens.revoke_tree(&mut call.view, key, call.now, REVOKE_STEPS)?;
    }
    Ok(done(mode != Mode::Queue))
}

/// The caller's token and those it hangs on: revoked in the request's own transaction, or its answer would be a denial.
fn lineage(open: &OpenCore, call: &Call<'_>) -> Result<BTreeSet<String>, EngineError> {
    let mut out = BTreeSet::new();
    let mut txn = open.barrier.begin();
    let mut view = View::new(&mut txn, "");
    let mut key = call.caller.accessor.clone();
    while !key.is_empty() && !out.contains(&key) {
        let parent = open.tokens.lookup_accessor(&mut view, &key, call.now)?.map(|f| f.entry.parent.clone());
        out.insert(key);
        key = parent.unwrap_or_default();
    }
    Ok(out)
}

/// Ends a token and all below it.
async fn end(core: &Core, open: &OpenCore, key: &str) -> Result<(), EngineError> {
    let mut rest = vec![key.to_owned()];
    while let Some(key) = rest.pop() {
        let now = core.clock.now();
        let revoked =
            core.transact(open, |view| open.tokens.revoke_tree(view, &key, now, REVOKE_STEPS)).await.map_err(uncommitted)?;
        rest.extend(revoked.rest);
    }
    Ok(())
}

async fn undo(core: &Core, open: &OpenCore, leases: &[String], mode: Mode) -> Result<(), EngineError> {
    if mode == Mode::Queue {
        for some in leases.chunks(ROUND) {
            let now = core.clock.now();
            let make_due = |view: &mut View<'_>| some.iter().try_for_each(|id| Leases::make_due(view, id, now).map(drop));
            core.transact(open, make_due).await.map_err(uncommitted)?;
        }
        return Ok(());
    }
    for some in leases.chunks(REVOKING_MAX) {
        let outcomes = join_all(some.iter().map(|id| revoke_lease(core, open, id))).await;
        for (id, outcome) in some.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {}
                Err(e) if mode == Mode::Force => {
                    tracing::warn!(error = %e, "a lease was forgotten although its secret could not be undone");
                    core.transact(open, |view| Leases::remove(view, id)).await.map_err(uncommitted)?;
                }
                Err(e) => return Err(as_invalid(e)),
            }
        }
    }
    Ok(())
}
