//! `secrets`, `auth`, `policy`, `token`, `audit`, `lease`, `namespace`, `plugin`.

mod support;

use support::World;

#[test]
fn secrets_are_enabled_tuned_moved_and_disabled() {
    let body = r#"{"type":"kv-v2","description":"","config":{"default_lease_ttl":"","max_lease_ttl":"1h0m0s","force_no_cache":false},"local":false,"seal_wrap":false,"external_entropy_access":false,"options":{}}"#;
    let ran =
        World::new().with("POST sys/mounts/secret", body, 204, "").run("secrets enable -path=secret -max-lease-ttl=1h kv-v2");
    assert_eq!((ran.code, ran.out.as_str()), (0, "Success! Enabled the kv-v2 secrets engine at: secret/\n"));
    let ran = World::new()
        .on("POST sys/mounts/kv", 400, r#"{"errors":["path is already in use at kv/"]}"#)
        .run("secrets enable -version=2 kv");
    assert!(ran.code == 2 && ran.err.starts_with("Error enabling: Error making API request."));
    let body = r#"{"default_lease_ttl":"system","max_lease_ttl":"","audit_non_hmac_request_keys":["a","b"],"listing_visibility":"unauth","description":"d","options":{"k":"v"}}"#;
    let words = "secrets tune -default-lease-ttl=system -audit-non-hmac-request-keys=a -audit-non-hmac-request-keys=b -listing-visibility=unauth -description=d -options=k=v secret";
    assert_eq!(
        World::new().with("POST sys/mounts/secret/tune", body, 204, "").run(words).out,
        "Success! Tuned the secrets engine at: secret/\n"
    );
    let ran = World::new().on("DELETE sys/mounts/secret", 204, "").run("secrets disable secret");
    assert_eq!(ran.out, "Success! Disabled the secrets engine (if it existed) at: secret/\n");
    let status = |word: &str| format!(r#"{{"data":{{"migration_info":{{"status":"{word}"}}}}}}"#);
    let moving = || World::new().with("POST sys/remount", r#"{"from":"a/","to":"b/"}"#, 200, r#"{"data":{"migration_id":"id"}}"#);
    let ran = moving()
        .on("GET sys/remount/status/id", 200, &status("in-progress"))
        .on("GET sys/remount/status/id", 200, &status("success"))
        .run("secrets move a b/");
    let text = "\
Started moving secrets engine a/ to b/, with migration ID id
Waiting for terminal status in migration of secrets engine a/ to b/, with migration ID id
Success! Finished moving secrets engine a/ to b/, with migration ID id
";
    assert_eq!(ran.out, text);
    assert_eq!(moving().on("GET sys/remount/status/id", 200, &status("failure")).run("secrets move a b").code, 2);
}

#[test]
fn mounts_are_listed() {
    let mounts = r#"{"data":{"secret/":{"type":"kv","accessor":"kv_1","description":"","config":{"default_lease_ttl":0,"max_lease_ttl":60,"force_no_cache":false},"options":{"version":"2"},"local":false,"seal_wrap":false,"uuid":"u","running_plugin_version":"v1","plugin_version":"","deprecation_status":"supported"}}}"#;
    let ran = World::new().on("GET sys/mounts", 200, mounts).run("secrets list");
    assert_eq!(
        ran.out,
        "Path       Type    Accessor    Description\n----       ----    --------    -----------\nsecret/    kv      kv_1        n/a\n"
    );
    let ran = World::new().on("GET sys/mounts", 200, mounts).run("secrets list -detailed");
    assert!(
        ran.out.lines().last().unwrap().starts_with(
            "secret/    kv        kv_1        system         60         false             replicated     false        n/a"
        ),
        "{}",
        ran.out
    );
    let auth = r#"{"data":{"token/":{"type":"token","accessor":"auth_token_1","description":"token based credentials","plugin_version":"","config":{"token_type":"default-service"}}}}"#;
    let ran = World::new().on("GET sys/auth", 200, auth).run("auth list");
    assert!(ran.out.ends_with("token/    token    auth_token_1    token based credentials    n/a\n"), "{}", ran.out);
    let ran = World::new().on("GET sys/auth", 200, auth).run("auth list -detailed");
    assert!(ran.out.contains("Token Type") && ran.out.contains("default-service"), "{}", ran.out);
    let ran = World::new().on("GET sys/auth", 200, auth).run("auth list -format=json");
    assert!(ran.out.starts_with("{\n  \"token/\": {\n"));
}

#[test]
fn auth_methods() {
    let ran = World::new().on("POST sys/auth/up", 204, "").run("auth enable -path=up userpass");
    assert_eq!(ran.out, "Success! Enabled userpass auth method at: up/\n");
    let body = r#"{"default_lease_ttl":"","max_lease_ttl":"","token_type":"batch","user_lockout_config":{"lockout_threshold":"5","lockout_duration":"10m0s","lockout_disable":true}}"#;
    let words = "auth tune -token-type=batch -user-lockout-threshold=5 -user-lockout-duration=10m -user-lockout-disable up/";
    assert_eq!(
        World::new().with("POST sys/mounts/auth/up/tune", body, 204, "").run(words).out,
        "Success! Tuned the auth method at: up/\n"
    );
    let ran = World::new().on("DELETE sys/auth/up", 204, "").run("auth disable up");
    assert_eq!(ran.out, "Success! Disabled the auth method (if it existed) at: up/\n");
    assert!(World::new().run("auth help userpass").out.starts_with("Usage: vault login -method=userpass username="));
    let ran = World::new().on("GET sys/auth", 200, r#"{"data":{"k8s/":{"type":"kubernetes"}}}"#).run("auth help k8s/");
    assert!(ran.out.starts_with("Usage: vault login -method=kubernetes -path=k8s role="), "{}", ran.out);
    assert_eq!(World::new().on("GET sys/auth", 200, r#"{"data":{}}"#).run("auth help nothing").code, 1);
}

#[test]
fn policies() {
    let world = World::new()
        .with("PUT sys/policies/acl/app-policy", r#"{"policy":"path \"a\" { capabilities = [\"read\"] }\n"}"#, 204, "")
        .stdin("path \"a\" { capabilities = [\"read\"] }\n");
    let ran = world.run("policy write App-Policy -");
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "Success! Uploaded policy: app-policy\n", "Policy name was converted to app-policy\n")
    );
    let ran = World::new().run("policy write p /nowhere");
    assert_eq!((ran.code, ran.err.as_str()), (2, "Error opening policy file: open /nowhere: no such file or directory\n"));
    let answer = r#"{"data":{"name":"p","policy":"path \"a\" { capabilities = [\"read\"] }\n"}}"#;
    assert_eq!(
        World::new().on("GET sys/policies/acl/p", 200, answer).run("policy read p").out,
        "path \"a\" { capabilities = [\"read\"] }\n"
    );
    let ran = World::new().on("GET sys/policies/acl/p", 404, r#"{"errors":[]}"#).run("policy read p");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No policy named: p\n"));
    let names = r#"{"data":{"keys":["default","root"]}}"#;
    assert_eq!(World::new().on("GET sys/policies/acl?list=true", 200, names).run("policy list").out, "default\nroot\n");
    assert_eq!(
        World::new().on("GET sys/policies/acl?list=true", 200, names).run("policy list -format=json").out,
        "[\n  \"default\",\n  \"root\"\n]\n"
    );
    assert_eq!(World::new().on("DELETE sys/policies/acl/p", 204, "").run("policy delete P").out, "Success! Deleted policy: p\n");
}

#[test]
fn policy_files_are_formatted() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "path \"a\" {\ncapabilities=[\"read\"]\n}\n").unwrap();
    let words = format!("policy fmt {}", file.path().display());
    let ran = World::new().run(&words);
    assert_eq!((ran.code, ran.out), (0, format!("Success! Formatted policy: {}\n", file.path().display())));
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "path \"a\" {\n  capabilities = [\"read\"]\n}\n");
    std::fs::write(file.path(), "path \"a\" {").unwrap();
    let ran = World::new().run(&words);
    assert!(ran.code == 1 && ran.err.starts_with("Error formatting file: "), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "path \"a\" {", "a file that cannot be read stays as it is");
}

const TOKEN: &str = r#"{"auth":{"client_token":"hvs.new","accessor":"acc","policies":["default"],"token_policies":["default"],"lease_duration":3600,"renewable":true}}"#;

#[test]
fn tokens_are_made() {
    let body = r#"{"ttl":"1h0m0s","explicit_max_ttl":"0s","period":"0s","policies":["a","b"],"meta":{"k":"v"},"renewable":true,"num_uses":3,"type":"service","no_parent":true,"no_default_policy":true,"display_name":"d"}"#;
    let words = "token create -ttl=1h -policy=a -policy=b -metadata=k=v -use-limit=3 -orphan -no-default-policy -display-name=d";
    let ran = World::new().with("POST auth/token/create", body, 200, TOKEN).run(words);
    assert!(
        ran.out.starts_with("Key                  Value\n---                  -----\ntoken                hvs.new\n"),
        "{}",
        ran.out
    );
    let ran = World::new().on("POST auth/token/create/r", 200, TOKEN).piped().run("token create -role=r -field=token");
    assert_eq!(ran.out, "hvs.new");
    let wrapped = r#"{"wrap_info":{"token":"hvs.w","accessor":"acc","ttl":60,"creation_time":"2026-01-01T00:00:00Z","creation_path":"auth/token/create"}}"#;
    let ran = World::new().on("POST auth/token/create", 200, wrapped).run("token create -wrap-ttl=60s");
    assert!(ran.out.contains("wrapping_token:                  hvs.w\n"));
}

#[test]
fn tokens_are_looked_up_renewed_and_revoked() {
    let data = r#"{"data":{"entity_id":"","expire_time":null,"ttl":3600,"policies":["root"]}}"#;
    let ran = World::new().on("GET auth/token/lookup-self", 200, data).run("token lookup");
    assert_eq!(
        ran.out,
        "Key            Value\n---            -----\nentity_id      n/a\nexpire_time    <nil>\npolicies       [root]\nttl            1h\n"
    );
    for (words, line, body) in [
        ("token lookup hvs.x", "POST auth/token/lookup", r#"{"token":"hvs.x"}"#),
        ("token lookup -accessor acc", "POST auth/token/lookup-accessor", r#"{"accessor":"acc"}"#),
        ("token renew", "PUT auth/token/renew-self", r#"{"increment":0}"#),
        ("token renew -increment=30m hvs.x", "PUT auth/token/renew", r#"{"token":"hvs.x","increment":1800}"#),
        ("token renew -accessor -i 5 acc", "POST auth/token/renew-accessor", r#"{"accessor":"acc","increment":5}"#),
        ("token revoke hvs.x", "PUT auth/token/revoke", r#"{"token":"hvs.x"}"#),
        ("token revoke -mode=orphan hvs.x", "PUT auth/token/revoke-orphan", r#"{"token":"hvs.x"}"#),
        ("token revoke -mode=path auth/x/login/", "PUT sys/leases/revoke-prefix/auth/x/login", "null"),
        ("token revoke -accessor acc", "POST auth/token/revoke-accessor", r#"{"accessor":"acc"}"#),
        ("token revoke -self", "PUT auth/token/revoke-self", "null"),
    ] {
        assert_eq!(World::new().with(line, body, 200, data).run(words).code, 0, "{words}");
    }
    for words in [
        "token revoke",
        "token revoke -self x",
        "token revoke -self -accessor",
        "token revoke -mode=odd x",
        "token lookup -accessor",
        "token lookup a b",
    ] {
        assert_eq!(World::new().run(words).code, 1, "{words}");
    }
    assert_eq!(
        World::new().on("PUT auth/token/revoke", 204, "").run("token revoke x").out,
        "Success! Revoked token (if it existed)\n"
    );
}

#[test]
fn capabilities() {
    let answer = r#"{"data":{"capabilities":["update","read"],"a/b":["update","read"]}}"#;
    for (words, line, body) in [
        ("token capabilities a/b", "POST sys/capabilities-self", r#"{"path":"a/b"}"#),
        ("token capabilities hvs.x a/b", "POST sys/capabilities", r#"{"token":"hvs.x","path":"a/b"}"#),
        ("token capabilities -accessor acc a/b", "POST sys/capabilities-accessor", r#"{"accessor":"acc","path":"a/b"}"#),
    ] {
        assert_eq!(World::new().with(line, body, 200, answer).run(words).out, "read, update\n");
    }
    assert_eq!(World::new().run("token capabilities").code, 1);
}

#[test]
fn audit_devices() {
    let body = r#"{"type":"file","description":"","options":{"file_path":"/log"},"local":false}"#;
    let ran = World::new().with("PUT sys/audit/file", body, 204, "").run("audit enable file file_path=/log");
    assert_eq!(ran.out, "Success! Enabled the file audit device at: file/\n");
    let ran = World::new().on("DELETE sys/audit/file", 204, "").run("audit disable file");
    assert_eq!(ran.out, "Success! Disabled audit device (if it was enabled) at: file/\n");
    let ran = World::new().on("GET sys/audit", 200, r#"{"data":{}}"#).run("audit list");
    assert_eq!((ran.code, ran.out.as_str()), (2, "No audit devices are enabled.\n"));
    let one = r#"{"data":{"file/":{"type":"file","description":"","local":false,"options":{"file_path":"/log"}}}}"#;
    let ran = World::new().on("GET sys/audit", 200, one).run("audit list -detailed");
    assert!(ran.out.ends_with("file/    file    n/a            replicated     file_path=/log\n"), "{}", ran.out);
    assert_eq!(World::new().run("audit enable").code, 1);
}

#[test]
fn leases() {
    for (words, line, body, out) in [
        (
            "lease revoke a/b",
            "PUT sys/leases/revoke/a/b",
            r#"{"sync":false}"#,
            "All revocation operations queued successfully!\n",
        ),
        ("lease revoke -sync a/b", "PUT sys/leases/revoke/a/b", r#"{"sync":true}"#, "Success! Revoked lease: a/b\n"),
        (
            "lease revoke -sync -prefix a",
            "PUT sys/leases/revoke-prefix/a",
            r#"{"sync":true}"#,
            "Success! Revoked any leases with prefix: a\n",
        ),
        (
            "lease revoke -force -prefix a",
            "PUT sys/leases/revoke-force/a",
            "null",
            "Success! Force revoked any leases with prefix: a\n",
        ),
    ] {
        let ran = World::new().with(line, body, 204, "").run(words);
        assert_eq!((ran.code, ran.out.as_str()), (0, out), "{words}");
    }
    assert_eq!(World::new().run("lease revoke -force a").err, "Specifying -force requires also specifying -prefix\n");
    let world = World::new().with(
        "PUT sys/leases/renew",
        r#"{"lease_id":"a/b","increment":3600}"#,
        200,
        r#"{"lease_id":"a/b","lease_duration":3600,"renewable":true}"#,
    );
    assert!(world.run("lease renew -increment=1h a/b").out.contains("lease_duration     1h\n"));
    let world = World::new().with("PUT sys/leases/lookup", r#"{"lease_id":"a/b"}"#, 200, r#"{"data":{"id":"a/b","ttl":60}}"#);
    assert!(world.run("lease lookup a/b").out.ends_with("ttl    1m\n"));
}

#[test]
fn namespaces_are_refused_by_the_server() {
    let ran = World::new()
        .on("GET sys/namespaces?list=true", 404, r#"{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}"#)
        .run("namespace list");
    assert!(
        ran.code == 2
            && ran.err.starts_with("Error listing namespaces: Error making API request.")
            && ran.err.contains("* unsupported path")
    );
}

#[test]
fn plugins() {
    let catalog = r#"{"data":{"detailed":[{"name":"userpass","type":"auth","version":"v1","deprecation_status":"supported"},{"name":"kv","type":"secret","version":"v2"}],"auth":["userpass"]}}"#;
    let ran = World::new().on("GET sys/plugins/catalog", 200, catalog).run("plugin list secret");
    assert_eq!(ran.out, "Name    Version\n----    -------\nkv      v2\n");
    assert_eq!(World::new().run("plugin list odd").code, 1);
    let ran = World::new()
        .on("GET sys/plugins/catalog/auth/userpass", 200, r#"{"data":{"builtin":true,"name":"userpass"}}"#)
        .run("plugin info auth userpass");
    assert_eq!(ran.out, "Key        Value\n---        -----\nbuiltin    true\nname       userpass\n");
}

#[test]
fn plugins_are_registered_and_reloaded_as_vaults_client_asks() {
    let body = r#"{"command":"my","sha256":"ab","version":"v1","args":["-x"]}"#;
    let ran = World::new()
        .with("PUT sys/plugins/catalog/auth/my", body, 400, r#"{"errors":["no plugins here"]}"#)
        .run("plugin register -sha256=ab -version=v1 -args=-x auth my");
    assert!(ran.code == 2 && ran.err.contains("no plugins here"), "{ran:?}");
    let ran =
        World::new().on("DELETE sys/plugins/catalog/auth/my?version=v1", 204, "").run("plugin deregister -version=v1 auth my");
    assert_eq!((ran.code, ran.out.as_str()), (0, "Success! Deregistered auth plugin: my\n"));
    let body = r#"{"scope":"global","plugin":"my"}"#;
    let ran = World::new()
        .with("PUT sys/plugins/reload/backend", body, 202, r#"{"data":{"reload_id":"r1"}}"#)
        .run("plugin reload -plugin=my -scope=global");
    assert_eq!(ran.out, "Success! Reloading plugin: my, reload_id: r1\n");
    let body = r#"{"scope":"","mounts":["a/","b/"]}"#;
    let ran = World::new().with("PUT sys/plugins/reload/backend", body, 204, "").run("plugin reload -mounts=a/ -mounts=b/");
    assert_eq!(ran.out, "Success! Reloaded mounts: [a/ b/]\n");
    for words in ["plugin reload", "plugin reload -plugin=a -mounts=b", "plugin reload -plugin=a -scope=x", "plugin register x y"]
    {
        assert_eq!(World::new().run(words).code, 1, "{words}");
    }
}
