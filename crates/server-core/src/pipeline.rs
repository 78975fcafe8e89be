//! The one way through: find the caller, decide, record, serve, commit, record, answer.
//!
//! A request is one transaction. Whatever it read is checked when its writes are applied; on a conflict it runs anew, from the
//! decision on, because the policies may have changed as well. The audit device sees it once.

use std::sync::Arc;
use std::time::Instant;

use api_types::Operation;
use audit::{Logged, Permit, SealedReply};
use barrier::Txn;
use engine::{EngineError, Fields, Request};
use policy::{Denial, DenialReason};
use storage::{TxnError, View};
use tokens::UseLeft;

use crate::answer::{Answer, Failure, FailureKind};
use crate::core::{CONFLICTS_MAX, CommitError, Core, OpenCore};
use crate::decide::{Decision, Known, Who};
use crate::mounts::{Mounted, Router};
use crate::records::{Asked, Headers};
use crate::series;

enum Attempt {
    Done(Logged<Answer>),
    Conflict,
}

/// The fixed facts of one attempt, so that helpers need not take ten arguments.
pub(crate) struct Scene<'a> {
    pub(crate) open: &'a OpenCore,
    /// With those headers only that its engine may see.
    pub(crate) request: &'a Request,
    /// All headers, for audit.
    pub(crate) headers: &'a Headers,
    pub(crate) router: Arc<Router>,
    pub(crate) now: secret::Time,
}

impl Core {
    /// Serves a request. What goes wrong is an answer as well; sealed, no leader and a failed audit hold nothing of the request.
    pub async fn handle(&self, mut request: Request) -> Logged<Answer> {
        let Some(open) = self.open() else {
            return self.unrecorded(Failure::sealed(), SealedReply::Sealed);
        };
        if let Err(failure) = self.caught_up().await {
            return self.unrecorded(failure, SealedReply::Standby);
        }
        let began = Instant::now();
        let place = self.in_flight.enter(&request, self.clock.now());
        let answer = self.serve(&open, &mut request).await;
        drop(place);
        if is_login(&request.path) { &self.timers.login } else { &self.timers.request }.took(began);
        answer.unwrap_or_else(|failure| self.unrecorded(failure, SealedReply::AuditFailed))
    }

    /// An answer that audit does not see, for one of the reasons in its table.
    pub fn unrecorded(&self, failure: Failure, why: SealedReply) -> Logged<Answer> {
        self.audit.unauditable(Answer::Failure(failure), why)
    }

    async fn serve(&self, open: &OpenCore, request: &mut Request) -> Result<Logged<Answer>, Failure> {
        crate::sys::audit::follow_table(self, open).await.map_err(|e| storage_failure(&e))?;
        if request.operation.is_listing() && !request.path.ends_with('/') {
            request.path.push('/');
        }
        crate::sys::wrapping::resolve(open, request).map_err(|e| storage_failure(&e))?;
        let headers = self.withhold_headers(open, request).map_err(|e| storage_failure(&e.into()))?;
        let mut permit = None;
        for _ in 0..CONFLICTS_MAX {
            match self.attempt(open, request, &headers, &mut permit).await? {
                Attempt::Done(logged) => return Ok(logged),
                Attempt::Conflict => {
                    metrics::counter!(series::CONFLICTS).increment(1);
                    // On a standby that was far behind, until the snapshot it is given is all there.
                    if open.barrier.is_being_replaced() {
                        self.caught_up().await?;
                    }
                }
            }
        }
        tracing::warn!(path_mount = request.path.split('/').next(), "a request was given up after too many conflicts");
        Err(Failure::new(FailureKind::Unavailable, "overloaded, try again later"))
    }

    /// Takes the request's headers away and leaves those that its mount lets through (`passthrough_request_headers`): an engine
    /// has no use for the others, and what it never sees it cannot give away.
    fn withhold_headers(&self, open: &OpenCore, request: &mut Request) -> Result<Headers, TxnError> {
        let all = std::mem::take(&mut request.headers);
        if let Some((mounted, _)) = open.router(&self.config)?.resolve(&request.path) {
            let passing = mounted.entry.config.passthrough_request_headers.iter().flatten().map(|name| name.to_lowercase());
            request.headers = passing.filter_map(|name| all.get_key_value(&name)).map(|(n, v)| (n.clone(), v.clone())).collect();
        }
        Ok(all)
    }

