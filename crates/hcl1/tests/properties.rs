//! Properties over generated documents and over noise.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code outside of #[test] functions")]

use hcl1::{fmt, parse};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?[1-9][0-9]{0,5}",
        "\"[a-z ${}%/*+]{0,8}\"".prop_filter("balanced", |s| !s.contains("${")),
        Just("true".to_owned()),
        Just("<<EOF\n a\nb\nEOF\n".to_owned()),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let no_heredoc = inner.prop_filter("a comma cannot follow a heredoc", |s| !s.contains("<<"));
        prop_oneof![
            prop::collection::vec(no_heredoc.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(" , "))),
            prop::collection::btree_map("[a-z]{1,4}", no_heredoc, 0..4).prop_map(|m| {
                let items: Vec<_> = m.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{{ {} }}", items.join(","))
            }),
        ]
    })
}

fn document() -> impl Strategy<Value = String> {
    let blank = prop_oneof![Just(" "), Just("\n"), Just("\n\n\n"), Just(" # note\n"), Just(" /* n */ "), Just("\r\n")];
    let item = ("[a-z]{3,6}", value(), any::<bool>())
        .prop_map(|(k, v, block)| if block { format!("{k} \"l\" {{ v = {v} }}") } else { format!("{k}{{x={v}}}") });
    prop::collection::vec((item, blank), 0..6).prop_map(|items| items.into_iter().map(|(i, b)| i + b).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn noise_never_panics(text in "[a-z{}\\[\\]=,\"\\\\<\n\r\t /*#$0-9.x-]{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
        if let Ok(once) = fmt(&text) {
            prop_assert_eq!(parse(&once).unwrap().to_json(), hcl1::parse_with(&text, hcl1::Options { allow_duplicate_attributes: true }).unwrap().to_json());
        }
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("{{{text}"));
        prop_assert!(fmt(&text).map_or(true, |t| parse(&t).is_ok()));
    }

    #[test]
    fn formatting_keeps_the_meaning_and_is_stable(text in document()) {
        let tree = parse(&text).unwrap().to_json();
        let once = fmt(&text).unwrap();
        prop_assert_eq!(parse(&once).unwrap().to_json(), tree);
        prop_assert_eq!(fmt(&once).unwrap(), once);
    }

    #[test]
    fn json_reads_as_serde_reads_it(keys in prop::collection::btree_map("[a-z]{1,3}", "\\PC{0,6}", 0..6)) {
        let text = serde_json::to_string(&keys).unwrap();
        prop_assert_eq!(parse(&text).unwrap().to_json(), serde_json::to_value(&keys).unwrap());
    }
}
