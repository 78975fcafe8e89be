//! A cluster that has lost its majority gets a new membership: by command (`operator raft recover`) or, as in Vault, by the file
//! `<path>/raft/peers.json` that is found at start.
//!
//! Deliberately absent: how the membership is rewritten (`replication::recover`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use replication::{Peer, Recovery, Settings, Survivor, recover};
use serde::Deserialize;
use storage::Store;

use crate::config::{Addresses, Config, StorageConfig};
use crate::store;

const USAGE: &str = "Usage: strongroom operator raft recover [options]

  Gives a cluster that has lost its majority a new membership. To be used on one
  surviving node, while its server is stopped; what the lost nodes had and this one
  had not is gone for good:

      $ strongroom operator raft recover -config=/etc/strongroom/config.hcl -dry-run
      $ strongroom operator raft recover -config=/etc/strongroom/config.hcl

  The node becomes the only one. Empty the data directories of the others and join
  them again. Of several survivors, take the one whose last entry is the greatest.

Options:

  -config=<path>   The server's configuration file or directory. Repeatable.
  -dry-run         Only show what would be changed.
  -peers=<file>    The members from now on, instead of this node alone; the form is that
                   of Vault's peers.json: [{\"id\": …, \"address\": …, \"non_voter\": …}].
";

/// Where Vault looks for the file, below the storage's path; and what it is called when it was used.
const PEERS_FILE: &str = "raft/peers.json";
const PEERS_DONE: &str = "raft/peers.json.done";
/// A list of nodes; more is something else.
const PEERS_MAX_BYTES: u64 = 1 << 20;

/// One node in the file.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Listed {
    id: String,
    address: String,
    #[serde(default)]
    non_voter: bool,
    /// For a node that the old membership does not know, in hexadecimal.
    #[serde(default)]
    raft_id: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    config: Vec<PathBuf>,
    peers: Option<PathBuf>,
    dry_run: bool,
}

impl Flags {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let Some(bare) = bare else { return Err(format!("Too many arguments (expected 0): {word}")) };
            let (name, mut value) = match bare.split_once('=') {
                Some((n, v)) => (n, Some(v.to_owned())),
                None => (bare, None),
            };
            let mut path = || {
                let given = value.take().or_else(|| words.next().cloned());
                given.map(PathBuf::from).ok_or_else(|| format!("flag needs an argument: -{name}"))
            };
            match name {
                "config" => flags.config.push(path()?),
                "peers" => flags.peers = Some(path()?),
                "dry-run" => {
                    flags.dry_run =
                        value.as_deref().unwrap_or("true").parse().map_err(|_| format!("invalid boolean value for -{name}"))?;
                }
                "h" | "help" => return Err(USAGE.to_owned()),
                other => return Err(format!("flag provided but not defined: -{other}")),
            }
        }
        if flags.config.is_empty() {
            return Err("Must specify at least one config path using -config".into());
        }
        Ok(flags)
    }
}

/// Runs the command; the exit code is 0, or 1 when nothing was changed.
pub fn run(words: &[String]) -> i32 {
    let told = Flags::parse(words).and_then(|flags| by_command(&flags));
    let (code, text) = match told {
        Ok(text) => (0, text),
        Err(text) => (i32::from(text != USAGE), text),
    };
    let written =
        if code == 0 { writeln!(std::io::stdout().lock(), "{text}") } else { writeln!(std::io::stderr().lock(), "{text}") };
    // Nobody reads a closed pipe.
    let _ = written;
    code
}

fn by_command(flags: &Flags) -> Result<String, String> {
    let config = Config::load(&flags.config).map_err(|e| format!("Error loading configuration: {e}"))?;
    if matches!(config.storage, StorageConfig::Memory) {
        return Err("The configured storage keeps nothing: there is nothing to recover".into());
    }
    let addresses = Addresses::of(&config);
    let (opened, settings) = store::open(&config.storage, &addresses.cluster_host(), &addresses.api)
        .map_err(|e| format!("Error opening storage (is the server still running?): {e}"))?;
    let listed = flags.peers.as_deref().map(read_peers).transpose()?;
    let survivors = match &listed {
        Some(listed) => survivors(listed)?,
        None => vec![alone(&opened, &settings)?],
    };
    let recovery = recover(opened, settings.log_dir.as_deref(), &survivors, flags.dry_run)
        .map_err(|e| format!("Nothing was changed: {e}"))?;
    Ok(describe(&recovery, flags.dry_run))
}

/// This node as the only member, at its configured address.
fn alone(store: &Arc<dyn Store>, settings: &Settings) -> Result<Survivor, String> {
    let known = replication::identity(&**store).map_err(|e| format!("Nothing was changed: {e}"))?;
    let (raft_id, node_id) = known.ok_or("Nothing was changed: this store belongs to no node yet")?;
    Ok(Survivor { raft_id: Some(raft_id), node_id, address: settings.cluster_addr.clone(), voter: true })
}

