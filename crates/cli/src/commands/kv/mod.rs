//! The KV commands. Each first asks which mount a path belongs to and which version it is (contract §2.5).

pub mod delete;
pub mod enable_versioning;
pub mod get;
pub mod list;
pub mod metadata_delete;
pub mod metadata_get;
pub mod metadata_put;
pub mod patch;
pub mod put;
pub mod rollback;
pub mod versions;

use api_types::Map;
use client::{Request, SecretReply};
use serde_json::Value;

use crate::command::Command;
use crate::exit::{Failure, Fault, Outcome};
use crate::flags::{FlagSet, text};
use crate::render::{self, Format};
use crate::session::{Session, sanitize};

/// The group.
pub static GROUP: Command = Command {
    path: "kv",
    synopsis: "Interact with Vault's Key-Value storage",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for the key-value store, with and without versions.

    $ {bin} kv put -mount=secret foo bar=baz
    $ {bin} kv get -mount=secret foo",
    sets: &[],
    run: None,
};

/// The group of `kv metadata`.
pub static METADATA: Command = Command {
    path: "kv metadata",
    synopsis: "Interact with Vault's Key-Value storage",
    operands: "<subcommand> [options] [args]",
    about: "\
Commands for what the versioned key-value store keeps about a key besides its
versions.

    $ {bin} kv metadata put -mount=secret -max-versions=5 foo",
    sets: &[],
    run: None,
};

const MOUNT_HELP: &str = "Path of the mount. The argument is then the path below it, without the mount and without \"data/\".";

/// `-mount` alone.
pub(super) static MOUNT: FlagSet = FlagSet { title: "Command Options", flags: &[MOUNT_FLAG] };
pub(super) const MOUNT_FLAG: crate::flags::Flag = text("mount", MOUNT_HELP);

/// Where a KV path leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The mount, with a slash at the end; empty if the server does not tell.
    pub(super) mount: String,
    /// The path below the mount.
    pub(super) below: String,
    /// Whether the mount keeps versions.
    pub(super) versioned: bool,
}

impl Target {
    /// Asks the server about the first argument.
    pub(super) fn of(s: &mut Session<'_, '_>) -> Result<Self, Failure> {
        let (mount, path) = (sanitize(s.text("mount")), s.path(0));
        Self::find(s, &mount, &path)
    }

    /// The same, for a command that only makes sense with versions.
    pub(super) fn versioned(s: &mut Session<'_, '_>, what: &str) -> Result<Self, Failure> {
        let target = Self::of(s)?;
        if target.versioned { Ok(target) } else { Err(Failure::Local(format!("{what} not supported on KV Version 1"))) }
    }

    fn find(s: &mut Session<'_, '_>, mount: &str, path: &str) -> Result<Self, Failure> {
        let asked = if mount.is_empty() { path } else { mount };
        let answer = match s.look_up(Request::get(&format!("sys/internal/ui/mounts/{asked}"))) {
            Ok(reply) => reply.secret().map_err(Fault::from)?,
            // A server from before this path existed has no versions either.
            Err(fault) if fault.status() == Some(404) => None,
            Err(fault) => return Err(fault.into()),
        };
        Ok(Self::from_answer(answer.as_ref(), mount, path))
    }

    fn from_answer(answer: Option<&SecretReply>, mount: &str, path: &str) -> Self {
        let told = answer.and_then(|a| a.get("path")).and_then(Value::as_str).unwrap_or_default();
        let version = answer.and_then(|a| a.get("options")).and_then(|o| o.get("version")).and_then(Value::as_str);
        let versioned = version == Some("2");
        if !mount.is_empty() {
            let mount = if told.is_empty() { format!("{mount}/") } else { told.to_owned() };
            return Self { mount, below: path.to_owned(), versioned };
        }
        let below = match path.strip_prefix(told) {
            Some(below) => below,
            None if path == told.trim_end_matches('/') => "",
            None => path,
        };
        Self { mount: told.to_owned(), below: below.to_owned(), versioned }
    }

