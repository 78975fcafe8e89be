//! `strongroom server`: reads the configuration, opens the store, serves, and ends in order.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::Port;
use replication::{Alone, Peers};
use secret::{SystemClock, SystemEntropy};
use server_core::{ClusterConfig, Core, CoreConfig};
use server_http::{Listener, Service, ServiceConfig, TlsState};
use strongroom::engines;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cluster_port::{Node, PortGate};
use crate::config::{Addresses, Config, ListenerConfig, StorageConfig};
use crate::join_client::JoinClient;
use crate::{dev, log_stream, recover, seals, store, telemetry};

/// When this program was built; set by the release build.
const BUILD_DATE: &str = match option_env!("STRONGROOM_BUILD_DATE") {
    Some(date) => date,
    None => "2026-11-24T00:00:00Z",
};

/// What the command line says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Flags {
    /// `-config`, repeatable.
    pub config: Vec<PathBuf>,
    /// `-log-level`.
    pub log_level: Option<String>,
    /// `-log-format`.
    pub log_format: Option<String>,
    /// `-dev` and what belongs to it.
    pub dev: Option<dev::DevFlags>,
}

const USAGE: &str = "Usage: strongroom server [options]

  Starts a server, from configuration files or in development mode:

      $ strongroom server -config=/etc/strongroom/config.hcl
      $ strongroom server -dev

Options:

  -config=<path>            A configuration file (HCL or JSON), or a directory of them. Repeatable.
  -log-level=<level>        trace, debug, info, warn or error.
  -log-format=<format>      standard or json.
  -dev                      Development mode: in memory, unsealed, on loopback.
  -dev-root-token-id=<id>   The root token of development mode.
  -dev-listen-address=<a>   The address of development mode; 127.0.0.1:8200.
  -dev-no-store-token       Do not write the root token to ~/.vault-token.
  -dev-kv-v1                Mount KV version 1 at secret/ instead of version 2.
  -dev-no-kv                Mount nothing at secret/.
";

impl Flags {
    /// Reads Go-style flags: `-name=value`, `-name value` or `--name`.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut is_dev = false;
        let mut dev = dev::DevFlags::from_environment();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(bare) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                return Err(format!("Command arguments are not accepted: {word}"));
            };
            let (name, mut value) = match bare.split_once('=') {
                Some((n, v)) => (n, Some(v.to_owned())),
                None => (bare, None),
            };
            let mut text =
                || value.take().or_else(|| words.next().cloned()).ok_or_else(|| format!("flag needs an argument: -{name}"));
            match name {
                "config" => flags.config.push(PathBuf::from(text()?)),
                "log-level" => flags.log_level = Some(text()?),
                "log-format" => flags.log_format = Some(text()?),
                "dev-root-token-id" => dev.root_token = text()?,
                "dev-listen-address" => dev.address = text()?,
                "dev" => is_dev = on(value.as_deref())?,
                "dev-no-store-token" => dev.no_store_token = on(value.as_deref())?,
                "dev-kv-v1" => dev.kv_v1 = on(value.as_deref())?,
                "dev-no-kv" => dev.no_kv = on(value.as_deref())?,
                "h" | "help" => return Err(USAGE.to_owned()),
                other => return Err(format!("flag provided but not defined: -{other}")),
            }
        }
        flags.dev = is_dev.then_some(dev);
        if flags.dev.is_none() && flags.config.is_empty() {
            return Err("Must specify at least one config path using -config".into());
        }
        Ok(flags)
    }
}

fn on(value: Option<&str>) -> Result<bool, String> {
    match value {
        None => Ok(true),
        Some(v) => v.parse().map_err(|_| format!("invalid boolean value {v:?}")),
    }
}

fn say(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody reads a closed pipe.
    let _ = writeln!(err, "{text}");
}

