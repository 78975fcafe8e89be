//! Declared fields and the weak decoding that Vault's clients rely on (contract §1.7): `"true"`, `"5"`, `5` and `"1h"` all
//! arrive as what the field declares.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::{Map, duration};
use serde_json::Value;

use crate::EngineError;

/// What a field holds after decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text; numbers and booleans become text.
    String,
    /// Text in lower case.
    LowerString,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number that may have a fraction.
    Float,
    /// Whole seconds, zero or more.
    DurationSecond,
    /// Seconds with fraction and sign.
    SignedDuration,
    /// Texts: a list, or comma-separated; trimmed. Empty ones between commas are dropped.
    CommaStringSlice,
    /// Texts: a list; one text is one element.
    StringSlice,
    /// Whole numbers: a list, or comma-separated.
    CommaIntSlice,
    /// `k=v` pairs: an object, or a list of `k=v`.
    KeyValuePairs,
    /// An object.
    Map,
    /// Anything, as it came.
    Any,
}

/// One declared field of a route.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in paths, bodies and queries.
    pub name: &'static str,
    /// How it is decoded.
    pub kind: FieldKind,
    /// One line for help and OpenAPI.
    pub description: &'static str,
}

impl Field {
    /// A field.
    #[must_use]
    pub const fn new(name: &'static str, kind: FieldKind, description: &'static str) -> Self {
        Self { name, kind, description }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Decoded {
    Text(String),
    Bool(bool),
    Int(i64),
    Float(f64),
    Duration(duration::Signed),
    Texts(Vec<String>),
    Ints(Vec<i64>),
    Pairs(BTreeMap<String, String>),
    Map(Map),
    Any(Value),
}

/// The decoded fields of one call. A getter of a field that was not sent answers `None` (or the type's empty value).
#[derive(Debug, Clone, Default)]
pub struct Fields {
    values: BTreeMap<&'static str, Decoded>,
    decoded: bool,
}

impl Fields {
    /// Decodes `data` (body or query) by `fields`; `captures` from the path win over the body.
    pub fn decode(fields: &[Field], captures: &[(&str, String)], data: &Map) -> Result<Self, EngineError> {
        let mut values = BTreeMap::new();
        for field in fields {
            let captured = captures.iter().find(|(name, _)| *name == field.name).map(|(_, v)| Value::String(v.clone()));
            let Some(value) = captured.as_ref().or_else(|| data.get(field.name)) else { continue };
            if value.is_null() {
                continue;
            }
            let decoded = decode(field.kind, value).ok_or_else(|| {
                EngineError::Invalid(format!(
                    "error converting input for field {:?}: expected {}",
                    field.name,
                    expectation(field.kind)
                ))
            })?;
            values.insert(field.name, decoded);
        }
        Ok(Self { values, decoded: true })
    }

    /// Whether these are the fields of a call, and not yet the empty ones that every call begins with.
    pub(crate) fn are_decoded(&self) -> bool {
        self.decoded
    }

    /// Whether the field was sent (and not as null).
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// A text field.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Decoded::Text(s)) => Some(s),
            _ => None,
        }
    }

    /// A text field, empty if absent.
    #[must_use]
    pub fn str(&self, name: &str) -> &str {
        self.text(name).unwrap_or_default()
    }

    /// A boolean field.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.values.get(name) {
            Some(Decoded::Bool(b)) => Some(*b),
            _ => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.values.get(name) {
            Some(Decoded::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// A number.
    #[must_use]
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.values.get(name) {
            Some(Decoded::Float(n)) => Some(*n),
            _ => None,
        }
    }

    /// A duration of zero or more; a negative one counts as absent (the decoder refuses it for `DurationSecond`).
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.signed_duration(name).and_then(duration::Signed::unsigned)
    }

    /// A duration with sign.
    #[must_use]
    pub fn signed_duration(&self, name: &str) -> Option<duration::Signed> {
        match self.values.get(name) {
            Some(Decoded::Duration(d)) => Some(*d),
            _ => None,
        }
    }

