//! The `operator` commands.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use std::io::Write;

use support::World;

const SHAMIR: &str = r#"{"type":"shamir","sealed":true,"recovery_seal":false}"#;
const AUTO: &str = r#"{"type":"transit","sealed":true,"recovery_seal":true}"#;

#[test]
fn init_prints_keys_once() {
    let body = r#"{"secret_shares":3,"secret_threshold":2,"stored_shares":0,"pgp_keys":[],"recovery_shares":0,"recovery_threshold":0,"recovery_pgp_keys":[],"root_token_pgp_key":""}"#;
    let answer = r#"{"keys":["aa","bb","cc"],"keys_base64":["qg==","uw==","zA=="],"root_token":"hvs.root"}"#;
    let world = || World::new().on("GET sys/seal-status", 200, SHAMIR).with("PUT sys/init", body, 200, answer);
    let ran = world().run("operator init -n 3 -key-threshold=2");
    let text = "\
Unseal Key 1: qg==
Unseal Key 2: uw==
Unseal Key 3: zA==

Initial Root Token: hvs.root

Vault initialized with 3 key shares and a key threshold of 2. Please securely
distribute the key shares printed above. When the Vault is re-sealed,
restarted, or stopped, you must supply at least 2 of these keys to unseal it
before it can start servicing requests.

Vault does not store the generated root key. Without at least 2 keys to
reconstruct the root key, Vault will remain permanently sealed!

It is possible to generate new unseal keys, provided you have a quorum of
existing unseal keys shares. See \"vault operator rekey\" for more information.
";
    assert_eq!((ran.code, ran.out.as_str()), (0, text));
    assert_eq!(ran.tokens, [None, None]);
    let ran = world().run("operator init -n 3 -t 2 -format=json");
    let text = r#"{
  "unseal_keys_b64": [
    "qg==",
    "uw==",
    "zA=="
  ],
  "unseal_keys_hex": [
    "aa",
    "bb",
    "cc"
  ],
  "unseal_shares": 3,
  "unseal_threshold": 2,
  "recovery_keys_b64": [],
  "recovery_keys_hex": [],
  "recovery_keys_shares": 0,
  "recovery_keys_threshold": 0,
  "root_token": "hvs.root"
}
"#;
    assert_eq!(ran.out, text);
}

