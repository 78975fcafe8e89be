//! Lines as Vault writes them, canaries that must not show, and a property: what is hashed is exactly the text in `data`.

use std::time::Duration;

use proptest::prelude::*;
use std::collections::BTreeMap;

use api_types::{Map, Operation};
use secret::Time;
use serde_json::{Value, json};

use super::*;

const CANARY: &str = "canary-7f3a";
/// 2026-11-24T13:19:08.5Z.
const NOW: Time = Time(1_795_526_348_500_000_000);

fn scribe(style: Style) -> Scribe {
    Scribe { style, hasher: Hasher::new(&"salt".into()) }
}

fn usual() -> Style {
    Style { format: Format::Json, prefix: String::new(), log_raw: false, hmac_accessor: true, elide_list_responses: false }
}

fn parsed(line: &[u8]) -> Value {
    assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1, "one line");
    assert_eq!(line.last(), Some(&b'\n'));
    serde_json::from_slice(line).unwrap()
}

fn map(value: Value) -> Map {
    value.as_object().unwrap().clone()
}

/// A value that lives as long as the tests, to be borrowed from.
fn kept<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn texts(texts: &[&str]) -> &'static [String] {
    kept(texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
}

fn auth() -> AuthRecord<'static> {
    AuthRecord {
        client_token: "hvs.outer".into(),
        accessor: "acc",
        display_name: "token",
        policies: texts(&["default", "dev"]).into(),
        token_policies: texts(&["default", "dev"]),
        metadata: Some(kept(BTreeMap::from([("a".to_owned(), "b".to_owned())]))),
        token_type: "service",
        token_ttl_seconds: 3600,
        token_issue_time: Some(NOW),
        policy_results: Some(PolicyResults { allowed: true, granting: vec!["dev"] }),
        ..AuthRecord::default()
    }
}

fn lines_of(scribe: &Scribe, record: &RequestRecord<'_>, refusal: Option<&Refusal>) -> Vec<u8> {
    let mut out = Vec::new();
    scribe.request(record, &scribe.head(record.auth.as_ref(), &record.request), refusal, &mut out);
    out
}

fn asked(scribe: &Scribe, record: &RequestRecord<'_>) -> Vec<u8> {
    lines_of(scribe, record, None)
}

fn answered(scribe: &Scribe, record: &ResponseRecord<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    scribe.response(record, &scribe.head(record.auth.as_ref(), &record.request), None, &mut out);
    out
}

fn request() -> RequestFacts<'static> {
    RequestFacts {
        client_id: "cid",
        mount_point: "kv/",
        mount_type: "kv",
        mount_class: "secret",
        mount_accessor: "kv_0a0a0a0a",
        mount_running_version: "v0.25.0+builtin".into(),
        client_token: "hvs.inner".into(),
        client_token_accessor: "acc",
        data: Some(map(json!({"data": {"password": "hunter2", "n": 5}, "options": {}})).into()),
        remote_address: Some([127, 0, 0, 1].into()),
        remote_port: 4711,
        ..RequestFacts::new("rid", Operation::Create, "kv/data/a")
    }
}

#[test]
fn a_request_reads_as_in_vault() {
    let scribe = scribe(usual());
    let h = |text: &str| scribe.hasher.hash(text);
    let record = RequestRecord { time: NOW, auth: Some(auth()), request: request(), error: None };
    let expected = json!({
        "time": "2026-11-24T13:19:08.5Z",
        "type": "request",
        "auth": {
            "accessor": h("acc"), "client_token": h("hvs.outer"), "display_name": "token", "policies": ["default", "dev"],
            "token_policies": ["default", "dev"], "metadata": {"a": "b"}, "token_type": "service", "token_ttl": 3600,
            "token_issue_time": "2026-11-24T13:19:08Z",
            "policy_results": {"allowed": true, "granting_policies": [{"name": "dev", "namespace_id": "root", "type": "acl"}]},
        },
        "request": {
            "id": "rid", "client_id": "cid", "operation": "create", "path": "kv/data/a", "namespace": {"id": "root"},
            "mount_point": "kv/", "mount_type": "kv", "mount_class": "secret", "mount_accessor": "kv_0a0a0a0a",
            "mount_running_version": "v0.25.0+builtin", "client_token": h("hvs.inner"), "client_token_accessor": h("acc"),
            "data": {"data": {"password": h("hunter2"), "n": 5}, "options": {}},
            "remote_address": "127.0.0.1", "remote_port": 4711,
        },
    });
    let line = asked(&scribe, &record);
    assert_eq!(parsed(&line), expected);
    assert!(line.starts_with(b"{\"time\":\"2026-11-24T13:19:08.5Z\",\"type\":\"request\","), "a reader sees when and what first");
}

