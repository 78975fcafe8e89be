//! Asking responders whether a client's certificate is revoked (RFC 6960), as a role wants it. The client's certificate is
//! asked about; its authorities are the revocation lists' business.
//!
//! What counts against a certificate: that it is revoked, and any answer that may not be believed. What `ocsp_fail_open` lets
//! pass is only what cannot be known: nobody answers, nobody is named, or the responder does not know the certificate.

mod kept;
mod verify;
mod wire;

use std::time::Duration;

use der::Decode;
use der::asn1::ObjectIdentifier;
use secret::Time;
use tokio::time::Instant;
use x509_cert::ext::pkix::AuthorityInfoAccessSyntax;
use x509_cert::ext::pkix::name::GeneralName;

use crate::Cert;
use crate::config::Config;
use crate::crl::Crls;
use crate::presented::Presented;
use crate::role::Role;

pub use kept::Kept;
use kept::Key;
use verify::{Disbelief, Question, believe, id_of, is_issuer};
use wire::{ReadError, Statement, Status};

const AUTHORITY_INFO_ACCESS: &str = "1.3.6.1.5.5.7.1.1";
const ACCESS_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// What a login waits for responders at most, all roles together: not much longer than one answer may take.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// Tries of one responder at most, whatever `ocsp_max_retries` says: a responder that is down is not to be flooded.
const TRIES_MAX: i64 = 10;
/// Responders that are asked about one certificate at most; a certificate names them, and one or two are usual.
const SERVERS_MAX: usize = 8;

/// What one responder said.
enum Heard {
    Good,
    Revoked,
    /// Nothing that helps: no answer, or that it does not know.
    Nothing(String),
    /// Something that may not be believed.
    Wrong(Disbelief),
}

/// Asks for one login.
pub struct Asker<'a> {
    engine: &'a Cert,
    config: &'a Config,
    crls: &'a Crls,
    mount: &'a str,
    now: Time,
    deadline: Option<Instant>,
}

impl<'a> Asker<'a> {
    /// Of a mount (its uuid) with these settings and lists, at a time.
    pub fn new(engine: &'a Cert, config: &'a Config, crls: &'a Crls, mount: &'a str, now: Time) -> Self {
        Self { engine, config, crls, mount, now, deadline: None }
    }

    /// Whether the role's word on OCSP lets the certificate pass. `chain` is what `chain::judge` found above it, in any order.
    pub async fn passes(&mut self, role: &Role, leaf: &Presented, chain: &[Vec<u8>]) -> bool {
        if !role.ocsp.enabled {
            return true;
        }
        let (passes, why) = match self.ask(role, leaf, chain).await {
            Heard::Good => return true,
            Heard::Revoked => (false, "revoked".to_owned()),
            Heard::Nothing(why) => (role.ocsp.fail_open, why),
            Heard::Wrong(why) => (false, why.to_string()),
        };
        tracing::warn!(serial = %leaf.serial, passes, status = %why, "OCSP does not vouch for a client's certificate");
        passes
    }

    async fn ask(&mut self, role: &Role, leaf: &Presented, chain: &[Vec<u8>]) -> Heard {
        let named = role.ocsp.authorities();
        let above = chain.iter().filter_map(|der| Presented::from_der(der));
        let issuer = above.chain(role.trusted()).chain(named.iter().cloned()).find(|c| is_issuer(c, &leaf.der));
        let Some(issuer) = issuer else { return Heard::Nothing("nothing the role trusts is the issuer".to_owned()) };
        let Some(id) = id_of(&leaf.der, &issuer) else { return Heard::Nothing("the certificate has no OCSP name".to_owned()) };
        let Some(request) = id.question() else { return Heard::Nothing("no question can be made".to_owned()) };
        let authorities = std::iter::once(issuer).chain(named).collect();
        let age_max = Duration::from_secs(role.ocsp.this_update_max_age_secs);
        let question = Question { id, authorities, age_max, now: self.now, crls: self.crls };
        let servers = servers(role, leaf);
        let mut best = Heard::Nothing("no responder is named".to_owned());
        if !role.ocsp.query_all_servers {
            // What is known already is better than waiting for a responder that is down.
            for url in &servers {
                if let Some(heard) = self.remembered(url, &request, &question) {
                    return heard;
                }
            }
        }
        let mut all_good = !servers.is_empty();
        for url in &servers {
            let heard = match self.remembered(url, &request, &question) {
                Some(heard) => heard,
                None => self.hear(url, &request, &question, role.ocsp.max_retries).await,
            };
            match heard {
                Heard::Revoked => return Heard::Revoked,
                Heard::Good if !role.ocsp.query_all_servers => return Heard::Good,
                Heard::Good => {}
                worse => {
                    all_good = false;
                    // One lie is not made good by a later silence.
                    best = if matches!(best, Heard::Wrong(_)) { best } else { worse };
                }
            }
        }
        if all_good { Heard::Good } else { best }
    }

    /// A kept answer, if it is still one.
    fn remembered(&self, url: &str, request: &[u8], question: &Question<'_>) -> Option<Heard> {
        let body = self.engine.kept.get(Key::new(self.mount, url, request), self.now)?;
        match believe(&body, question).ok()?.status {
            Status::Good => Some(Heard::Good),
            Status::Revoked => Some(Heard::Revoked),
            Status::Unknown => None,
        }
    }

    async fn hear(&mut self, url: &str, request: &[u8], question: &Question<'_>, retries: i64) -> Heard {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + WAIT_MAX);
        let mut last = String::new();
        for _ in 0..retries.saturating_add(1).min(TRIES_MAX) {
            match tokio::time::timeout_at(deadline, self.engine.fetch.ask_ocsp(url, request)).await {
                Err(_) => return Heard::Nothing("no responder answered in time".to_owned()),
                Ok(Err(e)) => last = e.to_string(),
                Ok(Ok(body)) => return self.take(url, request, question, body),
            }
        }
        Heard::Nothing(last)
    }

    fn take(&self, url: &str, request: &[u8], question: &Question<'_>, body: Vec<u8>) -> Heard {
        let Statement { status, next_update, .. } = match believe(&body, question) {
            Ok(statement) => statement,
            Err(e @ Disbelief::Read(ReadError::Unanswered(_))) => return Heard::Nothing(e.to_string()),
            Err(e) => return Heard::Wrong(e),
        };
        if let (Some(until), Status::Good | Status::Revoked) = (next_update, status) {
            self.engine.kept.put(Key::new(self.mount, url, request), body, until, self.config.ocsp_cache_size);
        }
        match status {
            Status::Good => Heard::Good,
            Status::Revoked => Heard::Revoked,
            Status::Unknown => Heard::Nothing("the responder does not know the certificate".to_owned()),
        }
    }
}

/// Who is asked: the role's responders, or those that the certificate names.
fn servers(role: &Role, leaf: &Presented) -> Vec<String> {
    let named = role.ocsp.servers_override.iter().flatten().filter(|url| !url.is_empty()).cloned();
    let mut out: Vec<String> = named.collect();
    if out.is_empty() {
        let access = leaf.extension(AUTHORITY_INFO_ACCESS).and_then(|der| AuthorityInfoAccessSyntax::from_der(der).ok());
        let places = access.map(|a| a.0).unwrap_or_default().into_iter().filter(|a| a.access_method == ACCESS_OCSP);
        out.extend(places.filter_map(|a| match a.access_location {
            GeneralName::UniformResourceIdentifier(url) => Some(url.as_str().to_owned()),
            _ => None,
        }));
        out.truncate(SERVERS_MAX);
    }
    out
}
