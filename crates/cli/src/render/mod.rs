//! Answers as text. Pure: values in, text out.

mod durations;
mod format;
mod secret;
mod table;
mod value;

pub use durations::{go_time, human, human_value};
pub use format::{Format, json, yaml};
pub use secret::{field, rows};
pub use table::{headed, header, key_values, table};
pub use value::{go_quoted, go_value};
