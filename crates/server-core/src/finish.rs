//! Serving and finishing: the engine's answer becomes a token, a lease, or a wrapped answer, in the same transaction.

use std::sync::{Arc, Weak};
use std::time::Duration;

use api_types::Operation;
use audit::Permit;
use barrier::Txn;
use engine::{Alias, Auth, Call, EngineError, Fields, Kind, Mount, Response};
use secret::Time;
use storage::View;
use tokens::{Issue, Leases, Neighbours, NewLease, Origin, RoleLimits, TokenEntry, Wrap};

use crate::answer::Answer;
use crate::core::{Core, OpenCore, RequestSystem};
use crate::envelope::render;
use crate::pipeline::{Scene, Served};

/// Headers that bodies without envelope may set, in lower case (discovery documents and OAuth answers).
const BARE_HEADERS: [&str; 3] = ["cache-control", "pragma", "www-authenticate"];

/// Tokens revoked inside one request's transaction; what is left over is due and the expiry worker goes on with it.
pub(crate) const REVOKE_STEPS: usize = 512;

/// Ends a token now, with what hangs on it.
pub(crate) fn end_token(open: &OpenCore, txn: &mut Txn, key: &str, now: Time) -> Result<(), EngineError> {
    open.tokens.revoke_tree(&mut View::new(txn, ""), key, now, REVOKE_STEPS).map(|_| ())
}

impl Core {
    /// Calls the engine and finishes its answer.
    pub(crate) async fn run(
        &self,
        scene: &Scene<'_>,
        txn: &mut Txn,
        permit: &Permit,
        served: &Served<'_>,
        fields: Fields,
    ) -> Result<Answer, EngineError> {
        if served.operation == Operation::Help {
            return help(served);
        }
        check_names(served)?;
        let response = match served.operation {
            Operation::Scan => self.scan(scene, txn, permit, served).await?,
            _ => self.call_engine(scene, txn, permit, served, fields).await?,
        };
        let mut response = response.unwrap_or_default();
        if served.operation == Operation::List {
            response = crate::listing::permitted(scene.request, served, response);
        }
        self.count_leases(scene, served, &response).await?;
        let mut view = View::new(txn, "");
        if let Some(auth) = response.auth.as_deref_mut().filter(|a| a.client_token.is_empty() && a.accessor.is_empty()) {
            let warnings = self.log_in(scene, &mut view, served, auth)?;
            response.warnings.extend(warnings);
        }
        if let Some(secret) = response.secret.as_deref_mut().filter(|s| s.register) {
            if served.last_use {
                return Err(EngineError::invalid(
                    "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
                ));
            }
            let lease = NewLease {
                path: &scene.request.path,
                mount: &served.mounted.facts,
                owner: served.known.map(|k| &k.found),
                now: scene.now,
                entropy: &*self.entropy,
            };
            let warnings = Leases::register(&mut view, secret, &lease)?;
            response.warnings.extend(warnings);
        }
        if let (true, Some(known)) = (served.last_use, served.known) {
            scene.open.tokens.revoke_tree(&mut view, &known.found.key, scene.now, REVOKE_STEPS)?;
        }
        self.shape(scene, &mut view, served, response)
    }

    /// Refuses an answer that would come with one lease too many. What an engine has made outside is undone at once: nothing would
    /// end it later.
    async fn count_leases(&self, scene: &Scene<'_>, served: &Served<'_>, response: &Response) -> Result<(), EngineError> {
        let secret = response.secret.as_deref().filter(|s| s.register);
        let is_login = response.auth.as_deref().is_some_and(|a| a.client_token.is_empty() && a.accessor.is_empty());
        // A root token may always be made, or nobody could get in and clear up.
        let is_new_token = served.mounted.entry.mount_type == "token"
            && served.rest.starts_with("create")
            && response.auth.as_deref().is_some_and(|a| !a.token_policies.iter().any(|p| p == "root"));
        if secret.is_none() && !is_login && !is_new_token {
            return Ok(());
        }
        let Some(open) = self.open() else { return Err(EngineError::Storage(storage::TxnError::Sealed)) };
        if !self.lease_refused(&open, &served.mounted.entry.uuid, served.rest).await? {
            return Ok(());
        }
        if let Some(secret) = secret {
            let undone = crate::expiry::revoke_secret(self, &open, &served.mounted.entry.accessor, &secret.internal).await;
            if let Err(e) = undone {
                tracing::error!(error = %e, mount = served.mounted.entry.accessor, "a secret over its quota could not be undone");
            }
        }
        Err(EngineError::Limited(format!("request path {:?}: lease count quota exceeded", scene.request.path)))
    }

