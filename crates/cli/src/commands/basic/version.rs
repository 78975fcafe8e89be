//! `version`. Called as `vault`, the line is what parsers of Vault's clients take.

use crate::command::Command;
use crate::exit::Outcome;
use crate::session::Session;

/// Prints the version.
pub static COMMAND: Command = Command {
    path: "version",
    synopsis: "Prints the CLI version",
    operands: "",
    about: "Prints the version of this program; no server is asked.",
    sets: &[],
    run: Some(run),
};

/// Commit this was built from; the release build sets it.
const COMMIT: &str = match option_env!("STRONGROOM_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
/// When it was built, RFC 3339; the release build sets it.
const BUILT: &str = match option_env!("STRONGROOM_BUILD_DATE") {
    Some(date) => date,
    None => "1970-01-01T00:00:00Z",
};

/// `Vault v1.21.4 (<commit>), built <date>`.
#[must_use]
pub fn version_line(program: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    match program {
        "vault" => format!("Vault v{} ({COMMIT}), built {BUILT}", api_types::API_VERSION),
        _ => format!("Strongroom v{own} ({COMMIT}), built {BUILT}, speaks Vault v{}", api_types::API_VERSION),
    }
}

fn run(s: &mut Session<'_, '_>) -> Outcome {
    let line = version_line(&s.host.program);
    s.say(&line)?;
    Ok(0)
}
