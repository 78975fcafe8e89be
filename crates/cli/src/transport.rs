//! The way to a server as commands see it: blocking, one request after the other.

use std::io;
use std::time::Duration;

use client::{Client, ClientError, Config, Reply, Request};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Failure;
use crate::host::Connect;

/// A server that can be asked.
pub trait Transport {
    /// Sends a request and reads the whole answer, whatever its status.
    fn send(&mut self, request: &Request) -> Result<Reply, ClientError>;

    /// Sends a request and hands the answer to `sink` piece by piece.
    fn stream(&mut self, request: &Request, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), ClientError>;

    /// The whole URL of a request.
    fn url(&self, request: &Request) -> String;

    /// Waits between two polls.
    fn pause(&mut self, time: Duration);
}

/// Makes [`HttpTransport`]s.
#[derive(Debug, Default)]
pub struct HttpConnect;

impl Connect for HttpConnect {
    fn connect(&mut self, config: Config) -> Result<Box<dyn Transport>, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(config).map_err(|e| Failure::Server(e.to_string()))?;
        Ok(Box::new(HttpTransport { runtime, client }))
    }
}

/// A [`Client`] with a runtime of its own.
#[derive(Debug)]
pub struct HttpTransport {
    runtime: Runtime,
    client: Client,
}

impl Transport for HttpTransport {
    fn send(&mut self, request: &Request) -> Result<Reply, ClientError> {
        self.runtime.block_on(self.client.send(request))
    }

    fn stream(&mut self, request: &Request, sink: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<(), ClientError> {
        self.runtime.block_on(self.client.stream(request, sink))
    }

    fn url(&self, request: &Request) -> String {
        self.client.url(request)
    }

    fn pause(&mut self, time: Duration) {
        // The timer must be made inside the runtime.
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }
}
