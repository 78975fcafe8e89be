//! What responders say of a client's certificate, and what is made of it. Responders are closures, and one is on the loopback.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

mod common;

use std::sync::{Arc, Mutex};

use api_types::Operation::{Read, Update};
use auth_cert::{Cert, Fetch, FetchError, HttpFetch};
use engine::testing::Harness;
use rcgen::{CertifiedIssuer, ExtendedKeyUsagePurpose, KeyPair};
use secret::Time;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use common::answers::{Answer, GOOD, HOUR, NOW, Responders, UNKNOWN, by_key, by_name, revoked, tlv, with_aia};
use common::{Authority, CONSTRAINED, authority, client, login, params, renew, root, signed, trust};

const URL: &str = "http://ocsp.test/";

struct Scene {
    h: Harness<Cert>,
    responders: Arc<Responders>,
    root: Authority,
    leaf: rcgen::Certificate,
}

impl Scene {
    async fn new(more: Value) -> Self {
        let responders = Arc::new(Responders::default());
        let mut h = Harness::new(Cert::new(Arc::clone(&responders) as Arc<dyn Fetch>));
        h.now = Time::from_unix(NOW);
        let root = root("root");
        let leaf = signed(&with_aia("a", 2, &[URL]), &root);
        let mut scene = Self { h, responders, root, leaf };
        scene.role(more).await;
        scene
    }

    async fn role(&mut self, more: Value) {
        let mut data = json!({"ocsp_enabled": true});
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        trust(&mut self.h, "web", &self.root.pem(), data).await;
    }

    /// Whether the certificate logs in; a refusal has the one text.
    async fn passes(&mut self) -> bool {
        let leaf = self.leaf.clone();
        self.with(&[&leaf]).await
    }

    async fn with(&mut self, chain: &[&rcgen::Certificate]) -> bool {
        match login(&mut self.h, chain, "").await {
            Ok(_) => true,
            Err(text) => {
                assert_eq!(text, CONSTRAINED);
                false
            }
        }
    }
}

#[tokio::test]
async fn good_passes_revoked_does_not_and_unknown_only_fails_open() {
    for (status, closed, open) in [(GOOD.to_vec(), true, true), (revoked(), false, false), (UNKNOWN.to_vec(), false, true)] {
        for (fail_open, want) in [(false, closed), (true, open)] {
            let mut s = Scene::new(json!({"ocsp_fail_open": fail_open})).await;
            s.responders.say(URL, Answer::by(&s.root, &status));
            assert_eq!(s.passes().await, want, "{status:?} {fail_open}");
            assert_eq!(s.responders.asked(), 1);
        }
    }
}

#[tokio::test]
async fn cve_class_j_a_responder_that_is_down_refuses_unless_the_role_fails_open() {
    let mut s = Scene::new(json!({})).await;
    assert!(!s.passes().await);
    assert_eq!(s.responders.asked(), 5, "once, and the four retries");
    s.role(json!({"ocsp_max_retries": 0, "ocsp_fail_open": true})).await;
    assert!(s.passes().await);
    assert_eq!(s.responders.asked(), 1);
    s.role(json!({"ocsp_max_retries": 1_000_000, "ocsp_fail_open": false})).await;
    assert!(!s.passes().await);
    assert_eq!(s.responders.asked(), 10, "a bound of ours");
    // It says itself that it cannot answer: tryLater.
    s.responders.set(URL, |_| Ok(vec![0x30, 3, 0x0a, 1, 3]));
    assert!(!s.passes().await);
    s.role(json!({"ocsp_fail_open": true})).await;
    assert!(s.passes().await);
    // Nobody is named.
    let unnamed = signed(&client("a", 3), &s.root);
    assert!(s.with(&[&unnamed]).await);
    s.role(json!({"ocsp_fail_open": false})).await;
    assert!(!s.with(&[&unnamed]).await);
}

