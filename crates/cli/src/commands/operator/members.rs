//! `operator members`.

use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::render::{go_value, headed};
use crate::session::Session;

/// Lists the nodes.
pub static COMMAND: Command = Command {
    path: "operator members",
    synopsis: "Returns the list of nodes in the cluster",
    operands: "[options]",
    about: "\
Prints the nodes of the cluster, as the active one sees them.

    $ {bin} operator members",
    sets: &[&HTTP, &FORMAT],
    run: Some(run),
};

/// Title and key of each column.
const COLUMNS: [(&str, &str); 11] = [
    ("Host Name", "hostname"),
    ("API Address", "api_address"),
    ("Cluster Address", "cluster_address"),
    ("Active Node", "active_node"),
    ("Version", "version"),
    ("Upgrade Version", "upgrade_version"),
    ("Redundancy Zone", "redundancy_zone"),
    ("Last Echo", "last_echo"),
    ("Echo Duration", "echo_duration_ms"),
    ("Clock Skew", "clock_skew_ms"),
    ("Replication Primary Canary Age", "replication_primary_canary_age_ms"),
];

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let answer: Value = s.json(&Request::get("sys/ha-status")).doing("looking up HA status")?;
    let nodes = answer.get("nodes").or_else(|| answer.get("data")?.get("nodes")).cloned().unwrap_or_else(|| json!([]));
    let rows =
        nodes.as_array().into_iter().flatten().map(|node| COLUMNS.iter().map(|(_, key)| cell(node, key)).collect()).collect();
    let table = headed(&COLUMNS.map(|(title, _)| title), rows);
    s.show(&json!({ "Nodes": nodes }), &table)?;
    Ok(0)
}

fn cell(node: &Value, key: &str) -> String {
    match node.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::Number(ms)) if key.ends_with("_ms") => format!("{ms}ms"),
        Some(value) => go_value(value),
    }
}
