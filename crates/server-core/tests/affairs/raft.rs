use std::io::Read as _;

use api_types::Operation::{Read, Update};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::{Server, registry};
use crate::{ask, get, post};

#[tokio::test]
async fn one_node_and_no_other() {
    let s = Server::start().await;
    let seen = get(&s, "sys/storage/raft/configuration").await;
    let want =
        json!([{ "node_id": "node1", "address": "127.0.0.1:8201", "leader": true, "protocol_version": "3", "voter": true }]);
    assert_eq!(seen.data()["config"]["servers"], want);
    assert_eq!(ask(&s, Read, "sys/storage/raft/configuration", Value::Null, "").await.error(), "permission denied");
    for (body, status, text) in [
        (json!({}), 400, "no server id provided"),
        (json!({ "server_id": "node1" }), 500, "1 error occurred:\n\t* need at least one voter in configuration: {[]}\n\n"),
        (json!({ "server_id": "none" }), 204, ""),
    ] {
        let seen = post(&s, "sys/storage/raft/remove-peer", body.clone()).await;
        assert_eq!(seen.status, status, "{body}");
        assert!(status == 204 || seen.error() == text);
    }
    for body in [json!({}), json!({ "leader_api_addr": "http://127.0.0.1:1" })] {
        let seen = ask(&s, Update, "sys/storage/raft/join", body, "").await;
        assert_eq!((seen.status, seen.body), (200, json!({ "joined": true })));
    }
    let seen = get(&s, "sys/storage/raft/autopilot/state").await;
    let state = seen.data();
    assert_eq!((&state["healthy"], &state["leader"], &state["voters"]), (&json!(true), &json!("node1"), &json!(["node1"])));
    assert_eq!(state["servers"]["node1"]["status"], "leader");
    assert_eq!(state["failure_tolerance"], 0);
}

#[tokio::test]
async fn a_challenge_in_vaults_way_is_remembered_within_bounds() {
    let s = Server::start().await;
    let (ask_for, give) = ("sys/storage/raft/bootstrap/challenge", "sys/storage/raft/bootstrap/answer");
    assert_eq!(post(&s, ask_for, json!({})).await.error(), "no server id provided");
    let seen = ask(&s, Update, ask_for, json!({ "server_id": "new" }), "").await;
    assert_eq!(seen.data()["challenge"].as_str().unwrap().len(), 68);
    let config = json!({ "type": "shamir", "secret_shares": 1, "secret_threshold": 1, "pgp_keys": null, "nonce": "",
        "backup": false, "stored_shares": 1, "name": "" });
    assert_eq!(seen.data()["seal_config"], config);
    let full = |id: &str, answer: &str| json!({ "server_id": id, "cluster_addr": "127.0.0.1:9", "answer": answer });
    for (body, text) in [
        (json!({}), "no server_id provided"),
        (json!({ "server_id": "new" }), "no answer provided"),
        (json!({ "server_id": "new", "answer": "AAAA" }), "no cluster_addr provided"),
        (full("new", "!"), "could not base64 decode answer"),
        (full("other", "AAAA"), "no expected answer for the server id provided"),
        (full("new", "AAAA"), "invalid answer given"),
        // A wrong answer spoils nothing for the node that was asked.
        (full("new", &BASE64_STANDARD.encode([0; 16])), "invalid answer given"),
    ] {
        let seen = ask(&s, Update, give, body.clone(), "").await;
        assert_eq!((seen.status, seen.error()), (400, text), "{body}");
    }
    // Anybody can ask, so what is remembered is bounded.
    for n in 0..63 {
        assert_eq!(ask(&s, Update, ask_for, json!({ "server_id": n.to_string() }), "").await.status, 200);
    }
    let seen = ask(&s, Update, ask_for, json!({ "server_id": "one more" }), "").await;
    assert_eq!((seen.status, seen.error()), (429, "too many raft challenges in flight"));
    assert_eq!(ask(&s, Update, ask_for, json!({ "server_id": "5" }), "").await.status, 200, "a known name is asked anew");
    let seen = ask(&s, Update, ask_for, json!({ "server_id": "mine", "with_root_key": true }), "").await;
    let given = seen.data();
    assert_eq!(seen.status, 200, "nodes of this kind need no place among them");
    assert!(given["root_key"].is_string() && given["raft_id"].is_string() && given["cluster_addr"] == "127.0.0.1:8201");
    let forged = BASE64_STANDARD.encode([7; 80]);
    let body = json!({ "server_id": "mine", "cluster_addr": "127.0.0.1:9", "answer": "AAAA", "statement": forged });
    let seen = ask(&s, Update, give, body, "").await;
    assert_eq!((seen.status, seen.error()), (400, "invalid answer given"), "not under the root key");
    let seen = ask(&s, Update, ask_for, json!({ "server_id": "x".repeat(257) }), "").await;
    assert_eq!(seen.error(), "server id exceeds max length");
}

