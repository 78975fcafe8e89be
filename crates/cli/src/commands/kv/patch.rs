//! `kv patch KEY K=V...`: as a merge patch, or by reading and writing where patching is not allowed.

use api_types::Map;
use client::{Request, SecretReply};
use serde_json::{Value, json};

use super::put::{CAS_FLAG, cas_options, data};
use super::{MOUNT_FLAG, Target, show_version};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, list, text};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Common Options",
    flags: &[
        CAS_FLAG,
        text("method", "\"patch\" sends a merge patch, \"rw\" reads and writes. Without it, patching is tried first."),
        list("remove-data", "Key to remove. May be given more than once."),
        MOUNT_FLAG,
    ],
};

/// Changes some keys.
pub static COMMAND: Command = Command {
    path: "kv patch",
    synopsis: "Sets or updates data in the KV store without overwriting",
    operands: "[options] KEY [DATA]",
    about: "\
Changes the given keys of a value and leaves the others as they are. The value
must exist.

    $ {bin} kv patch -mount=secret foo bar=baz",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_least(1)?;
    let method = s.text("method").to_owned();
    if !matches!(method.as_str(), "" | "patch" | "rw") {
        return Err(Failure::Local(format!("Unsupported method provided to -method flag: {method}")));
    }
    let removed = s.all("remove-data");
    let mut change = if s.args.len() < 2 && !removed.is_empty() { Map::new() } else { data(s)? };
    change.extend(removed.into_iter().map(|key| (key, Value::Null)));
    let target = Target::of(s)?;
    let path = target.at("data");
    if !target.versioned {
        return Err(Failure::Server("K/V engine mount must be version 2 for patch support".to_owned()));
    }
    if method == "rw" {
        return read_then_write(s, &path, &change);
    }
    let body = json!({ "data": change, "options": cas_options(s) });
    match s.secret(&Request::patch(&path).json(&body)) {
        Ok(None) => Err(Failure::Server(format!("No value found at {path}"))),
        Ok(answer) => show_version(s, &path, answer),
        // Not allowed to patch, or a server that cannot: reading and writing may still be allowed.
        Err(fault) if method.is_empty() && matches!(fault.status(), Some(403 | 405)) => read_then_write(s, &path, &change),
        Err(fault) => Err(fault).doing(&format!("writing data to {path}")),
    }
}

fn read_then_write(s: &mut Session<'_, '_>, path: &str, change: &Map) -> Outcome {
    let old = s.look_up_secret(Request::get(path)).doing(&format!("doing pre-read at {path}"))?;
    let Some((mut data, version)) = old.as_ref().and_then(newest) else {
        return Err(Failure::Server(format!("No value found at {path}")));
    };
    for (key, value) in change {
        match value {
            Value::Null => data.remove(key),
            value => data.insert(key.clone(), value.clone()),
        };
    }
    let cas = if s.int("cas") >= 0 { json!(s.int("cas")) } else { version };
    let body = json!({ "data": data, "options": { "cas": cas } });
    let answer = s.secret(&Request::put(path).json(&body)).doing(&format!("writing data to {path}"))?;
    show_version(s, path, answer)
}

/// Data and version number; `None` if the newest version is deleted.
pub(super) fn newest(secret: &SecretReply) -> Option<(Map, Value)> {
    let data = secret.get("data")?.as_object()?.clone();
    Some((data, secret.get("metadata")?.get("version")?.clone()))
}
