//! SSH: certificates that an authority of the mount signs for users and hosts, and one-time passwords for hosts that ask here.
//!
//! Certificates are decided in `sign` (pure rules over a role) and written in `certificate`; nothing is kept of them. Keys are
//! aws-lc-rs's; SSH's formats are written here (`wire`, `public`, `private`), so that no second family of cryptography comes in.
//!
//! Deliberately absent: several authorities on one mount, keys in a KMS, dynamic keys pushed to hosts, SHA-1 signatures, DSA,
//! templates over more of identity than `identity.entity.id` (an engine is told no more of the caller).

mod ca;
mod certificate;
mod otp;
mod private;
mod public;
mod roles;
mod sign;
mod wire;

use api_types::Map;
use api_types::Operation::{Delete, List, Read, Update};
use engine::{BoxFuture, Call, Engine, EngineError, Field, FieldKind, PathTable, Route};

/// The engine. It has no state of its own.
pub struct Ssh {
    table: PathTable<Self>,
}

impl Ssh {
    /// The engine with its routes.
    #[must_use]
    pub fn new() -> Self {
        Self { table: PathTable::new("SSH certificates and one-time passwords for SSH hosts.", routes()) }
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Ssh {
    const TYPE: &'static str = "ssh";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn revoke_secret<'a>(&'a self, call: &'a mut Call<'_>, internal: &'a Map) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move { otp::revoke(call, internal) })
    }
}

const CA: &[Field] = &[
    Field::new("private_key", FieldKind::String, "The authority's private key, PEM, if it is not made here."),
    Field::new("public_key", FieldKind::String, "Its public half, as in authorized_keys."),
    Field::new("generate_signing_key", FieldKind::Bool, "Make the key here. Default true."),
    Field::new("key_type", FieldKind::String, "ssh-rsa (default), ec, ecdsa-sha2-nistp256/384/521 or ed25519."),
    Field::new("key_bits", FieldKind::Int, "Length of the made key; 0 is the usual."),
];

const LISTING: &[Field] = &[
    Field::new("after", FieldKind::String, "Only names after this one."),
    Field::new("limit", FieldKind::Int, "At most this many."),
];

fn routes() -> Vec<Route<Ssh>> {
    const OTP: &[Field] = &[Field::new("otp", FieldKind::String, "The one-time password.")];
    const IP: &[Field] = &[Field::new("ip", FieldKind::String, "Address of a host.")];
    const ZERO: &[Field] = &[Field::new("roles", FieldKind::CommaStringSlice, "Roles that reach every address.")];
    vec![
        Route::new("config/zeroaddress", ZERO, "Roles that reach every address")
            .on(Update, "Set the roles", otp::write_zero_address)
            .on(Read, "Show the roles", otp::read_zero_address)
            .on(Delete, "Forget the roles", otp::delete_zero_address),
        Route::new("config/ca", CA, "The authority's key")
            .on_async(Update, "Make the key or take one over", |e, c| Box::pin(ca::write(e, c)))
            .on(Read, "Show the public key", ca::read)
            .on(Delete, "Delete the key", ca::delete),
        Route::new("public_key", &[], "The authority's public key as plain text").on(Read, "Show the public key", ca::public_key),
        Route::new("roles/?", LISTING, "List roles").on(List, "List roles", roles::list),
        Route::new("roles/{role:any}", roles::FIELDS, "Manage a role")
            .on(Update, "Create or replace a role", roles::write)
            .on(Read, "Show a role", roles::read)
            .on(Delete, "Delete a role", roles::delete),
        Route::new("creds/{role:any}", otp::CREDS, "Make a one-time password").on(Update, "Make a password", otp::creds),
        Route::new("lookup", IP, "Which roles reach an address").on(Update, "Look up", otp::lookup),
        Route::new("verify", OTP, "Use up a one-time password").on(Update, "Verify", otp::verify),
        Route::new("sign/{role:any}", &sign::SIGN, "Sign a public key").on(Update, "Sign", sign::sign),
        Route::new("issue/{role:any}", &sign::ISSUE, "Make a key pair and sign it")
            .on_async(Update, "Issue", |e, c| Box::pin(sign::issue(e, c))),
    ]
}

/// The part of a listing that was asked for.
fn page(call: &Call<'_>) -> storage::Page {
    storage::Page {
        after: call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned),
        limit: call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    }
}
