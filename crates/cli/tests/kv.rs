//! The `kv` commands.

mod support;

use support::World;

const VERSION: &str =
    r#"{"data":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}}"#;
const VALUE: &str = r#"{"request_id":"r","data":{"data":{"foo":"bar","n":1.10},"metadata":{"created_time":"2026-01-01T00:00:00Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}}}"#;

#[test]
fn get_prints_three_blocks() {
    let ran = World::new().kv2("secret/my/app").on("GET secret/data/my/app", 200, VALUE).run("kv get secret/my/app");
    let text = "\
=== Secret Path ===
secret/data/my/app

======= Metadata =======
Key                Value
---                -----
created_time       2026-01-01T00:00:00Z
custom_metadata    <nil>
deletion_time      n/a
destroyed          false
version            2

=== Data ===
Key    Value
---    -----
foo    bar
n      1.10
";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, text, ""));
}

#[test]
fn get_a_field_a_version_or_nothing() {
    let ran = World::new()
        .kv2("secret")
        .on("GET secret/data/a?version=1", 200, VALUE)
        .piped()
        .run("kv get -mount=secret -field=foo -version=1 a");
    assert_eq!((ran.code, ran.out.as_str()), (0, "bar"));
    let ran =
        World::new().kv2("secret").on("GET secret/data/a", 200, VALUE).run("kv get -mount=secret -format=json -field=data a");
    assert_eq!(ran.out, "{\n  \"foo\": \"bar\",\n  \"n\": 1.10\n}\n");
    let ran = World::new().kv2("secret").on("GET secret/data/a", 404, r#"{"errors":[]}"#).run("kv get -mount=secret a");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at secret/data/a\n"));
    let deleted = r#"{"data":{"data":null,"metadata":{"deletion_time":"2026-01-02T00:00:00Z","version":2}}}"#;
    let ran = World::new().kv2("secret").on("GET secret/data/a", 404, deleted).run("kv get -mount=secret a");
    assert!(
        ran.code == 0 && ran.out.contains("deletion_time    2026-01-02T00:00:00Z") && !ran.out.contains("= Data ="),
        "{}",
        ran.out
    );
    let ran = World::new().kv2("secret").on("GET secret/data/a", 404, deleted).run("kv get -mount=secret -field=x a");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No data found at secret/data/a\n"));
    let v1 = r#"{"data":{"path":"kv/","options":null}}"#;
    let ran = World::new()
        .on("GET sys/internal/ui/mounts/kv/a", 200, v1)
        .on("GET kv/a", 200, r#"{"data":{"x":"y"}}"#)
        .run("kv get kv/a");
    assert_eq!(ran.out, "== Data ==\nKey    Value\n---    -----\nx      y\n");
    let denied = r#"{"errors":["preflight capability check returned 403, please ensure client's policies grant access to path \"secret/a/\""]}"#;
    let ran = World::new().on("GET sys/internal/ui/mounts/secret/a", 403, denied).run("kv get secret/a");
    assert!(
        ran.code == 2
            && ran.err.starts_with(
                "Error making API request.\n\nURL: GET http://127.0.0.1:8200/v1/sys/internal/ui/mounts/secret/a\nCode: 403."
            )
    );
}

#[test]
fn put_prints_the_version() {
    let ran = World::new()
        .kv2("secret")
        .with("PUT secret/data/a", r#"{"data":{"foo":"bar"},"options":{}}"#, 200, VERSION)
        .run("kv put -mount=secret a foo=bar");
    assert!(
        ran.out.starts_with("== Secret Path ==\nsecret/data/a\n\n======= Metadata =======\nKey                Value\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("version            2\n") && ran.code == 0);
    let world = World::new().kv2("secret").with("PUT secret/data/a", r#"{"data":{"a":"x\n"},"options":{"cas":0}}"#, 200, VERSION);
    assert_eq!(world.stdin("x\n").run("kv put -cas=0 -mount=secret a a=-").code, 0);
    let world = World::new().kv2("secret").on("PUT secret/data/a", 200, VERSION);
    assert_eq!(world.run("kv put -field=version -mount=secret a a=b").out, "2\n");
    assert_eq!(World::new().run("kv put secret/a").err, "Must supply data\n");
    let v1 = r#"{"data":{"path":"kv/","options":{"version":"1"}}}"#;
    let ran = World::new()
        .on("GET sys/internal/ui/mounts/kv/a", 200, v1)
        .with("PUT kv/a", r#"{"a":"b"}"#, 204, "")
        .run("kv put kv/a a=b");
    assert_eq!(ran.out, "Success! Data written to: kv/a\n");
}

#[test]
fn patch_falls_back_to_reading_and_writing() {
    let patched = r#"{"data":{"n":"2","gone":null},"options":{}}"#;
    let world = World::new().kv2("secret").with("PATCH secret/data/a", patched, 200, VERSION);
    assert_eq!(world.run("kv patch -mount=secret -remove-data=gone a n=2").code, 0);
    let written = r#"{"data":{"foo":"bar","n":"2"},"options":{"cas":2}}"#;
    for status in [403, 405] {
        let world = World::new()
            .kv2("secret")
            .on("PATCH secret/data/a", status, r#"{"errors":["no"]}"#)
            .on("GET secret/data/a", 200, VALUE)
            .with("PUT secret/data/a", written, 200, VERSION);
        assert_eq!(world.run("kv patch -mount=secret a n=2").code, 0);
    }
    let world = World::new().kv2("secret").on("GET secret/data/a", 200, VALUE).with("PUT secret/data/a", written, 200, VERSION);
    assert_eq!(world.run("kv patch -method=rw -mount=secret a n=2").code, 0);
    let ran = World::new()
        .kv2("secret")
        .on("PATCH secret/data/a", 403, r#"{"errors":["no"]}"#)
        .run("kv patch -method=patch -mount=secret a n=2");
    assert_eq!(ran.code, 2);
    let ran = World::new().kv2("secret").on("PATCH secret/data/a", 404, r#"{"errors":[]}"#).run("kv patch -mount=secret a n=2");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at secret/data/a\n"));
    assert_eq!(World::new().run("kv patch -method=other -mount=secret a n=2").code, 1);
}

#[test]
fn versions_are_deleted_brought_back_and_destroyed() {
    for (words, line, body, out) in [
        (
            "kv delete -mount=secret a",
            "DELETE secret/data/a",
            "null",
            "Success! Data deleted (if it existed) at: secret/data/a\n",
        ),
        (
            "kv delete -mount=secret -versions=1,2 a",
            "PUT secret/delete/a",
            r#"{"versions":["1","2"]}"#,
            "Success! Data deleted (if it existed) at: secret/data/a\n",
        ),
        (
            "kv undelete -mount=secret -versions=3 a",
            "PUT secret/undelete/a",
            r#"{"versions":["3"]}"#,
            "Success! Data written to: secret/undelete/a\n",
        ),
        (
            "kv destroy -mount=secret -versions=3 -versions=4 a",
            "PUT secret/destroy/a",
            r#"{"versions":["3","4"]}"#,
            "Success! Data written to: secret/destroy/a\n",
        ),
    ] {
        let ran = World::new().kv2("secret").with(line, body, 204, "").run(words);
        assert_eq!((ran.code, ran.out.as_str()), (0, out), "{words}");
    }
    for words in
        ["kv undelete -mount=secret a", "kv destroy -mount=secret a", "kv delete -mount=secret -versions=x a", "kv delete"]
    {
        assert_eq!(World::new().run(words).code, 1, "{words}");
    }
    let v1 = r#"{"data":{"path":"kv/","options":null}}"#;
    for (words, text) in [
        ("kv undelete -versions=1 kv/a", "Undelete not supported on KV Version 1\n"),
        ("kv destroy -versions=1 kv/a", "Destroy not supported on KV Version 1\n"),
        ("kv rollback -version=1 kv/a", "Rollback not supported on KV Version 1\n"),
        ("kv metadata get kv/a", "Metadata not supported on KV Version 1\n"),
    ] {
        let ran = World::new().on("GET sys/internal/ui/mounts/kv/a", 200, v1).run(words);
        assert_eq!((ran.code, ran.err.as_str()), (1, text));
    }
}

#[test]
fn rollback_writes_the_old_version_over_the_newest() {
    let old = r#"{"data":{"data":{"foo":"old"},"metadata":{"version":1,"destroyed":false}}}"#;
    let deleted_now = r#"{"data":{"data":null,"metadata":{"version":5}}}"#;
    let ran = World::new()
        .kv2("secret")
        .on("GET secret/data/a", 404, deleted_now)
        .on("GET secret/data/a?version=1", 200, old)
        .with("PUT secret/data/a", r#"{"data":{"foo":"old"},"options":{"cas":5}}"#, 200, VERSION)
        .run("kv rollback -mount=secret -version=1 a");
    assert_eq!(ran.code, 0, "{}", ran.err);
    for (old, text) in [
        (
            r#"{"data":{"data":null,"metadata":{"version":1,"destroyed":true}}}"#,
            "Cannot roll back to a version that has been destroyed\n",
        ),
        (
            r#"{"data":{"data":null,"metadata":{"version":1,"destroyed":false}}}"#,
            "Cannot roll back to a version that has been deleted\n",
        ),
    ] {
        let world = World::new().kv2("secret").on("GET secret/data/a", 200, VALUE).on("GET secret/data/a?version=1", 404, old);
        let ran = world.run("kv rollback -mount=secret -version=1 a");
        assert_eq!((ran.code, ran.err.as_str()), (2, text));
    }
    assert_eq!(World::new().run("kv rollback -mount=secret a").code, 1);
}

#[test]
fn lists_and_versioning() {
    let keys = r#"{"data":{"keys":["a","b/"]}}"#;
    assert_eq!(
        World::new().kv2("secret").on("GET secret/metadata?list=true", 200, keys).run("kv list secret").out,
        "Keys\n----\na\nb/\n"
    );
    assert_eq!(
        World::new().kv2("secret").on("GET secret/metadata/x?list=true", 200, keys).run("kv list -mount=secret x").code,
        0
    );
    assert_eq!(World::new().kv2("secret").on("GET secret/metadata?list=true", 200, keys).run("kv list -mount=secret").code, 0);
    let ran = World::new().kv2("secret").on("GET secret/metadata?list=true", 404, r#"{"errors":[]}"#).run("kv list secret/");
    assert_eq!((ran.code, ran.err.as_str()), (2, "No value found at secret/metadata\n"));
    let ran =
        World::new().with("POST sys/mounts/kv/tune", r#"{"options":{"version":"2"}}"#, 204, "").run("kv enable-versioning kv");
    assert_eq!(ran.out, "Success! Tuned the secrets engine at: kv/\n");
}

#[test]
fn metadata() {
    let answer = r#"{"data":{"cas_required":false,"created_time":"T1","current_version":2,"custom_metadata":{"k":"v"},"delete_version_after":"0s","max_versions":0,"oldest_version":0,"updated_time":"T2","versions":{"10":{"created_time":"T3","deletion_time":"","destroyed":false},"2":{"created_time":"T4","deletion_time":"","destroyed":true}}}}"#;
    let ran = World::new().kv2("secret").on("GET secret/metadata/a", 200, answer).run("kv metadata get -mount=secret a");
    let text = "\
= Metadata Path =
secret/metadata/a

========== Metadata ==========
Key                     Value
---                     -----
cas_required            false
created_time            T1
current_version         2
custom_metadata         map[k:v]
delete_version_after    0s
max_versions            0
oldest_version          0
updated_time            T2

====== Version 2 ======
Key              Value
---              -----
created_time     T4
deletion_time    n/a
destroyed        true

===== Version 10 =====
Key              Value
---              -----
created_time     T3
deletion_time    n/a
destroyed        false
";
    assert_eq!(ran.out, text);
    for (words, line, body) in [
        (
            "kv metadata put -mount=secret -max-versions=5 -cas-required -delete-version-after=30m -custom-metadata=a=b a",
            "PUT secret/metadata/a",
            r#"{"max_versions":5,"cas_required":true,"delete_version_after":"30m0s","custom_metadata":{"a":"b"}}"#,
        ),
        ("kv metadata put -mount=secret a", "PUT secret/metadata/a", "{}"),
        (
            "kv metadata patch -mount=secret -cas-required=false -remove-custom-metadata=x a",
            "PATCH secret/metadata/a",
            r#"{"cas_required":false,"custom_metadata":{"x":null}}"#,
        ),
    ] {
        let ran = World::new().kv2("secret").with(line, body, 204, "").run(words);
        assert_eq!(ran.out, "Success! Data written to: secret/metadata/a\n");
    }
    let ran = World::new().kv2("secret").on("DELETE secret/metadata/a", 204, "").run("kv metadata delete -mount=secret a");
    assert_eq!(ran.out, "Success! Data deleted (if it existed) at: secret/metadata/a\n");
    assert_eq!(World::new().kv2("secret").run("kv metadata patch -mount=secret a").code, 1);
}
