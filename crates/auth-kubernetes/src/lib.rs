//! The `kubernetes` auth method: a service account's token is exchanged for a token of this server, after the API server of
//! the cluster has vouched for it (TokenReview).
//!
//! `login` decides in pure code; [`Reviewer`] is the seam to the network and [`HttpReviewer`] the one that uses it.
//! Deliberately absent: the token and the entity (a floor above), watching the cluster, and any call that changes it.

mod claims;
mod complaints;
mod config;
mod jwt;
mod limits;
mod local_io;
mod login;
mod names;
mod review;
mod review_io;
mod role;
mod selector;

use std::sync::Arc;

use api_types::Operation::{Create, Delete, List, Read, Update};
use engine::{Auth, Call, Engine, EngineError, Field, FieldKind, PathTable, Route};

pub use local_io::{LOCAL_CA_PATH, LOCAL_TOKEN_PATH, LocalPaths};
pub use review::{Answer, NoAnswer, Question, Reviewer, Target, Trust};
pub use review_io::HttpReviewer;

use complaints::Complaints;
use local_io::LocalFiles;

/// The auth method. One value serves every mount; what differs is in the mounts' views.
pub struct Kubernetes {
    table: PathTable<Self>,
    reviewer: Arc<dyn Reviewer>,
    local: LocalFiles,
    complaints: Complaints,
}

impl Kubernetes {
    /// The method with a way to ask API servers and the places of the pod's own credentials ([`LocalPaths::default`] in a pod).
    #[must_use]
    pub fn new(reviewer: Arc<dyn Reviewer>, local: LocalPaths) -> Self {
        Self { table: PathTable::new(HELP, routes()), reviewer, local: LocalFiles::new(local), complaints: Complaints::default() }
    }
}

impl Engine for Kubernetes {
    const TYPE: &'static str = "kubernetes";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn renew_login(&self, call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
        login::renew(call, auth)
    }
}

const HELP: &str = "Service accounts of a Kubernetes cluster log in at `login` with `role` and `jwt`. The cluster is named at \
                    `config`; roles at `role/` bind accounts and namespaces to policies.";

const LOGIN: &[Field] = &[
    Field::new("role", FieldKind::String, "Role to log in with."),
    Field::new("jwt", FieldKind::String, "Token of the service account."),
];

fn routes() -> Vec<Route<Kubernetes>> {
    vec![
        Route::new("config", config::FIELDS, "Name the Kubernetes API server that vouches for tokens")
            .on_async(Update, "Set the configuration", |e, c| Box::pin(config::write(e, c)))
            .on(Read, "Read the configuration", config::read),
        Route::new("role/?", &[], "List roles").on(List, "List roles", role::list),
        Route::new("role/{name}", &role::FIELDS, "Manage a role")
            .exists(role::exists)
            .on(Create, "Create a role", role::write)
            .on(Update, "Change a role", role::write)
            .on(Read, "Read a role", role::read)
            .on(Delete, "Delete a role", role::delete),
        Route::new("login", LOGIN, "Log in with a service account's token")
            .on_async(Update, "Log in", |e, c| Box::pin(login::login(e, c))),
    ]
}