/// Runs the command; the exit code is 0, or 1 when the server could not start.
pub fn run(words: &[String]) -> i32 {
    let flags = match Flags::parse(words) {
        Ok(flags) => flags,
        Err(text) => {
            say(&text);
            return i32::from(text != USAGE);
        }
    };
    // Both the listeners and the outgoing clients use this provider; a second installation is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            say(&format!("Error starting the runtime: {e}"));
            return 1;
        }
    };
    match runtime.block_on(serve(flags)) {
        Ok(()) => 0,
        Err(text) => {
            say(&text);
            1
        }
    }
}

/// Each connection and each table of the store is an open file. The soft limit is often 1024 for the sake of old programs that use
/// `select`; this one may have what the hard limit gives it.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(e) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(error = %e, limit = ?current, "the limit on open files could not be raised");
    }
}

async fn serve(flags: Flags) -> Result<(), String> {
    let mut config = match &flags.dev {
        Some(dev) => dev.config(),
        None => Config::load(&flags.config).map_err(|e| format!("Error loading configuration: {e}"))?,
    };
    config.log_level = flags.log_level.clone().unwrap_or(config.log_level);
    config.log_format = flags.log_format.clone().unwrap_or(config.log_format);
    let log = telemetry::start(&config.log_level, &config.log_format);
    raise_file_limit();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let addresses = Addresses::of(&config);
    let (opened, settings) = store::open(&config.storage, &addresses.cluster_host(), &addresses.api)
        .map_err(|e| format!("Error initializing storage: {e}"))?;
    recover::by_file(&config.storage, &opened, &settings).map_err(|e| format!("Error recovering the cluster: {e}"))?;
    let port = bind_cluster_port(&config, &addresses).await?;
    let mut core_config = CoreConfig {
        log_control: Some(log.levels),
        seals: seals::build(&config.seals)?,
        log_stream: Some(Arc::<log_stream::Stream>::clone(&log.stream)),
        ..core_config(&config, &flags.config, addresses.api.clone(), addresses.cluster.clone())
    };
    let mut peers: Arc<dyn Peers> = Arc::new(Alone);
    if let Some(port) = &port {
        core_config.cluster = cluster_config(&config, port);
        peers = Arc::<Port>::clone(port);
    }
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let core = Core::start_with_peers(opened, settings, core_config, engines::registry(), clock, entropy, peers)
        .await
        .map_err(|e| format!("Error initializing core: {e}"))?;
    let (stop, stopped) = watch::channel(false);
    let mut listeners = Vec::new();
    let mut tls_states = Vec::new();
    let mut services = Vec::new();
    for listener in &config.listeners {
        let (bound, tls, service) = bind(listener, &core, port.as_ref()).await?;
        services.push(service);
        tls_states.extend(tls);
        listeners.push(tokio::spawn(bound.run(stopped.clone())));
    }
    let _pid = write_pid(&config)?;
    announce(&config, &addresses.api, &addresses.cluster);
    if let (Some(port), Some(service)) = (&port, services.first()) {
        port.serve(Arc::new(Node { core: Arc::clone(&core), service: Arc::clone(service) }));
    }
    core.join_when_possible();
    core.open_when_possible();
    if let Some(dev) = &flags.dev {
        dev.prepare(&core).await?;
    }
    wait_for_the_end(&flags, &tls_states, &services, &core).await?;
    tracing::info!("stopping");
    core.give_up_lead().await;
    let _ = stop.send(true);
    log.stream.close();
    for listener in listeners {
        let _ = listener.await;
    }
    core.shutdown().await;
    if let Some(port) = &port {
        port.close().await;
    }
    Ok(())
}

