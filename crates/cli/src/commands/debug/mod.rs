//! `debug`: watches a server for a while and packs what it saw into one file.
//!
//! Everything comes from endpoints that show no secrets; tokens, the command line and the environment are never written.
//! Deliberately absent: Go profiles (the server has none) and the log, which `monitor` prints.

mod package;

use std::collections::BTreeMap;
use std::time::Duration;

use client::Request;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::command::Command;
use crate::exit::{Failure, Fault, Outcome};
use crate::flags::{FlagSet, HTTP, list, period, switch, text};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("compress", "Pack everything into one compressed file; otherwise it stays a folder.").or("true"),
        period("duration", "How long to watch.").or("2m"),
        period("interval", "Time between two looks at the server.").or("30s"),
        period("metrics-interval", "Time between two looks at its metrics.").or("10s"),
        text("output", "Path of the file or folder. The default is vault-debug-<time> in the current folder."),
        list(
            "target",
            "What to look at: config, host, metrics, replication-status, requests or server-status. May be given more than \
             once. The default is all.",
        ),
    ],
};

/// Collects.
pub static COMMAND: Command = Command {
    path: "debug",
    synopsis: "Runs the debug command",
    operands: "[options]",
    about: "\
Looks at a server again and again for a while, and packs the answers into a
file: configuration, host, metrics, requests in flight, replication and health.
What the token may not see is left out and named in index.json. No secrets are
collected.

    $ {bin} debug
    $ {bin} debug -duration=1m -interval=10s -metrics-interval=5s
    $ {bin} debug -target=host -target=metrics",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

/// Target, the file its looks go to, and the paths that are read for it.
const TARGETS: [(&str, &str, &[&str]); 6] = [
    ("config", "config.json", &["sys/config/state/sanitized"]),
    ("host", "host_info.json", &["sys/host-info"]),
    ("metrics", "metrics.json", &["sys/metrics"]),
    ("replication-status", "replication_status.json", &["sys/replication/status"]),
    ("requests", "requests.json", &["sys/in-flight-req"]),
    ("server-status", "server_status.json", &["sys/health", "sys/seal-status"]),
];

/// What was asked for, checked.
struct Plan {
    targets: Vec<&'static str>,
    duration: Duration,
    interval: Duration,
    metrics_interval: Duration,
    output: String,
    compress: bool,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    looks: BTreeMap<&'static str, Vec<Value>>,
    errors: Vec<Value>,
}

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let started = Timestamp::now();
    let plan = plan(s, started)?;
    package::absent(&plan.output)?;
    let (address, server_version) = (s.address()?, server_version(s));
    tell(s, &plan, &address)?;
    let mut seen = Seen::default();
    watch(s, &plan, &mut seen)?;
    let index = json!({
        "version": 1,
        "vault_address": address,
        "client_version": api_types::API_VERSION,
        "server_version": server_version,
        "timestamp": started.to_string(),
        "duration_seconds": plan.duration.as_secs(),
        "interval_seconds": plan.interval.as_secs(),
        "metrics_interval_seconds": plan.metrics_interval.as_secs(),
        "targets": plan.targets,
        "output": { "files": seen.looks.keys().collect::<Vec<_>>() },
        "errors": seen.errors,
    });
    let mut files: Vec<(String, Value)> = vec![("index.json".to_owned(), index)];
    files.extend(seen.looks.into_iter().map(|(name, looks)| (name.to_owned(), Value::Array(looks))));
    package::write(&plan.output, plan.compress, &files, started)?;
    s.say("Finished capturing information, bundling files...")?;
    s.say(&format!("Success! Bundle written to: {}", plan.output))?;
    Ok(0)
}

