//! Tidying: certificates and revocations whose time is over are forgotten. One call looks at a bounded number of
//! certificates inside its own transaction and remembers where it stopped; the next call goes on there.
//!
//! Deliberately absent: a timer. `config/auto-tidy` is kept and shown; nothing acts on it yet.

use std::time::Duration;

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Fields, Kind, Outcome, Response, Route};
use secret::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::Page;

use crate::Pki;
use crate::limits::TIDY_CERTIFICATES;
use crate::store::{Issued, IssuersConfig, Named, Revoked, all_issuers, setting, touch_crls};

const DAY: u64 = 24 * 3600;

/// What can be tidied; the first four do something here, the others belong to features that are absent.
const TARGETS: [&str; 11] = [
    "tidy_cert_store",
    "tidy_revoked_certs",
    "tidy_revoked_cert_issuer_associations",
    "tidy_expired_issuers",
    "tidy_move_legacy_ca_bundle",
    "tidy_revocation_queue",
    "tidy_cross_cluster_revoked_certs",
    "tidy_acme",
    "tidy_cert_metadata",
    "tidy_cmpv2_nonce_store",
    "enabled",
];

macro_rules! tidy_fields {
    ($($more:expr),* $(,)?) => {
        &[
            Field::new("tidy_cert_store", FieldKind::Bool, "Expired certificates are forgotten."),
            Field::new("tidy_revoked_certs", FieldKind::Bool, "Revocations of expired certificates are forgotten."),
            Field::new("tidy_revocation_list", FieldKind::Bool, "An older name of `tidy_revoked_certs`."),
            Field::new("tidy_revoked_cert_issuer_associations", FieldKind::Bool, "Revocations get their issuer; here they have it."),
            Field::new("tidy_expired_issuers", FieldKind::Bool, "Expired issuers are deleted, but for the default one."),
            Field::new("tidy_move_legacy_ca_bundle", FieldKind::Bool, "Nothing here."),
            Field::new("tidy_revocation_queue", FieldKind::Bool, "Nothing here."),
            Field::new("tidy_cross_cluster_revoked_certs", FieldKind::Bool, "Nothing here."),
            Field::new("tidy_acme", FieldKind::Bool, "Nothing here."),
            Field::new("tidy_cert_metadata", FieldKind::Bool, "Nothing here."),
            Field::new("tidy_cmpv2_nonce_store", FieldKind::Bool, "Nothing here."),
            Field::new("safety_buffer", FieldKind::DurationSecond, "How long after its end a certificate is kept."),
            Field::new("issuer_safety_buffer", FieldKind::DurationSecond, "How long after its end an issuer is kept."),
            Field::new("revocation_queue_safety_buffer", FieldKind::DurationSecond, "Nothing here."),
            Field::new("acme_account_safety_buffer", FieldKind::DurationSecond, "Nothing here."),
            Field::new("pause_duration", FieldKind::String, "Kept and shown; one call is short enough."),
            $($more,)*
        ]
    };
}

const TIDY: &[Field] = tidy_fields!();
const AUTO: &[Field] = tidy_fields!(
    Field::new("enabled", FieldKind::Bool, "Kept and shown."),
    Field::new("interval_duration", FieldKind::DurationSecond, "Kept and shown."),
    Field::new("min_startup_backoff_duration", FieldKind::DurationSecond, "Kept and shown."),
    Field::new("max_startup_backoff_duration", FieldKind::DurationSecond, "Kept and shown."),
    Field::new("maintain_stored_certificate_counts", FieldKind::Bool, "Kept and shown."),
    Field::new("publish_stored_certificate_count_metrics", FieldKind::Bool, "Kept and shown."),
);

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    vec![
        Route::new("tidy", TIDY, "Forgets what is over.").on(Operation::Update, "Forgets what is over.", tidy),
        Route::new("tidy-status", &[], "The last tidying.").on(Operation::Read, "Reads what the last tidying did.", status),
        Route::new("tidy-cancel", &[], "Stops a tidying.").on(Operation::Update, "There is never one to stop.", cancel),
        Route::new("config/auto-tidy", AUTO, "Settings of tidying.").on(Operation::Read, "Reads the settings.", read_auto).on(
            Operation::Update,
            "Changes the settings that are given.",
            write_auto,
        ),
    ]
}

/// `config/auto-tidy`: switches, whole seconds, and one text.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Auto(Map);

