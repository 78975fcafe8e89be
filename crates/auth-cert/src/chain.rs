//! Whether what a client offered leads to what a role trusts (RFC 5280 §6, by `rustls-webpki`).
//!
//! A CA is a root, whoever signed it, and what `webpki` does not ask of roots is asked here: that it may sign certificates, is
//! valid now and allows a chain of this length. Anything else that a role names is trusted as that very certificate, byte for
//! byte, and never for its name or its key (CVE-2025-6037).

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use secret::Time;
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath, anchor_from_trusted_cert};

use crate::presented::{Presented, serial_of};

/// What a role made of the client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Nothing leads from it to the role.
    None,
    /// Every way leads over a revoked certificate.
    Revoked,
    /// Trusted, with the DER of what stands above it, in no order; nothing for a certificate that is trusted itself.
    Good(Vec<Vec<u8>>),
}

/// Usage as Go judges it: none stated, for clients, or any.
struct ForClients;

impl ExtendedKeyUsageValidator for ForClients {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut stated = false;
        for purpose in purposes {
            stated = true;
            let id = purpose?.to_decoded_oid();
            if id == webpki::KeyUsage::CLIENT_AUTH_REPR || id == [2, 5, 29, 37, 0] {
                return Ok(());
            }
        }
        // The particular error is not shown to anybody.
        if stated { Err(Error::CaUsedAsEndEntity) } else { Ok(()) }
    }
}

/// Judges `client` with the intermediates the client sent along. `revoked` is asked by serial number.
#[must_use]
pub fn judge(
    client: &Presented,
    intermediates: &[CertificateDer<'_>],
    trusted: &[Presented],
    now: Time,
    revoked: &dyn Fn(&str) -> bool,
) -> Trust {
    let mut best = Trust::None;
    for anchor in trusted {
        let trust = if anchor.der == client.der {
            itself(client, now, revoked)
        } else if anchor.is_ca && anchor.is_current(now) && anchor.for_clients {
            below(client, intermediates, anchor, now, revoked)
        } else {
            Trust::None
        };
        match trust {
            Trust::Good(above) => return Trust::Good(above),
            Trust::Revoked => best = Trust::Revoked,
            Trust::None => {}
        }
    }
    best
}

fn itself(client: &Presented, now: Time, revoked: &dyn Fn(&str) -> bool) -> Trust {
    match (client.is_current(now) && client.for_clients, revoked(&client.serial)) {
        (false, _) => Trust::None,
        (true, true) => Trust::Revoked,
        (true, false) => Trust::Good(Vec::new()),
    }
}

fn below(
    client: &Presented,
    intermediates: &[CertificateDer<'_>],
    anchor: &Presented,
    now: Time,
    revoked: &dyn Fn(&str) -> bool,
) -> Trust {
    let anchor_der = CertificateDer::from(anchor.der.as_slice());
    let client_der = CertificateDer::from(client.der.as_slice());
    let (Ok(root), Ok(leaf)) = (anchor_from_trusted_cert(&anchor_der), EndEntityCert::try_from(&client_der)) else {
        return Trust::None;
    };
    let roots = [root];
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).unwrap_or_default()));
    let saw_revoked = std::cell::Cell::new(false);
    let check = |path: &VerifiedPath<'_>| {
        let between: Vec<_> = path.intermediate_certificates().collect();
        if anchor.path_len.is_some_and(|most| between.len() > usize::from(most)) {
            return Err(Error::PathLenConstraintViolated);
        }
        let over = between.iter().any(|c| serial_of(&c.der()).is_none_or(|serial| revoked(&serial)));
        if over || revoked(&client.serial) || revoked(&anchor.serial) {
            saw_revoked.set(true);
            return Err(Error::CertRevoked);
        }
        Ok(())
    };
    let verdict =
        leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &roots, intermediates, time, ForClients, None, Some(&check));
    match verdict {
        Ok(path) => {
            let mut above: Vec<Vec<u8>> = path.intermediate_certificates().map(|c| c.der().to_vec()).collect();
            above.push(anchor.der.clone());
            Trust::Good(above)
        }
        Err(_) if saw_revoked.get() => Trust::Revoked,
        Err(_) => Trust::None,
    }
}
