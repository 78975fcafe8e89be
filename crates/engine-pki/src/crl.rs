//! Revocation lists. They are made from `revoked/` when somebody asks, signed on a thread of their own, and kept in memory
//! until the stamp in storage changes or half of their life is over. One is made at a time, so a crowd of verifiers costs
//! one signature. The number of a list is the time it was made at, in nanoseconds: it grows, on every node.
//!
//! Deliberately absent: lists of other clusters, lists cut in shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_types::{Operation, duration};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::json;
use storage::Page;

use crate::config::CrlConfig;
use crate::draft::{Extension, authority_key_id, seal};
use crate::limits::CRL_LIFE;
use crate::signing::{Authority, apart};
use crate::store::{CRL_STAMP, IssuersConfig, Revoked, Usage, all_issuers, serial_bytes, setting, touch_crls};
use crate::{Pki, asn1, oids, pem};

/// The lists last made, by issuer id; complete and delta.
#[derive(Default)]
pub struct Lists(tokio::sync::Mutex<BTreeMap<String, Made>>);

#[derive(Clone)]
struct Made {
    stamp: String,
    /// Seconds since the epoch.
    at: i64,
    /// Seconds since the epoch: time to make a new one.
    until: i64,
    complete: Arc<Vec<u8>>,
    /// If delta lists are enabled.
    delta: Option<Arc<Vec<u8>>>,
}

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Complete,
    Delta,
}

/// In which clothes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Der,
    Pem,
    /// `data.crl`.
    Json,
}

const ISSUER: &[Field] = &[Field::new("issuer_ref", FieldKind::String, "`default`, a name or an id.")];

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    macro_rules! serve {
        ($pattern:literal, $kind:ident, $shape:ident) => {
            Route::new($pattern, ISSUER, "A revocation list.").on_async(
                Operation::Read,
                "Reads a revocation list.",
                |pki, call| Box::pin(serve(pki, call, Kind::$kind, Shape::$shape)),
            )
        };
    }
    vec![
        serve!("crl", Complete, Der),
        serve!("crl/pem", Complete, Pem),
        serve!("crl/delta", Delta, Der),
        serve!("crl/delta/pem", Delta, Pem),
        serve!("issuer/{issuer_ref}/crl", Complete, Json),
        serve!("issuer/{issuer_ref}/crl/der", Complete, Der),
        serve!("issuer/{issuer_ref}/crl/pem", Complete, Pem),
        serve!("issuer/{issuer_ref}/crl/delta", Delta, Json),
        serve!("issuer/{issuer_ref}/crl/delta/der", Delta, Der),
        serve!("issuer/{issuer_ref}/crl/delta/pem", Delta, Pem),
        Route::new("crl/rotate", &[], "New revocation lists.").on(Operation::Read, "Makes all lists anew.", rotate),
        Route::new("crl/rotate-delta", &[], "New delta lists.").on(Operation::Read, "Makes delta lists anew.", rotate),
    ]
}

async fn serve(pki: &Pki, call: &mut Call<'_>, kind: Kind, shape: Shape) -> Outcome {
    let of_default = !call.fields.has("issuer_ref");
    let reference = call.fields.text("issuer_ref").unwrap_or("default").to_owned();
    let content_type = if shape == Shape::Pem { "application/x-pem-file" } else { "application/pkix-crl" };
    let nothing = || Ok(Some(empty(content_type)));
    if of_default && setting::<IssuersConfig>(&mut call.view, "config/issuers")?.default.is_empty() {
        return nothing();
    }
    let made = current(pki, call, &reference).await?;
    let list = match kind {
        Kind::Complete => Some(made.complete),
        Kind::Delta => made.delta,
    };
    match (list, shape) {
        (None, Shape::Json) => Ok(None),
        (None, _) => nothing(),
        (Some(der), Shape::Json) => Ok(Some(Response::json(json!({ "crl": pem::encode(pem::CRL, &der) })))),
        (Some(der), Shape::Pem) => Ok(Some(Response::bare(content_type, pem::encode(pem::CRL, &der).into_bytes()))),
        (Some(der), Shape::Der) => Ok(Some(Response::bare(content_type, der.to_vec()))),
    }
}

/// A raw answer with nothing in it.
#[must_use]
pub fn empty(content_type: &str) -> Response {
    let mut response = Response::bare(content_type, Vec::new());
    if let engine::Kind::Bare { status, .. } = &mut response.kind {
        *status = 204;
    }
    response
}

/// The default issuer's list as PEM, for `cert/crl` and `cert/delta-crl`.
pub async fn default_pem(pki: &Pki, call: &mut Call<'_>, delta: bool) -> Result<Option<String>, EngineError> {
    let made = current(pki, call, "default").await?;
    let list = if delta { made.delta } else { Some(made.complete) };
    Ok(list.map(|der| pem::encode(pem::CRL, &der)))
}