    async fn attempt(
        &self,
        open: &OpenCore,
        request: &Request,
        headers: &Headers,
        permit: &mut Option<Permit>,
    ) -> Result<Attempt, Failure> {
        let mut txn = open.barrier.begin();
        let router = open.router(&self.config).map_err(|e| storage_failure(&e.into()))?;
        let scene = Scene { open, request, headers, router, now: self.clock.now() };
        let who = self.identify(&scene, &mut txn).map_err(|e| storage_failure(&e))?;
        let resolved = scene.router.resolve(&request.path).map(|(m, rest)| (Arc::clone(m), rest));
        let mounted = resolved.as_ref().map(|(m, _)| &**m);
        if request.operation.is_write() && request.path.ends_with('/') && !mounted.is_some_and(trims_slash) {
            // Refused before anybody is asked, like bytes that are no request: nothing of it can have an effect.
            let failure = Failure::new(FailureKind::Invalid, "cannot write to a path ending in '/'");
            return Ok(Attempt::Done(self.unrecorded(failure, SealedReply::NotARequest)));
        }
        if let Some(failure) = crate::sys::wrapping::refused(&scene, &mut txn).map_err(|e| storage_failure(&e))? {
            let denial = Denial { reason: DenialReason::Token("wrapping token is not valid"), pattern: None };
            return self.refuse(&scene, txn, mounted, &who, &denial, failure).await;
        }
        let open_grant =
            resolved.as_ref().and_then(|(m, rest)| policy::paths::open(&m.entry.mount_type, rest, request.operation));
        let decision = match open_grant {
            Some(grant) => Decision::Allowed { operation: request.operation, grant, early: None, fields: Fields::default() },
            None => self.decide(&scene, &mut txn, &who, resolved.as_ref())?,
        };
        let (operation, grant, early, fields) = match decision {
            Decision::Allowed { operation, grant, early, fields } => (operation, grant, early, fields),
            Decision::Refused(denial, failure) => {
                return self.refuse(&scene, txn, mounted, &who, &denial, failure).await;
            }
        };
        let is_open = grant.kind() == policy::GrantKind::Open;
        let known = who.known();
        let audited = open.audited_headers().map_err(|e| storage_failure(&e.into()))?;
        let asked = Asked { request, headers, operation, mounted, known, now: scene.now, audited: &audited };
        let held = match permit.take() {
            // Nothing of such a read can be seen before its answer, so its entry is written with the answer's.
            None if is_quiet(operation, mounted) => self.audit.promise(grant),
            earlier => self.permit(earlier, grant, &asked).await?,
        };
        // Only a token that authorised the request spends a use; open paths ignore it.
        let spender = known.filter(|_| !is_open);
        let left = spender.map_or(Ok(UseLeft::Unlimited), |k| spend(open, &mut txn, k));
        let outcome = match (left, early, resolved.as_ref()) {
            (Err(e), ..) | (_, Some(e), _) => Err(e),
            (Ok(left), None, Some((m, rest))) => {
                let served = Served { operation, mounted: m, rest, known, is_open, last_use: matches!(left, UseLeft::Last) };
                self.run(&scene, &mut txn, &held, &served, fields).await
            }
            (Ok(_), None, None) => Err(EngineError::UnsupportedPath),
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(e) => {
                // The request failed: what it wrote is dropped, but a spent use stays spent.
                txn.discard_writes();
                if let Some(k) = spender
                    && let Err(e) = spend_finally(open, &mut txn, k, scene.now)
                {
                    self.redeem(held, &asked).await?;
                    return Err(storage_failure(&e));
                }
                Answer::Failure(match resolved {
                    Some(_) => self.failure_of(&e, request, spender.is_some()),
                    None => no_handler(&request.path),
                })
            }
        };
        let held = if txn.has_writes() { self.redeem(held, &asked).await? } else { held };
        match self.settle(txn, mounted).await {
            Ok(true) => Ok(Attempt::Done(self.record(&held, &asked, answer).await?)),
            Ok(false) => {
                // It may yet be given up without an answer of its own.
                *permit = Some(self.redeem(held, &asked).await?);
                Ok(Attempt::Conflict)
            }
            Err(failure) => {
                self.redeem(held, &asked).await?;
                Err(failure)
            }
        }
    }

