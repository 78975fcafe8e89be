//! Logs. Never a place for secrets: rooms log names of states and errors, and audit is its own sink.

use std::io;
use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusBuilder;
use server_core::MetricsText;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

type Handle = reload::Handle<Targets, tracing_subscriber::Registry>;

/// Libraries that tell of their inner life at `info`; an operator who wants that asks for `debug`. They never get further: what
/// an HTTP library traces is headers, and a header is where a token travels.
const TALKATIVE: &[&str] =
    &["fjall", "lsm_tree", "openraft", "sled", "hyper", "h2", "rustls", "reqwest", "hickory_proto", "hickory_resolver"];

fn filter(level: LevelFilter) -> Targets {
    let libraries = if level >= LevelFilter::DEBUG { LevelFilter::INFO } else { LevelFilter::ERROR };
    TALKATIVE.iter().fold(Targets::new().with_default(level), |targets, name| targets.with_target(*name, libraries))
}

static LEVEL: OnceLock<Handle> = OnceLock::new();

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

/// Starts logging to standard output, which nobody may be reading: lines go through a thread of their own and are dropped
/// rather than waited for.
pub fn start(level_text: &str, format: &str) {
    let (layer, handle) = reload::Layer::new(filter(level(level_text).unwrap_or(LevelFilter::INFO)));
    let _ = LEVEL.set(handle);
    let lines = Lines::start();
    let registry = tracing_subscriber::registry().with(layer);
    let started = if format == "json" {
        registry.with(tracing_subscriber::fmt::layer().json().with_writer(lines)).try_init()
    } else {
        registry.with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines)).try_init()
    };
    // A second start in one process (tests) keeps the first.
    let _ = started;
}

/// How often samples of summaries are folded together, so that they do not pile up between two scrapes.
const UPKEEP: std::time::Duration = std::time::Duration::from_secs(2);

/// Keeps metric series and gives them as Prometheus text. Needs a runtime.
pub fn metrics() -> Option<MetricsText> {
    let recorder = PrometheusBuilder::new().set_quantiles(&[0.5, 0.9, 0.99]).ok()?.build_recorder();
    let handle = recorder.handle();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(UPKEEP);
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    // A second start in one process (tests) keeps the first recorder; its own handle then shows nothing, which is said so.
    metrics::set_global_recorder(recorder).ok()?;
    Some(Arc::new(move || {
        handle.run_upkeep();
        handle.render()
    }))
}

/// Changes the level, at SIGHUP.
pub fn set_level(text: &str) {
    if let (Some(handle), Some(level)) = (LEVEL.get(), level(text)) {
        let _ = handle.reload(filter(level));
    }
}

/// Lines waiting for a slow reader of standard output.
const LINES_MAX: usize = 4096;

#[derive(Clone)]
struct Lines(std::sync::mpsc::SyncSender<Vec<u8>>);

impl Lines {
    fn start() -> Self {
        let (send, receive) = std::sync::mpsc::sync_channel::<Vec<u8>>(LINES_MAX);
        let writer = std::thread::Builder::new().name("log".into()).spawn(move || {
            let mut out = io::stdout();
            for line in receive {
                if io::Write::write_all(&mut out, &line).is_err() {
                    return;
                }
            }
        });
        // Without a thread there is no log, but there is a server.
        drop(writer);
        Self(send)
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let _ = self.0.try_send(buf.to_vec());
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