#[test]
fn an_answer_reads_as_in_vault() {
    let scribe = scribe(usual());
    let h = |text: &str| scribe.hasher.hash(text);
    let response = ResponseFacts {
        auth: Some(AuthRecord { client_token: "hvs.new".into(), accessor: "newacc", ..AuthRecord::default() }),
        data: Some(
            map(json!({"created_time": "2026-11-24T13:19:08Z", "version": 1, "destroyed": false, "custom_metadata": null,
                              "expire_time": "2026-12-24T13:19:08Z"}))
            .into(),
        ),
        warnings: texts(&["old <style>"]),
        lease_id: "database/creds/x/abc",
        wrap_info: Some(WrapRecord {
            ttl: Duration::from_secs(60),
            token: "hvs.wrap".into(),
            accessor: "wrapacc",
            creation_time: NOW,
            creation_path: "kv/data/a",
            wrapped_accessor: "newacc",
        }),
        headers: Some(kept(BTreeMap::from([("x-a".to_owned(), vec!["1".to_owned()])]))),
        redirect: "https://elsewhere",
        plain_data_keys: texts(&["expire_time"]),
        is_list: false,
    };
    let request = RequestFacts {
        data: Some(Map::new().into()),
        wrap_ttl: Some(Duration::from_secs(60)),
        headers: vec![
            AuditedHeader { name: "user-agent", values: texts(&["curl"]), hmac: false },
            AuditedHeader { name: "x-key", values: texts(&["k"]), hmac: true },
        ],
        ..request()
    };
    let record = ResponseRecord { time: NOW, auth: None, request, response, error: Some("1 error occurred".into()) };
    let line = parsed(&answered(&scribe, &record));
    assert_eq!(
        line["response"],
        json!({
            "auth": {"client_token": h("hvs.new"), "accessor": h("newacc")},
            "data": {"created_time": h("2026-11-24T13:19:08Z"), "version": 1, "destroyed": false, "custom_metadata": null,
                     "expire_time": "2026-12-24T13:19:08Z"},
            "warnings": ["old <style>"],
            "secret": {"lease_id": "database/creds/x/abc"},
            "wrap_info": {"ttl": 60, "token": h("hvs.wrap"), "accessor": h("wrapacc"), "creation_time": "2026-11-24T13:19:08.5Z",
                          "creation_path": "kv/data/a", "wrapped_accessor": h("newacc")},
            "headers": {"x-a": ["1"]},
            "redirect": "https://elsewhere",
            "mount_point": "kv/", "mount_type": "kv", "mount_class": "secret", "mount_accessor": "kv_0a0a0a0a",
            "mount_running_plugin_version": "v0.25.0+builtin",
        })
    );
    assert_eq!(line["error"], "1 error occurred");
    assert_eq!(line["request"]["wrap_ttl"], 60);
    assert_eq!(line["request"]["headers"], json!({"user-agent": ["curl"], "x-key": [h("k")]}));
    assert!(line.get("auth").is_none() && line["request"].get("data").is_none(), "nothing is written for what is empty");
}

#[test]
fn an_empty_request_is_a_short_line() {
    let record = RequestRecord {
        time: Time(0),
        auth: None,
        request: RequestFacts::new("", Operation::Update, "sys/audit/test"),
        error: None,
    };
    assert_eq!(
        String::from_utf8(asked(&scribe(usual()), &record)).unwrap(),
        "{\"time\":\"1970-01-01T00:00:00Z\",\"type\":\"request\",\"request\":{\"namespace\":{\"id\":\"root\"},\
         \"operation\":\"update\",\"path\":\"sys/audit/test\"}}\n"
    );
}

