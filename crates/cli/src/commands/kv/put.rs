//! `kv put KEY K=V...`.

use api_types::Map;
use client::Request;
use serde_json::{Value, json};

use super::{MOUNT_FLAG, Target, show_version};
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, Flag, FlagSet, HTTP, int};
use crate::kv_pairs;
use crate::session::Session;

pub(super) const CAS_FLAG: Flag =
    int("cas", "Write only if this is the newest version; 0 means that the key must not exist. Not checked if not given.")
        .or("-1");

static OPTIONS: FlagSet = FlagSet { title: "Common Options", flags: &[CAS_FLAG, MOUNT_FLAG] };

/// Writes a key.
pub static COMMAND: Command = Command {
    path: "kv put",
    synopsis: "Sets or updates data in the KV store",
    operands: "[options] KEY [DATA]",
    about: "\
Writes a value, instead of the one that is there. Data is given as for \"write\".

    $ {bin} kv put -mount=secret foo bar=baz
    $ {bin} kv put -mount=secret foo @data.json
    $ echo \"abcd1234\" | {bin} kv put -mount=secret foo bar=-",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_least(1)?;
    let data = data(s)?;
    let target = Target::of(s)?;
    let path = target.at("data");
    let body = if target.versioned { json!({ "data": data, "options": cas_options(s) }) } else { Value::Object(data) };
    let answer = s.secret(&Request::put(&path).json(&body)).doing(&format!("writing data to {path}"))?;
    show_version(s, &path, answer)
}

/// The data behind the key.
pub(super) fn data(s: &mut Session<'_, '_>) -> Result<Map, Failure> {
    if s.args.len() < 2 {
        return Err(Failure::Local("Must supply data".to_owned()));
    }
    let words: Vec<String> = s.args.iter().skip(1).cloned().collect();
    kv_pairs::parse(&words, s.host.input).map_err(|e| Failure::Local(format!("Failed to parse K=V data: {e}")))
}

/// `{}` or `{"cas": n}`.
pub(super) fn cas_options(s: &Session<'_, '_>) -> Value {
    match s.int("cas") {
        n if n >= 0 => json!({ "cas": n }),
        _ => json!({}),
    }
}
