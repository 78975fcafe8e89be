//! `kv metadata put` and `kv metadata patch`.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use super::{MOUNT_FLAG, Target};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, Flag, FlagSet, HTTP, int, list, map, period, switch};
use crate::render::Format;
use crate::session::Session;

const MAX: Flag = int("max-versions", "How many versions to keep; the mount's number if 0.").or("-1");
const CAS: Flag = switch("cas-required", "Whether every write must name the newest version.");
const DELETE_AFTER: Flag =
    period("delete-version-after", "Delete a version this long after it was made; the mount's time if 0, never if negative.");
const CUSTOM: Flag = map("custom-metadata", "A key=value of your own. May be given more than once.");

static PUT_OPTIONS: FlagSet = FlagSet { title: "Common Options", flags: &[MAX, CAS, DELETE_AFTER, CUSTOM, MOUNT_FLAG] };
static PATCH_OPTIONS: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[
        MAX,
        CAS,
        DELETE_AFTER,
        CUSTOM,
        list("remove-custom-metadata", "Key of your own to remove. May be given more than once."),
        MOUNT_FLAG,
    ],
};

/// Writes settings.
pub static PUT: Command = Command {
    path: "kv metadata put",
    synopsis: "Sets or updates key settings in the KV store",
    operands: "[options] KEY",
    about: "\
Makes a key without a value, or changes its settings. All custom metadata is
replaced if some is given.

    $ {bin} kv metadata put -mount=secret -max-versions=5 -delete-version-after=3h foo",
    sets: &[&HTTP, &FORMAT, &PUT_OPTIONS],
    run: Some(|s| run(s, false)),
};

/// Changes settings.
pub static PATCH: Command = Command {
    path: "kv metadata patch",
    synopsis: "Patches key settings in the KV store",
    operands: "[options] KEY",
    about: "\
Changes the given settings of a key and leaves the others as they are.

    $ {bin} kv metadata patch -mount=secret -custom-metadata=foo=abc foo",
    sets: &[&HTTP, &FORMAT, &PATCH_OPTIONS],
    run: Some(|s| run(s, true)),
};

fn run(s: &mut Session<'_, '_>, patch: bool) -> Outcome {
    s.expect(1)?;
    let path = Target::versioned(s, "Metadata")?.at("metadata");
    let body = settings(s);
    if patch && body.is_empty() {
        return Err(Failure::Local("Must supply settings to patch".to_owned()));
    }
    let request = if patch { Request::patch(&path) } else { Request::put(&path) };
    let answer = s.secret(&request.json(&body)).doing(&format!("writing data to {path}"))?;
    match answer {
        Some(secret) if !secret.is_empty() || !secret.warnings().is_empty() => s.show_secret(&secret),
        _ => {
            if s.format == Format::Table {
                s.say(&format!("Success! Data written to: {path}"))?;
            }
            Ok(0)
        }
    }
}

/// Only what was given, so that nothing else changes.
fn settings(s: &Session<'_, '_>) -> Map {
    let mut out = Map::new();
    if s.int("max-versions") >= 0 {
        out.insert("max_versions".to_owned(), json!(s.int("max-versions")));
    }
    if s.given("cas-required").is_some() {
        out.insert("cas_required".to_owned(), json!(s.on("cas-required")));
    }
    if s.given("delete-version-after").is_some() {
        out.insert("delete_version_after".to_owned(), json!(s.go_duration("delete-version-after")));
    }
    let mut custom: Map = s.pairs("custom-metadata").into_iter().map(|(k, v)| (k, Value::String(v))).collect();
    custom.extend(s.all("remove-custom-metadata").into_iter().map(|k| (k, Value::Null)));
    if !custom.is_empty() {
        out.insert("custom_metadata".to_owned(), Value::Object(custom));
    }
    out
}
