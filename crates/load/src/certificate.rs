//! A certificate authority and a certificate for 127.0.0.1, made anew for each run and thrown away with it.
//! Absent on purpose: revocation, renewal, any name but loopback.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use thiserror::Error;

/// The authority's certificate.
pub const AUTHORITY: &str = "authority.pem";
/// The server's certificate.
pub const CERTIFICATE: &str = "certificate.pem";
/// The server's key.
pub const KEY: &str = "key.pem";

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// Key or certificate could not be made.
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    /// They could not be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Writes [`AUTHORITY`], [`CERTIFICATE`] and [`KEY`] (readable by the owner only) to `directory`.
pub fn make(directory: &Path) -> Result<(), CertificateError> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let certificate = server.signed_by(&key, &authority)?;
    fs::write(directory.join(AUTHORITY), authority.pem())?;
    fs::write(directory.join(CERTIFICATE), certificate.pem())?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(directory.join(KEY))?;
    file.write_all(key.serialize_pem().as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn three_files_and_a_key_that_only_its_owner_reads() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path()).unwrap();
        for name in [AUTHORITY, CERTIFICATE] {
            assert!(fs::read_to_string(directory.path().join(name)).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        }
        let mode = fs::metadata(directory.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(make(directory.path()).is_err(), "a key is never written over");
    }
}
