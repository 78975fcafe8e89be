//! The `listener "tcp"` stanzas (contract §8.2).

use std::path::PathBuf;
use std::time::Duration;

use hcl1::{Item, Kind};
use server_http::{CustomHeaderError, CustomHeaders, Limits, TlsSettings};

use super::read::{ConfigError, Reader};
use super::unknown;

/// One listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// `host:port`.
    pub address: String,
    /// `cluster_address`; empty if not configured.
    pub cluster_address: String,
    /// TLS; none with `tls_disable`.
    pub tls: Option<TlsSettings>,
    /// Bounds.
    pub limits: Limits,
    /// Its `telemetry` stanza.
    pub telemetry: TelemetryAccess,
    /// Its `custom_response_headers`.
    pub headers: CustomHeaders,
}

/// Who may read metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TelemetryAccess {
    /// `unauthenticated_metrics_access`.
    pub unauthenticated: bool,
}

const KNOWN: &[&str] = &[
    "address",
    "cluster_address",
    "tls_disable",
    "tls_cert_file",
    "tls_key_file",
    "tls_min_version",
    "tls_max_version",
    "tls_cipher_suites",
    "tls_client_ca_file",
    "tls_require_and_verify_client_cert",
    "tls_disable_client_certs",
    "tls_prefer_server_cipher_suites",
    "max_request_size",
    "max_request_duration",
    "max_json_depth",
    "max_json_string_value_length",
    "max_json_object_entry_count",
    "max_json_array_element_count",
    "max_json_token",
    "http_read_timeout",
    "http_read_header_timeout",
    "http_idle_timeout",
    "http_write_timeout",
    "telemetry",
    "profiling",
    "inflight_requests_logging",
    "custom_response_headers",
    "redact_addresses",
    "redact_cluster_name",
    "redact_version",
    "disable_replication_status_endpoints",
    "disable_request_limiter",
    "purpose",
    "role",
];

/// Reads all listeners.
pub(super) fn read(root: &mut Reader<'_>) -> Result<Vec<ListenerConfig>, ConfigError> {
    let object = root.object();
    let mut out = Vec::new();
    for block in object.blocks("listener", 1)? {
        match block.labels.first().map(|k| k.text.as_str()) {
            Some("tcp") => {}
            other => {
                return Err(ConfigError::Invalid(format!("listener type {} is not supported: only tcp is", other.unwrap_or(""))));
            }
        }
        let mut r = Reader::new("listener.tcp.", block.body);
        out.push(one(&mut r)?);
        let unknown_keys: Vec<String> = block.body.unknown_keys(KNOWN).map(|k| unknown("listener.tcp.", k)).collect();
        let warnings = r.into_warnings();
        warnings.into_iter().chain(unknown_keys).for_each(|w| root.warn(w));
    }
    Ok(out)
}

fn one(r: &mut Reader<'_>) -> Result<ListenerConfig, ConfigError> {
    let tls = if r.flag("tls_disable")?.unwrap_or(false) { None } else { Some(tls(r)?) };
    let mut telemetry = TelemetryAccess::default();
    for block in r.object().blocks("telemetry", 0)? {
        let mut inner = Reader::new("listener.tcp.telemetry.", block.body);
        telemetry.unauthenticated = inner.flag("unauthenticated_metrics_access")?.unwrap_or(false);
    }
    Ok(ListenerConfig {
        address: r.text("address")?.filter(|a| !a.is_empty()).unwrap_or_else(|| "127.0.0.1:8200".into()),
        cluster_address: r.text("cluster_address")?.unwrap_or_default(),
        tls,
        limits: limits(r)?,
        telemetry,
        headers: custom_headers(r)?,
    })
}

