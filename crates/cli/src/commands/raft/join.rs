//! `operator raft join LEADER_ADDRESS`.

use api_types::Map;
use client::Request;
use serde_json::json;

use crate::command::Command;
use crate::commands::basic::status::cell;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, int, switch, text};
use crate::render::key_values;
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        text("leader-ca-cert", "CA certificate (PEM, or @file) of the leader."),
        text("leader-client-cert", "Client certificate (PEM, or @file) to show to the leader."),
        text("leader-client-key", "Client key (PEM, or @file) that belongs to it."),
        text("leader-tls-servername", "Name that the leader's certificate must carry."),
        switch("retry", "Keep trying if the leader does not answer."),
        switch("non-voter", "Join without a vote."),
        text("auto-join-scheme", "Scheme of discovered leaders, http or https."),
        int("auto-join-port", "Port of discovered leaders."),
    ],
};

/// Joins a cluster.
pub static COMMAND: Command = Command {
    path: "operator raft join",
    synopsis: "Joins a node to the Raft cluster",
    operands: "[options] <leader-api-addr|auto-join-configuration>",
    about: "\
Makes this node part of a cluster. It is unsealed with the cluster's keys after
that.

    $ {bin} operator raft join \"https://vault-0.vault-internal:8200\"",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_most(1)?;
    let leader = s.arg(0).trim().to_owned();
    let auto = leader.contains("provider=");
    let mut body = Map::new();
    body.insert(if auto { "auto_join" } else { "leader_api_addr" }.to_owned(), json!(leader));
    for (key, flag) in [
        ("leader_ca_cert", "leader-ca-cert"),
        ("leader_client_cert", "leader-client-cert"),
        ("leader_client_key", "leader-client-key"),
    ] {
        body.insert(key.to_owned(), json!(content(s.text(flag))?));
    }
    body.insert("leader_tls_servername".to_owned(), json!(s.text("leader-tls-servername")));
    body.insert("retry".to_owned(), json!(s.on("retry")));
    body.insert("non_voter".to_owned(), json!(s.on("non-voter")));
    body.insert("auto_join_scheme".to_owned(), json!(s.text("auto-join-scheme")));
    body.insert("auto_join_port".to_owned(), json!(s.int("auto-join-port")));
    let request = Request::post("sys/storage/raft/join").without_token().json(&body);
    let answer: Map = s.json(&request).doing("joining the node to the Raft cluster")?;
    s.show(&answer, &key_values(vec![("Joined", cell(&answer, "joined"))]))?;
    Ok(0)
}

fn content(word: &str) -> Result<String, Failure> {
    match word.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|e| Failure::Local(format!("open {path}: {}", crate::kv_pairs::go_words(&e))))
        }
        None => Ok(word.to_owned()),
    }
}