#[tokio::test]
async fn autopilot_settings_are_kept() {
    let s = Server::start().await;
    let path = "sys/storage/raft/autopilot/configuration";
    let want = json!({ "cleanup_dead_servers": false, "last_contact_threshold": "10s",
        "dead_server_last_contact_threshold": "24h0m0s", "max_trailing_logs": 1000, "min_quorum": 0,
        "server_stabilization_time": "10s", "disable_upgrade_migration": false });
    assert_eq!(get(&s, path).await.data(), &want);
    for (body, start) in [
        (json!({ "cleanup_dead_servers": true }), "min_quorum must be set when cleanup_dead_servers is set"),
        (json!({ "cleanup_dead_servers": true, "min_quorum": 2 }), "min_quorum must be set when cleanup_dead_servers is set"),
        (
            json!({ "cleanup_dead_servers": true, "min_quorum": 3, "dead_server_last_contact_threshold": "59s" }),
            "dead_server_last_contact_threshold should not be set to less than 1m",
        ),
        (json!({ "min_quorum": -1 }), "min_quorum must not be negative"),
        (json!({ "last_contact_threshold": "soon" }), "Field validation failed: "),
    ] {
        let seen = post(&s, path, body.clone()).await;
        assert!(seen.status == 400 && seen.error().starts_with(start), "{body} {seen:?}");
    }
    assert_eq!(get(&s, path).await.data(), &want);
    let body =
        json!({ "cleanup_dead_servers": true, "min_quorum": "3", "last_contact_threshold": "1m", "max_trailing_logs": 500 });
    assert_eq!(post(&s, path, body).await.status, 204);
    let seen = get(&s, path).await;
    assert_eq!((&seen.data()["min_quorum"], &seen.data()["last_contact_threshold"]), (&json!(3), &json!("1m0s")));
    assert_eq!(seen.data()["server_stabilization_time"], "10s");
}

#[tokio::test]
async fn a_snapshot_holds_four_files_with_right_sums() {
    let s = Server::start().await;
    let seen = get(&s, "sys/storage/raft/snapshot").await;
    assert_eq!(seen.status, 200);
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(seen.bytes.as_slice()).read_to_end(&mut tar).unwrap();
    let mut files = Vec::new();
    let mut at = 0;
    while tar[at] != 0 {
        let name = String::from_utf8(tar[at..at + 100].iter().copied().take_while(|b| *b != 0).collect()).unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&tar[at + 124..at + 135]).unwrap(), 8).unwrap();
        files.push((name, tar[at + 512..at + 512 + size].to_vec()));
        at += 512 + size.next_multiple_of(512);
    }
    let names: Vec<&str> = files.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["meta.json", "state.bin", "SHA256SUMS", "SHA256SUMS.sealed"]);
    let meta: Value = serde_json::from_slice(&files[0].1).unwrap();
    assert_eq!(meta["Size"], files[1].1.len());
    assert_eq!(meta["Configuration"]["Servers"][0]["ID"], "node1");
    let sums = String::from_utf8(files[2].1.clone()).unwrap();
    for (name, bytes) in &files[..2] {
        assert!(sums.contains(&format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)))), "{name}");
    }
    assert!(!files[3].1.is_empty());
    // Vault's list of records; no name can be read but those of the three public records.
    let state = &files[1].1;
    assert!(state.windows(12).any(|w| w == b"core/keyring"));
    assert!(!state.windows(10).any(|w| w == b"sys/policy"));
    for path in ["sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force"] {
        let seen = post(&s, path, Value::Null).await;
        assert_eq!((seen.status, seen.error()), (400, "the request has no snapshot in its body"), "{path}");
        assert_eq!(ask(&s, Update, path, Value::Null, "").await.status, 403, "{path}");
    }
    assert_eq!(ask(&s, Read, "sys/storage/raft/snapshot", Value::Null, "").await.status, 403);
}

#[tokio::test]
async fn other_storage_has_no_raft() {
    let config = server_core::CoreConfig { storage_type: "inmem".into(), ..server_core::CoreConfig::default() };
    let s = Server::start_with(registry(), config).await;
    for path in ["configuration", "autopilot/state", "autopilot/configuration", "snapshot"] {
        let seen = get(&s, &format!("sys/storage/raft/{path}")).await;
        assert_eq!((seen.status, seen.error()), (400, "raft storage is not in use"), "{path}");
    }
    assert_eq!(post(&s, "sys/storage/raft/remove-peer", json!({ "server_id": "a" })).await.error(), "raft storage is not in use");
    assert_eq!(post(&s, "sys/storage/raft/join", json!({})).await.error(), "raft backend not in use");
    // Raw storage is off unless configured.
    assert_eq!(get(&s, "sys/raw/core/mounts").await.error(), "1 error occurred:\n\t* unsupported path\n\n");
}
