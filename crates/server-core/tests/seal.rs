//! Ceremonies of the seal over a whole core: new shares, a new root token, OpenPGP, recovery shares, and the age of the data key.
//! CVE class F: who cannot name the nonce changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step fails the test"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use api_types::Operation;
use common::{Server, registry};
use secret::{Clock, ManualClock, SecretBytes, SystemEntropy, Time};
use serde_json::{Value, json};
use server_core::{
    CeremonyError, Core, CoreConfig, FailureKind, GenerateRootRequest, InitRequest, NodeState, RekeyRequest, RekeyTarget,
    SealError, Seals,
};

const BARRIER: RekeyTarget = RekeyTarget::Barrier;
/// A public key made with gpg for this test: ed25519 to sign, cv25519 to encrypt, without an end.
const PGP_KEY: &str = include_str!("data/pgp-key.b64");

struct Cluster {
    core: Arc<Core>,
    clock: Arc<ManualClock>,
    shares: Vec<SecretBytes>,
    root: String,
}

impl Cluster {
    /// `seals` empty: three shares of which two open. Else three recovery shares of which two decide.
    async fn start(seals: Seals) -> Self {
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let is_outer = seals.active.is_some();
        let config = CoreConfig { seals, ..CoreConfig::default() };
        let settings = replication::Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        let ticking: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let store = Arc::new(storage::MemoryStore::default());
        let core = Core::start(store, settings, config, registry(), ticking, Arc::new(SystemEntropy)).await.unwrap();
        let request = match is_outer {
            false => InitRequest { secret_shares: 3, secret_threshold: 2, ..InitRequest::default() },
            true => InitRequest { recovery_shares: 3, recovery_threshold: 2, ..InitRequest::default() },
        };
        let made = core.init(request).await.unwrap();
        let shares = if is_outer { made.recovery_shares } else { made.shares };
        let cluster = Self { core, clock, shares, root: made.root_token.expose().to_owned() };
        if !is_outer {
            cluster.unseal(&cluster.shares[..2]).await.unwrap();
        }
        cluster
    }

    async fn unseal(&self, shares: &[SecretBytes]) -> Result<(), SealError> {
        for share in shares {
            self.core.unseal(share.clone(), false).await?;
        }
        Ok(())
    }

    /// Starts a rekey; its nonce.
    async fn rekey(&self, target: RekeyTarget, request: RekeyRequest) -> String {
        text(&self.core.rekey_init(target, request).await.unwrap(), "/nonce")
    }

    async fn give(&self, target: RekeyTarget, nonce: &str, share: &SecretBytes) -> Result<Value, CeremonyError> {
        self.core.rekey_update(target, nonce, share.clone()).await.map(|u| serde_json::to_value(u).unwrap())
    }

    async fn has_root(&self, token: &str) -> bool {
        let mut request = engine::Request::new(Operation::Read, "sys/policy");
        request.token = token.into();
        matches!(self.core.handle(request).await.into_inner(), server_core::Answer::Response { .. })
    }
}

fn text(value: &impl serde::Serialize, pointer: &str) -> String {
    serde_json::to_value(value).unwrap().pointer(pointer).and_then(Value::as_str).unwrap().to_owned()
}

fn keys(answer: &Value) -> Vec<SecretBytes> {
    answer["keys"].as_array().unwrap().iter().map(|k| SecretBytes::new(hex::decode(k.as_str().unwrap()).unwrap())).collect()
}

fn two_of_two() -> RekeyRequest {
    RekeyRequest { secret_shares: 2, secret_threshold: 2, ..RekeyRequest::default() }
}

fn fixed_seal() -> Seals {
    let seal = autoseal::StaticSeal::new(("k1", &"ab".repeat(32)), ("", "")).unwrap();
    Seals { active: Some(Arc::new(seal)), retiring: None }
}

