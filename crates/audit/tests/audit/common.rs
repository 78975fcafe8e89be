//! What the tests of the devices share.

use std::path::Path;
use std::time::{Duration, Instant};

use api_types::Operation;
use audit::{AuditError, Broker, DeviceConfig, Permit, RequestFacts, RequestRecord, Settings};
use policy::Grant;
use secret::Time;
use serde_json::Value;

/// A decision, taken from policy's own table of open paths.
pub fn grant() -> Grant {
    policy::paths::open("system", "health", Operation::Read).unwrap()
}

pub fn record(id: &str) -> RequestRecord<'_> {
    RequestRecord { time: Time(0), auth: None, request: RequestFacts::new(id, Operation::Read, "kv/data/a"), error: None }
}

/// A record whose line is longer than any pipe holds.
pub fn long_record(id: &str) -> RequestRecord<'_> {
    let mut record = record(id);
    let items: Vec<Value> = (0..20_000).map(Value::from).collect();
    record.request.data = Some([("items".to_owned(), Value::from(items))].into_iter().collect::<api_types::Map>().into());
    record
}

pub async fn permit(broker: &Broker, id: &str) -> Result<Permit, AuditError> {
    broker.permit(grant(), || record(id)).await
}

pub fn file(path: &Path, more: &[(&str, &str)]) -> DeviceConfig {
    let mut options: std::collections::BTreeMap<_, _> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    options.insert("file_path".into(), path.to_str().unwrap().into());
    DeviceConfig { device_type: "file".into(), options, ..DeviceConfig::default() }
}

/// A broker whose devices may take long: a stall of the machine is not one of a device.
pub fn patient() -> Broker {
    Broker::with_settings(Settings { time_out: Duration::from_secs(60), ..Settings::default() })
}

/// The option of a device that is given up early, so that tests of hanging ones are quick.
pub const IMPATIENT: (&str, &str) = ("write_timeout", "3s");

/// The request ids in a log, in order; every line has to be whole.
pub fn ids(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not whole");
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .filter_map(|line| line["request"]["id"].as_str().map(str::to_owned))
        .collect()
}

/// Lets other tasks and threads go on until `done`, for at most a minute.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} does not come");
        tokio::task::yield_now().await;
        std::thread::yield_now();
    }
}
