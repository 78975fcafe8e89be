//! The seam to the network.

use engine::BoxFuture;
use outbound::{Answer, NoAnswer, Outbound, Question};
use secret::Time;

/// Carries questions to providers. The network is behind it; tests put a table there.
pub trait Web: Send + Sync + 'static {
    /// Asks. `now` is only used to age what is kept.
    fn ask<'a>(&'a self, question: Question<'a>, now: Time) -> BoxFuture<'a, Result<Answer, NoAnswer>>;
}

impl Web for Outbound {
    fn ask<'a>(&'a self, question: Question<'a>, now: Time) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        Box::pin(Self::ask(self, question, now))
    }
}
