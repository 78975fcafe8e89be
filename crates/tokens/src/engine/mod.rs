//! The token engine, mounted at `auth/token/`. Its view is the whole storage.
//!
//! Deliberately absent: policy decisions. Whether the caller has `sudo` on the path comes with the call.

mod create;
mod lookup;
mod renew;
mod revoke;
mod roles;

use std::sync::Arc;

use api_types::Operation::{Delete, List, Read, Update};
use engine::{Auth, Call, Engine, EngineError, Field, FieldKind, Mount, Outcome, PathTable, Response, Route};
use storage::View;

use crate::{Found, TokenEntry, TokenStore};

/// What the token engine asks of other rooms; the core answers.
pub trait Neighbours: Send + Sync {
    /// Policies that an entity and its groups give.
    fn identity_policies(&self, view: &mut View<'_>, entity_id: &str) -> Result<Vec<String>, EngineError>;

    /// The entity with this alias on the token mount, made if there is none.
    fn entity_of_alias(&self, call: &mut Call<'_>, alias: &str) -> Result<String, EngineError>;

    /// Asks the auth method that made a login whether it may be renewed; the method may change `auth`. Answers its mount.
    fn renew_login(&self, call: &mut Call<'_>, entry: &TokenEntry, auth: &mut Auth) -> Result<Arc<Mount>, EngineError>;
}

/// No identity, no auth methods.
struct Alone;

/// `auth/token/`.
pub struct TokenEngine {
    pub(crate) store: Arc<TokenStore>,
    pub(crate) neighbours: Arc<dyn Neighbours>,
    table: PathTable<Self>,
}

impl TokenEngine {
    /// An engine without identity and without auth methods to ask.
    #[must_use]
    pub fn new(store: Arc<TokenStore>) -> Self {
        Self { store, neighbours: Arc::new(Alone), table: table() }
    }

    /// Gives it the rooms around it.
    #[must_use]
    pub fn with_neighbours(mut self, neighbours: Arc<dyn Neighbours>) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// The token that makes the call, also if this was its last use.
    pub(crate) fn caller(&self, call: &mut Call<'_>) -> Result<Option<Found>, EngineError> {
        self.store.find(&mut call.view, call.request.token.expose(), call.now)
    }

    /// Policies of an entity; none without one.
    pub(crate) fn identity_policies(&self, view: &mut View<'_>, entity_id: &str) -> Result<Vec<String>, EngineError> {
        if entity_id.is_empty() { Ok(Vec::new()) } else { self.neighbours.identity_policies(view, entity_id) }
    }
}

impl Engine for TokenEngine {
    const TYPE: &'static str = "token";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

impl Neighbours for Alone {
    fn identity_policies(&self, _: &mut View<'_>, _: &str) -> Result<Vec<String>, EngineError> {
        Ok(Vec::new())
    }

    fn entity_of_alias(&self, _: &mut Call<'_>, _: &str) -> Result<String, EngineError> {
        Err(EngineError::internal("identity is not available"))
    }

    fn renew_login(&self, _: &mut Call<'_>, _: &TokenEntry, _: &mut Auth) -> Result<Arc<Mount>, EngineError> {
        Err(EngineError::internal("the auth method of this token is not mounted"))
    }
}

const TOKEN: Field = Field::new("token", FieldKind::String, "The token; your own if absent.");
const ACCESSOR: Field = Field::new("accessor", FieldKind::String, "The accessor of the token.");
const INCREMENT: Field =
    Field::new("increment", FieldKind::DurationSecond, "Wished life from now, as a number of seconds or a duration.");

const TOKEN_FIELDS: &[Field] = &[TOKEN];
const ACCESSOR_FIELDS: &[Field] = &[ACCESSOR];
const RENEW_FIELDS: &[Field] = &[TOKEN, INCREMENT];
const RENEW_ACCESSOR_FIELDS: &[Field] = &[ACCESSOR, INCREMENT];

const CREATE_FIELDS: &[Field] = &[
    Field::new("role_name", FieldKind::String, "Name of the role."),
    Field::new("id", FieldKind::String, "The token itself; needs sudo."),
    Field::new("policies", FieldKind::StringSlice, "Policies of the token; the parent's if absent."),
    Field::new("meta", FieldKind::KeyValuePairs, "Metadata that is shown and audited."),
    Field::new("no_parent", FieldKind::Bool, "Make an orphan; needs sudo."),
    Field::new("no_default_policy", FieldKind::Bool, "Leave the policy `default` out."),
    Field::new("renewable", FieldKind::Bool, "Whether the token may be renewed; true if absent."),
    Field::new("ttl", FieldKind::String, "Life of the token."),
    Field::new("lease", FieldKind::String, "Old name of `ttl`."),
    Field::new("type", FieldKind::String, "service or batch."),
    Field::new("explicit_max_ttl", FieldKind::String, "Hard limit on the token's life."),
    Field::new("display_name", FieldKind::String, "Name for people."),
    Field::new("num_uses", FieldKind::Int, "How often the token may be used; 0 is any number."),
    Field::new("period", FieldKind::String, "Makes the token renewable for ever by this much; needs sudo."),
    Field::new("entity_alias", FieldKind::String, "Name of the entity alias; only with a role that allows it."),
];

fn table() -> PathTable<TokenEngine> {
    let create = |pattern| Route::new(pattern, CREATE_FIELDS, "Make a token.");
    PathTable::new(
        "Tokens are made here out of other tokens, looked up, renewed and revoked. This method is always enabled.",
        vec![
            Route::new("roles/?", &[], "List the token roles.").on(List, "List the names.", roles::list),
            Route::new("roles/{role_name}", roles::FIELDS, "A token role.")
                .exists(roles::exists)
                .on(Update, "Make or change the role.", roles::write)
                .on(Read, "Show the role.", roles::read)
                .on(Delete, "Remove the role.", roles::delete),
            Route::new("accessors/?", &[], "List the accessors of all tokens.").on(List, "List them.", lookup::accessors),
            create("create-orphan").on(Update, "Make a token without a parent.", create::orphan),
            create("create/{role_name}").on(Update, "Make a token by a role.", create::by_role),
            create("create").on(Update, "Make a child token.", create::child),
            Route::new("lookup", TOKEN_FIELDS, "What is known of a token.").on(Read, "Look it up.", lookup::token).on(
                Update,
                "Look it up.",
                lookup::token,
            ),
            Route::new("lookup-accessor", ACCESSOR_FIELDS, "What is known of a token, by its accessor.").on(
                Update,
                "Look it up.",
                lookup::accessor,
            ),
            Route::new("lookup-self", TOKEN_FIELDS, "What is known of your token.").on(Read, "Look it up.", lookup::own).on(
                Update,
                "Look it up.",
                lookup::own,
            ),
            Route::new("revoke-accessor", ACCESSOR_FIELDS, "Revoke a token and its children, by its accessor.").on(
                Update,
                "Revoke it.",
                revoke::accessor,
            ),
            Route::new("revoke-self", &[], "Revoke your token and its children.").on(Update, "Revoke it.", revoke::own),
            Route::new("revoke-orphan", TOKEN_FIELDS, "Revoke a token and leave its children as orphans.").on(
                Update,
                "Revoke it.",
                revoke::orphan,
            ),
            Route::new("revoke", TOKEN_FIELDS, "Revoke a token and its children.").on(Update, "Revoke it.", revoke::token),
            Route::new("renew-accessor", RENEW_ACCESSOR_FIELDS, "Renew a token, by its accessor.").on(
                Update,
                "Renew it.",
                renew::accessor,
            ),
            Route::new("renew-self", RENEW_FIELDS, "Renew your token.").on(Update, "Renew it.", renew::own),
            Route::new("renew", RENEW_FIELDS, "Renew a token.").on(Update, "Renew it.", renew::token),
            Route::new("tidy", &[], "Clean up token records.").on(Update, "Start cleaning up.", tidy),
        ],
    )
}

/// There is nothing to tidy: a token and its indexes are written and removed in one transaction.
fn tidy(_: &TokenEngine, _: &mut Call<'_>) -> Outcome {
    let text = "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.";
    Ok(Some(Response { kind: engine::Kind::Accepted, ..Response::warning(text) }))
}