fn core_config(config: &Config, files: &[PathBuf], api_addr: String, cluster_addr: String) -> CoreConfig {
    let is_raft = matches!(config.storage, StorageConfig::Raft { .. });
    CoreConfig {
        api_addr,
        cluster_addr,
        cluster_name: config.cluster_name.clone(),
        default_lease_ttl: config.default_lease_ttl,
        max_lease_ttl: config.max_lease_ttl,
        lockout: config.lockout.clone(),
        build_date: BUILD_DATE.into(),
        storage_type: if is_raft { "raft" } else { "inmem" }.into(),
        ha_enabled: is_raft,
        raw_storage_endpoint: config.raw_storage_endpoint,
        ui: config.ui,
        allow_audit_log_prefixing: config.allow_audit_log_prefixing,
        guarded_from_audit: guarded(config, files),
        introspection_endpoint: config.introspection_endpoint,
        sanitized: config.sanitized(),
        request_timeout: config.max_request_duration,
        metrics: if config.prometheus { telemetry::metrics() } else { None },
        ..CoreConfig::default()
    }
}

/// The server's own files: the path of an audit file comes over the API, and must lead to none of them (CVE-2025-6000).
fn guarded(config: &Config, files: &[PathBuf]) -> Vec<audit::Guarded> {
    let mut out = Vec::new();
    let mut guard = |path: &Path, what| out.push(audit::Guarded { path: path.to_owned(), what });
    if let Some(path) = &config.plugin_directory {
        guard(path, "in the plugin directory");
    }
    if let StorageConfig::Raft { path, .. } = &config.storage {
        guard(path, "in the server's storage");
    }
    for path in files {
        // A directory of configuration may hold other things as well; what would be read as configuration may not be written.
        let inside =
            std::fs::read_dir(path).map(|all| all.flatten().map(|e| e.path()).collect()).unwrap_or_else(|_| vec![path.clone()]);
        let read = |p: &&PathBuf| *p == path || p.extension().is_some_and(|e| e == "hcl" || e == "json");
        inside.iter().filter(read).for_each(|file| guard(file, "the server's configuration"));
    }
    for tls in config.listeners.iter().filter_map(|l| l.tls.as_ref()) {
        [Some(&tls.cert_file), Some(&tls.key_file), tls.client_ca_file.as_ref()]
            .into_iter()
            .flatten()
            .for_each(|file| guard(file, "a certificate or key of the server"));
    }
    if let Some(path) = &config.pid_file {
        guard(path, "the server's pid file");
    }
    out
}

/// The port for other nodes, bound before anything is said to anybody. A node that keeps nothing has none.
async fn bind_cluster_port(config: &Config, addresses: &Addresses) -> Result<Option<Arc<Port>>, String> {
    if matches!(config.storage, StorageConfig::Memory) || config.disable_clustering {
        return Ok(None);
    }
    let bound = Port::bind(&addresses.bound, cluster::Settings::default()).await;
    bound.map(Some).map_err(|e| format!("Error initializing cluster listener: {e}"))
}

fn cluster_config(config: &Config, port: &Arc<Port>) -> ClusterConfig {
    let (retry_join, joins_as_non_voter) = match &config.storage {
        StorageConfig::Raft { retry_join, joins_as_non_voter, .. } => (retry_join.clone(), *joins_as_non_voter),
        StorageConfig::Memory => (Vec::new(), false),
    };
    ClusterConfig {
        gate: Some(Arc::new(PortGate(Arc::clone(port)))),
        leaders: Some(Arc::new(JoinClient)),
        retry_join,
        joins_as_non_voter,
    }
}

async fn bind(
    config: &ListenerConfig,
    core: &Arc<Core>,
    port: Option<&Arc<Port>>,
) -> Result<(Listener, Option<Arc<TlsState>>, Arc<Service>), String> {
    let tls = match &config.tls {
        None => None,
        Some(settings) => {
            Some(Arc::new(TlsState::load(settings.clone()).map_err(|e| format!("Error initializing listener: {e}"))?))
        }
    };
    let service_config = ServiceConfig {
        limits: config.limits,
        unauthenticated_metrics: config.telemetry.unauthenticated,
        headers: config.headers.clone(),
    };
    let service = Service::new(Arc::clone(core), service_config);
    let service = Arc::new(match port {
        Some(port) => service.with_forwarder(Arc::<Port>::clone(port)),
        None => service,
    });
    let listener = Listener::bind(&config.address, tls.clone(), Arc::clone(&service))
        .await
        .map_err(|e| format!("Error initializing {e}"))?;
    Ok((listener, tls, service))
}

