//! `monitor`: the server's log, as it is written.

use client::Request;

use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FlagSet, HTTP, text};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Monitor Options",
    flags: &[
        text("log-level", "Least level of the lines to print: trace, debug, info, warn or error.").or("info"),
        text("log-format", "Format of the lines: standard or json.").or("standard"),
    ],
};

/// Streams log lines.
pub static COMMAND: Command = Command {
    path: "monitor",
    synopsis: "Stream log messages from a Vault server",
    operands: "[options]",
    about: "\
Prints the log of a server while it is written, until interrupted.

    $ {bin} monitor -log-level=debug",
    sets: &[&HTTP, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let (level, format) = (s.text("log-level").to_lowercase(), s.text("log-format").to_lowercase());
    if !matches!(level.as_str(), "trace" | "debug" | "info" | "notice" | "warn" | "warning" | "error") {
        return Err(Failure::Local(format!(
            "{level} is an unknown log level. Valid log levels are: [trace debug info notice warn warning error]"
        )));
    }
    let request = Request::get("sys/monitor").param("log_level", &level).param("log_format", &format).untimed();
    s.stream_out(&request, None).doing("starting monitor")?;
    Ok(0)
}
