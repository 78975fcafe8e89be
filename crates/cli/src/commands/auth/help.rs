//! `auth help TYPE|PATH`: how to log in with a method.

use serde_json::Value;

use super::super::mounts;
use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::flags::HTTP;
use crate::session::{Session, with_slash};

/// Tells how to log in.
pub static COMMAND: Command = Command {
    path: "auth help",
    synopsis: "Prints usage for an auth method",
    operands: "[options] TYPE | PATH",
    about: "\
Prints how to log in with an auth method, named by its type or by where it is
enabled.

    $ {bin} auth help userpass",
    sets: &[&HTTP],
    run: Some(run),
};

/// How each type is used with `login`.
const USAGE: [(&str, &str); 12] = [
    ("approle", "role_id=ID secret_id=SECRET"),
    ("cert", "name=ROLE (with -client-cert and -client-key)"),
    ("github", "token=TOKEN"),
    ("jwt", "role=ROLE jwt=@FILE"),
    ("kubernetes", "role=ROLE jwt=@/var/run/secrets/kubernetes.io/serviceaccount/token"),
    ("ldap", "username=NAME [password=PASSWORD]"),
    ("oidc", "[role=ROLE] [port=8250] [listenaddress=localhost] [callbackhost=localhost] [skip_browser=true]"),
    ("okta", "username=NAME [password=PASSWORD]"),
    ("radius", "username=NAME [password=PASSWORD]"),
    ("token", "[TOKEN]"),
    ("userpass", "username=NAME [password=PASSWORD]"),
    ("alicloud", "role=ROLE"),
];

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let asked = s.path(0);
    let kind = if USAGE.iter().any(|(kind, _)| *kind == asked) {
        asked.clone()
    } else {
        let all = mounts::mounts(s, "sys/auth", "listing auth methods")?;
        let found = all.get(&with_slash(&asked)).and_then(|m| m.get("type")).and_then(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| Failure::Local(format!("No auth method available on the server at {:?}", with_slash(&asked))))?
    };
    let usage = USAGE.iter().find(|(name, _)| *name == kind).map_or("K=V...", |(_, usage)| *usage);
    let path = if kind == asked { String::new() } else { format!(" -path={asked}") };
    let program = s.host.program.clone();
    s.say(&format!("Usage: {program} login -method={kind}{path} {usage}"))?;
    Ok(0)
}