#[tokio::test]
async fn cve_2024_2660_class_j_answers_that_prove_nothing_refuse_even_if_the_role_fails_open() {
    let s = Scene::new(json!({})).await;
    let stranger = root("root");
    let base = Answer::by(&s.root, GOOD);
    let other = |f: &dyn Fn(&mut Answer)| {
        let mut answer = base.clone();
        f(&mut answer);
        answer
    };
    let critical = tlv(0xa1, &[&tlv(0x30, &[&tlv(0x30, &[&[6, 2, 0x2a, 3], &[1, 1, 0xff], &[4, 0]])])]);
    let cases = [
        ("signed by another key of the same name", Answer::by(&stranger, GOOD)),
        ("spoiled signature", other(&|a| a.spoil = |der| [&der[..der.len() - 1], &[der[der.len() - 1] ^ 1]].concat())),
        ("something left over", other(&|a| a.spoil = |der| [&der[..], &[0]].concat())),
        ("cut off", other(&|a| a.spoil = |der| der[..der.len() / 2].to_vec())),
        ("no bytes", other(&|a| a.spoil = |_| vec![])),
        ("successful without an answer", other(&|a| a.spoil = |_| vec![0x30, 3, 0x0a, 1, 0])),
        ("says that somebody else signed, by name", other(&|a| a.responder = tlv(0xa1, &[&[0x30, 0]]))),
        ("says that somebody else signed, by key", other(&|a| a.responder = by_key(stranger.der()))),
        (
            "another serial number",
            other(&|a| {
                a.id = |mut id| {
                    *id.last_mut().unwrap() ^= 1;
                    id
                }
            }),
        ),
        (
            "another issuer's key",
            other(&|a| {
                a.id = |mut id| {
                    let at = id.len() - 5;
                    id[at] ^= 1;
                    id
                }
            }),
        ),
        (
            "another issuer's name",
            other(&|a| {
                a.id = |mut id| {
                    id[20] ^= 1;
                    id
                }
            }),
        ),
        ("over", other(&|a| a.next = Some(-1))),
        ("over before it began", other(&|a| (a.this, a.next) = (60, Some(30)))),
        ("from the future", other(&|a| (a.this, a.next) = (HOUR, Some(2 * HOUR)))),
        ("old and for ever", other(&|a| (a.this, a.next) = (-25 * HOUR, None))),
        ("a critical extension nobody knows", other(&|a| a.extensions = critical.clone())),
        ("a status that does not exist", other(&|a| a.status = vec![0x83, 0])),
        ("the client's own word", Answer { certificates: vec![s.leaf.der().to_vec()], ..Answer::by(&stranger, GOOD) }),
    ];
    for (what, answer) in cases {
        let mut s = Scene { h: Harness::new(Cert::new(Arc::clone(&s.responders) as Arc<dyn Fetch>)), ..clone(&s) };
        s.h.now = Time::from_unix(NOW);
        s.responders.say(URL, answer);
        for fail_open in [false, true] {
            s.role(json!({"ocsp_fail_open": fail_open})).await;
            assert!(!s.passes().await, "{what}, {fail_open}");
        }
        // What was not believed is not kept either.
        s.responders.say(URL, base.clone());
        assert!(s.passes().await, "{what}: the honest answer");
    }
}

/// The same authority and client; the engine is replaced by the caller.
fn clone(s: &Scene) -> Scene {
    let key = KeyPair::try_from(s.root.key().serialized_der()).unwrap();
    Scene {
        h: Harness::new(Cert::new(Arc::clone(&s.responders) as Arc<dyn Fetch>)),
        responders: Arc::clone(&s.responders),
        root: CertifiedIssuer::self_signed(authority("root", 1), key).unwrap(),
        leaf: s.leaf.clone(),
    }
}

