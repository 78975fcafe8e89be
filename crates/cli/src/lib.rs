//! Vault's commands on our own client: same names, same flags, same words.
//!
//! [`run`] is the whole program but for `server`, `agent` and the injector. One table ([`commands::ALL`]) holds the commands; a
//! command is a synchronous function over a [`session::Session`], and all it can touch (terminal, server, environment) is a trait behind
//! [`host::Host`], so tests check text without a server.
//! Deliberately absent: Enterprise commands, and the engines' own helper commands (`ssh`, `pki`) but for `transit import`.

pub mod command;
pub mod commands;
mod complete;
pub mod exit;
pub mod flags;
pub mod help;
pub mod host;
mod instead;
mod kv_pairs;
mod login;
mod normalise;
mod program;
pub mod render;
pub mod session;
mod token_store;
pub mod transport;

pub use program::{run, run_on};
