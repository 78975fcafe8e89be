//! `login`, and the renewal of what it gave.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use engine::token_params::cidrs_allow;
use engine::{Alias, Auth, Call, EngineError, Outcome, Response};
use rustls_pki_types::CertificateDer;
use storage::Page;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::chain::{Trust, judge};
use crate::config::{self, Config};
use crate::crl::{self, Crls};
use crate::ocsp::Asker;
use crate::presented::{Presented, string_of};
use crate::role::{self, Role};
use crate::{Cert, rules};

/// Nothing trusts the certificate.
const UNTRUSTED: &str = "invalid certificate or no client certificate supplied";
/// Something trusts it, but a constraint, a revocation list or a responder speaks against it.
const CONSTRAINED: &str = "no chain matching all constraints could be found for this login certificate";
/// Where the token remembers which certificate it was (SHA-256).
const FINGERPRINT: &str = "certificate_sha256";

/// The client's certificate and what it sent along.
struct Client {
    leaf: Presented,
    intermediates: Vec<CertificateDer<'static>>,
}

/// Tries the named role, or all in the order of their names.
pub async fn login(engine: &Cert, call: &mut Call<'_>) -> Outcome {
    let client = client(call)?;
    let config = config::load(call)?;
    crl::refresh(engine, call).await?;
    let wanted = call.fields.str("name").to_owned();
    let found = find(engine, call, &config, &client, &wanted).await.map_err(|e| with_metadata(e, &config, &client.leaf))?;
    let (name, role) = found;
    if !cidrs_allow(&role.token.token_bound_cidrs, call.request.connection.remote_addr) {
        return Err(EngineError::denied("permission denied"));
    }
    let auth = grant(&name, &role, &client.leaf, &config)?;
    Ok(Some(Response { auth: Some(Box::new(auth)), ..Response::default() }))
}

fn client(call: &Call<'_>) -> Result<Client, EngineError> {
    let connection = &call.request.connection;
    if !connection.tls {
        return Err(EngineError::invalid("tls connection required"));
    }
    let (leaf, rest) = connection
        .client_certificates
        .split_first()
        .ok_or_else(|| EngineError::invalid("client certificate must be supplied"))?;
    let leaf = Presented::from_der(leaf).ok_or_else(|| EngineError::invalid(UNTRUSTED))?;
    Ok(Client { leaf, intermediates: rest.iter().map(|der| CertificateDer::from(der.clone())).collect() })
}

/// The first role that trusts the client and whose constraints it meets.
async fn find(
    engine: &Cert,
    call: &mut Call<'_>,
    config: &Config,
    client: &Client,
    wanted: &str,
) -> Result<(String, Arc<Role>), EngineError> {
    let names = if wanted.is_empty() { call.view.list(role::FOLDER, &Page::default())? } else { vec![wanted.to_owned()] };
    let crls = Crls::load(call)?;
    let mut asker = Asker::new(engine, config, &crls, &call.mount.uuid, call.now);
    let mut refusal = UNTRUSTED;
    for name in names {
        let Some(role) = role::load(call, &name)? else { continue };
        match trusts(&role, client, &crls, call) {
            Trust::Good(above) => {
                // Responders last: nobody outside hears of a certificate that is refused anyway.
                if rules::meets(&role, &client.leaf) && asker.passes(&role, &client.leaf, &above).await {
                    return Ok((name, role));
                }
                refusal = CONSTRAINED;
            }
            Trust::Revoked => refusal = CONSTRAINED,
            Trust::None => {}
        }
    }
    Err(EngineError::invalid(refusal))
}

fn trusts(role: &Role, client: &Client, crls: &Crls, call: &Call<'_>) -> Trust {
    judge(&client.leaf, &client.intermediates, &role.trusted(), call.now, &|serial| crls.revoked(serial))
}