/// The pid file, removed at the end.
struct PidFile(PathBuf);

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn write_pid(config: &Config) -> Result<Option<PidFile>, String> {
    let Some(path) = &config.pid_file else { return Ok(None) };
    std::fs::write(path, format!("{}\n", std::process::id()))
        .map_err(|e| format!("Error storing PID in {}: {e}", path.display()))?;
    Ok(Some(PidFile(path.clone())))
}

fn announce(config: &Config, api_addr: &str, cluster_addr: &str) {
    let mut text = String::from("==> Vault server configuration:\n\n");
    let storage = match &config.storage {
        StorageConfig::Raft { .. } => "raft (HA available)",
        StorageConfig::Memory => "inmem",
    };
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:>26}: {value}\n"));
    line("Api Address", api_addr);
    line("Cluster Address", cluster_addr);
    for (i, l) in config.listeners.iter().enumerate() {
        let tls = if l.tls.is_some() { "enabled" } else { "disabled" };
        line(&format!("Listener {}", i + 1), &format!("tcp (addr: \"{}\", tls: \"{tls}\")", l.address));
    }
    line("Log Level", if config.log_level.is_empty() { "info" } else { &config.log_level });
    line("Mlock", "supported: true, enabled: false");
    line("Storage", storage);
    line("Version", &format!("Strongroom v{}, Vault API v{}", env!("CARGO_PKG_VERSION"), api_types::API_VERSION));
    text.push_str("\n==> Vault server started! Log data will stream in below:\n\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Waits for SIGTERM or SIGINT. SIGHUP reloads TLS files, the log level, headers of answers and audit files.
async fn wait_for_the_end(flags: &Flags, tls: &[Arc<TlsState>], services: &[Arc<Service>], core: &Core) -> Result<(), String> {
    let handler = |kind| signal(kind).map_err(|e| format!("Error setting up signals: {e}"));
    let mut terminate = handler(SignalKind::terminate())?;
    let mut interrupt = handler(SignalKind::interrupt())?;
    let mut hangup = handler(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(flags, tls, services, core),
        }
    }
}

fn reload(flags: &Flags, tls: &[Arc<TlsState>], services: &[Arc<Service>], core: &Core) {
    tracing::info!("reloading");
    for state in tls {
        if let Err(e) = state.reload() {
            tracing::error!(error = %e, "TLS files could not be reloaded; the old certificate stays in use");
        }
    }
    core.audit().reopen();
    if flags.dev.is_some() {
        return;
    }
    match Config::load(&flags.config) {
        Ok(config) => {
            telemetry::set_level(flags.log_level.as_deref().unwrap_or(&config.log_level));
            for (service, listener) in services.iter().zip(&config.listeners) {
                service.set_headers(listener.headers.clone());
            }
        }
        Err(e) => tracing::error!(error = %e, "the configuration could not be reloaded; the old one stays in force"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        Flags::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_gos() {
        let f = parse(&["-config=a.hcl", "--config", "b", "-log-level", "debug"]).unwrap();
        assert_eq!(f.config, [PathBuf::from("a.hcl"), PathBuf::from("b")]);
        assert_eq!(f.log_level.as_deref(), Some("debug"));
        let f = parse(&["-dev", "-dev-root-token-id=root"]).unwrap();
        assert_eq!(f.dev.unwrap().root_token, "root");
        assert!(parse(&["-dev=false", "-config=x"]).unwrap().dev.is_none());
    }

    #[test]
    fn wrong_flags_are_named() {
        assert_eq!(parse(&["-bogus"]).unwrap_err(), "flag provided but not defined: -bogus");
        assert_eq!(parse(&["-config"]).unwrap_err(), "flag needs an argument: -config");
        assert_eq!(parse(&[]).unwrap_err(), "Must specify at least one config path using -config");
        assert_eq!(parse(&["file"]).unwrap_err(), "Command arguments are not accepted: file");
    }
}
