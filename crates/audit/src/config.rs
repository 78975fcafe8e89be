//! What an operator says about a device, checked before anything is opened.
//!
//! Options and their meaning: contract §7.5; those that are not Vault's are named at [`DeviceConfig::options`]. Where a file may
//! lie is a question of its own: `guard`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use api_types::duration::{self, DurationError};
use serde::{Deserialize, Serialize};

use crate::filter::{Filter, FilterError};
use crate::guard::{self, Guarded};
use crate::line::{Format, Style};
use crate::sink::{Facility, FileSink, Network, Rotation, Sink, SocketSink, SyslogSink, Target};

/// A device as the audit table stores it. All option values are text, as on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceConfig {
    /// `file`, `socket` or `syslog`; other types are refused as unknown.
    #[serde(rename = "type")]
    pub device_type: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// Vault's, for all types: `format`, `prefix`, `log_raw`, `hmac_accessor`, `elide_list_responses`, `skip_test`, `filter`,
    /// `fallback`; `file`: `file_path`, `mode`; `socket`: `address`, `socket_type`, `write_timeout`; `syslog`: `facility`, `tag`.
    /// Our own: `write_timeout` for all types, and for `file` `rotate_bytes`, `rotate_duration`, `rotate_max_files`,
    /// `rotate_compress`. Unknown ones are kept and do nothing, as in Vault.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// Not replicated; shown only.
    #[serde(default)]
    pub local: bool,
}

