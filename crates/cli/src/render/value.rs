//! JSON values as Go's `%v` prints them.

use serde_json::Value;

/// `<nil>`, `true`, `1.50`, `text`, `[a b]`, `map[a:1 b:2]`.
#[must_use]
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => s.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            format!("map[{}]", map.iter().map(|(k, v)| format!("{k}:{}", go_value(v))).collect::<Vec<_>>().join(" "))
        }
    }
}

/// A list of texts as Go's `%q` prints it: `["a" "b"]`.
#[must_use]
pub fn go_quoted(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_prints() {
        let value: Value = serde_json::from_str(r#"{"b":[1.50,"x",null],"a":{},"c":false}"#).unwrap();
        assert_eq!(go_value(&value), "map[a:map[] b:[1.50 x <nil>] c:false]");
        assert_eq!(go_quoted(&["a".to_owned(), "b c".to_owned()]), r#"["a" "b c"]"#);
        assert_eq!(go_quoted(&[]), "[]");
    }
}
