//! Settings of the mount: URLs, revocation lists, the cluster's address, ACME (only that it is off), tidying.

use std::time::Duration;

use api_types::{Operation, duration};
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response, Route};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Pki;
use crate::draft::Urls;
use crate::fields::list;
use crate::limits::CRL_ENTRIES;
use crate::signing::Cluster;
use crate::store::{setting, touch_crls};

const URLS: &[Field] = &[
    Field::new("issuing_certificates", FieldKind::CommaStringSlice, "URLs of the issuer's certificate."),
    Field::new("crl_distribution_points", FieldKind::CommaStringSlice, "URLs of revocation lists."),
    Field::new("delta_crl_distribution_points", FieldKind::CommaStringSlice, "URLs of delta lists."),
    Field::new("ocsp_servers", FieldKind::CommaStringSlice, "URLs of OCSP responders."),
    Field::new("enable_templating", FieldKind::Bool, "The URLs hold templates."),
];
const CRL: &[Field] = &[
    Field::new("expiry", FieldKind::String, "Life of a revocation list."),
    Field::new("disable", FieldKind::Bool, "Revocation lists are empty."),
    Field::new("ocsp_disable", FieldKind::Bool, "OCSP is not answered."),
    Field::new("ocsp_expiry", FieldKind::String, "Life of an OCSP answer."),
    Field::new("auto_rebuild", FieldKind::Bool, "Lists are renewed before they end; here they always are."),
    Field::new("auto_rebuild_grace_period", FieldKind::String, "How long before their end."),
    Field::new("enable_delta", FieldKind::Bool, "Delta lists are served."),
    Field::new("delta_rebuild_interval", FieldKind::String, "How often delta lists are renewed."),
    Field::new("cross_cluster_revocation", FieldKind::Bool, "Not supported."),
    Field::new("unified_crl", FieldKind::Bool, "Not supported."),
    Field::new("unified_crl_on_existing_paths", FieldKind::Bool, "Not supported."),
    Field::new("max_crl_entries", FieldKind::Int, "Most entries of a list; -1 for any number."),
];
const CLUSTER: &[Field] = &[
    Field::new("path", FieldKind::String, "The mount's URL for clients."),
    Field::new("aia_path", FieldKind::String, "The mount's URL for verifiers."),
];
const ACME: &[Field] = &[Field::new("enabled", FieldKind::Bool, "Not supported.")];

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    vec![
        Route::new("config/urls", URLS, "URLs in certificates.").on(Operation::Read, "Reads the URLs.", read_urls).on(
            Operation::Update,
            "Changes the URLs that are given.",
            write_urls,
        ),
        Route::new("config/crl", CRL, "Revocation lists.").on(Operation::Read, "Reads the settings.", read_crl).on(
            Operation::Update,
            "Changes the settings that are given.",
            write_crl,
        ),
        Route::new("config/cluster", CLUSTER, "The address for templates in URLs.")
            .on(Operation::Read, "Reads the address.", read_cluster)
            .on(Operation::Update, "Changes what is given.", write_cluster),
        Route::new("config/acme", ACME, "ACME, which this server does not speak.")
            .on(Operation::Read, "Reads that it is off.", |_, _| Ok(Some(acme())))
            .on(Operation::Update, "Refuses to switch it on.", write_acme),
    ]
}

/// `config/crl`. Durations are kept as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "each field is described where it is declared, in CRL")]
pub struct CrlConfig {
    pub auto_rebuild: bool,
    pub auto_rebuild_grace_period: String,
    pub cross_cluster_revocation: bool,
    pub delta_rebuild_interval: String,
    pub disable: bool,
    pub enable_delta: bool,
    pub expiry: String,
    pub max_crl_entries: i64,
    pub ocsp_disable: bool,
    pub ocsp_expiry: String,
    pub unified_crl: bool,
    pub unified_crl_on_existing_paths: bool,
}

impl Default for CrlConfig {
    fn default() -> Self {
        Self {
            auto_rebuild: false,
            auto_rebuild_grace_period: "12h".to_owned(),
            cross_cluster_revocation: false,
            delta_rebuild_interval: "15m".to_owned(),
            disable: false,
            enable_delta: false,
            expiry: "72h".to_owned(),
            max_crl_entries: CRL_ENTRIES,
            ocsp_disable: false,
            ocsp_expiry: "12h".to_owned(),
            unified_crl: false,
            unified_crl_on_existing_paths: false,
        }
    }
}

fn shown<T: Serialize>(value: &T) -> Response {
    Response::json(serde_json::to_value(value).unwrap_or_default())
}

fn read_urls(_: &Pki, call: &mut Call<'_>) -> Outcome {
    Ok(Some(shown(&setting::<Urls>(&mut call.view, "config/urls")?)))
}

fn write_urls(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let mut urls: Urls = setting(&mut call.view, "config/urls")?;
    let f = &call.fields;
    if let Some(on) = f.bool("enable_templating") {
        urls.enable_templating = on;
    }
    let lists = [
        ("issuing_certificates", &mut urls.issuing_certificates),
        ("crl_distribution_points", &mut urls.crl_distribution_points),
        ("delta_crl_distribution_points", &mut urls.delta_crl_distribution_points),
        ("ocsp_servers", &mut urls.ocsp_servers),
    ];
    for (name, urls) in lists {
        if f.has(name) {
            *urls = list(f, name);
        }
    }
    check_urls(&urls)?;
    call.view.put_json("config/urls", &urls)?;
    Ok(Some(shown(&urls)))
}

