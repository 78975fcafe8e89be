//! CVE class J and the clients' contract, over a real socket: the handshake asks for a certificate and believes none; it only has
//! the client prove that it holds the key. `certificates/v1.*` is an X.509 v1 certificate that openssl made for this test.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail loudly")]

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use server_http::{TlsSettings, TlsState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The client of this test believes any server.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

type Offer = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

/// What the server saw of the client, or that there was no connection.
async fn connect(state: &TlsState, version: &'static SupportedProtocolVersion, offer: Offer) -> Result<Vec<Vec<u8>>, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(state.current());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.map_err(|e| e.to_string())?;
        stream.write_all(b"!").await.map_err(|e| e.to_string())?;
        stream.shutdown().await.map_err(|e| e.to_string())?;
        let seen = stream.get_ref().1.peer_certificates().unwrap_or_default();
        Ok(seen.iter().map(|c| c.to_vec()).collect())
    });
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    let config = match offer {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            // Without the check that certificate and key belong together: that is what the server is tested for.
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("server.test").unwrap();
    if let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    server.await.unwrap()
}

fn pem(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn settings(folder: &Path) -> TlsSettings {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["server.test".into()]).unwrap().self_signed(&key).unwrap();
    TlsSettings {
        cert_file: pem(folder, "server.pem", &cert.pem()),
        key_file: pem(folder, "server.key", &key.serialize_pem()),
        ..TlsSettings::default()
    }
}

fn client(params: CertificateParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    (cert.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

#[tokio::test]
async fn cve_class_j_the_handshake_takes_any_certificate_whose_key_the_client_holds() {
    let folder = tempfile::tempdir().unwrap();
    let state = TlsState::load(settings(folder.path())).unwrap();
    let mut expired = CertificateParams::default();
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let v1 = (
        CertificateDer::from_pem_slice(include_bytes!("certificates/v1.pem")).unwrap(),
        PrivateKeyDer::from_pem_slice(include_bytes!("certificates/v1.key")).unwrap(),
    );
    for (what, (cert, key)) in [("unknown", client(CertificateParams::default())), ("expired", client(expired)), ("v1", v1)] {
        for version in [&TLS12, &TLS13] {
            let seen = connect(&state, version, Some((vec![cert.clone()], key.clone_key()))).await;
            assert_eq!(seen, Ok(vec![cert.to_vec()]), "{what} {version:?}");
            // The same certificate with somebody else's key.
            let (_, other) = client(CertificateParams::default());
            assert!(connect(&state, version, Some((vec![cert.clone()], other))).await.is_err(), "{what} {version:?}, stolen");
        }
    }
    assert_eq!(connect(&state, &TLS13, None).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_listener_verifies_or_does_not_ask_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let strict = TlsSettings {
        client_ca_file: Some(pem(folder.path(), "ca.pem", &authority.pem())),
        require_client_cert: true,
        ..settings(folder.path())
    };
    let strict = TlsState::load(strict).unwrap();
    let key = KeyPair::generate().unwrap();
    let good = CertificateParams::default().signed_by(&key, &authority).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    for version in [&TLS12, &TLS13] {
        assert_eq!(connect(&strict, version, Some((vec![good.clone()], key.clone_key()))).await, Ok(vec![good.to_vec()]));
        let (stranger, own) = client(CertificateParams::default());
        assert!(connect(&strict, version, Some((vec![stranger], own))).await.is_err());
        assert!(connect(&strict, version, None).await.is_err());
    }
    let silent = TlsSettings { disable_client_certs: true, ..settings(folder.path()) };
    let silent = TlsState::load(silent).unwrap();
    assert_eq!(connect(&silent, &TLS13, Some((vec![good], key))).await, Ok(Vec::new()), "not asked, not sent");
    let contradiction = TlsSettings { require_client_cert: true, ..settings(folder.path()) };
    assert!(TlsState::load(contradiction).is_err());
}