#[tokio::test]
async fn cve_2024_2660_class_j_a_delegate_speaks_only_if_the_issuer_named_it_for_ocsp() {
    let s = Scene::new(json!({})).await;
    let stranger = root("root");
    let key = KeyPair::generate().unwrap();
    let delegate = |name: &str, serial: u64| {
        let mut p = params(name, serial);
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        p
    };
    let make = |p: &rcgen::CertificateParams, by: &Authority| p.signed_by(&key, by).unwrap().der().to_vec();
    let mut old = delegate("ocsp", 60);
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let mut any = delegate("ocsp", 61);
    any.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    let middle = CertifiedIssuer::signed_by(authority("middle", 62), KeyPair::generate().unwrap(), &s.root).unwrap();
    let fair = make(&delegate("ocsp", 50), &s.root);
    let revoked_one = make(&delegate("ocsp", 99), &s.root);
    for (what, cert, want) in [
        ("named for it", fair.clone(), true),
        ("of another authority of the same name", make(&delegate("ocsp", 50), &stranger), false),
        ("for clients", make(&client("ocsp", 51), &s.root), false),
        ("for nothing in particular", make(&params("ocsp", 52), &s.root), false),
        ("for anything", make(&any, &s.root), false),
        ("expired", make(&old, &s.root), false),
        ("of an authority in between", make(&delegate("ocsp", 53), &middle), false),
        ("signed by itself", delegate("ocsp", 54).self_signed(&key).unwrap().der().to_vec(), false),
        ("an authority", make(&authority("ocsp", 55), &s.root), false),
        ("revoked", revoked_one, false),
    ] {
        let mut s = clone(&s);
        s.h.now = Time::from_unix(NOW);
        s.role(json!({"ocsp_fail_open": true})).await;
        s.h.call(Update, "crls/x", json!({"crl": crl(&s.root, 99)})).await.unwrap();
        let mut answer = Answer::new(&key, &cert, GOOD);
        answer.certificates = vec![middle.der().to_vec(), cert.clone()];
        for responder in [by_name(&cert), by_key(&cert)] {
            s.responders.say(URL, Answer { responder, ..answer.clone() });
            assert_eq!(s.passes().await, want, "{what}");
        }
    }
    // It must come along.
    let mut s = clone(&s);
    s.h.now = Time::from_unix(NOW);
    s.role(json!({})).await;
    s.responders.say(URL, Answer::new(&key, &fair, GOOD));
    assert!(!s.passes().await);
}

fn crl(by: &Authority, serial: u64) -> String {
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(2039, 1, 1),
        crl_number: 1_u64.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: serial.into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    list.signed_by(by).unwrap().pem().unwrap()
}

#[tokio::test]
async fn responders_that_the_role_names_may_sign_and_vouch_for_a_certificate_trusted_itself() {
    let mut s = Scene::new(json!({})).await;
    let house = root("house");
    s.responders.say(URL, Answer::by(&house, GOOD));
    assert!(!s.passes().await);
    s.role(json!({"ocsp_ca_certificates": "garbage"})).await;
    assert!(!s.passes().await);
    s.role(json!({"ocsp_ca_certificates": house.pem()})).await;
    assert!(s.passes().await);
    // Another role of the mount does not believe it, kept or not.
    trust(&mut s.h, "web", &s.root.pem(), json!({"ocsp_ca_certificates": ""})).await;
    assert!(!s.passes().await);
    // A pinned certificate: its issuer must be known, and is not what the client says.
    s.responders.say(URL, Answer::by(&s.root, GOOD));
    let (pinned, root) = (s.leaf.clone(), s.root.pem());
    trust(&mut s.h, "web", &pinned.pem(), json!({})).await;
    let sent: &rcgen::Certificate = s.root.as_ref();
    let sent = sent.clone();
    assert!(!s.with(&[&pinned, &sent]).await);
    trust(&mut s.h, "web", &pinned.pem(), json!({"ocsp_ca_certificates": root})).await;
    assert!(s.with(&[&pinned]).await);
}

#[tokio::test]
async fn an_intermediate_answers_for_what_it_issued() {
    let mut s = Scene::new(json!({})).await;
    let middle = CertifiedIssuer::signed_by(authority("middle", 40), KeyPair::generate().unwrap(), &s.root).unwrap();
    let below = signed(&with_aia("b", 5, &[URL]), &middle);
    s.responders.say(URL, Answer::by(&s.root, GOOD));
    assert!(!s.with(&[&below, middle.as_ref()]).await, "the root is not the issuer");
    s.responders.say(URL, Answer::by(&middle, GOOD));
    assert!(s.with(&[&below, middle.as_ref()]).await);
}

