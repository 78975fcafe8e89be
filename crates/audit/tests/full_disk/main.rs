//! A disk that fills up in the middle of a line. A limit on file sizes does what a full disk does: the write that crosses it is
//! cut short and the next one fails. The limit holds for a whole process, so the test runs itself again below a shell that
//! sets it. A test binary of its own, because starting a process disturbs the tests with pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[allow(dead_code, reason = "shared with the other test binary")]
#[path = "../audit/common.rs"]
mod common;

use std::path::PathBuf;
use std::process::Command;

use audit::Health;
use common::{file, ids, patient, permit};

const INNER: &str = "AUDIT_TEST_LOG_BELOW_A_LIMIT";

#[test]
fn a_disk_that_fills_up_leaves_no_half_line() {
    let dir = tempfile::tempdir().unwrap();
    // An ignored signal stays ignored across exec; without that the kernel would kill the process at the limit.
    let script = "trap '' XFSZ; ulimit -f 2; exec \"$0\" --exact below_the_limit --ignored";
    let inner = Command::new("sh")
        .args(["-c", script, std::env::current_exe().unwrap().to_str().unwrap()])
        .env(INNER, dir.path().join("log"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inner.stdout).into_owned() + &String::from_utf8_lossy(&inner.stderr);
    assert!(inner.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by a_disk_that_fills_up_leaves_no_half_line, below a limit"]
async fn below_the_limit() {
    let log = PathBuf::from(std::env::var_os(INNER).expect("started by the other test"));
    let broker = patient();
    broker.enable("file", file(&log, &[]), "s".into()).await.unwrap();
    let mut taken = Vec::new();
    let error = loop {
        let id = format!("entry-{}", taken.len());
        match permit(&broker, &id).await {
            Ok(_) => taken.push(id),
            Err(error) => break error,
        }
        assert!(taken.len() < 100, "the limit does not work");
    };
    assert!(error.to_string().contains("File too large"), "{error}");
    assert_eq!(ids(&log), taken, "what was acknowledged is there, and nothing of the entry that was not");
    assert_eq!(broker.statuses()[0].health, Health::Failing);

    assert!(permit(&broker, "still full").await.is_err());
    assert_eq!(ids(&log), taken);
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    permit(&broker, "room again").await.unwrap();
    assert_eq!(ids(&log), ["room again"]);
    assert_eq!(broker.statuses()[0].health, Health::Healthy);
}
