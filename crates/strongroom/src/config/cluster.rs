//! `retry_join` stanzas of `storage "raft"` (contract §8.4), and where this node's own cluster port is.

use server_core::Target;

use super::Config;
use super::read::{ConfigError, Reader};
use super::unknown;

const KNOWN: &[&str] = &[
    "leader_api_addr",
    "auto_join",
    "auto_join_scheme",
    "auto_join_port",
    "leader_tls_servername",
    "leader_ca_cert",
    "leader_ca_cert_file",
    "leader_client_cert",
    "leader_client_cert_file",
    "leader_client_key",
    "leader_client_key_file",
];

/// Vault's port, and what its cluster port is above it.
const API_PORT: u16 = 8200;

/// Reads all stanzas.
pub(super) fn retry_join(storage: &mut Reader<'_>) -> Result<Vec<Target>, ConfigError> {
    let object = storage.object();
    let mut out = Vec::new();
    for block in object.blocks("retry_join", 0)? {
        let mut r = Reader::new("storage.raft.retry_join.", block.body);
        out.push(one(&mut r)?);
        let unknown_keys: Vec<String> = block.body.unknown_keys(KNOWN).map(|k| unknown("storage.raft.retry_join.", k)).collect();
        let warnings = r.into_warnings();
        warnings.into_iter().chain(unknown_keys).for_each(|w| storage.warn(w));
    }
    Ok(out)
}

fn one(r: &mut Reader<'_>) -> Result<Target, ConfigError> {
    let mut text = |name: &str| Ok::<_, ConfigError>(r.text(name)?.unwrap_or_default());
    let target = Target {
        leader_api_addr: text("leader_api_addr")?,
        auto_join: text("auto_join")?,
        auto_join_scheme: text("auto_join_scheme")?,
        tls_server_name: text("leader_tls_servername")?,
        ca_cert: pem(r, "leader_ca_cert")?,
        client_cert: pem(r, "leader_client_cert")?,
        client_key: pem(r, "leader_client_key")?.into(),
        auto_join_port: port(r, "auto_join_port")?,
    };
    match (target.leader_api_addr.is_empty(), target.auto_join.is_empty()) {
        (true, true) => Err(ConfigError::Invalid("storage.raft.retry_join needs leader_api_addr or auto_join".into())),
        (false, false) => {
            Err(ConfigError::Invalid("storage.raft.retry_join cannot have both leader_api_addr and auto_join".into()))
        }
        _ if !matches!(target.auto_join_scheme.as_str(), "" | "http" | "https") => Err(ConfigError::Invalid(format!(
            "storage.raft.retry_join.auto_join_scheme {:?} is neither http nor https",
            target.auto_join_scheme
        ))),
        _ => Ok(target),
    }
}

/// The text itself, or that of the file. A file that is not there stops no node that has long joined: it is warned of.
fn pem(r: &mut Reader<'_>, name: &str) -> Result<String, ConfigError> {
    if let Some(text) = r.text(name)?.filter(|t| !t.is_empty()) {
        return Ok(text);
    }
    let Some(path) = r.text(&format!("{name}_file"))?.filter(|t| !t.is_empty()) else { return Ok(String::new()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(e) => {
            r.warn(format!("storage.raft.retry_join.{name}_file: {path}: {e}"));
            Ok(String::new())
        }
    }
}

fn port(r: &mut Reader<'_>, name: &str) -> Result<u16, ConfigError> {
    let number = r.number(name)?.unwrap_or(0);
    u16::try_from(number).map_err(|_| ConfigError::Invalid(format!("storage.raft.retry_join.{name} {number} is no port")))
}

/// A flag that the environment may set.
pub(super) fn is_on(name: &str, text: &str) -> Result<bool, ConfigError> {
    match text.to_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "" | "0" | "f" | "false" => Ok(false),
        other => Err(ConfigError::Invalid(format!("{name} {other:?} is neither true nor false"))),
    }
}

/// Where this node is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// URL of the API.
    pub api: String,
    /// URL of the cluster port.
    pub cluster: String,
    /// `host:port` that the cluster port is bound to, one a listener.
    pub bound: Vec<String>,
}

impl Addresses {
    /// `api_addr` and `cluster_addr`, made up from the first listener where they are not configured. A wildcard address is one to
    /// listen on, not one to be reached at, so it passes its port on and takes the host of the API.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let first = config.listeners.first();
        let scheme = if first.is_some_and(|l| l.tls.is_some()) { "https" } else { "http" };
        let (host, port) = split(first.map_or("127.0.0.1:8200", |l| l.address.as_str()), API_PORT);
        let reachable = if is_wildcard(host) { "127.0.0.1" } else { host };
        let api = match config.api_addr.as_str() {
            "" => format!("{scheme}://{reachable}:{port}"),
            configured => configured.to_owned(),
        };
        let bound: Vec<String> = config.listeners.iter().map(|l| bound(&l.address, &l.cluster_address)).collect();
        let cluster = match config.cluster_addr.as_str() {
            "" => {
                let listened = bound.first().map_or("127.0.0.1:8201", String::as_str);
                let (host, port) = split(listened, API_PORT + 1);
                let host = if is_wildcard(host) { host_of(&api) } else { host };
                format!("https://{host}:{port}")
            }
            configured => configured.to_owned(),
        };
        Self { api, cluster, bound }
    }

    /// The cluster address without its scheme, as the membership has it; Vault's default port is added where none is given.
    #[must_use]
    pub fn cluster_host(&self) -> String {
        let bare = self.cluster.split_once("://").map_or(self.cluster.as_str(), |(_, rest)| rest).trim_end_matches('/');
        let (host, port) = split(bare, API_PORT + 1);
        format!("{host}:{port}")
    }
}

