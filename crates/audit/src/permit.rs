//! The two proofs of this room.

use policy::Grant;

/// Proof that a request was allowed **and** recorded. An engine cannot be called without one.
#[derive(Debug)]
pub struct Permit {
    grant: Grant,
}

impl Permit {
    pub(crate) fn new(grant: Grant) -> Self {
        Self { grant }
    }

    /// The decision behind it.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// Proof that an answer was recorded. Nothing else can be serialised to a client.
#[derive(Debug)]
pub struct Logged<T>(T);

impl<T> Logged<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The answer.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The answer, owned.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }
}
