//! Devices that hang, fill up, vanish, or should never have been enabled (demand O5, CVE class P).

use std::fs::{File, OpenOptions, Permissions};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use crate::common::{IMPATIENT, file, grant, ids, long_record, patient, permit, record, until};
use audit::{Broker, DeviceConfig, EnableError, Guarded, Health, Settings};

/// Made by a call and not by a program: a fork would hold every open end of a pipe for a moment.
fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// Opens for reading without waiting for a writer.
fn reader(path: &Path) -> File {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    OpenOptions::new().read(true).custom_flags(nonblock).open(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn health(broker: &Broker, path: &str) -> Health {
    broker.statuses().into_iter().find(|s| s.path == path).unwrap().health
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_costs_one_time_out_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, log) = (dir.path().join("pipe"), dir.path().join("log"));
    fifo(&pipe);
    let mut slow = reader(&pipe);
    let broker = patient();
    broker.enable("pipe", file(&pipe, &[IMPATIENT]), "s".into()).await.unwrap();
    broker.enable("log", file(&log, &[]), "s".into()).await.unwrap();

    broker.permit(grant(), || long_record("first")).await.unwrap();
    assert_eq!(health(&broker, "pipe/"), Health::Stalled);
    let start = std::time::Instant::now();
    for i in 0..100 {
        permit(&broker, &format!("n{i}")).await.unwrap();
    }
    assert!(start.elapsed().as_secs() < 250, "100 time-outs would be 300 s: the breaker is open");
    assert_eq!(ids(&log).len(), 101, "the other device missed nothing");
    let status = broker.statuses().remove(0);
    assert_eq!((status.recorded, status.missed), (1, 101));
    assert_eq!(status.error.as_deref(), Some("it did not answer within 3s"));

    // The reader wakes up: what was begun is finished, and the breaker closes.
    let mut text = Vec::new();
    let mut chunk = [0u8; 1 << 16];
    until("the end of the stall", || {
        if let Ok(n) = slow.read(&mut chunk) {
            text.extend_from_slice(&chunk[..n]);
        }
        health(&broker, "pipe/") == Health::Healthy
    })
    .await;
    permit(&broker, "after").await.unwrap();
    until("the last line", || {
        if let Ok(n) = slow.read(&mut chunk) {
            text.extend_from_slice(&chunk[..n]);
        }
        text.windows(7).any(|w| w == b"\"after\"")
    })
    .await;
    let piped = dir.path().join("piped");
    std::fs::write(&piped, text).unwrap();
    assert_eq!(ids(&piped), ["first", "after"], "whole lines only");
}

#[tokio::test]
async fn a_single_hanging_device_stops_requests_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    fifo(&pipe);
    let _never_reads = reader(&pipe);
    let broker = patient();
    broker.enable("pipe", file(&pipe, &[IMPATIENT]), "s".into()).await.unwrap();
    let error = broker.permit(grant(), || long_record("1")).await.unwrap_err();
    assert_eq!(error.to_string(), "no audit device took the entry: pipe/: it did not answer within 3s");
    let error = permit(&broker, "2").await.unwrap_err();
    assert_eq!(error.to_string(), "no audit device took the entry: pipe/: it does not answer");
    assert!(broker.disable("pipe"), "a hanging device can be removed");
    permit(&broker, "3").await.unwrap();
}

#[tokio::test]
async fn a_reader_that_goes_away_is_noticed_and_one_that_returns_too() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    fifo(&pipe);
    let broker = patient();
    let refused = broker.enable("pipe", file(&pipe, &[]), "s".into()).await.unwrap_err();
    assert_eq!(refused, EnableError::Test { target: pipe.to_str().unwrap().into(), reason: "nobody reads from it".into() });
    let first = reader(&pipe);
    broker.enable("pipe", file(&pipe, &[]), "s".into()).await.unwrap();
    drop(first);
    let errors = [permit(&broker, "1").await.unwrap_err(), permit(&broker, "2").await.unwrap_err()];
    assert!(errors[0].to_string().contains("Broken pipe"), "{}", errors[0]);
    assert!(errors[1].to_string().contains("nobody reads from it"), "{}", errors[1]);
    assert_eq!(health(&broker, "pipe/"), Health::Failing);
    let _second = reader(&pipe);
    permit(&broker, "3").await.unwrap();
    assert_eq!(health(&broker, "pipe/"), Health::Healthy);
}

