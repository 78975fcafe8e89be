//! `operator init`.

use api_types::Map;
use client::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PGP_KEYS, pgp};
use crate::command::Command;
use crate::commands::basic::status::SealStatus;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, int, list, switch, text};
use crate::render::Format;
use crate::session::Session;

static COMMON: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[
        switch("status", "Only tell whether the server is initialized. Exit code 0 if it is, 2 if it is not, 1 on error."),
        int("key-shares", "How many shares the root key is split into.").or("5").alias("n"),
        int("key-threshold", "How many shares are needed to unseal.").or("3").alias("t"),
        PGP_KEYS,
        text("root-token-pgp-key", "File with the OpenPGP public key that the root token is encrypted for."),
        int("stored-shares", "How many shares the seal keeps; for old seals only."),
    ],
};
static RECOVERY: FlagSet = FlagSet {
    title: "Auto Unseal Options",
    flags: &[
        int("recovery-shares", "How many shares the recovery key is split into.").or("5"),
        int("recovery-threshold", "How many recovery shares are needed.").or("3"),
        list("recovery-pgp-keys", "Like -pgp-keys, for the recovery shares."),
        int("break-glass-shares", "Also make this many shares that unseal when the seal is gone. None unless asked for."),
        int("break-glass-threshold", "How many break-glass shares are needed."),
        list("break-glass-pgp-keys", "Like -pgp-keys, for the break-glass shares."),
    ],
};

/// Initializes a server.
pub static COMMAND: Command = Command {
    path: "operator init",
    synopsis: "Initializes a server",
    operands: "[options]",
    about: "\
Makes the keys of a new server and prints them, once. The server is sealed after
that; \"operator unseal\" opens it.

    $ {bin} operator init -key-shares=3 -key-threshold=2",
    sets: &[&HTTP, &FORMAT, &COMMON, &RECOVERY],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    if s.on("status") {
        return status(s);
    }
    let body = body(s)?;
    let keys: Keys = s.json(&Request::put("sys/init").without_token().json(&body)).doing("initializing")?;
    let number = |name: &str| body.get(name).and_then(Value::as_i64).unwrap_or(0);
    let recovery = keys.recovery_keys_base64.as_ref().is_some_and(|k| !k.is_empty());
    let printed = Printed {
        unseal_keys_b64: keys.keys_base64.clone().unwrap_or_default(),
        unseal_keys_hex: keys.keys.clone().unwrap_or_default(),
        unseal_shares: number("secret_shares"),
        unseal_threshold: number("secret_threshold"),
        recovery_keys_b64: keys.recovery_keys_base64.clone().unwrap_or_default(),
        recovery_keys_hex: keys.recovery_keys.clone().unwrap_or_default(),
        recovery_keys_shares: if recovery { number("recovery_shares") } else { 0 },
        recovery_keys_threshold: if recovery { number("recovery_threshold") } else { 0 },
        break_glass_keys_b64: keys.break_glass_keys_base64.clone().unwrap_or_default(),
        break_glass_keys_hex: keys.break_glass_keys.clone().unwrap_or_default(),
        break_glass_keys_threshold: number("break_glass_threshold"),
        root_token: keys.root_token.clone(),
    };
    let program = s.host.program.clone();
    s.show(&printed, &words(&printed, &program))?;
    Ok(0)
}

fn status(s: &mut Session<'_, '_>) -> Outcome {
    let answer: Map = s
        .json(&Request::get("sys/init").without_token())
        .map_err(|fault| Failure::Local(format!("Error checking init status: {fault}")))?;
    let initialized = answer.get("initialized").and_then(Value::as_bool).unwrap_or(false);
    if s.format == Format::Table {
        s.say(if initialized { "Vault is initialized" } else { "Vault is not initialized" })?;
    } else {
        s.show(&json!({ "Initialized": initialized }), "")?;
    }
    Ok(if initialized { 0 } else { 2 })
}

