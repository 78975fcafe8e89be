//! `login` and the renewal of what it gave. The order of the checks is the contract's (§1.5): each has its own answer, and
//! clients and operators tell causes apart by them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use engine::token_params::cidrs_allow;
use engine::{Alias, Auth, Call, EngineError, Outcome, Response};
use secret::{SecretString, Time};

use crate::Kubernetes;
use crate::claims::{self, ClaimsError, Expected, ServiceAccount};
use crate::config::Config;
use crate::jwt::Jwt;
use crate::names::{is_namespace, is_service_account};
use crate::review::{self, NoAnswer, ObjectError, Question, Target, Trust};
use crate::role::{AliasNameSource, Role};
use crate::selector::Selector;

/// Clients see this for every failure whose cause is none of their business.
const DENIED: &str = "permission denied";

/// One login: who asks, which API server vouches, and how we show ourselves to it. No `Debug`: it holds tokens.
struct Attempt<'a> {
    engine: &'a Kubernetes,
    mount: &'a str,
    role_name: &'a str,
    /// The client's token.
    token: SecretString,
    target: Target,
    /// The configured reviewer or the pod's own account; never the client.
    reviewer: Option<SecretString>,
    now: Time,
}

/// Checks a service account token and answers what its owner gets.
pub(crate) async fn login(engine: &Kubernetes, call: &mut Call<'_>) -> Outcome {
    let role_name = required(call, "role")?;
    // A token that comes out of a file ends in a newline; base64 as Vault reads it does not mind.
    let token = SecretString::from(required(call, "jwt")?.trim_matches(['\r', '\n']));
    let role = Role::load(&mut call.view, &role_name)?
        .ok_or_else(|| EngineError::Invalid(format!("invalid role name {role_name:?}")))?;
    if !cidrs_allow(&role.token.token_bound_cidrs, call.request.connection.remote_addr) {
        return Err(EngineError::denied(DENIED));
    }
    let config = Config::load(call)?.ok_or_else(|| EngineError::internal("could not load backend configuration"))?;
    let (target, reviewer) = credentials(engine, &config, call.now).await?;
    let attempt = Attempt { engine, mount: &call.mount.path, role_name: &role_name, token, target, reviewer, now: call.now };

    let account = attempt.read_token(&config, &role)?;
    if !role.binds_name(&account.name) {
        return Err(EngineError::denied("service account name not authorized"));
    }
    attempt.authorize_namespace(&role, &account.namespace).await?;
    let alias_name = alias_name(&role, &account)?;
    attempt.review(&role, &account).await?;
    let mut alias_metadata = BTreeMap::new();
    if config.use_annotations_as_alias_metadata {
        alias_metadata = attempt.annotations(&account).await?;
    }
    if account.uid.is_empty() {
        return Err(EngineError::internal("could not parse UID from claims"));
    }
    let auth = grant(&role_name, &role, account, alias_name, alias_metadata);
    Ok(Some(Response { auth: Some(Box::new(auth)), ..Response::default() }))
}

/// Renews for a role that still exists, with the times it has now. The API server is not asked again (contract §1.7).
pub(crate) fn renew(call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
    let name = auth.internal.get("role").and_then(|r| r.as_str()).unwrap_or_default().to_owned();
    if name.is_empty() {
        return Err(EngineError::internal("failed to fetch role_name during renewal"));
    }
    let role = Role::load(&mut call.view, &name)?
        .ok_or_else(|| EngineError::Internal(format!("role {name} does not exist during renewal")))?;
    role.token.renew(auth);
    Ok(())
}

/// Finds CA and reviewer: the configured ones, else the pod's own unless that is switched off. A CA that should be there and
/// is not fails the login; a token that is not there does not (contract §1.3).
async fn credentials(engine: &Kubernetes, config: &Config, now: Time) -> Result<(Target, Option<SecretString>), EngineError> {
    let mut reviewer = config.token_reviewer_jwt.clone();
    if reviewer.is_empty() && !config.disable_local_ca_jwt {
        reviewer = engine.local.token(now).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "no local service account token");
            SecretString::default()
        });
    }
    let trust = if !config.kubernetes_ca_cert.is_empty() {
        Trust::Pem(Arc::from(config.kubernetes_ca_cert.as_str()))
    } else if config.wants_local_ca() {
        let ca = engine.local.ca(now).await.map_err(|e| EngineError::Internal(e.to_string()))?;
        Trust::Pem(Arc::from(ca.expose()))
    } else {
        Trust::System
    };
    let target = Target { host: config.kubernetes_host.clone(), trust };
    Ok((target, Some(reviewer).filter(|r| !r.expose().trim().is_empty())))
}

