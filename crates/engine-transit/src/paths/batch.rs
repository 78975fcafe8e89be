//! One input or many: how both are read, and how many are answered.

use api_types::Map;
use engine::{Call, EngineError, Fields, Kind, Outcome, Response};
use serde_json::{Value, json};

use crate::fault::Fault;

/// The inputs of a request.
pub(super) struct Inputs<'a> {
    /// At least one.
    pub(super) items: Vec<Item<'a>>,
    /// They came as `batch_input`.
    pub(super) batched: bool,
}

/// One input: an element of the batch, or the request's own fields.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    Element(&'a Map),
    Request(&'a Fields),
}

impl<'a> Item<'a> {
    /// A text, if it was sent.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        match self {
            Self::Element(map) => map.get(name).and_then(Value::as_str),
            Self::Request(fields) => fields.text(name),
        }
    }

    /// A text, empty if it was not sent.
    pub(super) fn str(self, name: &str) -> &'a str {
        self.text(name).unwrap_or_default()
    }

    /// A whole number, 0 if it was not sent.
    pub(super) fn int(self, name: &str) -> i64 {
        match self {
            Self::Request(fields) => fields.int(name).unwrap_or(0),
            Self::Element(map) => match map.get(name) {
                Some(Value::Number(n)) => n.as_i64().unwrap_or(0),
                Some(Value::String(s)) => s.parse().unwrap_or(0),
                _ => 0,
            },
        }
    }
}

impl<'a> Inputs<'a> {
    /// Reads the inputs. `needed` is the text that every element must have; the errors of all elements are told at once.
    pub(super) fn read(fields: &'a Fields, needed: Option<(&str, &str)>) -> Result<Self, EngineError> {
        let Some(batch) = fields.any("batch_input") else {
            return Ok(Self { items: vec![Item::Request(fields)], batched: false });
        };
        let failed = |text: String| EngineError::Internal(format!("failed to parse batch input: {text}"));
        let Value::Array(elements) = batch else {
            return Err(failed(format!("source data must be an array or slice, got {}", go_type(batch))));
        };
        let mut items = Vec::with_capacity(elements.len());
        let mut errors = Vec::new();
        for (i, element) in elements.iter().enumerate() {
            let Value::Object(map) = element else {
                return Err(failed(format!("[{i}] expected a map, got '{}'", go_type(element))));
            };
            complaints(i, map, needed, &mut errors);
            items.push(Item::Element(map));
        }
        if !errors.is_empty() {
            let list: Vec<String> = errors.iter().map(|e| format!("* {e}")).collect();
            return Err(failed(format!("{} error(s) decoding:\n\n{}", errors.len(), list.join("\n"))));
        }
        if items.is_empty() {
            return Err(EngineError::invalid("missing batch input to process"));
        }
        Ok(Self { items, batched: true })
    }
}

const TEXTS: [&str; 10] = [
    "context",
    "plaintext",
    "ciphertext",
    "nonce",
    "associated_data",
    "padding_scheme",
    "reference",
    "input",
    "signature",
    "hmac",
];

fn complaints(i: usize, map: &Map, needed: Option<(&str, &str)>, errors: &mut Vec<String>) {
    for name in TEXTS {
        if let Some(other) = map.get(name).filter(|v| !v.is_string() && !v.is_null()) {
            errors.push(format!("'[{i}].{name}' expected type 'string', got unconvertible type '{}'", go_type(other)));
        }
    }
    match map.get("key_version") {
        None | Some(Value::Null) => {}
        Some(Value::Number(n)) if n.as_i64().is_some() => {}
        Some(Value::String(s)) if s.parse::<i64>().is_ok() => {}
        Some(other) => {
            errors.push(format!("'[{i}].key_version' expected type 'int', got unconvertible type '{}'", go_type(other)));
        }
    }
    if let Some((name, complaint)) = needed
        && map.get(name).is_none_or(Value::is_null)
    {
        errors.push(format!("'[{i}].{name}' {complaint}"));
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(_) => "json.Number",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What came of the inputs: one answer each, in order, and whose fault the failures are.
#[derive(Default)]
pub(super) struct Results {
    answers: Vec<Map>,
    succeeded: bool,
    callers_fault: bool,
    servers_fault: bool,
}

impl Results {
    /// Adds an answer; the element's `reference` goes with it.
    pub(super) fn good(&mut self, item: Item<'_>, mut answer: Map) {
        self.succeeded = true;
        answer.insert("reference".to_owned(), item.str("reference").into());
        self.answers.push(answer);
    }

    /// Adds a failure, beside what an answer of this path always has.
    pub(super) fn bad(&mut self, item: Item<'_>, fault: &Fault, mut always: Map) {
        match fault {
            Fault::Caller(_) => self.callers_fault = true,
            Fault::Server(_) => self.servers_fault = true,
        }
        always.insert("error".to_owned(), fault.to_string().into());
        always.insert("reference".to_owned(), item.str("reference").into());
        self.answers.push(always);
    }

    /// The answer of a path that reports failures only inside the list.
    pub(super) fn list(self) -> Outcome {
        Ok(Some(Response::json(json!({ "batch_results": self.answers }))))
    }

    /// The answer of a path whose status tells of failures. What was encrypted must reach the client with the key that was
    /// made for it, so this is an answer with a status of its own and not an error, which would undo the request's writes.
    pub(super) fn list_with_status(self, call: &Call<'_>) -> Outcome {
        if !self.callers_fault && !self.servers_fault {
            return self.list();
        }
        let mut status = if self.callers_fault { 400 } else { 500 };
        let mut warnings = Value::Null;
        if let Some(wanted) = call.fields.int("partial_failure_response_code").filter(|_| self.succeeded) {
            match u16::try_from(wanted).ok().filter(|n| (1..=599).contains(n)) {
                // Below 200 no body can follow; HTTP has no final answer there.
                Some(wanted) if wanted >= 200 => status = wanted,
                _ => {
                    let text = "invalid HTTP response code override from partial_failure_response_code, reverting to";
                    warnings = json!([format!("{text} {status}")]);
                }
            }
        }
        let envelope = json!({
            "request_id": call.request.id, "lease_id": "", "renewable": false, "lease_duration": 0,
            "data": { "batch_results": self.answers },
            "wrap_info": null, "warnings": warnings, "auth": null, "mount_type": "",
        });
        let body = api_types::json::to_vec(&envelope).map_err(|_| EngineError::internal("the answer cannot be encoded"))?;
        Ok(Some(Response {
            kind: Kind::Bare { content_type: "application/json".to_owned(), body, status },
            ..Response::default()
        }))
    }
}

/// Base64 of a field, as a caller's fault if it is none.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, Fault> {
    crate::codec::decode(text).map_err(Fault::Caller)
}