/// Which numbers are sent depends on the seal: an auto-seal splits the recovery key, Shamir's splits the root key.
fn body(s: &mut Session<'_, '_>) -> Result<Map, Failure> {
    let auto = s
        .look_up(Request::get("sys/seal-status").without_token())
        .and_then(|r| Ok(r.json::<SealStatus>()?))
        .is_ok_and(|status| status.recovery_seal);
    let pair = |shares: &str, threshold: &str, standard: bool, s: &Session<'_, '_>| {
        let wanted = standard || s.given(shares).is_some() || s.given(threshold).is_some();
        if wanted { (s.int(shares), s.int(threshold)) } else { (0, 0) }
    };
    let (shares, threshold) = pair("key-shares", "key-threshold", !auto, s);
    let (recovery_shares, recovery_threshold) = pair("recovery-shares", "recovery-threshold", auto, s);
    let root_key = pgp::load(&s.all("root-token-pgp-key"))?.into_iter().next().unwrap_or_default();
    let body = json!({
        "secret_shares": shares,
        "secret_threshold": threshold,
        "stored_shares": s.int("stored-shares"),
        "pgp_keys": pgp::load(&s.all("pgp-keys"))?,
        "recovery_shares": recovery_shares,
        "recovery_threshold": recovery_threshold,
        "recovery_pgp_keys": pgp::load(&s.all("recovery-pgp-keys"))?,
        "root_token_pgp_key": root_key,
    });
    match body {
        Value::Object(mut map) => {
            let glass = pgp::load(&s.all("break-glass-pgp-keys"))?;
            // Other servers than ours do not know these.
            if s.given("break-glass-shares").is_some() || s.given("break-glass-threshold").is_some() || !glass.is_empty() {
                map.insert("break_glass_shares".into(), s.int("break-glass-shares").into());
                map.insert("break_glass_threshold".into(), s.int("break-glass-threshold").into());
                map.insert("break_glass_pgp_keys".into(), glass.into());
            }
            Ok(map)
        }
        _ => Ok(Map::new()),
    }
}

/// The server's answer; never `Debug`.
#[derive(Deserialize)]
struct Keys {
    keys: Option<Vec<String>>,
    keys_base64: Option<Vec<String>>,
    recovery_keys: Option<Vec<String>>,
    recovery_keys_base64: Option<Vec<String>>,
    break_glass_keys: Option<Vec<String>>,
    break_glass_keys_base64: Option<Vec<String>>,
    root_token: String,
}

/// What `-format=json` prints; Vault's client made these names, the server knows others.
#[derive(Serialize)]
struct Printed {
    unseal_keys_b64: Vec<String>,
    unseal_keys_hex: Vec<String>,
    unseal_shares: i64,
    unseal_threshold: i64,
    recovery_keys_b64: Vec<String>,
    recovery_keys_hex: Vec<String>,
    recovery_keys_shares: i64,
    recovery_keys_threshold: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    break_glass_keys_b64: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    break_glass_keys_hex: Vec<String>,
    #[serde(skip)]
    break_glass_keys_threshold: i64,
    root_token: String,
}

fn words(p: &Printed, program: &str) -> String {
    let mut out = String::new();
    for (i, key) in p.unseal_keys_b64.iter().enumerate() {
        out.push_str(&format!("Unseal Key {}: {key}\n", i + 1));
    }
    for (i, key) in p.recovery_keys_b64.iter().enumerate() {
        out.push_str(&format!("Recovery Key {}: {key}\n", i + 1));
    }
    for (i, key) in p.break_glass_keys_b64.iter().enumerate() {
        out.push_str(&format!("Break-Glass Key {}: {key}\n", i + 1));
    }
    out.push_str(&format!("\nInitial Root Token: {}\n", p.root_token));
    if p.unseal_keys_b64.is_empty() {
        out.push_str("\nSuccess! Vault is initialized\n");
    } else {
        let (n, t) = (p.unseal_shares, p.unseal_threshold);
        out.push_str(&format!(
            "\nVault initialized with {n} key shares and a key threshold of {t}. Please securely\ndistribute the key shares printed \
             above. When the Vault is re-sealed,\nrestarted, or stopped, you must supply at least {t} of these keys to unseal it\n\
             before it can start servicing requests.\n\nVault does not store the generated root key. Without at least {t} keys to\n\
             reconstruct the root key, Vault will remain permanently sealed!\n\nIt is possible to generate new unseal keys, provided \
             you have a quorum of\nexisting unseal keys shares. See \"{program} operator rekey\" for more information."
        ));
    }
    if !p.recovery_keys_b64.is_empty() {
        out.push_str(&format!(
            "\nRecovery key initialized with {} key shares and a key threshold of {}. Please\nsecurely distribute the key shares \
             printed above.",
            p.recovery_keys_shares, p.recovery_keys_threshold
        ));
    }
    if !p.break_glass_keys_b64.is_empty() {
        out.push_str(&format!(
            "\n\nAny {} of the break-glass keys open the server without its seal, with\n\"operator unseal -break-glass\". Keep them \
             as you would unseal keys.",
            p.break_glass_keys_threshold
        ));
    }
    out.trim_end_matches('\n').to_owned()
}
