//! Everything a command can touch, behind traits: the terminal, the environment, the way to a server.

use std::io::{self, Read, Write};

use client::{Config, Environment};
use secret::{Entropy, SecretString};

use crate::exit::Failure;
use crate::transport::Transport;

/// Where text goes.
pub struct Output<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Everything else.
    pub err: &'a mut dyn Write,
}

/// Asks the user.
pub trait Prompt {
    /// Shows `question` and reads a line that is not echoed. Fails without a terminal.
    fn hidden(&mut self, question: &str) -> io::Result<SecretString>;
}

/// Opens the way to a server.
pub trait Connect {
    /// Makes a client out of settings.
    fn connect(&mut self, config: Config) -> Result<Box<dyn Transport>, Failure>;
}

/// The world of one run.
pub struct Host<'a> {
    /// The name the program was called by, `vault` or `strongroom`.
    pub program: String,
    /// Environment variables.
    pub env: Environment,
    /// Standard output and error.
    pub output: Output<'a>,
    /// Whether standard output is a terminal.
    pub out_is_terminal: bool,
    /// Standard input.
    pub input: &'a mut dyn Read,
    /// The terminal.
    pub prompt: &'a mut dyn Prompt,
    /// The way to a server.
    pub connect: &'a mut dyn Connect,
    /// Randomness, for one-time passwords.
    pub entropy: &'a dyn Entropy,
}

/// The real terminal.
#[derive(Debug, Default)]
pub struct Terminal;

impl Prompt for Terminal {
    fn hidden(&mut self, question: &str) -> io::Result<SecretString> {
        rpassword::prompt_password(question).map(SecretString::new)
    }
}
