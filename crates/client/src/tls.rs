//! TLS as Go's client does it: own roots or the system's, a client certificate, another server name, or no check at all.
//!
//! One thing differs from plain webpki on purpose: a self-signed CA certificate that the user named as root may be the server's own
//! certificate, because Go accepts that and many installations live on it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::config::{ConfigError, Tls};

/// Where Linux distributions keep their roots, in Go's order.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Builds rustls' settings out of ours; reads the named files.
pub(crate) fn client_config(tls: &Tls) -> Result<ClientConfig, ConfigError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> =
        if tls.skip_verify { Arc::new(Unchecked(Arc::clone(&provider))) } else { Arc::new(Checked::new(tls, &provider)?) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| ConfigError::Build(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match (&tls.client_cert, &tls.client_key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let failed = |cause: String| ConfigError::Certificate { what: "client certificate", cause };
            let chain = pem_certificates(&read(cert, "client certificate")?).map_err(failed)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key, "client key")?)
                .map_err(|e| ConfigError::Certificate { what: "client key", cause: e.to_string() })?;
            builder.with_client_auth_cert(chain, key).map_err(|e| failed(e.to_string()))?
        }
        _ => return Err(ConfigError::HalfClientCertificate),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The roots that were named, or an empty list if the system's are to be used.
fn named_roots(tls: &Tls) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let failed = |what| move |cause: String| ConfigError::Certificate { what, cause };
    if let Some(file) = &tls.ca_cert {
        return pem_certificates(&read(file, "CA File")?).map_err(failed("CA File"));
    }
    if let Some(text) = &tls.ca_cert_bytes {
        return pem_certificates(text.as_bytes()).map_err(failed("CA Certificate"));
    }
    let Some(directory) = &tls.ca_path else { return Ok(Vec::new()) };
    let mut roots = Vec::new();
    for path in files_below(Path::new(directory)).map_err(|e| failed("CA Path")(format!("{directory}: {e}")))? {
        let text = fs::read(&path).map_err(|e| failed("CA Path")(format!("{}: {e}", path.display())))?;
        roots.extend(pem_certificates(&text).map_err(|e| failed("CA Path")(format!("{}: {e}", path.display())))?);
    }
    if roots.is_empty() {
        return Err(failed("CA Path")(format!("{directory}: no certificates")));
    }
    Ok(roots)
}

fn files_below(directory: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &str, what: &'static str) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|e| ConfigError::Certificate { what, cause: format!("{path}: {e}") })
}

fn pem_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    if certificates.is_empty() { Err("no PEM certificate".to_owned()) } else { Ok(certificates) }
}

/// The system's roots, or Mozilla's as built in if there are none (an image made `FROM scratch`).
fn system_roots(own: Option<&str>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for path in own.into_iter().chain(SYSTEM_BUNDLES) {
        if let Ok(certificates) = fs::read(path).map_err(|e| e.to_string()).and_then(|text| pem_certificates(&text)) {
            store.add_parsable_certificates(certificates);
            break;
        }
    }
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    store
}

/// webpki's check, with another server name if one was set, and with named roots allowed as leaves.
#[derive(Debug)]
struct Checked {
    webpki: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    server_name: Option<ServerName<'static>>,
}

impl Checked {
    fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, ConfigError> {
        let roots = named_roots(tls)?;
        let store = if roots.is_empty() {
            system_roots(tls.system_roots.as_deref())
        } else {
            let mut store = RootCertStore::empty();
            for root in &roots {
                store.add(root.clone()).map_err(|e| ConfigError::Certificate { what: "CA certificate", cause: e.to_string() })?;
            }
            store
        };
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
            .build()
            .map_err(|e| ConfigError::Build(e.to_string()))?;
        let server_name = tls
            .server_name
            .as_ref()
            .map(|name| ServerName::try_from(name.clone()).map_err(|_| ConfigError::Variable("VAULT_TLS_SERVER_NAME")))
            .transpose()?;
        Ok(Self { webpki, roots, server_name })
    }
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = self.server_name.as_ref().unwrap_or(server_name);
        match self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            // webpki looks at the dates first, so they are fine when it complains about this.
            Err(e) if is_ca_as_leaf(&e) && self.roots.iter().any(|root| root == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// rustls wraps this one error of webpki without a name of its own, so its `Debug` text is all there is.
fn is_ca_as_leaf(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other)) if format!("{other:?}").contains("CaUsedAsEndEntity"))
}

/// `VAULT_SKIP_VERIFY`: only the handshake's own signature is checked.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
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
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
