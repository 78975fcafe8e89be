//! Time-based one-time passwords (RFC 6238): keys that this server makes or takes over, codes read and codes checked.
//!
//! A code is accepted once. Which time steps were used stands in storage and is committed with the answer, so that neither a
//! restart, another node nor two requests at the same time accept a code twice (CVE class I).
//!
//! Deliberately absent: counters (HOTP; a URL of that kind is read as time-based, as Vault does), a limit on wrong tries (a
//! quota on the mount is the place for that), reading a secret back.

mod barcode;
mod base32;
mod code;
mod handlers;
mod key;
mod otpauth;

use api_types::Operation::{Delete, List, Read, Update};
use engine::{Engine, Field, FieldKind, PathTable, Route};

/// The engine. It has no state of its own.
pub struct Totp {
    table: PathTable<Self>,
}

impl Totp {
    /// The engine with its routes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: PathTable::new("Time-based one-time passwords: makes codes for others and checks those of others.", routes()),
        }
    }
}

impl Default for Totp {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for Totp {
    const TYPE: &'static str = "totp";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

const NAME: Field = Field::new("name", FieldKind::String, "Name of the key.");

const KEY: &[Field] = &[
    NAME,
    Field::new("generate", FieldKind::Bool, "Make a key here instead of taking one over."),
    Field::new("exported", FieldKind::Bool, "Show the made key once, as a URL and a QR code. Default true."),
    Field::new("key_size", FieldKind::Int, "Size in bytes of a made key. Default 20."),
    Field::new("key", FieldKind::String, "The shared secret in Base32, if it is not made here."),
    Field::new("issuer", FieldKind::String, "Who issued the key."),
    Field::new("account_name", FieldKind::String, "Whose key it is."),
    Field::new("period", FieldKind::DurationSecond, "How long a code is the current one. Default 30 seconds."),
    Field::new("algorithm", FieldKind::String, "SHA1 (default), SHA256 or SHA512."),
    Field::new("digits", FieldKind::Int, "Length of a code: 6 (default) or 8."),
    Field::new("skew", FieldKind::Int, "How many periods before and after the current one are accepted: 0 or 1 (default)."),
    Field::new("qr_size", FieldKind::Int, "Width of the QR code in pixels, 0 for none. Default 200."),
    Field::new("url", FieldKind::String, "A key as an otpauth:// URL; what it says wins over the other fields."),
];

const CODE: &[Field] = &[NAME, Field::new("code", FieldKind::String, "The code to check.")];

const LISTING: &[Field] = &[
    Field::new("after", FieldKind::String, "Only names after this one."),
    Field::new("limit", FieldKind::Int, "At most this many."),
];

fn routes() -> Vec<Route<Totp>> {
    vec![
        Route::new("keys/?", LISTING, "List keys").on(List, "List keys", handlers::list),
        Route::new("keys/{name:any}", KEY, "Manage a key")
            .help("A key is made here (`generate`) or taken over (`key` or `url`). Its secret cannot be read back.")
            .on(Update, "Make a key or take one over", handlers::write)
            .on(Read, "Show what belongs to a key, without its secret", handlers::read)
            .on(Delete, "Delete a key", handlers::delete),
        Route::new("code/{name:any}", CODE, "Make or check a code").on(Read, "The current code", handlers::code).on(
            Update,
            "Check a code",
            handlers::check,
        ),
    ]
}