fn bound(address: &str, cluster_address: &str) -> String {
    if !cluster_address.is_empty() {
        return cluster_address.to_owned();
    }
    let (host, port) = split(address, API_PORT);
    let host = if host.is_empty() { "[::]" } else { host };
    // Port 0 is "any", for both.
    let port = if port == 0 { 0 } else { port.saturating_add(1) };
    format!("{host}:{port}")
}

fn is_wildcard(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "[::]" | "::" | "")
}

fn host_of(url: &str) -> &str {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    split(bare.split('/').next().unwrap_or_default(), API_PORT).0
}

/// Host and port; a bare IPv6 address has no port unless it stands in brackets.
fn split(text: &str, default_port: u16) -> (&str, u16) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => (text, default_port),
        },
        _ => (text, default_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        hcl1::parse(text).map_err(|e| e.to_string()).and_then(|o| Config::from_object(&o).map_err(|e| e.to_string()))
    }

    fn addresses(listener: &str, rest: &str) -> Addresses {
        let text = format!("storage \"inmem\" {{}}\nlistener \"tcp\" {{\n tls_disable = 1\n {listener}\n}}\n{rest}\n");
        Addresses::of(&read(&text).unwrap())
    }

    #[test]
    fn the_cluster_port_is_one_above_the_apis_unless_it_is_named() {
        for (listener, rest, api, cluster, bound) in [
            ("", "", "http://127.0.0.1:8200", "https://127.0.0.1:8201", "127.0.0.1:8201"),
            ("address = \"10.0.0.1:9200\"", "", "http://10.0.0.1:9200", "https://10.0.0.1:9201", "10.0.0.1:9201"),
            (
                "address = \"[::]:8200\"\n cluster_address = \"[::]:8201\"",
                "api_addr = \"http://pod-0:8200\"",
                "http://pod-0:8200",
                "https://pod-0:8201",
                "[::]:8201",
            ),
            (
                "address = \"0.0.0.0:8200\"",
                "cluster_addr = \"https://me.internal:7000\"",
                "http://127.0.0.1:8200",
                "https://me.internal:7000",
                "0.0.0.0:8201",
            ),
            (
                "address = \"127.0.0.1:1\"\n cluster_address = \"127.0.0.2:7\"",
                "",
                "http://127.0.0.1:1",
                "https://127.0.0.2:7",
                "127.0.0.2:7",
            ),
        ] {
            let found = addresses(listener, rest);
            assert_eq!((found.api.as_str(), found.cluster.as_str()), (api, cluster), "{listener} {rest}");
            assert_eq!(found.bound, [bound], "{listener} {rest}");
        }
        assert_eq!(addresses("", "cluster_addr = \"https://me\"").cluster_host(), "me:8201");
        assert_eq!(addresses("", "cluster_addr = \"https://[fd00::1]:8201/\"").cluster_host(), "[fd00::1]:8201");
    }

    #[test]
    fn retry_join_stanzas_are_read_in_both_forms() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "PEM").unwrap();
        let hcl = format!(
            r#"storage "raft" {{
                 path = "/x"
                 retry_join {{ leader_api_addr = "https://a:8200" leader_ca_cert_file = "{}" leader_tls_servername = "a" }}
                 retry_join {{ auto_join = "provider=k8s" auto_join_scheme = "http" auto_join_port = "8300" }}
               }}
               listener "tcp" {{ tls_disable = 1 }}"#,
            file.path().display()
        );
        let json = format!(
            r#"{{"storage": {{"raft": {{"path": "/x", "retry_join": [
                 {{"leader_api_addr": "https://a:8200", "leader_ca_cert_file": "{}", "leader_tls_servername": "a"}},
                 {{"auto_join": "provider=k8s", "auto_join_scheme": "http", "auto_join_port": 8300}}]}}}},
               "listener": {{"tcp": {{"tls_disable": 1}}}}}}"#,
            file.path().display()
        );
        for text in [hcl, json] {
            let super::super::StorageConfig::Raft { retry_join, joins_as_non_voter, .. } = read(&text).unwrap().storage else {
                panic!("no raft storage");
            };
            assert!(!joins_as_non_voter);
            assert_eq!(retry_join.len(), 2);
            assert_eq!((retry_join[0].ca_cert.as_str(), retry_join[0].tls_server_name.as_str()), ("PEM", "a"));
            assert_eq!((retry_join[1].auto_join_scheme.as_str(), retry_join[1].auto_join_port), ("http", 8300));
        }
    }

    #[test]
    fn bad_stanzas_are_refused_and_missing_files_warned_of() {
        let with = |stanza: &str| {
            read(&format!(
                "storage \"raft\" {{\n path = \"/x\"\n retry_join {{ {stanza} }}\n}}\nlistener \"tcp\" {{ tls_disable = 1 }}"
            ))
        };
        for (stanza, part) in [
            ("", "needs leader_api_addr or auto_join"),
            ("leader_api_addr = \"a\" auto_join = \"b\"", "cannot have both"),
            ("auto_join = \"b\" auto_join_scheme = \"ftp\"", "auto_join_scheme"),
            ("auto_join = \"b\" auto_join_port = 70000", "auto_join_port"),
        ] {
            let e = with(stanza).map(|_| ()).unwrap_err();
            assert!(e.contains(part), "{stanza}: {e}");
        }
        let config = with("leader_api_addr = \"a\" leader_ca_cert_file = \"/nowhere/ca\" odd = 1").unwrap();
        assert!(config.warnings.iter().any(|w| w.contains("/nowhere/ca")), "{:?}", config.warnings);
        assert!(config.warnings.iter().any(|w| w.contains("retry_join.odd")), "{:?}", config.warnings);
    }
}