/// `custom_response_headers { "default" = { "X-Name" = ["value"] } "4xx" = { … } }`
fn custom_headers(r: &mut Reader<'_>) -> Result<CustomHeaders, ConfigError> {
    const PLACE: &str = "listener.tcp.custom_response_headers";
    let mut headers = CustomHeaders::default();
    let blocks = r.object().blocks("custom_response_headers", 0)?;
    let statuses: Vec<&Item> = blocks.iter().flat_map(|b| &b.body.items).collect();
    for item in statuses {
        let status = item.key().map_or("", |k| k.text.as_str());
        let Kind::Object(named) = &item.value.kind else {
            return Err(ConfigError::Invalid(format!("{PLACE}.{status} must hold headers")));
        };
        for header in &named.items {
            let name = header.key().map_or("", |k| k.text.as_str());
            let values: Option<Vec<String>> = match &header.value.kind {
                Kind::List(list) => list.iter().map(|n| n.as_str().map(str::to_owned)).collect(),
                Kind::Text(text) => Some(vec![text.clone()]),
                _ => None,
            };
            let values =
                values.ok_or_else(|| ConfigError::Invalid(format!("{PLACE}.{status}.{name} must be a list of texts")))?;
            match headers.add(status, name, &values) {
                Ok(()) => {}
                Err(e @ CustomHeaderError::Reserved(_)) => r.warn(format!("{PLACE}: {e}")),
                Err(e) => return Err(ConfigError::Invalid(format!("{PLACE}: {e}"))),
            }
        }
    }
    Ok(headers)
}

fn tls(r: &mut Reader<'_>) -> Result<TlsSettings, ConfigError> {
    let mut file =
        |name: &str| -> Result<Option<PathBuf>, ConfigError> { Ok(r.text(name)?.filter(|t| !t.is_empty()).map(PathBuf::from)) };
    let cert_file = file("tls_cert_file")?;
    let key_file = file("tls_key_file")?;
    let client_ca_file = file("tls_client_ca_file")?;
    let missing = |name: &str| ConfigError::Invalid(format!("listener.tcp.{name} must be set, or tls_disable = true"));
    Ok(TlsSettings {
        cert_file: cert_file.ok_or_else(|| missing("tls_cert_file"))?,
        key_file: key_file.ok_or_else(|| missing("tls_key_file"))?,
        min_version: r.text("tls_min_version")?.unwrap_or_default(),
        client_ca_file,
        require_client_cert: r.flag("tls_require_and_verify_client_cert")?.unwrap_or(false),
        disable_client_certs: r.flag("tls_disable_client_certs")?.unwrap_or(false),
    })
}

fn limits(r: &mut Reader<'_>) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    let mut size = |name: &str, to: &mut usize| -> Result<(), ConfigError> {
        if let Some(n) = r.number(name)?.filter(|n| *n > 0) {
            *to = usize::try_from(n).unwrap_or(usize::MAX);
        }
        Ok(())
    };
    size("max_json_depth", &mut limits.max_json_depth)?;
    size("max_json_string_value_length", &mut limits.max_json_string_bytes)?;
    size("max_json_object_entry_count", &mut limits.max_json_object_entries)?;
    size("max_json_array_element_count", &mut limits.max_json_array_elements)?;
    size("max_json_token", &mut limits.max_json_tokens)?;
    // A negative size switches the bound off in Vault.
    match r.text("max_request_size")?.as_deref().map(str::trim) {
        None | Some("0" | "") => {}
        Some(t) if t.starts_with('-') => limits.max_request_bytes = u64::MAX,
        Some(_) => limits.max_request_bytes = r.number("max_request_size")?.unwrap_or(limits.max_request_bytes),
    }
    let mut time = |name: &str, to: &mut Duration| -> Result<(), ConfigError> {
        if let Some(d) = r.duration(name)?.filter(|d| !d.is_zero()) {
            *to = d;
        }
        Ok(())
    };
    time("http_read_header_timeout", &mut limits.header_timeout)?;
    time("http_read_timeout", &mut limits.read_timeout)?;
    time("http_idle_timeout", &mut limits.idle_timeout)?;
    Ok(limits)
}
