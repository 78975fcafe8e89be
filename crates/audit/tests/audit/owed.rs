//! Requests that are recorded with their answer: the same lines, and no answer without them (docs/decisions/0009).

use std::sync::Arc;

use crate::common::{file, grant, ids, record};
use audit::{Broker, ResponseFacts, ResponseRecord};
use secret::Time;
use serde_json::{Value, json};

fn answered(id: &str) -> ResponseRecord<'_> {
    let data: api_types::Map = [("password".to_owned(), json!("hunter2"))].into_iter().collect();
    ResponseRecord {
        time: Time(0),
        auth: None,
        request: record(id).request,
        response: ResponseFacts { data: Some(data.into()), ..ResponseFacts::default() },
        error: None,
    }
}

async fn enabled(path: &std::path::Path, more: &[(&str, &str)]) -> Broker {
    let broker = Broker::new();
    let options = [more, &[("skip_test", "true")]].concat();
    broker.enable("file", file(path, &options), "salt".into()).await.unwrap();
    broker
}

#[tokio::test]
async fn the_lines_are_those_of_a_request_that_was_recorded_first() {
    for more in [&[][..], &[("format", "jsonx")], &[("log_raw", "true")], &[("elide_list_responses", "true")]] {
        let dir = tempfile::tempdir().unwrap();
        let (first, both) = (dir.path().join("first"), dir.path().join("both"));
        let broker = enabled(&first, more).await;
        let permit = broker.permit(grant(), || record("one")).await.unwrap();
        broker.answer(&permit, || answered("one"), ()).await.unwrap();
        let broker = enabled(&both, more).await;
        let permit = broker.promise(grant());
        assert!(permit.is_owed() && !both.exists(), "nothing is written before there is an answer");
        broker.answer(&permit, || answered("one"), ()).await.unwrap();
        let text = std::fs::read_to_string(&both).unwrap();
        assert_eq!(text, std::fs::read_to_string(&first).unwrap(), "{more:?}");
        assert_eq!(text.lines().count(), 2);
    }
}

#[tokio::test]
async fn a_redeemed_request_is_on_disk_before_it_acts_and_stands_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let broker = enabled(&path, &[]).await;
    let permit = broker.redeem(broker.promise(grant()), || record("one")).await.unwrap();
    assert!(!permit.is_owed());
    assert_eq!(ids(&path), ["one"]);
    let permit = broker.redeem(permit, || unreachable!("it is recorded")).await.unwrap();
    broker.answer(&permit, || answered("one"), ()).await.unwrap();
    let kinds: Vec<Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap()["type"].clone())
        .collect();
    assert_eq!(kinds, ["request", "response"]);
}

#[tokio::test]
async fn what_is_owed_stays_owed_when_a_transaction_runs_anew() {
    let broker = Broker::new();
    assert!(broker.repeat(broker.promise(grant()), grant()).is_owed());
    let recorded = broker.permit(grant(), || record("1")).await.unwrap();
    assert!(!broker.repeat(recorded, grant()).is_owed());
}

#[tokio::test]
async fn no_answer_to_an_owed_request_without_a_device_that_takes_both_lines() {
    let broker = enabled("/dev/full".as_ref(), &[]).await;
    let permit = broker.promise(grant());
    assert!(broker.answer(&permit, || answered("1"), ()).await.is_err());
    assert!(broker.redeem(permit, || record("1")).await.is_err());
}

/// Requests of several workers: whoever finds the device idle writes, the others queue up; no line is lost, torn or parted from
/// its other half.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_of_a_request_stay_together_whoever_writes_them() {
    const TASKS: usize = 8;
    const EACH: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let broker = Arc::new(enabled(&path, &[]).await);
    let task = |task: usize| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            for i in 0..EACH {
                let id = format!("{task}-{i}");
                let permit = broker.promise(grant());
                broker.answer(&permit, || answered(&id), ()).await.unwrap();
            }
        })
    };
    for running in (0..TASKS).map(task).collect::<Vec<_>>() {
        running.await.unwrap();
    }
    let ids = ids(&path);
    assert_eq!(ids.len(), 2 * TASKS * EACH);
    assert!(ids.chunks(2).all(|pair| pair[0] == pair[1]));
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), TASKS * EACH);
    let status = &broker.statuses()[0];
    assert_eq!((status.recorded, status.missed, status.queued_bytes), ((TASKS * EACH) as u64, 0, 0));
}
