//! What an operator says about a device, checked before anything is opened.
//!
//! Options and their meaning: contract §7.5. A device writes where the server can write, so this file is a guard too: no
//! executable modes and nothing below the plugin directory (CVE-2025-6000: an audit file that became a plugin).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::line::Style;
use crate::sink::Target;

/// A device as the audit table stores it. All option values are text, as on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceConfig {
    /// `file`; other types are refused as unknown.
    #[serde(rename = "type")]
    pub device_type: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// `file_path`, `mode`, `format`, `prefix`, `log_raw`, `hmac_accessor`, `elide_list_responses`, `skip_test`.
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
    /// `filter`, `fallback`, `exclude`.
    #[error("enterprise-only options supplied")]
    EnterpriseOptions,
    /// No `file_path`.
    #[error("file_path is required")]
    NoFilePath,
    /// `prefix` without `allow_audit_log_prefixing` in the server's configuration.
    #[error("audit prefixing is not enabled in configuration, audit prefixing may not be configured for file sinks")]
    PrefixNotEnabled,
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
    /// The file would lie among the plugins.
    #[error("audit file must not be in the plugin directory")]
    PluginDirectory,
    /// Another device writes to the same file.
    #[error("audit file is already used by another audit device")]
    FileInUse,
    /// The device could not take the test entry.
    #[error("sanity check failed; unable to write to {target:?}: {reason}")]
    Test {
        /// The file.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The server cannot start another thread.
    #[error("no thread for the audit device")]
    NoThread,
}

/// What the options come to.
pub(crate) struct Plan {
    pub(crate) style: Style,
    pub(crate) target: Target,
    /// Permission bits of the file; `None` leaves them as they are.
    pub(crate) mode: Option<u32>,
    pub(crate) skip_test: bool,
}

/// Rules that come from the server's own configuration file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) plugin_directory: Option<PathBuf>,
    pub(crate) allow_prefixing: bool,
}

/// Nobody else reads an audit log unless the operator says so.
const DEFAULT_MODE: u32 = 0o600;

