//! What a request asks for, after the HTTP method was understood (contract §1.3).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A logical operation. `Update` becomes `Create` when the engine says that nothing is there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// POST or PUT on something that does not exist.
    Create,
    /// GET.
    Read,
    /// POST or PUT.
    Update,
    /// PATCH with a merge patch.
    Patch,
    /// DELETE.
    Delete,
    /// LIST, or GET with `list=true`.
    List,
    /// SCAN, or GET with `scan=true`: a list of a folder and of all folders below it (OpenBao's).
    Scan,
    /// `?help=1`.
    Help,
    /// HEAD.
    Header,
    /// A login's token is being renewed (never from HTTP).
    Renew,
    /// A lease or mount is being revoked (never from HTTP).
    Revoke,
}

impl Operation {
    /// The name in audit lines and policies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Help => "help",
            Self::Header => "header",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
        }
    }

    /// Whether it asks for names in a folder.
    #[must_use]
    pub fn is_listing(self) -> bool {
        matches!(self, Self::List | Self::Scan)
    }

    /// Whether the request carries a body that describes a change.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Patch)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