    /// A list of texts.
    #[must_use]
    pub fn texts(&self, name: &str) -> Option<&[String]> {
        match self.values.get(name) {
            Some(Decoded::Texts(v)) => Some(v),
            _ => None,
        }
    }

    /// A list of whole numbers.
    #[must_use]
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.values.get(name) {
            Some(Decoded::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// Pairs.
    #[must_use]
    pub fn pairs(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        match self.values.get(name) {
            Some(Decoded::Pairs(v)) => Some(v),
            _ => None,
        }
    }

    /// An object.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&Map> {
        match self.values.get(name) {
            Some(Decoded::Map(v)) => Some(v),
            _ => None,
        }
    }

    /// A field of kind `Any`.
    #[must_use]
    pub fn any(&self, name: &str) -> Option<&Value> {
        match self.values.get(name) {
            Some(Decoded::Any(v)) => Some(v),
            _ => None,
        }
    }
}

fn expectation(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String | FieldKind::LowerString => "type 'string'",
        FieldKind::Bool => "type 'bool'",
        FieldKind::Int => "type 'int'",
        FieldKind::Float => "type 'float64'",
        FieldKind::DurationSecond | FieldKind::SignedDuration => "a duration",
        FieldKind::CommaStringSlice | FieldKind::StringSlice => "a list of strings",
        FieldKind::CommaIntSlice => "a list of integers",
        FieldKind::KeyValuePairs | FieldKind::Map => "a map",
        FieldKind::Any => "a value",
    }
}

