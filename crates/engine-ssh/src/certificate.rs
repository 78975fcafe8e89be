//! OpenSSH certificates (`PROTOCOL.certkeys`). Pure: nonce, serial number and times are arguments.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::private::{KeyError, PrivateKey, RsaHash};
use crate::public::PublicKey;
use crate::wire::Write;

/// Whom a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertType {
    /// People.
    User,
    /// Machines.
    Host,
}

/// A certificate before it is signed.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The key it is for.
    pub key: &'a PublicKey,
    /// Fresh random bytes.
    pub nonce: [u8; 32],
    /// Serial number.
    pub serial: u64,
    /// For whom.
    pub kind: CertType,
    /// What logs of SSH servers show.
    pub key_id: String,
    /// Names it is good for; none means all.
    pub principals: Vec<String>,
    /// Seconds since the epoch.
    pub valid_after: u64,
    /// Seconds since the epoch.
    pub valid_before: u64,
    /// Critical options.
    pub critical_options: BTreeMap<String, String>,
    /// Extensions.
    pub extensions: BTreeMap<String, String>,
}

impl Draft<'_> {
    /// The certificate as a line, with a newline at its end.
    pub fn sign(&self, authority: &PrivateKey, hash: RsaHash) -> Result<String, KeyError> {
        let kind = self.key.certificate_kind();
        let mut out = Vec::new();
        out.string(kind.as_bytes());
        out.string(&self.nonce);
        out.extend(&self.key.content);
        out.u64(self.serial);
        out.u32(match self.kind {
            CertType::User => 1,
            CertType::Host => 2,
        });
        out.string(self.key_id.as_bytes());
        let mut principals = Vec::new();
        for principal in &self.principals {
            principals.string(principal.as_bytes());
        }
        out.string(&principals);
        out.u64(self.valid_after);
        out.u64(self.valid_before);
        out.string(&options(&self.critical_options));
        out.string(&options(&self.extensions));
        out.string(b""); // reserved
        out.string(&authority.public()?.blob);
        let signature = authority.sign(&out, hash)?;
        out.string(&signature);
        Ok(format!("{kind} {}\n", BASE64_STANDARD.encode(out)))
    }
}

/// Names in order, each with its value; an empty value is a flag.
fn options(options: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in options {
        let mut content = Vec::new();
        if !value.is_empty() {
            content.string(value.as_bytes());
        }
        out.string(name.as_bytes());
        out.string(&content);
    }
    out
}
