//! `read`, `write`, `list`, `delete`, `status`, `login` and the program around them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use support::World;

const SEALED: &str = r#"{"type":"shamir","initialized":true,"sealed":true,"t":3,"n":5,"progress":1,"nonce":"8d5b","version":"1.21.4","build_date":"2026-01-01T00:00:00Z","migration":false,"recovery_seal":false,"storage_type":"raft"}"#;
const OPEN: &str = r#"{"type":"shamir","initialized":true,"sealed":false,"t":3,"n":5,"progress":0,"nonce":"","version":"1.21.4","build_date":"2026-01-01T00:00:00Z","migration":false,"cluster_name":"c","cluster_id":"id","recovery_seal":false,"storage_type":"raft","removed_from_cluster":false}"#;
const LEADER: &str = r#"{"ha_enabled":true,"is_self":true,"active_time":"2026-01-02T00:00:00.5Z","leader_address":"http://a:8200","leader_cluster_address":"https://a:8201","performance_standby":false,"performance_standby_last_remote_wal":0,"raft_committed_index":12,"raft_applied_index":12}"#;

#[test]
fn status_of_a_sealed_and_of_an_open_server() {
    let ran = World::new()
        .on("GET sys/seal-status", 200, SEALED)
        .on("GET sys/leader", 503, r#"{"errors":["Vault is sealed"]}"#)
        .run("status");
    let table = "\
Key                Value
---                -----
Seal Type          shamir
Initialized        true
Sealed             true
Total Shares       5
Threshold          3
Unseal Progress    1/3
Unseal Nonce       8d5b
Version            1.21.4
Build Date         2026-01-01T00:00:00Z
Storage Type       raft
HA Enabled         true
";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (2, table, ""));
    let ran = World::new().on("GET sys/seal-status", 200, OPEN).on("GET sys/leader", 200, LEADER).run("status");
    let table = "\
Key                     Value
---                     -----
Seal Type               shamir
Initialized             true
Sealed                  false
Total Shares            5
Threshold               3
Version                 1.21.4
Build Date              2026-01-01T00:00:00Z
Storage Type            raft
Cluster Name            c
Cluster ID              id
Removed From Cluster    false
HA Enabled              true
HA Cluster              https://a:8201
HA Mode                 active
Active Since            2026-01-02T00:00:00.5Z
Raft Committed Index    12
Raft Applied Index      12
";
    assert_eq!((ran.code, ran.out.as_str()), (0, table));
}

#[test]
fn status_as_json_and_its_errors() {
    let single = r#"{"ha_enabled":false,"is_self":false,"active_time":"0001-01-01T00:00:00Z","leader_address":""}"#;
    let ran = World::new().on("GET sys/seal-status", 200, OPEN).on("GET sys/leader", 200, single).run("status -format=json");
    let text = r#"{
  "type": "shamir",
  "initialized": true,
  "sealed": false,
  "t": 3,
  "n": 5,
  "progress": 0,
  "nonce": "",
  "version": "1.21.4",
  "build_date": "2026-01-01T00:00:00Z",
  "migration": false,
  "cluster_name": "c",
  "cluster_id": "id",
  "recovery_seal": false,
  "storage_type": "raft",
  "removed_from_cluster": false,
  "ha_enabled": false,
  "active_time": "0001-01-01T00:00:00Z"
}
"#;
    assert_eq!((ran.code, ran.out.as_str()), (0, text));
    let ran = World::new().on("GET sys/seal-status", 500, r#"{"errors":["x"]}"#).run("status");
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with(
        "Error checking seal status: Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/sys/seal-status\nCode: 500."
    ));
}