impl DeviceConfig {
    pub(crate) fn plan(&self, limits: &Limits) -> Result<Plan, EnableError> {
        if self.device_type != "file" {
            return Err(EnableError::UnknownType(self.device_type.clone()));
        }
        if ["filter", "fallback", "exclude"].iter().any(|o| self.options.contains_key(*o)) {
            return Err(EnableError::EnterpriseOptions);
        }
        // `path` is the old name of the option.
        let file_path = self.text("file_path").or_else(|| self.text("path")).ok_or(EnableError::NoFilePath)?;
        if !matches!(self.text("format"), None | Some("json")) {
            return Err(EnableError::Option { option: "format", expected: "only \"json\" is supported" });
        }
        let prefix = self.options.get("prefix").cloned().unwrap_or_default();
        if !prefix.is_empty() && !limits.allow_prefixing {
            return Err(EnableError::PrefixNotEnabled);
        }
        if prefix.contains(['\n', '\r']) {
            return Err(EnableError::Option { option: "prefix", expected: "text without line breaks" });
        }
        let style = Style {
            prefix,
            log_raw: self.flag("log_raw", false)?,
            hmac_accessor: self.flag("hmac_accessor", true)?,
            elide_list_responses: self.flag("elide_list_responses", false)?,
        };
        let target = Target::parse(file_path);
        if let Target::File(path) = &target {
            refuse_plugin_directory(path, limits.plugin_directory.as_deref())?;
        }
        Ok(Plan { style, target, mode: self.mode()?, skip_test: self.flag("skip_test", false)? })
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

fn refuse_plugin_directory(path: &Path, plugins: Option<&Path>) -> Result<(), EnableError> {
    let Some(plugins) = plugins else { return Ok(()) };
    if resolved(path).starts_with(resolved(plugins)) {
        return Err(EnableError::PluginDirectory);
    }
    Ok(())
}

/// The path with links and `..` resolved as far as it exists. What does not exist yet holds no links.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut known = absolute.as_path();
    let mut rest = Vec::new();
    loop {
        if let Ok(real) = known.canonicalize() {
            return rest.iter().rev().fold(real, |mut out: PathBuf, part| {
                match part {
                    Component::ParentDir => {
                        out.pop();
                    }
                    other => out.push(other),
                }
                out
            });
        }
        match (known.parent(), known.components().next_back()) {
            (Some(parent), Some(last)) => {
                rest.push(last);
                known = parent;
            }
            _ => return absolute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(options: &[(&str, &str)]) -> DeviceConfig {
        let mut options: BTreeMap<String, String> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        options.entry("file_path".into()).or_insert_with(|| "/nowhere/audit.log".into());
        DeviceConfig { device_type: "file".into(), options, ..DeviceConfig::default() }
    }

    fn refusal(options: &[(&str, &str)]) -> String {
        device(options).plan(&Limits::default()).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn wrong_options_are_refused_by_name() {
        for (options, text) in [
            (&[("file_path", "")][..], "file_path is required"),
            (&[("file_path", "  ")], "file_path is required"),
            (&[("mode", "0777")], "file mode must not have executable permissions"),
            (&[("mode", "0610")], "file mode must not have executable permissions"),
            (&[("mode", "rw")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
            (&[("mode", "4600")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
            (&[("mode", "-1")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
            (&[("mode", "0688")], "invalid value for option \"mode\": permission bits in octal, such as 0600"),
            (&[("log_raw", "yes")], "invalid value for option \"log_raw\": true or false"),
            (&[("hmac_accessor", "2")], "invalid value for option \"hmac_accessor\": true or false"),
            (&[("elide_list_responses", "tRUE")], "invalid value for option \"elide_list_responses\": true or false"),
            (&[("skip_test", "?")], "invalid value for option \"skip_test\": true or false"),
            (&[("format", "jsonx")], "invalid value for option \"format\": only \"json\" is supported"),
            (&[("format", "xml")], "invalid value for option \"format\": only \"json\" is supported"),
            (
                &[("prefix", "p: ")],
                "audit prefixing is not enabled in configuration, audit prefixing may not be configured for file sinks",
            ),
            (&[("filter", "")], "enterprise-only options supplied"),
            (&[("fallback", "false")], "enterprise-only options supplied"),
            (&[("exclude", "[]")], "enterprise-only options supplied"),
        ] {
            assert_eq!(refusal(options), text, "{options:?}");
        }
    }

    #[test]
    fn other_types_are_unknown() {
        for device_type in ["", "socket", "syslog", "File", "http"] {
            let config = DeviceConfig { device_type: device_type.into(), ..DeviceConfig::default() };
            let error = config.plan(&Limits::default()).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("unknown backend type: \"{device_type}\""));
        }
    }

    #[test]
    fn a_prefix_must_stay_on_its_line() {
        let limits = Limits { allow_prefixing: true, ..Limits::default() };
        assert!(device(&[("prefix", "a\nb")]).plan(&limits).is_err());
        assert_eq!(device(&[("prefix", "vault: ")]).plan(&limits).unwrap().style.prefix, "vault: ");
    }

    #[test]
    fn defaults_are_private_and_hashed() {
        let plan = device(&[]).plan(&Limits::default()).unwrap();
        assert_eq!(plan.mode, Some(0o600));
        assert!(!plan.style.log_raw && plan.style.hmac_accessor && !plan.style.elide_list_responses && !plan.skip_test);
        assert_eq!(device(&[("mode", "0000")]).plan(&Limits::default()).unwrap().mode, None);
        assert_eq!(device(&[("mode", "640")]).plan(&Limits::default()).unwrap().mode, Some(0o640));
    }

    /// CVE-2025-6000: an audit file among the plugins, reached by whatever spelling.
    #[test]
    fn the_plugin_directory_is_out_of_reach() {
        let dir = tempfile::tempdir().unwrap();
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        std::fs::create_dir(dir.path().join("logs")).unwrap();
        std::os::unix::fs::symlink(&plugins, dir.path().join("link")).unwrap();
        let limits = Limits { plugin_directory: Some(plugins), allow_prefixing: false };
        for below in
            ["plugins/a", "plugins/new/deep/a", "logs/../plugins/a", "link/a", "link/new/a", "gone/../plugins/a", "plugins"]
        {
            let path = dir.path().join(below);
            let plan = device(&[("file_path", path.to_str().unwrap())]).plan(&limits);
            assert_eq!(plan.map(|_| ()).unwrap_err(), EnableError::PluginDirectory, "{below}");
        }
        for elsewhere in ["logs/a", "plugins-old/a", "plugins/../logs/a"] {
            let path = dir.path().join(elsewhere);
            assert!(device(&[("file_path", path.to_str().unwrap())]).plan(&limits).is_ok(), "{elsewhere}");
        }
    }
}
