//! How a command ends. Vault's codes: 0 fine, 1 the caller's mistake, 2 the server said no.

use client::ClientError;

/// A command that did not end well, with the text for the user.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage or a local trouble: exit 1.
    Local(String),
    /// The server refused or cannot be reached: exit 2.
    Server(String),
    /// `-output-curl-string` and the like: the text goes to standard output, exit 0.
    Instead(String),
    /// Everything was said already.
    Code(i32),
}

/// The code of a command that ended well.
pub type Outcome = Result<i32, Failure>;

/// A request that brought nothing usable, before the command said what it was doing.
#[derive(Debug)]
pub enum Fault {
    /// The client's error.
    Client(ClientError),
    /// Not a matter of this request.
    Other(Failure),
}

impl From<ClientError> for Fault {
    fn from(e: ClientError) -> Self {
        Self::Client(e)
    }
}

impl From<Failure> for Fault {
    fn from(e: Failure) -> Self {
        Self::Other(e)
    }
}

impl Fault {
    /// The status, if the server answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Client(e) => e.status(),
            Self::Other(_) => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(e) => e.fmt(f),
            Self::Other(Failure::Local(text) | Failure::Server(text) | Failure::Instead(text)) => f.write_str(text),
            Self::Other(Failure::Code(code)) => write!(f, "exit code {code}"),
        }
    }
}

/// Says what was being done when a request failed.
pub trait Doing<T> {
    /// `Error <what>: <cause>`, exit 2.
    fn doing(self, what: &str) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, Fault> {
    fn doing(self, what: &str) -> Result<T, Failure> {
        self.map_err(|fault| match fault {
            Fault::Client(e) => Failure::Server(format!("Error {what}: {e}")),
            Fault::Other(failure) => failure,
        })
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Client(e) => Self::Server(e.to_string()),
            Fault::Other(failure) => failure,
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(e: std::io::Error) -> Self {
        Self::Local(e.to_string())
    }
}