#[tokio::test]
async fn class_f_without_the_nonce_nobody_gives_or_cancels() {
    let c = Cluster::start(Seals::default()).await;
    let nonce = c.rekey(BARRIER, two_of_two()).await;
    c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap();
    for wrong in ["", "x", "00000000-0000-4000-8000-000000000000"] {
        let refused = c.core.rekey_cancel(BARRIER, wrong).await.unwrap_err();
        assert_eq!(
            (refused.failure().kind, refused.to_string().as_str()),
            (FailureKind::Invalid, "invalid request"),
            "{wrong:?}"
        );
        let refused = c.give(BARRIER, wrong, &c.shares[1]).await.unwrap_err();
        assert!(refused.to_string().starts_with("incorrect nonce supplied"), "{refused}");
    }
    assert_eq!(serde_json::to_value(c.core.rekey_status(BARRIER).await.unwrap()).unwrap()["progress"], 1);
    // After ten minutes it may be cleared away without the nonce, but not with a wrong one.
    c.clock.advance(Duration::from_secs(599));
    assert!(c.core.rekey_cancel(BARRIER, "").await.is_err());
    c.clock.advance(Duration::from_secs(1));
    assert!(c.core.rekey_cancel(BARRIER, "x").await.is_err());
    c.core.rekey_cancel(BARRIER, "").await.unwrap();
    assert!(!serde_json::to_value(c.core.rekey_status(BARRIER).await.unwrap()).unwrap()["started"].as_bool().unwrap());
}

#[tokio::test]
async fn bad_shares_do_not_end_a_rekey_and_the_right_ones_finish_it() {
    let c = Cluster::start(Seals::default()).await;
    let nonce = c.rekey(BARRIER, two_of_two()).await;
    let bytes = |byte: u8, n: usize| SecretBytes::new(vec![byte; n]);
    for (share, part) in
        [(bytes(1, 15), "key is shorter than minimum 16 bytes"), (bytes(1, 34), "key is longer than maximum 33 bytes")]
    {
        assert_eq!(c.give(BARRIER, &nonce, &share).await.unwrap_err().to_string(), part);
    }
    c.give(BARRIER, &nonce, &bytes(1, 33)).await.unwrap();
    let wrong = c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap_err();
    assert!(wrong.to_string().starts_with("failed to read root key: invalid key:"), "{wrong}");
    assert_eq!(wrong.failure().kind, FailureKind::Internal, "as in Vault");
    c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap();
    assert!(c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap_err().to_string().contains("already been provided"));
    let done = c.give(BARRIER, &nonce, &c.shares[2]).await.unwrap();
    assert_eq!((&done["complete"], done["keys"].as_array().unwrap().len()), (&json!(true), 2));
    let fresh = keys(&done);
    c.core.seal().await;
    assert!(matches!(c.unseal(&c.shares[..2]).await, Err(SealError::Key(_))));
    assert_eq!(c.core.state(), NodeState::Sealed);
    c.unseal(&fresh).await.unwrap();
    assert!(c.has_root(&c.root).await, "the data are as they were");
}

#[tokio::test]
async fn until_they_are_verified_new_shares_open_nothing() {
    let c = Cluster::start(Seals::default()).await;
    let nonce = c.rekey(BARRIER, RekeyRequest { require_verification: true, ..two_of_two() }).await;
    c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap();
    let done = c.give(BARRIER, &nonce, &c.shares[1]).await.unwrap();
    let (fresh, verification) = (keys(&done), text(&done, "/verification_nonce"));
    let again = c.give(BARRIER, &nonce, &c.shares[1]).await.unwrap_err();
    assert!(again.to_string().starts_with("rekey operation already finished; verification must be performed"), "{again}");
    for (nonce, part) in [("x", "incorrect nonce"), (nonce.as_str(), "incorrect nonce")] {
        let refused = c.core.rekey_verify(BARRIER, nonce, fresh[0].clone()).await.unwrap_err();
        assert!(refused.to_string().starts_with(part), "{refused}");
    }
    c.core.rekey_verify(BARRIER, &verification, fresh[0].clone()).await.unwrap();
    let wrong = c.core.rekey_verify(BARRIER, &verification, c.shares[0].clone()).await.unwrap_err();
    assert_eq!(wrong.to_string(), "rekey verification failed; incorrect key shares supplied");
    let status = c.core.rekey_verify_status(BARRIER).await.unwrap();
    let verification = text(&status, "/nonce");
    for share in &fresh {
        c.core.rekey_verify(BARRIER, &verification, share.clone()).await.unwrap();
    }
    assert!(c.core.rekey_verify_status(BARRIER).await.is_err());
    c.core.seal().await;
    c.unseal(&fresh).await.unwrap();
}

