//! `operator rekey`: new unseal or recovery shares.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use super::{PGP_KEYS, pgp, share};
use crate::command::Command;
use crate::commands::basic::status::{cell, number};
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, int, switch, text};
use crate::render::{Format, key_values};
use crate::session::Session;

static COMMON: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[
        switch("init", "Start a rekey. Only if none is running."),
        switch("cancel", "Stop the running rekey and forget the shares given so far; with -verify, restart the verification."),
        switch("status", "Print the state of the running rekey."),
        switch("verify", "The share, -status or -cancel is for the verification of the new shares."),
        int("key-shares", "How many shares to make.").or("5").alias("n"),
        int("key-threshold", "How many of the new shares are needed.").or("3").alias("t"),
        text("nonce", "The nonce of the rekey; needed with a share as argument."),
        PGP_KEYS,
        switch("require-verification", "Keep the old shares in force until the new ones were given back once."),
        text("target", "\"barrier\", \"recovery\" or \"break-glass\"; the last needs recovery shares, and a token.")
            .or("barrier"),
    ],
};
static BACKUP: FlagSet = FlagSet {
    title: "Backup Options",
    flags: &[
        switch("backup", "Keep the encrypted new shares on the server. Only with -pgp-keys."),
        switch("backup-retrieve", "Print the shares that are kept."),
        switch("backup-delete", "Forget the shares that are kept."),
    ],
};

/// Rekeys.
pub static COMMAND: Command = Command {
    path: "operator rekey",
    synopsis: "Generates new unseal keys",
    operands: "[options] [KEY]",
    about: "\
Replaces the shares of the key by new ones. Start with -init, then give enough of
the old shares, one with each call.

    $ {bin} operator rekey -init -key-shares=5 -key-threshold=3
    $ {bin} operator rekey",
    sets: &[&HTTP, &FORMAT, &COMMON, &BACKUP],
    run: Some(run),
};

/// The two keys that can be split anew.
#[derive(Clone, Copy)]
struct Target {
    base: &'static str,
    backup: &'static str,
    word: &'static str,
}

const BARRIER: Target = Target { base: "sys/rekey", backup: "sys/rekey/backup", word: "unseal" };
const RECOVERY: Target = Target { base: "sys/rekey-recovery-key", backup: "sys/rekey/recovery-key-backup", word: "recovery" };

const BREAK_GLASS: Target = Target { base: "sys/rekey-break-glass", backup: "", word: "break-glass" };

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_most(1)?;
    let target = match s.text("target").to_lowercase().trim() {
        "barrier" => BARRIER,
        "recovery" | "hsm" => RECOVERY,
        "break-glass" => BREAK_GLASS,
        other => return Err(Failure::Local(format!("Unknown target: {other}"))),
    };
    let verify = s.on("verify");
    if target.backup.is_empty() && (s.on("backup-delete") || s.on("backup-retrieve")) {
        return Err(Failure::Local("break-glass keys are not kept on the server".to_owned()));
    }
    if s.on("backup-delete") {
        s.call(&Request::delete(target.backup)).doing("deleting stored keys")?;
        s.say("Success! Delete stored keys (if they existed)")?;
        return Ok(0);
    }
    if s.on("backup-retrieve") {
        return backup(s, target);
    }
    if s.on("cancel") {
        return cancel(s, target, verify);
    }
    if s.on("init") {
        return init(s, target);
    }
    if s.on("status") {
        let status = status(s, target, verify)?;
        show_status(s, &status)?;
        return Ok(0);
    }
    provide(s, target, verify)
}

fn path(target: Target, verify: bool) -> String {
    format!("{}/{}", target.base, if verify { "verify" } else { "init" })
}

fn status(s: &mut Session<'_, '_>, target: Target, verify: bool) -> Result<Map, Failure> {
    s.json(&Request::get(&path(target, verify))).doing("getting rekey status")
}

fn init(s: &mut Session<'_, '_>, target: Target) -> Outcome {
    let keys = pgp::load(&s.all("pgp-keys"))?;
    if s.format == Format::Table && keys.is_empty() && !target.backup.is_empty() {
        s.warn(
            "WARNING! If you lose the keys after they are returned, there is no recovery.\nConsider canceling this operation and \
             re-initializing with the -pgp-keys flag\nto protect the returned unseal keys along with -backup to allow recovery of\n\
             the encrypted keys in case of emergency. You can delete the stored keys later\nusing the -backup-delete flag.\n",
        )?;
    }
    let body = json!({
        "secret_shares": s.int("key-shares"),
        "secret_threshold": s.int("key-threshold"),
        "stored_shares": 0,
        "pgp_keys": keys,
        "backup": s.on("backup"),
        "require_verification": s.on("require-verification"),
    });
    let status: Map = s.json(&Request::put(&path(target, false)).json(&body)).doing("initializing rekey")?;
    show_status(s, &status)?;
    Ok(0)
}

fn cancel(s: &mut Session<'_, '_>, target: Target, verify: bool) -> Outcome {
    // Within ten minutes of the start the server wants to hear the nonce; later it does not matter.
    let nonce = match s.given("nonce").map(str::to_owned) {
        Some(nonce) => nonce,
        None => {
            let status = s.look_up(Request::get(&path(target, verify))).and_then(|r| Ok(r.json::<Map>()?));
            status.map(|m| cell(&m, "nonce")).unwrap_or_default()
        }
    };
    let request = Request::delete(&path(target, verify)).json(&json!({ "nonce": nonce }));
    s.call(&request).doing("canceling rekey")?;
    s.say(if verify {
        "Success! Restarted rekey verification (if it was started)"
    } else {
        "Success! Canceled rekeying (if it was started)"
    })?;
    Ok(0)
}

