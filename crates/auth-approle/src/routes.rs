//! The paths of the method and their fields.

use api_types::Operation::{Create, Delete, List, Read, Update};
use engine::token_params::TOKEN_FIELDS;
use engine::{Field, FieldKind, Route};

use crate::parts::{self, Part};
use crate::{Approle, login, role, secret_id, tidy};

pub(crate) const HELP: &str = "Machines log in at `login` with a `role_id` and a `secret_id`. Roles are managed at \
`role/<name>`, their secret ids at `role/<name>/secret-id`.";

const ROLE_NAME: Field = Field::new("role_name", FieldKind::String, "Name of the role; case does not matter.");
const ROLE_ID: Field = Field::new("role_id", FieldKind::String, "What clients name the role by when they log in.");
const BIND_SECRET_ID: Field = Field::new("bind_secret_id", FieldKind::Bool, "Logins need a secret id.");
const BOUND_CIDRS: Field =
    Field::new("secret_id_bound_cidrs", FieldKind::CommaStringSlice, "CIDR blocks from which logins are accepted.");
const BOUND_CIDR_LIST: Field =
    Field::new("bound_cidr_list", FieldKind::CommaStringSlice, "Deprecated: use secret_id_bound_cidrs.");
const SECRET_ID_NUM_USES: Field =
    Field::new("secret_id_num_uses", FieldKind::Int, "How often a new secret id works; 0 is any number.");
const SECRET_ID_TTL: Field =
    Field::new("secret_id_ttl", FieldKind::DurationSecond, "How long a new secret id works; 0 is for ever.");
const LOCAL_SECRET_IDS: Field =
    Field::new("local_secret_ids", FieldKind::Bool, "Kept and shown, settable at creation only; every node has every secret id.");
const POLICIES: Field = Field::new("policies", FieldKind::CommaStringSlice, "Deprecated: use token_policies.");
const PERIOD: Field = Field::new("period", FieldKind::DurationSecond, "Deprecated: use token_period.");
const SECRET_ID: Field = Field::new("secret_id", FieldKind::String, "The secret id.");
const ACCESSOR: Field = Field::new("secret_id_accessor", FieldKind::String, "Accessor of the secret id.");

const LISTING: [Field; 2] = [
    Field::new("after", FieldKind::String, "Only names after this one."),
    Field::new("limit", FieldKind::Int, "At most this many."),
];

/// A role's fields: the nine shared ones at the end.
static ROLE: [Field; 19] = {
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8] = TOKEN_FIELDS;
    [
        ROLE_NAME,
        ROLE_ID,
        BIND_SECRET_ID,
        BOUND_CIDRS,
        BOUND_CIDR_LIST,
        SECRET_ID_NUM_USES,
        SECRET_ID_TTL,
        LOCAL_SECRET_IDS,
        POLICIES,
        PERIOD,
        t0,
        t1,
        t2,
        t3,
        t4,
        t5,
        t6,
        t7,
        t8,
    ]
};

const METADATA: Field =
    Field::new("metadata", FieldKind::String, "JSON object or k=v pairs that go into tokens and audit lines in plain text.");
const CIDR_LIST: Field =
    Field::new("cidr_list", FieldKind::CommaStringSlice, "CIDR blocks from which this secret id works; within the role's.");
const ITS_TOKEN_CIDRS: Field =
    Field::new("token_bound_cidrs", FieldKind::CommaStringSlice, "CIDR blocks from which its tokens work; within the role's.");
const NUM_USES: Field = Field::new("num_uses", FieldKind::Int, "How often it works; within the role's secret_id_num_uses.");
const TTL: Field = Field::new("ttl", FieldKind::DurationSecond, "How long it works; within the role's secret_id_ttl.");

/// What a new secret id of the server's choice may ask for, and a listing of accessors.
static GENERATED: [Field; 8] = {
    let [after, limit] = LISTING;
    [ROLE_NAME, METADATA, CIDR_LIST, ITS_TOKEN_CIDRS, NUM_USES, TTL, after, limit]
};
const CUSTOM: &[Field] = &[ROLE_NAME, SECRET_ID, METADATA, CIDR_LIST, ITS_TOKEN_CIDRS, NUM_USES, TTL];

/// One part of a role that can be written, and removed where it has a default.
macro_rules! part {
    (read $pattern:literal, $part:ident, $fields:expr, $synopsis:literal) => {
        Route::new($pattern, $fields, $synopsis).on(Read, $synopsis, |_, c| parts::read(c, Part::$part))
    };
    (write $pattern:literal, $part:ident, $fields:expr, $synopsis:literal) => {
        part!(read $pattern, $part, $fields, $synopsis).on(Update, "Set it", |_, c| parts::write(c, Part::$part))
    };
    (all $pattern:literal, $part:ident, $fields:expr, $synopsis:literal) => {
        part!(write $pattern, $part, $fields, $synopsis).on(Delete, "Back to the default", |_, c| parts::delete(c, Part::$part))
    };
}