/// Refuses what is no URL. Templates are checked when they are filled in; they must be ASCII all the same.
pub fn check_urls(urls: &Urls) -> Result<(), EngineError> {
    let lists = [
        ("issuing_certificates", &urls.issuing_certificates),
        ("crl_distribution_points", &urls.crl_distribution_points),
        ("delta_crl_distribution_points", &urls.delta_crl_distribution_points),
        ("ocsp_servers", &urls.ocsp_servers),
    ];
    for (name, list) in lists {
        for text in list {
            let templated = urls.enable_templating && text.contains("{{");
            if !text.is_ascii() || (!templated && url::Url::parse(text).is_err()) {
                return Err(EngineError::invalid(format!(
                    "invalid URL found in Authority Information Access (AIA) parameter {name}: {text}"
                )));
            }
        }
    }
    Ok(())
}

fn read_crl(_: &Pki, call: &mut Call<'_>) -> Outcome {
    Ok(Some(shown(&setting::<CrlConfig>(&mut call.view, "config/crl")?)))
}

fn write_crl(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let mut config: CrlConfig = setting(&mut call.view, "config/crl")?;
    let f = &call.fields;
    let durations = [
        ("expiry", &mut config.expiry),
        ("ocsp_expiry", &mut config.ocsp_expiry),
        ("auto_rebuild_grace_period", &mut config.auto_rebuild_grace_period),
        ("delta_rebuild_interval", &mut config.delta_rebuild_interval),
    ];
    for (name, kept) in durations {
        let Some(text) = f.text(name) else { continue };
        parse(text).map_err(|e| EngineError::invalid(format!("given {name} could not be decoded: {e}")))?;
        *kept = text.to_owned();
    }
    let switches = [
        ("disable", &mut config.disable),
        ("ocsp_disable", &mut config.ocsp_disable),
        ("auto_rebuild", &mut config.auto_rebuild),
        ("enable_delta", &mut config.enable_delta),
        ("cross_cluster_revocation", &mut config.cross_cluster_revocation),
        ("unified_crl", &mut config.unified_crl),
        ("unified_crl_on_existing_paths", &mut config.unified_crl_on_existing_paths),
    ];
    for (name, kept) in switches {
        *kept = f.bool(name).unwrap_or(*kept);
    }
    if let Some(n) = f.int("max_crl_entries") {
        config.max_crl_entries = n;
    }
    check_crl(&config)?;
    call.view.put_json("config/crl", &config)?;
    touch_crls(&mut call.view, call.entropy)?;
    Ok(Some(shown(&config)))
}

fn parse(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).map_err(|e| e.to_string())?;
    parsed.unsigned().ok_or_else(|| format!("time: invalid duration {text:?}"))
}

fn check_crl(config: &CrlConfig) -> Result<(), EngineError> {
    let seconds = |text: &str| parse(text).unwrap_or_default();
    let (expiry, grace) = (&config.expiry, &config.auto_rebuild_grace_period);
    if config.auto_rebuild && seconds(grace) >= seconds(expiry) {
        return Err(EngineError::invalid(format!(
            "CRL auto-rebuilding grace period ({grace}) must be strictly shorter than CRL expiry ({expiry}) value when auto-rebuilding \
             of CRLs is enabled"
        )));
    }
    if config.enable_delta && !config.auto_rebuild {
        return Err(EngineError::invalid(
            "Delta CRLs cannot be enabled when auto rebuilding is disabled as the complete CRL is always regenerated!",
        ));
    }
    let interval = &config.delta_rebuild_interval;
    if config.enable_delta && seconds(interval) >= seconds(expiry) {
        return Err(EngineError::invalid(format!(
            "CRL delta rebuild window ({interval}) must be strictly shorter than CRL expiry ({expiry}) value when delta CRLs are enabled"
        )));
    }
    if seconds(expiry).is_zero() {
        return Err(EngineError::invalid("given expiry could not be decoded: time: invalid duration \"0\""));
    }
    if config.cross_cluster_revocation || config.unified_crl || config.unified_crl_on_existing_paths {
        return Err(EngineError::invalid("cross-cluster revocation and unified CRLs are not supported by this server"));
    }
    Ok(())
}

fn read_cluster(_: &Pki, call: &mut Call<'_>) -> Outcome {
    Ok(Some(shown(&setting::<Cluster>(&mut call.view, "config/cluster")?)))
}

fn write_cluster(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let mut cluster: Cluster = setting(&mut call.view, "config/cluster")?;
    for (name, kept) in [("path", &mut cluster.path), ("aia_path", &mut cluster.aia_path)] {
        let Some(text) = call.fields.text(name) else { continue };
        if !text.is_empty() && (url::Url::parse(text).is_err() || !text.is_ascii()) {
            return Err(EngineError::invalid(format!("invalid, non-URL {name} given to cluster: {text}")));
        }
        *kept = text.to_owned();
    }
    call.view.put_json("config/cluster", &cluster)?;
    Ok(Some(shown(&cluster)))
}

fn acme() -> Response {
    Response::json(json!({
        "allow_role_ext_key_usage": false, "allowed_issuers": ["*"], "allowed_roles": ["*"],
        "default_directory_policy": "sign-verbatim", "dns_resolver": "", "eab_policy": "not-required", "enabled": false,
        "max_ttl": ACME_MAX_TTL_SECONDS,
    }))
}

/// 90 days, shown as the default it is.
const ACME_MAX_TTL_SECONDS: u64 = 7_776_000;

fn write_acme(_: &Pki, call: &mut Call<'_>) -> Outcome {
    if on(&call.fields) {
        return Err(EngineError::invalid("ACME is not supported by this server"));
    }
    Ok(Some(acme()))
}

fn on(f: &Fields) -> bool {
    f.bool("enabled").unwrap_or(false)
}