#[tokio::test]
async fn sealing_forgets_a_rekey_and_the_old_shares_stay() {
    let c = Cluster::start(Seals::default()).await;
    let nonce = c.rekey(BARRIER, two_of_two()).await;
    c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap();
    c.core.seal().await;
    assert!(matches!(c.core.rekey_status(BARRIER).await, Err(CeremonyError::Sealed)));
    assert!(matches!(c.core.generate_root_status().await, Err(CeremonyError::Sealed)));
    c.unseal(&c.shares[1..]).await.unwrap();
    assert_eq!(c.give(BARRIER, &nonce, &c.shares[1]).await.unwrap_err().to_string(), "no barrier rekey in progress");
}

#[tokio::test]
async fn shares_and_root_tokens_leave_encrypted_and_are_kept_on_demand() {
    let c = Cluster::start(Seals::default()).await;
    let key = PGP_KEY.trim().to_owned();
    for (request, part) in [
        (RekeyRequest { backup: true, ..two_of_two() }, "cannot request a backup"),
        (RekeyRequest { pgp_keys: vec![key.clone()], ..two_of_two() }, "incorrect number of PGP keys for rekey"),
        (
            RekeyRequest { pgp_keys: vec![key.clone(), "x!".into()], ..two_of_two() },
            "invalid rekey seal configuration: error decoding",
        ),
        (
            RekeyRequest { pgp_keys: vec![key.clone(), "AAAA".into()], ..two_of_two() },
            "invalid rekey seal configuration: error parsing",
        ),
    ] {
        let refused = c.core.rekey_init(BARRIER, request).await.unwrap_err();
        assert!(refused.to_string().starts_with(part), "{refused}");
    }
    let request = RekeyRequest { pgp_keys: vec![key.clone(), key.clone()], backup: true, ..two_of_two() };
    let nonce = c.rekey(BARRIER, request).await;
    c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap();
    let done = c.give(BARRIER, &nonce, &c.shares[1]).await.unwrap();
    let fingerprint = done["pgp_fingerprints"][0].as_str().unwrap();
    assert!(fingerprint.len() == 40 && fingerprint == fingerprint.to_lowercase());
    assert!(keys(&done).iter().all(|message| message.len() > 100), "a message, not a share");
    let mut request = engine::Request::new(Operation::Read, "sys/rekey/backup");
    request.token = c.root.as_str().into();
    let server_core::Answer::Response { response, inject, .. } = c.core.handle(request).await.into_inner() else { panic!() };
    let kept = response.data.unwrap().to_map();
    assert_eq!((kept["nonce"].as_str().unwrap(), &kept["keys"][fingerprint], inject), (nonce.as_str(), &done["keys"], true));
    assert!(matches!(
        c.core.generate_root_init(GenerateRootRequest { pgp_key: "AAAA".into(), ..GenerateRootRequest::default() }).await,
        Err(CeremonyError::Invalid(_))
    ));
}

