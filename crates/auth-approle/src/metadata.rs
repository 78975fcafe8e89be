//! The `metadata` text of a secret id: a JSON object of texts or `k=v` pairs with commas, either of them maybe in base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::EngineError;

/// Bytes of one text; it goes into the token, its alias and every audit line.
const METADATA_MAX_BYTES: usize = 64 * 1024;

/// Reads the text. The errors are the reference server's.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, EngineError> {
    let failed = |why: String| EngineError::Invalid(format!("failed to parse metadata: {why}"));
    let text = text.trim();
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    if text.len() > METADATA_MAX_BYTES {
        return Err(failed(format!("longer than {METADATA_MAX_BYTES} bytes")));
    }
    // What happens to be base64 is read as base64, `text` as well.
    let decoded = STANDARD.decode(text).map(|b| String::from_utf8_lossy(&b).into_owned());
    let text = decoded.as_deref().unwrap_or(text);
    let pairs = match serde_json::from_str(text) {
        Ok(pairs) => pairs,
        Err(_) => pairs(text).map_err(|why| failed(format!("failed to parse the input: {why}")))?,
    };
    match pairs.iter().find(|(k, v)| !k.is_empty() && v.is_empty()) {
        Some((key, _)) => Err(failed(format!("invalid value for key {key:?}"))),
        None => Ok(pairs),
    }
}

/// Pairs are lower-cased as a whole: that is what the reference server's list parser does.
fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for item in text.split(',').map(|s| s.trim().to_lowercase()).filter(|s| !s.is_empty()) {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) if !value.contains('=') => (key.trim(), value.trim()),
            _ => return Err("invalid <key,value> format".to_owned()),
        };
        if key.is_empty() || value.is_empty() {
            return Err(format!("invalid <key,value> pair: key: {key:?} value: {value:?}"));
        }
        out.insert(key.to_owned(), value.to_owned());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        for (text, want) in [
            ("", vec![]),
            ("  ", vec![]),
            (r#"{"ip": "x", "Y": "Z"}"#, vec![("Y", "Z"), ("ip", "x")]),
            ("eyJhIjoiYiJ9", vec![("a", "b")]),
            ("A=B, c=d,", vec![("a", "b"), ("c", "d")]),
            ("YT1i", vec![("a", "b")]),
        ] {
            let want: BTreeMap<String, String> = want.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn the_rest_is_refused() {
        for (text, why) in [
            ("text", "failed to parse the input: invalid <key,value> format"),
            ("a=b=c", "failed to parse the input: invalid <key,value> format"),
            ("=x", "failed to parse the input: invalid <key,value> pair: key: \"\" value: \"x\""),
            (r#"{"a": 1}"#, "failed to parse the input: invalid <key,value> format"),
            (r#"{"a": ""}"#, "invalid value for key \"a\""),
            ("[1, 2]", "failed to parse the input: invalid <key,value> format"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("failed to parse metadata: {why}"), "{text}");
        }
        assert!(parse(&"a".repeat(METADATA_MAX_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall(text in ".{0,64}") {
            if let Ok(pairs) = parse(&text) {
                prop_assert!(pairs.iter().all(|(k, v)| k.is_empty() || !v.is_empty()));
            }
        }
    }
}
