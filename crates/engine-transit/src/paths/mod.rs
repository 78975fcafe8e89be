//! The paths of the engine: what clients send and read.

mod backup;
mod batch;
mod certificates;
mod crypt;
mod datakey;
mod export;
mod fields;
mod hmac;
mod import;
mod keys;
mod settings;
mod sign;
mod tools;
mod tune;

use std::sync::Arc;

use api_types::Operation::{Delete, List, Read, Update};
use engine::{Call, EngineError, PathTable, Route};

use crate::Transit;
use crate::policy::Policy;
use crate::store;
use fields as f;

/// The path table.
pub(crate) fn table() -> PathTable<Transit> {
    let mut routes = key_routes();
    routes.extend(work_routes());
    routes.extend(tool_routes());
    PathTable::new("Encrypts, signs, hashes and keeps the keys, which never leave it unless they were made exportable.", routes)
}

fn key_routes() -> Vec<Route<Transit>> {
    vec![
        Route::new("keys/{name}/rotate", f::NAME_ONLY, "Rotates a key.").on(Update, "Adds a version.", tune::rotate),
        Route::new("keys/{name}/config", f::CONFIG, "Settings of a key.").on(
            Update,
            "Changes a key's settings.",
            tune::configure,
        ),
        Route::new("keys/{name}/trim", f::TRIM, "Removes old versions for good.").on(Update, "Removes old versions.", tune::trim),
        Route::new("keys/{name}/import", f::IMPORT, "Imports a key.").on(
            Update,
            "Makes a key of given material.",
            import::import,
        ),
        Route::new("keys/{name}/import_version", f::IMPORT_VERSION, "Imports a version of a key.").on(
            Update,
            "Adds a version of given material, or completes one.",
            import::import_version,
        ),
        Route::new("keys/{name}/csr", f::CSR, "A certificate request for a key.").on(
            Update,
            "Signs a certificate request.",
            certificates::request,
        ),
        Route::new("keys/{name}/set-certificate", f::CHAIN, "The certificate chain of a key.").on(
            Update,
            "Stores a certificate chain.",
            certificates::set_chain,
        ),
        Route::new("keys/?", f::LISTING, "The names of all keys.").on(List, "Lists the keys.", keys::list),
        Route::new("keys/{name}", f::KEY, "A named key.")
            .on(Update, "Makes a key.", keys::create)
            .on(Read, "Shows a key, without its secrets.", keys::read)
            .on(Delete, "Removes a key whose settings allow it.", keys::delete),
        Route::new("export/{type}/{name}", f::EXPORT, "The secrets of an exportable key.").on(
            Read,
            "Shows all versions.",
            export::export,
        ),
        Route::new("export/{type}/{name}/{version...}", f::EXPORT, "The secrets of an exportable key.").on(
            Read,
            "Shows one version.",
            export::export,
        ),
        Route::new("byok-export/{destination}/{source}", f::BYOK, "A key wrapped for import elsewhere.").on(
            Read,
            "Wraps all versions.",
            export::byok,
        ),
        Route::new("byok-export/{destination}/{source}/{version...}", f::BYOK, "A key wrapped for import elsewhere.").on(
            Read,
            "Wraps one version.",
            export::byok,
        ),
        Route::new("backup/{name}", f::NAME_ONLY, "A plaintext backup of a key.").on(Read, "Backs a key up.", backup::backup),
        Route::new("restore", f::RESTORE, "Restores a key.").on(Update, "Restores a key from its backup.", backup::restore),
        Route::new("restore/{name...}", f::RESTORE, "Restores a key.").on(
            Update,
            "Restores a key from its backup.",
            backup::restore,
        ),
        Route::new("wrapping_key", &[], "The key to wrap imports with.").on(Read, "Shows the public key.", import::wrapping_key),
    ]
}

fn work_routes() -> Vec<Route<Transit>> {
    let sign = "Signs with a key.";
    let verify = "Verifies a signature or HMAC.";
    let hmac = "HMAC with a key.";
    vec![
        Route::new("encrypt/{name}", f::ENCRYPT, "Encrypts with a key.")
            .exists(|_, call| store::exists(&mut call.view, call.fields.str("name")))
            .on(Update, "Encrypts a plaintext or a batch.", crypt::encrypt),
        Route::new("decrypt/{name}", f::DECRYPT, "Decrypts with a key.").on(
            Update,
            "Decrypts a ciphertext or a batch.",
            crypt::decrypt,
        ),
        Route::new("rewrap/{name}", f::REWRAP, "Encrypts anew, without showing the plaintext.").on(
            Update,
            "Encrypts ciphertexts with the newest version.",
            crypt::rewrap,
        ),
        Route::new("datakey/{plaintext}/{name}", f::DATAKEY, "A fresh key, encrypted with a key.").on(
            Update,
            "Makes a data key.",
            datakey::generate,
        ),
        Route::new("sign/{name}", f::SIGN, sign).on(Update, sign, sign::sign),
        Route::new("sign/{name}/{urlalgorithm...}", f::SIGN, sign).on(Update, sign, sign::sign),
        Route::new("verify/{name}", f::VERIFY, verify).on(Update, verify, sign::verify),
        Route::new("verify/{name}/{urlalgorithm...}", f::VERIFY, verify).on(Update, verify, sign::verify),
        Route::new("hmac/{name}", f::HMAC, hmac).on(Update, hmac, hmac::generate),
        Route::new("hmac/{name}/{urlalgorithm...}", f::HMAC, hmac).on(Update, hmac, hmac::generate),
    ]
}

fn tool_routes() -> Vec<Route<Transit>> {
    let random = "Random bytes.";
    let hash = "Hashes the input.";
    vec![
        Route::new("random", f::RANDOM, random).on(Update, random, tools::random),
        Route::new("random/{urlbytes...}", f::RANDOM, random).on(Update, random, tools::random),
        Route::new("hash", f::HASH, hash).on(Update, hash, tools::hash),
        Route::new("hash/{urlalgorithm...}", f::HASH, hash).on(Update, hash, tools::hash),
        Route::new("config/keys", f::KEYS_CONFIG, "Settings for all keys.")
            .on(Read, "Shows the settings.", settings::read_keys)
            .on(Update, "Changes the settings.", settings::write_keys),
        Route::new("cache-config", f::CACHE, "The size of the key cache.").on(Read, "Shows the size.", settings::read_cache).on(
            Update,
            "Changes the size.",
            settings::write_cache,
        ),
    ]
}

/// The key that the request names, after the rotation that may be due.
fn named(call: &mut Call<'_>) -> Result<Option<Arc<Policy>>, EngineError> {
    store::current(&mut call.view, call.fields.str("name"), call.now, call.entropy)
}

/// The key that the request names, for changing.
fn for_change(call: &mut Call<'_>, missing: impl FnOnce(&str) -> String) -> Result<Policy, EngineError> {
    match named(call)? {
        Some(policy) => Ok((*policy).clone()),
        None => Err(EngineError::Invalid(missing(call.fields.str("name")))),
    }
}
