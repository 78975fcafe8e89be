//! The two proofs of this room.

use policy::Grant;

/// Proof that a request was allowed **and** recorded, or that its entry is owed: then it is written with the answer's, in one
/// piece, and there is no other way to an answer (docs/decisions/0009). An engine cannot be called without one.
#[derive(Debug)]
pub struct Permit {
    grant: Grant,
    heads: Heads,
    owed: bool,
}

/// What the devices wrote of the request, each under its number: it stands in the answer's line as well. Holds nothing that the
/// devices do not hold.
#[derive(Default)]
pub(crate) struct Heads(Vec<(u64, Vec<u8>)>);

impl Heads {
    pub(crate) fn keep(&mut self, device: u64, head: Vec<u8>) {
        self.0.push((device, head));
    }

    pub(crate) fn of(&self, device: u64) -> Option<&[u8]> {
        self.0.iter().find(|(number, _)| *number == device).map(|(_, head)| head.as_slice())
    }
}

impl std::fmt::Debug for Heads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heads").field("devices", &self.0.len()).finish()
    }
}

impl Permit {
    pub(crate) fn new(grant: Grant, heads: Heads) -> Self {
        Self { grant, heads, owed: false }
    }

    /// Nothing is recorded yet.
    pub(crate) fn owing(grant: Grant) -> Self {
        Self { grant, heads: Heads::default(), owed: true }
    }

    /// Whether the request's entry is still to be written: before the request has any effect, or with its answer.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.owed
    }

    pub(crate) fn into_grant(self) -> Grant {
        self.grant
    }

    pub(crate) fn heads(&self) -> &Heads {
        &self.heads
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
