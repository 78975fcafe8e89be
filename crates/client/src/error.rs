//! What can go wrong, in the words of Vault's client.

use std::fmt;

use crate::config::ConfigError;

/// A request that brought no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error.
    #[error("{0}")]
    Response(ResponseError),
    /// No answer came: `Get "http://…": dial tcp 127.0.0.1:8200: connect: connection refused`.
    #[error("{verb} {url:?}: {cause}")]
    Exchange {
        /// The method in Go's spelling, `Get`.
        verb: &'static str,
        /// Where it went.
        url: String,
        /// Why there is no answer.
        cause: String,
    },
    /// A redirect from https to http would show the token to everybody on the way.
    #[error("redirect would cause protocol downgrade")]
    Downgrade,
    /// The settings do not make a client.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A header's name or value is not one.
    #[error("invalid header {0:?}")]
    Header(String),
    /// The file to send cannot be read.
    #[error("open {path}: {cause}")]
    File {
        /// Which file.
        path: String,
        /// Why not.
        cause: String,
    },
    /// The answer is not what this path answers with.
    #[error("cannot read the server's answer: {0}")]
    Decode(String),
    /// The answer does not fit in memory.
    #[error("the server's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The taker of a stream cannot take more.
    #[error("{0}")]
    Sink(#[from] std::io::Error),
}

impl ClientError {
    /// The status, if the server answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Response(e) => Some(e.status),
            _ => None,
        }
    }
}

/// An answer of 400 or above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseError {
    /// The verb on the wire.
    pub method: &'static str,
    /// The whole URL, with query.
    pub url: String,
    /// The namespace that was asked for.
    pub namespace: Option<String>,
    /// The status.
    pub status: u16,
    /// The server's messages, or the whole body if it was not JSON.
    pub errors: Vec<String>,
    /// Whether `errors` is such a body.
    pub raw: bool,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Error making API request.\n\n")?;
        if let Some(namespace) = &self.namespace {
            writeln!(f, "Namespace: {namespace}")?;
        }
        let kind = if self.raw { "Raw Message" } else { "Errors" };
        write!(f, "URL: {} {}\nCode: {}. {kind}:\n\n", self.method, self.url, self.status)?;
        for error in &self.errors {
            if !self.raw {
                f.write_str("* ")?;
            }
            f.write_str(error)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_vaults_own() {
        let mut e = ResponseError {
            method: "PUT",
            url: "http://127.0.0.1:8200/v1/secret/data/x".to_owned(),
            namespace: None,
            status: 403,
            errors: vec!["permission denied".to_owned()],
            raw: false,
        };
        assert_eq!(
            e.to_string(),
            "Error making API request.\n\nURL: PUT http://127.0.0.1:8200/v1/secret/data/x\nCode: 403. Errors:\n\n* permission denied"
        );
        e.namespace = Some("team/".to_owned());
        e.raw = true;
        e.status = 502;
        e.errors = vec!["<html>".to_owned()];
        assert_eq!(
            e.to_string(),
            "Error making API request.\n\nNamespace: team/\nURL: PUT http://127.0.0.1:8200/v1/secret/data/x\nCode: 502. Raw Message:\n\n<html>"
        );
    }
}