pub(crate) fn routes() -> Vec<Route<Approle>> {
    let mut routes = vec![
        Route::new("login", &[ROLE_ID, SECRET_ID], "Log in with a role id and a secret id").on(Update, "Log in", login::login),
        Route::new("role/?", &LISTING, "List roles").on(List, "List roles", role::list),
        Route::new("role/{role_name}", &ROLE, "Manage a role")
            .exists(role::exists)
            .on(Create, "Create a role", role::write)
            .on(Update, "Update a role", role::write)
            .on(Read, "Read a role", role::read)
            .on(Delete, "Delete a role and its secret ids", role::delete),
        Route::new("tidy/secret-id", &[], "Remove expired secret ids").on(Update, "Tidy", tidy::tidy),
    ];
    routes.extend(part_routes());
    routes.extend(secret_id_routes());
    routes
}

fn part_routes() -> Vec<Route<Approle>> {
    const TOKEN_TTL: Field = Field::new("token_ttl", FieldKind::DurationSecond, "The initial TTL of tokens.");
    const TOKEN_MAX_TTL: Field = Field::new("token_max_ttl", FieldKind::DurationSecond, "The maximum lifetime of tokens.");
    const TOKEN_POLICIES: Field = Field::new("token_policies", FieldKind::CommaStringSlice, "Comma-separated list of policies.");
    const TOKEN_CIDRS: Field =
        Field::new("token_bound_cidrs", FieldKind::CommaStringSlice, "CIDR blocks from which tokens may be used and issued.");
    const TOKEN_NUM_USES: Field = Field::new("token_num_uses", FieldKind::Int, "How often a token may be used; 0 is any number.");
    const TOKEN_PERIOD: Field = Field::new("token_period", FieldKind::DurationSecond, "Makes tokens periodic.");
    vec![
        part!(write "role/{role_name}/role-id", RoleId, &[ROLE_NAME, ROLE_ID], "The role id"),
        part!(all "role/{role_name}/policies", Policies, &[ROLE_NAME, TOKEN_POLICIES, POLICIES], "The policies of tokens"),
        part!(all "role/{role_name}/bind-secret-id", BindSecretId, &[ROLE_NAME, BIND_SECRET_ID], "Need of a secret id"),
        part!(read "role/{role_name}/local-secret-ids", LocalSecretIds, &[ROLE_NAME], "Whether secret ids are local"),
        part!(all "role/{role_name}/secret-id-bound-cidrs", SecretIdBoundCidrs, &[ROLE_NAME, BOUND_CIDRS], "Sources of logins"),
        part!(all "role/{role_name}/bound-cidr-list", BoundCidrList, &[ROLE_NAME, BOUND_CIDR_LIST], "Deprecated"),
        part!(all "role/{role_name}/token-bound-cidrs", TokenBoundCidrs, &[ROLE_NAME, TOKEN_CIDRS], "Where tokens may be used"),
        part!(all "role/{role_name}/secret-id-num-uses", SecretIdNumUses, &[ROLE_NAME, SECRET_ID_NUM_USES], "Its uses"),
        part!(all "role/{role_name}/secret-id-ttl", SecretIdTtl, &[ROLE_NAME, SECRET_ID_TTL], "Life of a new secret id"),
        part!(all "role/{role_name}/token-num-uses", TokenNumUses, &[ROLE_NAME, TOKEN_NUM_USES], "Uses of a token"),
        part!(all "role/{role_name}/token-ttl", TokenTtl, &[ROLE_NAME, TOKEN_TTL], "Initial life of a token"),
        part!(all "role/{role_name}/token-max-ttl", TokenMaxTtl, &[ROLE_NAME, TOKEN_MAX_TTL], "Longest life of a token"),
        part!(all "role/{role_name}/period", Period, &[ROLE_NAME, TOKEN_PERIOD, PERIOD], "Period of tokens"),
    ]
}

fn secret_id_routes() -> Vec<Route<Approle>> {
    vec![
        Route::new("role/{role_name}/secret-id/?", &GENERATED, "Make a secret id, or list the accessors of all")
            .on(Update, "Make a secret id", secret_id::generate)
            .on(List, "List accessors", secret_id::list),
        Route::new("role/{role_name}/custom-secret-id", CUSTOM, "Register a secret id of one's own choice").on(
            Update,
            "Register a secret id",
            secret_id::custom,
        ),
        Route::new("role/{role_name}/secret-id/lookup", &[ROLE_NAME, SECRET_ID], "Show what belongs to a secret id").on(
            Update,
            "Look up",
            secret_id::lookup,
        ),
        Route::new("role/{role_name}/secret-id/destroy", &[ROLE_NAME, SECRET_ID], "Destroy a secret id")
            .on(Update, "Destroy", secret_id::destroy)
            .on(Delete, "Destroy", secret_id::destroy),
        Route::new("role/{role_name}/secret-id-accessor/lookup", &[ROLE_NAME, ACCESSOR], "Show what belongs to an accessor").on(
            Update,
            "Look up",
            secret_id::lookup_accessor,
        ),
        Route::new("role/{role_name}/secret-id-accessor/destroy", &[ROLE_NAME, ACCESSOR], "Destroy a secret id by its accessor")
            .on(Update, "Destroy", secret_id::destroy_accessor)
            .on(Delete, "Destroy", secret_id::destroy_accessor),
    ]
}
