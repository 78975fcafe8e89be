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

/// YAML as Go's clients write it: lists at the level of their key, texts quoted only where they would read as something else.
pub fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, String> {
    let value = serde_json::to_value(value).map_err(|e| e.to_string())?;
    let mut lines = Vec::new();
    block(&value, &mut lines);
    Ok(lines.join("\n"))
}

/// A value as lines, the first of which may follow a `- `.
fn block(value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let key = scalar_text(key);
                match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        lines.push(format!("{key}:"));
                        indented(value, "  ", "  ", lines);
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        lines.push(format!("{key}:"));
                        indented(value, "", "", lines);
                    }
                    other => lines.push(format!("{key}: {}", scalar(other))),
                }
            }
        }
        Value::Array(list) if !list.is_empty() => list.iter().for_each(|item| indented(item, "- ", "  ", lines)),
        other => lines.push(scalar(other)),
    }
}

fn indented(value: &Value, first: &str, rest: &str, lines: &mut Vec<String>) {
    let mut inner = Vec::new();
    block(value, &mut inner);
    lines.extend(inner.into_iter().enumerate().map(|(i, line)| format!("{}{line}", if i == 0 { first } else { rest })));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        Value::String(text) => scalar_text(text),
        Value::Number(number) => number_text(number),
        Value::Bool(b) => b.to_string(),
    }
}

/// Decimal digits that a double always keeps.
const FLOAT_DIGITS: usize = 15;

/// Whole numbers keep every digit; fractions are written as Go writes them, unless that would lose some.
fn number_text(number: &serde_json::Number) -> String {
    let text = number.to_string();
    let whole = !text.contains(['.', 'e', 'E']);
    let short = text.chars().filter(char::is_ascii_digit).count() <= FLOAT_DIGITS;
    match number.as_f64() {
        Some(float) if !whole && short => float.to_string(),
        _ => text,
    }
}

/// A JSON string is a YAML string, too.
fn scalar_text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { Value::from(text).to_string() }
}

/// Whether a reader of YAML 1.1 or 1.2 takes the bare text for this text.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let harmless =
        |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '/' | '.' | '-' | '+' | '=' | '@' | ':' | '(' | ')' | ',' | '*');
    let starts = text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '_'));
    let number = text.starts_with(|c: char| c.is_ascii_digit())
        && (text.chars().all(|c| c.is_ascii_digit() || matches!(c, '_' | ':' | '.'))
            || text.parse::<f64>().is_ok()
            || text.starts_with("0x")
            || text.starts_with("0o")
            || text.starts_with("0b"));
    let date = text.split('-').map(str::len).take(2).eq([4, 2]) && text.get(..4).is_some_and(|y| y.parse::<u16>().is_ok());
    starts
        && text.chars().all(harmless)
        && !number
        && !date
        && !WORDS.contains(&text.to_lowercase().as_str())
        && !matches!(text.to_lowercase().as_str(), "nan" | "inf" | "infinity")
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
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
        let text: Value =
            serde_json::from_str(r#"{"z":null,"a":1,"t":"1","l":["x",true],"f":1.50,"m":{"e":{},"k":[]}}"#).unwrap();
        assert_eq!(yaml(&text).unwrap(), "a: 1\nf: 1.5\nl:\n- x\n- true\nm:\n  e: {}\n  k: []\nt: \"1\"\nz: null");
        let big: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        assert_eq!(yaml(&big).unwrap(), "123456789012345678901234567890");
        assert_eq!(yaml(&j!([])).unwrap(), "[]");
        assert_eq!(yaml(&j!([{"a": 1, "b": [[1], {"c": "d"}]}])).unwrap(), "- a: 1\n  b:\n  - - 1\n  - c: d");
    }

    #[test]
    fn yaml_quotes_what_would_read_as_something_else() {
        for text in [
            "",
            "1",
            "1.5",
            "1e3",
            "0x1f",
            "12:30",
            "yes",
            "No",
            "null",
            "~",
            "a: b",
            "a #b",
            "x:",
            " x",
            "- x",
            "[x",
            "2026-01-02T03:04:05Z",
            "a\nb",
            "&x",
            "nan",
        ] {
            assert_eq!(yaml(&j!(text)).unwrap(), j!(text).to_string());
        }
        for text in [
            "x",
            "768h",
            "hvs.x",
            "secret/data/x",
            "v1.21.4",
            "97335d24-76ca-433a-945b-6a576afe8678",
            "two words",
            "a:b",
            "map[o",
        ] {
            let plain = text != "map[o";
            assert_eq!(yaml(&j!(text)).unwrap() == text, plain, "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(
            (Format::named("JSON"), Format::named("yml"), Format::named("xml")),
            (Some(Format::Json), Some(Format::Yaml), None)
        );
    }
}
