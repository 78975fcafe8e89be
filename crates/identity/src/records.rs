//! The stored rows, as JSON. Times are [`Time`]; maps that were never set stay `None`, because answers tell `null` from `{}`.

use std::collections::BTreeMap;

use secret::Time;
use serde::{Deserialize, Serialize};

/// Pairs of text.
pub(crate) type Pairs = BTreeMap<String, String>;

/// A person or machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Entity {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) metadata: Option<Pairs>,
    /// As written: trimmed, sorted, without doubles.
    pub(crate) policies: Vec<String>,
    pub(crate) disabled: bool,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    /// Ids of entities that were merged into this one; tokens may still carry them.
    pub(crate) merged: Vec<String>,
    pub(crate) aliases: Vec<Alias>,
}

impl Entity {
    /// The alias on one mount; there is at most one.
    pub(crate) fn alias_on(&self, accessor: &str) -> Option<&Alias> {
        self.aliases.iter().find(|a| a.mount_accessor == accessor)
    }

    /// The alias with this id.
    pub(crate) fn alias(&self, id: &str) -> Option<&Alias> {
        self.aliases.iter().find(|a| a.id == id)
    }
}

/// A name on an auth mount, of an entity or of an external group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Alias {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) mount_accessor: String,
    /// What the auth method said at the last login.
    pub(crate) metadata: Option<Pairs>,
    /// What an operator said.
    pub(crate) custom_metadata: Option<Pairs>,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    /// Entities this alias belonged to before a merge.
    pub(crate) merged_from: Vec<String>,
}

/// Who decides about a group's members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GroupKind {
    /// Operators.
    #[default]
    Internal,
    /// Logins whose group aliases name it.
    External,
}

impl GroupKind {
    /// The name in answers.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::External => "external",
        }
    }
}

/// A group. Its member entities have rows of their own (`keys::member`), so that a login into a large group stays small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: GroupKind,
    /// As written; `None` if they never were.
    pub(crate) policies: Option<Vec<String>>,
    pub(crate) metadata: Option<Pairs>,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    /// Counts the writes an operator made.
    pub(crate) modify_index: u64,
    /// Groups that contain this one; they pass their policies down.
    pub(crate) parents: Vec<String>,
    /// Groups inside this one.
    pub(crate) children: Vec<String>,
    /// Members were set by an operator at least once (answers tell `null` from `[]`).
    pub(crate) members_set: bool,
    /// External groups only.
    pub(crate) alias: Option<Alias>,
}

/// The groups an entity is directly in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Membership {
    /// Group ids, sorted. Ids of groups that are gone are skipped by readers.
    pub(crate) groups: Vec<String>,
}

/// An index row: from a name or an alias to its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    /// The entity or group.
    pub(crate) id: String,
    /// The name as written, for listings.
    #[serde(default)]
    pub(crate) name: String,
}