/// Adds to a refusal which certificate was refused, where the operator wants that.
fn with_metadata(error: EngineError, config: &Config, leaf: &Presented) -> EngineError {
    match error {
        EngineError::Invalid(text) if config.enable_metadata_on_failures => {
            let shown = identifying(leaf).into_iter().map(|(k, v)| (k, v.into())).collect::<api_types::Map>();
            EngineError::InvalidWithData { text, data: [("metadata".to_owned(), shown.into())].into_iter().collect() }
        }
        other => other,
    }
}

fn identifying(leaf: &Presented) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("common_name".to_owned(), leaf.common_name.clone()),
        ("serial_number".to_owned(), leaf.serial.clone()),
        ("subject_key_id".to_owned(), colons(&leaf.subject_key_id)),
        ("authority_key_id".to_owned(), colons(&leaf.authority_key_id)),
    ])
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn grant(name: &str, role: &Role, leaf: &Presented, config: &Config) -> Result<Auth, EngineError> {
    if leaf.common_name.is_empty() {
        // The common name is what identity knows the client by.
        return Err(EngineError::internal("missing name in alias"));
    }
    let mut metadata = BTreeMap::new();
    for oid in role.allowed_metadata_extensions.iter().flatten() {
        if let Some(content) = leaf.extension(oid) {
            // Dashes, so that policies can name it.
            metadata.insert(oid.replace('.', "-"), string_of(content).unwrap_or_default());
        }
    }
    // Last, so that no extension can claim them.
    metadata.insert("cert_name".to_owned(), name.to_owned());
    metadata.extend(identifying(leaf));
    let kept = if config.enable_identity_alias_metadata { metadata.clone() } else { BTreeMap::new() };
    let mut auth = Auth {
        display_name: role.display_name.clone(),
        alias: Some(Alias { name: leaf.common_name.clone(), metadata: kept }),
        metadata,
        internal: [(FINGERPRINT.to_owned(), leaf.fingerprint().into())].into_iter().collect(),
        ..Auth::default()
    };
    role.token.apply(&mut auth);
    Ok(auth)
}

/// Renews for the certificate of the login, if its role still trusts it and gives the same policies. A sibling with the same
/// key, or with the same name, is another certificate (CVE-2026-39388).
pub fn renew(engine: &Cert, call: &mut Call<'_>, auth: &mut Auth) -> Result<(), EngineError> {
    let name = auth.metadata.get("cert_name").cloned().unwrap_or_default();
    let found = role::load(call, &name)?;
    let config = config::load(call)?;
    if !config.disable_binding {
        let client = client(call)?;
        let issued = auth.internal.get(FINGERPRINT).and_then(|f| f.as_str()).unwrap_or_default();
        if issued != client.leaf.fingerprint() {
            return Err(EngineError::internal("client identity during renewal not matching client identity used during login"));
        }
        if found.is_some() {
            wait(find(engine, call, &config, &client, &name))??;
        }
    }
    let Some(role) = found else {
        return Err(EngineError::internal("the role of the login does not exist any more, not renewing"));
    };
    let issued = if auth.token_policies.is_empty() { &auth.policies } else { &auth.token_policies };
    if meant(&role.token.token_policies) != meant(issued) {
        return Err(EngineError::internal("policies have changed, not renewing"));
    }
    role.token.renew(auth);
    Ok(())
}

/// Renewals are not asynchronous and seldom need to be: without OCSP, or with a kept answer, nothing is waited for. Otherwise
/// this thread waits, as long as a login would, and the runtime goes on with others.
fn wait<T>(future: impl Future<Output = T>) -> Result<T, EngineError> {
    let mut future = pin!(future);
    if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Ok(done);
    }
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => {
            Ok(tokio::task::block_in_place(|| runtime.block_on(future)))
        }
        _ => Err(EngineError::internal("no OCSP responder can be asked here, not renewing")),
    }
}

/// A policy list as it counts: `default` comes and goes by another switch.
fn meant(policies: &[String]) -> BTreeSet<String> {
    policies.iter().map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty() && p != "default").collect()
}