    /// Records the request; once, however often its transaction runs.
    async fn permit(&self, earlier: Option<Permit>, grant: policy::Grant, asked: &Asked<'_>) -> Result<Permit, Failure> {
        if let Some(earlier) = earlier {
            return Ok(self.audit.repeat(earlier, grant));
        }
        let recorded = grant.clone();
        let began = Instant::now();
        let permit = self.audit.permit(grant, || asked.request_record(Some(&recorded), None)).await;
        self.audit_took(&self.timers.audit_request, began);
        permit.map_err(|e| audit_failed(&e, series::AUDIT_REQUEST_FAILURE))
    }

    /// Records a request whose entry is owed: it is about to have an effect, or to fail without an answer of its own.
    async fn redeem(&self, held: Permit, asked: &Asked<'_>) -> Result<Permit, Failure> {
        if !held.is_owed() {
            return Ok(held);
        }
        let recorded = held.grant().clone();
        let began = Instant::now();
        let permit = self.audit.redeem(held, || asked.request_record(Some(&recorded), None)).await;
        self.audit_took(&self.timers.audit_request, began);
        permit.map_err(|e| audit_failed(&e, series::AUDIT_REQUEST_FAILURE))
    }

    /// Records the answer.
    async fn record(&self, held: &Permit, asked: &Asked<'_>, answer: Answer) -> Result<Logged<Answer>, Failure> {
        let began = Instant::now();
        let recording = self.audit.recording(held, || asked.response_record(held.grant(), &answer));
        let logged = recording.logged(answer).await;
        if held.is_owed() {
            self.audit_took(&self.timers.audit_request, began);
        }
        self.audit_took(&self.timers.audit_response, began);
        logged.map_err(|e| audit_failed(&e, series::AUDIT_RESPONSE_FAILURE))
    }

    /// Commits what was written; checks that what was only read was of one instant. `false`: run anew.
    ///
    /// The router is no part of what a transaction reads, so before a commit the mount's row is: a request that was under way
    /// while its mount was disabled or moved must not write into what is being cleared away.
    async fn settle(&self, mut txn: Txn, mounted: Option<&Mounted>) -> Result<bool, Failure> {
        if !txn.has_writes() {
            return txn.is_consistent().map_err(|e| storage_failure(&e.into()));
        }
        if let Some(mounted) = mounted.filter(|m| !m.entry.is_builtin()) {
            let row = View::new(&mut txn, "").get(&mounted.entry.row()).map_err(|e| storage_failure(&e.into()))?;
            if row.is_none() {
                return Ok(false);
            }
        }
        // On the heap, so that requests that write nothing do not carry its future about.
        Box::pin(self.commit(txn)).await.map_err(|e| commit_failure(&e))
    }

    /// Records a refusal and answers it. A limited token has spent a use all the same.
    async fn refuse(
        &self,
        scene: &Scene<'_>,
        mut txn: Txn,
        mounted: Option<&Mounted>,
        who: &Who,
        denial: &Denial,
        failure: Failure,
    ) -> Result<Attempt, Failure> {
        if let Who::Known(k) = who {
            txn.discard_writes();
            spend_finally(scene.open, &mut txn, k, scene.now).map_err(|e| storage_failure(&e))?;
            if txn.has_writes() && !self.settle(txn, None).await? {
                return Ok(Attempt::Conflict);
            }
        }
        let audited = scene.open.audited_headers().map_err(|e| storage_failure(&e.into()))?;
        let asked = Asked {
            request: scene.request,
            headers: scene.headers,
            operation: scene.request.operation,
            mounted,
            known: who.known(),
            now: scene.now,
            audited: &audited,
        };
        let text = failure.errors.first().cloned();
        let began = Instant::now();
        let logged = self.audit.refuse(denial, || asked.request_record(None, text.as_deref()), Answer::Failure(failure)).await;
        self.audit_took(&self.timers.audit_request, began);
        Ok(Attempt::Done(logged.map_err(|e| audit_failed(&e, series::AUDIT_REQUEST_FAILURE))?))
    }