/// Why a device is not enabled. All are the client's to mend (400), and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnableError {
    /// The path of the device is empty.
    #[error("missing audit device path")]
    NoPath,
    /// Another device has the path, or one path is above the other.
    #[error("path already in use")]
    PathInUse,
    /// There is no such device type here.
    #[error("unknown backend type: {0:?}")]
    UnknownType(String),
    /// `exclude`, which edits lines.
    #[error("enterprise-only options supplied")]
    EnterpriseOptions,
    /// No `file_path`.
    #[error("file_path is required")]
    NoFilePath,
    /// No `address`.
    #[error("address is required")]
    NoAddress,
    /// A format that is none.
    #[error("unknown format type {0:?}")]
    Format(String),
    /// A facility that is none.
    #[error("invalid syslog facility: {0}")]
    Facility(String),
    /// A time-out that is no duration.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// `filter` cannot be understood.
    #[error("invalid filter: {0}")]
    Filter(#[from] FilterError),
    /// `fallback` beside `filter`.
    #[error("a fallback device takes what the filters of the others leave, and cannot have a filter of its own")]
    FallbackWithFilter,
    /// A second `fallback`.
    #[error("there is a fallback device already")]
    SecondFallback,
    /// `prefix` without `allow_audit_log_prefixing` in the server's configuration.
    #[error("audit prefixing is not enabled in configuration, audit prefixing may not be configured for {0} sinks")]
    PrefixNotEnabled(&'static str),
    /// An option has a value that it cannot have; the value itself is not repeated.
    #[error("invalid value for option {option:?}: {expected}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// `mode` has an execute bit.
    #[error("file mode must not have executable permissions")]
    ExecutableMode,
    /// The file would lie where only the server's own files lie, or be one of them.
    #[error("audit file must not be {0}")]
    Guarded(&'static str),
    /// The path is a directory.
    #[error("audit file must not be a directory")]
    Directory,
    /// Another device writes to the same file.
    #[error("audit file is already used by another audit device")]
    FileInUse,
    /// The file could not take the test entry.
    #[error("sanity check failed; unable to open {target:?} for writing: {reason}")]
    Test {
        /// The file.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// A socket or the system's log could not take the test entry.
    #[error("audit backend failed test message: {0}")]
    TestMessage(String),
    /// The server cannot start another thread.
    #[error("no thread for the audit device")]
    NoThread,
}

/// What the options come to.
pub(crate) struct Plan {
    pub(crate) style: Style,
    pub(crate) target: Target,
    pub(crate) sink: Sink,
    /// How long a request waits for the device.
    pub(crate) time_out: Duration,
    pub(crate) filter: Option<Filter>,
    /// Takes what every filter left.
    pub(crate) fallback: bool,
    pub(crate) skip_test: bool,
}

/// Rules that come from the server's own configuration file.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) guarded: Vec<Guarded>,
    pub(crate) allow_prefixing: bool,
    pub(crate) time_out: Duration,
    pub(crate) syslog_sockets: Vec<PathBuf>,
}

/// Nobody else reads an audit log unless the operator says so.
const DEFAULT_MODE: u32 = 0o600;
/// Smaller files would be rotated at every other entry.
const ROTATE_BYTES_MIN: u64 = 4 << 10;
/// A clock that is set must not rotate a file twice in a blink.
const ROTATE_AGE_MIN: Duration = Duration::from_secs(1);

impl DeviceConfig {
    pub(crate) fn plan(&self, limits: &Limits) -> Result<Plan, EnableError> {
        let kind = match self.device_type.as_str() {
            "file" => "file",
            "socket" => "socket",
            "syslog" => "syslog",
            other => return Err(EnableError::UnknownType(other.to_owned())),
        };
        if self.options.contains_key("exclude") {
            return Err(EnableError::EnterpriseOptions);
        }
        let time_out = self.time_out(limits.time_out)?;
        let (target, sink) = match kind {
            "file" => self.file(limits)?,
            "socket" => self.socket(time_out)?,
            _ => self.syslog(limits, time_out)?,
        };
        let filter = self.text("filter").map(Filter::parse).transpose()?;
        let fallback = self.flag("fallback", false)?;
        if fallback && filter.is_some() {
            return Err(EnableError::FallbackWithFilter);
        }
        let skip_test = self.flag("skip_test", false)?;
        Ok(Plan { style: self.style(kind, limits)?, target, sink, time_out, filter, fallback, skip_test })
    }

    fn style(&self, kind: &'static str, limits: &Limits) -> Result<Style, EnableError> {
        let format = match self.text("format") {
            None | Some("json") => Format::Json,
            Some("jsonx") => Format::Jsonx,
            Some(other) => return Err(EnableError::Format(other.to_owned())),
        };
        let prefix = self.options.get("prefix").cloned().unwrap_or_default();
        if !prefix.is_empty() && !limits.allow_prefixing {
            return Err(EnableError::PrefixNotEnabled(kind));
        }
        if prefix.contains(['\n', '\r']) {
            return Err(EnableError::Option { option: "prefix", expected: "text without line breaks" });
        }
        Ok(Style {
            format,
            prefix,
            log_raw: self.flag("log_raw", false)?,
            hmac_accessor: self.flag("hmac_accessor", true)?,
            elide_list_responses: self.flag("elide_list_responses", false)?,
        })
    }

    fn file(&self, limits: &Limits) -> Result<(Target, Sink), EnableError> {
        // `path` is the old name of the option.
        let file_path = self.text("file_path").or_else(|| self.text("path")).ok_or(EnableError::NoFilePath)?;
        let target = Target::parse(file_path);
        let (mode, rotation) = (self.mode()?, self.rotation()?);
        let sink = match &target {
            Target::File(path) => {
                guard::check(path, &limits.guarded)?;
                Sink::File(FileSink::new(path.clone(), mode, rotation))
            }
            Target::Stdout => Sink::Stdout,
            Target::Stderr => Sink::Stderr,
            _ => Sink::Discard,
        };
        Ok((target, sink))
    }

    fn socket(&self, time_out: Duration) -> Result<(Target, Sink), EnableError> {
        let address = self.text("address").ok_or(EnableError::NoAddress)?.to_owned();
        let network = Network::parse(self.text("socket_type").unwrap_or("tcp"))
            .ok_or(EnableError::Option { option: "socket_type", expected: "tcp, udp or unix" })?;
        let sink = Sink::Socket(SocketSink::new(network, address.clone(), time_out));
        Ok((Target::Socket(network, address), sink))
    }

    fn syslog(&self, limits: &Limits, time_out: Duration) -> Result<(Target, Sink), EnableError> {
        let name = self.text("facility").unwrap_or("AUTH");
        let facility = Facility::parse(name).ok_or_else(|| EnableError::Facility(name.to_owned()))?;
        let tag = self.text("tag").unwrap_or("vault");
        // A tag ends at the first other character (RFC 3164 §4.1.3), and a longer one is cut by daemons.
        if tag.len() > TAG_BYTES_MAX || !tag.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'[' | b']' | b':')) {
            return Err(EnableError::Option { option: "tag", expected: "at most 32 printable characters without [, ] and :" });
        }
        let sink = SyslogSink::new(facility, tag.to_owned(), limits.syslog_sockets.clone(), time_out);
        Ok((Target::Syslog, Sink::Syslog(sink)))
    }

    fn text(&self, option: &str) -> Option<&str> {
        self.options.get(option).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    fn flag(&self, option: &'static str, default: bool) -> Result<bool, EnableError> {
        match self.text(option) {
            None => Ok(default),
            // The spellings of Go's strconv.ParseBool.
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(EnableError::Option { option, expected: "true or false" }),
        }
    }

    fn time_out(&self, default: Duration) -> Result<Duration, EnableError> {
        let Some(text) = self.text("write_timeout") else { return Ok(default) };
        let found = duration::parse(text)?.unsigned().filter(|d| !d.is_zero() && *d <= TIME_OUT_MAX);
        found.ok_or(EnableError::Option { option: "write_timeout", expected: "more than zero and at most 60s" })
    }

    fn rotation(&self) -> Result<Rotation, EnableError> {
        let number = |option: &'static str, max: u64| match self.text(option) {
            None => Ok(0),
            Some(text) => text
                .parse::<u64>()
                .ok()
                .filter(|n| *n <= max)
                .ok_or(EnableError::Option { option, expected: "a number that is not negative" }),
        };
        let bytes = number("rotate_bytes", u64::MAX)?;
        if bytes != 0 && bytes < ROTATE_BYTES_MIN {
            return Err(EnableError::Option { option: "rotate_bytes", expected: "0 or at least 4096" });
        }
        let age = match self.text("rotate_duration") {
            None => Duration::ZERO,
            Some(text) => duration::parse(text)?
                .unsigned()
                .filter(|d| d.is_zero() || *d >= ROTATE_AGE_MIN)
                .ok_or(EnableError::Option { option: "rotate_duration", expected: "0 or at least one second" })?,
        };
        let max_files = usize::try_from(number("rotate_max_files", u64::from(u32::MAX))?).unwrap_or(usize::MAX);
        Ok(Rotation { bytes, age, max_files, gzip: self.flag("rotate_compress", false)? })
    }

    fn mode(&self) -> Result<Option<u32>, EnableError> {
        let Some(text) = self.text("mode") else { return Ok(Some(DEFAULT_MODE)) };
        let octal = text.strip_prefix("0o").unwrap_or(text);
        let wrong = EnableError::Option { option: "mode", expected: "permission bits in octal, such as 0600" };
        match u32::from_str_radix(octal, 8) {
            Ok(0) => Ok(None),
            Ok(bits) if bits & 0o111 != 0 => Err(EnableError::ExecutableMode),
            // Set-uid, set-gid and sticky have no business on a log.
            Ok(bits) if bits <= 0o777 => Ok(Some(bits)),
            _ => Err(wrong),
        }
    }
}

/// RFC 3164 §4.1.3.
const TAG_BYTES_MAX: usize = 32;
/// Clients give up after a minute.
const TIME_OUT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