impl Attempt<'_> {
    /// Takes the token apart, verifies its signature if the mount has keys, and checks its claims.
    fn read_token(&self, config: &Config, role: &Role) -> Result<ServiceAccount, EngineError> {
        let jwt = Jwt::parse(self.token.expose()).map_err(|e| self.denied(&e))?;
        if config.verifies_signatures() {
            jwt.verify(config.keys()).map_err(|e| self.denied(&e))?;
        }
        let expected = Expected { issuer: config.expected_issuer(), audience: role.expected_audience() };
        claims::check(&jwt.payload, expected, self.now).map_err(|e| match e {
            ClaimsError::Unreadable => self.denied(&e),
            ClaimsError::BareAudience => EngineError::Internal(e.to_string()),
            _ => EngineError::Denied(e.to_string()),
        })
    }

    /// By name, else by the labels of the namespace.
    async fn authorize_namespace(&self, role: &Role, namespace: &str) -> Result<(), EngineError> {
        const NOT_AUTHORIZED: &str = "namespace not authorized";
        if role.binds_namespace(namespace) {
            return Ok(());
        }
        // The claim is not vouched for yet and becomes part of a URL that is fetched with our own token.
        if role.namespace_selector.is_empty() || !is_namespace(namespace) {
            return Err(EngineError::denied(NOT_AUTHORIZED));
        }
        let failed = |detail: &str| EngineError::Denied(format!("{NOT_AUTHORIZED} err={detail}"));
        let selector = Selector::parse(&role.namespace_selector).ok_or_else(|| failed("the role's selector is not readable"))?;
        let Some(bearer) = &self.reviewer else {
            return Err(failed("namespace lookup failed: TokenReviewer JWT needs to be configured to use namespace selectors"));
        };
        let answer = self.ask(bearer, &Question::Namespace(namespace.to_owned())).await.map_err(|e| {
            self.complain(&e);
            failed("namespace lookup failed: no answer from the API server")
        })?;
        let labels = review::labels(&answer).map_err(|e| {
            self.complain(&e);
            failed(&e.to_string())
        })?;
        if selector.matches(&labels) { Ok(()) } else { Err(EngineError::denied(NOT_AUTHORIZED)) }
    }

    /// Has the API server vouch for the token and for the account the token names.
    async fn review(&self, role: &Role, account: &ServiceAccount) -> Result<(), EngineError> {
        let audiences = if role.audience.is_empty() { account.audiences.clone() } else { vec![role.audience.clone()] };
        let question = Question::TokenReview { token: self.token.clone(), audiences: audiences.clone() };
        let answer = self.ask(self.bearer(), &question).await.map_err(|e| self.denied(&e))?;
        review::judge(&answer, &audiences, account).map_err(|e| self.denied(&e))
    }

    /// Alias metadata from the annotations of an account that the API server has just vouched for.
    async fn annotations(&self, account: &ServiceAccount) -> Result<BTreeMap<String, String>, EngineError> {
        const FAILED: &str = "service account lookup failed";
        if !is_namespace(&account.namespace) || !is_service_account(&account.name) {
            return Err(EngineError::internal(FAILED));
        }
        let question = Question::ServiceAccount { namespace: account.namespace.clone(), name: account.name.clone() };
        let answer = self.ask(self.bearer(), &question).await.map_err(|e| {
            self.complain(&e);
            EngineError::internal(FAILED)
        })?;
        review::alias_metadata(&answer).map_err(|e| {
            self.complain(&e);
            match e {
                ObjectError::Reserved(_) => EngineError::Invalid(e.to_string()),
                _ => EngineError::Internal(e.to_string()),
            }
        })
    }

    /// Whose token goes with a review: the reviewer's, else the client's own.
    fn bearer(&self) -> &SecretString {
        self.reviewer.as_ref().unwrap_or(&self.token)
    }

    async fn ask(&self, bearer: &SecretString, question: &Question) -> Result<review::Answer, NoAnswer> {
        self.engine.reviewer.ask(&self.target, bearer, question, self.now).await
    }

    /// The answer for the client, after the operator was told the reason.
    fn denied(&self, reason: &dyn Display) -> EngineError {
        self.complain(reason);
        EngineError::denied(DENIED)
    }

    fn complain(&self, reason: &dyn Display) {
        let secrets = [self.token.expose(), self.bearer().expose().trim()];
        self.engine.complaints.note(self.mount, self.role_name, reason, &secrets, self.now);
    }
}

fn required(call: &Call<'_>, field: &str) -> Result<String, EngineError> {
    match call.fields.str(field) {
        "" => Err(EngineError::Invalid(format!("missing {field}"))),
        text => Ok(text.to_owned()),
    }
}

fn alias_name(role: &Role, account: &ServiceAccount) -> Result<String, EngineError> {
    match role.alias_name_source {
        AliasNameSource::Uid if account.uid.is_empty() => Err(EngineError::internal("could not parse UID from claims")),
        AliasNameSource::Uid => Ok(account.uid.clone()),
        AliasNameSource::Name if account.namespace.is_empty() || account.name.is_empty() => {
            Err(EngineError::internal("service account namespace and name must be set"))
        }
        AliasNameSource::Name => Ok(format!("{}/{}", account.namespace, account.name)),
    }
}

fn grant(
    role_name: &str,
    role: &Role,
    account: ServiceAccount,
    alias_name: String,
    mut alias_metadata: BTreeMap<String, String>,
) -> Auth {
    let mut metadata = BTreeMap::from([
        ("service_account_uid".to_owned(), account.uid),
        ("service_account_name".to_owned(), account.name.clone()),
        ("service_account_namespace".to_owned(), account.namespace.clone()),
        ("service_account_secret_name".to_owned(), account.secret_name),
    ]);
    alias_metadata.extend(metadata.clone());
    metadata.insert("role".to_owned(), role_name.to_owned());
    let mut auth = Auth {
        display_name: format!("{}-{}", account.namespace, account.name),
        alias: Some(Alias { name: alias_name, metadata: alias_metadata }),
        metadata,
        ..Auth::default()
    };
    auth.internal.insert("role".to_owned(), role_name.into());
    role.token.apply(&mut auth);
    auth
}
