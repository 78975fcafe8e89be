//! `load`, the bench's generator: measures servers on loopback, and the two limits that they are measured against.
//!
//! `load drive` reads a [`plan::Plan`] on stdin and writes a [`drive::Report`] to stdout, both JSON.
//! `load static PLAIN-PORT TLS-PORT CERTIFICATES` serves the fixed answer that is the HTTP limit.
//! `load certificate DIRECTORY` makes the certificates of a run.
//!
//! Absent on purpose: any address but loopback, any run without an end, tables (see `benches/run`).

mod answer;
mod appends;
mod certificate;
mod connection;
mod drive;
mod fixed_answer;
mod histogram;
mod limits;
mod plan;
mod process;
mod template;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use thiserror::Error;

const USAGE: &str = "usage: load drive < plan.json | load static PLAIN-PORT TLS-PORT CERTIFICATES | load certificate DIRECTORY";

#[derive(Debug, Error)]
enum LoadError {
    #[error("{USAGE}")]
    Usage,
    #[error("the plan: {0}")]
    Plan(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Drive(#[from] drive::DriveError),
    #[error(transparent)]
    FixedAnswer(#[from] fixed_answer::FixedAnswerError),
    #[error(transparent)]
    Certificate(#[from] certificate::CertificateError),
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere to tell that stderr is gone.
            let _unwritable = writeln!(io::stderr(), "load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), LoadError> {
    match words {
        ["drive"] => {
            let mut text = String::new();
            io::stdin().take(limits::PLAN_MAX_BYTES).read_to_string(&mut text)?;
            let report = drive::drive(&serde_json::from_str(&text)?)?;
            writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
            Ok(())
        }
        ["static", plain, tls, certificates] => Ok(fixed_answer::serve(port(plain)?, port(tls)?, Path::new(certificates))?),
        ["certificate", directory] => Ok(certificate::make(Path::new(directory))?),
        _ => Err(LoadError::Usage),
    }
}

fn port(text: &str) -> Result<u16, LoadError> {
    text.parse().map_err(|_| LoadError::Usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_refused() {
        let cases: [&[&str]; 6] =
            [&[], &["drive", "now"], &["static"], &["static", "1", "65536", "/"], &["static", "a", "1", "/"], &["certificate"]];
        for words in cases {
            assert!(matches!(run(words), Err(LoadError::Usage)), "{words:?}");
        }
    }
}
