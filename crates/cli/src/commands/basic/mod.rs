//! The commands that work on any path, and the small ones around them.

pub mod delete;
pub mod list;
pub mod login;
mod login_methods;
pub mod monitor;
pub mod patch;
pub mod path_help;
pub mod print;
pub mod read;
pub mod status;
pub mod unwrap;
pub mod version;
pub mod version_history;
pub mod write;
