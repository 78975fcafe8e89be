//! `sys/quotas`: rate limits, lease counts and their settings (contract §7.6; lease counts are Vault Enterprise's and free here).

use std::collections::BTreeMap;

use api_types::Operation;
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use quotas::{LeaseCount, RateLimit, Scope, Scoped};
use serde_json::{Number, Value, json};
use storage::{Page, View};

use super::SystemEngine;
use crate::mounts::{Table, row_above, rows};
use crate::quota::{CONFIG_ROW, LEASE_ROWS, QuotaConfig, RATE_ROWS, rules};

/// Auth methods whose logins name a role.
const WITH_ROLES: [&str; 8] = ["approle", "aws", "azure", "cert", "gcp", "jwt", "kubernetes", "oidc"];

const NAME: Field = Field::new("name", FieldKind::String, "Name of the quota.");
const PATH: Field = Field::new("path", FieldKind::String, "A mount, a path below one (may end in *), or nothing for everything.");
const ROLE: Field = Field::new("role", FieldKind::String, "Login role; path is then an auth method.");
const INHERITABLE: Field = Field::new("inheritable", FieldKind::Bool, "Whether child namespaces would inherit it.");

const RATE: &[Field] = &[
    NAME,
    PATH,
    ROLE,
    INHERITABLE,
    Field::new("type", FieldKind::String, "Accepted; the path says it."),
    Field::new("rate", FieldKind::Float, "Requests in an interval, above zero."),
    Field::new("interval", FieldKind::DurationSecond, "Length of the interval; 1 second by default."),
    Field::new("block_interval", FieldKind::DurationSecond, "How long a client that went over the limit is refused."),
    Field::new("group_by", FieldKind::String, "Who counts as one client: ip."),
    Field::new("secondary_rate", FieldKind::Float, "Only with other groupings than ip."),
];
const LEASES: &[Field] = &[
    NAME,
    PATH,
    ROLE,
    INHERITABLE,
    Field::new("type", FieldKind::String, "Accepted; the path says it."),
    Field::new("max_leases", FieldKind::Int, "Leases that may exist at one time, above zero."),
];
const CONFIG: &[Field] = &[
    Field::new("rate_limit_exempt_paths", FieldKind::StringSlice, "Paths that no rate limit covers."),
    Field::new("absolute_rate_limit_exempt_paths", FieldKind::StringSlice, "The same; there are no namespaces."),
    Field::new("enable_rate_limit_audit_logging", FieldKind::Bool, "Record requests that a rate limit refused."),
    Field::new("enable_rate_limit_response_headers", FieldKind::Bool, "Tell clients what they have left."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("quotas/config", CONFIG, "Configures rate limit quotas.")
            .on(Operation::Read, "Read the settings.", config)
            .on(Operation::Update, "Replace the settings.", set_config),
        Route::new("quotas/rate-limit/?", &[], "Lists rate limit quotas.")
            .on(Operation::List, "List them.", |_, call| list::<RateLimit>(call, RATE_ROWS)),
        Route::new("quotas/rate-limit/{name}", RATE, "A rate limit quota.")
            .on(Operation::Read, "Read a quota.", rate)
            .on(Operation::Update, "Make or replace a quota.", set_rate)
            .on(Operation::Delete, "Remove a quota.", |_, call| remove(call, RATE_ROWS)),
        Route::new("quotas/lease-count/?", &[], "Lists lease count quotas.")
            .on(Operation::List, "List them.", |_, call| list::<LeaseCount>(call, LEASE_ROWS)),
        Route::new("quotas/lease-count/{name}", LEASES, "A lease count quota.")
            .on_async(Operation::Read, "Read a quota and its count.", leases)
            .on(Operation::Update, "Make or replace a quota.", set_leases)
            .on(Operation::Delete, "Remove a quota.", |_, call| remove(call, LEASE_ROWS)),
    ]
}

