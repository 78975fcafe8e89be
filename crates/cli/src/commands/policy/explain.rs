//! `policy explain OPERATION PATH [K=V…]`: why a token may or may not do something. Deliberately absent: doing it.

use client::Request;
use serde_json::{Map, Value, json};

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, list, text};
use crate::kv_pairs;
use crate::render::{go_value, headed};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        text("token", "Token to ask about. The default is the one in use."),
        text("accessor", "Accessor of the token to ask about."),
        list("policy", "Policy to ask about, without a token. May be given more than once."),
    ],
};

/// Explains a decision.
pub static COMMAND: Command = Command {
    path: "policy explain",
    synopsis: "Explains why a request is allowed or denied",
    operands: "[options] OPERATION PATH [K=V...]",
    about: "\
Tells which stanza of which policy decides about a request, and why that one.
If the request is denied, prints the least that has to be granted.

OPERATION is read, list, create, update, patch, delete, or write for both
create and update. Parameters matter only for stanzas with conditions on them.

    $ {bin} policy explain read secret/data/app
    $ {bin} policy explain -accessor=9793c9b3 delete secret/data/app

One may ask about the own token. Others need sudo on sys/policies/explain.",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_least(2)?;
    let (word, path) = (s.arg(0).to_lowercase(), s.arg(1));
    let words = s.args.get(2..).unwrap_or_default().to_vec();
    let parameters = kv_pairs::parse(&words, &mut s.host.input).map_err(|e| Failure::Local(e.to_string()))?;
    let operations: &[&str] = if word == "write" { &["create", "update"] } else { &[word.as_str()] };
    let mut answers = Vec::new();
    for operation in operations {
        let mut body = Map::new();
        body.insert("operation".to_owned(), json!(operation));
        body.insert("path".to_owned(), json!(path));
        for (key, value) in [("token", s.given("token")), ("accessor", s.given("accessor"))] {
            body.extend(value.map(|v| (key.to_owned(), json!(v))));
        }
        if !s.all("policy").is_empty() {
            body.insert("policies".to_owned(), json!(s.all("policy")));
        }
        if !parameters.is_empty() {
            body.insert("parameters".to_owned(), Value::Object(parameters.clone()));
        }
        let answer = s.secret(&Request::post("sys/policies/explain").json(&body)).doing("explaining the decision")?;
        let Some(data) = answer.and_then(|a| a.data) else {
            return Err(Failure::Server("The server does not explain decisions.".to_owned()));
        };
        answers.push(Value::Object(data));
    }
    let told: Vec<String> = answers.iter().map(story).collect();
    match answers.as_slice() {
        [one] => s.show(one, &told.join("\n"))?,
        many => s.show(many, &told.join("\n\n"))?,
    }
    Ok(0)
}

/// The answer for people.
fn story(answer: &Value) -> String {
    let text = |key: &str| answer.get(key).map(go_value).unwrap_or_default();
    let list = |key: &str| answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let words = |key: &str| list(key).iter().map(go_value).collect::<Vec<_>>().join(", ");
    let allowed = answer.get("allowed") == Some(&Value::Bool(true));
    let mut out = format!("{}: {} {}\n", if allowed { "Allowed" } else { "Denied" }, text("operation"), text("path"));
    out.push_str(&format!("Because {}.\n", text("reason")));
    if answer.get("pattern").is_some_and(Value::is_string) {
        out.push_str(&format!("Decided by {:?} with [{}]: {}.\n", text("pattern"), words("capabilities"), text("why")));
    }
    for (key, title) in
        [("stanzas", "Stanzas that match"), ("unfilled_stanzas", "Stanzas whose template this identity cannot fill")]
    {
        if !list(key).is_empty() {
            out.push_str(&format!("\n{title}:\n\n{}\n", headed(&COLUMNS, list(key).iter().map(row).collect())));
        }
    }
    for (key, title) in [("silent_policies", "No stanza matches in"), ("absent_policies", "Not there at all")] {
        if !list(key).is_empty() {
            out.push_str(&format!("\n{title}: {}\n", words(key)));
        }
    }
    if !text("advice").is_empty() && text("advice") != text("reason") {
        out.push_str(&format!("\nNote: {}.\n", text("advice")));
    }
    if answer.get("missing_grant").is_some_and(Value::is_string) {
        out.push_str(&format!("\nTo allow it, add to a policy:\n\n{}", text("missing_grant")));
    }
    out.trim_end().to_owned()
}

const COLUMNS: [&str; 5] = ["Policy", "Line", "Path", "Capabilities", "Verdict"];

fn row(stanza: &Value) -> Vec<String> {
    let text = |key: &str| stanza.get(key).map(go_value).unwrap_or_default();
    let capabilities = stanza.get("capabilities").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let verdict = match (stanza.get("decides"), stanza.get("beaten_by").and_then(Value::as_str)) {
        (Some(Value::Bool(true)), _) => "decides".to_owned(),
        (_, Some(why)) => format!("not this one: of the other, {why}"),
        _ => "says nothing".to_owned(),
    };
    let names: Vec<String> = capabilities.iter().map(go_value).collect();
    vec![text("policy"), text("line"), text("path"), names.join(", "), verdict]
}
