//! What is recorded before a proof is given out, and that none is given out without.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{file, grant, patient, permit, record};
use api_types::Operation;
use audit::{AuthRecord, PolicyResults, RequestRecord, ResponseFacts, ResponseRecord, SealedReply};
use policy::{Denial, DenialReason};
use secret::Time;
use serde_json::{Value, json};

fn lines(path: &std::path::Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn answer_to(request: RequestRecord<'_>) -> ResponseRecord<'_> {
    ResponseRecord {
        time: Time(1),
        auth: None,
        request: request.request,
        response: ResponseFacts {
            data: Some([("password".to_owned(), json!("hunter2"))].into_iter().collect::<api_types::Map>().into()),
            ..ResponseFacts::default()
        },
        error: None,
    }
}

#[tokio::test]
async fn without_devices_nothing_is_recorded_and_no_record_is_made() {
    let broker = patient();
    let asked = AtomicBool::new(false);
    let ask = || {
        asked.store(true, Ordering::SeqCst);
        record("1")
    };
    assert!(broker.permit(grant(), ask).await.is_ok());
    assert!(!asked.load(Ordering::SeqCst) && !broker.has_devices());
    assert!(broker.statuses().is_empty() && broker.hash("file", "x").is_none() && !broker.disable("file"));
}

#[tokio::test]
async fn request_and_answer_are_on_disk_before_their_proofs_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/folder/audit.log");
    let broker = patient();
    broker.enable("file", file(&path, &[]), "salt".into()).await.unwrap();
    assert_eq!(lines(&path)[0]["request"]["path"], "sys/audit/test");

    let permit = permit(&broker, "one").await.unwrap();
    assert_eq!(permit.grant(), &grant());
    assert_eq!(lines(&path).last().unwrap()["request"]["id"], "one");

    let answer = broker.answer(&permit, || answer_to(record("one")), "body").await.unwrap();
    assert_eq!(*answer.get(), "body");
    let last = lines(&path).pop().unwrap();
    assert_eq!((&last["type"], &last["request"]["id"]), (&json!("response"), &json!("one")));
    let hashed = broker.hash("file/", "hunter2").unwrap();
    assert_eq!(last["response"]["data"]["password"], json!(hashed), "audit-hash finds the line");

    let again = broker.repeat(permit, grant());
    assert_eq!(again.grant(), &grant());
    assert_eq!(lines(&path).len(), 3, "a repeated request has its entry already");
    assert_eq!(broker.statuses()[0].recorded, 3);
}

#[tokio::test]
async fn a_refusal_is_recorded_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let broker = patient();
    broker.enable("file", file(&path, &[("skip_test", "true")]), "salt".into()).await.unwrap();
    for (reason, pattern, text) in [
        (DenialReason::NoRule, None, "no rule matches the path"),
        (DenialReason::MissingCapability, Some("kv/*"), "the rule lacks the capability"),
        (DenialReason::ExplicitDeny, Some("kv/x"), "the rule denies"),
        (DenialReason::MissingSudo, Some("sys/audit"), "the path needs sudo"),
        (DenialReason::Parameter("ttl".into()), Some("a"), "parameter \"ttl\" is not allowed"),
        (DenialReason::Wrapping, Some("a"), "the rule demands response wrapping"),
        (DenialReason::Token("token is expired"), None, "token is expired"),
    ] {
        let denial = Denial { reason, pattern: pattern.map(str::to_owned) };
        let mut refused = record("no");
        // A decision that was wrongly filled in must not show a refusal as allowed.
        refused.auth = Some(AuthRecord {
            policy_results: Some(PolicyResults { allowed: true, granting: vec!["p"] }),
            ..AuthRecord::default()
        });
        let answer = broker.refuse(&denial, || refused, 403).await.unwrap();
        assert_eq!(answer.into_inner(), 403);
        let both = lines(&path).split_off(lines(&path).len() - 2);
        for (line, kind) in both.iter().zip(["request", "response"]) {
            assert_eq!(line["type"], kind);
            assert_eq!(line["error"], "1 error occurred:\n\t* permission denied\n\n");
            assert_eq!(line["auth"]["policy_results"], json!({"allowed": false}));
            let mut said = json!({"reason": text});
            if let Some(pattern) = pattern {
                said["rule"] = pattern.into();
            }
            assert_eq!(line["denial"], said);
        }
        assert_eq!(both[1]["response"]["data"]["error"], json!(broker.hash("file", "permission denied").unwrap()));
    }
    let mut anonymous = record("who");
    anonymous.error = Some("2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n".into());
    let denial = Denial { reason: DenialReason::Token("unknown token"), pattern: None };
    broker.refuse(&denial, || anonymous, ()).await.unwrap();
    assert_eq!(lines(&path).pop().unwrap()["denial"], json!({"reason": "unknown token"}), "also without a known caller");
    assert_eq!(lines(&path).pop().unwrap()["error"], "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
}

#[tokio::test]
async fn no_proof_of_any_kind_without_a_device_that_takes_the_entry() {
    let broker = patient();
    let permit = permit(&broker, "before").await.unwrap();
    broker.enable("full", file("/dev/full".as_ref(), &[("skip_test", "true")]), "s".into()).await.unwrap();
    let failures = [
        broker.permit(grant(), || record("1")).await.err(),
        broker.answer(&permit, || answer_to(record("1")), ()).await.err(),
        broker.refuse(&Denial { reason: DenialReason::NoRule, pattern: None }, || record("1"), ()).await.err(),
    ];
    for failure in failures {
        let failure = failure.expect("nothing was recorded");
        assert_eq!(failure.to_string(), "no audit device took the entry: full/: No space left on device (os error 28)");
    }
}

#[tokio::test]
async fn salts_differ_from_device_to_device() {
    let dir = tempfile::tempdir().unwrap();
    let broker = patient();
    broker.enable("a", file(&dir.path().join("a"), &[]), "one".into()).await.unwrap();
    broker.enable("b/", file(&dir.path().join("b"), &[]), "two".into()).await.unwrap();
    let permit = permit(&broker, "x").await.unwrap();
    broker.answer(&permit, || answer_to(record("x")), ()).await.unwrap();
    for device in ["a", "b"] {
        let last = lines(&dir.path().join(device)).pop().unwrap();
        assert_eq!(last["response"]["data"]["password"], json!(broker.hash(device, "hunter2").unwrap()));
    }
    assert_ne!(broker.hash("a", "hunter2"), broker.hash("b", "hunter2"));
}

#[test]
fn every_unrecorded_answer_has_its_reason() {
    let broker = patient();
    for kind in SealedReply::ALL {
        assert!(kind.reason().len() > 20, "{kind:?}");
        assert_eq!(broker.unauditable(7, kind).into_inner(), 7);
    }
    assert_eq!(SealedReply::ALL.iter().collect::<std::collections::HashSet<_>>().len(), SealedReply::ALL.len());
}

#[test]
fn a_broker_can_be_shared() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let broker = patient();
    shared(&broker);
    let future = async { broker.permit(grant(), || record("x")).await };
    fn sent<T: Send>(_: &T) {}
    sent(&future);
    assert_eq!(Operation::Read.as_str(), "read");
}