    /// The path for `kind` (`data`, `metadata`, `delete`, …); without versions there are no kinds.
    pub(super) fn at(&self, kind: &str) -> String {
        let kind = if self.versioned { format!("{kind}/") } else { String::new() };
        format!("{}{kind}{}", self.mount, self.below).trim_end_matches('/').to_owned()
    }
}

/// The `== Secret Path ==` block.
pub(super) fn path_block(title: &str, path: &str) -> String {
    format!("{}\n{path}\n", render::header(title, path.chars().count()))
}

/// A titled table of a map: `======= Metadata =======`.
pub(super) fn map_block(title: &str, map: &Map) -> String {
    let longest = map.keys().map(|k| k.chars().count()).max().unwrap_or(0);
    // Four blanks and the word "Value", the least a table of these keys is wide.
    let width = longest + 4 + 5;
    let secret = SecretReply { data: Some(map.clone()), ..empty() };
    format!("{}\n{}", render::header(title, width), render::key_values(render::rows(&secret)))
}

fn empty() -> SecretReply {
    SecretReply {
        request_id: String::new(),
        lease_id: String::new(),
        lease_duration: 0.into(),
        renewable: false,
        data: None,
        warnings: None,
        auth: None,
        wrap_info: None,
        mount_type: String::new(),
    }
}

/// Prints what a write to a versioned mount says about the new version.
pub(super) fn show_version(s: &mut Session<'_, '_>, path: &str, answer: Option<SecretReply>) -> Outcome {
    let Some(secret) = answer else {
        if s.format == Format::Table {
            s.say(&format!("Success! Data written to: {path}"))?;
        }
        return Ok(0);
    };
    let plain = s.format == Format::Table && s.text("field").is_empty() && secret.wrap_info.is_none();
    let Some(data) = secret.data.as_ref().filter(|_| plain && path.contains("data/")) else { return s.show_secret(&secret) };
    let text = format!("{}\n{}", path_block("Secret Path", path), map_block("Metadata", data));
    for warning in secret.warnings() {
        s.warn(&format!("WARNING! {warning}"))?;
    }
    s.say(&text)?;
    Ok(0)
}

/// Version numbers of `-versions`: repeatable, and with commas.
pub(super) fn version_numbers(s: &Session<'_, '_>) -> Result<Vec<String>, Failure> {
    let mut out = Vec::new();
    for word in s.all("versions").iter().flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty()) {
        let number = word.parse::<u64>().map_err(|_| Failure::Local(format!("invalid version number {word:?}")))?;
        out.push(number.to_string());
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_mount() {
        let v2: SecretReply = serde_json::from_str(r#"{"data":{"path":"secret/","options":{"version":"2"}}}"#).unwrap();
        let v1: SecretReply = serde_json::from_str(r#"{"data":{"path":"kv/","options":null}}"#).unwrap();
        let deep: SecretReply = serde_json::from_str(r#"{"data":{"path":"a/b/","options":{"version":"2"}}}"#).unwrap();
        for (answer, mount, path, data, list) in [
            (Some(&v2), "", "secret/foo/bar", "secret/data/foo/bar", "secret/metadata/foo/bar"),
            (Some(&v2), "", "secret", "secret/data", "secret/metadata"),
            (Some(&v2), "secret", "foo", "secret/data/foo", "secret/metadata/foo"),
            (Some(&v2), "secret", "secret/foo", "secret/data/secret/foo", "secret/metadata/secret/foo"),
            (Some(&deep), "", "a/b/c", "a/b/data/c", "a/b/metadata/c"),
            (Some(&v1), "", "kv/foo", "kv/foo", "kv/foo"),
            (Some(&v1), "kv", "foo", "kv/foo", "kv/foo"),
            (None, "", "old/foo", "old/foo", "old/foo"),
            (None, "old", "foo", "old/foo", "old/foo"),
        ] {
            let target = Target::from_answer(answer, mount, path);
            assert_eq!((target.at("data").as_str(), target.at("metadata").as_str()), (data, list), "{mount} {path}");
        }
    }
}
