//! `sys/host-info`: the machine, as Linux tells it below `/proc`. What is not there is left out, as Vault does.

use api_types::{Map, Operation};
use engine::{Call, Outcome, Response, Route};
use serde_json::{Value, json};

use super::SystemEngine;
use super::seal::hostname;

/// Clock ticks in a second in `/proc/stat`; fixed at 100 in the kernel's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![Route::new("host-info/?", &[], "Shows the machine.").on(Operation::Read, "Show it.", host_info)]
}

fn host_info(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let mut data = Map::new();
    data.insert("timestamp".into(), call.now.rfc3339().into());
    data.insert("host".into(), host());
    let parts = [
        ("cpu", "/proc/cpuinfo", cpu as fn(&str) -> Option<Value>),
        ("cpu_times", "/proc/stat", cpu_times),
        ("memory", "/proc/meminfo", memory),
    ];
    for (name, file, read) in parts {
        if let Some(value) = std::fs::read_to_string(file).ok().and_then(|text| read(&text)) {
            data.insert(name.into(), value);
        }
    }
    if let Some(disk) = disk("/") {
        data.insert("disk".into(), json!([disk]));
    }
    Ok(Some(Response::data(data)))
}

fn host() -> Value {
    let name = rustix::system::uname();
    let uptime = std::fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split('.').next().and_then(|s| s.parse::<u64>().ok()))
        .unwrap_or(0);
    json!({
        "hostname": hostname(),
        "uptime": uptime,
        "os": name.sysname().to_string_lossy().to_lowercase(),
        "kernelVersion": name.release().to_string_lossy(),
        "kernelArch": name.machine().to_string_lossy(),
    })
}

/// One entry a processor.
fn cpu(text: &str) -> Option<Value> {
    let mut out = Vec::new();
    for block in text.split("\n\n").filter(|b| !b.trim().is_empty()) {
        let field = |name: &str| {
            block.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| k.trim() == name).map_or("", |(_, v)| v.trim())
        };
        out.push(json!({
            "cpu": field("processor").parse::<u64>().unwrap_or(out.len() as u64),
            "vendorId": field("vendor_id"),
            "family": field("cpu family"),
            "model": field("model"),
            "modelName": field("model name"),
            "mhz": field("cpu MHz").parse::<f64>().unwrap_or(0.0),
        }));
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

/// Seconds of each processor in each mode.
fn cpu_times(text: &str) -> Option<Value> {
    const MODES: [&str; 10] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guestNice"];
    let mut out = Vec::new();
    for line in text.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")) {
        let mut words = line.split_whitespace();
        let mut times = Map::new();
        times.insert("cpu".into(), words.next()?.into());
        for (mode, ticks) in MODES.iter().zip(words) {
            times.insert((*mode).into(), json!(ticks.parse::<f64>().ok()? / TICKS_PER_SECOND));
        }
        out.push(Value::Object(times));
    }
    (!out.is_empty()).then_some(Value::Array(out))
}

fn memory(text: &str) -> Option<Value> {
    let bytes = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|l| l.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let (total, available) = (bytes("MemTotal:")?, bytes("MemAvailable:")?);
    Some(json!({
        "total": total,
        "available": available,
        "used": total.saturating_sub(available),
        "free": bytes("MemFree:"),
        "buffers": bytes("Buffers:"),
        "cached": bytes("Cached:"),
        "swapTotal": bytes("SwapTotal:"),
        "swapFree": bytes("SwapFree:"),
    }))
}

fn disk(path: &str) -> Option<Value> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(json!({
        "path": path,
        "total": bytes(stat.f_blocks),
        "free": bytes(stat.f_bavail),
        "used": bytes(stat.f_blocks.saturating_sub(stat.f_bfree)),
        "inodesTotal": stat.f_files,
        "inodesFree": stat.f_ffree,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_leniently() {
        let m = memory("MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:    600 kB\n").unwrap();
        assert_eq!((&m["total"], &m["used"], &m["swapFree"]), (&json!(1_024_000), &json!(409_600), &Value::Null));
        assert!(memory("nothing").is_none());
        let times = cpu_times("cpu  1 2\ncpu0 100 0 50 1000\nintr 5\n").unwrap();
        assert_eq!(times[0]["cpu"], "cpu0");
        assert_eq!(times[0]["idle"], 10.0);
        assert!(cpu_times("cpu0 x").is_none());
        let cpus = cpu("processor\t: 0\nmodel name\t: Some CPU\n\nprocessor\t: 1\n").unwrap();
        assert_eq!(cpus[0]["modelName"], "Some CPU");
        assert_eq!(cpus[1]["cpu"], 1);
        assert!(cpu("").is_none());
    }
}
