//! `syslog`: the machine's own log daemon, over its socket, framed as RFC 3164 with facility and tag. Vault's options `facility`,
//! `tag`.
//!
//! The stamp is in UTC: the rules of the machine's time zone are not read here. The line itself carries its exact time.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secret::Time;

use super::socket::send_lines;
use super::{Outcome, each_line};

/// Facilities by Vault's names, at the numbers of RFC 3164 §4.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facility(u8);

const NAMES: [(&str, u8); 20] = [
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];
/// `informational`.
const SEVERITY: u8 = 6;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Facility {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| Self(*number))
    }
}

enum Connection {
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

pub(crate) struct SyslogSink {
    facility: Facility,
    tag: String,
    /// Where the daemon may listen.
    sockets: Vec<PathBuf>,
    time_out: Duration,
    connection: Option<Connection>,
}

impl SyslogSink {
    pub(crate) fn new(facility: Facility, tag: String, sockets: Vec<PathBuf>, time_out: Duration) -> Self {
        Self { facility, tag, sockets, time_out, connection: None }
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    pub(super) fn write(&mut self, lines: &[u8]) -> Outcome {
        let mut taken_bytes = 0;
        let mut again = true;
        loop {
            let rest = lines.get(taken_bytes..).unwrap_or_default();
            let mut outcome = self.try_write(rest);
            taken_bytes += outcome.taken_bytes;
            outcome.taken_bytes = taken_bytes;
            let Some(error) = &outcome.error else { return outcome };
            if outcome.only_next {
                return outcome;
            }
            self.connection = None;
            // A daemon that was started anew has a new socket.
            let slow = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            if !std::mem::take(&mut again) || slow {
                return outcome;
            }
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> Outcome {
        let connection = match self.connection.take().map_or_else(|| self.connect(), Ok) {
            Ok(connection) => connection,
            Err(error) => return Outcome { error: Some(error), ..Outcome::default() },
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let head = self.head(Time::default().plus(now));
        let framed = |line: &[u8]| [head.as_bytes(), line].concat();
        let outcome = match &connection {
            Connection::Datagram(socket) => send_lines(lines, |line| socket.send(&framed(line))),
            Connection::Stream(stream) => {
                let mut outcome = Outcome::default();
                for line in each_line(lines) {
                    match (&mut &*stream).write_all(&framed(line)) {
                        Ok(()) => outcome.taken_bytes += line.len(),
                        Err(e) => {
                            outcome.error = Some(e);
                            break;
                        }
                    }
                }
                outcome
            }
        };
        self.connection = Some(connection);
        outcome
    }

    fn connect(&self) -> io::Result<Connection> {
        let mut last = io::Error::new(ErrorKind::NotFound, "there is no log daemon");
        for path in &self.sockets {
            match self.datagram(path).or_else(|e| self.stream(path).map_err(|_| e)) {
                Ok(connection) => return Ok(connection),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn datagram(&self, path: &Path) -> io::Result<Connection> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_write_timeout(Some(self.time_out))?;
        // Entries with large listings are longer than the usual buffer; the kernel cuts the wish to what it allows.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
        Ok(Connection::Datagram(socket))
    }

    fn stream(&self, path: &Path) -> io::Result<Connection> {
        let stream = UnixStream::connect(path)?;
        stream.set_write_timeout(Some(self.time_out))?;
        Ok(Connection::Stream(stream))
    }

    /// `<priority>Mmm dd hh:mm:ss tag[pid]: `; the local socket takes no host name.
    fn head(&self, now: Time) -> String {
        let text = now.rfc3339_seconds();
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let month = part(5, 7).parse().ok().and_then(|m: usize| MONTHS.get(m.wrapping_sub(1))).copied().unwrap_or("Jan");
        let day = part(8, 10).trim_start_matches('0');
        let priority = self.facility.0 * 8 + SEVERITY;
        format!("<{priority}>{month} {day:>2} {} {}[{}]: ", part(11, 19), self.tag, std::process::id())
    }
}

/// A datagram is as long as the send buffer at most.
const SEND_BUFFER_BYTES: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_rfc_3164() {
        let pid = std::process::id();
        for (facility, tag, time, want) in [
            ("AUTH", "vault", 1_795_526_348, format!("<38>Nov 24 13:19:08 vault[{pid}]: ")),
            ("local7", "x", 1_793_502_000, format!("<190>Nov  1 03:00:00 x[{pid}]: ")),
            ("Kern", "k", 0, format!("<6>Jan  1 00:00:00 k[{pid}]: ")),
        ] {
            let sink = SyslogSink::new(Facility::parse(facility).unwrap(), tag.into(), Vec::new(), Duration::from_secs(1));
            assert_eq!(sink.head(Time::from_unix(time)), want);
        }
        for unknown in ["", "LOCAL8", "AUTH ", "12"] {
            assert_eq!(Facility::parse(unknown), None, "{unknown}");
        }
    }
}