#[tokio::test]
async fn the_first_that_knows_decides_or_all_must_agree() {
    let named = json!(["http://one.test/", "http://two.test/"]);
    let (down, wrong): (Option<Vec<u8>>, _) = (None, b"wrong".to_vec());
    let (good, gone, unknown) = (Some(GOOD.to_vec()), Some(revoked()), Some(UNKNOWN.to_vec()));
    let wrong = Some(wrong);
    for (one, two, all, fail_open, want) in [
        (&good, &down, false, false, true),
        (&down, &good, false, false, true),
        (&unknown, &good, false, false, true),
        (&wrong, &good, false, false, true),
        (&wrong, &down, false, true, false),
        (&down, &wrong, false, true, false),
        (&down, &gone, false, true, false),
        (&gone, &good, false, true, false),
        (&good, &gone, false, false, true),
        (&good, &good, true, false, true),
        (&good, &gone, true, true, false),
        (&gone, &good, true, true, false),
        (&good, &down, true, false, false),
        (&good, &down, true, true, true),
        (&good, &unknown, true, false, false),
        (&unknown, &gone, true, true, false),
        (&wrong, &down, true, true, false),
        (&good, &wrong, true, true, false),
    ] {
        let settings = json!({"ocsp_servers_override": named, "ocsp_query_all_servers": all, "ocsp_fail_open": fail_open});
        let mut s = Scene::new(settings).await;
        for (url, status) in [("http://one.test/", one), ("http://two.test/", two)] {
            if let Some(status) = status {
                s.responders.say(url, Answer::by(&s.root, status));
            }
        }
        for round in ["asked", "kept"] {
            assert_eq!(s.passes().await, want, "{one:?} {two:?} all {all} open {fail_open} {round}");
        }
        assert!(!s.responders.asked.lock().unwrap().iter().any(|url| url == URL), "the certificate's own is overridden");
    }
}

#[tokio::test]
async fn answers_are_kept_until_their_next_update_and_age_with_the_role() {
    let mut s = Scene::new(json!({})).await;
    s.responders.say(URL, Answer::by(&s.root, GOOD));
    assert!(s.passes().await && s.passes().await);
    assert_eq!(s.responders.asked(), 1);
    s.responders.say(URL, Answer::by(&s.root, &revoked()));
    assert!(s.passes().await, "kept");
    s.role(json!({"ocsp_this_update_max_age": "30m"})).await;
    assert!(!s.passes().await, "both answers are an hour old");
    assert_eq!(s.responders.asked(), 1);
    s.role(json!({"ocsp_this_update_max_age": 0})).await;
    s.h.now = Time::from_unix(NOW + HOUR + 1);
    let later = Answer { this: HOUR, next: Some(9 * HOUR), ..Answer::by(&s.root, &revoked()) };
    s.responders.say(URL, later);
    assert!(!s.passes().await && !s.passes().await);
    assert_eq!(s.responders.asked(), 1, "revoked is kept too");
    // Without a next update every login asks.
    s.h.now = Time::from_unix(NOW + 10 * HOUR);
    let fleeting = Answer { this: 10 * HOUR - 60, next: None, ..Answer::by(&s.root, GOOD) };
    s.responders.say(URL, fleeting);
    assert!(s.passes().await && s.passes().await);
    assert_eq!(s.responders.asked(), 2);
    s.role(json!({"ocsp_this_update_max_age": "30s"})).await;
    assert!(!s.passes().await);
}

