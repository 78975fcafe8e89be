//! Whose certificates a connection believes.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::Trust;

/// Where Linux distributions keep their roots, in Go's order.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A named CA replaces the system's roots. One without a usable certificate trusts nobody, so that every connection fails.
pub(crate) fn store(trust: &Trust) -> RootCertStore {
    let mut store = RootCertStore::empty();
    match trust {
        Trust::Pem(pem) => {
            store.add_parsable_certificates(certificates(pem.as_bytes()));
        }
        Trust::System => {
            let own = std::env::var("SSL_CERT_FILE").ok();
            for path in own.as_deref().into_iter().chain(SYSTEM_BUNDLES) {
                if let Ok(text) = std::fs::read(path) {
                    store.add_parsable_certificates(certificates(&text));
                    break;
                }
            }
            if store.is_empty() {
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
    }
    store
}

/// Whether the PEM text holds a certificate at all.
#[must_use]
pub fn has_certificate(pem: &str) -> bool {
    CertificateDer::pem_slice_iter(pem.as_bytes()).any(|block| block.is_ok())
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}