#[tokio::test]
async fn recovery_shares_decide_beside_an_outer_seal() {
    let c = Cluster::start(fixed_seal()).await;
    assert_eq!(c.core.state(), NodeState::Active, "open without anybody's help");
    let otp = "a".repeat(28);
    let begin = async || {
        let request = GenerateRootRequest { otp: otp.as_str().into(), ..GenerateRootRequest::default() };
        text(&c.core.generate_root_init(request).await.unwrap(), "/nonce")
    };
    let nonce = begin().await;
    c.core.generate_root_update(&nonce, SecretBytes::new(vec![1; 33])).await.ok().unwrap();
    let wrong = c.core.generate_root_update(&nonce, c.shares[0].clone()).await.err().unwrap();
    assert!(wrong.to_string().contains("recovery key does not match"), "{wrong}");
    c.core.generate_root_update(&nonce, c.shares[0].clone()).await.ok().unwrap();
    let done = c.core.generate_root_update(&nonce, c.shares[2].clone()).await.ok().unwrap();
    let encoded = text(&done, "/encoded_token");
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, encoded).unwrap();
    let token = String::from_utf8(bytes.iter().map(|b| b ^ b'a').collect()).unwrap();
    assert!(c.has_root(&token).await && !c.has_root("hvs.other").await);
    let refused = c.core.rekey_init(BARRIER, RekeyRequest { require_verification: true, ..two_of_two() }).await.unwrap_err();
    assert!(refused.to_string().starts_with("requiring verification not supported"), "{refused}");
    let nonce = c.rekey(RekeyTarget::Recovery, two_of_two()).await;
    c.give(RekeyTarget::Recovery, &nonce, &c.shares[0]).await.unwrap();
    let fresh = keys(&c.give(RekeyTarget::Recovery, &nonce, &c.shares[1]).await.unwrap());
    let nonce = c.rekey(BARRIER, two_of_two()).await;
    c.give(BARRIER, &nonce, &fresh[0]).await.unwrap();
    assert_eq!(c.give(BARRIER, &nonce, &fresh[1]).await.unwrap()["keys"], json!([]));
    c.core.seal().await;
    assert!(matches!(c.unseal(&c.shares[..2]).await, Err(SealError::Key(_))), "the old recovery shares decide nothing");
    assert!(matches!(c.core.unseal(fresh[0].clone(), true).await, Err(SealError::NoMigration)));
    c.unseal(&fresh).await.unwrap();
    assert!(c.has_root(&c.root).await);
}

/// A seal that can be taken away.
struct Loseable {
    inner: autoseal::StaticSeal,
    is_gone: std::sync::atomic::AtomicBool,
}

impl Loseable {
    fn gone(&self) -> Option<autoseal::SealFault> {
        let is_gone = self.is_gone.load(std::sync::atomic::Ordering::SeqCst);
        is_gone.then(|| autoseal::SealFault::Away { seal: "static", why: "gone".into() })
    }
}

impl autoseal::SealWrapper for Loseable {
    fn seal_type(&self) -> &'static str {
        "static"
    }

    fn wrap<'a>(
        &'a self,
        plain: &'a SecretBytes,
        entropy: &'a dyn secret::Entropy,
    ) -> autoseal::BoxFuture<'a, Result<autoseal::Blob, autoseal::SealFault>> {
        Box::pin(async move { self.gone().map_or(Ok(()), Err).and(self.inner.wrap(plain, entropy).await) })
    }

    fn open<'a>(&'a self, blob: &'a autoseal::Blob) -> autoseal::BoxFuture<'a, Result<SecretBytes, autoseal::SealFault>> {
        Box::pin(async move { self.gone().map_or(Ok(()), Err).and(self.inner.open(blob).await) })
    }

    fn is_current(&self, blob: &autoseal::Blob) -> bool {
        self.inner.is_current(blob)
    }
}

const GLASS: RekeyTarget = RekeyTarget::BreakGlass;

async fn beside_a_loseable_seal() -> (Cluster, Arc<Loseable>) {
    let inner = autoseal::StaticSeal::new(("k1", &"ab".repeat(32)), ("", "")).unwrap();
    let seal = Arc::new(Loseable { inner, is_gone: false.into() });
    let c = Cluster::start(Seals { active: Some(Arc::<Loseable>::clone(&seal)), retiring: None }).await;
    (c, seal)
}

async fn break_glass(c: &Cluster, shares: &[SecretBytes]) -> Result<(), SealError> {
    for share in shares {
        c.core.unseal_with_break_glass(share.clone(), false).await?;
    }
    Ok(())
}

