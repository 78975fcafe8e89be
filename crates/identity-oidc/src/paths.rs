//! The paths below `identity/oidc/`.

use api_types::Operation::{Delete, List, Read, Update};
use engine::{Field, FieldKind, Route};
use identity::IdentityEngine;

use crate::{assignments, authorize, clients, config, discovery, exchange, keys, providers, roles, scopes, tokens, userinfo};

type Routes = Vec<Route<IdentityEngine>>;

const NAME: &[Field] = &[Field::new("name", FieldKind::String, "Name of the thing.")];

const CONFIG: &[Field] = &[Field::new(
    "issuer",
    FieldKind::String,
    "Issuer (iss) of identity tokens: scheme, host and port. Empty means this server's own address.",
)];

const KEY: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the key."),
    Field::new("rotation_period", FieldKind::DurationSecond, "How long a key signs until the next takes over."),
    Field::new("verification_ttl", FieldKind::DurationSecond, "How long a key is published after it signed last."),
    Field::new("algorithm", FieldKind::String, "Signing algorithm: RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA."),
    Field::new("allowed_client_ids", FieldKind::CommaStringSlice, "Roles and clients (by client id) that may use it; * is any."),
];

const ROLE: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the role."),
    Field::new("key", FieldKind::String, "Named key that signs the tokens."),
    Field::new("template", FieldKind::String, "Template of more claims: JSON or base64 of it."),
    Field::new("ttl", FieldKind::DurationSecond, "Life of the tokens."),
    Field::new("client_id", FieldKind::String, "Audience of the tokens; made up if it is not given."),
];

const INTROSPECT: &[Field] = &[
    Field::new("token", FieldKind::String, "Token to judge."),
    Field::new("client_id", FieldKind::String, "Audience the token must have."),
];

const ASSIGNMENT: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the assignment."),
    Field::new("entity_ids", FieldKind::CommaStringSlice, "Entities that may use the client; * is any."),
    Field::new("group_ids", FieldKind::CommaStringSlice, "Groups whose members may use the client; * is any."),
];

const SCOPE: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the scope."),
    Field::new("template", FieldKind::String, "Template of the claims: JSON or base64 of it."),
    Field::new("description", FieldKind::String, "What the scope is for."),
];

const CLIENT: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the client."),
    Field::new("redirect_uris", FieldKind::CommaStringSlice, "Addresses codes may go to; compared exactly."),
    Field::new("assignments", FieldKind::CommaStringSlice, "Assignments that say who may use the client."),
    Field::new("key", FieldKind::String, "Named key that signs its ID tokens; stays."),
    Field::new("id_token_ttl", FieldKind::DurationSecond, "Life of ID tokens."),
    Field::new("access_token_ttl", FieldKind::DurationSecond, "Life of access tokens."),
    Field::new("client_type", FieldKind::String, "confidential (with a secret) or public (with PKCE); stays."),
];

const PROVIDER: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the provider."),
    Field::new("issuer", FieldKind::String, "Scheme, host and port of the issuer. Empty means this server's own address."),
    Field::new("allowed_client_ids", FieldKind::CommaStringSlice, "Clients (by client id) that may use it; * is any."),
    Field::new("scopes_supported", FieldKind::CommaStringSlice, "Scopes that clients may ask for besides openid."),
];

const PROVIDER_LIST: &[Field] = &[Field::new("allowed_client_id", FieldKind::String, "Only providers that this client may use.")];

const AUTHORIZE: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the provider."),
    Field::new("client_id", FieldKind::String, "Id of the client."),
    Field::new("scope", FieldKind::String, "Scopes with blanks between; openid is one of them."),
    Field::new("redirect_uri", FieldKind::String, "Where the code goes."),
    Field::new("response_type", FieldKind::String, "code."),
    Field::new("state", FieldKind::String, "Comes back as it is."),
    Field::new("nonce", FieldKind::String, "Put into the ID token."),
    Field::new("max_age", FieldKind::Int, "Seconds since the login of the person, at most."),
    Field::new("code_challenge", FieldKind::String, "Challenge of PKCE."),
    Field::new("code_challenge_method", FieldKind::String, "plain or S256."),
    Field::new("request", FieldKind::String, "Not supported."),
    Field::new("request_uri", FieldKind::String, "Not supported."),
];

const TOKEN: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the provider."),
    Field::new("code", FieldKind::String, "Authorization code."),
    Field::new("grant_type", FieldKind::String, "authorization_code."),
    Field::new("redirect_uri", FieldKind::String, "The address the code went to."),
    Field::new("code_verifier", FieldKind::String, "Verifier of PKCE."),
    Field::new("client_id", FieldKind::String, "Id of the client, if it does not use HTTP Basic."),
    Field::new("client_secret", FieldKind::String, "Secret of the client, if it does not use HTTP Basic."),
];

