//! Who this node is to the others: a certificate that names its raft id, made from the ring.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use secret::{Clock, Entropy, SecretBytes, Time};
use time::OffsetDateTime;

use crate::keys::{ClusterKeys, Generation, KeysError, draw_key};
use crate::limits::{CLOCK_SKEW, LEAF_LIFE, LEAF_RENEWAL, SERIAL_BYTES};

/// What both ends speak. A caller of anything else is turned away.
pub const PROTOCOL: &[u8] = b"strongroom-cluster/1";

/// Ends the names in certificates. Nobody resolves them.
const NAME_END: &str = ".cluster.strongroom";

/// One certificate and what may be done with it.
pub(crate) struct Identity {
    /// Differs from that of any other identity of this process.
    pub(crate) epoch: u64,
    /// For the answering end.
    pub(crate) server: Arc<ServerConfig>,
    /// For the calling end.
    pub(crate) client: Arc<ClientConfig>,
    made: Time,
}

/// The present identity of a node, if it has one.
pub(crate) struct Badge {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    epochs: u64,
    member: Option<Member>,
}

struct Member {
    keys: ClusterKeys,
    raft_id: u64,
    identity: Arc<Identity>,
}

impl Badge {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, held: Mutex::default() }
    }

    /// Makes and takes on an identity.
    pub(crate) fn put_on(&self, keys: &ClusterKeys, raft_id: u64) -> Result<(), KeysError> {
        let mut held = self.held.lock();
        let identity = Arc::new(self.make(keys, raft_id, held.epochs + 1)?);
        held.epochs += 1;
        held.member = Some(Member { keys: keys.clone(), raft_id, identity });
        Ok(())
    }

    /// Forgets it.
    pub(crate) fn take_off(&self) {
        self.held.lock().member = None;
    }

    /// The identity to use now. It is made anew here when it is due, so no timer has to fire for it, and a machine that slept for a
    /// week wakes up with a valid one.
    pub(crate) fn current(&self) -> Option<Arc<Identity>> {
        let now = self.clock.now();
        let mut held = self.held.lock();
        let epoch = held.epochs + 1;
        let member = held.member.as_mut()?;
        if !member.identity.is_due(now) {
            return Some(Arc::clone(&member.identity));
        }
        match self.make(&member.keys, member.raft_id, epoch) {
            Ok(identity) => {
                member.identity = Arc::new(identity);
                let identity = Arc::clone(&member.identity);
                held.epochs = epoch;
                Some(identity)
            }
            Err(e) => {
                tracing::warn!(error = %e, "the cluster certificate could not be made anew");
                Some(Arc::clone(&member.identity))
            }
        }
    }

    fn make(&self, keys: &ClusterKeys, raft_id: u64, epoch: u64) -> Result<Identity, KeysError> {
        let now = self.clock.now();
        let authority = Authority::load(keys.signer()?)?;
        let (leaf, key) = leaf(&authority, raft_id, now, &*self.entropy)?;
        let mut roots = RootCertStore::empty();
        for generation in keys.trusted() {
            roots.add(Authority::load(generation)?.certificate()?).map_err(config)?;
        }
        let times = Arc::new(Times(Arc::clone(&self.clock)));
        let key = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().to_vec()));
        Ok(Identity {
            epoch,
            server: Arc::new(server(vec![leaf.clone()], key(), roots.clone(), Arc::clone(&times))?),
            client: Arc::new(client(vec![leaf], key(), roots, times)?),
            made: now,
        })
    }
}

impl Identity {
    /// Old, or made by a clock that went far ahead of the present one.
    fn is_due(&self, now: Time) -> bool {
        now.since(self.made) >= LEAF_RENEWAL || self.made.since(now) >= CLOCK_SKEW / 2
    }
}

/// What a certificate calls the node with this raft id.
pub(crate) fn name(raft_id: u64) -> String {
    format!("n{raft_id:016x}{NAME_END}")
}

/// The same for a verifier.
pub(crate) fn server_name(raft_id: u64) -> Result<ServerName<'static>, KeysError> {
    ServerName::try_from(name(raft_id)).map_err(|e| KeysError::Certificate(e.to_string()))
}

