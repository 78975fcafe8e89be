//! Leases of secrets: their life, their index, and what happens when they cannot be undone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which clippy.toml does not see"
)]

mod common;

use std::time::Duration;

use common::{Scene, login_mount};
use engine::{LeasedSecret, Mount};
use secret::SeededEntropy;
use serde_json::json;
use storage::{Page, View};
use tokens::{Attempt, DueItem, Extension, Found, Held, Leases, NewLease, due};

fn mount() -> Mount {
    Mount { path: "db/".into(), accessor: "database_1".into(), ..login_mount() }
}

fn register(s: &mut Scene, path: &str, ttl: u64, owner: Option<&Found>, seed: u64) -> (String, u64, Vec<String>) {
    let mut secret = LeasedSecret {
        ttl: Duration::from_secs(ttl),
        max_ttl: Duration::from_secs(3000),
        renewable: true,
        register: true,
        internal: json!({"user": "v-x"}).as_object().unwrap().clone(),
        ..LeasedSecret::default()
    };
    let (now, mount, entropy) = (s.h.now, mount(), SeededEntropy::new(seed));
    let warnings =
        Leases::register(&mut s.view(), &mut secret, &NewLease { path, mount: &mount, owner, now, entropy: &entropy }).unwrap();
    (secret.lease_id, secret.ttl.as_secs(), warnings)
}

#[tokio::test]
async fn a_lease_lives_within_its_limits() {
    let mut s = Scene::new();
    let token = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    let owner = s.found(&token);
    let (id, ttl, warnings) = register(&mut s, "db/creds/r", 0, owner.as_ref(), 1);
    assert_eq!((ttl, warnings.len()), (600, 0), "the mount's default");
    assert!(id.starts_with("db/creds/r/") && id.len() == "db/creds/r/".len() + 24);
    let (_, ttl, warnings) = register(&mut s, "db/creds/r", 9000, owner.as_ref(), 2);
    assert_eq!((ttl, warnings.len()), (3000, 1), "the role's maximum, with a warning");
    let now = s.h.now;
    let shown = Leases::show(&mut s.view(), &id, now).unwrap();
    let keys: Vec<&String> = shown.keys().collect();
    assert_eq!(keys, ["expire_time", "id", "issue_time", "last_renewal", "renewable", "ttl"]);
    assert_eq!((&shown["ttl"], &shown["last_renewal"], &shown["renewable"]), (&json!(600), &json!(null), &json!(true)));
    s.advance(590);
    let wish = Extension { increment: Duration::from_secs(9000), ..Extension::default() };
    let now = s.h.now;
    let (ttl, warnings) = Leases::extend(&mut s.view(), &id, &wish, &mount(), now).unwrap();
    assert_eq!((ttl.as_secs(), warnings.len()), (3000 - 590, 1));
    assert!(Leases::show(&mut s.view(), &id, now).unwrap()["last_renewal"].is_string());
    s.advance(ttl.as_secs());
    let now = s.h.now;
    assert_eq!(Leases::extend(&mut s.view(), &id, &wish, &mount(), now).unwrap_err().to_string(), "lease expired");
    assert!(s.due().iter().any(|d| d.item == DueItem::Lease(id.clone())));
}

#[tokio::test]
async fn refusals() {
    let mut s = Scene::new();
    let now = s.h.now;
    assert_eq!(Leases::show(&mut s.view(), "none", now).unwrap_err().to_string(), "invalid lease");
    assert_eq!(Leases::renewable(&mut s.view(), "none", now).unwrap_err().to_string(), "lease not found");
    let mut secret = LeasedSecret { register: true, ..LeasedSecret::default() };
    let (mount, entropy) = (mount(), SeededEntropy::new(3));
    let new = NewLease { path: "db/creds/r", mount: &mount, owner: None, now, entropy: &entropy };
    Leases::register(&mut s.view(), &mut secret, &new).unwrap();
    assert_eq!(Leases::renewable(&mut s.view(), &secret.lease_id, now).unwrap_err().to_string(), "lease is not renewable");
    assert!(!Leases::make_due(&mut s.view(), "none", now).unwrap());
    Leases::remove(&mut s.view(), "none").unwrap();
}

#[tokio::test]
async fn a_batch_token_limits_its_leases_from_the_start() {
    let mut s = Scene::new();
    let token = s.create(json!({"policies": ["a"], "type": "batch", "ttl": "100s"})).await.client_token.expose().to_owned();
    let owner = s.found(&token);
    let (id, ttl, _) = register(&mut s, "db/creds/r", 600, owner.as_ref(), 1);
    assert_eq!(ttl, 100);
    s.advance(50);
    let now = s.h.now;
    let wish = Extension { increment: Duration::from_secs(600), ..Extension::default() };
    assert_eq!(Leases::extend(&mut s.view(), &id, &wish, &mount(), now).unwrap().0.as_secs(), 50);
    assert!(s.keys_below("sys/expire/token/").is_empty());
}

