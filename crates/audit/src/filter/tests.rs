//! Filters that are understood, and more that are not.

use api_types::Operation;
use proptest::prelude::*;

use super::*;

fn facts(operation: Operation, mount: &'static str, kind: &'static str, path: &'static str) -> RequestFacts<'static> {
    RequestFacts { mount_point: mount, mount_type: kind, ..RequestFacts::new("", operation, path) }
}

#[test]
fn expressions_mean_what_they_say() {
    let read = facts(Operation::Read, "secret/", "kv", "secret/data/app");
    let login = facts(Operation::Update, "auth/k8s/", "kubernetes", "auth/k8s/login");
    for (text, of_read, of_login) in [
        (r#"mount_type == "kv" and operation == "read""#, true, false),
        ("mount_type == kv", true, false),
        (r#"mount_type != "kv""#, false, true),
        (r#"operation in ["read", "list"]"#, true, false),
        (r#"operation not in ["read", "list"]"#, false, true),
        (r#""data" in path"#, true, false),
        (r#""data" not in path"#, false, true),
        (r#""auth/" in "/mount_point""#, false, true),
        (r#"path contains "login""#, false, true),
        (r#"path not contains "login""#, true, false),
        (r#"path matches "^secret/""#, true, false),
        (r#"path not matches `^secret/\w+`"#, false, true),
        (r#"path matches "login$|\.x""#, false, true),
        ("namespace is empty", true, true),
        ("mount_point is not empty", true, true),
        (r#""/mount_type" == "kubernetes""#, false, true),
        // `and` binds closer than `or`.
        ("mount_type == kv or mount_type == kubernetes and operation == read", true, false),
        ("(mount_type == kv or mount_type == kubernetes) and operation == update", false, true),
        ("not mount_type == kv and not (operation == read)", false, true),
        ("not not mount_type == kv", true, false),
        (r#"mount_point == "secret/"or path == "a\"b""#, true, false),
    ] {
        let filter = Filter::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((filter.takes(&read), filter.takes(&login)), (of_read, of_login), "{text}");
    }
}

#[test]
fn what_is_no_filter_is_refused_with_the_place() {
    for (text, error) in [
        ("", "at byte 0: expected a selector"),
        ("()", "at byte 1: expected a selector"),
        (
            "mount_type",
            "at byte 10: expected ==, !=, in, not in, contains, not contains, matches, not matches, is empty, is not empty",
        ),
        ("mount_type ==", "at byte 13: expected a value"),
        ("mount_type == kv and", "at byte 20: expected a selector"),
        ("mount_type == kv operation == read", "at byte 17: expected the end, and, or"),
        ("(mount_type == kv", "at byte 17: expected a closing parenthesis"),
        ("mount_type == kv)", "at byte 16: expected the end, and, or"),
        ("mount_type == \"kv", "at byte 14: expected a closing quote"),
        ("mount_type is full", "at byte 14: expected empty, not empty"),
        ("operation in [\"read\"", "at byte 20: expected a comma or a closing bracket"),
        ("operation in []", "at byte 14: expected a value"),
        ("\"x\" in [\"y\"]", "selector \"x\" is not one of mount_point, mount_type, namespace, operation, path"),
        ("token == x", "selector \"token\" is not one of mount_point, mount_type, namespace, operation, path"),
        ("\"mount_type\" == kv", "selector \"mount_type\" is not one of mount_point, mount_type, namespace, operation, path"),
        ("path matches \"(\"", "the regular expression \"(\" cannot be used"),
        ("mount_type = kv", "at byte 11: expected a selector, a value or an operator"),
        ("mount_type == kv; x", "at byte 16: expected a selector, a value or an operator"),
    ] {
        assert_eq!(Filter::parse(text).unwrap_err().to_string(), error, "{text}");
    }
    let deep = format!("{}mount_type == kv{}", "(".repeat(40), ")".repeat(40));
    assert_eq!(Filter::parse(&deep).unwrap_err(), FilterError::TooDeep);
    assert_eq!(Filter::parse(&"x".repeat(5000)).unwrap_err(), FilterError::TooLong);
    let huge = Filter::parse(r#"path matches "(a{500}){500}""#).unwrap_err();
    assert!(matches!(huge, FilterError::Pattern(_)), "CVE class N: a pattern that would fill the memory");
}

proptest! {
    #[test]
    fn no_text_brings_the_parser_down(text in "[a-z_ ()\\[\\],!=\"`\\\\é]{0,60}") {
        let _ = Filter::parse(&text);
    }
}
