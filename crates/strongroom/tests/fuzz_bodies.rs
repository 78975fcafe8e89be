//! The bodies of the fuzz targets, over a few inputs each: so they keep compiling, and what fuzzing found stays mended. An input that
//! broke something is added here. Fuzzing itself is `dev/fuzz` (CONTRIBUTING.md).

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::let_underscore_untyped, reason = "tests")]

#[path = "../../../fuzz/bodies/hcl1.rs"]
mod hcl1_body;
#[path = "../../../fuzz/bodies/http.rs"]
mod http_body;
#[path = "../../../fuzz/bodies/jws.rs"]
mod jws_body;
#[path = "../../../fuzz/bodies/pgp.rs"]
mod pgp_body;
#[path = "../../../fuzz/bodies/policy.rs"]
mod policy_body;
#[path = "../../../fuzz/bodies/token.rs"]
mod token_body;

#[test]
fn documents_and_policies() {
    for text in [
        "",
        "a = 1",
        "path \"x/*\" { capabilities = [\"list\"] }",
        "a \"b\" \"c\" {\n # d\n}",
        "a = <<E\nb\nE\n",
        "{\"a\": [{\"b\": 1}]}",
        "\u{0}",
    ] {
        hcl1_body::run(text);
        for path in ["", "x/", "x/y", "../x", "+"] {
            policy_body::run((text, path, "a/+*"));
        }
    }
}

#[test]
fn tokens_and_keys() {
    let key = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let none = "eyJhbGciOiJub25lIn0.e30.";
    for document in
        ["", "{}", key, &format!("{{\"keys\":[{key}]}}"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
    {
        for token in ["", "..", none, "a.b.c", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"] {
            jws_body::run((token, document.as_bytes()));
            token_body::run((token, document, 0));
        }
        pgp_body::run(document.as_bytes());
    }
    pgp_body::run(include_bytes!("../../pgp-keys/tests/data/curve.b64"));
    for entry in ["{}", r#"{"policies":["root"],"num_uses":1}"#] {
        token_body::run(("hvb.e30", entry, i64::MAX));
    }
}

#[test]
fn requests() {
    for endpoint in 0..400 {
        for (field, body) in [(0, "{}"), (1, "null"), (2, "[{}]"), (3, "x")] {
            http_body::run((1, true, endpoint, field, "x", "", body.as_bytes()));
        }
        http_body::run((0, false, endpoint, 0, "sys/health", "hvs.x", b""));
    }
}
