//! Asks API servers over HTTPS. The bearer goes to the configured host and nowhere else: redirects are not followed.

use std::time::Duration;

use engine::BoxFuture;
use outbound::{Answer, Credentials, NoAnswer, Outbound, Payload, Reach};
use secret::{SecretString, Time};

use crate::limits::ANSWER_MAX_BYTES;
use crate::review::{Question, Reviewer, Target};

/// The [`Reviewer`] of a running server.
pub struct HttpReviewer(Outbound);

impl Default for HttpReviewer {
    fn default() -> Self {
        Self(Outbound::new(Reach::Anywhere))
    }
}

impl HttpReviewer {
    /// With another time limit for a whole exchange than the default of ten seconds.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self(Outbound::with_timeout(Reach::Anywhere, timeout))
    }
}

impl Reviewer for HttpReviewer {
    fn ask<'a>(
        &'a self,
        target: &'a Target,
        bearer: &'a SecretString,
        question: &'a Question,
        now: Time,
    ) -> BoxFuture<'a, Result<Answer, NoAnswer>> {
        Box::pin(async move {
            let url = format!("{}{}", target.host.strip_suffix('/').unwrap_or(&target.host), question.path());
            let payload = question.body().map_or(Payload::None, Payload::Json);
            let question = outbound::Question {
                url: &url,
                trust: &target.trust,
                credentials: Credentials::Bearer(bearer),
                payload,
                answer_max_bytes: ANSWER_MAX_BYTES,
            };
            self.0.ask(question, now).await
        })
    }
}