#[tokio::test]
async fn an_ended_lease_is_tried_six_times() {
    let mut s = Scene::new();
    let (id, _, _) = register(&mut s, "db/creds/r", 100, None, 1);
    let now = s.h.now;
    let is_due = |s: &mut Scene, id: &str| {
        let now = s.h.now;
        matches!(Leases::lookup(&mut s.view(), id).unwrap(), Some(Held::Secret(lease)) if lease.is_due(now))
    };
    assert!(!is_due(&mut s, &id));
    assert!(Leases::make_due(&mut s.view(), &id, now).unwrap());
    assert!(is_due(&mut s, &id));
    assert!(Leases::renewable(&mut s.view(), &id, now).is_err(), "an ended lease cannot be renewed");
    for pause in [10u64, 20, 40, 80, 160] {
        let now = s.h.now;
        let again = now.plus(Duration::from_secs(pause));
        assert_eq!(Leases::failed(&mut s.view(), &id, "database is down", now).unwrap(), Attempt::Again(again));
        assert!(s.due().is_empty() && !is_due(&mut s, &id));
        s.advance(pause);
        assert_eq!(s.due().len(), 1, "after {pause} s");
        let now = s.h.now;
        assert!(Leases::renewable(&mut s.view(), &id, now).is_err());
        assert_eq!(Leases::show(&mut s.view(), &id, now).unwrap()["ttl"], 0);
    }
    let now = s.h.now;
    assert_eq!(Leases::failed(&mut s.view(), &id, "database is down", now).unwrap(), Attempt::GivenUp);
    assert!(s.due().is_empty());
    let given_up = Leases::irrevocable(&mut s.view(), 10).unwrap();
    assert_eq!(
        (given_up.len(), given_up[0].0.as_str(), given_up[0].1.irrevocable.as_str()),
        (1, id.as_str(), "database is down")
    );
    // An operator may try again, and force it away.
    assert!(Leases::make_due(&mut s.view(), &id, now).unwrap());
    assert_eq!(s.due().len(), 1);
    Leases::remove(&mut s.view(), &id).unwrap();
    assert!(s.keys_below("sys/expire/").is_empty());
}

#[tokio::test]
async fn prefixes() {
    let mut s = Scene::new();
    let (a, _, _) = register(&mut s, "db/creds/r", 100, None, 1);
    let (b, _, _) = register(&mut s, "db/creds/r/s", 100, None, 2);
    let (c, _, _) = register(&mut s, "db/credsx/r", 100, None, 3);
    let below = |s: &mut Scene, prefix: &str, limit| {
        let mut ids: Vec<String> = Leases::below(&mut s.view(), prefix, limit)
            .unwrap()
            .into_iter()
            .map(|item| match item {
                DueItem::Lease(id) | DueItem::Token(id) => id,
            })
            .collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(below(&mut s, "db/creds", 10), sorted(vec![a.clone(), b.clone()]), "whole segments only");
    assert_eq!(below(&mut s, "db/creds/", 10), sorted(vec![a.clone(), b.clone()]));
    assert_eq!(below(&mut s, "db", 10), sorted(vec![a.clone(), b, c]));
    assert_eq!(below(&mut s, &a, 10), std::slice::from_ref(&a), "one lease's id");
    assert_eq!(below(&mut s, "db", 2).len(), 2);
    assert_eq!(below(&mut s, "none", 10), Vec::<String>::new());
    assert_eq!(Leases::list(&mut s.view(), "db/", &Page::default()).unwrap(), ["creds/", "credsx/"]);
}

#[test]
fn the_index_is_in_order_of_time_and_gives_nothing_early() {
    let mut s = Scene::new();
    let base = s.h.now;
    let mut want: Vec<(u64, String)> = Vec::new();
    for (i, ttl) in [5u64, 1, 300, 70_000, 2, 256, 255, 65_536, 100_000, 3].into_iter().enumerate() {
        let mut secret = LeasedSecret { ttl: Duration::from_secs(ttl), register: true, ..LeasedSecret::default() };
        let mount = Mount { max_lease_ttl: Duration::from_secs(1_000_000), ..mount() };
        let entropy = SeededEntropy::new(i as u64);
        let new = NewLease { path: "db/creds/r", mount: &mount, owner: None, now: base, entropy: &entropy };
        Leases::register(&mut View::new(&mut s.h.txn, ""), &mut secret, &new).unwrap();
        want.push((ttl, secret.lease_id));
    }
    want.sort();
    for seconds in [0u64, 1, 2, 4, 254, 255, 256, 300, 65_535, 65_536, 100_000] {
        let got: Vec<DueItem> =
            due(&mut s.view(), base.plus(Duration::from_secs(seconds)), 100).unwrap().into_iter().map(|d| d.item).collect();
        let expected: Vec<DueItem> =
            want.iter().filter(|(ttl, _)| *ttl <= seconds).map(|(_, id)| DueItem::Lease(id.clone())).collect();
        assert_eq!(got, expected, "after {seconds} s");
    }
    let first = due(&mut s.view(), base.plus(Duration::from_secs(1_000_000)), 3).unwrap();
    assert_eq!(first.iter().map(|d| d.at.since(base).as_secs()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(matches!(Leases::lookup(&mut s.view(), &want[0].1).unwrap(), Some(Held::Secret(_))));
}
