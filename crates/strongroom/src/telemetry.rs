//! Logs. Never a place for secrets: rooms log names of states and errors, and audit is its own sink.

use std::io;
use std::sync::{Arc, OnceLock};

use metrics_exporter_prometheus::PrometheusBuilder;
use server_core::MetricsText;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::log_levels::{LogLevels, filter, level};
use crate::log_stream::{BoxedLayer, Stream};

/// The log of this process: what turns it, and what shows it.
pub struct Log {
    /// `sys/loggers`.
    pub levels: Arc<LogLevels>,
    /// `sys/monitor`.
    pub stream: Arc<Stream>,
}

static LEVELS: OnceLock<Arc<LogLevels>> = OnceLock::new();

/// Starts logging to standard output, which nobody may be reading: lines go through a thread of their own and are dropped
/// rather than waited for.
pub fn start(level_text: &str, format: &str) -> Log {
    let configured = level(level_text).unwrap_or(LevelFilter::INFO);
    let (filtered, handle) = reload::Layer::new(filter(configured));
    let levels = Arc::new(LogLevels::new(configured, handle));
    let _ = LEVELS.set(Arc::clone(&levels));
    let lines = Lines::start();
    let out: BoxedLayer = if format == "json" {
        Box::new(tracing_subscriber::fmt::layer().json().with_writer(lines).with_filter(filtered))
    } else {
        Box::new(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines).with_filter(filtered))
    };
    let (stream, mut layers) = Stream::new();
    layers.push(out);
    // A second start in one process (tests) keeps the first.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Log { levels, stream }
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
    if let (Some(levels), Some(level)) = (LEVELS.get(), level(text)) {
        levels.configure(level);
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
