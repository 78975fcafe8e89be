//! What is read and what is refused. The vectors were checked against `hashicorp/hcl` v1 (crates.md §5).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code outside of #[test] functions")]

use hcl1::{NESTING_LIMIT_LEVELS, Options, fmt, parse, parse_with};
use serde_json::{Value, json};

fn read(text: &str) -> Value {
    parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}")).to_json()
}

#[test]
fn reads_what_hcl1_reads() {
    let table = [
        ("", json!({})),
        ("  \n# only a comment", json!({})),
        ("a = 1 b = 2", json!({"a": 1, "b": 2})),
        ("a = 1, b = 2", json!({"a": 1, "b": 2})),
        ("a { b = 1 c = 2 }", json!({"a": {"b": 1, "c": 2}})),
        ("a { b = 1\n c = 2 }", json!({"a": {"b": 1, "c": 2}})),
        ("a { b = 1, }", json!({"a": {"b": 1}})),
        ("\"a\" = 1", json!({"a": 1})),
        ("\"path\" \"x\" {}", json!({"path": {"x": {}}})),
        ("a b { c = 1 }", json!({"a": {"b": {"c": 1}}})),
        ("a {} b {}", json!({"a": {}, "b": {}})),
        ("a { b = 1 }\na { b = 2 }", json!({"a": [{"b": 1}, {"b": 2}]})),
        ("a \"x\" { b = 1 }\na \"y\" { b = 2 }\na \"x\" { b = 3 }", json!({"a": {"x": [{"b": 1}, {"b": 3}], "y": {"b": 2}}})),
        ("path = {\"a\" = {b = []}}", json!({"path": {"a": {"b": []}}})),
        ("a = [1, 2,]", json!({"a": [1, 2]})),
        ("a = [{b=1},{c=2}]", json!({"a": [{"b": 1}, {"c": 2}]})),
        ("a.b-c_d = 1", json!({"a.b-c_d": 1})),
        ("ä = \"é\"", json!({"ä": "é"})),
        ("a\r\n= 1\r\nb = 2\r\n", json!({"a": 1, "b": 2})),
        ("# c\n// c\n/* c\n */ a = 1 # d", json!({"a": 1})),
        ("a = 0777", json!({"a": 511})),
        ("a = 0x1F", json!({"a": 31})),
        ("a = -0x5", json!({"a": -5})),
        ("a = 00", json!({"a": 0})),
        ("a = true b = false", json!({"a": true, "b": false})),
        ("a = \"x${ \"q\" }y\"", json!({"a": "x${ \"q\" }y"})),
        ("a = \"${{x}}\"", json!({"a": "${{x}}"})),
        ("a = \"%{x}\"", json!({"a": "%{x}"})),
        ("path \"{{identity.entity.id}}\" {}", json!({"path": {"{{identity.entity.id}}": {}}})),
        (r#"a = "\x41B\101\n\"""#, json!({"a": "ABA\n\""})),
        ("a = <<EOF\nx\n  y\nEOF\nb = 1", json!({"a": "x\n  y\n", "b": 1})),
        ("a = <<EOF\nx\n  EOF\n", json!({"a": "x\n  "})),
        ("a = <<-EOF\n    x\n      y\n    EOF\n", json!({"a": "x\n  y\n"})),
        ("a = <<-EOF\n  x\n y\n    EOF\n", json!({"a": "  x\n y\n"})),
        ("a = <<EOF\r\nx\r\nEOF\r\n", json!({"a": "x\n"})),
        (" {\"a\": {\"b\": [1, null, \"\\u0041\"]}}\n", json!({"a": {"b": [1, null, "A"]}})),
        ("{}", json!({})),
    ];
    for (text, want) in table {
        assert_eq!(read(text), want, "{text:?}");
    }
    assert_eq!(read("a = 1.50 b = 1e3 c = .5")["a"].as_f64(), Some(1.5));
}

#[test]
fn refuses_what_hcl1_refuses() {
    let table = [
        ("a = foo(1)", 1, 8),
        ("a = foo", 1, 5),
        ("a = null", 1, 5),
        ("\u{feff}a = 1", 1, 1),
        ("a = 08", 1, 5),
        ("a = 30s", 1, 5),
        ("a = 1_000", 1, 5),
        ("a = +1", 1, 5),
        ("a = -", 1, 5),
        ("a = 0x", 1, 5),
        ("a = inf", 1, 5),
        ("a = 99999999999999999999", 1, 5),
        ("a \"b\" = {}", 1, 7),
        ("a", 1, 2),
        ("a =", 1, 4),
        ("= 1", 1, 1),
        ("a {", 1, 3),
        ("a {\n\n", 1, 3),
        ("}", 1, 1),
        ("a {}}", 1, 5),
        ("a = [1", 1, 5),
        ("a = [1 2]", 1, 8),
        ("a = [1 = 2]", 1, 8),
        ("a = [true, null]", 1, 12),
        ("1 = 2", 1, 1),
        ("a: 1", 1, 2),
        ("a = 1;", 1, 6),
        ("a = 1,,b = 2", 1, 7),
        (",a = 1", 1, 1),
        ("a = \"x\ny\"", 1, 5),
        ("a = \"x", 1, 5),
        ("a = \"${x\"", 1, 5),
        ("a = \"\\q\"", 1, 6),
        ("a = \"\\ud800\"", 1, 6),
        ("a = \"\\U00110000\"", 1, 6),
        ("a = \"x\0\"", 1, 7),
        ("a = 1 /* x", 1, 7),
        ("a = 1/b", 1, 6),
        ("a = <<EOF\nx", 1, 5),
        ("a = <<\"EOF\"\nx\nEOF\n", 1, 5),
        ("a = <EOF\nx\nEOF\n", 1, 5),
        ("b = 1\n\n  a = 1\n a = 2", 4, 2),
        ("a { b = 1\nb = 2 }", 2, 1),
        ("{\"a\":1,\n\"a\":2}", 2, 1),
        ("{\"a\":1}x", 1, 8),
        ("{\"a\":01}", 1, 6),
        ("{\"a\" 1}", 1, 6),
        ("{\"a\":1,}", 1, 8),
        ("{a:1}", 1, 2),
        ("{\"a\":[1 2]}", 1, 9),
        ("{\"a\":\"\n\"}", 1, 6),
        ("{\"a\":nope}", 1, 6),
        ("{", 1, 2),
        ("[]", 1, 1),
    ];
    let wrong: Vec<_> = table
        .into_iter()
        .filter_map(|(text, line, column)| match parse(text) {
            Ok(_) => Some(format!("{text:?} was read")),
            Err(e) if (e.line, e.column) == (line, column) => None,
            Err(e) => Some(format!("{text:?}: {e}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn duplicates_can_be_allowed_and_blocks_repeat_freely() {
    assert_eq!(
        parse("a = 1\na = 2").unwrap_err().to_string(),
        "the attribute \"a\" was already set; each can only be set once, at line 2, column 1"
    );
    let relaxed = Options { allow_duplicate_attributes: true };
    let object = parse_with("a = 1\na = 2", relaxed).unwrap();
    assert_eq!(object.to_json(), json!({"a": 2}));
    assert_eq!(object.attribute("a").map(hcl1::Node::to_json), Some(json!(2)));
    assert!(parse_with("{\"a\":1,\"a\":2}", relaxed).is_ok());
    assert!(parse("a { x = 1 }\na { x = 2 }\na { x = 3 }").is_ok());
}

#[test]
fn errors_and_debug_never_quote_values() {
    for text in [
        "a = hunter2",
        "a = \"hunter2",
        "a = \"hunter2\\q\"",
        "a = [\"hunter2\" \"x\"]",
        "a = 0hunter2",
        "{\"a\": hunter2}",
        "a = <<hunter2\nx",
    ] {
        let error = parse(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let object = parse("token = \"hunter2\"\nlist = [\"hunter2\"]\nb { c = \"hunter2\" }").unwrap();
    assert!(!format!("{object:?}").contains("hunter2"));
}

#[test]
fn blocks_are_found_in_every_notation() {
    for text in [
        "path \"a\" { x = 1 }\npath \"b\" { y = 1 }",
        "path = { \"a\" = { x = 1 }, \"b\" = { y = 1 } }",
        "path { \"a\" { x = 1 } \"b\" { y = 1 } }",
        "{\"path\": {\"a\": {\"x\": 1}, \"b\": {\"y\": 1}}}",
        "{\"path\": [{\"a\": {\"x\": 1}}, {\"b\": [{\"y\": 1}]}]}",
    ] {
        let object = parse(text).unwrap();
        let blocks = object.blocks("path", 1).unwrap();
        let found: Vec<_> = blocks.iter().map(|b| (b.labels[0].text.as_str(), b.body.items[0].keys[0].text.as_str())).collect();
        assert_eq!(found, [("a", "x"), ("b", "y")], "{text}");
    }
    for (text, labels) in
        [("path = 1", 1), ("path \"a\" \"b\" {}", 1), ("path { a = 1 }", 1), ("path = [1]", 0), ("{\"path\": {\"a\": 1}}", 1)]
    {
        assert!(parse(text).unwrap().blocks("path", labels).is_err(), "{text}");
    }
}

#[test]
fn unknown_keys_are_named_with_their_place() {
    let object = parse("ui = true\nfoo = 1\n  bar \"x\" {}").unwrap();
    let found: Vec<_> = object.unknown_keys(&["ui"]).map(|k| (k.text.as_str(), k.position.line, k.position.column)).collect();
    assert_eq!(found, [("foo", 2, 1), ("bar", 3, 3)]);
}

#[test]
fn nesting_is_limited_and_time_is_linear() {
    for (open, close) in [("a {", "}"), ("a = [", "]"), ("a = {", "}")] {
        let deep = |n: usize| {
            if open == "a = [" { format!("a = {}{}", "[".repeat(n), close.repeat(n)) } else { open.repeat(n) + &close.repeat(n) }
        };
        assert!(parse(&deep(NESTING_LIMIT_LEVELS)).is_ok(), "{open}");
        assert!(parse(&deep(NESTING_LIMIT_LEVELS + 1)).is_err(), "{open}");
        assert!(parse(&deep(100_000)).is_err(), "{open}");
    }
    assert!(parse(&format!("{{\"a\":{}", "[".repeat(100_000))).is_err());
    // Quadratic work on these would take minutes.
    let rules: String = (0..20_000).map(|i| format!("path \"p{i}\" {{ capabilities = [\"read\"] }} ")).collect();
    let object = parse(&rules).unwrap();
    assert_eq!(object.blocks("path", 1).unwrap().len(), 20_000);
    assert_eq!(object.to_json()["path"].as_object().map(serde_json::Map::len), Some(20_000));
    let same: String = "a { b = 1 } ".repeat(20_000);
    assert_eq!(parse(&same).unwrap().to_json()["a"].as_array().map(Vec::len), Some(20_000));
}

#[test]
fn formats_canonically_and_keeps_comments() {
    let ugly = "# top\npath \"a\" {\n\n\n  capabilities = [\"read\",\"list\" ]   # why \n policy=\"x\"\n\n    allowed_parameters = {\n\"a\"=[]\n \"bcd\" = [\"x\",\n\"y\"]\n}\n\n}\npath \"c\" {}\npath \"d\" { policy = \"read\", comment=\"c\" }\n/* end */\n\n";
    let pretty = r#"# top
path "a" {
  capabilities = ["read", "list"] # why
  policy       = "x"

  allowed_parameters = {
    "a" = []
    "bcd" = ["x",
      "y"]
  }
}

path "c" {}
path "d" {
  policy  = "read"
  comment = "c"
}

/* end */
"#;
    assert_eq!(fmt(ugly).unwrap(), pretty);
    assert_eq!(fmt(pretty).unwrap(), pretty);
    assert_eq!(fmt("a = <<EOF\n  x\n EOF\nb=1").unwrap(), "a = <<EOF\n  x\n EOF\nb = 1\n");
    // Found by fuzzing: a comment that ends like an opened block is none, so the empty line behind it stays.
    let commented = "a  = 1 # {\n\nbb = 2\n";
    assert_eq!(fmt("a = 1 # {\n\n\nbb = 2").unwrap(), fmt(commented).unwrap());
    assert_eq!(fmt(&fmt(commented).unwrap()).unwrap(), fmt(commented).unwrap());
    assert!(fmt("{\"a\":1}").is_err());
    assert!(fmt("a = ").is_err());
}

#[test]
fn hcl_rs_prints_what_was_read() {
    let object = parse("{\"ui\": true, \"n\": 1.5, \"path\": {\"a\": {\"x\": [1, \"two\", null]}}}").unwrap();
    let text = object.to_hcl().unwrap();
    assert_eq!(hcl::from_str::<Value>(&text).unwrap(), object.to_json());
    let blocks = parse("listener \"tcp\" { address = \"x\" }").unwrap().to_hcl().unwrap();
    assert_eq!(blocks, "listener \"tcp\" {\n  address = \"x\"\n}\n");
}