async fn current(pki: &Pki, call: &mut Call<'_>, reference: &str) -> Result<Made, EngineError> {
    let issuer = crate::store::resolve_issuer(&mut call.view, reference)?;
    let stamp = setting::<String>(&mut call.view, CRL_STAMP)?;
    let now = call.now.unix();
    let mut lists = pki.lists.0.lock().await;
    if let Some(made) = lists.get(&issuer.id).filter(|m| m.stamp == stamp && (m.at..m.until).contains(&now)) {
        return Ok(made.clone());
    }
    let made = make(call, &issuer.id, stamp).await?;
    lists.insert(issuer.id.clone(), made.clone());
    Ok(made)
}

async fn make(call: &mut Call<'_>, issuer_id: &str, stamp: String) -> Result<Made, EngineError> {
    let config: CrlConfig = setting(&mut call.view, "config/crl")?;
    let authority = Authority::load(&mut call.view, issuer_id, Usage::CrlSigning)?;
    let entries = if config.disable { Vec::new() } else { revoked_by(call, issuer_id, config.max_crl_entries)? };
    let life = duration::parse(&config.expiry).ok().and_then(duration::Signed::unsigned).unwrap_or(CRL_LIFE);
    let (hash_bits, pss) = signature_wish(&authority.issuer.revocation_signature_algorithm);
    let signer = authority.signer(hash_bits, pss);
    let (at, number) = (call.now.unix(), u64::try_from(call.now.nanos()).unwrap_or(0));
    let life_seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    let end = at.saturating_add(life_seconds);
    let with_delta = config.enable_delta;
    let key = authority.key;
    let (complete, delta) = apart(move || {
        let list = |entries: &[Vec<u8>], base: Option<u64>| {
            let revoked = if entries.is_empty() { Vec::new() } else { asn1::sequence(entries) };
            let mut extensions =
                vec![authority_key_id(&signer.key_id), Extension::new(oids::CRL_NUMBER, false, asn1::number(number))];
            extensions.extend(base.map(|base| Extension::new(oids::DELTA_CRL, true, asn1::number(base))));
            let extensions: Vec<Vec<u8>> = extensions.iter().map(Extension::to_der).collect();
            let content = asn1::sequence(&[
                asn1::number(1),
                signer.scheme.algorithm(),
                signer.name.clone(),
                asn1::time(at),
                asn1::time(end),
                revoked,
                asn1::explicit(0, &asn1::sequence(&extensions)),
            ]);
            seal(content, signer.scheme, &key)
        };
        // The complete list is always the newest there is, so a delta on it has nothing to add.
        let delta = if with_delta { Some(list(&[], Some(number))?) } else { None };
        Ok((list(&entries, None)?, delta))
    })
    .await?;
    Ok(Made {
        stamp,
        at,
        until: at.saturating_add(life_seconds / 2).max(at.saturating_add(1)),
        complete: Arc::new(complete),
        delta: delta.map(Arc::new),
    })
}

/// The entries of an issuer's list. What nobody here signed goes onto the default issuer's, as in Vault.
fn revoked_by(call: &mut Call<'_>, issuer_id: &str, limit: i64) -> Result<Vec<Vec<u8>>, EngineError> {
    let is_default = setting::<IssuersConfig>(&mut call.view, "config/issuers")?.default == issuer_id;
    let known: BTreeSet<String> = all_issuers(&mut call.view)?.iter().map(|i| i.id.clone()).collect();
    let mut out = Vec::new();
    for serial in call.view.list("revoked/", &Page::default())? {
        let Some(entry) = call.view.get_json::<Revoked>(&format!("revoked/{serial}"))? else { continue };
        if entry.issuer_id == issuer_id || (is_default && !known.contains(&entry.issuer_id)) {
            out.push(asn1::sequence(&[asn1::unsigned(&serial_bytes(&serial)), asn1::time(entry.at.unix())]));
        }
        if limit >= 0 && i64::try_from(out.len()).unwrap_or(i64::MAX) > limit {
            return Err(EngineError::internal(format!(
                "the number of revoked certificates exceeds max_crl_entries ({limit}); tidy them or raise the limit"
            )));
        }
    }
    Ok(out)
}

/// `SHA384WithRSA`, `SHA256WithRSAPSS`, … as Go names them; other texts and keys have no choice.
fn signature_wish(name: &str) -> (u32, bool) {
    let name = name.to_ascii_uppercase();
    let bits = [384, 512].into_iter().find(|bits| name.starts_with(&format!("SHA{bits}"))).unwrap_or(0);
    (bits, name.ends_with("PSS"))
}

/// Only for callers with a token, even where the path is among the open ones.
fn rotate(_: &Pki, call: &mut Call<'_>) -> Outcome {
    if call.caller.policies.is_empty() && !call.caller.is_root {
        return Err(EngineError::denied("permission denied"));
    }
    touch_crls(&mut call.view, call.entropy)?;
    Ok(Some(Response::json(json!({ "success": true }))))
}
