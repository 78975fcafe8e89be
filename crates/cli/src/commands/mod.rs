//! The table of commands. A command is found by its words, and its parser and its help come from its entry.

pub mod audit;
pub mod auth;
pub mod basic;
pub mod debug;
pub mod kv;
pub mod lease;
mod mounts;
pub mod namespace;
pub mod operator;
pub mod plugin;
pub mod policy;
pub mod raft;
pub mod secrets;
pub mod token;
pub mod transit;

pub use basic::version::version_line;

use crate::command::Command;

/// All commands and groups.
pub static ALL: &[&Command] = &[
    &basic::read::COMMAND,
    &basic::write::COMMAND,
    &basic::patch::COMMAND,
    &basic::list::COMMAND,
    &basic::delete::COMMAND,
    &basic::login::COMMAND,
    &basic::unwrap::COMMAND,
    &basic::status::COMMAND,
    &basic::monitor::COMMAND,
    &basic::path_help::COMMAND,
    &basic::print::GROUP,
    &basic::print::TOKEN,
    &basic::version::COMMAND,
    &basic::version_history::COMMAND,
    &debug::COMMAND,
    &kv::GROUP,
    &kv::get::COMMAND,
    &kv::put::COMMAND,
    &kv::patch::COMMAND,
    &kv::list::COMMAND,
    &kv::delete::COMMAND,
    &kv::versions::UNDELETE,
    &kv::versions::DESTROY,
    &kv::rollback::COMMAND,
    &kv::enable_versioning::COMMAND,
    &kv::METADATA,
    &kv::metadata_get::COMMAND,
    &kv::metadata_put::PUT,
    &kv::metadata_put::PATCH,
    &kv::metadata_delete::COMMAND,
    &operator::GROUP,
    &operator::init::COMMAND,
    &operator::unseal::COMMAND,
    &operator::seal::SEAL,
    &operator::seal::STEP_DOWN,
    &operator::keys::ROTATE,
    &operator::keys::KEY_STATUS,
    &operator::members::COMMAND,
    &operator::diagnose::COMMAND,
    &operator::rekey::COMMAND,
    &operator::generate_root::COMMAND,
    &raft::GROUP,
    &raft::peers::LIST,
    &raft::peers::REMOVE,
    &raft::join::COMMAND,
    &raft::SNAPSHOT,
    &raft::snapshot::SAVE,
    &raft::snapshot::RESTORE,
    &raft::inspect::COMMAND,
    &raft::AUTOPILOT,
    &raft::autopilot::STATE,
    &raft::autopilot::GET_CONFIG,
    &raft::autopilot::SET_CONFIG,
    &secrets::GROUP,
    &secrets::enable::COMMAND,
    &secrets::disable::COMMAND,
    &secrets::list::COMMAND,
    &secrets::tune::COMMAND,
    &secrets::shift::COMMAND,
    &auth::GROUP,
    &auth::enable::COMMAND,
    &auth::disable::COMMAND,
    &auth::list::COMMAND,
    &auth::tune::COMMAND,
    &auth::shift::COMMAND,
    &auth::help::COMMAND,
    &policy::GROUP,
    &policy::write::COMMAND,
    &policy::read::COMMAND,
    &policy::list::COMMAND,
    &policy::delete::COMMAND,
    &policy::fmt::COMMAND,
    &policy::lint::COMMAND,
    &policy::explain::COMMAND,
    &token::GROUP,
    &token::create::COMMAND,
    &token::lookup::COMMAND,
    &token::renew::COMMAND,
    &token::revoke::COMMAND,
    &token::capabilities::COMMAND,
    &audit::GROUP,
    &audit::enable::COMMAND,
    &audit::list::COMMAND,
    &audit::disable::COMMAND,
    &lease::GROUP,
    &lease::lookup::COMMAND,
    &lease::renew::COMMAND,
    &lease::revoke::COMMAND,
    &namespace::GROUP,
    &namespace::CREATE,
    &namespace::DELETE,
    &namespace::LIST,
    &namespace::LOOKUP,
    &plugin::GROUP,
    &plugin::LIST,
    &plugin::INFO,
    &transit::GROUP,
    &transit::IMPORT,
    &transit::IMPORT_VERSION,
];
