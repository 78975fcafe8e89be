//! `operator raft list-peers` and `remove-peer`.

use client::Request;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, text};
use crate::render::{go_value, headed};
use crate::session::Session;

static DR: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[text("dr-token", "Token for disaster recovery, when the cluster is a replicated secondary.")],
};

/// Lists the nodes of the raft cluster.
pub static LIST: Command = Command {
    path: "operator raft list-peers",
    synopsis: "Returns the Raft peer set",
    operands: "[options]",
    about: "\
Prints the nodes of the cluster, which of them leads, and which have a vote.

    $ {bin} operator raft list-peers",
    sets: &[&HTTP, &FORMAT, &DR],
    run: Some(list),
};

/// Takes a node out of the raft cluster.
pub static REMOVE: Command = Command {
    path: "operator raft remove-peer",
    synopsis: "Removes a node from the Raft cluster",
    operands: "[options] SERVER_ID",
    about: "\
Takes a node out of the cluster, for one that will not come back.

    $ {bin} operator raft remove-peer node1",
    sets: &[&HTTP, &DR],
    run: Some(remove),
};

fn list(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let dr = s.text("dr-token").to_owned();
    let request = if dr.is_empty() {
        Request::get("sys/storage/raft/configuration")
    } else {
        Request::put("sys/storage/raft/configuration").json(&json!({ "dr_operation_token": dr }))
    };
    let answer = s.secret(&request).doing("reading the raft cluster configuration")?;
    let Some(data) = answer.as_ref().and_then(|a| a.data.as_ref()) else {
        return Err(Failure::Server("No raft cluster configuration found".to_owned()));
    };
    let servers = data.get("config").and_then(|c| c.get("servers")).and_then(Value::as_array);
    let rows = servers.into_iter().flatten().map(row).collect();
    let table = headed(&["Node", "Address", "State", "Voter"], rows);
    match answer {
        Some(secret) => s.show(&secret, &table)?,
        None => s.say(&table)?,
    }
    Ok(0)
}

fn row(server: &Value) -> Vec<String> {
    let text = |key: &str| server.get(key).map(go_value).unwrap_or_default();
    let state = if server.get("leader").and_then(Value::as_bool) == Some(true) { "leader" } else { "follower" };
    vec![text("node_id"), text("address"), state.to_owned(), text("voter")]
}

fn remove(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let id = s.arg(0).trim().to_owned();
    let body = json!({ "server_id": id, "dr_operation_token": s.text("dr-token") });
    s.call(&Request::post("sys/storage/raft/remove-peer").json(&body)).doing("removing the peer from raft cluster")?;
    s.say("Peer removed successfully!")?;
    Ok(0)
}
