//! `operator raft snapshot inspect FILE`: what is in a snapshot, without a server.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use api_types::Map;
use serde_json::{Value, json};

use super::snapshot_file::{SMALL_MEMBER_MAX_BYTES, SnapshotError, walk};
use crate::command::Command;
use crate::exit::{Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, int, switch, text};
use crate::render::{go_value, headed, table};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("details", "Count keys and bytes by the beginning of the key.").or("true"),
        int("depth", "How many parts of a key count as its beginning.").or("2"),
        text("filter", "Count only keys that begin with this."),
    ],
};

/// Inspects a snapshot.
pub static COMMAND: Command = Command {
    path: "operator raft snapshot inspect",
    synopsis: "Inspects raft snapshot",
    operands: "[options] <snapshot_file>",
    about: "\
Prints what is in a snapshot file: where in the log it was taken, and how much is
kept below which key. Values stay encrypted; no server is asked.

    $ {bin} operator raft snapshot inspect raft.snap",
    sets: &[&FORMAT, &OPTIONS],
    run: Some(run),
};

/// Longest entry that is believed; the server takes requests of 32 MiB.
const ENTRY_MAX_BYTES: u64 = 256 << 20;

/// What is in a snapshot.
#[derive(Default)]
struct Inspected {
    meta: Map,
    /// Number and bytes by beginning of the key; `None` if the state is in another form than Vault's.
    keys: Option<BTreeMap<String, (u64, u64)>>,
}

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect(1)?;
    let depth = usize::try_from(s.int("depth")).ok().filter(|d| *d > 0);
    let depth = depth.ok_or_else(|| Failure::Local("Depth must be equal to or greater than 1".to_owned()))?;
    let filter = s.text("filter").to_owned();
    let found = inspect(Path::new(s.arg(0).trim()), depth, &filter)
        .map_err(|e| Failure::Local(format!("Error reading snapshot: {e}")))?;
    let keys = found.keys.filter(|_| s.on("details"));
    let mut words = table(
        &["ID", "Size", "Index", "Term", "Version"]
            .iter()
            .map(|k| vec![(*k).to_owned(), found.meta.get(*k).map(go_value).unwrap_or_default()])
            .collect::<Vec<_>>(),
    );
    if let Some(keys) = &keys {
        let mut rows: Vec<Vec<String>> =
            keys.iter().map(|(k, (count, size))| vec![k.clone(), count.to_string(), bytes(*size)]).collect();
        let (count, size) = keys.values().fold((0, 0), |(c, b), (count, size)| (c + count, b + size));
        rows.push(vec!["Total".to_owned(), count.to_string(), bytes(size)]);
        words.push_str(&format!("\n\n{}", headed(&["Key Name", "Count", "Size"], rows)));
    }
    let stats: Vec<Value> =
        keys.iter().flatten().map(|(k, (count, size))| json!({ "Key": k, "Count": count, "Size": size })).collect();
    s.show(&json!({ "Meta": found.meta, "Stats": stats }), &words)?;
    Ok(0)
}

fn inspect(path: &Path, depth: usize, filter: &str) -> Result<Inspected, SnapshotError> {
    let mut found = Inspected::default();
    walk(path, &mut |name, _, content| {
        match name {
            "meta.json" => {
                let mut text = String::new();
                content.take(SMALL_MEMBER_MAX_BYTES).read_to_string(&mut text)?;
                found.meta = serde_json::from_str(&text).map_err(io::Error::from)?;
            }
            "state.bin" => found.keys = count(content, depth, filter).ok(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads length-prefixed protobuf entries whose field 1 is the key.
fn count(state: &mut dyn Read, depth: usize, filter: &str) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not a list of entries");
    let mut out: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    while let Some(length) = varint(state)? {
        if length > ENTRY_MAX_BYTES {
            return Err(wrong());
        }
        let mut entry = Vec::new();
        if (&mut *state).take(length).read_to_end(&mut entry)? as u64 != length {
            return Err(wrong());
        }
        let mut rest = entry.as_slice();
        if varint(&mut rest)? != Some(0x0a) {
            return Err(wrong());
        }
        let key_length = varint(&mut rest)?.and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)?;
        let key = rest.get(..key_length).and_then(|k| std::str::from_utf8(k).ok()).ok_or_else(wrong)?;
        if key.starts_with(filter) {
            let beginning: Vec<&str> = key.split('/').take(depth).collect();
            let (count, size) = out.entry(beginning.join("/")).or_default();
            *count += 1;
            *size += length;
        }
    }
    Ok(out)
}

/// An unsigned LEB128 number; `None` at the end of the input.
fn varint(input: &mut dyn Read) -> io::Result<Option<u64>> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0u8; 1];
        if input.read(&mut byte)? == 0 {
            return if shift == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let [b] = byte;
        value |= u64::from(b & 0x7f) << shift;
        if b & 0x80 == 0 {
            return Ok(Some(value));
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "number too long"))
}

/// `512B`, `1.5KB`.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];
    let (mut whole, mut rest, mut unit) = (n, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if rest == 0 { format!("{whole}{name}") } else { format!("{whole}.{rest}{name}") }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot_file::tests::snapshot;
    use super::*;

    fn entry(key: &str, value: &[u8]) -> Vec<u8> {
        let mut body = vec![0x0a, u8::try_from(key.len()).unwrap()];
        body.extend_from_slice(key.as_bytes());
        body.extend_from_slice(&[0x12, u8::try_from(value.len()).unwrap()]);
        body.extend_from_slice(value);
        let mut out = vec![u8::try_from(body.len()).unwrap()];
        out.extend(body);
        out
    }

    #[test]
    fn counts_by_beginning() {
        let state = [entry("sys/policy/a", b"x"), entry("sys/policy/b", b"y"), entry("core/leader", b"")].concat();
        let file = snapshot(&[("meta.json", br#"{"ID":"s","Index":57}"#), ("state.bin", &state), ("SHA256SUMS.sealed", b"x")]);
        let found = inspect(file.path(), 2, "").unwrap();
        assert_eq!(found.meta.get("Index"), Some(&json!(57)));
        let keys = found.keys.unwrap();
        assert_eq!(keys.get("sys/policy"), Some(&(2, 34)));
        assert_eq!(keys.len(), 2);
        assert_eq!(inspect(file.path(), 2, "core").unwrap().keys.unwrap().len(), 1);
    }

    #[test]
    fn a_state_of_another_form_is_not_counted() {
        for state in [b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".as_slice(), b"\x05ab", b"\x02\x12\x00", b"\x03\x0a\x7fa"] {
            let file = snapshot(&[("state.bin", state)]);
            assert!(inspect(file.path(), 2, "").unwrap().keys.is_none(), "{state:?}");
        }
    }

    #[test]
    fn sizes() {
        for (n, text) in [(0, "0B"), (1023, "1023B"), (1536, "1.5KB"), (1 << 20, "1MB"), (5 << 40, "5120GB")] {
            assert_eq!(bytes(n), text);
        }
    }
}