fn plan(s: &Session<'_, '_>, started: Timestamp) -> Result<Plan, Failure> {
    let local = |text: String| Failure::Local(format!("Error during validation: {text}"));
    let span = |name: &str| s.duration(name).unsigned().unwrap_or_default();
    let asked = s.all("target");
    let mut targets: Vec<&'static str> = Vec::new();
    for word in asked.iter().flat_map(|w| w.split(',')).map(str::trim) {
        match TARGETS.iter().find(|(name, ..)| *name == word) {
            Some((name, ..)) if !targets.contains(name) => targets.push(name),
            Some(_) => {}
            None => return Err(local(format!("unknown target {word:?}"))),
        }
    }
    if targets.is_empty() {
        targets = TARGETS.iter().map(|(name, ..)| *name).collect();
    }
    let (duration, interval, metrics_interval) = (span("duration"), span("interval"), span("metrics-interval"));
    if duration.is_zero() || interval.is_zero() || metrics_interval.is_zero() {
        return Err(local("durations must be above zero".to_owned()));
    }
    if interval > duration || metrics_interval > duration {
        return Err(local("the intervals cannot be longer than the duration".to_owned()));
    }
    let compress = s.on("compress");
    let mut output = s.text("output").to_owned();
    if output.is_empty() {
        output = format!("vault-debug-{}", package::file_time(started));
    }
    if compress && !output.ends_with(".tar.gz") && !output.ends_with(".tgz") {
        output.push_str(".tar.gz");
    }
    Ok(Plan { targets, duration, interval, metrics_interval, output, compress })
}

fn tell(s: &mut Session<'_, '_>, plan: &Plan, address: &str) -> Result<(), Failure> {
    s.say("==> Starting debug capture...")?;
    for (name, value) in [
        ("Vault Address", address.to_owned()),
        ("Duration", s.go_duration("duration")),
        ("Interval", s.go_duration("interval")),
        ("Metrics Interval", s.go_duration("metrics-interval")),
        ("Targets", plan.targets.join(", ")),
        ("Output", plan.output.clone()),
    ] {
        s.say(&format!("{name:>19}: {value}"))?;
    }
    s.say("")
}

/// Looks at each target at its interval until the time is over; the configuration once.
fn watch(s: &mut Session<'_, '_>, plan: &Plan, seen: &mut Seen) -> Result<(), Failure> {
    let mut at = Duration::ZERO;
    let (mut next, mut next_metrics) = (Duration::ZERO, Duration::ZERO);
    while at <= plan.duration {
        for target in &plan.targets {
            let due = match *target {
                "config" => at.is_zero(),
                "metrics" => at >= next_metrics,
                _ => at >= next,
            };
            if due {
                look(s, target, seen)?;
            }
        }
        for (due, every) in [(&mut next, plan.interval), (&mut next_metrics, plan.metrics_interval)] {
            if at >= *due {
                *due = at + every;
            }
        }
        let step = next.min(next_metrics);
        if step > plan.duration {
            break;
        }
        s.pause(step.saturating_sub(at))?;
        at = step;
    }
    Ok(())
}

/// One look. What cannot be seen is noted once, and the rest goes on.
fn look(s: &mut Session<'_, '_>, target: &str, seen: &mut Seen) -> Result<(), Failure> {
    let Some((_, file, paths)) = TARGETS.iter().find(|(name, ..)| *name == target) else { return Ok(()) };
    let mut answer = Map::new();
    answer.insert("timestamp".to_owned(), json!(Timestamp::now().to_string()));
    for path in *paths {
        match ask(s, path) {
            Ok(value) => {
                let name = path.rsplit('/').next().unwrap_or(path).replace('-', "_");
                answer.insert(name, value);
            }
            Err(Fault::Other(failure @ Failure::Instead(_))) => return Err(failure),
            Err(fault) => {
                let error = json!({ "target": target, "path": path, "error": fault.to_string() });
                if !seen.errors.contains(&error) {
                    seen.errors.push(error);
                }
            }
        }
    }
    if answer.len() > 1 {
        seen.looks.entry(file).or_default().push(Value::Object(answer));
    }
    Ok(())
}

/// The answer's data, or all of an answer without an envelope. Health tells its story by status codes, too.
fn ask(s: &mut Session<'_, '_>, path: &str) -> Result<Value, Fault> {
    let reply = s.send(&Request::get(path).without_wrapping())?;
    let reply = if path == "sys/health" { reply } else { reply.check()? };
    let value: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    Ok(value.get("data").filter(|d| d.is_object()).cloned().unwrap_or(value))
}

fn server_version(s: &mut Session<'_, '_>) -> String {
    let health = s.look_up(Request::get("sys/seal-status").without_namespace()).ok();
    let value: Option<Value> = health.and_then(|r| serde_json::from_slice(&r.body).ok());
    value.and_then(|v| v.get("version")?.as_str().map(str::to_owned)).unwrap_or_default()
}
