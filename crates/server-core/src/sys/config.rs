//! `sys/config/*` (without `auditing`, see `audit`), `sys/loggers`, `sys/experiments`.
//!
//! Deliberately absent: `config/reload/*` (configuration is read again on SIGHUP) and policies for groups (Vault Enterprise).

use api_types::Operation;
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};
use storage::Page;

use super::SystemEngine;
use super::support::enterprise_only;
use crate::settings::{CORS_ROW, Cors, UI_HEADER_ROWS, UiHeader};

/// Request headers that any allowed origin may send (contract §1.10).
const CORS_HEADERS: [&str; 10] = [
    "Content-Type",
    "X-Requested-With",
    "X-Vault-AWS-IAM-Server-ID",
    "X-Vault-MFA",
    "X-Vault-No-Request-Forwarding",
    "X-Vault-Wrap-Format",
    "X-Vault-Wrap-TTL",
    "X-Vault-Policy-Override",
    "Authorization",
    "X-Vault-Token",
];

const CORS: &[Field] = &[
    Field::new("allowed_origins", FieldKind::CommaStringSlice, "Origins that may ask, or *."),
    Field::new("allowed_headers", FieldKind::CommaStringSlice, "Request headers they may send besides the usual ones."),
];
const UI_HEADER: &[Field] = &[
    Field::new("header", FieldKind::String, "Name of the header."),
    Field::new("values", FieldKind::StringSlice, "Its values."),
    Field::new("multivalue", FieldKind::Bool, "Show all values."),
];
const LEVEL: &[Field] = &[
    Field::new("level", FieldKind::String, "trace, debug, info, warn or error."),
    Field::new("name", FieldKind::String, "Name of the logger."),
];

const MONITOR: &[Field] = &[
    Field::new("log_level", FieldKind::String, "trace, debug, info, warn or error; info by default."),
    Field::new("log_format", FieldKind::String, "standard or json; standard by default."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("config/cors", CORS, "Configures cross-origin requests.")
            .on(Operation::Read, "Read the configuration.", cors)
            .on(Operation::Update, "Allow origins.", set_cors)
            .on(Operation::Delete, "Allow no origin.", remove_cors),
        Route::new("config/ui/headers/?", &[], "Lists headers of the web UI.").on(Operation::List, "List them.", ui_headers),
        Route::new("config/ui/headers/{header}", UI_HEADER, "Configures a header of the web UI.")
            .on(Operation::Read, "Read a header.", ui_header)
            .on(Operation::Update, "Set a header.", set_ui_header)
            .on(Operation::Delete, "Remove a header.", remove_ui_header),
        Route::new("config/state/sanitized", &[], "Shows the configuration without its secrets.").on(
            Operation::Read,
            "Read the configuration.",
            sanitized,
        ),
        Route::new("config/group-policy-application", &[], "Vault Enterprise only.")
            .on(Operation::Read, "Not available.", |_, _| enterprise_only())
            .on(Operation::Update, "Not available.", |_, _| enterprise_only())
            .free_form(),
        Route::new("loggers", LEVEL, "Shows and changes the verbosity of the server's log.")
            .on(Operation::Read, "Show the levels.", loggers)
            .on(Operation::Update, "Change all levels.", set_loggers)
            .on(Operation::Delete, "Back to the configured level.", reset_loggers),
        Route::new("loggers/{name...}", LEVEL, "Shows and changes the verbosity of one logger.")
            .on(Operation::Read, "Show its level.", logger)
            .on(Operation::Update, "Change its level.", set_loggers)
            .on(Operation::Delete, "Back to the configured level.", reset_loggers),
        Route::new("monitor", MONITOR, "Shows the server's log as it is written.").on(
            Operation::Read,
            "Follow the log.",
            monitor,
        ),
        Route::new("experiments", &[], "Lists experiments.").on(Operation::Read, "List them.", experiments),
    ]
}

fn cors(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let (_, open) = engine.opened()?;
    Ok(Some(Response::json(match &*open.cors()? {
        None => json!({ "enabled": false }),
        Some(c) => json!({ "enabled": true, "allowed_origins": c.allowed_origins, "allowed_headers": c.allowed_headers }),
    })))
}

/// What is wrong is an error of Vault's own and not an answer, so it comes as 500.
fn set_cors(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let origins = call.fields.texts("allowed_origins").unwrap_or_default();
    if origins.is_empty() {
        return Err(EngineError::internal("at least one origin or the wildcard must be provided"));
    }
    if origins.len() > 1 && origins.iter().any(|o| o == "*") {
        return Err(EngineError::internal("to allow all origins the '*' must be the only value for allowed_origins"));
    }
    let own = call.fields.texts("allowed_headers").unwrap_or_default();
    let row = Cors {
        allowed_origins: origins.to_vec(),
        allowed_headers: CORS_HEADERS.iter().map(|h| (*h).to_owned()).chain(own.iter().cloned()).collect(),
    };
    call.view.put_json(CORS_ROW, &row)?;
    Ok(None)
}