#[tokio::test]
async fn break_glass_shares_open_when_the_seal_is_gone() {
    let (c, seal) = beside_a_loseable_seal().await;
    assert!(c.core.seal_status().break_glass.is_none(), "never by itself");
    let nonce = c.rekey(GLASS, two_of_two()).await;
    c.give(GLASS, &nonce, &c.shares[0]).await.unwrap();
    assert!(c.core.seal_status().break_glass.is_none(), "not before enough holders consented");
    let glass = keys(&c.give(GLASS, &nonce, &c.shares[1]).await.unwrap());
    // The root key may be exchanged, the shares go on opening.
    let nonce = c.rekey(BARRIER, two_of_two()).await;
    c.give(BARRIER, &nonce, &c.shares[0]).await.unwrap();
    c.give(BARRIER, &nonce, &c.shares[1]).await.unwrap();
    c.core.seal().await;
    seal.is_gone.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(c.unseal(&c.shares[..2]).await, Err(SealError::Outer(_))), "recovery shares open nothing without the seal");
    assert!(matches!(break_glass(&c, &c.shares[..2]).await, Err(SealError::Key(_))), "and are no break-glass shares");
    assert!(matches!(c.core.unseal_with_break_glass(glass[0].clone(), true).await, Err(SealError::NoMigration)));
    break_glass(&c, &glass[..1]).await.unwrap();
    let shown = serde_json::to_value(c.core.seal_status()).unwrap();
    assert_eq!(shown["break_glass"]["progress"], 1);
    assert_eq!((&shown["break_glass"]["t"], &shown["break_glass"]["n"], &shown["progress"]), (&json!(2), &json!(2), &json!(0)));
    c.core.reset_unseal().await.unwrap();
    break_glass(&c, &glass).await.unwrap();
    assert!(c.has_root(&c.root).await);
}

#[tokio::test]
async fn if_the_seal_is_gone_for_good_break_glass_shares_become_the_unseal_shares() {
    let seal = || Arc::new(autoseal::StaticSeal::new(("k1", &"ab".repeat(32)), ("", "")).unwrap());
    let store = Arc::new(storage::MemoryStore::default());
    let folder = tempfile::tempdir().unwrap();
    let start = async |seals: Seals| {
        let mut settings = replication::Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        settings.log_dir = Some(folder.path().join("log"));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let config = CoreConfig { seals, ..CoreConfig::default() };
        Core::start(Arc::<storage::MemoryStore>::clone(&store), settings, config, registry(), clock, Arc::new(SystemEntropy))
            .await
            .unwrap()
    };
    let core = start(Seals { active: Some(seal()), retiring: None }).await;
    let request = InitRequest {
        recovery_shares: 1,
        recovery_threshold: 1,
        break_glass_shares: 3,
        break_glass_threshold: 2,
        ..InitRequest::default()
    };
    let made = core.init(request).await.unwrap();
    let glass = made.break_glass_shares;
    assert_eq!((glass.len(), made.recovery_shares.len()), (3, 1));
    core.shutdown().await;
    drop(core);
    let gone = Arc::new(Loseable {
        inner: autoseal::StaticSeal::new(("k2", &"cd".repeat(32)), ("", "")).unwrap(),
        is_gone: true.into(),
    });
    let core = start(Seals { active: None, retiring: Some(gone) }).await;
    assert!(core.seal_status().migration);
    assert!(matches!(core.unseal_with_break_glass(glass[0].clone(), false).await, Err(SealError::MigrationPending)));
    for share in &glass[..2] {
        core.unseal_with_break_glass(share.clone(), true).await.unwrap();
    }
    let shown = serde_json::to_value(core.seal_status()).unwrap();
    assert_eq!(
        (&shown["type"], &shown["t"], &shown["n"], shown.get("break_glass")),
        (&json!("shamir"), &json!(2), &json!(3), None)
    );
    core.seal().await;
    for share in &glass[1..] {
        core.unseal(share.clone(), false).await.unwrap();
    }
    assert_eq!(core.state(), NodeState::Active);
}