fn config(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let c = call.view.get_json::<QuotaConfig>(CONFIG_ROW)?.map(|c| QuotaConfig::clone(&c)).unwrap_or_default();
    Ok(Some(Response::json(json!({
        "rate_limit_exempt_paths": c.exempt,
        "absolute_rate_limit_exempt_paths": c.absolute_exempt,
        "enable_rate_limit_audit_logging": c.audit_logging,
        "enable_rate_limit_response_headers": c.response_headers,
    }))))
}

/// What is not sent is off or empty afterwards, as in Vault.
fn set_config(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let paths = |name| call.fields.texts(name).unwrap_or_default().to_vec();
    let row = QuotaConfig {
        exempt: paths("rate_limit_exempt_paths"),
        absolute_exempt: paths("absolute_rate_limit_exempt_paths"),
        audit_logging: call.fields.bool("enable_rate_limit_audit_logging").unwrap_or(false),
        response_headers: call.fields.bool("enable_rate_limit_response_headers").unwrap_or(false),
    };
    call.view.put_json(CONFIG_ROW, &row)?;
    Ok(None)
}

/// Full paths of all mounts by uuid.
fn mounts(view: &mut View<'_>) -> Result<BTreeMap<String, String>, EngineError> {
    let mut out = BTreeMap::new();
    for table in [Table::Mounts, Table::Auth] {
        out.extend(rows(view, table)?.into_iter().map(|e| (e.uuid.clone(), e.full_path())));
    }
    Ok(out)
}

/// A scope as paths are written; `None` if its mount is gone, and the quota with it.
fn shown_path(scope: &Scope, mounts: &BTreeMap<String, String>) -> Option<String> {
    match scope.mount.as_str() {
        "" => Some(String::new()),
        uuid => mounts.get(uuid).map(|path| format!("{path}{}", scope.suffix)),
    }
}

fn list<R>(call: &mut Call<'_>, folder: &str) -> Outcome
where
    R: Scoped + serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    let mounts = mounts(&mut call.view)?;
    let live = rules::<R>(&mut call.view, folder)?.into_iter().filter(|(_, r)| shown_path(r.scope(), &mounts).is_some());
    Ok(Some(Response::list(live.map(|(name, _)| name).collect())))
}

fn remove(call: &mut Call<'_>, folder: &str) -> Outcome {
    let key = format!("{folder}{}", call.fields.str("name"));
    if call.view.get(&key)?.is_some() {
        call.view.delete(&key)?;
    }
    Ok(None)
}

/// A number as Go prints it: without a fraction where there is none.
#[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number of moderate size")]
fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 1e15 {
        Value::from(n as i64)
    } else {
        Number::from_f64(n).map_or(Value::Null, Value::Number)
    }
}

fn rate(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let Some(rule) = call.view.get_json::<RateLimit>(&format!("{RATE_ROWS}{name}"))? else { return Ok(None) };
    let Some(path) = shown_path(&rule.scope, &mounts(&mut call.view)?) else { return Ok(None) };
    Ok(Some(Response::json(json!({
        "type": "rate-limit",
        "name": name,
        "path": path,
        "role": rule.scope.role,
        "rate": number(rule.rate),
        "interval": rule.interval_seconds,
        "block_interval": rule.block_seconds,
        "inheritable": rule.inheritable,
        "group_by": "ip",
        "secondary_rate": 0,
    }))))
}

fn set_rate(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let rate = call.fields.float("rate").filter(|r| *r > 0.0 && r.is_finite());
    let rate = rate.ok_or_else(|| EngineError::invalid("'rate' is invalid"))?;
    match call.fields.str("group_by") {
        "" | "ip" => {}
        other => {
            return Err(EngineError::Invalid(format!("grouping mode {other:?} is only available in Vault Enterprise")));
        }
    }
    if call.fields.float("secondary_rate").is_some_and(|r| r != 0.0) {
        return Err(EngineError::invalid("'secondary_rate' can only be set with a grouping mode other than \"ip\""));
    }
    let seconds = |name| call.fields.duration(name).map_or(0, |d| d.as_secs());
    let (interval, block) = (seconds("interval").max(1), seconds("block_interval"));
    let scope = scope(call)?;
    let inheritable = call.fields.bool("inheritable").unwrap_or(scope.mount.is_empty());
    refuse_twin::<RateLimit>(call, RATE_ROWS, &scope)?;
    let row = RateLimit { scope, rate, interval_seconds: interval, block_seconds: block, inheritable };
    call.view.put_json(&format!("{RATE_ROWS}{}", call.fields.str("name")), &row)?;
    Ok(None)
}

