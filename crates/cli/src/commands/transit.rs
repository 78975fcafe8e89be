//! `transit import` and `transit import-version`: a key that was made elsewhere, wrapped for the server before it leaves.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::Request;
use secret::SecretBytes;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::HTTP;
use crate::kv_pairs::{self, go_words};
use crate::session::Session;

/// The group.
pub static GROUP: Command = Command {
    path: "transit",
    synopsis: "Interact with Vault's Transit Secrets Engine",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for keys of the transit engine.

    $ {bin} transit import transit/keys/my-key @my-key.b64",
    sets: &[],
    run: None,
};

/// A new key.
pub static IMPORT: Command = Command {
    path: "transit import",
    synopsis: "Import a key into the Transit secrets engines.",
    operands: "[options] PATH KEY [K=V...]",
    about: "\
Makes a key out of base64 text, given as it is or as @file. The key is wrapped
here with the server's wrapping key, so that it never travels in the clear. What
follows is passed on to the server.

    $ {bin} transit import transit/keys/my-key @my-key.b64 type=rsa-2048",
    sets: &[&HTTP],
    run: Some(|s| import(s, "import")),
};

/// A new version of a key.
pub static IMPORT_VERSION: Command = Command {
    path: "transit import-version",
    synopsis: "Import key material into a new key version in the Transit secrets engines.",
    operands: "[options] PATH KEY [K=V...]",
    about: "\
Adds a version to a key that was imported before; see \"transit import\".

    $ {bin} transit import-version transit/keys/my-key @my-key.b64",
    sets: &[&HTTP],
    run: Some(|s| import(s, "import_version")),
};

/// Bytes of the key that wraps the key.
const WRAPPING_BYTES: usize = 32;

fn import(s: &mut Session<'_, '_>, verb: &str) -> Outcome {
    s.expect_at_least(2)?;
    let path = s.path(0);
    let place = path.rsplit_once("/keys/").filter(|(mount, name)| !mount.is_empty() && !name.is_empty());
    let Some((mount, name)) = place.map(|(m, n)| (m.to_owned(), n.to_owned())) else {
        return Err(Failure::Local("expected transit path and key name in the form :path:/keys/:name:".to_owned()));
    };
    let key = key(&s.arg(1))?;
    let words = s.args.get(2..).unwrap_or_default().to_vec();
    let mut body = kv_pairs::parse(&words, &mut s.host.input).map_err(|e| Failure::Local(e.to_string()))?;
    let answer = s.look_up_secret(Request::get(&format!("{mount}/wrapping_key"))).doing("reading the wrapping key")?;
    let pem = answer.as_ref().and_then(|a| a.get("public_key")).and_then(Value::as_str);
    let wrapped = pem.and_then(|pem| wrap(s, pem, &key));
    let Some(wrapped) = wrapped else {
        return Err(Failure::Server("Error wrapping the key: the server's wrapping key cannot be used".to_owned()));
    };
    body.insert("ciphertext".to_owned(), json!(BASE64_STANDARD.encode(wrapped)));
    body.insert("hash_function".to_owned(), json!("SHA256"));
    s.call(&Request::put(&format!("{mount}/keys/{name}/{verb}")).json(&body)).doing("importing the key")?;
    s.say("Success!")?;
    Ok(0)
}

/// The key's bytes, out of base64 text or a file with it.
fn key(word: &str) -> Result<SecretBytes, Failure> {
    let text = match word.strip_prefix('@') {
        None => word.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Failure::Local(format!("error reading key file: open {path}: {}", go_words(&e))))?,
    };
    let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| Failure::Local("error base64 decoding source key".to_owned()))?;
    Ok(SecretBytes::new(bytes))
}

/// RSA-OAEP of a fresh AES key, and the key wrapped with that (RFC 5649).
fn wrap(s: &Session<'_, '_>, pem: &str, key: &SecretBytes) -> Option<Vec<u8>> {
    let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    let public = PublicEncryptingKey::from_der(&BASE64_STANDARD.decode(body).ok()?).ok()?;
    let public = OaepPublicEncryptingKey::new(public).ok()?;
    let mut fresh = [0; WRAPPING_BYTES];
    s.host.entropy.fill(&mut fresh).ok()?;
    let mut outer = vec![0; public.ciphertext_size()];
    let mut out = public.encrypt(&OAEP_SHA256_MGF1SHA256, &fresh, &mut outer, None).ok()?.to_vec();
    // Padding and integrity block: at most 15 bytes more.
    let mut inner = vec![0; key.expose().len() + 16];
    let wrapped = AesKek::new(&AES_256, &fresh).ok()?.wrap_with_padding(key.expose(), &mut inner).ok()?;
    out.extend_from_slice(wrapped);
    Some(out)
}
