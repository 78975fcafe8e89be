//! What identity vouches for to others: signed identity tokens (`identity/oidc/{key,role,token,introspect}`) and an OpenID Connect
//! provider (`identity/oidc/{assignment,client,scope,provider}`), with Vault's paths, fields and texts.
//!
//! The routes here are served by [`identity::IdentityEngine`], to which [`routes`] are given. Keys rotate when they are next used
//! after their time, so nothing runs beside requests but [`sweep`], which clears away authorization codes nobody redeemed.
//!
//! An access token of the provider is a JWS under a key of its own and good for `userinfo` only: it is no token of this server's
//! token store and opens no other path. Deliberately absent: refresh tokens, the implicit and hybrid flows, request objects,
//! dynamic registration, the client credentials grant.

mod assignments;
mod authorize;
mod clients;
mod codes;
mod config;
mod discovery;
mod exchange;
mod keyring;
mod keys;
mod limits;
mod oauth;
mod paths;
mod providers;
mod roles;
mod rows;
mod scopes;
mod template;
mod tokens;
mod userinfo;

pub use codes::sweep;
pub use paths::routes;