    pub(crate) async fn call_engine(
        &self,
        scene: &Scene<'_>,
        txn: &mut Txn,
        permit: &Permit,
        served: &Served<'_>,
        fields: Fields,
    ) -> Result<Option<Response>, EngineError> {
        let mut caller = served.known.map(|k| Arc::clone(&k.caller)).unwrap_or_default();
        if caller.sudo != permit.grant().sudo() {
            Arc::make_mut(&mut caller).sudo = permit.grant().sudo();
        }
        let system = RequestSystem(Arc::clone(&scene.router));
        let mut call = Call {
            request: scene.request,
            operation: served.operation,
            path: served.rest,
            fields,
            view: View::new(txn, &*served.mounted.prefix),
            mount: &served.mounted.facts,
            caller: &caller,
            now: scene.now,
            entropy: &*self.entropy,
            system: &system,
        };
        served.mounted.backend.handle(permit, &mut call).await
    }

    /// A login: the entity behind the alias, then the token.
    fn log_in(
        &self,
        scene: &Scene<'_>,
        view: &mut View<'_>,
        served: &Served<'_>,
        auth: &mut Auth,
    ) -> Result<Vec<String>, EngineError> {
        let mount = &served.mounted.facts;
        if let Some(alias) = auth.alias.clone() {
            let login = identity::login(view, mount, &alias, &auth.group_aliases, scene.now, &*self.entropy)?;
            auth.entity_id = login.entity_id;
            auth.entity_created = login.created;
            auth.identity_policies = login.profile.policies;
        }
        let issue = Issue {
            origin: Origin::Login,
            path: &scene.request.path,
            mount,
            parent: None,
            role: RoleLimits::default(),
            custom_id: None,
            now: scene.now,
            entropy: &*self.entropy,
        };
        scene.open.tokens.issue(view, auth, &issue)
    }

    /// Wraps if asked to, else puts the response into its answer.
    fn shape(
        &self,
        scene: &Scene<'_>,
        view: &mut View<'_>,
        served: &Served<'_>,
        mut response: Response,
    ) -> Result<Answer, EngineError> {
        let request = scene.request;
        let allowed = served.mounted.entry.config.allowed_response_headers.as_deref().unwrap_or_default();
        // A body without envelope has its protocol's own headers, and no others.
        let of_protocol = |name: &str| matches!(response.kind, Kind::Bare { .. }) && BARE_HEADERS.contains(&name);
        response.headers.retain(|name, _| of_protocol(name) || allowed.iter().any(|a| a.eq_ignore_ascii_case(name)));
        let is_list = served.operation.is_listing();
        // Vault answers these three as raw replies, and open paths as logins; neither tells the mount's type.
        let untold = served.is_open || matches!(response.kind, Kind::NotFoundEnvelope | Kind::Accepted);
        let mount_type = if untold { String::new() } else { served.mounted.entry.mount_type.clone() };
        let asked = request.wrap.as_ref().map(|w| w.ttl);
        let ttl: Option<Duration> = match (asked, response.wrap_ttl) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let wrappable = matches!(response.kind, Kind::Envelope) && !is_empty(&response, is_list);
        let Some(ttl) = ttl.filter(|t| !t.is_zero() && wrappable) else {
            return Ok(Answer::Response {
                request_id: request.id.clone(),
                mount_type,
                is_list,
                is_read: served.operation == Operation::Read,
                inject: crate::sys::injects(&request.path),
                response: Box::new(response),
            });
        };
        let mut creation_path = request.path.clone();
        let payload = if let Some(kept) = crate::sys::wrapping::kept_answer(&request.path, &response) {
            // A new token for the same answer: neither its text nor where it comes from changes.
            creation_path = kept.creation_path;
            kept.payload.expose().as_bytes().to_vec()
        } else if request.path == "sys/wrapping/wrap" {
            // What is wrapped is what the client sent, not an answer about it.
            render(&Response { data: Some(request.data.clone().into()), ..Response::default() }, &request.id, &mount_type, false)
        } else {
            render(&response, &request.id, &mount_type, crate::sys::injects(&request.path))
        };
        let payload = String::from_utf8(payload).map_err(|_| EngineError::internal("internal error"))?;
        let wrap = Wrap {
            ttl,
            creation_path: &creation_path,
            payload: &payload,
            wrapped_accessor: &wrapped_accessor(&response, &mount_type),
            now: scene.now,
            entropy: &*self.entropy,
        };
        let mut info = scene.open.tokens.wrapping(view, &wrap)?;
        let format = request.wrap.as_ref().and_then(|w| w.format.as_deref());
        // What a client made up is never signed, or a signature would prove nothing.
        if format == Some("jwt") && request.path != "sys/wrapping/wrap" {
            info.token = crate::sys::wrapping_jwt::sign(view, &info, &self.config.api_addr)?;
        }
        Ok(Answer::Wrapped(Box::new(info)))
    }
}

