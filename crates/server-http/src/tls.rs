//! TLS of a listener, with certificates that can be replaced while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use der::{Decode, Encode};
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use webpki::RawPublicKeyEntity;

/// The TLS options of a listener (contract §8.2).
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// PEM chain.
    pub cert_file: PathBuf,
    /// PEM key: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
    /// `tls12` (default) or `tls13`.
    pub min_version: String,
    /// CAs for client certificates.
    pub client_ca_file: Option<PathBuf>,
    /// A client without a good certificate is turned away.
    pub require_client_cert: bool,
    /// Do not ask for client certificates.
    pub disable_client_certs: bool,
}

/// Why TLS cannot be set up; always names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no usable PEM.
    #[error("{what} {path}: {detail}")]
    File {
        /// Which option.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Certificate and key do not fit, or the options contradict each other.
    #[error("TLS configuration: {0}")]
    Config(String),
}

/// The present TLS configuration of a listener.
pub struct TlsState {
    settings: TlsSettings,
    current: Mutex<Arc<ServerConfig>>,
}

impl TlsState {
    /// Reads the files.
    pub fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let current = Mutex::new(Arc::new(build(&settings)?));
        Ok(Self { settings, current })
    }

    /// Reads the files anew; on failure the old certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let next = Arc::new(build(&self.settings)?);
        *self.current.lock() = next;
        Ok(())
    }

    /// For the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock())
    }
}

fn file_error(what: &'static str, path: &Path, detail: impl ToString) -> TlsError {
    TlsError::File { what, path: path.to_owned(), detail: detail.to_string() }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|e| file_error(what, path, e))?
        .collect::<Result<_, _>>()
        .map_err(|e| file_error(what, path, e))?;
    if certs.is_empty() { Err(file_error(what, path, "holds no certificate")) } else { Ok(certs) }
}

fn build(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let chain = certificates("tls_cert_file", &settings.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key_file).map_err(|e| file_error("tls_key_file", &settings.key_file, e))?;
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.min_version.as_str() {
        "" | "tls12" | "tls10" | "tls11" => &[&rustls::version::TLS13, &rustls::version::TLS12],
        "tls13" => &[&rustls::version::TLS13],
        other => return Err(TlsError::Config(format!("tls_min_version {other:?} is unknown"))),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|e| TlsError::Config(e.to_string()))?;
    let mut config = match client_verifier(settings, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    }
    .with_single_cert(chain, key)
    .map_err(|e| TlsError::Config(format!("tls_cert_file and tls_key_file: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

type Verifier = Arc<dyn ClientCertVerifier>;

fn client_verifier(settings: &TlsSettings, provider: Arc<rustls::crypto::CryptoProvider>) -> Result<Option<Verifier>, TlsError> {
    if settings.disable_client_certs {
        return Ok(None);
    }
    match &settings.client_ca_file {
        Some(path) if settings.require_client_cert => {
            let mut roots = RootCertStore::empty();
            for cert in certificates("tls_client_ca_file", path)? {
                roots.add(cert).map_err(|e| file_error("tls_client_ca_file", path, e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            Ok(Some(verifier.map_err(|e| TlsError::Config(e.to_string()))?))
        }
        None if settings.require_client_cert => {
            Err(TlsError::Config("tls_require_and_verify_client_cert needs tls_client_ca_file".into()))
        }
        _ => Ok(Some(Arc::new(Offered { provider }))),
    }
}

/// Asks for a certificate and takes any, or none: auth methods judge it, the handshake only proves that the client holds its key.
/// A client that offers one nobody asked about (even an expired one) must not be turned away.
#[derive(Debug)]
struct Offered {
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ClientCertVerifier for Offered {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: rustls::pki_types::UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let spki = public_key(cert)?;
        let algorithms = &self.provider.signature_verification_algorithms;
        // The first-named algorithms of a scheme differ in the curve; TLS 1.2 leaves that open.
        let known = algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme).map(|(_, algorithms)| *algorithms);
        let entity = RawPublicKeyEntity::try_from(&spki).map_err(|_| CertificateError::BadEncoding)?;
        let signed = |a: &&&dyn SignatureVerificationAlgorithm| entity.verify_signature(**a, message, dss.signature()).is_ok();
        match known.unwrap_or_default().iter().find(signed) {
            Some(_) => Ok(HandshakeSignatureValid::assertion()),
            None => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &public_key(cert)?, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The key of a certificate of any version; the parser behind rustls reads only the third.
fn public_key(cert: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    let read = x509_cert::Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding)?;
    let key = read.tbs_certificate().subject_public_key_info().to_der().map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(key))
}
