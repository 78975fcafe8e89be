//! `socket`: lines over TCP or a Unix stream, one after the other; over UDP one a datagram. Vault's options `address`,
//! `socket_type`, `write_timeout`.
//!
//! Nobody confirms a line over a socket: taken means taken by the kernel. What can be noticed is: a connection that the other end
//! closed is seen before writing and made anew, and so is one on which a write fails, once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Outcome, each_line};

/// `socket_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Tcp,
    Udp,
    Unix,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "tcp" => Self::Tcp,
            "udp" => Self::Udp,
            "unix" => Self::Unix,
            _ => return None,
        })
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        }
    }
}

enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
}

pub(crate) struct SocketSink {
    network: Network,
    address: String,
    time_out: Duration,
    connection: Option<Connection>,
    /// The reader stopped reading in the middle of a line. Its connection is kept, because the next one would fill up unread too.
    torn: bool,
}

/// How long one write may block before the sink looks whether it is still wanted.
const STOP_CHECK: Duration = Duration::from_millis(100);

impl SocketSink {
    pub(crate) fn new(network: Network, address: String, time_out: Duration) -> Self {
        Self { network, address, time_out, connection: None, torn: false }
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    pub(super) fn write(&mut self, lines: &[u8], stop: &AtomicBool) -> Outcome {
        let mut taken_bytes = 0;
        let mut again = true;
        loop {
            let rest = lines.get(taken_bytes..).unwrap_or_default();
            let mut outcome = self.try_write(rest, stop);
            taken_bytes += outcome.taken_bytes;
            outcome.taken_bytes = taken_bytes;
            let Some(error) = &outcome.error else { return outcome };
            if outcome.only_next {
                return outcome;
            }
            if error.kind() == ErrorKind::TimedOut {
                return outcome;
            }
            self.connection = None;
            if !std::mem::take(&mut again) || stop.load(Ordering::Acquire) {
                return outcome;
            }
        }
    }

    fn try_write(&mut self, lines: &[u8], stop: &AtomicBool) -> Outcome {
        let failed = |error| Outcome { error: Some(error), ..Outcome::default() };
        if self.connection.as_mut().is_some_and(is_closed) {
            self.connection = None;
        }
        let deadline = Instant::now() + self.time_out;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match self.connect() {
                Ok(connection) => {
                    self.torn = false;
                    connection
                }
                Err(error) => return failed(error),
            },
        };
        let outcome = match &mut connection {
            Connection::Tcp(stream) => write_stream(stream, &mut self.torn, lines, deadline, stop),
            Connection::Unix(stream) => write_stream(stream, &mut self.torn, lines, deadline, stop),
            Connection::Udp(socket) => send_lines(lines, |line| socket.send(line)),
        };
        self.connection = Some(connection);
        outcome
    }

    fn connect(&self) -> io::Result<Connection> {
        Ok(match self.network {
            Network::Unix => {
                let stream = UnixStream::connect(Path::new(&self.address))?;
                stream.set_write_timeout(Some(STOP_CHECK))?;
                Connection::Unix(stream)
            }
            Network::Tcp => {
                let stream = self.first(|address| TcpStream::connect_timeout(&address, self.time_out))?;
                stream.set_write_timeout(Some(STOP_CHECK))?;
                stream.set_nodelay(true)?;
                Connection::Tcp(stream)
            }
            Network::Udp => Connection::Udp(self.first(|address| {
                let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(socket)
            })?),
        })
    }

    /// The first address of the name that works.
    fn first<T>(&self, connect: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in self.address.to_socket_addrs()? {
            match connect(address) {
                Ok(connected) => return Ok(connected),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

/// Whether the other end has closed. What it says, if it says anything, is of no interest.
fn is_closed(connection: &mut Connection) -> bool {
    fn ended(stream: &mut impl Read) -> bool {
        let mut said = [0u8; 512];
        loop {
            match stream.read(&mut said) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }
    match connection {
        Connection::Tcp(s) => s.set_nonblocking(true).is_err() || ended(s) || s.set_nonblocking(false).is_err(),
        Connection::Unix(s) => s.set_nonblocking(true).is_err() || ended(s) || s.set_nonblocking(false).is_err(),
        Connection::Udp(_) => false,
    }
}

fn write_stream(stream: &mut impl Write, torn: &mut bool, lines: &[u8], deadline: Instant, stop: &AtomicBool) -> Outcome {
    if *torn {
        match write_until(stream, b"\n", deadline, stop) {
            (_, None) => *torn = false,
            (_, error) => return Outcome { error, ..Outcome::default() },
        }
    }
    let (sent, error) = write_until(stream, lines, deadline, stop);
    let whole = lines.get(..sent).and_then(|s| s.iter().rposition(|b| *b == b'\n')).map_or(0, |at| at + 1);
    *torn = sent > whole;
    Outcome { taken_bytes: whole, error, ..Outcome::default() }
}

/// How much was sent, and why not all.
fn write_until(stream: &mut impl Write, bytes: &[u8], deadline: Instant, stop: &AtomicBool) -> (usize, Option<io::Error>) {
    let mut sent = 0;
    loop {
        let rest = bytes.get(sent..).unwrap_or_default();
        if rest.is_empty() {
            return (sent, None);
        }
        match stream.write(rest) {
            Ok(0) => return (sent, Some(ErrorKind::WriteZero.into())),
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // The kernel's own time-out is short; this one is the device's.
                if Instant::now() >= deadline || stop.load(Ordering::Acquire) {
                    return (sent, Some(io::Error::new(ErrorKind::TimedOut, "the reader takes nothing")));
                }
            }
            Err(e) => return (sent, Some(e)),
        }
    }
}

/// Each line as a datagram.
pub(super) fn send_lines(lines: &[u8], mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> Outcome {
    let mut outcome = Outcome::default();
    for line in each_line(lines) {
        let error = match send(line) {
            Ok(_) => {
                outcome.taken_bytes += line.len();
                continue;
            }
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) => {
                outcome.only_next = true;
                io::Error::new(ErrorKind::InvalidInput, format!("an entry of {} bytes is too long for a datagram", line.len()))
            }
            Err(e) => e,
        };
        outcome.error = Some(error);
        break;
    }
    outcome
}