#[tokio::test]
async fn a_full_disk_fails_at_once_and_does_not_stop_the_other_device() {
    let dir = tempfile::tempdir().unwrap();
    let before = mode(Path::new("/dev/full"));
    let full = file("/dev/full".as_ref(), &[("skip_test", "true"), ("mode", "0600")]);
    let broker = patient();
    let refused = broker.enable("f", file("/dev/full".as_ref(), &[]), "s".into()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "sanity check failed; unable to open \"/dev/full\" for writing: No space left on device (os error 28)"
    );
    assert!(!broker.has_devices(), "a device that fails its test is not enabled");
    broker.enable("full", full, "s".into()).await.unwrap();
    assert!(permit(&broker, "1").await.is_err());
    broker.enable("log", file(&dir.path().join("log"), &[]), "s".into()).await.unwrap();
    permit(&broker, "2").await.unwrap();
    assert_eq!((health(&broker, "full/"), health(&broker, "log/")), (Health::Failing, Health::Healthy));
    assert_eq!(broker.statuses()[0].missed, 2);
    assert_eq!(mode(Path::new("/dev/full")), before, "the mode is for our own files, not for the machine's");
}

#[tokio::test]
async fn a_deleted_or_renamed_file_is_opened_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, old) = (dir.path().join("log"), dir.path().join("log.1"));
    let broker = patient();
    broker.enable("file", file(&log, &[]), "s".into()).await.unwrap();
    permit(&broker, "gone").await.unwrap();
    std::fs::remove_file(&log).unwrap();
    permit(&broker, "after deletion").await.unwrap();
    assert_eq!(ids(&log), ["after deletion"]);
    assert_eq!(mode(&log), 0o600);
    std::fs::rename(&log, &old).unwrap();
    permit(&broker, "after renaming").await.unwrap();
    assert_eq!((ids(&old), ids(&log)), (vec!["after deletion".to_owned()], vec!["after renaming".to_owned()]));
    // copytruncate
    OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    permit(&broker, "after truncation").await.unwrap();
    assert_eq!(ids(&log), ["after truncation"]);
    std::fs::remove_dir_all(dir.path()).unwrap();
    permit(&broker, "after all").await.unwrap();
    assert_eq!(ids(&log), ["after all"]);
}

#[tokio::test]
async fn sighup_lets_go_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let broker = patient();
    broker.enable("file", file(&log, &[]), "s".into()).await.unwrap();
    let open = |path: &Path| {
        std::fs::read_dir("/proc/self/fd").unwrap().flatten().any(|f| std::fs::read_link(f.path()).is_ok_and(|l| l == path))
    };
    assert!(open(&log));
    broker.reopen();
    until("the closing", || !open(&log)).await;
    permit(&broker, "x").await.unwrap();
    assert!(open(&log));
    assert_eq!(ids(&log), ["x"]);
}

#[tokio::test]
async fn a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, target) = (dir.path().join("log"), dir.path().join("target"));
    std::fs::write(&target, "untouched").unwrap();
    symlink(&target, &log).unwrap();
    let broker = patient();
    let refused = broker.enable("file", file(&log, &[]), "s".into()).await.unwrap_err();
    assert!(refused.to_string().ends_with("it is a symbolic link"), "{refused}");
    std::fs::remove_file(&log).unwrap();
    broker.enable("file", file(&log, &[]), "s".into()).await.unwrap();
    std::fs::remove_file(&log).unwrap();
    symlink(&target, &log).unwrap();
    assert!(permit(&broker, "x").await.is_err(), "not even when it is slipped in later");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "untouched");
}

#[tokio::test]
async fn modes_are_what_was_asked_for_and_never_executable() {
    let dir = tempfile::tempdir().unwrap();
    let broker = patient();
    for (name, exists_with, option, then) in [
        ("a", None, None, Some(0o600)),
        ("b", None, Some("0640"), Some(0o640)),
        ("c", Some(0o644), None, Some(0o600)),
        ("d", Some(0o644), Some("0000"), Some(0o644)),
        ("e", Some(0o755), Some("0640"), Some(0o640)),
        ("f", Some(0o755), Some("0000"), None),
        ("g", None, Some("0000"), Some(0o600)),
        ("h", None, Some("0700"), None),
    ] {
        let path = dir.path().join(name);
        if let Some(bits) = exists_with {
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        }
        let options: Vec<_> = option.map(|m| ("mode", m)).into_iter().collect();
        let enabled = broker.enable(name, file(&path, &options), "s".into()).await;
        assert_eq!(enabled.is_ok(), then.is_some(), "{name}: {enabled:?}");
        if let Some(bits) = then {
            assert_eq!(mode(&path), bits, "{name}");
        }
    }
}

