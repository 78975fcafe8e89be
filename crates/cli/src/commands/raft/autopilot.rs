//! `operator raft autopilot state | get-config | set-config`.

use api_types::Map;
use client::{Request, SecretReply};
use serde_json::{Value, json};

use crate::command::Command;
use crate::commands::basic::status::cell;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, int, period, switch, text};
use crate::render::{Format, go_value, key_values};
use crate::session::Session;

static DR: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[text("dr-token", "Token for disaster recovery, when the cluster is a replicated secondary.")],
};
static CONFIG: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("cleanup-dead-servers", "Whether nodes that stay away are taken out."),
        period("last-contact-threshold", "How long a healthy node may have heard nothing of the leader."),
        period("dead-server-last-contact-threshold", "How long a node must be away before it is taken out."),
        int("max-trailing-logs", "How many log entries a healthy node may be behind."),
        int("min-quorum", "The least number of nodes; none is taken out below that."),
        period("server-stabilization-time", "How long a new node must be healthy before it gets a vote."),
        switch("disable-upgrade-migration", "Whether nodes of a newer version are kept from taking over."),
        text("dr-token", "Token for disaster recovery, when the cluster is a replicated secondary."),
    ],
};

/// Prints the health of the cluster.
pub static STATE: Command = Command {
    path: "operator raft autopilot state",
    synopsis: "Displays the state of the raft cluster under autopilot",
    operands: "[options]",
    about: "\
Prints how healthy each node is and how many may fail.

    $ {bin} operator raft autopilot state",
    sets: &[&HTTP, &FORMAT, &DR],
    run: Some(state),
};

/// Prints the settings.
pub static GET_CONFIG: Command = Command {
    path: "operator raft autopilot get-config",
    synopsis: "Returns the configuration of the autopilot subsystem",
    operands: "[options]",
    about: "Prints the settings of autopilot.\n\n    $ {bin} operator raft autopilot get-config",
    sets: &[&HTTP, &FORMAT, &DR],
    run: Some(get_config),
};

/// Changes the settings.
pub static SET_CONFIG: Command = Command {
    path: "operator raft autopilot set-config",
    synopsis: "Modify the configuration of the autopilot subsystem",
    operands: "[options]",
    about: "\
Changes the given settings of autopilot.

    $ {bin} operator raft autopilot set-config -min-quorum=3 -cleanup-dead-servers=true",
    sets: &[&HTTP, &CONFIG],
    run: Some(set_config),
};

const SETTINGS: [(&str, &str); 7] = [
    ("Cleanup Dead Servers", "cleanup_dead_servers"),
    ("Last Contact Threshold", "last_contact_threshold"),
    ("Dead Server Last Contact Threshold", "dead_server_last_contact_threshold"),
    ("Server Stabilization Time", "server_stabilization_time"),
    ("Min Quorum", "min_quorum"),
    ("Max Trailing Logs", "max_trailing_logs"),
    ("Disable Upgrade Migration", "disable_upgrade_migration"),
];

const SERVER_LINES: [(&str, &str); 11] = [
    ("Name", "name"),
    ("Address", "address"),
    ("Status", "status"),
    ("Node Status", "node_status"),
    ("Healthy", "healthy"),
    ("Last Contact", "last_contact"),
    ("Last Term", "last_term"),
    ("Last Index", "last_index"),
    ("Version", "version"),
    ("Upgrade Version", "upgrade_version"),
    ("Node Type", "node_type"),
];

/// Where values stand; scripts cut at these columns.
const TITLE_COLUMNS: usize = 33;
const SERVER_TITLE_COLUMNS: usize = 19;

fn read(s: &mut Session<'_, '_>, what: &str, doing: &str) -> Result<Map, Failure> {
    let secret: Option<SecretReply> = s.secret(&Request::get(&format!("sys/storage/raft/autopilot/{what}"))).doing(doing)?;
    secret.and_then(|x| x.data).ok_or_else(|| Failure::Server(format!("No raft autopilot {what} found")))
}

fn get_config(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let data = read(s, "configuration", "reading the raft autopilot configuration")?;
    let rows = SETTINGS.iter().map(|(title, key)| (*title, cell(&data, key))).collect();
    s.show(&data, &key_values(rows))?;
    Ok(0)
}

fn set_config(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let mut body = Map::new();
    for (_, key) in SETTINGS {
        let flag = key.replace('_', "-");
        let Some(given) = s.given(&flag) else { continue };
        let value = match key {
            "cleanup_dead_servers" | "disable_upgrade_migration" => json!(s.on(&flag)),
            "max_trailing_logs" | "min_quorum" => json!(s.int(&flag)),
            _ if given.is_empty() => continue,
            _ => json!(s.go_duration(&flag)),
        };
        body.insert(key.to_owned(), value);
    }
    let dr = s.text("dr-token").to_owned();
    if !dr.is_empty() {
        body.insert("dr_operation_token".to_owned(), json!(dr));
    }
    s.call(&Request::post("sys/storage/raft/autopilot/configuration").json(&body))
        .doing("updating raft autopilot configuration")?;
    s.say("Success! Updated autopilot configuration.")?;
    Ok(0)
}

fn state(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let data = read(s, "state", "checking autopilot state")?;
    let words = words(&data);
    if s.format == Format::Pretty {
        s.say(&words)?;
    } else {
        s.show(&data, &words)?;
    }
    Ok(0)
}

/// The state as indented lines.
fn words(data: &Map) -> String {
    let names =
        |key: &str| -> Vec<String> { data.get(key).and_then(Value::as_array).into_iter().flatten().map(go_value).collect() };
    let mut rows = vec![("Healthy", "healthy"), ("Failure Tolerance", "failure_tolerance"), ("Leader", "leader")];
    if data.contains_key("optimistic_failure_tolerance") {
        rows.insert(2, ("Optimistic Failure Tolerance", "optimistic_failure_tolerance"));
    }
    let line = |title: &str, width: usize, text: String| format!("{:<width$}{text}", format!("{title}:"));
    let lines: Vec<String> = rows.into_iter().map(|(title, key)| line(title, TITLE_COLUMNS, cell(data, key))).collect();
    let mut out = lines.join("\n");
    for (title, key) in [("Voters", "voters"), ("Non Voters", "non_voters")] {
        let names = names(key);
        if !names.is_empty() {
            out.push_str(&format!("\n{title}:"));
            names.iter().for_each(|name| out.push_str(&format!("\n   {name}")));
        }
    }
    out.push_str("\nServers:");
    for (id, server) in data.get("servers").and_then(Value::as_object).into_iter().flatten() {
        out.push_str(&format!("\n   {id}"));
        let Some(server) = server.as_object() else { continue };
        for (title, key) in SERVER_LINES.iter().filter(|(_, key)| server.contains_key(*key)) {
            out.push_str(&format!("\n      {}", line(title, SERVER_TITLE_COLUMNS, cell(server, key))));
        }
    }
    out
}
