//! `operator diagnose`: whether a server would start with a configuration, in plain words and before it is tried.
//!
//! Looks only: no file is opened for writing, the data is never opened at all, and no server is asked.

mod certificate;
mod checks;

use std::path::{Path, PathBuf};

use hcl1::Object;
use serde_json::{Value, json};

use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, list};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        list("config", "Path of a configuration file, or of a folder of .hcl and .json files. May be given more than once.")
            .env("VAULT_CONFIG_PATH"),
        list("skip", "Checks to leave out: listener or storage. May be given more than once."),
    ],
};

/// Diagnoses.
pub static COMMAND: Command = Command {
    path: "operator diagnose",
    synopsis: "Troubleshoot problems starting Vault",
    operands: "[options]",
    about: "\
Checks what a server needs to start: that the configuration can be read, that
the data folder belongs to it and has room, that certificates are valid, and
that ports are free. Run it as the user that runs the server. Nothing is changed.

    $ {bin} operator diagnose -config=/etc/strongroom/server.hcl

Beside a running server, leave out the ports:

    $ {bin} operator diagnose -config=/etc/strongroom/server.hcl -skip=listener

Exits with 0 if all is well, 1 for a failure, 2 for warnings only.",
    sets: &[&FORMAT, &OPTIONS],
    run: Some(run),
};

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Ok,
    Skipped,
    Warning,
    Failure,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "success",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// The outcomes, in order.
#[derive(Debug, Default)]
struct Report {
    lines: Vec<(Status, &'static str, String)>,
}

impl Report {
    fn add(&mut self, status: Status, check: &'static str, words: impl Into<String>) {
        self.lines.push((status, check, words.into()));
    }
}

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let mut paths = s.all("config");
    if paths.is_empty() {
        paths.extend(s.host.env.get("VAULT_CONFIG_PATH").map(str::to_owned));
    }
    if paths.is_empty() {
        return Err(Failure::Local("Must specify a configuration file using -config.".to_owned()));
    }
    let skip: Vec<String> = s.all("skip").iter().flat_map(|w| w.split(',')).map(|w| w.trim().to_lowercase()).collect();
    if let Some(word) = skip.iter().find(|w| !matches!(w.as_str(), "listener" | "storage" | "autounseal")) {
        return Err(Failure::Local(format!("Unknown check {word:?}: listener and storage can be left out")));
    }
    let mut report = Report::default();
    checks::system(&mut report);
    match load(&paths) {
        Err(words) => report.add(Status::Failure, "configuration", words),
        Ok(config) => {
            report.add(Status::Ok, "configuration", "can be read");
            checks::configuration(&config, &mut report);
            for (name, check) in [
                ("storage", checks::storage as fn(&Object, &mut Report)),
                ("listener", checks::listeners as fn(&Object, &mut Report)),
            ] {
                if skip.iter().any(|w| w == name) {
                    report.add(Status::Skipped, if name == "storage" { "storage" } else { "listener" }, "left out as asked");
                } else {
                    check(&config, &mut report);
                }
            }
        }
    }
    let table: Vec<String> =
        report.lines.iter().map(|(status, check, words)| format!("[ {} ] {check}: {words}", status.name())).collect();
    let whole: Vec<Value> = report
        .lines
        .iter()
        .map(|(status, check, words)| json!({ "check": check, "status": status.name(), "message": words }))
        .collect();
    s.show(&whole, &table.join("\n"))?;
    match report.lines.iter().map(|(status, ..)| *status).max() {
        Some(Status::Failure) => Err(Failure::Code(1)),
        Some(Status::Warning) => Err(Failure::Code(2)),
        _ => Ok(0),
    }
}

/// All files joined, as the server joins them.
fn load(paths: &[String]) -> Result<Object, String> {
    let mut whole = Object { items: Vec::new() };
    for path in paths {
        for file in expand(Path::new(path))? {
            let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let object = hcl1::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
            whole.items.extend(object.items);
        }
    }
    Ok(whole)
}

fn expand(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "hcl" || e == "json"))
        .collect();
    files.sort();
    if files.is_empty() { Err(format!("{} holds no .hcl or .json file", path.display())) } else { Ok(files) }
}
