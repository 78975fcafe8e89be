//! How long tokens live and what goes with them (CVE classes G and R of `demand.md`).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests, which clippy.toml does not see"
)]

mod common;

use std::time::Duration;

use api_types::Operation::{Read, Update};
use common::{Counting, Scene, login_mount};
use engine::{Auth, EngineError, Mount, TokenType};
use proptest::prelude::*;
use secret::{SecretBytes, Time};
use serde_json::json;
use storage::View;
use tokens::{DueItem, LeaseRecord, Leases, NewLease, UseLeft};

fn ann() -> Auth {
    Auth { display_name: "ann".into(), policies: vec!["a".into()], renewable: true, ..Auth::default() }
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, EngineError>) -> (&'static str, String) {
    match outcome.unwrap_err() {
        EngineError::Invalid(t) => ("invalid", t),
        EngineError::Rejected(t) => ("rejected", t),
        EngineError::Denied(t) => ("denied", t),
        EngineError::Internal(t) => ("internal", t),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn renewal_counts_from_now_and_ends_at_the_limits() {
    let mut s = Scene::new();
    let t = s.create(json!({"policies": ["a"], "ttl": "10m", "explicit_max_ttl": "1h"})).await;
    let token = t.client_token.expose().to_owned();
    // (seconds later, increment, time granted, warnings)
    for (later, increment, want, warnings) in [
        (60, json!(0), 600, 0),
        (60, json!("30m"), 1800, 0),
        (600, json!("2h"), 3600 - 720, 1),
        (3600 - 721, json!("1h"), 1, 1), // one second left: renewed to exactly that second, not beyond
    ] {
        s.advance(later);
        let answer = s.call_as(&token, false, Update, "renew-self", json!({"increment": increment})).await.unwrap().unwrap();
        let auth = answer.auth.unwrap();
        assert_eq!((auth.ttl.as_secs(), answer.warnings.len()), (want, warnings), "{later} {increment}: {:?}", answer.warnings);
        assert_eq!(auth.client_token.expose(), token);
        assert_eq!((auth.policies.join(","), auth.accessor), ("a,default".into(), t.accessor.clone()));
    }
    s.advance(1);
    assert!(s.found(&token).is_none());
    assert_eq!(refusal(s.as_root(Update, "renew", json!({"token": token})).await), ("invalid", "token not found".into()));
    assert_eq!(refusal(s.as_root(Update, "lookup", json!({"token": token})).await), ("denied", "bad token".into()));
    s.expire_all(100);
    assert!(s.keys_below("sys/expire/").is_empty());
}

#[tokio::test]
async fn renewals_that_are_refused() {
    let mut s = Scene::new();
    let fixed = s.create(json!({"policies": ["a"], "renewable": false, "ttl": "1h"})).await;
    let batch = s.create(json!({"policies": ["a"], "type": "batch", "ttl": "1h"})).await.client_token.expose().to_owned();
    for (path, body, want) in [
        ("renew", json!({"token": fixed.client_token.expose()}), ("invalid", "lease is not renewable")),
        ("renew", json!({"token": batch}), ("invalid", "batch tokens cannot be renewed")),
        ("renew", json!({"token": "hvs.none"}), ("invalid", "token not found")),
        ("renew", json!({}), ("invalid", "missing token ID")),
        ("renew-accessor", json!({"accessor": "none"}), ("rejected", "invalid accessor")),
        ("renew-accessor", json!({"accessor": "../salt"}), ("rejected", "invalid accessor")),
        ("renew-accessor", json!({}), ("rejected", "missing accessor")),
        ("lookup-accessor", json!({}), ("rejected", "missing accessor")),
        ("lookup-accessor", json!({"accessor": "unknown"}), ("rejected", "invalid accessor")),
        ("revoke-accessor", json!({}), ("rejected", "missing accessor")),
        ("revoke", json!({}), ("invalid", "missing token ID")),
        ("revoke", json!({"token": batch}), ("invalid", "batch tokens cannot be revoked")),
        ("revoke-orphan", json!({}), ("invalid", "missing token ID")),
        ("revoke-orphan", json!({"token": "hvs.none"}), ("invalid", "token to revoke not found")),
        ("revoke-orphan", json!({"token": batch}), ("invalid", "batch tokens cannot be revoked")),
        ("lookup", json!({"token": "hvs.none"}), ("denied", "bad token")),
        ("lookup", json!({"token": format!("hvb.{}", "A".repeat(20_000))}), ("denied", "bad token")),
        ("lookup", json!({"token": "hvb.!!"}), ("denied", "bad token")),
    ] {
        let (kind, text) = refusal(s.as_root(Update, path, body.clone()).await);
        assert_eq!((kind, text.as_str()), want, "{path} {body}");
    }
    let other = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    assert_eq!(
        refusal(s.call_as(&other, false, Update, "revoke-orphan", json!({"token": fixed.client_token.expose()})).await).1,
        "root or sudo privileges required to revoke and orphan"
    );
    // Root without end: 200, nothing changes.
    let root = s.root.expose().to_owned();
    let answer = s.call_as(&root, true, Update, "renew-self", json!({"increment": "1h"})).await.unwrap().unwrap();
    let auth = answer.auth.unwrap();
    assert_eq!((auth.ttl, auth.renewable, auth.policies.as_slice()), (Duration::ZERO, false, ["root".to_owned()].as_slice()));
    // By accessor: renewed, and the token is not told.
    let t = s.create(json!({"policies": ["a"], "ttl": "1h"})).await;
    let answer = s.as_root(Update, "renew-accessor", json!({"accessor": t.accessor})).await.unwrap().unwrap();
    let auth = answer.auth.unwrap();
    assert!(auth.client_token.is_empty() && auth.ttl.as_secs() == 3600 && auth.accessor == t.accessor);
}

#[tokio::test]
async fn a_tampered_batch_token_is_unknown() {
    let mut s = Scene::new();
    let token = s.create(json!({"policies": ["a"], "type": "batch", "ttl": "1h"})).await.client_token.expose().to_owned();
    assert!(s.found(&token).is_some());
    for i in (4..token.len()).step_by(7) {
        let mut bytes = token.clone().into_bytes();
        bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(changed == token || s.found(&changed).is_none(), "{i}");
    }
    assert!(s.keys_below("sys/expire/").is_empty() && s.keys_below("sys/token/id/").len() == 1);
    s.advance(3600);
    assert!(s.found(&token).is_none());
}

#[tokio::test]
async fn a_role_reaches_its_living_tokens() {
    let mut s = Scene::new();
    let root = s.root.expose().to_owned();
    s.as_root(Update, "roles/r", json!({"allowed_policies": "default", "token_period": "10m"})).await.unwrap();
    let token = s.create_as(&root, true, "create/r", json!({})).await.unwrap().0.client_token.expose().to_owned();
    s.as_root(Update, "roles/r", json!({"token_period": "30m"})).await.unwrap();
    let auth = s.call_as(&token, false, Update, "renew-self", json!({})).await.unwrap().unwrap().auth.unwrap();
    assert_eq!(auth.ttl.as_secs(), 1800);
    s.as_root(Update, "roles/r", json!({"token_explicit_max_ttl": "20m"})).await.unwrap();
    s.advance(300);
    let auth = s.call_as(&token, false, Update, "renew-self", json!({})).await.unwrap().unwrap().auth.unwrap();
    assert_eq!(auth.ttl.as_secs(), 900);
    s.as_root(api_types::Operation::Delete, "roles/r", json!({})).await.unwrap();
    assert_eq!(
        refusal(s.call_as(&token, false, Update, "renew-self", json!({})).await),
        ("internal", "failed to renew entry: original token role \"r\" could not be found, not renewing".into())
    );
    let data = s.lookup(&token).await;
    assert_eq!((&data["creation_ttl"], &data["ttl"], data.contains_key("last_renewal_time")), (&json!(600), &json!(900), true));
}

#[tokio::test]
async fn logins() {
    let mut s = Scene::new();
    let mount = login_mount();
    let mut auth = Auth { policies: vec!["B ".into(), "a".into()], ttl: Duration::from_secs(60), ..ann() };
    s.login(&mount, &mut auth).unwrap();
    assert_eq!((auth.display_name.as_str(), auth.policies.join(",").as_str(), auth.orphan), ("up-ann", "a,b,default", true));
    let token = auth.client_token.expose().to_owned();
    s.advance(30);
    let renewed = s.call_as(&token, false, Update, "renew-self", json!({"increment": "2h"})).await.unwrap().unwrap();
    let renewed_auth = renewed.auth.unwrap();
    assert_eq!(renewed_auth.policies.join(","), "a,b,default", "a method cannot widen a token by renewing it");
    assert_eq!(renewed_auth.ttl.as_secs(), 3570, "the login mount's maximum counts, from issue");
    for name in ["root", " ROOT ", "Root", "rOOt\n"] {
        let refused = s.login(&mount, &mut Auth { policies: vec!["a".into(), name.into()], ..ann() });
        assert_eq!(refusal(refused), ("invalid", "auth methods cannot create root tokens".into()), "{name:?}");
    }
    let mut refuses = Auth { internal: json!({"role": "gone"}).as_object().unwrap().clone(), ..ann() };
    s.login(&mount, &mut refuses).unwrap();
    let token = refuses.client_token.expose().to_owned();
    assert_eq!(refusal(s.call_as(&token, false, Update, "renew-self", json!({})).await).1, "role was removed");
    assert_eq!(s.lookup(&token).await["ttl"], json!(600));
}

#[test]
fn the_mount_decides_the_type_of_its_tokens() {
    use TokenType::{Batch, Default, DefaultBatch, DefaultService, Service};
    let mut s = Scene::new();
    for (mount_type, asked, batch) in [
        (Default, Default, false),
        (Default, Service, false),
        (Default, Batch, true),
        (Default, DefaultBatch, true),
        (DefaultService, Default, false),
        (DefaultService, Batch, true),
        (DefaultBatch, Default, true),
        (DefaultBatch, DefaultService, false),
        (DefaultBatch, Service, false),
        (Service, Batch, false),
        (Service, DefaultBatch, false),
        (Batch, Service, true),
        (Batch, Default, true),
    ] {
        let mount = Mount { token_type: mount_type, ..login_mount() };
        let mut auth = Auth { token_type: asked, ..ann() };
        s.login(&mount, &mut auth).unwrap();
        assert_eq!(auth.client_token.expose().starts_with("hvb."), batch, "{mount_type:?} {asked:?}");
        assert_eq!((auth.token_type == Batch, auth.renewable), (batch, !batch), "{mount_type:?} {asked:?}");
    }
    // A limit that a batch token cannot keep is not silently lost.
    let mount = Mount { token_type: Batch, ..login_mount() };
    for auth in [Auth { num_uses: 1, ..ann() }, Auth { period: Duration::from_secs(9), ..ann() }] {
        assert!(refusal(s.login(&mount, &mut { auth })).1.starts_with("batch tokens cannot have"));
    }
}

#[tokio::test]
async fn uses_run_out() {
    let mut s = Scene::new();
    let t = s.create(json!({"policies": ["a"], "num_uses": 2})).await;
    let token = t.client_token.expose().to_owned();
    let store = std::sync::Arc::clone(&s.store);
    let found = s.found(&token).unwrap();
    assert_eq!(store.spend_use(&mut s.view(), &found).unwrap(), UseLeft::More(1));
    assert_eq!(s.lookup(&token).await["num_uses"], 1);
    let found = s.found(&token).unwrap();
    assert_eq!(store.spend_use(&mut s.view(), &found).unwrap(), UseLeft::Last);
    assert!(s.found(&token).is_none(), "no further use");
    let now = s.h.now;
    let spent = store.find(&mut s.view(), &token, now).unwrap().unwrap();
    assert!(spent.entry.is_spent());
    assert!(store.spend_use(&mut s.view(), &spent).is_err());
    assert_eq!(refusal(s.as_root(Update, "renew", json!({"token": token})).await).1, "token not found");
    let root = s.root.expose().to_owned();
    let found = s.found(&root).unwrap();
    assert_eq!(store.spend_use(&mut s.view(), &found).unwrap(), UseLeft::Unlimited);
}

#[tokio::test]
async fn a_revocation_takes_everything_along() {
    let mut s = Scene::new();
    let before = s.h.txn.keys().len();
    let p = s.create(json!({"policies": ["a"], "ttl": "1h"})).await.client_token.expose().to_owned();
    let c = s.create_as(&p, false, "create", json!({})).await.unwrap().0.client_token.expose().to_owned();
    let cc = s.create_as(&c, false, "create", json!({})).await.unwrap().0.client_token.expose().to_owned();
    let b = s.create_as(&c, false, "create", json!({"type": "batch"})).await.unwrap().0.client_token.expose().to_owned();
    let found = s.found(&cc).unwrap();
    let box_id = found.entry.cubbyhole_id.clone();
    for path in ["x", "deep/er/y"] {
        s.view().put(&format!("cubbyhole/{box_id}/{path}"), SecretBytes::from(b"1".as_slice())).unwrap();
    }
    let mut secret = engine::LeasedSecret { register: true, ..engine::LeasedSecret::default() };
    let (now, mount) = (s.h.now, login_mount());
    let lease = NewLease { path: "db/creds/r", mount: &mount, owner: Some(&found), now, entropy: &secret::SeededEntropy::new(9) };
    Leases::register(&mut s.view(), &mut secret, &lease).unwrap();

    assert!(s.call_as(&c, false, Update, "revoke-self", json!({})).await.unwrap().is_none());
    for gone in [&c, &cc, &b] {
        assert!(s.found(gone).is_none());
    }
    assert!(s.found(&p).is_some(), "the parent stays");
    assert!(s.keys_below("cubbyhole/").is_empty());
    assert!(s.due().iter().any(|d| d.item == DueItem::Lease(secret.lease_id.clone())), "the lease is due now");
    Leases::remove(&mut s.view(), &secret.lease_id).unwrap();
    assert!(s.as_root(Update, "revoke", json!({"token": p})).await.unwrap().is_none());
    assert_eq!(s.h.txn.keys().len(), before, "nothing is left behind: {:?}", s.h.txn.keys());
    // Unknown now: done already.
    assert!(s.as_root(Update, "revoke", json!({"token": p})).await.unwrap().is_none());
    let t = s.create(json!({"policies": ["a"]})).await;
    assert!(s.as_root(Update, "revoke-accessor", json!({"accessor": t.accessor})).await.unwrap().is_none());
    let again = s.as_root(Update, "revoke-accessor", json!({"accessor": t.accessor})).await.unwrap().unwrap();
    assert_eq!(again.warnings, ["No token found with this accessor"]);
}

#[tokio::test]
async fn orphans_outlive_their_parent() {
    let mut s = Scene::new();
    let p = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    let c = s.create_as(&p, false, "create", json!({})).await.unwrap().0.client_token.expose().to_owned();
    let cc = s.create_as(&c, false, "create", json!({})).await.unwrap().0.client_token.expose().to_owned();
    let o = s.create_as(&p, true, "create", json!({"no_parent": true})).await.unwrap().0.client_token.expose().to_owned();
    assert!(s.as_root(Update, "revoke-orphan", json!({"token": p})).await.unwrap().is_none());
    assert!(s.found(&p).is_none());
    for alive in [&c, &cc, &o] {
        assert!(s.found(alive).is_some());
    }
    assert_eq!(s.lookup(&c).await["orphan"], true);
    assert_eq!(s.lookup(&cc).await["orphan"], false);
    s.revoke(&c, 100);
    assert!(s.found(&cc).is_none() && s.found(&o).is_some());
}

#[tokio::test]
async fn a_long_chain_and_a_wide_family_go_in_pieces() {
    let mut s = Scene::new();
    let top = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    let mut all = vec![top.clone()];
    for i in 0..60 {
        let parent = if i < 30 { all[all.len() - 1].clone() } else { all[5].clone() };
        all.push(s.create_as(&parent, false, "create", json!({})).await.unwrap().0.client_token.expose().to_owned());
    }
    let revoked = s.revoke(&top, 7);
    assert!(!revoked.done());
    assert!(s.found(&top).is_none(), "useless from the first step on");
    // Nobody calls again; the expiry worker finds the rest.
    s.expire_all(7);
    assert!(all.iter().all(|t| s.found(t).is_none()));
    assert_eq!(s.keys_below("sys/token/id/").len(), 1);
    assert!(s.keys_below("sys/expire/").is_empty() && s.keys_below("sys/token/parent/").is_empty());
}

#[tokio::test]
async fn an_interrupted_orphaning_never_takes_the_children() {
    let mut s = Scene::new();
    let p = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    let mut children = Vec::new();
    for _ in 0..20 {
        children.push(s.create_as(&p, false, "create", json!({})).await.unwrap().0.client_token.expose().to_owned());
    }
    let (store, now, key) = (std::sync::Arc::clone(&s.store), s.h.now, s.found(&p).unwrap().key);
    assert!(!store.revoke_orphan(&mut s.view(), &key, now, 5).unwrap().done());
    s.expire_all(5);
    assert!(s.found(&p).is_none() && children.iter().all(|c| s.found(c).is_some()));
    assert!(s.keys_below("sys/token/parent/").is_empty());
}

#[tokio::test]
async fn creation_writes_at_most_four_records_and_lookup_reads_one() {
    let mut s = Scene::new();
    let parent = s.create(json!({"policies": ["a"]})).await.client_token.expose().to_owned();
    let found = s.found(&parent).unwrap();
    let mut counting = Counting { inner: &mut s.h.txn, gets: 0, puts: 0 };
    let mut auth = ann();
    let spec = tokens::Issue {
        origin: tokens::Origin::Token,
        path: "auth/token/create",
        mount: &s.h.mount,
        parent: Some(&found),
        role: tokens::RoleLimits::default(),
        custom_id: None,
        now: s.h.now,
        entropy: &s.h.entropy,
    };
    s.store.issue(&mut View::new(&mut counting, ""), &mut auth, &spec).unwrap();
    assert_eq!((counting.gets, counting.puts), (0, 4));
    s.store.lookup(&mut View::new(&mut counting, ""), auth.client_token.expose(), s.h.now).unwrap().unwrap();
    assert_eq!((counting.gets, counting.puts), (1, 4));
}

#[tokio::test]
async fn tokens_have_leases_for_prefix_revocation() {
    let mut s = Scene::new();
    let t = s.create(json!({"policies": ["a"], "ttl": "1h"})).await;
    let names = Leases::list(&mut s.view(), "auth/token/create/", &storage::Page::default()).unwrap();
    assert_eq!(names.len(), 1);
    assert!(!names[0].contains(&t.accessor), "a lease id does not tell the accessor");
    let id = format!("auth/token/create/{}", names[0]);
    let now = s.h.now;
    let shown = Leases::show(&mut s.view(), &id, now).unwrap();
    assert_eq!((&shown["ttl"], &shown["renewable"], &shown["last_renewal"]), (&json!(3600), &json!(true), &json!(null)));
    assert_eq!(Leases::below(&mut s.view(), "auth/token", 10).unwrap(), [DueItem::Token(t.accessor.clone())]);
    assert!(Leases::renewable(&mut s.view(), &id, now).is_err());
    let record = s.view().get_json::<LeaseRecord>(&format!("sys/expire/id/{id}")).unwrap().unwrap();
    assert!(matches!(&*record, LeaseRecord::Token(key) if *key == t.accessor));
    assert!(s.as_root(Read, "lookup-self", json!({})).await.unwrap().is_some());
}

/// What a client may do, with tokens by their number.
#[derive(Debug, Clone)]
enum Step {
    Create { parent: usize, ttl: u64, explicit: u64, period: u64, orphan: bool },
    Renew { token: usize, increment: u64 },
    Revoke { token: usize },
    Orphan { token: usize },
    Wait { seconds: u64 },
    Work,
}

#[derive(Debug)]
struct Model {
    token: String,
    parent: Option<usize>,
    end: Time,
    limit: Option<Time>,
    revoked: bool,
}

const MAX_SECONDS: u64 = 1000;

fn step() -> impl Strategy<Value = Step> {
    let or_none = |max: u64| prop_oneof![Just(0), 1..max];
    prop_oneof![
        6 => (0..12usize, or_none(2000), or_none(800), prop_oneof![3 => Just(0), 1 => 1..300u64], proptest::bool::weighted(0.2))
            .prop_map(|(parent, ttl, explicit, period, orphan)| Step::Create { parent, ttl, explicit, period, orphan }),
        4 => (0..20usize, or_none(5000)).prop_map(|(token, increment)| Step::Renew { token, increment }),
        2 => (0..12usize).prop_map(|token| Step::Revoke { token }),
        1 => (0..20usize).prop_map(|token| Step::Orphan { token }),
        3 => prop_oneof![Just(1), Just(299), 1..400u64].prop_map(|seconds| Step::Wait { seconds }),
        2 => Just(Step::Work),
    ]
}

fn revoke_in(model: &mut [Model], i: usize) {
    model[i].revoked = true;
    let children: Vec<usize> = (0..model.len()).filter(|c| model[*c].parent == Some(i) && !model[*c].revoked).collect();
    for c in children {
        revoke_in(model, c);
    }
}

async fn run(steps: Vec<Step>) {
    let mut s = Scene::new();
    s.h.mount.default_lease_ttl = Duration::from_secs(400);
    s.h.mount.max_lease_ttl = Duration::from_secs(MAX_SECONDS);
    let mut model: Vec<Model> = Vec::new();
    for step in steps {
        let now = s.h.now;
        match step {
            Step::Create { parent, ttl, explicit, period, orphan } => {
                // The newest tokens first, so that trees grow deep.
                let parent = model.len().checked_sub(parent + 1).filter(|p| !model[*p].revoked && model[*p].end > now);
                let by = parent.map_or(s.root.expose().to_owned(), |p| model[p].token.clone());
                let body =
                    json!({"policies": ["a"], "ttl": ttl, "explicit_max_ttl": explicit, "period": period, "no_parent": orphan});
                let auth = s.create_as(&by, true, "create", body).await.unwrap().0;
                let caps = [MAX_SECONDS, if explicit == 0 { MAX_SECONDS } else { explicit }];
                let cap = *caps.iter().min().unwrap();
                assert!(auth.ttl.as_secs() <= cap && auth.ttl.as_secs() > 0);
                let limit = match (period, explicit) {
                    (0, _) => Some(cap),
                    (_, 0) => None,
                    (_, e) => Some(e),
                };
                model.push(Model {
                    token: auth.client_token.expose().to_owned(),
                    parent: parent.filter(|_| !orphan),
                    end: now.plus(auth.ttl),
                    limit: limit.map(|l| now.plus(Duration::from_secs(l))),
                    revoked: false,
                });
            }
            Step::Renew { token, increment } => {
                let Some(m) = model.get_mut(token) else { continue };
                let live = !m.revoked && m.end > now;
                let outcome = s.as_root(Update, "renew", json!({"token": m.token, "increment": increment})).await;
                assert_eq!(outcome.is_ok(), live, "a dead token never comes back: {outcome:?}");
                if let Ok(Some(answer)) = outcome {
                    m.end = now.plus(answer.auth.unwrap().ttl);
                }
            }
            Step::Revoke { token } => {
                let Some(m) = model.get(token) else { continue };
                let live = !m.revoked && m.end > now;
                s.as_root(Update, "revoke", json!({"token": m.token})).await.unwrap();
                if live {
                    revoke_in(&mut model, token);
                }
            }
            Step::Orphan { token } => {
                let Some(m) = model.get(token) else { continue };
                let live = !m.revoked && m.end > now;
                assert_eq!(s.as_root(Update, "revoke-orphan", json!({"token": m.token})).await.is_ok(), live);
                if live {
                    model[token].revoked = true;
                    model.iter_mut().filter(|c| c.parent == Some(token)).for_each(|c| c.parent = None);
                }
            }
            Step::Wait { seconds } => s.advance(seconds),
            Step::Work => {
                s.expire_all(1000);
                for i in 0..model.len() {
                    if !model[i].revoked && model[i].end <= now {
                        revoke_in(&mut model, i);
                    }
                }
            }
        }
        let now = s.h.now;
        for m in &model {
            let live = !m.revoked && m.end > now;
            assert_eq!(s.found(&m.token).is_some(), live, "{m:?} at {now:?}");
            assert!(m.limit.is_none_or(|limit| m.end <= limit), "{m:?}");
            assert!(m.end.since(now).as_secs() <= MAX_SECONDS, "{m:?}");
        }
    }
    s.advance(100 * MAX_SECONDS);
    s.expire_all(3);
    assert_eq!(s.keys_below("sys/token/id/").len(), 1, "only root is left");
    assert!(s.keys_below("sys/expire/").is_empty() && s.keys_below("sys/token/parent/").is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_token_outlives_its_limits_or_its_parent(steps in proptest::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(run(steps));
    }
}
