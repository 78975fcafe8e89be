//! The log for `sys/monitor`: lines to whoever follows it, each at a level and in a form of its own.
//!
//! Queues are bounded and nobody is waited for: who reads too slowly misses lines. Without followers nothing is formatted.

use std::io;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use server_core::LogStream;
use tokio::sync::{mpsc, watch};
use tracing::Metadata;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::reload::{Handle, Layer as Reload};
use tracing_subscriber::{Layer, Registry};

use crate::log_levels::{filter, level};

/// Lines waiting for one follower.
const QUEUE_LINES_MAX: usize = 512;
/// Followers at one time; each costs formatting all that passes its level.
const FOLLOWERS_MAX: usize = 8;

struct Follower {
    number: u64,
    level: LevelFilter,
    json: bool,
    lines: mpsc::Sender<Bytes>,
}

#[derive(Default)]
struct Followers {
    next: u64,
    all: Vec<Follower>,
}

/// The followers and the filters of the two forms.
pub struct Stream {
    itself: Weak<Self>,
    followers: Arc<Mutex<Followers>>,
    text: Handle<Targets, Registry>,
    json: Handle<Targets, Registry>,
    closing: watch::Sender<bool>,
}

/// A layer of the subscriber.
pub type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

impl Stream {
    /// The stream and the layers that feed it.
    pub fn new() -> (Arc<Self>, Vec<BoxedLayer>) {
        let followers = Arc::new(Mutex::new(Followers::default()));
        let (text_filter, text) = Reload::new(filter(LevelFilter::OFF));
        let (json_filter, json) = Reload::new(filter(LevelFilter::OFF));
        let to = |json| ToFollowers { followers: Arc::clone(&followers), json, level: LevelFilter::ERROR };
        let plain = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(to(false)).with_filter(text_filter);
        let formed = tracing_subscriber::fmt::layer().json().with_writer(to(true)).with_filter(json_filter);
        let layers: Vec<BoxedLayer> = vec![Box::new(plain), Box::new(formed)];
        let stream = Arc::new_cyclic(|itself| Self {
            itself: itself.clone(),
            followers: Arc::clone(&followers),
            text,
            json,
            closing: watch::channel(false).0,
        });
        (stream, layers)
    }

    /// Ends all that follow, so that their connections can end.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    fn leave(&self, number: u64) {
        self.followers.lock().all.retain(|f| f.number != number);
        self.refresh();
    }

    /// Formats no more than the most curious follower wants.
    fn refresh(&self) {
        let wanted = |json: bool| {
            let followers = self.followers.lock();
            followers.all.iter().filter(|f| f.json == json).map(|f| f.level).max().unwrap_or(LevelFilter::OFF)
        };
        for (handle, json) in [(&self.text, false), (&self.json, true)] {
            let to = wanted(json);
            // It fails only when the subscriber is gone.
            let _ = handle.reload(filter(to));
        }
    }
}

impl LogStream for Stream {
    fn follow(&self, text: &str, json: bool) -> Option<mpsc::Receiver<Bytes>> {
        let (lines, receiver) = mpsc::channel(QUEUE_LINES_MAX);
        let (stream, sender) = (self.itself.upgrade()?, lines.clone());
        let number = {
            let mut followers = self.followers.lock();
            if followers.all.len() >= FOLLOWERS_MAX {
                return None;
            }
            followers.next += 1;
            let number = followers.next;
            followers.all.push(Follower { number, level: level(text)?, json, lines });
            number
        };
        self.refresh();
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                _ = closing.wait_for(|closed| *closed) => {}
            }
            stream.leave(number);
        });
        Some(receiver)
    }
}

/// Where the layers write to.
struct ToFollowers {
    followers: Arc<Mutex<Followers>>,
    json: bool,
    level: LevelFilter,
}

impl<'a> MakeWriter<'a> for ToFollowers {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self { followers: Arc::clone(&self.followers), json: self.json, level: self.level }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self {
        Self { level: LevelFilter::from_level(*meta.level()), ..self.make_writer() }
    }
}

impl io::Write for ToFollowers {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let line_bytes = Bytes::copy_from_slice(line);
        for follower in self.followers.lock().all.iter().filter(|f| f.json == self.json && f.level >= self.level) {
            // A full queue drops the line; a closed one is cleared away by its task.
            let _ = follower.lines.try_send(line_bytes.clone());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[tokio::test]
    async fn followers_get_their_level_in_their_form_and_leave() {
        let (stream, layers) = Stream::new();
        let subscriber = tracing_subscriber::registry().with(layers);
        let guard = tracing::subscriber::set_default(subscriber);
        tracing::error!(target: "server_core", "before");
        let mut plain = stream.follow("warn", false).unwrap();
        let mut formed = stream.follow("debug", true).unwrap();
        assert!(stream.follow("loud", false).is_none());
        tracing::info!(target: "server_core", "only debug");
        tracing::warn!(target: "server_core", "both");
        tracing::trace!(target: "server_core", "nobody");
        let text = String::from_utf8(plain.recv().await.unwrap().to_vec()).unwrap();
        assert!(text.contains("WARN") && text.contains("both") && text.ends_with('\n'), "{text}");
        assert!(plain.try_recv().is_err());
        let first: serde_json::Value = serde_json::from_slice(&formed.recv().await.unwrap()).unwrap();
        assert_eq!(first["fields"]["message"], "only debug");
        assert!(formed.recv().await.is_some() && formed.try_recv().is_err());
        drop((plain, formed));
        while !stream.followers.lock().all.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(stream.text.with_current(|t| !t.would_enable("server_core", &tracing::Level::ERROR)).unwrap());
        drop(guard);
    }

    #[tokio::test]
    async fn cve_class_n_followers_and_their_queues_are_bounded() {
        let (stream, layers) = Stream::new();
        let subscriber = tracing_subscriber::registry().with(layers);
        let mut held: Vec<_> = (0..FOLLOWERS_MAX).map(|_| stream.follow("info", false).unwrap()).collect();
        assert!(stream.follow("info", false).is_none());
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..2 * QUEUE_LINES_MAX {
                tracing::info!(target: "server_core", n, "line");
            }
        });
        let mut count = 0;
        while held[0].try_recv().is_ok() {
            count += 1;
        }
        assert_eq!(count, QUEUE_LINES_MAX);
        stream.close();
        while !stream.followers.lock().all.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(held[1].recv().await.is_some(), "what was queued is still read");
    }
}