fn leases<'a>(engine: &'a SystemEngine, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let name = call.fields.str("name").to_owned();
        let Some(rule) = call.view.get_json::<LeaseCount>(&format!("{LEASE_ROWS}{name}"))? else { return Ok(None) };
        let Some(path) = shown_path(&rule.scope, &mounts(&mut call.view)?) else { return Ok(None) };
        let (core, open) = engine.opened()?;
        let limits = open.quotas()?;
        let count = core.leases_under(&open, &limits, &name).await?;
        Ok(Some(Response::json(json!({
            "type": "lease-count",
            "name": name,
            "path": path,
            "role": "",
            "max_leases": rule.max_leases,
            "counter": count,
            "inheritable": rule.inheritable,
        }))))
    })
}

fn set_leases(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let max = call.fields.int("max_leases").and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let max_leases = max.ok_or_else(|| EngineError::invalid("'max_leases' is invalid"))?;
    let scope = scope(call)?;
    if !scope.role.is_empty() {
        // A lease does not say of which role its login was.
        return Err(EngineError::invalid("lease count quotas by role are not supported"));
    }
    let inheritable = call.fields.bool("inheritable").unwrap_or(scope.mount.is_empty());
    refuse_twin::<LeaseCount>(call, LEASE_ROWS, &scope)?;
    let row = LeaseCount { scope, max_leases, inheritable, created: call.now };
    call.view.put_json(&format!("{LEASE_ROWS}{}", call.fields.str("name")), &row)?;
    Ok(None)
}

/// What `path` and `role` mean.
fn scope(call: &mut Call<'_>) -> Result<Scope, EngineError> {
    let role = call.fields.str("role").to_owned();
    let path = call.fields.str("path").trim_matches('/').to_owned();
    let unfit = |path: &str| {
        let text =
            format!("Mount path {path:?} is not a valid auth method and therefore unsuitable for use with role-based quotas");
        EngineError::Invalid(text)
    };
    if path.is_empty() {
        return if role.is_empty() { Ok(Scope::default()) } else { Err(unfit("")) };
    }
    let full = format!("{path}/");
    let found = row_above(&mut call.view, &full)?;
    let entry = found.ok_or_else(|| EngineError::Invalid(format!("invalid mount path {full:?}")))?;
    let mount = entry.full_path();
    let suffix = full.strip_prefix(&mount).unwrap_or_default().trim_end_matches('/').to_owned();
    if !role.is_empty() {
        if !suffix.is_empty() {
            return Err(EngineError::invalid(
                "Quotas cannot contain both a path suffix and a role. If a role is provided, path must be a valid auth mount \
                 with a concept of roles",
            ));
        }
        if entry.table != Table::Auth {
            return Err(unfit(&mount));
        }
        if !WITH_ROLES.contains(&entry.mount_type.as_str()) {
            return Err(EngineError::Invalid(format!("Mount path {mount:?} does not support use with role-based quotas")));
        }
    }
    Ok(Scope { mount: entry.uuid.clone(), suffix, role })
}

/// Two rules for the same would leave open which one counts.
fn refuse_twin<R>(call: &mut Call<'_>, folder: &str, scope: &Scope) -> Result<(), EngineError>
where
    R: Scoped + serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    let own = call.fields.str("name").to_owned();
    for name in call.view.list(folder, &Page::default())? {
        let twin = call.view.get_json::<R>(&format!("{folder}{name}"))?.is_some_and(|r| r.scope() == scope);
        if twin && name != own {
            return Err(EngineError::Invalid(format!("quota rule with similar properties exists under the name {name:?}")));
        }
    }
    Ok(())
}
