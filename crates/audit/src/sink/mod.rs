//! Where a device's lines go: a file, a stream, a socket, the system's log. Opened late and anew after a failure.
//!
//! A sink may block, on the device's own thread; only an open regular file is quick enough for the request's (see `device`).
//! Deliberately absent: who waits for the outcome, and what is in a line.

mod file;
mod rotate;
mod socket;
mod syslog;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

pub(crate) use self::file::FileSink;
pub(crate) use self::rotate::Rotation;
pub(crate) use self::socket::{Network, SocketSink};
pub(crate) use self::syslog::{Facility, SyslogSink};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    File(PathBuf),
    Stdout,
    Stderr,
    Discard,
    Socket(Network, String),
    Syslog,
}

impl Target {
    /// `stdout` and `discard` are Vault's words. `/dev/stdout` is a link that container images use; it is taken as the
    /// stream, since the file below is not to be opened through links.
    pub(crate) fn parse(file_path: &str) -> Self {
        match file_path {
            "stdout" | "/dev/stdout" => Self::Stdout,
            "/dev/stderr" => Self::Stderr,
            "discard" => Self::Discard,
            path => Self::File(PathBuf::from(path)),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::Discard => f.write_str("discard"),
            Self::Socket(network, address) => write!(f, "{} {address}", network.as_str()),
            Self::Syslog => f.write_str("syslog"),
        }
    }
}

/// What came of one group of lines.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Bytes taken, always whole lines.
    pub(crate) taken_bytes: usize,
    /// Why the rest was not taken.
    pub(crate) error: Option<io::Error>,
    /// The error is the next line's own (too long for a datagram): those behind it may fare better.
    pub(crate) only_next: bool,
    /// The file at the path was another one than the open one, and was opened anew.
    pub(crate) replaced: bool,
}

/// A device's way out.
pub(crate) enum Sink {
    File(FileSink),
    Stdout,
    Stderr,
    Discard,
    Socket(SocketSink),
    Syslog(SyslogSink),
}

impl Sink {
    /// Closes what is open; the next group opens it again (SIGHUP after a rotation).
    pub(crate) fn close(&mut self) {
        match self {
            Self::File(file) => file.close(),
            Self::Socket(socket) => socket.close(),
            Self::Syslog(syslog) => syslog.close(),
            Self::Stdout | Self::Stderr | Self::Discard => {}
        }
    }

    /// Writes `lines`, of which each ends with a newline. `stop` ends the wait for a reader that takes nothing.
    pub(crate) fn write(&mut self, lines: &[u8], stop: &AtomicBool) -> Outcome {
        let written = match self {
            Self::File(file) => return file.write(lines, stop),
            Self::Socket(socket) => return socket.write(lines, stop),
            Self::Syslog(syslog) => return syslog.write(lines),
            Self::Stdout => stream(&mut io::stdout().lock(), lines),
            Self::Stderr => stream(&mut io::stderr().lock(), lines),
            Self::Discard => Ok(()),
        };
        match written {
            Ok(()) => Outcome { taken_bytes: lines.len(), ..Outcome::default() },
            Err(error) => Outcome { error: Some(error), ..Outcome::default() },
        }
    }

    /// Whether a write goes to the page cache (or nowhere) and waits for no other process.
    pub(crate) fn is_quick(&self) -> bool {
        match self {
            Self::File(file) => file.is_regular(),
            Self::Discard => true,
            Self::Stdout | Self::Stderr | Self::Socket(_) | Self::Syslog(_) => false,
        }
    }
}

fn stream(out: &mut impl Write, lines: &[u8]) -> io::Result<()> {
    out.write_all(lines)?;
    out.flush()
}

/// The lines of a group, each with its newline.
fn each_line(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split_inclusive(|b| *b == b'\n')
}
