//! `policy explain`, `policy lint`, `policy write`'s remarks, `version-history`, `debug`, `operator diagnose`, `transit import`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code outside of #[test] functions")]

mod support;

use serde_json::Value;
use support::World;

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn explain_prints_the_story_and_what_to_add() {
    let answer = r#"{"data":{"allowed":false,"operation":"update","path":"kv/a","reason":"the deciding stanza lacks the capability",
        "pattern":"kv/*","capabilities":["read"],"why":"the only pattern that matches","stanzas":[{"policy":"app","path":"kv/*",
        "line":3,"capabilities":["read"],"decides":true,"beaten_by":null}],"unfilled_stanzas":[],"silent_policies":["default"],
        "absent_policies":[],"missing_grant":"path \"kv/a\" {\n}\n","advice":"the deciding stanza lacks the capability"}}"#;
    let body = r#"{"operation":"update","path":"kv/a","accessor":"acc","parameters":{"x":"1"}}"#;
    let ran =
        World::new().with("POST sys/policies/explain", body, 200, answer).run("policy explain -accessor=acc UPDATE kv/a x=1");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "Denied: update kv/a\nBecause the deciding stanza lacks the capability.\n\
         Decided by \"kv/*\" with [read]: the only pattern that matches.\n\nStanzas that match:\n\n\
         Policy    Line    Path    Capabilities    Verdict\n------    ----    ----    ------------    -------\n\
         app       3       kv/*    read            decides\n\nNo stanza matches in: default\n\n\
         To allow it, add to a policy:\n\npath \"kv/a\" {\n}\n"
    );
    let twice = World::new()
        .with("POST sys/policies/explain", r#"{"operation":"create","path":"a","policies":["p","q"]}"#, 200, answer)
        .with("POST sys/policies/explain", r#"{"operation":"update","path":"a","policies":["p","q"]}"#, 200, answer)
        .run("policy explain -format=json -policy=p -policy=q write a");
    assert_eq!(serde_json::from_str::<Value>(&twice.out).unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn explain_refusals() {
    let denied = World::new().on("POST sys/policies/explain", 403, r#"{"errors":["permission denied"]}"#);
    let ran = denied.run("policy explain read a");
    assert!(ran.code == 2 && ran.err.contains("Error explaining the decision") && ran.err.contains("permission denied"));
    let old = World::new().on("POST sys/policies/explain", 404, r#"{"errors":[]}"#).run("policy explain read a");
    assert_eq!((old.code, old.err.trim()), (2, "The server does not explain decisions."));
    assert_eq!(World::new().run("policy explain read").code, 1);
    let curl = World::new().run("policy explain -output-policy read a");
    assert!(curl.code == 0 && curl.out.contains("path \"sys/policies/explain\""), "{}", curl.out);
}

#[test]
fn lint_asks_for_mounts_where_a_server_is_named() {
    let policy =
        file("path \"secret/foo\" {\n  capabilities = [\"read\"]\n}\npath \"gone/x\" {\n  capabilities = [\"read\"]\n}\n");
    let words = format!("policy lint {}", policy.path().display());
    let mounts = r#"{"data":{"secret/":{"type":"kv","options":{"version":"2"}},"sys/":{"type":"system","options":null}}}"#;
    let auth = r#"{"data":{"token/":{"type":"token"}}}"#;
    let ran = World::new().on("GET sys/mounts", 200, mounts).on("GET sys/auth", 200, auth).run(&words);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains(":1: warning: \"secret/foo\": ") && ran.out.contains("[no-mount]"), "{}", ran.out);
    assert!(ran.out.contains("did you mean \"secret/data/foo\"?"));
    // A token that may not see all mounts: what it may use, and nothing about the rest.
    let denied = r#"{"errors":["permission denied"]}"#;
    let seen = format!(r#"{{"data":{{"secret":{},"auth":{{}}}}}}"#, r#"{"secret/":{"type":"kv","options":{"version":"2"}}}"#);
    let ran = World::new().on("GET sys/mounts", 403, denied).on("GET sys/internal/ui/mounts", 200, &seen).run(&words);
    assert!(ran.out.contains("kv-v2-path") && !ran.out.contains("no-mount"), "{}", ran.out);
    let down = World::new().on("GET sys/mounts", 503, denied).on("GET sys/internal/ui/mounts", 503, denied).run(&words);
    assert!(down.code == 0 && down.out == "No remarks.\n" && down.err.contains("not taken into account"), "{}", down.err);
    assert_eq!(World::new().run(&format!("{words} -offline")).code, 1, "flags come first");
    let offline = World::new().run(&format!("policy lint -offline -strict -kv-v2=/secret/ {}", policy.path().display()));
    assert_eq!((offline.code, offline.out.lines().count()), (1, 1), "{}", offline.out);
}

#[test]
fn lint_exits_with_1_for_what_the_server_refuses() {
    let ran = World::new().stdin("path \"a\" {\n  capabilities = [\"raed\"]\n}").run("policy lint -offline -format=json -");
    assert_eq!(ran.code, 1);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&found[0]["level"], &found[0]["line"], &found[0]["suggestion"]), (&"error".into(), &2.into(), &"read".into()));
    assert_eq!(World::new().run("policy lint -offline /nowhere").code, 2);
}

#[test]
fn a_policy_is_written_and_then_remarked_on() {
    let text = "path \"a/*/b\" { capabilities = [\"read\"] }";
    let ran = World::new().stdin(text).on("PUT sys/policies/acl/p", 204, "").run("policy write p -");
    assert_eq!((ran.code, ran.out.as_str()), (0, "Success! Uploaded policy: p\n"));
    assert!(ran.err.starts_with("WARNING! -:1: warning: ") && ran.err.contains("a/+/b"), "{}", ran.err);
}

#[test]
fn the_history_of_versions() {
    let answer = r#"{"data":{"keys":["1.21.4"],"key_info":{"1.21.4":{"timestamp_installed":"2026-01-02T03:04:05Z","build_date":"d","previous_version":null}}}}"#;
    let ran = World::new().on("GET sys/version-history?list=true", 200, answer).run("version-history");
    assert!(ran.out.ends_with("1.21.4     2026-01-02T03:04:05Z    d\n"), "{}", ran.out);
    assert_eq!(World::new().on("GET sys/version-history?list=true", 404, r#"{"errors":[]}"#).run("version-history").code, 2);
}

#[test]
fn debug_notes_what_it_may_not_see_and_writes_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("d");
    let denied = r#"{"errors":["permission denied"]}"#;
    let world = World::new()
        .on("GET sys/seal-status", 200, r#"{"version":"1.21.4"}"#)
        .on("GET sys/host-info", 403, denied)
        .on("GET sys/health", 503, r#"{"sealed":true}"#)
        .on("GET sys/seal-status", 200, r#"{"sealed":true}"#);
    let flags = "-compress=false -duration=1s -interval=1s -metrics-interval=1s -target=host -target=server-status";
    let world = world.on("GET sys/host-info", 403, denied).on("GET sys/health", 200, r#"{"sealed":false}"#).on(
        "GET sys/seal-status",
        200,
        r#"{"sealed":false}"#,
    );
    let ran = world.run(&format!("debug {flags} -output={}", out.display()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let index: Value = serde_json::from_str(&read("index.json")).unwrap();
    assert_eq!(index["errors"].as_array().unwrap().len(), 1, "{index}");
    assert_eq!(index["output"]["files"], serde_json::json!(["server_status.json"]));
    let looks: Value = serde_json::from_str(&read("server_status.json")).unwrap();
    assert_eq!((looks.as_array().unwrap().len(), &looks[0]["health"]["sealed"]), (2, &true.into()));
    assert!(!read("index.json").contains("hvs.own") && !read("server_status.json").contains("hvs.own"));
    assert_eq!(World::new().run(&format!("debug {flags} -output={}", out.display())).code, 1, "nothing is overwritten");
    for bad in ["debug -target=all", "debug -duration=1s", "debug -duration=0s -interval=0s -metrics-interval=0s", "debug x"] {
        assert_eq!(World::new().run(bad).code, 1, "{bad}");
    }
}

#[test]
fn diagnose_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for (text, flags, words) in [
        ("storage \"raft\" {", "", "[ failure ] configuration: "),
        ("listener \"tcp\" { tls_disable = true }", "-skip=listener", "exactly one storage stanza"),
        ("storage \"s3\" {}\nlistener \"unix\" {}", "", "storage type \"s3\" is not supported"),
        ("storage \"inmem\" {}", "", "no listener is configured"),
        ("storage \"inmem\" {}\nlistener \"tcp\" { address = \"nonsense\" tls_disable = 1 }", "", "address \"nonsense\": "),
        ("storage \"inmem\" {}\nlistener \"tcp\" { address = \"127.0.0.1:0\" }", "", "tls_cert_file and tls_key_file"),
        ("storage \"inmem\" {}\napi_addr = \"host:8200\"", "", "api_addr \"host:8200\" is no URL"),
        ("storage \"inmem\" {}\ndefault_lease_ttl = \"2h\"\nmax_lease_ttl = \"1h\"", "", "larger than max_lease_ttl"),
        ("storage \"raft\" { path = \"/proc/self/cmdline\" }", "", "is no folder"),
    ] {
        let config = dir.path().join("c.hcl");
        std::fs::write(&config, text).unwrap();
        let ran = World::new().run(&format!("operator diagnose -config={} {flags}", config.display()));
        assert!(ran.code == 1 && ran.out.contains(words), "{text}\n{}", ran.out);
    }
    assert_eq!(World::new().run("operator diagnose").code, 1);
    assert_eq!(World::new().run("operator diagnose -config=/nowhere").code, 1);
    assert_eq!(World::new().run("operator diagnose -config=/ -skip=all").code, 1);
}

#[test]
fn a_key_leaves_only_wrapped() {
    // A public key of 4096 bits, made for this test.
    let pem = include_str!("support/rsa4096.pub.pem");
    let answer = serde_json::json!({"data": {"public_key": pem}}).to_string();
    let key = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=";
    let ran = World::new()
        .on("GET t/wrapping_key", 200, &answer)
        .on("PUT t/keys/k/import", 204, "")
        .run(&format!("transit import t/keys/k {key} type=aes256-gcm96"));
    assert_eq!((ran.code, ran.out.as_str()), (0, "Success!\n"), "{}", ran.err);
    for (words, code) in [
        ("transit import t/k a", 1),
        ("transit import t/keys/ a", 1),
        ("transit import t/keys/k not!base64", 1),
        ("transit import t/keys/k @/nowhere", 1),
        ("transit import t/keys/k", 1),
    ] {
        assert_eq!(World::new().run(words).code, code, "{words}");
    }
    let broken = World::new().on("GET t/wrapping_key", 200, r#"{"data":{"public_key":"x"}}"#);
    assert_eq!(broken.run(&format!("transit import-version t/keys/k {key}")).code, 2);
}