fn provide(s: &mut Session<'_, '_>, target: Target, verify: bool) -> Outcome {
    let started = status(s, target, verify)?;
    if started.get("started").and_then(Value::as_bool) != Some(true) {
        return Err(Failure::Local(format!(
            "No rekey is in progress. Start a rekey process by running:\n\n  {} operator rekey -init",
            s.host.program
        )));
    }
    let mut nonce = s.text("nonce").to_owned();
    if nonce.is_empty() {
        if !s.arg(0).is_empty() {
            return Err(Failure::Local("Missing nonce value: specify it via the -nonce flag".to_owned()));
        }
        nonce = cell(&started, if verify && started.contains_key("verification_nonce") { "verification_nonce" } else { "nonce" });
        s.warn(&format!("Rekey operation nonce: {nonce}"))?;
    }
    let key = share(s, 0, "Unseal Key (will be hidden): ")?;
    let action = if verify { "verify" } else { "update" };
    let request = Request::put(&format!("{}/{action}", target.base)).json(&json!({ "nonce": nonce, "key": key.expose() }));
    let answer: Map = s.json(&request).doing("posting unseal key")?;
    if answer.get("complete").and_then(Value::as_bool) != Some(true) {
        let status = status(s, target, verify)?;
        show_status(s, &status)?;
        return Ok(0);
    }
    if verify {
        s.say("Rekey verification successful. The rekey operation is complete and the new keys are now active.")?;
        return Ok(0);
    }
    let words = new_keys(&answer, &started, target, &s.host.program);
    s.show(&answer, &words)?;
    Ok(0)
}

fn show_status(s: &mut Session<'_, '_>, status: &Map) -> Result<(), Failure> {
    s.show(status, &key_values(status_rows(status)))
}

fn status_rows(status: &Map) -> Vec<(&'static str, String)> {
    let required = if number(status, "required") > 0 { number(status, "required") } else { number(status, "t") };
    let mut rows = Vec::new();
    if !cell(status, "nonce").is_empty() {
        rows.push(("Nonce", cell(status, "nonce")));
    }
    rows.push(("Started", cell(status, "started")));
    if status.get("started").and_then(Value::as_bool) != Some(true) {
        return rows;
    }
    rows.push(("Rekey Progress", format!("{}/{required}", number(status, "progress"))));
    rows.push(("New Shares", cell(status, "n")));
    rows.push(("New Threshold", cell(status, "t")));
    if status.contains_key("verification_required") {
        rows.push(("Verification Required", cell(status, "verification_required")));
    }
    if !cell(status, "verification_nonce").is_empty() {
        rows.push(("Verification Nonce", cell(status, "verification_nonce")));
    }
    if let Some(Value::Array(fingerprints)) =
        status.get("pgp_fingerprints").filter(|f| f.as_array().is_some_and(|f| !f.is_empty()))
    {
        rows.push(("PGP Fingerprints", crate::render::go_value(&Value::Array(fingerprints.clone()))));
        rows.push(("Backup", cell(status, "backup")));
    }
    rows
}

fn new_keys(answer: &Map, started: &Map, target: Target, program: &str) -> String {
    let list = |key: &str| -> Vec<String> {
        answer.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (keys, fingerprints) = (list("keys_base64"), list("pgp_fingerprints"));
    let mut out = String::new();
    for (i, key) in keys.iter().enumerate() {
        out.push_str(&match fingerprints.get(i) {
            Some(fingerprint) => format!("\nKey {} fingerprint: {fingerprint}; value: {key}", i + 1),
            None => format!("\nKey {}: {key}", i + 1),
        });
    }
    out.push_str(&format!("\n\nOperation nonce: {}", cell(answer, "nonce")));
    if answer.get("backup").and_then(Value::as_bool) == Some(true) {
        out.push_str(&format!(
            "\n\nThe encrypted {} keys are kept on the server at {:?}. They can be\ndeleted at any time with \"{program} operator rekey \
             -backup-delete\".",
            target.word, target.backup
        ));
    }
    if answer.get("verification_required").and_then(Value::as_bool) == Some(true) {
        out.push_str(&format!(
            "\n\nThe new keys are not in force yet. Give enough of them back to verify them:\n\n  {program} operator rekey \
             -verify\n\nVerification nonce: {}",
            cell(answer, "verification_nonce")
        ));
        return out;
    }
    let (n, t) = (cell(started, "n"), cell(started, "t"));
    if target.backup.is_empty() {
        out.push_str(&format!(
            "\n\nThese {n} break-glass keys are in force. Any {t} of them open the server without\nits seal: \"{program} operator \
             unseal -break-glass\". Earlier ones open nothing any more."
        ));
        return out;
    }
    out.push_str(&format!(
        "\n\nVault {} keys rekeyed with {n} key shares and a key threshold of {t}. Please\nsecurely distribute the key shares printed \
         above. When Vault is re-sealed,\nrestarted, or stopped, you must supply at least {t} of these keys to unseal it\nbefore it \
         can start servicing requests.",
        target.word
    ));
    out
}

fn backup(s: &mut Session<'_, '_>, target: Target) -> Outcome {
    let answer = s.secret(&Request::get(target.backup)).doing("retrieving rekey stored keys")?;
    let Some(secret) = answer else { return Err(Failure::Server("No stored keys".to_owned())) };
    s.show_secret(&secret)
}