impl Default for Auto {
    fn default() -> Self {
        let mut map: Map = TARGETS.iter().map(|name| ((*name).to_owned(), Value::Bool(false))).collect();
        for name in ["maintain_stored_certificate_counts", "publish_stored_certificate_count_metrics"] {
            map.insert(name.to_owned(), Value::Bool(false));
        }
        for (name, seconds) in [
            ("safety_buffer", 3 * DAY),
            ("issuer_safety_buffer", 365 * DAY),
            ("revocation_queue_safety_buffer", 2 * DAY),
            ("acme_account_safety_buffer", 30 * DAY),
            ("interval_duration", DAY / 2),
            ("min_startup_backoff_duration", 300),
            ("max_startup_backoff_duration", 900),
        ] {
            map.insert(name.to_owned(), seconds.into());
        }
        map.insert("pause_duration".to_owned(), "0s".into());
        Self(map)
    }
}

/// `tidy/last`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Last {
    started: Option<Time>,
    options: Map,
    cert_store_deleted_count: u64,
    revoked_cert_deleted_count: u64,
    expired_issuers_deleted_count: u64,
    /// Where the next look at certificates begins.
    certificates_after: Option<String>,
    revocations_after: Option<String>,
}

fn tidy(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let wanted = |f: &Fields, name| f.bool(name).unwrap_or(false);
    let f = &call.fields;
    let certificates = wanted(f, "tidy_cert_store");
    let revocations = wanted(f, "tidy_revoked_certs") || wanted(f, "tidy_revocation_list");
    let issuers = wanted(f, "tidy_expired_issuers");
    let others = TARGETS.iter().any(|name| wanted(f, name));
    if !(certificates || revocations || issuers || others) {
        let mut response = Response::warning(
            "No targets to tidy; specify tidy_cert_store=true or tidy_revoked_certs=true or tidy_revoked_cert_issuer_associations=true \
             or tidy_expired_issuers=true or tidy_move_legacy_ca_bundle=true or tidy_revocation_queue=true or \
             tidy_cross_cluster_revoked_certs=true or tidy_acme=true to start a tidy operation.",
        );
        response.kind = Kind::Accepted;
        return Ok(Some(response));
    }
    let seconds = |name, otherwise: u64| f.duration(name).unwrap_or(Duration::from_secs(otherwise));
    let (buffer, issuer_buffer) = (seconds("safety_buffer", 3 * DAY), seconds("issuer_safety_buffer", 365 * DAY));
    if buffer.is_zero() || issuer_buffer.is_zero() {
        return Err(EngineError::invalid("safety_buffer must be greater than zero"));
    }
    let earlier: Last = setting(&mut call.view, "tidy/last")?;
    let mut last = Last {
        started: Some(call.now),
        options: call.request.data.clone(),
        certificates_after: earlier.certificates_after,
        revocations_after: earlier.revocations_after,
        ..Last::default()
    };
    let over = call.now.minus(buffer).unix();
    if certificates {
        forget_certificates(call, over, &mut last)?;
    }
    if revocations {
        forget_revocations(call, over, &mut last)?;
    }
    if issuers {
        forget_issuers(call, issuer_buffer, &mut last)?;
    }
    call.view.put_json("tidy/last", &last)?;
    let mut response = Response::warning(
        "Tidy operation successfully started. Any information from the operation will be printed to Vault's server logs.",
    );
    response.kind = Kind::Accepted;
    Ok(Some(response))
}

fn next_page(after: &Option<String>) -> Page {
    Page { after: after.clone(), limit: Some(TIDY_CERTIFICATES) }
}

fn where_to_go_on(serials: &[String]) -> Option<String> {
    serials.last().filter(|_| serials.len() >= TIDY_CERTIFICATES).cloned()
}

fn forget_certificates(call: &mut Call<'_>, over: i64, last: &mut Last) -> Result<(), EngineError> {
    let serials = call.view.list("certs/", &next_page(&last.certificates_after))?;
    last.certificates_after = where_to_go_on(&serials);
    for serial in serials {
        let key = format!("certs/{serial}");
        if call.view.get_json::<Issued>(&key)?.is_some_and(|c| c.not_after < over) {
            call.view.delete(&key)?;
            last.cert_store_deleted_count += 1;
        }
    }
    Ok(())
}

fn forget_revocations(call: &mut Call<'_>, over: i64, last: &mut Last) -> Result<(), EngineError> {
    let serials = call.view.list("revoked/", &next_page(&last.revocations_after))?;
    last.revocations_after = where_to_go_on(&serials);
    for serial in serials {
        let key = format!("revoked/{serial}");
        if call.view.get_json::<Revoked>(&key)?.is_some_and(|r| r.not_after < over) {
            call.view.delete(&key)?;
            call.view.delete(&format!("certs/{serial}"))?;
            last.revoked_cert_deleted_count += 1;
        }
    }
    if last.revoked_cert_deleted_count > 0 {
        touch_crls(&mut call.view, call.entropy)?;
    }
    Ok(())
}