fn decode(kind: FieldKind, value: &Value) -> Option<Decoded> {
    Some(match kind {
        FieldKind::String => Decoded::Text(text(value)?),
        FieldKind::LowerString => Decoded::Text(text(value)?.to_lowercase()),
        FieldKind::Bool => Decoded::Bool(boolean(value)?),
        FieldKind::Int => Decoded::Int(integer(value)?),
        FieldKind::Float => Decoded::Float(float(value)?),
        FieldKind::DurationSecond => {
            let d = seconds(value)?;
            d.unsigned()?;
            Decoded::Duration(d)
        }
        FieldKind::SignedDuration => Decoded::Duration(seconds(value)?),
        FieldKind::CommaStringSlice => Decoded::Texts(match value {
            Value::Array(items) => items.iter().map(|v| text(v).map(|s| s.trim().to_owned())).collect::<Option<_>>()?,
            other => text(other)?.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect(),
        }),
        FieldKind::StringSlice => Decoded::Texts(match value {
            Value::Array(items) => items.iter().map(text).collect::<Option<_>>()?,
            other => match text(other)? {
                s if s.is_empty() => Vec::new(),
                s => vec![s],
            },
        }),
        FieldKind::CommaIntSlice => Decoded::Ints(match value {
            Value::Array(items) => items.iter().map(integer).collect::<Option<_>>()?,
            other => {
                text(other)?.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().ok()).collect::<Option<_>>()?
            }
        }),
        FieldKind::KeyValuePairs => Decoded::Pairs(pairs(value)?),
        FieldKind::Map => match value {
            Value::Object(m) => Decoded::Map(m.clone()),
            _ => return None,
        },
        FieldKind::Any => Decoded::Any(value.clone()),
    })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        // Go's weak decoder turns booleans into "1" and "0".
        Value::Bool(b) => Some(if *b { "1" } else { "0" }.to_owned()),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => Some(n.as_f64()? != 0.0),
        Value::String(s) => match s.as_str() {
            "" => Some(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Number(n) => n.as_i64(),
        Value::String(s) if s.is_empty() => Some(0),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

fn seconds(value: &Value) -> Option<duration::Signed> {
    match value {
        Value::Number(n) => match n.as_i64() {
            Some(s) => s.checked_mul(1_000_000_000).map(duration::Signed),
            None => duration::parse(&format!("{n}s")).ok(),
        },
        Value::String(s) => duration::parse(s).ok(),
        _ => None,
    }
}

fn pairs(value: &Value) -> Option<BTreeMap<String, String>> {
    match value {
        Value::Object(m) => m.iter().map(|(k, v)| Some((k.clone(), text(v)?))).collect(),
        Value::Array(items) => items.iter().map(|i| pair(&text(i)?)).collect(),
        Value::String(s) if s.is_empty() => Some(BTreeMap::new()),
        Value::String(s) => s.split(',').map(pair).collect(),
        _ => None,
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (k, v) = text.split_once('=')?;
    Some((k.trim().to_owned(), v.trim().to_owned()))
}

/// A finite number, weakly: an empty text is zero, true is one.
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        _ => match text(value)?.trim() {
            "" => Some(0.0),
            number => number.parse().ok().filter(|n: &f64| n.is_finite()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(kind: FieldKind, value: Value) -> Result<Fields, EngineError> {
        let mut data = Map::new();
        data.insert("f".into(), value);
        Fields::decode(&[Field::new("f", kind, "")], &[], &data)
    }

    #[test]
    fn weak_decoding_takes_every_form() {
        assert_eq!(one(FieldKind::Int, json!("5")).unwrap().int("f"), Some(5));
        assert_eq!(one(FieldKind::Bool, json!("true")).unwrap().bool("f"), Some(true));
        assert_eq!(one(FieldKind::Bool, json!(1)).unwrap().bool("f"), Some(true));
        assert_eq!(one(FieldKind::String, json!(12)).unwrap().text("f"), Some("12"));
        for d in [json!(90), json!("90"), json!("90s"), json!("1m30s")] {
            assert_eq!(one(FieldKind::DurationSecond, d).unwrap().duration("f"), Some(Duration::from_secs(90)));
        }
        assert_eq!(one(FieldKind::CommaStringSlice, json!("a, b,,")).unwrap().texts("f").unwrap(), ["a", "b"]);
        assert_eq!(one(FieldKind::CommaStringSlice, json!([" a", "b "])).unwrap().texts("f").unwrap(), ["a", "b"]);
        assert_eq!(one(FieldKind::StringSlice, json!("a, b")).unwrap().texts("f").unwrap(), ["a, b"]);
        for d in [json!([1, 2]), json!(["1", "2"]), json!("1,2")] {
            assert_eq!(one(FieldKind::CommaIntSlice, d).unwrap().ints("f").unwrap(), [1, 2]);
        }
        assert_eq!(one(FieldKind::KeyValuePairs, json!(["a=1"])).unwrap().pairs("f").unwrap()["a"], "1");
    }

    #[test]
    fn wrong_types_are_named_not_swallowed() {
        for (kind, value) in [
            (FieldKind::Int, json!("five")),
            (FieldKind::Int, json!({})),
            (FieldKind::Bool, json!("maybe")),
            (FieldKind::DurationSecond, json!("soon")),
            (FieldKind::DurationSecond, json!(-1)),
            (FieldKind::Map, json!("text")),
            (FieldKind::String, json!([])),
            (FieldKind::CommaIntSlice, json!("1,x")),
            (FieldKind::KeyValuePairs, json!("novalue")),
        ] {
            let e = one(kind, value.clone()).unwrap_err().to_string();
            assert!(e.starts_with("error converting input for field \"f\": "), "{value}: {e}");
        }
    }

    #[test]
    fn a_capture_wins_over_the_body_and_null_is_absent() {
        let mut data = Map::new();
        data.insert("name".into(), json!("body"));
        data.insert("gone".into(), Value::Null);
        let fields = [Field::new("name", FieldKind::String, ""), Field::new("gone", FieldKind::Int, "")];
        let f = Fields::decode(&fields, &[("name", "path".into())], &data).unwrap();
        assert_eq!(f.str("name"), "path");
        assert!(!f.has("gone"));
    }
}