    /// Without a device nothing was written, and nothing is measured.
    fn audit_took(&self, timer: &series::Timer, began: Instant) {
        if self.audit.has_devices() {
            timer.took(began);
        }
    }

    fn failure_of(&self, error: &EngineError, request: &Request, framed: bool) -> Failure {
        if let EngineError::Storage(e) = error {
            tracing::error!(request_id = request.id, error = %e, "storage failed during a request");
        }
        Failure::from_engine(error, framed)
    }
}

/// What the route, the caller and the decision come to, for the part that serves.
#[derive(Clone, Copy)]
pub(crate) struct Served<'a> {
    pub(crate) operation: Operation,
    pub(crate) mounted: &'a Mounted,
    pub(crate) rest: &'a str,
    pub(crate) known: Option<&'a Known>,
    pub(crate) is_open: bool,
    pub(crate) last_use: bool,
}

/// Logins have a series of their own: `auth/<mount>/login…`.
fn is_login(path: &str) -> bool {
    path.starts_with("auth/") && path.split('/').any(|segment| segment == "login")
}

/// Whether the operation has no effect before its answer, whatever comes of it.
fn is_quiet(operation: Operation, mounted: Option<&Mounted>) -> bool {
    matches!(operation, Operation::Read | Operation::List) && mounted.is_some_and(|m| m.reads_quietly)
}

fn trims_slash(mounted: &Mounted) -> bool {
    mounted.entry.config.trim_request_trailing_slashes == Some(true)
}

fn spend(open: &OpenCore, txn: &mut Txn, known: &Known) -> Result<UseLeft, EngineError> {
    open.tokens.spend_use(&mut View::new(txn, ""), &known.found)
}

/// Spends a use of a request that came to nothing; the last one ends the token.
fn spend_finally(open: &OpenCore, txn: &mut Txn, known: &Known, now: secret::Time) -> Result<(), EngineError> {
    if matches!(spend(open, txn, known)?, UseLeft::Last) {
        crate::finish::end_token(open, txn, &known.found.key, now)?;
    }
    Ok(())
}

fn no_handler(path: &str) -> Failure {
    Failure::new(FailureKind::NotFound, format!("no handler for route {path:?}. route entry not found."))
}

pub(crate) fn storage_failure(error: &EngineError) -> Failure {
    tracing::error!(error = %error, "storage failed");
    Failure::from_engine(error, false)
}

fn audit_failed(error: &audit::AuditError, series: &'static str) -> Failure {
    metrics::counter!(series).increment(1);
    tracing::error!(error = %error, "no audit device took the entry; the request is refused");
    Failure::internal()
}

/// It does not say that nothing was written: a change that was under way when the disk filled up is written when there is room.
pub(crate) const STORAGE_FULL: &str = "the storage is full: changes are accepted again when there is room";

/// The leader was lost at the worst moment. Who sent the request has to look; it is not sent again behind his back.
pub(crate) const UNKNOWN_FATE: &str =
    "the leader was lost before it was known whether the change was made: look before you repeat it";

pub(crate) fn commit_failure(error: &CommitError) -> Failure {
    use replication::ProposeError as P;
    match error {
        CommitError::Propose(P::NotLeader { .. }) => Failure::new(FailureKind::Unavailable, crate::standby::NO_LEADER),
        CommitError::Propose(P::TooLarge { .. }) => Failure::new(FailureKind::TooLarge, error.to_string()),
        CommitError::Propose(P::Full(_)) => Failure::new(FailureKind::Unavailable, STORAGE_FULL),
        CommitError::Propose(P::Unknown) => Failure::new(FailureKind::Unavailable, UNKNOWN_FATE),
        CommitError::Contended => Failure::new(FailureKind::Unavailable, "overloaded, try again later"),
        CommitError::Work(e) => Failure::from_engine(e, true),
        CommitError::Propose(_) | CommitError::Barrier(_) => {
            tracing::error!(error = %error, "a change could not be committed");
            Failure::internal()
        }
    }
}
