//! `custom_metadata`: what a client may attach to a key, and the exact words of every refusal.

use std::collections::BTreeMap;

use api_types::{Map, multi_error};
use serde_json::Value;

use crate::limits::{CUSTOM_METADATA_ENTRIES, CUSTOM_METADATA_KEY_BYTES, CUSTOM_METADATA_VALUE_BYTES};

const PREFIX: &str = "custom_metadata validation failed";

/// Text attached to a key, by name.
pub(crate) type CustomMetadata = BTreeMap<String, String>;

/// Why `custom_metadata` is refused. The texts name keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CustomMetadataError {
    /// A value that is no text, number or boolean.
    #[error("{PREFIX}: '' expected type 'string', got unconvertible type '{0}'")]
    NotText(&'static str),
    /// All the other faults, framed as Go's `multierror` does.
    #[error("{0}")]
    Faults(String),
}

/// Decodes and checks a whole `custom_metadata`; null counts as an empty text, which is refused.
pub(crate) fn replace(sent: &Map) -> Result<CustomMetadata, CustomMetadataError> {
    let wanted = sent.iter().map(|(k, v)| Ok((k.clone(), text(v)?))).collect::<Result<CustomMetadata, _>>()?;
    check(&wanted)?;
    Ok(wanted)
}

/// Applies a merge patch: null removes an entry, the rest is decoded and checked as in [`replace`].
pub(crate) fn patch(current: &CustomMetadata, sent: &Map) -> Result<CustomMetadata, CustomMetadataError> {
    let kept: Map = sent.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut merged = current.clone();
    for name in sent.keys() {
        merged.remove(name);
    }
    merged.extend(replace(&kept)?);
    // Vault only counts what one patch sends, so that many patches pass the limit; here the sum counts.
    count(merged.len())?;
    Ok(merged)
}

fn text(value: &Value) -> Result<String, CustomMetadataError> {
    Ok(match value {
        Value::Null => String::new(),
        Value::String(s) => s.clone(),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => (if *b { "1" } else { "0" }).to_owned(),
        Value::Array(_) => return Err(CustomMetadataError::NotText("[]interface {}")),
        Value::Object(_) => return Err(CustomMetadataError::NotText("map[string]interface {}")),
    })
}

fn count(entries: usize) -> Result<(), CustomMetadataError> {
    if entries <= CUSTOM_METADATA_ENTRIES {
        return Ok(());
    }
    let fault = format!("{PREFIX}: payload must contain at most {CUSTOM_METADATA_ENTRIES} keys, provided {entries}");
    Err(CustomMetadataError::Faults(multi_error(&[&fault])))
}