fn remove_cors(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    call.view.delete(CORS_ROW)?;
    Ok(None)
}

fn ui_headers(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::list(call.view.list(UI_HEADER_ROWS, &Page::default())?)))
}

fn ui_header(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let Some(row) = call.view.get_json::<UiHeader>(&ui_header_row(call.fields.str("header")))? else { return Ok(None) };
    if call.fields.bool("multivalue").unwrap_or(false) {
        return Ok(Some(Response::json(json!({ "values": row.values }))));
    }
    Ok(row.values.first().map(|value| Response::json(json!({ "value": value }))))
}

fn set_ui_header(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let header = call.fields.str("header");
    let values = call.fields.texts("values").unwrap_or_default();
    if header.is_empty() || values.is_empty() {
        return Err(EngineError::invalid("header and values must be specified"));
    }
    if header.to_lowercase().starts_with("x-vault-") {
        return Err(EngineError::invalid("X-Vault headers cannot be set"));
    }
    if values.iter().any(|v| v.contains(|c: char| c.is_control() && c != '\t')) {
        return Err(EngineError::invalid("header values must not contain control characters"));
    }
    let key = ui_header_row(header);
    let replaces_csp = header.eq_ignore_ascii_case("content-security-policy");
    call.view.put_json(&key, &UiHeader { values: values.to_vec() })?;
    // An answer without anything in it, as Vault gives: 200 and not 204.
    let mut response = super::support::nothing_but_an_envelope();
    if replaces_csp {
        let text = "overriding default Content-Security-Policy which is secure by default, proceed with caution";
        response = response.with_warning(text);
    }
    Ok(Some(response))
}

fn remove_ui_header(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let key = ui_header_row(call.fields.str("header"));
    call.view.delete(&key)?;
    Ok(None)
}

fn ui_header_row(header: &str) -> String {
    format!("{UI_HEADER_ROWS}{header}")
}

fn sanitized(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    Ok(Some(match &core.config().sanitized {
        Value::Object(map) => Response::data(map.clone()),
        _ => Response::data(api_types::Map::new()),
    }))
}

fn loggers(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    let levels = core.config().log_control.as_ref().map(|c| c.levels()).unwrap_or_default();
    Ok(Some(Response::json(json!(levels))))
}

fn logger(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    let name = call.fields.str("name");
    let level = core.config().log_control.as_ref().and_then(|c| c.levels().remove(name));
    Ok(Some(Response::json(level.map_or_else(|| json!({}), |level| json!({ name: level })))))
}

fn set_loggers(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    let level = call.fields.text("level").ok_or_else(|| EngineError::invalid("level is required"))?;
    let known = match level.to_lowercase().as_str() {
        "" => return Err(EngineError::invalid("level is empty")),
        "trace" => "trace",
        "debug" => "debug",
        "info" | "notice" => "info",
        "warn" | "warning" => "warn",
        "err" | "error" => "error",
        other => return Err(EngineError::Invalid(format!("invalid level provided: unknown log level: {other}"))),
    };
    turned(&core, call.fields.text("name"), |control, name| control.set(name, known))
}

fn reset_loggers(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    turned(&core, call.fields.text("name"), |control, name| control.reset(name))
}

fn turned(core: &crate::Core, name: Option<&str>, turn: impl Fn(&dyn crate::LogControl, Option<&str>) -> bool) -> Outcome {
    let control = core.config().log_control.as_ref();
    if control.is_some_and(|c| turn(&**c, name)) {
        return Ok(None);
    }
    Err(EngineError::Invalid(match name {
        Some(name) => format!("logger {name:?} not found"),
        None => "the verbosity of the log cannot be changed".to_owned(),
    }))
}

/// Allows it, and checks what was asked for; the edge then sends the lines. Needs `sudo`: a log tells of all that goes on.
fn monitor(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    if !call.caller.sudo {
        return Err(EngineError::denied("permission denied"));
    }
    if engine.core()?.config().log_stream.is_none() {
        return Err(EngineError::invalid("the log cannot be followed"));
    }
    if !matches!(call.fields.str("log_level"), "" | "trace" | "debug" | "info" | "warn" | "error") {
        return Err(EngineError::invalid("unknown log level"));
    }
    if !matches!(call.fields.str("log_format"), "" | "standard" | "json") {
        return Err(EngineError::invalid("unknown log format"));
    }
    Ok(Some(super::support::bare_text("", "text/plain; charset=utf-8", 200)))
}

fn experiments(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({
        "available": ["events.alpha1", "core.audit.events.alpha1", "secrets.import.alpha1"],
        "enabled": [],
    }))))
}
