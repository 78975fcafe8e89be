//! Vault's wire vocabulary: operations, header names, durations as clients write them, JSON as Go writes it.
//!
//! Deliberately absent: logic, status codes, and anything that knows a server or a client.

pub mod duration;
pub mod headers;
pub mod json;
mod operation;

pub use operation::Operation;

/// A JSON object. Keys come out sorted, as Go sorts the keys of a map.
pub type Map = serde_json::Map<String, serde_json::Value>;

/// The version of Vault's API that this server speaks. Clients (the Terraform provider, web UIs) gate features on it.
pub const API_VERSION: &str = "1.21.4";

/// Formats messages as Go's `multierror` does; clients match this text:
/// `1 error occurred:\n\t* permission denied\n\n`.
#[must_use]
pub fn multi_error(messages: &[&str]) -> String {
    let mut out = match messages.len() {
        1 => "1 error occurred:\n".to_owned(),
        n => format!("{n} errors occurred:\n"),
    };
    for m in messages {
        out.push_str("\t* ");
        out.push_str(m);
        out.push('\n');
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn multi_error_counts_and_indents() {
        assert_eq!(super::multi_error(&["permission denied"]), "1 error occurred:\n\t* permission denied\n\n");
        assert_eq!(super::multi_error(&["a", "b"]), "2 errors occurred:\n\t* a\n\t* b\n\n");
    }
}
