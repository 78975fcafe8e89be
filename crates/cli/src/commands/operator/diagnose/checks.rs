//! The checks. Each says what it saw, not only that it is fine.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use api_types::duration;
use hcl1::{Block, Node, Object};
use jiff::{Timestamp, ToSpan};
use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, geteuid, getrlimit};

use super::certificate::validity;
use super::{Report, Status};

/// Below this, a server with a few hundred clients runs out of sockets.
const OPEN_FILES_MIN: u64 = 4096;
/// A log entry and a snapshot must fit.
const DISK_FREE_MIN_BYTES: u64 = 100 << 20;
/// Time to act.
const DISK_FREE_LOW_BYTES: u64 = 2 << 30;
/// Time to renew a certificate.
const EXPIRES_SOON_DAYS: i64 = 30;
/// Whoever is no owner can do something with the file.
const OTHERS_BITS: u32 = 0o077;

/// The process: who it is and what it may open.
pub(super) fn system(report: &mut Report) {
    if geteuid().is_root() {
        report.add(Status::Warning, "user", "runs as root: give the server a user of its own");
    } else {
        report.add(Status::Ok, "user", format!("runs as user {}", geteuid().as_raw()));
    }
    match getrlimit(Resource::Nofile).current {
        Some(n) if n < OPEN_FILES_MIN => {
            report.add(Status::Warning, "open files", format!("the limit is {n}; {OPEN_FILES_MIN} or more are recommended"));
        }
        Some(n) => report.add(Status::Ok, "open files", format!("the limit is {n}")),
        None => report.add(Status::Ok, "open files", "no limit"),
    }
}

/// What the file says, without looking at anything else.
pub(super) fn configuration(config: &Object, report: &mut Report) {
    let ttl = |key: &str| text(config, key).and_then(|t| duration::parse(&t).ok()?.unsigned());
    if let (Some(usual), Some(max)) = (ttl("default_lease_ttl"), ttl("max_lease_ttl"))
        && !max.is_zero()
        && usual > max
    {
        report.add(Status::Failure, "lease TTLs", "default_lease_ttl is larger than max_lease_ttl");
    }
    match text(config, "api_addr").or_else(|| std::env::var("VAULT_API_ADDR").ok()).as_deref() {
        None | Some("") => {
            let words = "api_addr is not set: other nodes and clients that are redirected cannot reach this one";
            report.add(Status::Warning, "addresses", words);
        }
        Some(address) if !address.starts_with("http://") && !address.starts_with("https://") => {
            report.add(
                Status::Failure,
                "addresses",
                format!("api_addr {address:?} is no URL: it must start with https:// or http://"),
            );
        }
        Some(address) => report.add(Status::Ok, "addresses", format!("api_addr is {address}")),
    }
    for block in blocks(config, "seal", 1).iter().filter(|b| label(b) != "shamir") {
        report.add(
            Status::Warning,
            "seal",
            format!("seal {:?} is set: its service must be reachable at the start", label(block)),
        );
    }
}

/// The data folder.
pub(super) fn storage(config: &Object, report: &mut Report) {
    const CHECK: &str = "storage";
    let stanzas = [blocks(config, "storage", 1), blocks(config, "backend", 1)].concat();
    let [stanza] = stanzas.as_slice() else {
        return report.add(Status::Failure, CHECK, format!("exactly one storage stanza must be there, not {}", stanzas.len()));
    };
    match label(stanza) {
        "inmem" | "inmem_ha" => return report.add(Status::Warning, CHECK, "inmem forgets everything when the server ends"),
        "raft" => {}
        other => {
            return report.add(Status::Failure, CHECK, format!("storage type {other:?} is not supported: raft and inmem are"));
        }
    }
    let path = std::env::var("VAULT_RAFT_PATH").ok().or_else(|| text(stanza.body, "path")).unwrap_or_default();
    if path.is_empty() {
        return report.add(Status::Failure, CHECK, "storage.raft.path is not set");
    }
    let path = PathBuf::from(path);
    match path.metadata() {
        Err(e) if e.kind() == ErrorKind::NotFound => new_folder(&path, report),
        Err(e) => report.add(Status::Failure, CHECK, format!("{}: {e}", path.display())),
        Ok(found) if !found.is_dir() => report.add(Status::Failure, CHECK, format!("{} is no folder", path.display())),
        Ok(found) => {
            folder(&path, &found, report);
            room(&path, report);
        }
    }
}

/// A data folder that is still to be made.
fn new_folder(path: &Path, report: &mut Report) {
    let parent = path.ancestors().skip(1).find(|p| p.is_dir()).unwrap_or_else(|| Path::new("."));
    if access(parent, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let words = format!("{} is not there, and this user cannot make it in {}", path.display(), parent.display());
        return report.add(Status::Failure, "storage", words);
    }
    report.add(Status::Ok, "storage", format!("{} is not there yet and can be made", path.display()));
    room(parent, report);
}