/// CVE class K: a secret in every field that can hold one.
fn loaded() -> ResponseRecord<'static> {
    let token = || Shy::from(CANARY);
    let holder = || AuthRecord { client_token: token(), accessor: CANARY, ..AuthRecord::default() };
    let nest = json!({"s": CANARY, "list": [CANARY, [CANARY], {"in": CANARY}], "map": {"a": {"b": CANARY}}, "keys": [CANARY],
                      "key_info": {"k": {"v": CANARY}}, "line\nbreak": format!("x{CANARY}\n{CANARY}\u{2028}")});
    ResponseRecord {
        time: NOW,
        auth: Some(holder()),
        request: RequestFacts {
            client_token: token(),
            client_token_accessor: CANARY,
            data: Some(map(nest.clone()).into()),
            headers: vec![AuditedHeader { name: "x-s", values: texts(&[CANARY]), hmac: true }],
            ..RequestFacts::new("rid", Operation::Update, "p")
        },
        response: ResponseFacts {
            auth: Some(holder()),
            data: Some(map(nest).into()),
            wrap_info: Some(WrapRecord { token: token(), accessor: CANARY, wrapped_accessor: CANARY, ..WrapRecord::default() }),
            ..ResponseFacts::default()
        },
        error: None,
    }
}

fn occurrences(line: &[u8]) -> usize {
    String::from_utf8(line.to_vec()).unwrap().matches(CANARY).count()
}

#[test]
fn no_canary_shows() {
    let record = loaded();
    assert_eq!(occurrences(&answered(&scribe(usual()), &record)), 0);
    let RequestRecord { time, auth, request, error } =
        RequestRecord { time: NOW, auth: record.auth.clone(), request: record.request.clone(), error: None };
    assert_eq!(occurrences(&asked(&scribe(usual()), &RequestRecord { time, auth, request, error })), 0);
    let raw = answered(&scribe(Style { log_raw: true, ..usual() }), &record);
    assert!(occurrences(&raw) > 25, "the canaries are really there: {}", occurrences(&raw));
    assert_eq!(parsed(&raw)["request"]["client_token"], CANARY);
}