fn read_peers(path: &Path) -> Result<Vec<Listed>, String> {
    let place = path.display();
    let size = std::fs::metadata(path).map_err(|e| format!("{place}: {e}"))?.len();
    if size > PEERS_MAX_BYTES {
        return Err(format!("{place}: {size} bytes are no list of nodes"));
    }
    let text = std::fs::read(path).map_err(|e| format!("{place}: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("{place}: {e}"))
}

fn survivors(listed: &[Listed]) -> Result<Vec<Survivor>, String> {
    let of = |l: &Listed| {
        let raft_id = l.raft_id.as_deref().map(|id| u64::from_str_radix(id, 16));
        let raft_id = raft_id.transpose().map_err(|_| format!("the raft_id of {:?} is not hexadecimal", l.id))?;
        Ok(Survivor { raft_id, node_id: l.id.clone(), address: l.address.clone(), voter: !l.non_voter })
    };
    listed.iter().map(of).collect()
}

fn describe(recovery: &Recovery, dry_run: bool) -> String {
    let (term, index) = recovery.last;
    let mut text = format!(
        "Node             {}\nLast entry       index {index} of term {term}\nApplied          up to {}\n",
        recovery.node_id, recovery.applied
    );
    let mut list = |title: &str, peers: &[Peer]| {
        text.push_str(&format!("\n{title}:\n"));
        for p in peers {
            let vote = if p.voter { "voter" } else { "non-voter" };
            text.push_str(&format!("  {}  {}  {vote}  (raft id {:016x})\n", p.node_id, p.address, p.raft_id));
        }
    };
    list("Members so far", &recovery.before);
    list("Members from now on", &recovery.after);
    text.push_str(match (recovery.is_change(), dry_run) {
        (false, _) => "\nThere is nothing to change.",
        (true, true) => "\nNothing was changed (-dry-run).",
        (true, false) => "\nThe membership was changed. Start the server, unseal it, and join the other nodes anew with empty data directories.",
    });
    text
}

/// Reads `peers.json` beside the data, if it is there, and renames it when it has been used. To be called before the log is opened.
pub fn by_file(config: &StorageConfig, store: &Arc<dyn Store>, settings: &Settings) -> Result<(), String> {
    let StorageConfig::Raft { path, .. } = config else { return Ok(()) };
    let file = path.join(PEERS_FILE);
    if !file.exists() {
        return Ok(());
    }
    tracing::warn!(file = %file.display(), "a list of members was found: the membership is rewritten by it");
    let survivors = survivors(&read_peers(&file)?)?;
    let recovery = recover(Arc::clone(store), settings.log_dir.as_deref(), &survivors, false)
        .map_err(|e| format!("{}: {e}", file.display()))?;
    let names = |peers: &[Peer]| peers.iter().map(|p| format!("{} at {}", p.node_id, p.address)).collect::<Vec<_>>().join(", ");
    tracing::warn!(before = names(&recovery.before), after = names(&recovery.after), "the membership was rewritten");
    let done = path.join(PEERS_DONE);
    std::fs::rename(&file, &done).map_err(|e| format!("{} cannot be renamed, and must not be used twice: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        Flags::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_gos() {
        let flags = parse(&["-config=a", "--config", "b", "-dry-run", "-peers", "p.json"]).unwrap();
        assert_eq!(flags.config, [PathBuf::from("a"), PathBuf::from("b")]);
        assert!(flags.dry_run && flags.peers == Some(PathBuf::from("p.json")));
        assert!(!parse(&["-config=a", "-dry-run=false"]).unwrap().dry_run);
        for (words, part) in [
            (&[] as &[&str], "-config"),
            (&["-config"], "needs an argument"),
            (&["-config=a", "x"], "Too many arguments"),
            (&["-config=a", "-force"], "not defined"),
            (&["-config=a", "-dry-run=perhaps"], "boolean"),
        ] {
            assert!(parse(words).unwrap_err().contains(part), "{words:?}");
        }
    }

    #[test]
    fn vaults_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peers.json");
        let text = r#"[{"id": "a", "address": "a:8201", "non_voter": false}, {"id": "b", "address": "b:8201", "non_voter": true},
                      {"id": "c", "address": "c:8201", "raft_id": "00000000000000ff"}]"#;
        std::fs::write(&file, text).unwrap();
        let all = survivors(&read_peers(&file).unwrap()).unwrap();
        assert_eq!(
            all.iter().map(|s| (s.node_id.as_str(), s.voter, s.raft_id)).collect::<Vec<_>>(),
            [("a", true, None), ("b", false, None), ("c", true, Some(255))]
        );
        for bad in ["", "{}", "[{}]", r#"[{"id": "a"}]"#] {
            std::fs::write(&file, bad).unwrap();
            assert!(read_peers(&file).is_err(), "{bad}");
        }
        std::fs::write(&file, r#"[{"id": "a", "address": "x", "raft_id": "no"}]"#).unwrap();
        assert!(survivors(&read_peers(&file).unwrap()).is_err());
        assert!(read_peers(&folder.path().join("none")).is_err());
    }
}