fn folder(path: &Path, found: &Metadata, report: &mut Report) {
    const CHECK: &str = "storage";
    if access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        return report.add(Status::Failure, CHECK, format!("this user may not read and write in {}", path.display()));
    }
    if found.mode() & OTHERS_BITS != 0 {
        let words = format!("{} is open to other users (mode {:o}): chmod 700 it", path.display(), found.mode() & 0o777);
        return report.add(Status::Warning, CHECK, words);
    }
    let owner = if found.uid() == geteuid().as_raw() { "this user".to_owned() } else { format!("user {}", found.uid()) };
    report.add(Status::Ok, CHECK, format!("{} can be used and belongs to {owner}", path.display()));
}

fn room(path: &Path, report: &mut Report) {
    const CHECK: &str = "disk space";
    let Ok(fs) = statvfs(path) else { return report.add(Status::Warning, CHECK, "cannot be read") };
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    let words = format!("{} MiB are free at {}", free >> 20, path.display());
    let status = match free {
        n if n < DISK_FREE_MIN_BYTES => Status::Failure,
        n if n < DISK_FREE_LOW_BYTES => Status::Warning,
        _ => Status::Ok,
    };
    report.add(status, CHECK, words);
    if fs.f_files > 0 && fs.f_favail == 0 {
        report.add(Status::Failure, CHECK, format!("no more files can be made at {}", path.display()));
    }
}

/// Ports and certificates.
pub(super) fn listeners(config: &Object, report: &mut Report) {
    let found = blocks(config, "listener", 1);
    if found.is_empty() {
        report.add(Status::Failure, "listener", "no listener is configured");
    }
    for block in &found {
        if label(block) != "tcp" {
            report.add(Status::Failure, "listener", format!("listener type {:?} is not supported: tcp is", label(block)));
            continue;
        }
        let address = text(block.body, "address").filter(|a| !a.is_empty()).unwrap_or_else(|| "127.0.0.1:8200".to_owned());
        port(&address, report);
        if let Some(cluster) = text(block.body, "cluster_address").filter(|a| !a.is_empty()) {
            port(&cluster, report);
        }
        if matches!(text(block.body, "tls_disable").as_deref(), Some("true" | "1" | "t" | "T" | "TRUE" | "True")) {
            let local = address.to_socket_addrs().is_ok_and(|mut all| all.all(|a| a.ip().is_loopback()));
            let status = if local { Status::Ok } else { Status::Warning };
            report.add(status, "TLS", format!("is off at {address}: everything can be read on the way"));
            continue;
        }
        certificate(block.body, report);
    }
}

/// Whether a port can be had. A port is let go of again at once.
fn port(address: &str, report: &mut Report) {
    let resolved: Vec<SocketAddr> = match address.to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(e) => return report.add(Status::Failure, "listener", format!("address {address:?}: {e}")),
    };
    match TcpListener::bind(resolved.as_slice()) {
        Ok(_) => report.add(Status::Ok, "listener", format!("{address} is free")),
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            let words = format!("{address} is in use: by the server that runs already, or by another program");
            report.add(Status::Failure, "listener", words);
        }
        Err(e) => report.add(Status::Failure, "listener", format!("{address}: {e}")),
    }
}

fn certificate(listener: &Object, report: &mut Report) {
    const CHECK: &str = "TLS";
    let (Some(cert), Some(key)) = (text(listener, "tls_cert_file"), text(listener, "tls_key_file")) else {
        return report.add(Status::Failure, CHECK, "tls_cert_file and tls_key_file must both be set, or tls_disable");
    };
    match Path::new(&key).metadata() {
        Err(e) => report.add(Status::Failure, CHECK, format!("{key}: {e}")),
        Ok(_) if access(&*key, Access::READ_OK).is_err() => {
            report.add(Status::Failure, CHECK, format!("this user may not read {key}"))
        }
        Ok(found) if found.mode() & OTHERS_BITS & 0o007 != 0 => {
            report.add(Status::Warning, CHECK, format!("{key} can be used by every user (mode {:o})", found.mode() & 0o777));
        }
        Ok(_) => report.add(Status::Ok, CHECK, format!("{key} can be read")),
    }
    let read = std::fs::read_to_string(&cert).map_err(|e| e.to_string()).and_then(|pem| validity(&pem));
    let (from, until) = match read {
        Ok(span) => span,
        Err(e) => return report.add(Status::Failure, CHECK, format!("{cert}: {e}")),
    };
    let now = Timestamp::now();
    let soon = now.checked_add((EXPIRES_SOON_DAYS * 24).hours()).unwrap_or(now);
    let (status, words) = match () {
        () if until <= now => (Status::Failure, format!("{cert} ended at {until}")),
        () if from > now => (Status::Failure, format!("{cert} is not valid before {from}")),
        () if until <= soon => (Status::Warning, format!("{cert} ends soon, at {until}")),
        () => (Status::Ok, format!("{cert} is valid until {until}")),
    };
    report.add(status, CHECK, words);
}

fn blocks<'a>(config: &'a Object, name: &str, labels: usize) -> Vec<Block<'a>> {
    config.blocks(name, labels).unwrap_or_default()
}

fn label<'a>(block: &'a Block<'_>) -> &'a str {
    block.labels.first().map_or("", |k| k.text.as_str())
}

/// A value as text, whatever it was written as.
fn text(object: &Object, key: &str) -> Option<String> {
    let value = object.attribute(key).map(Node::to_json)?;
    Some(crate::render::go_value(&value))
}