#[test]
fn debug_of_the_facts_shows_neither_tokens_nor_data() {
    let record = loaded();
    for text in [format!("{:?}", record.request), format!("{:?}", record.response), format!("{:?}", record.request.client_token)]
    {
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn accessors_stay_plain_where_the_device_says_so_and_nothing_else_does() {
    let line = answered(&scribe(Style { hmac_accessor: false, ..usual() }), &loaded());
    assert_eq!(occurrences(&line), 5, "auth, request, response.auth, wrap_info twice");
    let line = parsed(&line);
    assert_eq!(line["auth"]["accessor"], CANARY);
    assert_ne!(line["auth"]["client_token"], CANARY);
    assert_ne!(line["response"]["wrap_info"]["token"], CANARY);
}

#[test]
fn exempt_keys_are_plain_at_the_top_level_only() {
    let scribe = scribe(usual());
    let request = RequestFacts {
        data: Some(map(json!({"open": {"deep": "v"}, "other": {"open": "v"}, "Open": "v"})).into()),
        plain_data_keys: texts(&["open"]),
        ..RequestFacts::new("", Operation::Update, "p")
    };
    let line = parsed(&asked(&scribe, &RequestRecord { time: NOW, auth: None, request, error: None }));
    let hashed = scribe.hasher.hash("v");
    assert_eq!(line["request"]["data"], json!({"open": {"deep": "v"}, "other": {"open": hashed}, "Open": hashed}));
}

#[test]
fn listings_become_counts_only_where_both_say_so() {
    let listing = json!({"keys": ["a", "b/"], "key_info": {"a": {"x": 1}}, "more": ["a"]});
    for (elide, is_list, keys, infos) in
        [(true, true, json!(2), json!(1)), (true, false, Value::Null, Value::Null), (false, true, Value::Null, Value::Null)]
    {
        let scribe = scribe(Style { elide_list_responses: elide, ..usual() });
        let record = ResponseRecord {
            time: NOW,
            auth: None,
            request: RequestFacts::new("", Operation::List, "p/"),
            response: ResponseFacts { data: Some(map(listing.clone()).into()), is_list, ..ResponseFacts::default() },
            error: None,
        };
        let data = parsed(&answered(&scribe, &record))["response"]["data"].clone();
        let text = api_types::json::to_string(&listing).unwrap();
        let raw = ResponseFacts { data: Some(Payload::Raw(&text)), is_list, ..ResponseFacts::default() };
        let raw = parsed(&answered(&scribe, &ResponseRecord { response: raw, ..record.clone() }))["response"]["data"].clone();
        assert_eq!(raw, data, "text and values are written alike");
        if keys.is_null() {
            assert_eq!(data["keys"].as_array().unwrap().len(), 2, "{elide} {is_list}");
            assert!(data["key_info"].is_object(), "{elide} {is_list}");
        } else {
            assert_eq!((&data["keys"], &data["key_info"]), (&keys, &infos));
        }
        assert!(data["more"].is_array());
    }
}

#[test]
fn a_refusal_says_why_and_a_prefix_stands_before_the_line() {
    let mut who = auth();
    who.policy_results = Some(PolicyResults { allowed: false, granting: vec![] });
    let error = api_types::multi_error(&["permission denied"]);
    let record = RequestRecord { time: NOW, auth: Some(who), request: request(), error: Some(error.as_str().into()) };
    let refusal = Refusal { reason: "no rule matches the path".into(), rule: Some("kv/*".into()) };
    let line = lines_of(&scribe(Style { prefix: "vault: ".into(), ..usual() }), &record, Some(&refusal));
    let line = parsed(line.strip_prefix(b"vault: ").unwrap());
    assert_eq!(line["auth"]["policy_results"], json!({"allowed": false}));
    assert_eq!(line["denial"], json!({"reason": "no rule matches the path", "rule": "kv/*"}));
    assert_eq!(line["error"], error);
}

/// What the contract says in one line.
fn reference(value: &Value, hasher: &Hasher) -> Value {
    match value {
        Value::String(s) => hasher.hash(s).into(),
        Value::Array(items) => items.iter().map(|v| reference(v, hasher)).collect(),
        Value::Object(m) => Value::Object(m.iter().map(|(k, v)| (k.clone(), reference(v, hasher))).collect()),
        other => other.clone(),
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[0-9]{1,40}".prop_map(|digits| serde_json::from_str(&format!("1{digits}.5")).unwrap()),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

#[test]
fn kept_hashes_are_those_of_the_token() {
    let scribe = scribe(usual());
    let hashes = crate::Kept::default();
    let facts = |kept| {
        let auth = AuthRecord { kept, client_token: "hvs.inner".into(), ..auth() };
        RequestRecord { time: NOW, auth: Some(auth), request: request(), error: None }
    };
    let plain = asked(&scribe, &facts(None));
    for _ in 0..2 {
        assert_eq!(asked(&scribe, &facts(Some(&hashes))), plain);
    }
    // The request's token has another form than the one whose hashes are kept.
    let other = RequestFacts { client_token: "hvs.other".into(), ..request() };
    let line = parsed(&asked(&scribe, &RequestRecord { request: other, ..facts(Some(&hashes)) }));
    assert_eq!(line["request"]["client_token"], scribe.hasher.hash("hvs.other"));
    assert_eq!(line["auth"]["client_token"], scribe.hasher.hash("hvs.inner"));
}

#[test]
fn jsonx_is_the_same_line_in_xml() {
    let record = RequestRecord { time: NOW, auth: None, request: request(), error: None };
    let style = Style { format: Format::Jsonx, prefix: "p ".into(), ..usual() };
    let line = String::from_utf8(asked(&scribe(style), &record)).unwrap();
    let xml = line.strip_prefix("p <json:object xsi:schemaLocation=").unwrap().strip_suffix("</json:object>\n").unwrap();
    assert!(xml.contains("<json:string name=\"path\">kv/data/a</json:string>"), "{xml}");
    assert!(xml.contains("<json:number name=\"n\">5</json:number>") && !xml.contains("hunter2"), "{xml}");
    assert_eq!(line.matches('\n').count(), 1);
}

proptest! {
    #[test]
    fn all_text_in_data_is_hashed_and_nothing_else_changes(value in any_json(), plain in any::<bool>(), pretty in any::<bool>()) {
        let scribe = scribe(usual());
        let object = json!({"v": value.clone(), "w\"": value.clone()});
        let exempt = if plain { texts(&["w\""]) } else { &[] };
        let text = if pretty {
            serde_json::to_string_pretty(&object).unwrap()
        } else {
            api_types::json::to_string(&object).unwrap()
        };
        for data in [Payload::from(map(object)), Payload::Raw(&text)] {
            let request =
                RequestFacts { data: Some(data), plain_data_keys: exempt, ..RequestFacts::new("", Operation::Update, "p") };
            let mut line = asked(&scribe, &RequestRecord { time: NOW, auth: None, request, error: None });
            if pretty {
                line.retain(|b| *b != b'\n');
                line.push(b'\n');
            }
            let seen = &parsed(&line)["request"]["data"];
            prop_assert_eq!(&seen["v"], &reference(&value, &scribe.hasher));
            prop_assert_eq!(&seen["w\""], &if plain { value.clone() } else { reference(&value, &scribe.hasher) });
        }
    }
}