fn check(wanted: &CustomMetadata) -> Result<(), CustomMetadataError> {
    count(wanted.len())?;
    let mut faults = Vec::new();
    for (key, value) in wanted {
        let name = go_quote(key);
        if key.is_empty() || key.len() > CUSTOM_METADATA_KEY_BYTES {
            faults.push(format!(
                "{PREFIX}: length of key {name} is {} but must be 0 < len(key) <= {CUSTOM_METADATA_KEY_BYTES}",
                key.len()
            ));
        }
        if value.is_empty() || value.len() > CUSTOM_METADATA_VALUE_BYTES {
            faults.push(format!(
                "{PREFIX}: length of value for key {name} is {} but must be 0 < len(value) <= {CUSTOM_METADATA_VALUE_BYTES}",
                value.len()
            ));
        }
        if !key.chars().all(printable) {
            faults.push(format!("{PREFIX}: key {name} ({key}) contains unprintable characters"));
        }
        if !value.chars().all(printable) {
            faults.push(format!("{PREFIX}: value for key {name} contains unprintable characters"));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(CustomMetadataError::Faults(multi_error(&faults.iter().map(String::as_str).collect::<Vec<_>>())))
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the plain space. The standard library knows the
/// same set for its own escaping; behind another character it escapes exactly what is not in it, save quotes and backslash.
fn printable(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    let mut probe = String::from("x");
    probe.push(c);
    probe.escape_debug().count() == 2
}

/// Go's `%q`.
fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if printable(c) => out.push(c),
            c if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn refusals_are_worded_as_the_reference_words_them() {
        let one = |fault: &str| format!("1 error occurred:\n\t* custom_metadata validation failed: {fault}\n\n");
        let long_key = "k".repeat(129);
        for (sent, want) in [
            (json!({"": "x"}), one("length of key \"\" is 0 but must be 0 < len(key) <= 128")),
            (json!({"k": ""}), one("length of value for key \"k\" is 0 but must be 0 < len(value) <= 512")),
            (json!({"k": null}), one("length of value for key \"k\" is 0 but must be 0 < len(value) <= 512")),
            (json!({long_key.clone(): "x"}), one(&format!("length of key \"{long_key}\" is 129 but must be 0 < len(key) <= 128"))),
            (json!({"k": "v".repeat(513)}), one("length of value for key \"k\" is 513 but must be 0 < len(value) <= 512")),
            (json!({"tab\t": "x"}), one("key \"tab\\t\" (tab\t) contains unprintable characters")),
            (json!({"k": "a\u{a0}b"}), one("value for key \"k\" contains unprintable characters")),
            (json!({"k": "a\u{200b}b"}), one("value for key \"k\" contains unprintable characters")),
            (
                json!({"k": {"nested": "x"}}),
                "custom_metadata validation failed: '' expected type 'string', got unconvertible type 'map[string]interface {}'".into(),
            ),
            (
                json!({"k": ["x"]}),
                "custom_metadata validation failed: '' expected type 'string', got unconvertible type '[]interface {}'".into(),
            ),
            (
                json!({"": ""}),
                "2 errors occurred:\n\t* custom_metadata validation failed: length of key \"\" is 0 but must be 0 < len(key) <= 128\n\
                 \t* custom_metadata validation failed: length of value for key \"\" is 0 but must be 0 < len(value) <= 512\n\n"
                    .into(),
            ),
        ] {
            assert_eq!(replace(&map(sent.clone())).map_err(|e| e.to_string()), Err(want), "{sent}");
        }
        let many: Map = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
        assert_eq!(replace(&many).unwrap_err().to_string(), one("payload must contain at most 64 keys, provided 65"));
    }

    #[test]
    fn accepts_at_the_limits_and_turns_scalars_into_text() {
        let many: Map = (0..64).map(|n| (format!("k{n}"), json!("v"))).collect();
        assert_eq!(replace(&many).unwrap().len(), 64);
        let got = replace(&map(
            json!({"n": 3, "b": true, "c": false, "é e\u{301}": "日本 \"q\" \\", "k".repeat(128): "v".repeat(512)}),
        ))
        .unwrap();
        assert_eq!((got["n"].as_str(), got["b"].as_str(), got["c"].as_str()), ("3", "1", "0"));
    }

    #[test]
    fn a_patch_removes_adds_and_counts_the_sum() {
        let current = replace(&map(json!({"a": "1", "b": "2"}))).unwrap();
        let got = patch(&current, &map(json!({"a": null, "gone": null, "c": 3}))).unwrap();
        assert_eq!(got.into_iter().collect::<Vec<_>>(), [("b".into(), "2".into()), ("c".into(), "3".into())]);
        let full = replace(&(0..64).map(|n| (format!("k{n}"), json!("v"))).collect()).unwrap();
        assert!(patch(&full, &map(json!({"x": "1"}))).is_err());
        assert!(patch(&full, &map(json!({"x": "1", "k0": null}))).is_ok());
        assert!(patch(&current, &map(json!({"c": ""}))).is_err());
    }

    #[test]
    fn quotes_as_go_does() {
        for (text, want) in [
            ("a\"b\\", "\"a\\\"b\\\\\""),
            ("\u{7}\u{8}\u{b}\u{c}\r\n\t", "\"\\a\\b\\v\\f\\r\\n\\t\""),
            ("\u{1}\u{7f}", "\"\\x01\\x7f\""),
            ("\u{a0}é", "\"\\u00a0é\""),
            ("\u{e0001}", "\"\\U000e0001\""),
        ] {
            assert_eq!(go_quote(text), want);
        }
    }
}
