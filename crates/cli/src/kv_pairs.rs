//! Data of `write`, `kv put`, `login`: `key=value`, `key=@file`, `key=-`, `@file.json`, `-`.

use std::io::Read;

use api_types::Map;
use serde_json::Value;

/// Why data cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PairError {
    #[error("invalid key/value pair {0:?}: format must be key=value")]
    NoEquals(String),
    #[error("error reading file: open {0}: {1}")]
    File(String, String),
    #[error("error reading stdin: {0}")]
    Stdin(String),
    #[error("stdin is already used for another value")]
    StdinTwice,
    #[error("invalid key/value pair {0:?}: {1}")]
    Json(String, String),
}

/// Reads all `args`; a key that comes twice becomes a list. Values are texts; only a whole JSON document keeps its types.
pub(crate) fn parse(args: &[String], stdin: &mut dyn Read) -> Result<Map, PairError> {
    let mut source = Source { stdin, used: false };
    let mut data = Map::new();
    for arg in args {
        let document = match arg.strip_prefix('@') {
            Some(path) => Some(file(path)?),
            None if arg == "-" => Some(source.read()?),
            None => None,
        };
        if let Some(text) = document {
            let object: Map = serde_json::from_str(&text).map_err(|e| PairError::Json(arg.clone(), position(&e)))?;
            for (key, value) in object {
                add(&mut data, key, value);
            }
            continue;
        }
        let (key, value) = arg.split_once('=').ok_or_else(|| PairError::NoEquals(arg.clone()))?;
        let value = match value.strip_prefix('@') {
            Some(path) => file(path)?,
            None if value == "-" => source.read()?,
            None if value.starts_with("\\@") => value.trim_start_matches('\\').to_owned(),
            None => value.to_owned(),
        };
        add(&mut data, key.to_owned(), Value::String(value));
    }
    Ok(data)
}

/// The same, for data that must be texts (`login`): other values as Go prints them.
pub(crate) fn parse_texts(args: &[String], stdin: &mut dyn Read) -> Result<Vec<(String, String)>, PairError> {
    Ok(parse(args, stdin)?.into_iter().map(|(k, v)| (k, crate::render::go_value(&v))).collect())
}

/// Where JSON is wrong. The parser's own words would quote the text, which may be a secret.
fn position(e: &serde_json::Error) -> String {
    format!("not a JSON object, line {} column {}", e.line(), e.column())
}

struct Source<'a> {
    stdin: &'a mut dyn Read,
    used: bool,
}

impl Source<'_> {
    fn read(&mut self) -> Result<String, PairError> {
        if self.used {
            return Err(PairError::StdinTwice);
        }
        self.used = true;
        let mut text = String::new();
        self.stdin.read_to_string(&mut text).map_err(|e| PairError::Stdin(e.to_string()))?;
        Ok(text)
    }
}

fn file(path: &str) -> Result<String, PairError> {
    std::fs::read_to_string(path).map_err(|e| PairError::File(path.to_owned(), go_words(&e)))
}

/// The system's words for an I/O error as Go writes them: lower case, without Rust's ` (os error 2)`.
pub(crate) fn go_words(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}

fn add(data: &mut Map, key: String, value: Value) {
    match data.get_mut(&key) {
        None => {
            data.insert(key, value);
        }
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], stdin: &str) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        parse(&args, &mut stdin.as_bytes()).map(|m| Value::Object(m).to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_form() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("t");
        std::fs::write(&text, "line\n").unwrap();
        let json = dir.path().join("j");
        std::fs::write(&json, r#"{"n":1.50,"o":{"p":null}}"#).unwrap();
        let (text, json) = (format!("k=@{}", text.display()), format!("@{}", json.display()));
        for (args, stdin, out) in [
            (vec![], "", "{}"),
            (vec!["a=b", "c=d=e", "f="], "", r#"{"a":"b","c":"d=e","f":""}"#),
            (vec!["a=1", "a=2", "a=3"], "", r#"{"a":["1","2","3"]}"#),
            (vec!["a=-"], "in\n", r#"{"a":"in\n"}"#),
            (vec!["-"], r#"{"big":123456789012345678901234567890}"#, r#"{"big":123456789012345678901234567890}"#),
            (vec!["-", "a=b"], r#"{"a":1}"#, r#"{"a":[1,"b"]}"#),
            (vec![r"a=\@b"], "", r#"{"a":"@b"}"#),
            (vec![text.as_str()], "", r#"{"k":"line\n"}"#),
            (vec![json.as_str()], "", r#"{"n":1.50,"o":{"p":null}}"#),
        ] {
            assert_eq!(read(&args, stdin), Ok(out.to_owned()), "{args:?}");
        }
    }

    #[test]
    fn refusals() {
        for (args, stdin, out) in [
            (vec!["a"], "", "invalid key/value pair \"a\": format must be key=value"),
            (vec!["k=@/nowhere"], "", "error reading file: open /nowhere: no such file or directory"),
            (vec!["@/nowhere"], "", "error reading file: open /nowhere: no such file or directory"),
            (vec!["a=-", "b=-"], "x", "stdin is already used for another value"),
        ] {
            assert_eq!(read(&args, stdin), Err(out.to_owned()));
        }
        assert!(read(&["-"], "[1]").unwrap_err().starts_with("invalid key/value pair \"-\": "));
        assert!(read(&["-"], "").unwrap_err().starts_with("invalid key/value pair \"-\": "));
    }
}
