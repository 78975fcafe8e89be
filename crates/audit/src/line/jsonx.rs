//! `format=jsonx`: the same line as XML after IBM's JSONx, one element a value, its key in the attribute `name`.

use serde_json::{Map, Value};

const ROOT: &str = "<json:object xsi:schemaLocation=\"http://www.datapower.com/schemas/json jsonx.xsd\" \
     xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:json=\"http://www.ibm.com/xmlns/prod/2009/jsonx\">";

/// The JSON text of one object as JSONx, without line breaks of its own. Text that is no object becomes an empty one, which
/// cannot happen for lines made here.
pub(super) fn from_json(text: &[u8]) -> String {
    let map: Map<String, Value> = serde_json::from_slice(text).unwrap_or_default();
    let mut out = String::from(ROOT);
    for (key, value) in &map {
        element(&mut out, Some(key), value);
    }
    out.push_str("</json:object>");
    out
}

fn element(out: &mut String, key: Option<&str>, value: &Value) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    out.push_str("<json:");
    out.push_str(kind);
    if let Some(key) = key {
        out.push_str(" name=\"");
        escape(out, key);
        out.push('"');
    }
    if value.is_null() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    match value {
        Value::String(text) => escape(out, text),
        Value::Array(items) => items.iter().for_each(|item| element(out, None, item)),
        Value::Object(map) => map.iter().for_each(|(key, item)| element(out, Some(key), item)),
        other => out.push_str(&other.to_string()),
    }
    out.push_str("</json:");
    out.push_str(kind);
    out.push('>');
}

/// XML 1.0 has no way to write most control characters; they become U+FFFD, as Go's encoder has it.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '\t' => out.push_str("&#x9;"),
            '\n' => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_element_and_nothing_breaks_out_of_it() {
        let text = from_json(br#"{"a<\"":[1.50,true,null,"x&y\n\u0001"],"o":{"k":"<json:null/>"}}"#);
        let inner = text.strip_prefix(ROOT).unwrap().strip_suffix("</json:object>").unwrap();
        assert_eq!(
            inner,
            "<json:array name=\"a&lt;&#34;\"><json:number>1.50</json:number><json:boolean>true</json:boolean><json:null/>\
             <json:string>x&amp;y&#xA;\u{fffd}</json:string></json:array>\
             <json:object name=\"o\"><json:string name=\"k\">&lt;json:null/&gt;</json:string></json:object>"
        );
        assert!(!text.contains('\n'));
    }
}