/// The accessor that tells what was wrapped without opening it: a login's token's, or that of a secret id of `approle`.
fn wrapped_accessor(response: &Response, mount_type: &str) -> String {
    match &response.auth {
        Some(auth) => auth.accessor.clone(),
        None if mount_type == "approle" => {
            let data = response.data.as_ref().map(engine::Data::to_map).unwrap_or_default();
            data.get("secret_id_accessor").and_then(|a| a.as_str()).unwrap_or_default().to_owned()
        }
        None => String::new(),
    }
}

/// Nothing to wrap: an empty reply, or a list without names (which is a 404).
fn is_empty(response: &Response, is_list: bool) -> bool {
    let nothing = response.data.is_none() && response.auth.is_none() && response.secret.is_none();
    let no_names = is_list && response.data.as_ref().is_some_and(engine::Data::is_empty_list);
    response.warnings.is_empty() && (nothing || no_names)
}

fn help(served: &Served<'_>) -> Result<Answer, EngineError> {
    let help = served.mounted.backend.help(served.rest).ok_or(EngineError::UnsupportedPath)?;
    let body = serde_json::to_vec(&help).map_err(|_| EngineError::internal("internal error"))?;
    Ok(Answer::Response {
        request_id: String::new(),
        mount_type: String::new(),
        is_list: false,
        is_read: true,
        inject: false,
        response: Box::new(Response::bare("application/json", body)),
    })
}

/// Storage keys hold no `..`: it would be read as a step up by whoever reads an export.
fn check_names(served: &Served<'_>) -> Result<(), EngineError> {
    // Of the built-in ones only the cubbyhole makes keys of paths; the others look names up in tables of their own.
    let makes_keys = !served.mounted.entry.is_builtin() || served.mounted.entry.mount_type == "cubbyhole";
    if makes_keys && served.rest.contains("..") {
        return Err(EngineError::Rejected("relative paths not supported".into()));
    }
    Ok(())
}

/// The words that Vault puts before an engine's own where a renewal came to nothing.
pub(crate) fn not_renewed(error: EngineError) -> EngineError {
    match error {
        EngineError::Internal(text) => EngineError::Internal(format!("failed to renew entry: {text}")),
        other => other,
    }
}

/// What the token engine asks of identity and of the auth methods.
pub(crate) struct TokenNeighbours(pub(crate) Weak<Core>);

impl TokenNeighbours {
    fn core(&self) -> Result<Arc<Core>, EngineError> {
        self.0.upgrade().ok_or(EngineError::Storage(storage::TxnError::Sealed))
    }
}

impl Neighbours for TokenNeighbours {
    fn identity_policies(&self, view: &mut View<'_>, entity_id: &str) -> Result<Vec<String>, EngineError> {
        Ok(identity::profile(view, entity_id)?.map(|p| p.policies).unwrap_or_default())
    }

    fn entity_of_alias(&self, call: &mut Call<'_>, alias: &str) -> Result<String, EngineError> {
        let alias = Alias { name: alias.to_owned(), ..Alias::default() };
        Ok(identity::login(&mut call.view, call.mount, &alias, &[], call.now, call.entropy)?.entity_id)
    }

    fn renew_login(&self, call: &mut Call<'_>, entry: &TokenEntry, auth: &mut Auth) -> Result<Arc<Mount>, EngineError> {
        let core = self.core()?;
        let open = core.open().ok_or(EngineError::Storage(storage::TxnError::Sealed))?;
        let router = open.router(core.config())?;
        let gone = || EngineError::internal("failed to renew entry: the auth method of this token is not mounted");
        let mounted = Arc::clone(router.by_accessor(&entry.mount_accessor).ok_or_else(gone)?);
        let mut inner = call.within(Operation::Renew, &mounted.facts, &mounted.entry.data_prefix());
        mounted.backend.renew_login(&mut inner, auth).map_err(not_renewed)?;
        Ok(Arc::clone(&mounted.facts))
    }
}
