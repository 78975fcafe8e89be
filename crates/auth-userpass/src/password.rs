//! Bcrypt, off the request threads and only so many at a time: it is slow on purpose, and a login needs no token.

use std::sync::Arc;

use engine::EngineError;
use secret::SecretString;
use tokio::sync::Semaphore;

/// Cost of new hashes, Go's default as Vault uses it: some 60 ms on a server core.
const COST: u32 = 10;
/// Costs that a ready-made hash may have. Below, the hash protects nothing; above, one login takes a core for seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;
/// Length of a bcrypt hash in its usual text form.
const HASH_BYTES: usize = 60;
/// Bcrypt looks at no more than this; a longer password would be cut in silence.
const PASSWORD_MAX_BYTES: usize = 72;
/// Logins that may wait for a worker. More than that is an attack or a stampede, and waiting would only add to it.
const WAITING_MAX: usize = 1024;
/// What an absent user's password is compared with, at the cost of new hashes. Nobody knows its password, and matching it
/// would not help.
const NOBODY: &str = "$2a$10$7EqJtq98hPqEX7fNZaFWoOhi5VjPSAQsz6JqDpM6r4oDn1e5cQKzW";

/// Runs bcrypt on blocking threads, at most one a core.
pub(crate) struct Workers {
    queue: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Workers {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { queue: Arc::new(Semaphore::new(WAITING_MAX)), running: Arc::new(Semaphore::new(cores)) }
    }

    /// Hashes a new password. The words for one that is too long are Go's.
    pub(crate) async fn hash(&self, password: SecretString, salt: [u8; 16]) -> Result<String, EngineError> {
        if password.expose().len() > PASSWORD_MAX_BYTES {
            return Err(EngineError::internal("bcrypt: password length exceeds 72 bytes"));
        }
        self.run(move || {
            let parts = bcrypt::hash_with_salt(password.expose(), COST, salt).ok()?;
            Some(parts.format_for_version(bcrypt::Version::TwoA))
        })
        .await?
        .ok_or_else(|| EngineError::internal("failed to hash the password"))
    }

    /// Whether the password has this hash. Without a hash the work is the same and the answer is no.
    pub(crate) async fn verify(&self, password: SecretString, hash: Option<String>) -> Result<bool, EngineError> {
        let possible = hash.is_some() && password.expose().len() <= PASSWORD_MAX_BYTES;
        let matches =
            self.run(move || bcrypt::verify(password.expose(), hash.as_deref().unwrap_or(NOBODY)).unwrap_or(false)).await?;
        Ok(matches && possible)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
        let busy = || EngineError::Unavailable("too many logins, try again later".to_owned());
        let place = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| busy())?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        // The permits go into the thread: a request that is given up must not make room before its work has ended.
        let task = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        task.await.map_err(|_| EngineError::internal("password worker failed"))
    }
}

/// Checks a hash that was made elsewhere.
pub(crate) fn check_hash(hash: &str) -> Result<(), EngineError> {
    if hash.len() != HASH_BYTES {
        return Err(EngineError::internal("password hash has incorrect length"));
    }
    let malformed = || EngineError::invalid("password_hash is not a valid bcrypt hash");
    let parts: bcrypt::HashParts = hash.parse().map_err(|_| malformed())?;
    let cost = parts.get_cost();
    if !COSTS.contains(&cost) {
        return Err(EngineError::Invalid(format!("bcrypt cost of {cost} is outside of {} to {}", COSTS.start(), COSTS.end())));
    }
    // Only what the verifier reads is accepted.
    bcrypt::verify("", hash).map(drop).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_fits_its_password_only() {
        let workers = Workers::new();
        let hash = workers.hash("correct horse".into(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$2a$10$"), "{hash}");
        for (password, stored, want) in [
            ("correct horse", Some(&hash), true),
            ("correct hors", Some(&hash), false),
            ("", Some(&hash), false),
            ("correct horse", None, false),
        ] {
            assert_eq!(workers.verify(password.into(), stored.cloned()).await.unwrap(), want, "{password}");
        }
    }

    #[tokio::test]
    async fn a_password_is_never_cut() {
        let workers = Workers::new();
        let hash = workers.hash("x".repeat(72).into(), [1; 16]).await.unwrap();
        assert!(workers.verify("x".repeat(72).into(), Some(hash.clone())).await.unwrap());
        assert!(!workers.verify("x".repeat(73).into(), Some(hash)).await.unwrap());
        let e = workers.hash("x".repeat(73).into(), [1; 16]).await.unwrap_err();
        assert_eq!(e.to_string(), "bcrypt: password length exceeds 72 bytes");
    }

    #[test]
    fn nobody_costs_what_a_user_costs() {
        let parts: bcrypt::HashParts = NOBODY.parse().unwrap();
        assert_eq!(parts.get_cost(), COST);
        assert!(!bcrypt::verify("", NOBODY).unwrap());
    }

    #[test]
    fn foreign_hashes_are_checked() {
        let good = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        check_hash(good).unwrap();
        for (bad, text) in [
            ("plain", "password hash has incorrect length"),
            ("", "password hash has incorrect length"),
            (&good.replace("$10$", "$31$"), "bcrypt cost of 31 is outside of 4 to 14"),
            (&good.replace("$2a$", "$9z$"), "password_hash is not a valid bcrypt hash"),
            (&good.replace("N9qo", "N9q!"), "password_hash is not a valid bcrypt hash"),
            (&"é".repeat(30), "password_hash is not a valid bcrypt hash"),
        ] {
            assert_eq!(check_hash(bad).unwrap_err().to_string(), text, "{bad}");
        }
    }
}