/// All of them, to be given to [`IdentityEngine::with`].
#[must_use]
pub fn routes() -> Routes {
    [token_routes(), key_routes(), role_routes(), party_routes(), provider_routes(), flow_routes()]
        .into_iter()
        .flatten()
        .collect()
}

fn token_routes() -> Routes {
    vec![
        Route::new("oidc/config/?", CONFIG, "OIDC configuration").on(Read, "Read the configuration", config::read).on(
            Update,
            "Set the issuer",
            config::write,
        ),
        Route::new("oidc/token/{name}", NAME, "Generate an OIDC token").on(Read, "Generate a token", tokens::issue),
        Route::new("oidc/introspect/?", INTROSPECT, "Verify the authenticity of an OIDC token").on(
            Update,
            "Verify a token",
            tokens::introspect,
        ),
        Route::new("oidc/.well-known/openid-configuration/?", &[], "Query OIDC configurations").on(
            Read,
            "Read the discovery document",
            discovery::configuration,
        ),
        Route::new("oidc/.well-known/keys/?", &[], "Retrieve public keys").on(Read, "Read the public keys", discovery::keys),
    ]
}

fn key_routes() -> Routes {
    vec![
        Route::new("oidc/key/{name}/rotate/?", KEY, "Rotate a named OIDC key").on(Update, "Rotate a key", keys::rotate),
        Route::new("oidc/key/?", &[], "List OIDC keys").on(List, "List keys", keys::list),
        Route::new("oidc/key/{name}", KEY, "CRUD operations for OIDC keys")
            .exists(keys::exists)
            .on(Update, "Create or update a key", keys::write)
            .on(Read, "Read a key", keys::read)
            .on(Delete, "Delete a key", keys::delete),
    ]
}

fn role_routes() -> Routes {
    vec![
        Route::new("oidc/role/?", &[], "List configured OIDC roles").on(List, "List roles", roles::list),
        Route::new("oidc/role/{name}", ROLE, "CRUD operations on OIDC roles")
            .exists(roles::exists)
            .on(Update, "Create or update a role", roles::write)
            .on(Read, "Read a role", roles::read)
            .on(Delete, "Delete a role", roles::delete),
    ]
}

fn party_routes() -> Routes {
    vec![
        Route::new("oidc/assignment/?", &[], "List OIDC assignments").on(List, "List assignments", assignments::list),
        Route::new("oidc/assignment/{name}", ASSIGNMENT, "CRUD operations for OIDC assignments")
            .exists(assignments::exists)
            .on(Update, "Create or update an assignment", assignments::write)
            .on(Read, "Read an assignment", assignments::read)
            .on(Delete, "Delete an assignment", assignments::delete),
        Route::new("oidc/scope/?", &[], "List OIDC scopes").on(List, "List scopes", scopes::list),
        Route::new("oidc/scope/{name}", SCOPE, "CRUD operations for OIDC scopes")
            .exists(scopes::exists)
            .on(Update, "Create or update a scope", scopes::write)
            .on(Read, "Read a scope", scopes::read)
            .on(Delete, "Delete a scope", scopes::delete),
        Route::new("oidc/client/?", &[], "List OIDC clients").on(List, "List clients", clients::list),
        Route::new("oidc/client/{name}", CLIENT, "CRUD operations for OIDC clients")
            .exists(clients::exists)
            .on(Update, "Create or update a client", clients::write)
            .on(Read, "Read a client", clients::read)
            .on(Delete, "Delete a client", clients::delete),
    ]
}

fn provider_routes() -> Routes {
    vec![
        Route::new("oidc/provider/?", PROVIDER_LIST, "List OIDC providers").on(List, "List providers", providers::list),
        Route::new("oidc/provider/{name}", PROVIDER, "CRUD operations for OIDC providers")
            .exists(providers::exists)
            .on(Update, "Create or update a provider", providers::write)
            .on(Read, "Read a provider", providers::read)
            .on(Delete, "Delete a provider", providers::delete),
        Route::new("oidc/provider/{name}/.well-known/openid-configuration", NAME, "Query OIDC configurations").on(
            Read,
            "Read a provider's discovery document",
            discovery::provider_configuration,
        ),
        Route::new("oidc/provider/{name}/.well-known/keys", NAME, "Retrieve public keys").on(
            Read,
            "Read a provider's public keys",
            discovery::provider_keys,
        ),
    ]
}

fn flow_routes() -> Routes {
    vec![
        Route::new("oidc/provider/{name}/authorize", AUTHORIZE, "OIDC authorization endpoint")
            .on(Read, "Get an authorization code", authorize::authorize)
            .on(Update, "Get an authorization code", authorize::authorize),
        Route::new("oidc/provider/{name}/token", TOKEN, "OIDC token endpoint").on(Update, "Redeem a code", exchange::token),
        Route::new("oidc/provider/{name}/userinfo", NAME, "OIDC userinfo endpoint")
            .on(Read, "Read claims about the person", userinfo::userinfo)
            .on(Update, "Read claims about the person", userinfo::userinfo),
    ]
}