fn forget_issuers(call: &mut Call<'_>, buffer: Duration, last: &mut Last) -> Result<(), EngineError> {
    let over = call.now.minus(buffer).unix();
    let default = setting::<IssuersConfig>(&mut call.view, "config/issuers")?.default;
    for issuer in all_issuers(&mut call.view)?.into_iter().filter(|i| i.id != default) {
        if issuer.read()?.not_after < over {
            Named::Issuer.rename(&mut call.view, &issuer.id, &issuer.name, "")?;
            call.view.delete(&format!("issuer/{}", issuer.id))?;
            last.expired_issuers_deleted_count += 1;
        }
    }
    Ok(())
}

fn status(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let last: Last = setting(&mut call.view, "tidy/last")?;
    let mut map = Auto::default().0;
    for name in ["enabled", "interval_duration", "min_startup_backoff_duration", "max_startup_backoff_duration"] {
        map.remove(name);
    }
    for name in ["maintain_stored_certificate_counts", "publish_stored_certificate_count_metrics"] {
        map.remove(name);
    }
    for (name, value) in &mut map {
        if last.started.is_none() {
            *value = Value::Null;
        } else if let Some(sent) = last.options.get(name) {
            value.clone_from(sent);
        }
    }
    let ran = last.started.is_some();
    let time = last.started.map_or(Value::Null, |t| t.rfc3339().into());
    let count = |n: u64| if ran { n.into() } else { Value::Null };
    for (name, value) in [
        ("state", if ran { "Finished".into() } else { "Inactive".into() }),
        ("error", Value::Null),
        ("message", Value::Null),
        ("time_started", time.clone()),
        ("time_finished", time.clone()),
        ("last_auto_tidy_finished", json!("0001-01-01T00:00:00Z")),
        ("cert_store_deleted_count", count(last.cert_store_deleted_count)),
        ("revoked_cert_deleted_count", count(last.revoked_cert_deleted_count)),
        ("missing_issuer_cert_count", count(0)),
        ("current_cert_store_count", Value::Null),
        ("current_revoked_cert_count", Value::Null),
        ("revocation_queue_deleted_count", count(0)),
        ("cross_revoked_cert_deleted_count", count(0)),
        ("acme_account_deleted_count", count(0)),
        ("acme_account_revoked_count", count(0)),
        ("acme_orders_deleted_count", count(0)),
        ("total_acme_account_count", count(0)),
        ("cert_metadata_deleted_count", count(0)),
        ("cmpv2_nonce_deleted_count", count(0)),
        ("internal_backend_uuid", call.mount.uuid.clone().into()),
    ] {
        map.insert(name.to_owned(), value);
    }
    Ok(Some(Response::data(map)))
}

fn cancel(_: &Pki, _: &mut Call<'_>) -> Outcome {
    Err(EngineError::invalid("Tidy operation cannot be cancelled as none is currently running."))
}

fn read_auto(_: &Pki, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::data(setting::<Auto>(&mut call.view, "config/auto-tidy")?.0)))
}

fn write_auto(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let mut auto: Auto = setting(&mut call.view, "config/auto-tidy")?;
    for field in AUTO.iter().filter(|f| f.name != "tidy_revocation_list") {
        let value: Value = match field.kind {
            FieldKind::Bool => call.fields.bool(field.name).into(),
            FieldKind::DurationSecond => call.fields.duration(field.name).map(|d| d.as_secs()).into(),
            _ => call.fields.text(field.name).into(),
        };
        if !value.is_null() {
            auto.0.insert(field.name.to_owned(), value);
        }
    }
    if let Some(text) = call.fields.text("pause_duration") {
        api_types::duration::parse(text).map_err(|e| EngineError::invalid(format!("Error parsing pause_duration: {e}")))?;
    }
    let on = |name: &str| auto.0.get(name) == Some(&Value::Bool(true));
    if on("enabled") && !TARGETS.iter().any(|name| *name != "enabled" && on(name)) {
        return Err(EngineError::invalid(
            "Auto-tidy enabled but no tidy operations were requested. Enable at least one tidy operation to be run \
             (tidy_cert_store / tidy_revoked_certs / tidy_revoked_cert_issuer_associations / tidy_expired_issuers / \
             tidy_move_legacy_ca_bundle / tidy_revocation_queue / tidy_cross_cluster_revoked_certs / tidy_acme).",
        ));
    }
    if auto.0.get("interval_duration").and_then(Value::as_u64) == Some(0) {
        return Err(EngineError::invalid("given interval_duration must be greater than or equal to one second; got: 0"));
    }
    call.view.put_json("config/auto-tidy", &auto)?;
    Ok(Some(Response::data(auto.0)))
}
