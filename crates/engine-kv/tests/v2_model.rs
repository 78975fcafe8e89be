//! Version 2 against a naive model: any sequence of requests leaves every read, the history and the storage as the model says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Delete, List, Patch, Read, Update, say, scene};
use engine::testing::Harness;
use engine_kv::KvV2;
use proptest::prelude::*;
use secret::Time;
use serde_json::{Value, json};

const KEYS: [&str; 3] = ["a", "a/1", "b"];

#[derive(Debug, Clone)]
enum Step {
    Put(usize, Option<u64>),
    Patch(usize),
    Delete(usize),
    DeleteVersions(usize, Vec<u64>),
    Undelete(usize, Vec<u64>),
    Destroy(usize, Vec<u64>),
    Settings(usize, u32, u64),
    Mount(u32, i64),
    Remove(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let numbers = prop::collection::vec(0_u64..8, 1..4);
    prop_oneof![
        6 => (key.clone(), prop::option::weighted(0.3, 0_u64..5)).prop_map(|(k, c)| Step::Put(k, c)),
        2 => key.clone().prop_map(Step::Patch),
        2 => key.clone().prop_map(Step::Delete),
        2 => (key.clone(), numbers.clone()).prop_map(|(k, n)| Step::DeleteVersions(k, n)),
        2 => (key.clone(), numbers.clone()).prop_map(|(k, n)| Step::Undelete(k, n)),
        2 => (key.clone(), numbers).prop_map(|(k, n)| Step::Destroy(k, n)),
        1 => (key.clone(), 0_u32..5, 0_u64..4).prop_map(|(k, m, d)| Step::Settings(k, m, d)),
        1 => (0_u32..4, -1_i64..4).prop_map(|(m, d)| Step::Mount(m, d)),
        1 => key.prop_map(Step::Remove),
        2 => (1_u64..4).prop_map(Step::Wait),
    ]
}

#[derive(Debug, Clone)]
struct Version {
    data: Value,
    deletion: Option<Time>,
    destroyed: bool,
}

#[derive(Debug, Clone, Default)]
struct Key {
    versions: BTreeMap<u64, Version>,
    current: u64,
    max: u32,
    life: u64,
}

#[derive(Default)]
struct Model {
    keys: BTreeMap<&'static str, Key>,
    max: u32,
    life: i64,
    writes: u64,
}

impl Model {
    fn life_from(&self, key: &Key, now: Time) -> Option<Time> {
        let life = match (self.life, key.life) {
            (l, _) if l < 0 => 0,
            (0, k) => k,
            (m, 0) => m as u64,
            (m, k) => k.min(m as u64),
        };
        (life > 0).then(|| now.plus(Duration::from_secs(life)))
    }

