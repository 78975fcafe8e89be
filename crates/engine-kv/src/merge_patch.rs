//! JSON merge patch (RFC 7396).

use api_types::Map;
use serde_json::Value;

/// Applies `patch` to `target`: null removes a member, an object goes deeper, anything else replaces.
///
/// Recursion is as deep as the patch, which the JSON limits of the edge bound.
pub(crate) fn merge(target: &mut Map, patch: &Map) {
    for (name, change) in patch {
        match change {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(inner) => {
                let slot = target.entry(name.clone()).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(below) = slot {
                    merge(below, inner);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 7396, appendix A, as far as target and patch are objects: a KV secret always is, and so is the patch.
    /// Vectors whose target is no object run one level down.
    #[test]
    fn appendix_a() {
        for (target, patch, want) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"t":["a","b"]}), json!({"t":["c","d"]}), json!({"t":["c","d"]})),
            (json!({"t":{"a":"b"}}), json!({"t":["c"]}), json!({"t":["c"]})),
            (json!({"t":{"a":"foo"}}), json!({"t":null}), json!({})),
            (json!({"t":{"a":"foo"}}), json!({"t":"bar"}), json!({"t":"bar"})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({"t":[1,2]}), json!({"t":{"a":"b","c":null}}), json!({"t":{"a":"b"}})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let (Value::Object(mut t), Value::Object(p)) = (target.clone(), patch.clone()) else { panic!("no object") };
            merge(&mut t, &p);
            assert_eq!(Value::Object(t), want, "{target} + {patch}");
        }
    }

    #[test]
    fn nulls_inside_lists_stay_and_big_numbers_keep_their_digits() {
        let mut t: Map = serde_json::from_str(r#"{"n":12345678901234567890123}"#).unwrap();
        merge(&mut t, &serde_json::from_str(r#"{"l":[null,1],"m":0.10}"#).unwrap());
        assert_eq!(serde_json::to_string(&t).unwrap(), r#"{"l":[null,1],"m":0.10,"n":12345678901234567890123}"#);
    }
}
