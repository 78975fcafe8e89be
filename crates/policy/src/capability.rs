//! The capabilities of a rule, as a set of bits.

use api_types::Operation;

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(u16);

impl Capabilities {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const DENY: Self = Self(1);
    pub(crate) const CREATE: Self = Self(1 << 1);
    pub(crate) const READ: Self = Self(1 << 2);
    pub(crate) const UPDATE: Self = Self(1 << 3);
    pub(crate) const DELETE: Self = Self(1 << 4);
    pub(crate) const LIST: Self = Self(1 << 5);
    pub(crate) const PATCH: Self = Self(1 << 6);
    pub(crate) const SUDO: Self = Self(1 << 7);
    pub(crate) const SUBSCRIBE: Self = Self(1 << 8);
    pub(crate) const RECOVER: Self = Self(1 << 9);
    /// OpenBao's: a listing of a folder with all below it.
    pub(crate) const SCAN: Self = Self(1 << 10);

    /// One capability by its name in policy text.
    pub(crate) fn named(name: &str) -> Option<Self> {
        SORTED.iter().find(|(n, _)| *n == name).map(|(_, c)| *c)
    }

    /// What the old `policy = "…"` notation stands for. `patch` came later and is never implied.
    pub(crate) fn legacy(name: &str) -> Option<Self> {
        let write = Self::CREATE.with(Self::READ).with(Self::UPDATE).with(Self::DELETE).with(Self::LIST);
        match name {
            "deny" => Some(Self::DENY),
            "read" => Some(Self::READ.with(Self::LIST)),
            "write" => Some(write),
            "sudo" => Some(write.with(Self::SUDO)),
            _ => None,
        }
    }

    /// What an operation needs. `None` for one that no rule can allow.
    pub(crate) fn needed(operation: Operation) -> Option<Self> {
        match operation {
            Operation::Create => Some(Self::CREATE),
            Operation::Read => Some(Self::READ),
            Operation::Update | Operation::Renew | Operation::Revoke => Some(Self::UPDATE),
            Operation::Patch => Some(Self::PATCH),
            Operation::Delete => Some(Self::DELETE),
            Operation::List => Some(Self::LIST),
            Operation::Scan => Some(Self::SCAN),
            Operation::Help | Operation::Header => None,
        }
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is here and not in `other`.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn is_deny(self) -> bool {
        self.any_of(Self::DENY)
    }

    /// Sorted names. `["deny"]` if denied or empty: that is how clients read "nothing".
    pub(crate) fn names(self) -> Vec<&'static str> {
        if self.is_deny() || self == Self::NONE {
            return vec!["deny"];
        }
        SORTED.iter().filter(|(_, c)| self.any_of(*c)).map(|(n, _)| *n).collect()
    }
}

const SORTED: [(&str, Capabilities); 11] = [
    ("create", Capabilities::CREATE),
    ("delete", Capabilities::DELETE),
    ("deny", Capabilities::DENY),
    ("list", Capabilities::LIST),
    ("patch", Capabilities::PATCH),
    ("read", Capabilities::READ),
    ("recover", Capabilities::RECOVER),
    ("scan", Capabilities::SCAN),
    ("subscribe", Capabilities::SUBSCRIBE),
    ("sudo", Capabilities::SUDO),
    ("update", Capabilities::UPDATE),
];