#[test]
fn init_of_an_auto_seal_and_its_refusals() {
    let body = r#"{"secret_shares":0,"secret_threshold":0,"stored_shares":0,"pgp_keys":[],"recovery_shares":5,"recovery_threshold":3,"recovery_pgp_keys":[],"root_token_pgp_key":""}"#;
    let answer = r#"{"keys":[],"keys_base64":[],"recovery_keys":["aa"],"recovery_keys_base64":["qg=="],"root_token":"hvs.root"}"#;
    let ran = World::new().on("GET sys/seal-status", 200, AUTO).with("PUT sys/init", body, 200, answer).run("operator init");
    assert!(
        ran.out.starts_with("Recovery Key 1: qg==\n\nInitial Root Token: hvs.root\n\nSuccess! Vault is initialized\n"),
        "{}",
        ran.out
    );
    let ran = World::new()
        .on("GET sys/seal-status", 200, SHAMIR)
        .on("PUT sys/init", 400, r#"{"errors":["Vault is already initialized"]}"#)
        .run("operator init");
    assert!(
        ran.code == 2
            && ran.err.starts_with("Error initializing: Error making API request.")
            && ran.err.contains("* Vault is already initialized")
    );
    for (answer, code, text) in [("true", 0, "Vault is initialized\n"), ("false", 2, "Vault is not initialized\n")] {
        let ran = World::new().on("GET sys/init", 200, &format!("{{\"initialized\":{answer}}}")).run("operator init -status");
        assert_eq!((ran.code, ran.out.as_str()), (code, text));
    }
    assert_eq!(World::new().on("GET sys/init", 500, "{}").run("operator init -status").code, 1);
    assert_eq!(
        World::new().on("GET sys/seal-status", 200, SHAMIR).run("operator init -pgp-keys=/nowhere").err,
        "open /nowhere: no such file or directory\n"
    );
}

#[test]
fn unseal_takes_a_share_from_anywhere() {
    let status = r#"{"type":"shamir","initialized":true,"sealed":true,"t":2,"n":3,"progress":1,"nonce":"n"}"#;
    let body = r#"{"key":"KEY","reset":false,"migrate":false}"#;
    for words in ["operator unseal", "operator unseal KEY", "operator unseal -"] {
        let ran = World::new()
            .with("PUT sys/unseal", body, 200, status)
            .on("GET sys/leader", 200, r#"{"ha_enabled":false}"#)
            .types("KEY")
            .stdin("KEY\n")
            .run(words);
        assert!(
            ran.code == 0 && ran.out.contains("Unseal Progress    1/2\nUnseal Nonce       n\n") && !ran.out.contains("KEY"),
            "{}",
            ran.out
        );
    }
    let ran = World::new()
        .with("PUT sys/unseal", r#"{"reset":true}"#, 200, status)
        .on("GET sys/leader", 200, "{}")
        .run("operator unseal -reset");
    assert_eq!(ran.code, 0);
    let ran = World::new().run("operator unseal");
    assert!(
        ran.code == 1 && ran.err.contains("outside of a terminal (tty)") && ran.err.ends_with("no terminal\n"),
        "{}",
        ran.err
    );
    assert_eq!(World::new().stdin("").run("operator unseal -").code, 1);
}

#[test]
fn small_commands() {
    for (words, line, out) in [
        ("operator seal", "PUT sys/seal", "Success! Vault is sealed.\n"),
        ("operator step-down", "PUT sys/step-down", "Success! Stepped down: http://127.0.0.1:8200\n"),
        ("operator raft remove-peer node2", "POST sys/storage/raft/remove-peer", "Peer removed successfully!\n"),
        ("operator rekey -backup-delete", "DELETE sys/rekey/backup", "Success! Delete stored keys (if they existed)\n"),
        (
            "operator generate-root -cancel",
            "DELETE sys/generate-root/attempt",
            "Success! Root token generation canceled (if it was started)\n",
        ),
    ] {
        let ran = World::new().on(line, 204, "").run(words);
        assert_eq!((ran.code, ran.out.as_str()), (0, out), "{words}");
    }
    let status = r#"{"data":{"term":2,"install_time":"2026-11-24T12:03:09.1Z","encryptions":4},"term":2}"#;
    let ran = World::new().on("PUT sys/rotate", 204, "").on("GET sys/key-status", 200, status).run("operator rotate");
    assert_eq!(
        ran.out,
        "Success! Rotated key\n\nKey Term            2\nInstall Time        24 Nov 26 12:03 UTC\nEncryption Count    4\n"
    );
    let ran = World::new().on("GET sys/key-status", 200, status).run("operator key-status -format=json");
    assert_eq!(ran.out, "{\n  \"encryptions\": 4,\n  \"install_time\": \"2026-11-24T12:03:09.1Z\",\n  \"term\": 2\n}\n");
    let nodes = r#"{"nodes":[{"hostname":"h","api_address":"http://a","cluster_address":"https://b","active_node":true,"last_echo":null,"version":"1.21.4","echo_duration_ms":0,"clock_skew_ms":0,"replication_primary_canary_age_ms":0}]}"#;
    let ran = World::new().on("GET sys/ha-status", 200, nodes).run("operator members");
    assert!(
        ran.out.starts_with("Host Name    API Address    Cluster Address    Active Node    Version    Upgrade Version"),
        "{}",
        ran.out
    );
}

#[test]
fn rekey_from_start_to_end() {
    let started = r#"{"nonce":"N","started":true,"t":2,"n":3,"progress":0,"required":2,"pgp_fingerprints":null,"backup":false,"verification_required":false}"#;
    let body =
        r#"{"secret_shares":3,"secret_threshold":2,"stored_shares":0,"pgp_keys":[],"backup":false,"require_verification":false}"#;
    let ran =
        World::new().with("PUT sys/rekey/init", body, 200, started).run("operator rekey -init -key-shares=3 -key-threshold=2");
    let text = "\
Key                      Value
---                      -----
Nonce                    N
Started                  true
Rekey Progress           0/2
New Shares               3
New Threshold            2
Verification Required    false
";
    assert_eq!(ran.out, text);
    assert!(ran.err.starts_with("WARNING! If you lose the keys after they are returned, there is no recovery."));
    let ran = World::new()
        .on("GET sys/rekey/init", 200, started)
        .with("PUT sys/rekey/update", r#"{"nonce":"N","key":"K"}"#, 200, r#"{"nonce":"N","complete":true,"keys":["aa"],"keys_base64":["qg=="],"pgp_fingerprints":null,"backup":false,"verification_required":false}"#)
        .types("K")
        .run("operator rekey");
    assert!(
        ran.out.starts_with(
            "\nKey 1: qg==\n\nOperation nonce: N\n\nVault unseal keys rekeyed with 3 key shares and a key threshold of 2."
        ),
        "{}",
        ran.out
    );
    let ran = World::new().on("GET sys/rekey/init", 200, started).run("operator rekey K");
    assert_eq!((ran.code, ran.err.as_str()), (1, "Missing nonce value: specify it via the -nonce flag\n"));
    let none = r#"{"nonce":"","started":false,"t":0,"n":0,"progress":0,"required":2}"#;
    assert_eq!(World::new().on("GET sys/rekey/init", 200, none).run("operator rekey").code, 1);
    assert_eq!(
        World::new().on("GET sys/rekey/init", 200, none).run("operator rekey -status").out,
        "Key        Value\n---        -----\nStarted    false\n"
    );
    let ran = World::new()
        .on("GET sys/rekey/init", 200, started)
        .with("DELETE sys/rekey/init", r#"{"nonce":"N"}"#, 204, "")
        .run("operator rekey -cancel");
    assert_eq!(ran.out, "Success! Canceled rekeying (if it was started)\n");
    assert_eq!(World::new().run("operator rekey -target=house -init").err, "Unknown target: house\n");
}

#[test]
fn generate_root_from_start_to_end() {
    let started = r#"{"nonce":"N","started":true,"progress":0,"required":2,"complete":false,"encoded_token":"","encoded_root_token":"","pgp_fingerprint":"","otp":"OTP","otp_length":28}"#;
    let ran = World::new()
        .with("PUT sys/generate-root/attempt", r#"{"otp":"","pgp_key":""}"#, 200, started)
        .run("operator generate-root -init");
    assert_eq!(
        ran.out,
        "Nonce         N\nStarted       true\nProgress      0/2\nComplete      false\nOTP           OTP\nOTP Length    28\n"
    );
    assert!(ran.err.starts_with("A One-Time-Password has been generated for you"));
    let ran = World::new()
        .on("GET sys/generate-root/attempt", 200, started)
        .with(
            "PUT sys/generate-root/update",
            r#"{"nonce":"N","key":"K"}"#,
            200,
            r#"{"nonce":"N","started":true,"progress":2,"required":2,"complete":true,"encoded_token":"E"}"#,
        )
        .run("operator generate-root -nonce=N K");
    assert_eq!(
        ran.out,
        "Nonce            N\nStarted          true\nProgress         2/2\nComplete         true\nEncoded Token    E\n"
    );
    let ran = World::new().on("GET sys/generate-root/attempt", 200, started).piped().run("operator generate-root -generate-otp");
    assert!(ran.out.len() == 28 && ran.out.chars().all(|c| c.is_ascii_alphanumeric()), "{}", ran.out);
    let ran = World::new().piped().run("operator generate-root -decode=AwEC -otp=abc");
    assert_eq!((ran.code, ran.out.as_str()), (0, "bca"));
    assert_eq!(World::new().run("operator generate-root -decode=AwEC").code, 1);
    assert_eq!(World::new().run("operator generate-root -decode=AwEC -otp=abcd").code, 1);
}

#[test]
fn raft_tables() {
    let peers = r#"{"data":{"config":{"index":0,"servers":[{"node_id":"n1","address":"127.0.0.1:8201","leader":true,"protocol_version":"3","voter":true},{"node_id":"n2","address":"127.0.0.1:8203","leader":false,"voter":false}]}}}"#;
    let ran = World::new().on("GET sys/storage/raft/configuration", 200, peers).run("operator raft list-peers");
    let text = "\
Node    Address           State       Voter
----    -------           -----       -----
n1      127.0.0.1:8201    leader      true
n2      127.0.0.1:8203    follower    false
";
    assert_eq!(ran.out, text);
    let ran =
        World::new().on("POST sys/storage/raft/join", 200, r#"{"joined":true}"#).run("operator raft join http://leader:8200");
    assert_eq!((ran.out.as_str(), ran.tokens), ("Key       Value\n---       -----\nJoined    true\n", vec![None]));
    let config = r#"{"data":{"cleanup_dead_servers":false,"last_contact_threshold":"10s","dead_server_last_contact_threshold":"24h0m0s","max_trailing_logs":1000,"min_quorum":0,"server_stabilization_time":"10s","disable_upgrade_migration":false}}"#;
    let ran =
        World::new().on("GET sys/storage/raft/autopilot/configuration", 200, config).run("operator raft autopilot get-config");
    assert!(ran.out.contains("\nDead Server Last Contact Threshold    24h0m0s\n"), "{}", ran.out);
    let body = r#"{"cleanup_dead_servers":true,"min_quorum":3,"last_contact_threshold":"20s"}"#;
    let world = World::new().with("POST sys/storage/raft/autopilot/configuration", body, 204, "");
    assert_eq!(
        world.run("operator raft autopilot set-config -cleanup-dead-servers -min-quorum=3 -last-contact-threshold=20s").code,
        0
    );
    let state = r#"{"data":{"healthy":true,"failure_tolerance":1,"leader":"n1","voters":["n1","n2"],"servers":{"n1":{"name":"n1","status":"leader","healthy":true}}}}"#;
    for format in ["", "-format=pretty"] {
        let ran = World::new()
            .on("GET sys/storage/raft/autopilot/state", 200, state)
            .run(&format!("operator raft autopilot state {format}"));
        let text = "Healthy:                         true\nFailure Tolerance:               1\nLeader:                          n1\nVoters:\n   n1\n   n2\nServers:\n   n1\n      Name:              n1\n      Status:            leader\n      Healthy:           true\n";
        assert_eq!(ran.out, text);
    }
}

/// A snapshot file with these members.
fn snapshot(members: &[(&str, &str)]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for (name, content) in members {
        let head = |sum: &str| format!("{name:\0<124}{:011o}\0{:\0<12}{sum}", content.len(), "");
        let sum: u32 = head("        ").bytes().map(u32::from).sum();
        write!(gz, "{:\0<512}{content:\0<512}", head(&format!("{sum:06o}\0 "))).unwrap();
    }
    write!(gz, "{:\0<1024}", "").unwrap();
    gz.finish().unwrap()
}

#[test]
fn a_whole_snapshot_is_saved_and_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.snap");
    let meta = r#"{"ID":"bolt-snapshot","Size":57,"Index":12,"Term":3,"Version":1}"#;
    let bytes = snapshot(&[("meta.json", meta), ("state.bin", "\u{8}\n\u{6}core/a"), ("SHA256SUMS.sealed", "x")]);
    let world = World::new().on_bytes("GET sys/storage/raft/snapshot", &bytes);
    let ran = world.run(&format!("operator raft snapshot save {}", path.display()));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let ran = World::new().run(&format!("operator raft snapshot inspect {}", path.display()));
    let text = "\
ID         bolt-snapshot
Size       57
Index      12
Term       3
Version    1

Key Name    Count    Size
--------    -----    ----
core/a      1        8B
Total       1        8B
";
    assert_eq!((ran.code, ran.out.as_str()), (0, text));
}

#[test]
fn a_broken_snapshot_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("raft.snap");
    let ran = World::new()
        .on("GET sys/storage/raft/snapshot", 200, "half a snapshot")
        .run(&format!("operator raft snapshot save {}", path.display()));
    assert!(ran.code == 2 && ran.err.starts_with("Error taking the snapshot: "), "{}", ran.err);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert_eq!(World::new().run("operator raft snapshot restore /nowhere").code, 2);
    std::fs::write(&path, "x").unwrap();
    for (flag, target) in [("", "snapshot"), ("-force", "snapshot-force")] {
        let line = format!("POST sys/storage/raft/{target}");
        assert_eq!(
            World::new().on(&line, 204, "").run(&format!("operator raft snapshot restore {flag} {}", path.display())).code,
            0
        );
    }
    assert_eq!(World::new().run(&format!("operator raft snapshot inspect {}", path.display())).code, 1);
}

#[test]
fn break_glass_shares_are_asked_for_and_used_by_name() {
    let body = r#"{"key":"aa","reset":false,"migrate":false,"break_glass":true}"#;
    let status = r#"{"type":"static","initialized":true,"sealed":true,"t":2,"n":3,"recovery_seal":true,"break_glass":{"t":2,"n":5,"progress":1,"nonce":"x"}}"#;
    let ran = World::new()
        .with("PUT sys/unseal", body, 200, status)
        .on("GET sys/leader", 503, r#"{"errors":["Vault is sealed"]}"#)
        .run("operator unseal -break-glass aa");
    assert!(ran.code == 0 && ran.out.contains("Break-Glass Shares") && ran.out.contains("2 of 5"), "{ran:?}");
    assert!(ran.out.contains("Break-Glass Progress") && ran.out.contains("1/2"), "{ran:?}");
    let ran = World::new().on("DELETE sys/break-glass", 204, "").run("operator break-glass -revoke");
    assert_eq!(ran.out, "Success! Break-glass shares revoked (if there were any)\n");
    let shown = r#"{"data":{"issued":true,"secret_shares":5,"secret_threshold":2,"issue_time":"t","last_used_time":null}}"#;
    let ran = World::new().on("GET sys/break-glass", 200, shown).run("operator break-glass");
    assert!(ran.code == 0 && ran.out.contains("secret_threshold"), "{ran:?}");
    let status = r#"{"nonce":"n","started":true,"t":2,"n":5,"progress":0,"required":2,"pgp_fingerprints":null,"backup":false,"verification_required":false}"#;
    let ran = World::new().on("GET sys/rekey-break-glass/init", 200, status).run("operator rekey -target=break-glass -status");
    assert!(ran.code == 0 && ran.out.contains("0/2"), "{ran:?}");
    assert_eq!(World::new().run("operator rekey -target=break-glass -backup-delete").code, 1);
}