#[tokio::test]
async fn the_health_of_the_seal_is_that_of_its_last_use() {
    let (c, seal) = beside_a_loseable_seal().await;
    let status = async || {
        let mut request = engine::Request::new(Operation::Read, "sys/seal-backend-status");
        request.token = c.root.as_str().into();
        match c.core.handle(request).await.into_inner() {
            server_core::Answer::Response { response, .. } => match response.kind {
                engine::Kind::Bare { body, .. } => serde_json::from_slice::<Value>(&body).unwrap(),
                _ => panic!("no bare answer"),
            },
            _ => panic!("refused"),
        }
    };
    let began = c.clock.now().rfc3339();
    let good = json!({ "healthy": true, "backends": [{ "name": "static", "healthy": true, "last_success": began }], "fully_wrapped": true });
    assert_eq!(status().await, good);
    seal.is_gone.store(true, std::sync::atomic::Ordering::SeqCst);
    c.clock.advance(Duration::from_secs(600));
    let since = c.clock.now().rfc3339();
    c.core.try_seal().await;
    c.clock.advance(Duration::from_secs(60));
    c.core.try_seal().await;
    let seen = status().await;
    assert_eq!((&seen["healthy"], &seen["unhealthy_since"]), (&json!(false), &json!(since)), "{seen}");
    let backend = json!({ "name": "static", "healthy": false, "unhealthy_since": since, "last_success": began });
    assert_eq!(seen["backends"], json!([backend]));
    seal.is_gone.store(false, std::sync::atomic::Ordering::SeqCst);
    c.core.try_seal().await;
    let seen = status().await;
    assert_eq!((&seen["healthy"], seen.get("unhealthy_since")), (&json!(true), None), "{seen}");
    assert_eq!(seen["backends"][0]["last_success"], c.clock.now().rfc3339());
}

#[tokio::test]
async fn class_f_break_glass_shares_need_recovery_shares_and_can_be_taken_back() {
    let c = Cluster::start(Seals::default()).await;
    let refused = c.core.rekey_init(GLASS, two_of_two()).await.unwrap_err().to_string();
    assert!(refused.contains("with an auto seal"), "{refused}");
    assert!(matches!(c.core.unseal_with_break_glass(c.shares[0].clone(), false).await, Err(SealError::NoBreakGlass)));
    let (c, _) = beside_a_loseable_seal().await;
    let kept = RekeyRequest { backup: true, pgp_keys: vec![PGP_KEY.into(); 2], ..two_of_two() };
    assert!(c.core.rekey_init(GLASS, kept).await.is_err(), "encrypted or not, they are not kept");
    let nonce = c.rekey(GLASS, two_of_two()).await;
    assert!(c.give(GLASS, "x", &c.shares[0]).await.is_err() && c.core.rekey_cancel(GLASS, "").await.is_err());
    c.give(GLASS, &nonce, &SecretBytes::new(vec![3; 33])).await.unwrap();
    assert!(c.give(GLASS, &nonce, &SecretBytes::new(vec![4; 33])).await.is_err());
    assert!(c.core.seal_status().break_glass.is_none(), "foreign shares consent to nothing");
    c.give(GLASS, &nonce, &c.shares[0]).await.unwrap();
    let first = keys(&c.give(GLASS, &nonce, &c.shares[1]).await.unwrap());
    // New ones end the old ones, once they were verified.
    let nonce = c.rekey(GLASS, RekeyRequest { require_verification: true, ..two_of_two() }).await;
    c.give(GLASS, &nonce, &c.shares[0]).await.unwrap();
    let made = c.give(GLASS, &nonce, &c.shares[1]).await.unwrap();
    let (second, verification) = (keys(&made), made["verification_nonce"].as_str().unwrap().to_owned());
    c.core.seal().await;
    break_glass(&c, &first).await.unwrap();
    assert!(c.core.rekey_verify(GLASS, &verification, second[0].clone()).await.is_err(), "sealing forgot them");
    let ask = async |operation, path: &str, token: &str| {
        let mut request = engine::Request::new(operation, path);
        request.token = token.into();
        c.core.handle(request).await.into_inner()
    };
    for (operation, path) in [
        (Operation::Read, "sys/break-glass"),
        (Operation::Delete, "sys/break-glass"),
        (Operation::Update, "sys/rekey-break-glass/init"),
        (Operation::Read, "sys/rekey-break-glass/init"),
        (Operation::Update, "sys/rekey-break-glass/update"),
        (Operation::Update, "sys/rekey-break-glass/verify"),
    ] {
        assert!(
            matches!(ask(operation, path, "").await, server_core::Answer::Failure(f) if f.kind == FailureKind::Denied),
            "{path}"
        );
    }
    assert!(matches!(ask(Operation::Delete, "sys/break-glass", &c.root).await, server_core::Answer::Response { .. }));
    assert!(c.core.seal_status().break_glass.is_none());
    c.core.seal().await;
    assert!(matches!(break_glass(&c, &first).await, Err(SealError::NoBreakGlass)));
    c.unseal(&c.shares[..2]).await.unwrap();
}

