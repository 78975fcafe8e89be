//! `-format`: JSON and YAML.

use serde::Serialize;
use serde_json::Value;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Columns for people.
    Table,
    /// JSON, two spaces deep.
    Json,
    /// YAML.
    Yaml,
    /// Free text, for the few commands that have one.
    Pretty,
    /// The server's bytes.
    Raw,
}

impl Format {
    /// The format of this name, upper or lower case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "table" => Some(Self::Table),
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "pretty" => Some(Self::Pretty),
            "raw" => Some(Self::Raw),
            _ => None,
        }
    }
}

/// Go's `json.MarshalIndent` with two spaces: `<`, `>`, `&` inside strings come out escaped.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(value)?;
    // These five stand only inside strings in JSON, so replacing them in the whole text is the same as in each string.
    Ok(text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029"))
}

/// YAML with sorted keys, without a newline at the end.
pub fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, String> {
    let value = serde_json::to_value(value).map_err(|e| e.to_string())?;
    let text = serde_yaml_ng::to_string(&to_yaml(&value)).map_err(|e| e.to_string())?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// Decimal digits that a double always keeps.
const FLOAT_DIGITS: usize = 15;

/// By hand, because `serde_json`'s numbers keep their text and would show as maps in another serialiser.
fn to_yaml(value: &Value) -> serde_yaml_ng::Value {
    use serde_yaml_ng::Value as Yaml;
    match value {
        Value::Null => Yaml::Null,
        Value::Bool(b) => Yaml::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(n), ..) => Yaml::Number(n.into()),
            (_, Some(n), _) => Yaml::Number(n.into()),
            (_, _, Some(f)) if n.to_string().chars().filter(char::is_ascii_digit).count() <= FLOAT_DIGITS => {
                Yaml::Number(f.into())
            }
            // Too long for a float: the text keeps every digit.
            _ => Yaml::String(n.to_string()),
        },
        Value::String(s) => Yaml::String(s.clone()),
        Value::Array(list) => Yaml::Sequence(list.iter().map(to_yaml).collect()),
        Value::Object(map) => Yaml::Mapping(map.iter().map(|(k, v)| (Yaml::String(k.clone()), to_yaml(v))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json as j;

    use super::*;

    #[test]
    fn json_is_gos() {
        let text: Value = serde_json::from_str(r#"{"b":[],"a":{"n":1.10,"s":"<&>"},"m":{}}"#).unwrap();
        assert_eq!(
            json(&text).unwrap(),
            "{\n  \"a\": {\n    \"n\": 1.10,\n    \"s\": \"\\u003c\\u0026\\u003e\"\n  },\n  \"b\": [],\n  \"m\": {}\n}"
        );
    }

    #[test]
    fn yaml_keeps_types() {
        let text: Value = serde_json::from_str(r#"{"z":null,"a":1,"t":"1","l":["x",true],"f":1.5}"#).unwrap();
        assert_eq!(yaml(&text).unwrap(), "a: 1\nf: 1.5\nl:\n- x\n- true\nt: '1'\nz: null");
        let big: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        assert_eq!(yaml(&big).unwrap(), "'123456789012345678901234567890'");
        assert_eq!(yaml(&j!([])).unwrap(), "[]");
    }

    #[test]
    fn names() {
        assert_eq!(
            (Format::named("JSON"), Format::named("yml"), Format::named("xml")),
            (Some(Format::Json), Some(Format::Yaml), None)
        );
    }
}