#[test]
fn read_prints_a_table_a_field_or_json() {
    let answer = r#"{"request_id":"r","lease_id":"","renewable":false,"lease_duration":2764800,"data":{"n":1.10,"b":"x&y"},"warnings":null,"mount_type":"kv"}"#;
    let ran = World::new().on("GET kv/a", 200, answer).run("read kv/a");
    assert_eq!(
        ran.out,
        "Key                 Value\n---                 -----\nrefresh_interval    768h\nb                   x&y\nn                   1.10\n"
    );
    let ran = World::new().on("GET kv/a", 200, answer).piped().run("read -field=b kv/a");
    assert_eq!((ran.code, ran.out.as_str()), (0, "x&y"));
    let ran = World::new().on("GET kv/a", 200, answer).run("read -field b kv/a");
    assert_eq!(ran.out, "x&y\n");
    let ran = World::new().on("GET kv/a", 200, answer).run("read -field=nope kv/a");
    assert_eq!((ran.code, ran.err.as_str()), (1, "Field \"nope\" not present in secret\n"));
    let ran = World::new().on("GET kv/a", 200, answer).env("VAULT_FORMAT", "json").run("read kv/a");
    assert!(
        ran.out.contains("\"b\": \"x\\u0026y\",\n    \"n\": 1.10\n  },\n  \"warnings\": null,\n  \"mount_type\": \"kv\"\n}\n"),
        "{}",
        ran.out
    );
    let ran = World::new().on("GET kv/a", 200, answer).run("read -format=yaml -field=n kv/a");
    assert_eq!(ran.out, "1.1\n");
    let ran = World::new().on("GET kv/a", 200, "raw <bytes>").run("read -format=raw kv/a");
    assert_eq!(ran.out, "raw <bytes>");
    let ran = World::new().on("GET kv/a?k=v", 404, r#"{"errors":[]}"#).run("read /kv/a/ k=v");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at kv/a\n"));
}

#[test]
fn server_errors_read_as_vaults() {
    let ran = World::new().on("PUT secret/x", 403, r#"{"errors":["permission denied"]}"#).run("write secret/x a=b");
    let text = "Error writing data to secret/x: Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/secret/x\nCode: 403. Errors:\n\n* permission denied\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (2, "", text));
}

#[test]
fn write_says_success_or_prints_the_answer() {
    let ran = World::new().with("PUT kv/a", r#"{"a":"b","l":["1","2"]}"#, 204, "").run("write kv/a a=b l=1 l=2");
    assert_eq!((ran.code, ran.out.as_str()), (0, "Success! Data written to: kv/a\n"));
    let ran = World::new().with("PUT kv/a", r#"{"n":5}"#, 204, "").stdin(r#"{"n":5}"#).run("write kv/a -");
    assert_eq!(ran.code, 0);
    let ran =
        World::new().with("PUT t/keys/k", "{}", 200, r#"{"data":{"name":"k"},"warnings":["careful"]}"#).run("write -f t/keys/k");
    assert_eq!(ran.out, "Key     Value\n---     -----\nname    k\n");
    assert_eq!(ran.err, "WARNING! The following warnings were returned from Vault:\n\n  * careful\n\n");
    for (words, text) in [
        ("write", "Not enough arguments (expected 1, got 0)\n"),
        ("write kv/a", "Must supply data or use -force\n"),
        ("write kv/a b", "Failed to parse K=V data: invalid key/value pair \"b\": format must be key=value\n"),
        ("write -bogus kv/a", "flag provided but not defined: -bogus\n"),
        ("write -field", "flag needs an argument: -field\n"),
        ("write -format=xml kv/a a=b", "Invalid output format: xml\n"),
        ("read", "Not enough arguments (expected 1, got 0)\n"),
        ("list", "Not enough arguments (expected 1, got 0)\n"),
        ("list a b", "Too many arguments (expected 1, got 2)\n"),
    ] {
        let ran = World::new().run(words);
        assert_eq!((ran.code, ran.err.as_str()), (1, text), "{words}");
    }
    let ran = World::new().with("PATCH kv/a", r#"{"a":"b"}"#, 204, "").run("patch kv/a a=b");
    assert_eq!(ran.out, "Success! Data written to: kv/a\n");
}

#[test]
fn list_and_delete() {
    let keys = r#"{"data":{"keys":["a","b/"],"key_info":{"a":{"n":1}}}}"#;
    assert_eq!(World::new().on("GET kv?list=true", 200, keys).run("list kv/").out, "Keys\n----\na\nb/\n");
    assert_eq!(World::new().on("GET kv?list=true", 200, keys).run("list -format=json kv").out, "[\n  \"a\",\n  \"b/\"\n]\n");
    assert_eq!(
        World::new().on("GET kv?list=true", 200, keys).run("list -detailed kv").out,
        "Keys    n\n----    -\na       1\nb/      n/a\n"
    );
    let ran = World::new().on("GET kv?list=true", 404, r#"{"errors":[]}"#).run("list kv");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at kv\n"));
    let ran = World::new().on("GET kv?list=true", 404, r#"{"errors":[]}"#).run("list -format=json kv");
    assert_eq!((ran.code, ran.out.as_str()), (2, "{}\n"));
    let ran = World::new().on("DELETE kv/a", 204, "").run("delete kv/a");
    assert_eq!((ran.code, ran.out.as_str()), (0, "Success! Data deleted (if it existed) at: kv/a\n"));
}

#[test]
fn flags_behind_arguments_are_warned_about() {
    let ran = World::new().with("PUT kv/a", r#"{"a":"b","-format":"json"}"#, 204, "").run("write kv/a a=b -format=json");
    assert_eq!(
        ran.err,
        "Command flags must be provided before positional arguments. The following arguments will not be parsed as flags: [-format=json]\n"
    );
}

#[test]
fn settings_come_from_flags_before_the_environment() {
    let ran = World::new()
        .on("GET a", 200, r#"{"data":{"a":"b"}}"#)
        .env("VAULT_NAMESPACE", "env")
        .run("read -address=http://h:1 -ns=flag -tls-skip-verify -mfa m:1 -header X-A=b -wrap-ttl 5m -ca-cert=/ca a");
    let config = ran.config.unwrap();
    assert_eq!(
        (config.address.as_str(), config.namespace.as_deref(), config.wrap_ttl.as_deref()),
        ("http://h:1", Some("flag"), Some("5m"))
    );
    assert!(config.tls.skip_verify && config.tls.ca_cert.as_deref() == Some("/ca"));
    assert_eq!(config.max_retries, 0, "Vault's command line does not retry unless told to");
    assert_eq!(config.headers, [("X-Vault-MFA".to_owned(), "m:1".to_owned()), ("X-A".to_owned(), "b".to_owned())]);
    assert_eq!(ran.tokens, [Some("hvs.own".to_owned())]);
    let ran = World::new().run("read -header=X-Vault-Token=x a");
    assert_eq!((ran.code, ran.err.as_str()), (2, "Custom Headers cannot start with X-Vault-: X-Vault-Token\n"));
}

#[test]
fn nothing_is_sent_when_only_the_request_is_asked_for() {
    let ran = World::new().run("write -output-curl-string kv/a b=c");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "curl -X PUT -H \"X-Vault-Request: true\" -H \"X-Vault-Token: $(vault print token)\" -d '{\"b\":\"c\"}' http://127.0.0.1:8200/v1/kv/a\n"
        )
    );
    let ran = World::new().kv2("secret/a").run("kv get -output-policy secret/a");
    assert_eq!(ran.out, "path \"secret/data/a\" {\n  capabilities = [\"read\"]\n}\n");
}

// ---- login ----

const LOGIN: &str = r#"{"auth":{"client_token":"hvs.new","accessor":"acc","policies":["default"],"token_policies":["default"],"metadata":{"username":"ann"},"lease_duration":3600,"renewable":true}}"#;

fn home() -> (tempfile::TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new().env("HOME", dir.path().to_str().unwrap()).env("VAULT_TOKEN", "");
    (dir, world)
}

fn kept(dir: &tempfile::TempDir) -> Option<String> {
    std::fs::read_to_string(dir.path().join(".vault-token")).ok()
}

#[test]
fn login_with_a_password_keeps_the_token() {
    let (dir, world) = home();
    let ran = world
        .with("PUT auth/userpass/login/ann", r#"{"password":"s3cret"}"#, 200, LOGIN)
        .types("s3cret")
        .run("login -method=userpass username=ann");
    let text = "\
Success! You are now authenticated. The token information displayed below
is already stored in the token helper. You do NOT need to run \"vault login\"
again. Future Vault requests will automatically use this token.

Key                    Value
---                    -----
token                  hvs.new
token_accessor         acc
token_duration         1h
token_renewable        true
token_policies         [\"default\"]
identity_policies      []
policies               [\"default\"]
token_meta_username    ann
";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, text, ""));
    assert_eq!(ran.tokens, [None], "no old token goes with a login");
    assert_eq!(kept(&dir).as_deref(), Some("hvs.new"));
}

#[test]
fn login_variants() {
    let (dir, world) = home();
    let ran = world
        .with("PUT auth/k8s/login", r#"{"role":"app","jwt":"J"}"#, 200, LOGIN)
        .piped()
        .run("login -method=kubernetes -path=k8s/ -token-only role=app jwt=J");
    assert_eq!((ran.code, ran.out.as_str(), kept(&dir)), (0, "hvs.new", None));
    let (dir, world) = home();
    let ran = world.on("PUT auth/ldap/login/bob", 200, LOGIN).env("USER", "bob").types("p").run("login -method=ldap -no-print");
    assert_eq!((ran.code, ran.out.as_str(), kept(&dir).as_deref()), (0, "", Some("hvs.new")));
    let (dir, world) = home();
    let ran = world.on("PUT auth/jwt/login", 200, LOGIN).run("login -method=jwt -no-store role=x");
    assert!(
        ran.out.starts_with("Success! You are now authenticated. The token was not stored in the token helper.\n")
            && kept(&dir).is_none()
    );
    let (dir, world) = home();
    let ran = world
        .on("PUT auth/userpass/login/a", 400, r#"{"errors":["invalid username or password"]}"#)
        .run("login -method=userpass username=a password=b");
    assert!(ran.code == 2 && ran.err.starts_with("Error authenticating: Error making API request.") && kept(&dir).is_none());
    let (_dir, world) = home();
    assert_eq!(world.run("login -method=userpass").err, "Error authenticating: 'username' must be specified\n");
}

#[test]
fn login_with_a_token_looks_it_up_first() {
    let data = r#"{"data":{"accessor":"acc","policies":["root"],"ttl":0,"renewable":false,"meta":null}}"#;
    for words in ["login hvs.given", "login -", "login"] {
        let (dir, world) = home();
        let ran = world.on("GET auth/token/lookup-self", 200, data).stdin("hvs.given\n").types("hvs.given").run(words);
        assert!(
            ran.out.contains("token                hvs.given\n") && ran.out.contains("token_duration       ∞\n"),
            "{}",
            ran.out
        );
        assert_eq!((kept(&dir).as_deref(), ran.tokens), (Some("hvs.given"), vec![Some("hvs.given".to_owned())]));
    }
    let (dir, world) = home();
    let ran = world.on("GET auth/token/lookup-self", 403, r#"{"errors":["permission denied"]}"#).run("login hvs.wrong");
    assert!(ran.err.starts_with("Error authenticating: error looking up token: Error making API request."), "{}", ran.err);
    assert_eq!((ran.code, kept(&dir)), (2, None));
    let (_dir, world) = home();
    assert_eq!(world.run("login -non-interactive").code, 1);
}

#[test]
fn a_token_that_cannot_be_kept_is_shown() {
    let world = World::new().env("HOME", "/nowhere/at/all").env("VAULT_TOKEN", "");
    let ran = world.on("PUT auth/jwt/login", 200, LOGIN).run("login -method=jwt role=x");
    assert!(
        ran.code == 2 && ran.err.starts_with("Error storing token: ") && ran.out.contains("hvs.new"),
        "{} {}",
        ran.out,
        ran.err
    );
}

#[test]
fn login_with_a_second_factor() {
    let owed = r#"{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"req","mfa_constraints":{"c":{"any":[{"type":"totp","id":"m","uses_passcode":true}]}}}}}"#;
    let (dir, world) = home();
    let ran = world
        .on("PUT auth/userpass/login/ann", 200, owed)
        .with("PUT sys/mfa/validate", r#"{"mfa_request_id":"req","mfa_payload":{"m":["123456"]}}"#, 200, LOGIN)
        .types("123456")
        .run("login -method=userpass username=ann password=p");
    assert_eq!((ran.code, kept(&dir).as_deref()), (0, Some("hvs.new")));
    let (dir, world) = home();
    let ran =
        world.on("PUT auth/userpass/login/ann", 200, owed).run("login -non-interactive -method=userpass username=ann password=p");
    assert!(ran.out.contains("mfa_request_id") && kept(&dir).is_none());
}

#[test]
fn the_kept_token_is_used_and_the_environment_wins() {
    let (dir, world) = home();
    std::fs::write(dir.path().join(".vault-token"), "hvs.kept").unwrap();
    assert_eq!(world.run("print token").out, "hvs.kept\n");
    let (dir, world) = home();
    std::fs::write(dir.path().join(".vault-token"), "hvs.kept").unwrap();
    assert_eq!(world.env("VAULT_TOKEN", "hvs.env").run("print token").out, "hvs.env\n");
}

#[test]
fn unwrap_uses_the_wrapping_token_alone_when_it_must() {
    let ran =
        World::new().with("PUT sys/wrapping/unwrap", r#"{"token":"hvs.w"}"#, 200, r#"{"data":{"a":"b"}}"#).run("unwrap hvs.w");
    assert_eq!(ran.out, "Key    Value\n---    -----\na      b\n");
    let (_dir, world) = home();
    let ran = world.with("PUT sys/wrapping/unwrap", "null", 200, r#"{"data":{"a":"b"}}"#).run("unwrap hvs.w");
    assert_eq!(ran.tokens, [Some("hvs.w".to_owned())]);
}

// ---- the program ----

#[test]
fn versions_help_and_unknown_commands() {
    let ran = World::new().run("version");
    assert!(ran.out.starts_with("Vault v1.21.4 (") && ran.out.contains("), built "), "{}", ran.out);
    assert!(World::new().program("strongroom").run("-version").out.starts_with("Strongroom v"));
    let ran = World::new().run("-h");
    assert_eq!(ran.code, 0);
    assert!(
        ran.out.starts_with("Usage: vault <command> [args]\n\nCommon commands:\n    read      Read data and retrieves secrets\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("\nOther commands:\n    audit "));
    let ran = World::new().run("nonsense");
    assert_eq!((ran.code, ran.out.as_str()), (127, ""));
    assert!(ran.err.starts_with("Usage: vault <command> [args]"));
    let ran = World::new().run("kv");
    assert!(ran.code == 1 && ran.err.contains("\nSubcommands:\n    delete ") && ran.err.contains("    metadata "), "{}", ran.err);
    let ran = World::new().run("kv get -help");
    assert!(ran.code == 0 && ran.out.contains("\n  -version=<int>\n      The version to read"), "{}", ran.out);
    assert!(ran.out.contains("environment variable.") && ran.out.lines().all(|l| l.chars().count() <= 100), "{}", ran.out);
    assert_eq!(World::new().run("-address=x status").code, 1);
}

#[test]
fn every_command_has_help_and_unique_flags() {
    for command in cli::commands::ALL {
        let ran = World::new().run(&format!("{} -h", command.path));
        assert!(ran.code == 0 && ran.out.starts_with(&format!("Usage: vault {}", command.path)), "{}", command.path);
        let mut names: Vec<&str> = command.flags().flat_map(|f| [f.name, f.alias]).filter(|n| !n.is_empty()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", command.path);
        for flag in command.flags().filter(|f| !f.default.is_empty()) {
            assert_eq!(flag.check(flag.default), Ok(()), "{} -{}", command.path, flag.name);
        }
        if let Some((group, _)) = command.path.rsplit_once(' ') {
            assert!(cli::commands::ALL.iter().any(|c| c.path == group && c.run.is_none()), "{group}");
        }
    }
}

#[test]
fn monitor_and_path_help() {
    let ran =
        World::new().on("GET sys/monitor?log_level=debug&log_format=standard", 200, "line\n").run("monitor -log-level=debug");
    assert_eq!(ran.out, "line\n");
    assert_eq!(World::new().run("monitor -log-level=loud").code, 1);
    let ran = World::new().on("GET secret?help=1", 200, r#"{"help":"DESCRIPTION\n","see_also":null}"#).run("path-help secret/");
    assert_eq!(ran.out, "DESCRIPTION\n\n");
}