#[tokio::test]
async fn wrong_devices_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let broker = Broker::with_settings(Settings {
        guarded: vec![Guarded { path: dir.path().join("plugins"), what: "in the plugin directory" }],
        ..Settings::default()
    });
    broker.enable("a/b", file(&log, &[]), "s".into()).await.unwrap();
    for (path, file_path, error) in [
        ("a/b", "other", "path already in use"),
        ("/a/b/", "other", "path already in use"),
        ("a", "other", "path already in use"),
        ("a/b/c", "other", "path already in use"),
        ("", "other", "missing audit device path"),
        ("/", "other", "missing audit device path"),
        ("x", "log", "audit file is already used by another audit device"),
        ("x", "../SAME/log", "audit file is already used by another audit device"),
        ("x", "plugins/evil", "audit file must not be in the plugin directory"),
    ] {
        let same = dir.path().file_name().unwrap().to_str().unwrap();
        let config = file(&dir.path().join(file_path.replace("SAME", same)), &[]);
        assert_eq!(broker.enable(path, config, "s".into()).await.unwrap_err().to_string(), error, "{path} {file_path}");
    }
    let unwritable = broker.enable("x", file(&log.join("below/a/file"), &[]), "s".into()).await.unwrap_err();
    assert!(unwritable.to_string().starts_with("sanity check failed; unable to open "), "{unwritable}");
    assert_eq!(broker.statuses().len(), 1);
    assert!(!dir.path().join("plugins").exists());
    broker.enable("ab", file(&dir.path().join("other"), &[]), "s".into()).await.unwrap();
}

#[tokio::test]
async fn a_stored_device_that_cannot_be_opened_stops_requests() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("blocked");
    std::fs::write(&blocked, "").unwrap();
    let log = blocked.join("log");
    let broker = patient();
    broker.restore("file", file(&log, &[]), "s".into()).await.unwrap();
    assert!(broker.has_devices());
    assert!(permit(&broker, "1").await.is_err());
    std::fs::remove_file(&blocked).unwrap();
    permit(&broker, "2").await.unwrap();
    assert_eq!(ids(&log), ["2"]);
    broker.disable_all();
    assert!(!broker.has_devices());
}

#[tokio::test]
async fn streams_and_the_void_are_devices() {
    let broker = patient();
    let special = |name: &str| file(name.as_ref(), &[]);
    broker.enable("void", special("discard"), "s".into()).await.unwrap();
    broker.enable("void2", special("discard"), "s".into()).await.unwrap();
    broker.enable("null", special("/dev/null"), "s".into()).await.unwrap();
    permit(&broker, "x").await.unwrap();
    assert!(broker.statuses().iter().all(|s| s.recorded == 2 && s.health == Health::Healthy));
    assert!(!Path::new("discard").exists());
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let unknown = broker.enable("s", DeviceConfig { device_type: "paper".into(), ..DeviceConfig::default() }, "s".into()).await;
    assert_eq!(unknown.unwrap_err().to_string(), "unknown backend type: \"paper\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_at_once_lose_and_mix_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let broker = Arc::new(patient());
    broker.enable("file", file(&log, &[]), "s".into()).await.unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|t| {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move {
                for n in 0..50 {
                    let id = format!("{t}-{n}");
                    broker.permit(grant(), || record(&id)).await.unwrap();
                    if n % 10 == 0 {
                        broker.reopen();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut seen = ids(&log);
    for t in 0..32 {
        let of_task: Vec<_> = seen.iter().filter(|id| id.starts_with(&format!("{t}-"))).cloned().collect();
        let in_order: Vec<_> = (0..50).map(|n| format!("{t}-{n}")).collect();
        assert_eq!(of_task, in_order);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1600);
    assert_eq!(broker.statuses()[0].recorded, 1601);
}

#[tokio::test]
async fn what_was_acknowledged_or_queued_survives_the_end_of_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let broker = patient();
    broker.enable("file", file(&log, &[]), "s".into()).await.unwrap();
    permit(&broker, "1").await.unwrap();
    // Dropped while it waits: the entry is in the queue, the request is gone.
    let mut abandoned = Box::pin(broker.permit(grant(), || record("2")));
    let waker = std::task::Waker::noop();
    let polled = abandoned.as_mut().poll(&mut std::task::Context::from_waker(waker));
    drop(polled);
    drop(abandoned);
    assert!(broker.disable("/file/"));
    until("the last line", || ids_if_whole(&log).is_some_and(|ids| ids == ["1", "2"])).await;
}

fn ids_if_whole(path: &Path) -> Option<Vec<String>> {
    std::fs::read_to_string(path).ok().filter(|t| t.ends_with('\n')).map(|_| ids(path))
}
