//! Filters and fallback, and rotation by the server itself.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api_types::Operation;
use audit::{RequestFacts, RequestRecord, ResponseFacts, ResponseRecord};
use secret::Time;

use crate::common::{file, grant, ids, patient, permit, until};

fn of(id: &'static str, operation: Operation, mount: &'static str, kind: &'static str) -> RequestRecord<'static> {
    let request = RequestFacts { mount_point: mount, mount_type: kind, ..RequestFacts::new(id, operation, "x") };
    RequestRecord { time: Time(0), auth: None, request, error: None }
}

#[tokio::test]
async fn each_device_takes_what_its_filter_says_and_the_fallback_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let broker = patient();
    let filter = |text: &'static str| [("filter", text), ("skip_test", "true")];
    broker.enable("kv", file(&at("kv"), &filter("mount_type == kv")), "s".into()).await.unwrap();
    broker.enable("reads", file(&at("reads"), &filter("operation == read")), "s".into()).await.unwrap();
    // What no filter takes and no fallback takes is recorded nowhere, as its operator wished.
    broker.permit(grant(), || of("nobody's", Operation::Update, "pki/", "pki")).await.unwrap();
    let rest = [("fallback", "true"), ("skip_test", "true")];
    broker.enable("rest", file(&at("rest"), &rest), "s".into()).await.unwrap();
    let second = broker.enable("rest2", file(&at("rest2"), &rest), "s".into()).await.unwrap_err();
    assert_eq!(second.to_string(), "there is a fallback device already");
    for (id, operation, kind) in [
        ("both", Operation::Read, "kv"),
        ("kv only", Operation::Update, "kv"),
        ("reads only", Operation::Read, "pki"),
        ("rest", Operation::Update, "pki"),
    ] {
        let permit = broker.permit(grant(), || of(id, operation, "m/", kind)).await.unwrap();
        let answer = || {
            let RequestRecord { time, auth, request, .. } = of(id, operation, "m/", kind);
            ResponseRecord { time, auth, request, response: ResponseFacts::default(), error: None }
        };
        broker.answer(&permit, answer, ()).await.unwrap();
    }
    assert_eq!(ids(&at("kv")), ["both", "both", "kv only", "kv only"]);
    assert_eq!(ids(&at("reads")), ["both", "both", "reads only", "reads only"]);
    assert_eq!(ids(&at("rest")), ["rest", "rest"]);
    // A device without a filter takes everything, so nothing is left over.
    broker.enable("all", file(&at("all"), &[("skip_test", "true")]), "s".into()).await.unwrap();
    broker.permit(grant(), || of("late", Operation::Update, "m/", "pki")).await.unwrap();
    assert_eq!((ids(&at("all")).len(), ids(&at("rest")).len()), (1, 2));
}

#[tokio::test]
async fn a_filtered_device_that_fails_stops_only_its_own_requests() {
    let dir = tempfile::tempdir().unwrap();
    let broker = patient();
    let options = [("filter", "mount_type == kv"), ("skip_test", "true")];
    broker.enable("full", file("/dev/full".as_ref(), &options), "s".into()).await.unwrap();
    assert!(broker.permit(grant(), || of("a", Operation::Read, "kv/", "kv")).await.is_err());
    broker.permit(grant(), || of("b", Operation::Read, "pki/", "pki")).await.unwrap();
    let rest = dir.path().join("rest");
    broker.enable("rest", file(&rest, &[("fallback", "true"), ("skip_test", "true")]), "s".into()).await.unwrap();
    assert!(broker.permit(grant(), || of("c", Operation::Read, "kv/", "kv")).await.is_err(), "the rest is not a spare");
    assert!(!rest.exists());
}

/// All files that a log has become, the present one last.
fn files(log: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = std::fs::read_dir(log.parent().unwrap()).unwrap().map(|e| e.unwrap().path()).collect();
    out.retain(|p| p != log);
    out.sort();
    out.push(log.to_owned());
    out
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_file_is_rotated_and_compressed_and_no_line_is_lost() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let broker = Arc::new(patient());
    let options = [("rotate_bytes", "4096"), ("rotate_compress", "true"), ("mode", "0640"), ("skip_test", "true")];
    broker.enable("f", file(&log, &options), "s".into()).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|t| {
            let broker = Arc::clone(&broker);
            tokio::spawn(async move {
                for n in 0..40 {
                    permit(&broker, &format!("{t}-{n}")).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rotated = |files: &[PathBuf]| files.len() > 3 && files.iter().rev().skip(1).all(|f| f.extension().unwrap() == "gz");
    until("compression", || rotated(&files(&log))).await;
    let lines: Vec<String> = files(&log).iter().flat_map(|f| text(f).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    assert_eq!(lines.len(), 320);
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), 320, "none twice");
    for file in files(&log) {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640, "{file:?}");
        assert!(text(&file).len() <= 4096 + 8 * 400);
    }
}

#[tokio::test]
async fn only_so_many_rotated_files_are_kept_and_nothing_else_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let others = ["audit.log.1", "audit.log.bak", "audit.log.20261124T131908.000000042Z.keep", "other"];
    for other in others {
        std::fs::write(dir.path().join(other), "mine").unwrap();
    }
    let broker = patient();
    let options = [("rotate_bytes", "4096"), ("rotate_max_files", "2"), ("skip_test", "true")];
    broker.enable("f", file(&log, &options), "s".into()).await.unwrap();
    for n in 0..200 {
        permit(&broker, &n.to_string()).await.unwrap();
    }
    until("the cleaning", || files(&log).len() == others.len() + 2 + 1).await;
    for other in others {
        assert_eq!(std::fs::read_to_string(dir.path().join(other)).unwrap(), "mine");
    }
    assert_eq!(ids(&log).last().unwrap(), "199");
}