#[tokio::test]
async fn parameters_of_the_other_kind_of_seal_are_refused_at_init() {
    for (seals, request, text) in [
        (
            Seals::default(),
            InitRequest { secret_shares: 1, secret_threshold: 1, recovery_shares: 1, ..InitRequest::default() },
            "parameters recovery_shares,recovery_threshold not applicable to seal type shamir",
        ),
        (
            fixed_seal(),
            InitRequest { secret_shares: 1, secret_threshold: 1, ..InitRequest::default() },
            "parameters secret_shares,secret_threshold not applicable to seal type static",
        ),
        (
            fixed_seal(),
            InitRequest { recovery_shares: 2, recovery_threshold: 3, ..InitRequest::default() },
            "invalid recovery configuration: threshold cannot be larger than shares",
        ),
        (
            Seals::default(),
            InitRequest { secret_shares: 1, secret_threshold: 1, pgp_keys: vec!["x".into()], ..InitRequest::default() },
            "invalid seal configuration: error decoding given PGP key",
        ),
        (
            Seals::default(),
            InitRequest { secret_shares: 1, secret_threshold: 1, root_token_pgp_key: "AAAA".into(), ..InitRequest::default() },
            "error parsing given PGP key",
        ),
    ] {
        let config = CoreConfig { seals, ..CoreConfig::default() };
        let settings = replication::Settings::new("node1", "127.0.0.1:8201", "http://127.0.0.1:8200");
        let clock = Arc::new(ManualClock::new(Time::from_unix(1_790_000_000)));
        let store = Arc::new(storage::MemoryStore::default());
        let core = Core::start(store, settings, config, registry(), clock, Arc::new(SystemEntropy)).await.unwrap();
        let refused = core.init(request).await.err().unwrap();
        assert!(refused.to_string().starts_with(text), "{refused}");
        assert_eq!(core.state(), NodeState::Uninitialised, "nothing was made");
    }
}

#[tokio::test]
async fn the_data_key_is_replaced_by_use_and_by_age_and_its_use_survives_a_restart() {
    let s = Server::start().await;
    let status = async || s.get("sys/key-status").await.ok();
    s.core.pretend_encryptions(70_000);
    s.core.tend_data_key().await.unwrap();
    s.core.seal().await;
    s.core.unseal(SecretBytes::new(s.share.clone()), false).await.unwrap();
    let seen = status().await;
    assert!(seen["term"] == 1 && seen["encryptions"].as_u64().unwrap() >= 70_000, "{seen}");
    let records = s.records();
    s.core.tend_data_key().await.unwrap();
    s.core.tend_data_key().await.unwrap();
    assert_eq!(s.records(), records, "an idle server writes nothing");
    s.quietly("sys/rotate/config", json!({ "max_operations": 1_000_000, "interval": "24h" })).await;
    s.core.pretend_encryptions(999_000);
    s.core.tend_data_key().await.unwrap();
    assert_eq!(status().await["term"], 1);
    s.core.pretend_encryptions(1_000_000);
    s.core.tend_data_key().await.unwrap();
    let seen = status().await;
    assert!(seen["term"] == 2 && seen["encryptions"].as_u64().unwrap() < 100, "{seen}");
    s.advance(Duration::from_secs(24 * 3600 - 1));
    s.core.tend_data_key().await.unwrap();
    assert_eq!(status().await["term"], 2);
    s.advance(Duration::from_secs(1));
    s.core.tend_data_key().await.unwrap();
    assert_eq!(status().await["term"], 3);
}