    fn add(&mut self, name: &'static str, data: Value, now: Time) {
        let mut key = self.keys.remove(name).unwrap_or_default();
        key.current += 1;
        let deletion = self.life_from(&key, now);
        key.versions.insert(key.current, Version { data, deletion, destroyed: false });
        let keep = match u64::from(key.max.max(self.max)) {
            0 => 10,
            n => n,
        };
        let last = key.current;
        // The window never moves back: what was pushed out stays out, the rest goes when the limit says so.
        key.versions.retain(|n, _| n + keep > last);
        self.keys.insert(name, key);
    }
}

fn shows(version: &Version, now: Time) -> bool {
    !version.destroyed && version.deletion.is_none_or(|d| d > now)
}

/// Does the step on both sides; the engine's answer must be of the kind that the model expects.
async fn take(s: &mut Harness<KvV2>, model: &mut Model, step: &Step) {
    let now = s.now;
    match step {
        Step::Put(k, cas) => {
            let name = KEYS[*k];
            model.writes += 1;
            let data = json!({"w": model.writes, "keep": model.writes});
            let options = cas.map_or(json!({}), |c| json!({ "cas": c }));
            let got = say(s, Update, &format!("data/{name}"), json!({"data": data, "options": options})).await;
            let fits = cas.is_none_or(|c| c == model.keys.get(name).map_or(0, |k| k.current));
            assert_eq!(got[0], if fits { 200 } else { 400 }, "{got}");
            if fits {
                model.add(name, data, now);
            }
        }
        Step::Patch(k) => {
            let name = KEYS[*k];
            model.writes += 1;
            let got = say(s, Patch, &format!("data/{name}"), json!({"data": {"w": model.writes, "none": null}})).await;
            let current = model.keys.get(name).and_then(|k| k.versions.get(&k.current)).filter(|v| shows(v, now)).cloned();
            assert_eq!(got[0], if current.is_some() { 200 } else { 404 }, "{got}");
            if let Some(mut version) = current {
                version.data["w"] = json!(model.writes);
                model.add(name, version.data, now);
            }
        }
        Step::Delete(k) => {
            s.call(Delete, &format!("data/{}", KEYS[*k]), json!({})).await.unwrap();
            if let Some(key) = model.keys.get_mut(KEYS[*k])
                && let Some(v) = key.versions.get_mut(&key.current).filter(|v| shows(v, now))
            {
                v.deletion = Some(now);
            }
        }
        Step::DeleteVersions(k, numbers) => {
            s.call(Update, &format!("delete/{}", KEYS[*k]), json!({"versions": numbers})).await.unwrap();
            for n in numbers {
                if let Some(v) = model.keys.get_mut(KEYS[*k]).and_then(|k| k.versions.get_mut(n)).filter(|v| shows(v, now)) {
                    v.deletion = Some(now);
                }
            }
        }
        Step::Undelete(k, numbers) => {
            s.call(Update, &format!("undelete/{}", KEYS[*k]), json!({"versions": numbers})).await.unwrap();
            let life = model.keys.get(KEYS[*k]).and_then(|key| model.life_from(key, now));
            for n in numbers {
                if let Some(v) = model.keys.get_mut(KEYS[*k]).and_then(|k| k.versions.get_mut(n)).filter(|v| !v.destroyed) {
                    v.deletion = life;
                }
            }
        }
        Step::Destroy(k, numbers) => {
            s.call(Update, &format!("destroy/{}", KEYS[*k]), json!({"versions": numbers})).await.unwrap();
            for n in numbers {
                if let Some(v) = model.keys.get_mut(KEYS[*k]).and_then(|k| k.versions.get_mut(n)) {
                    v.destroyed = true;
                }
            }
        }
        Step::Settings(k, max, life) => {
            let body = json!({"max_versions": max, "delete_version_after": format!("{life}s")});
            s.call(Update, &format!("metadata/{}", KEYS[*k]), body).await.unwrap();
            let key = model.keys.entry(KEYS[*k]).or_default();
            (key.max, key.life) = (*max, *life);
        }
        Step::Mount(max, life) => {
            s.call(Update, "config", json!({"max_versions": max, "delete_version_after": format!("{life}s")})).await.unwrap();
            (model.max, model.life) = (*max, *life);
        }
        Step::Remove(k) => {
            s.call(Delete, &format!("metadata/{}", KEYS[*k]), json!({})).await.unwrap();
            model.keys.remove(KEYS[*k]);
        }
        Step::Wait(seconds) => s.now = s.now.plus(Duration::from_secs(*seconds)),
    }
}

async fn compare(s: &mut Harness<KvV2>, model: &Model) {
    let now = s.now;
    for name in KEYS {
        let key = model.keys.get(name).cloned().unwrap_or_default();
        for asked in 0..=key.current + 1 {
            let number = if asked == 0 { key.current } else { asked };
            let got = say(s, Read, &format!("data/{name}"), json!({"version": asked})).await;
            match key.versions.get(&number) {
                None => assert_eq!(got, json!(["nothing"]), "{name} {asked}"),
                Some(v) => {
                    let (status, data) = if shows(v, now) { (200, v.data.clone()) } else { (404, Value::Null) };
                    assert_eq!((&got[0], &got[1]["data"]), (&json!(status), &data), "{name} {asked}");
                    let shown = &got[1]["metadata"];
                    let deletion = v.deletion.map(Time::rfc3339).unwrap_or_default();
                    assert_eq!(
                        (&shown["version"], &shown["deletion_time"], &shown["destroyed"]),
                        (&json!(number), &json!(deletion), &json!(v.destroyed)),
                        "{name} {asked}"
                    );
                }
            }
        }
        let meta = say(s, Read, &format!("metadata/{name}"), json!({})).await;
        if model.keys.contains_key(name) {
            assert_eq!(meta[1]["current_version"], key.current);
            let known: BTreeSet<String> = meta[1]["versions"].as_object().unwrap().keys().cloned().collect();
            assert_eq!(known, key.versions.keys().map(u64::to_string).collect());
        } else {
            assert_eq!(meta, json!(["nothing"]));
        }
    }
    // Storage holds the data of exactly the versions that are neither destroyed nor pushed out.
    let mut want: BTreeSet<String> = BTreeSet::new();
    for (name, key) in &model.keys {
        want.insert(format!("metadata/{name}"));
        for (n, _) in key.versions.iter().filter(|(_, v)| !v.destroyed) {
            want.insert(if *n == key.current { format!("latest/{name}") } else { format!("versions/{name}/{n}") });
        }
    }
    let have: BTreeSet<String> = s.txn.keys().into_iter().filter(|k| *k != "config").map(str::to_owned).collect();
    assert_eq!(have, want);
    let listed: BTreeSet<&str> = model.keys.keys().map(|k| if *k == "a/1" { "a/" } else { k }).collect();
    let names = say(s, List, "metadata/", json!({})).await;
    let names: BTreeSet<String> =
        names[1]["keys"].as_array().into_iter().flatten().filter_map(|n| n.as_str().map(str::to_owned)).collect();
    assert_eq!(names, listed.into_iter().map(str::to_owned).collect());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_sequence_agrees_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut s = scene(KvV2::new());
            let mut model = Model::default();
            for step in &steps {
                take(&mut s, &mut model, step).await;
                compare(&mut s, &model).await;
            }
        });
    }
}