#[tokio::test]
async fn nobody_is_asked_without_need() {
    let mut s = Scene::new(json!({"ocsp_enabled": false})).await;
    assert!(s.passes().await);
    s.role(json!({"allowed_common_names": "other"})).await;
    assert!(!s.passes().await, "a constraint");
    let stranger = signed(&with_aia("a", 2, &[URL]), &root("root"));
    assert!(login(&mut s.h, &[&stranger], "").await.is_err(), "nobody trusts it");
    assert_eq!(s.responders.asked(), 0);
    let shown = s.h.data(Read, "certs/web", json!({})).await.unwrap();
    assert_eq!((&shown["ocsp_enabled"], &shown["ocsp_max_retries"]), (&json!(true), &json!(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cve_class_j_a_renewal_asks_too() {
    let mut s = Scene::new(json!({"token_policies": "p", "ocsp_max_retries": 0})).await;
    s.responders.say(URL, Answer::by(&s.root, GOOD));
    let leaf = s.leaf.clone();
    let auth = login(&mut s.h, &[&leaf], "").await.unwrap();
    assert!(renew(&mut s.h, &[&leaf], &auth).is_ok());
    assert_eq!(s.responders.asked(), 1, "kept");
    s.h.now = Time::from_unix(NOW + 2 * HOUR);
    assert!(renew(&mut s.h, &[&leaf], &auth).is_err(), "over");
    assert_eq!(s.responders.asked(), 1);
    let later = |status: &[u8]| Answer { this: HOUR, next: None, ..Answer::by(&s.root, status) };
    let (fair, gone) = (later(GOOD), later(&revoked()));
    s.responders.say(URL, Answer { this: 2 * HOUR - 1, ..fair });
    assert!(renew(&mut s.h, &[&leaf], &auth).is_ok());
    s.responders.say(URL, gone);
    assert_eq!(renew(&mut s.h, &[&leaf], &auth).unwrap_err().to_string(), CONSTRAINED);
}

#[tokio::test]
async fn a_renewal_that_cannot_wait_is_refused() {
    let mut s = Scene::new(json!({})).await;
    s.responders.say(URL, Answer { next: None, this: -1, ..Answer::by(&s.root, GOOD) });
    let leaf = s.leaf.clone();
    let auth = login(&mut s.h, &[&leaf], "").await.unwrap();
    let refusal = renew(&mut s.h, &[&leaf], &auth).unwrap_err().to_string();
    assert_eq!(refusal, "no OCSP responder can be asked here, not renewing");
}

/// Answers every connection on the loopback with one body, and says what it was asked.
async fn on_the_loopback(body: Vec<u8>, times: usize) -> (String, tokio::task::JoinHandle<Vec<Vec<u8>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut asked = Vec::new();
        for _ in 0..times {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut part = [0; 4096];
            let ends = |r: &[u8]| r.windows(4).position(|w| w == b"\r\n\r\n").is_some_and(|at| r.len() > at + 4);
            while !ends(&request) {
                let n = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..n]);
            }
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // An oversize answer is not read to its end.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            asked.push(request);
        }
        asked
    });
    (url, serving)
}

#[tokio::test]
async fn cve_class_j_over_http_an_answer_is_posted_for_and_bounded() {
    let mut s = Scene::new(json!({})).await;
    s.h.engine = Cert::new(Arc::new(HttpFetch::default()));
    // The question, from a responder that is not there, makes the answer.
    let asked: Arc<Mutex<Vec<u8>>> = Arc::default();
    let mut probe = clone(&s);
    probe.h.now = Time::from_unix(NOW);
    probe.role(json!({"ocsp_max_retries": 0})).await;
    let heard = Arc::clone(&asked);
    probe.responders.set(URL, move |id| {
        *heard.lock().unwrap() = id.to_vec();
        Err(FetchError("down".into()))
    });
    assert!(!probe.passes().await);
    let id = asked.lock().unwrap().clone();
    let answer = Answer::by(&s.root, GOOD).der(&id);
    let (url, serving) = on_the_loopback(answer, 1).await;
    s.role(json!({"ocsp_servers_override": url, "ocsp_max_retries": 0})).await;
    assert!(s.passes().await);
    let request = serving.await.unwrap().remove(0);
    let text = String::from_utf8_lossy(&request);
    assert!(text.starts_with("POST /ocsp HTTP/1.1\r\n"), "{text}");
    assert!(text.contains("content-type: application/ocsp-request\r\n"), "{text}");
    assert!(request.windows(id.len()).any(|w| w == id));

    let (url, serving) = on_the_loopback(vec![0x30; 65 << 10], 2).await;
    for (fail_open, want) in [(false, false), (true, true)] {
        s.role(json!({"ocsp_servers_override": url, "ocsp_fail_open": fail_open})).await;
        assert_eq!(s.passes().await, want, "oversize is no answer");
    }
    serving.await.unwrap();
    s.role(json!({"ocsp_servers_override": "http://169.254.169.254/", "ocsp_fail_open": false})).await;
    assert!(!s.passes().await);
}
