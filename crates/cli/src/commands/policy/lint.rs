//! `policy lint PATH`: what a policy's author probably did not mean, from the file alone or against a server's mounts.

use client::Request;
use policy::{Finding, Level, Mounts};
use serde_json::{Value, json};

use super::text_of;
use crate::command::Command;
use crate::exit::{Failure, Fault, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, list, switch};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        list("kv-v2", "Path of a mount of KV version 2, for use without a server. May be given more than once."),
        switch("offline", "Ask no server for its mounts, even if an address is set."),
        switch("strict", "Exit with 1 for warnings as well, not only for errors."),
    ],
};

/// Looks a policy file over.
pub static COMMAND: Command = Command {
    path: "policy lint",
    synopsis: "Points out probable mistakes in a policy file",
    operands: "[options] PATH",
    about: "\
Reads a policy from a file, or from standard input if the path is \"-\", and says
what was probably not meant: paths that miss the data/ of KV version 2, unknown
capabilities, stanzas that never decide, wildcards in the wrong place. Nothing
is changed.

If VAULT_ADDR or -address names a server, its mounts are taken into account.

    $ {bin} policy lint my-policy.hcl
    $ {bin} policy lint -offline -kv-v2=secret my-policy.hcl

Exits with 1 if the policy would be refused.",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let text = text_of(s, 0)?;
    let known: Vec<(String, String)> =
        s.all("kv-v2").iter().map(|m| (format!("{}/", m.trim_matches('/')), "kv-v2".to_owned())).collect();
    let named = s.given("address").is_some() || s.host.env.get("VAULT_ADDR").is_some();
    let mounts = if known.is_empty() && named && !s.on("offline") {
        match mounts(s) {
            Ok(mounts) => mounts,
            Err(fault) => {
                s.warn(&format!("The server's mounts are not taken into account: {fault}"))?;
                Mounts::unknown()
            }
        }
    } else {
        Mounts::new(known, false)
    };
    let found = policy::lint(&text, &mounts);
    let lines: Vec<String> = found.iter().map(|f| line(&s.arg(0), f)).collect();
    let table = if lines.is_empty() { "No remarks.".to_owned() } else { lines.join("\n") };
    s.show(&found.iter().map(as_json).collect::<Vec<_>>(), &table)?;
    let worst = found.iter().map(|f| f.level).max();
    let bad = worst == Some(Level::Error) || (s.on("strict") && worst == Some(Level::Warning));
    if bad { Err(Failure::Code(1)) } else { Ok(0) }
}

/// The server's mounts: all of them if the token may see all, else those it may use.
pub(super) fn mounts(s: &mut Session<'_, '_>) -> Result<Mounts, Fault> {
    let whole = s.look_up_secret(Request::get("sys/mounts")).and_then(|secrets| {
        let auth = s.look_up_secret(Request::get("sys/auth"))?;
        Ok((secrets.and_then(|r| r.data), auth.and_then(|r| r.data)))
    });
    if let Ok((Some(secrets), Some(auth))) = whole {
        let mut known = table(&secrets, "");
        known.extend(table(&auth, "auth/"));
        return Ok(Mounts::new(known, true));
    }
    let seen = s.look_up_secret(Request::get("sys/internal/ui/mounts"))?.and_then(|r| r.data).unwrap_or_default();
    let part = |key: &str| seen.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut known = table(&part("secret"), "");
    known.extend(table(&part("auth"), "auth/"));
    Ok(Mounts::new(known, false))
}

fn table(mounts: &api_types::Map, prefix: &str) -> Vec<(String, String)> {
    let read = |(path, mount): (&String, &Value)| {
        let kind = mount.get("type")?.as_str()?;
        let version = mount.get("options").and_then(|o| o.get("version")).and_then(Value::as_str);
        let kind = if kind == "kv" && version == Some("2") { "kv-v2" } else { kind };
        Some((format!("{prefix}{path}"), kind.to_owned()))
    };
    mounts.iter().filter_map(read).collect()
}

/// `file:line: level: "path": message; did you mean "x"?`
pub(super) fn line(file: &str, finding: &Finding) -> String {
    let mut out = format!("{file}:{}: {}: ", finding.line, finding.level);
    if !finding.path.is_empty() {
        out.push_str(&format!("{:?}: ", finding.path));
    }
    out.push_str(&finding.message);
    if !finding.suggestion.is_empty() {
        out.push_str(&format!("; did you mean {:?}?", finding.suggestion));
    }
    format!("{out} [{}]", finding.rule)
}

fn as_json(f: &Finding) -> Value {
    json!({
        "level": f.level.to_string(), "line": f.line, "rule": f.rule, "path": f.path, "message": f.message,
        "suggestion": f.suggestion,
    })
}
