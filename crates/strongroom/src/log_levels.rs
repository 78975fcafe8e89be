//! How much the log tells, in all and by logger: what `sys/loggers` and SIGHUP turn.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use server_core::LogControl;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::reload::Handle;

/// Loggers by the names that `sys/loggers` shows, each with the rooms it stands for.
const LOGGERS: &[(&str, &[&str])] = &[
    ("audit", &["audit"]),
    ("barrier", &["barrier", "envelope"]),
    ("core", &["server_core", "policy"]),
    ("engine", &["engine_"]),
    ("auth", &["auth_"]),
    ("http", &["server_http"]),
    ("identity", &["identity"]),
    ("raft", &["replication"]),
    ("server", &["strongroom"]),
    ("storage", &["storage"]),
    ("token", &["tokens"]),
];

/// Libraries that tell of their inner life at `info`; an operator who wants that asks for `debug`. They never get further: what
/// an HTTP library traces is headers, and a header is where a token travels.
const TALKATIVE: &[&str] =
    &["fjall", "lsm_tree", "openraft", "sled", "hyper", "h2", "rustls", "reqwest", "hickory_proto", "hickory_resolver"];

/// Parses a level as Vault names them.
pub fn level(text: &str) -> Option<LevelFilter> {
    Some(match text {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "" | "info" | "notice" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "err" | "error" => LevelFilter::ERROR,
        _ => return None,
    })
}

/// What passes at a level; nothing at `OFF`.
pub fn filter(level: LevelFilter) -> Targets {
    let libraries = match level {
        LevelFilter::OFF => LevelFilter::OFF,
        level if level >= LevelFilter::DEBUG => LevelFilter::INFO,
        _ => LevelFilter::ERROR,
    };
    TALKATIVE.iter().fold(Targets::new().with_default(level), |targets, name| targets.with_target(*name, libraries))
}

struct State {
    configured: LevelFilter,
    all: LevelFilter,
    own: BTreeMap<&'static str, LevelFilter>,
}

/// The levels in force.
pub struct LogLevels {
    state: Mutex<State>,
    handle: Handle<Targets, Registry>,
}

impl LogLevels {
    /// All loggers at the configured level.
    pub fn new(configured: LevelFilter, handle: Handle<Targets, Registry>) -> Self {
        Self { state: Mutex::new(State { configured, all: configured, own: BTreeMap::new() }), handle }
    }

    /// The configuration was read again.
    pub fn configure(&self, configured: LevelFilter) {
        self.change(|state| *state = State { configured, all: configured, own: BTreeMap::new() });
    }

    fn change(&self, turn: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        turn(&mut state);
        let mut targets = filter(state.all);
        for (name, rooms) in LOGGERS {
            if let Some(level) = state.own.get(name) {
                targets = rooms.iter().fold(targets, |t, room| t.with_target(*room, *level));
            }
        }
        // It fails only when the subscriber is gone, and the log with it.
        let _ = self.handle.reload(targets);
    }
}

fn known(name: &str) -> Option<&'static str> {
    LOGGERS.iter().map(|(known, _)| *known).find(|known| *known == name)
}

impl LogControl for LogLevels {
    fn levels(&self) -> BTreeMap<String, String> {
        let state = self.state.lock();
        let shown = |name: &str| state.own.get(name).unwrap_or(&state.all).to_string();
        LOGGERS.iter().map(|(name, _)| ((*name).to_owned(), shown(name))).collect()
    }

    fn set(&self, logger: Option<&str>, text: &str) -> bool {
        let Some(to) = level(text) else { return false };
        match logger.map(known) {
            None => self.change(|state| {
                state.all = to;
                state.own.clear();
            }),
            Some(Some(name)) => self.change(|state| {
                state.own.insert(name, to);
            }),
            Some(None) => return false,
        }
        true
    }

    fn reset(&self, logger: Option<&str>) -> bool {
        match logger.map(known) {
            None => self.change(|state| {
                state.all = state.configured;
                state.own.clear();
            }),
            Some(Some(name)) => self.change(|state| {
                let configured = state.configured;
                state.own.insert(name, configured);
            }),
            Some(None) => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    fn levels() -> (LogLevels, tracing_subscriber::reload::Layer<Targets, Registry>) {
        let (layer, handle) = tracing_subscriber::reload::Layer::new(filter(LevelFilter::INFO));
        (LogLevels::new(LevelFilter::INFO, handle), layer)
    }

    fn passes(l: &LogLevels, target: &str, level: Level) -> bool {
        l.handle.with_current(|targets| targets.would_enable(target, &level)).unwrap()
    }

    #[test]
    fn one_logger_and_all_of_them() {
        let (l, _layer) = levels();
        assert!(l.levels().values().all(|v| v == "info"));
        assert!(l.set(Some("core"), "debug"));
        assert!(passes(&l, "server_core::pipeline", Level::DEBUG) && !passes(&l, "server_http", Level::DEBUG));
        assert_eq!(l.levels()["core"], "debug");
        assert!(l.set(None, "error"));
        assert!(!passes(&l, "server_core", Level::WARN) && passes(&l, "server_core", Level::ERROR));
        assert!(l.set(Some("core"), "warn") && l.reset(Some("core")));
        assert_eq!((l.levels()["core"].as_str(), l.levels()["http"].as_str()), ("info", "error"));
        assert!(l.reset(None));
        assert!(l.levels().values().all(|v| v == "info"));
        l.configure(LevelFilter::WARN);
        assert!(l.levels().values().all(|v| v == "warn"));
        for (name, level) in [(Some("nobody"), "info"), (Some(""), "info"), (None, "loud"), (Some("core"), "")] {
            let ok = level.is_empty();
            assert_eq!(l.set(name, level), ok, "{name:?} {level}");
        }
        assert!(!l.reset(Some("nobody")));
    }

    #[test]
    fn cve_class_k_no_level_shows_what_http_libraries_trace() {
        let (l, _layer) = levels();
        assert!(l.set(None, "trace"));
        for target in ["hyper::proto::h1", "h2::codec", "reqwest", "rustls::client"] {
            assert!(!passes(&l, target, Level::TRACE) && !passes(&l, target, Level::DEBUG), "{target}");
        }
        assert!(passes(&l, "server_core", Level::TRACE));
    }
}
