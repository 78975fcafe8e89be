//! CPU time and memory of a server, as `/proc` tells them.
//! Absent on purpose: anything that would disturb or end the process.

use std::fs;
use std::io;

use serde::Serialize;

/// Ticks of `/proc/<pid>/stat` in a second: `USER_HZ` is 100 on every Linux that Rust runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// What a process holds in memory, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident, mapped files included.
    pub rss_kib: u64,
    /// Resident and its own: what cannot be dropped from memory.
    pub anonymous_kib: u64,
    /// The largest `rss_kib` so far.
    pub peak_kib: u64,
}

/// CPU seconds, user and system, of all threads so far.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&stat).ok_or_else(|| io::Error::other("unknown form of /proc/<pid>/stat"))
}

/// Memory now.
pub fn memory(pid: u32) -> io::Result<Memory> {
    Ok(parse_status(&fs::read_to_string(format!("/proc/{pid}/status"))?))
}

fn parse_stat(stat: &str) -> Option<f64> {
    // The command may hold spaces and brackets: count from the last bracket. utime is field 14, the state after it field 3.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) / TICKS_A_SECOND)
}

fn parse_status(status: &str) -> Memory {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.split_ascii_whitespace().next())
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    };
    Memory { rss_kib: field("VmRSS:"), anonymous_kib: field("RssAnon:"), peak_kib: field("VmHWM:") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 4 0 100 1000 200";
        assert_eq!(parse_stat(stat), Some(3.0));
    }

    #[test]
    fn what_is_no_stat_is_none() {
        for stat in ["", "7 (a", "7 (a) S 1 2 3", "7 (a) S 1 7 7 0 -1 4194560 100 0 0 0 x 50"] {
            assert_eq!(parse_stat(stat), None, "{stat}");
        }
    }

    #[test]
    fn memory_is_read_by_name() {
        let status = "Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t  100 kB\n";
        assert_eq!(parse_status(status), Memory { rss_kib: 200, anonymous_kib: 100, peak_kib: 300 });
        assert_eq!(parse_status(""), Memory::default());
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        assert!(memory(pid).unwrap().rss_kib > 0);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
    }
}
