//! `operator rotate` and `operator key-status`.

use api_types::Map;
use client::Request;

use crate::command::Command;
use crate::commands::basic::status::cell;
use crate::exit::{Doing, Failure, Fault, Outcome};
use crate::flags::{FORMAT, HTTP};
use crate::render::table;
use crate::session::Session;

/// Makes a new encryption key.
pub static ROTATE: Command = Command {
    path: "operator rotate",
    synopsis: "Rotates the underlying encryption key",
    operands: "[options]",
    about: "\
Makes a new key for everything that is written from now on. Old keys stay, to
read what was written before. Needs no unseal keys.

    $ {bin} operator rotate",
    sets: &[&HTTP, &FORMAT],
    run: Some(rotate),
};

/// Tells about the encryption key.
pub static KEY_STATUS: Command = Command {
    path: "operator key-status",
    synopsis: "Provides information about the active encryption key",
    operands: "[options]",
    about: "\
Prints the number of the encryption key in use and when it was made.

    $ {bin} operator key-status",
    sets: &[&HTTP, &FORMAT],
    run: Some(key_status),
};

fn rotate(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    s.call(&Request::put("sys/rotate")).doing("rotating key")?;
    let status = read(s).doing("reading key status")?;
    let words = format!("Success! Rotated key\n\n{}", words(&status));
    s.show(&printed(&status), &words)?;
    Ok(0)
}

fn key_status(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(0)?;
    let status = read(s).doing("reading key status")?;
    s.show(&printed(&status), &words(&status))?;
    Ok(0)
}

fn read(s: &mut Session<'_, '_>) -> Result<Map, Fault> {
    let secret = s.secret(&Request::get("sys/key-status"))?;
    secret.and_then(|x| x.data).ok_or_else(|| Failure::Server("no key status".to_owned()).into())
}

/// The three keys that clients know.
fn printed(status: &Map) -> Map {
    ["encryptions", "install_time", "term"].iter().filter_map(|k| Some(((*k).to_owned(), status.get(*k)?.clone()))).collect()
}

fn words(status: &Map) -> String {
    let installed = cell(status, "install_time");
    table(&[
        vec!["Key Term".to_owned(), cell(status, "term")],
        vec!["Install Time".to_owned(), short_time(&installed).unwrap_or(installed)],
        vec!["Encryption Count".to_owned(), cell(status, "encryptions")],
    ])
}

/// `24 Nov 26 12:00 UTC`, Go's RFC822.
fn short_time(rfc3339: &str) -> Option<String> {
    let time: jiff::Timestamp = rfc3339.parse().ok()?;
    Some(time.strftime("%d %b %y %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_short() {
        assert_eq!(super::short_time("2026-11-24T12:03:09.123Z").as_deref(), Some("24 Nov 26 12:03 UTC"));
        assert_eq!(super::short_time("soon"), None);
    }
}
