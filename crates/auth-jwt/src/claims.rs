//! Finds claims, by name or by JSON pointer (RFC 6901), and shows them in error texts.

use api_types::Map;
use serde_json::Value;

/// A claim: by its name, or by a pointer if the name begins with `/`. One that is null is not there.
pub(crate) fn find<'a>(claims: &'a Map, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { at(claims, name) } else { claims.get(name).filter(|v| !v.is_null()) }
}

/// What a pointer leads to.
fn at<'a>(claims: &'a Map, pointer: &str) -> Option<&'a Value> {
    let rest = pointer.strip_prefix('/')?;
    let (first, deeper) = match rest.find('/') {
        Some(end) => rest.split_at_checked(end)?,
        None => (rest, ""),
    };
    let first = first.replace("~1", "/").replace("~0", "~");
    claims.get(&first)?.pointer(deeper).filter(|v| !v.is_null())
}

/// One value or a list of them; objects are neither.
pub(crate) fn as_list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        Value::Null | Value::Object(_) => None,
        one => Some(std::slice::from_ref(one)),
    }
}

/// A value as Vault's error texts print it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", shown(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_names_and_pointers_lead_inside() {
        let Value::Object(claims) = json!({
            "sub": "a", "org": {"unit": "blue", "a/b": 1, "m~n": 2, "list": ["x", "y"]}, "/odd": 1, "nothing": null, "": 7
        }) else {
            panic!("an object")
        };
        for (name, want) in [
            ("sub", Some(json!("a"))),
            ("/sub", Some(json!("a"))),
            ("/org/unit", Some(json!("blue"))),
            ("/org/a~1b", Some(json!(1))),
            ("/org/m~0n", Some(json!(2))),
            ("/org/list/1", Some(json!("y"))),
            ("/", Some(json!(7))),
            ("", Some(json!(7))),
            ("org.unit", None),
            ("org/unit", None),
            ("/odd", None),
            ("/org/list/2", None),
            ("/org/list/-", None),
            ("/org/list/01", None),
            ("/org/none/deeper", None),
            ("/sub/deeper", None),
            ("nothing", None),
            ("/nothing", None),
            ("Sub", None),
            ("//", None),
        ] {
            assert_eq!(find(&claims, name), want.as_ref(), "{name}");
        }
    }

    #[test]
    fn values_are_shown_as_go_shows_them() {
        let value = json!({"b": [1, "x", null], "a": true});
        assert_eq!(shown(&value), "map[a:true b:[1 x <nil>]]");
    }
}