/// The raft id in a verified certificate; `None` unless it names exactly one.
pub(crate) fn raft_id(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = webpki::EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_dns_names();
    let digits = names.next()?.strip_suffix(NAME_END)?.strip_prefix('n')?;
    // One way to write each id, so that no two names mean one node.
    let id = u64::from_str_radix(digits, 16).ok().filter(|id| format!("{id:016x}") == digits)?;
    names.next().is_none().then_some(id)
}

/// A certificate authority, ready to sign.
struct Authority {
    id: u64,
    key: Key,
}

impl Authority {
    fn load(generation: &Generation) -> Result<Self, KeysError> {
        Ok(Self { id: generation.id, key: Key::load(&generation.key)? })
    }

    /// Verifiers look at its name and key only; the rest is what the form asks for.
    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("strongroom cluster {}", self.id));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    }

    fn certificate(&self) -> Result<CertificateDer<'static>, KeysError> {
        Ok(self.params().self_signed(&self.key).map_err(certificate)?.der().clone())
    }
}

/// A certificate of this ring with its key (PKCS#8), for tests that speak with the port by themselves.
pub fn certificate_for(
    keys: &ClusterKeys,
    raft_id: u64,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<(CertificateDer<'static>, SecretBytes), KeysError> {
    leaf(&Authority::load(keys.signer()?)?, raft_id, now, entropy)
}

fn leaf(
    authority: &Authority,
    raft_id: u64,
    now: Time,
    entropy: &dyn Entropy,
) -> Result<(CertificateDer<'static>, SecretBytes), KeysError> {
    let secret = draw_key(entropy)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = moment(now.minus(CLOCK_SKEW))?;
    params.not_after = moment(now.plus(LEAF_LIFE))?;
    params.serial_number = Some(SerialNumber::from(entropy.bytes(SERIAL_BYTES)?));
    params.subject_alt_names = vec![SanType::DnsName(name(raft_id).try_into().map_err(certificate)?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let issuer = Issuer::new(authority.params(), &authority.key);
    let leaf = params.signed_by(&Key::load(&secret)?, &issuer).map_err(certificate)?;
    Ok((leaf.der().clone(), secret))
}

fn moment(at: Time) -> Result<OffsetDateTime, KeysError> {
    OffsetDateTime::from_unix_timestamp(at.unix()).map_err(|e| KeysError::Certificate(e.to_string()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// No resumption at either end: a ticket would outlive the ring that its holder was judged by.
fn server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
    times: Arc<Times>,
) -> Result<ServerConfig, KeysError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .clear_root_hint_subjects()
        .build()
        .map_err(|e| KeysError::Certificate(e.to_string()))?;
    let mut made = ServerConfig::builder_with_details(provider(), times)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(config)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(config)?;
    made.alpn_protocols = vec![PROTOCOL.to_vec()];
    made.session_storage = Arc::new(NoServerSessionStorage {});
    made.send_tls13_tickets = 0;
    Ok(made)
}

fn client(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
    times: Arc<Times>,
) -> Result<ClientConfig, KeysError> {
    let mut made = ClientConfig::builder_with_details(provider(), times)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(config)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(config)?;
    made.alpn_protocols = vec![PROTOCOL.to_vec()];
    made.resumption = Resumption::disabled();
    // The name is only for the verifier; it would go over the wire in the clear.
    made.enable_sni = false;
    Ok(made)
}

/// A key that signs certificates, or stands in one.
struct Key {
    pair: EcdsaKeyPair,
}

impl Key {
    fn load(pkcs8: &SecretBytes) -> Result<Self, KeysError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.expose());
        pair.map(|pair| Self { pair }).map_err(|_| KeysError::Damaged("a key cannot be read"))
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// The node's clock for rustls.
struct Times(Arc<dyn Clock>);

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Times")
    }
}

impl TimeProvider for Times {
    fn current_time(&self) -> Option<UnixTime> {
        u64::try_from(self.0.now().unix()).ok().map(|seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn certificate(error: rcgen::Error) -> KeysError {
    KeysError::Certificate(error.to_string())
}

fn config(error: rustls::Error) -> KeysError {
    KeysError::Certificate(error.to_string())
}
