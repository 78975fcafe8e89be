//! What a verified token says, and the checks every token gets: times, issuer, audience.

use std::time::Duration;

use api_types::Map;
use secret::Time;
use serde_json::Value;

use crate::limits::NUMERIC_DATE_MAX_SECONDS;

/// The claims of a token whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims(Map);

/// Why claims are refused. Texts name the claim and never its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// A registered claim has another JSON type than RFC 7519 gives it, or a date out of range.
    #[error("claim \"{0}\" is malformed")]
    Malformed(&'static str),
    /// None of `iat`, `nbf`, `exp` is there, or a required one is not.
    #[error("no issued at (iat), not before (nbf), or expiration time (exp) claims in token")]
    NoTimes,
    /// `exp` is required and absent.
    #[error("no expiration time (exp) claim in token")]
    NoExpiration,
    /// `exp` has passed.
    #[error("invalid expiration time (exp) claim: token is expired")]
    Expired,
    /// `nbf` is ahead.
    #[error("invalid not before (nbf) claim: token not yet valid")]
    NotYet,
    /// `iat` is ahead.
    #[error("invalid issued at (iat) claim: token issued in the future")]
    FromTheFuture,
    /// `iss` is another one or absent.
    #[error("invalid issuer (iss) claim")]
    Issuer,
    /// `aud` has none of the expected values.
    #[error("invalid audience (aud) claim: audience claim does not match any bound audience")]
    Audience,
}

/// How the three times of a token are judged.
///
/// A missing `exp` is taken as the later of `iat` and `nbf` plus `expiration_leeway`; a missing `nbf` as `iat`, or else `exp` minus
/// `not_before_leeway`. Clocks may differ by `clock_skew_leeway`. The leeways fill in what a token leaves out: they do not prolong
/// a token that names its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRules {
    /// Assumed life of a token without `exp`.
    pub expiration_leeway: Duration,
    /// Assumed start of a token without `nbf` and `iat`, before its end.
    pub not_before_leeway: Duration,
    /// Tolerated difference of clocks.
    pub clock_skew_leeway: Duration,
    /// Whether a token without `exp` is refused.
    pub require_expiration: bool,
}

/// What a token has to say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `iss`, exactly; `None` leaves it unchecked.
    pub issuer: Option<&'a str>,
    /// `aud` must hold one of these, exactly; `None` leaves it unchecked, and an empty list matches nothing.
    pub audiences: Option<&'a [String]>,
    /// The times.
    pub times: TimeRules,
}

impl Default for TimeRules {
    /// Vault's documented defaults of the JWT method: 150 s, 150 s, 60 s; `exp` may be absent.
    fn default() -> Self {
        Self {
            expiration_leeway: Duration::from_secs(150),
            not_before_leeway: Duration::from_secs(150),
            clock_skew_leeway: Duration::from_secs(60),
            require_expiration: false,
        }
    }
}

impl TimeRules {
    /// `exp` must be there, and clocks must agree: for tokens that this server itself made.
    #[must_use]
    pub fn own() -> Self {
        Self {
            expiration_leeway: Duration::ZERO,
            not_before_leeway: Duration::ZERO,
            clock_skew_leeway: Duration::ZERO,
            require_expiration: true,
        }
    }
}

impl Claims {
    /// Only a verified signature makes claims.
    pub(crate) fn new(map: Map) -> Self {
        Self(map)
    }

    /// A claim by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All claims.
    #[must_use]
    pub fn all(&self) -> &Map {
        &self.0
    }

    /// All claims, to keep.
    #[must_use]
    pub fn into_map(self) -> Map {
        self.0
    }

    /// A claim that is text if it is there.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, ClaimsError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ClaimsError::Malformed(name)),
        }
    }

    /// `aud`: a text or a list of texts; nothing if it is absent.
    pub fn audiences(&self) -> Result<Vec<&str>, ClaimsError> {
        let wrong = ClaimsError::Malformed("aud");
        match self.0.get("aud") {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(Value::Array(all)) => all.iter().map(|v| v.as_str().ok_or(wrong)).collect(),
            Some(_) => Err(wrong),
        }
    }

    /// A NumericDate (RFC 7519 §2): seconds since 1970, possibly with a fraction, within the years 1970 to 9999. A text that looks
    /// like a number is malformed, not absent.
    pub fn date(&self, name: &'static str) -> Result<Option<Time>, ClaimsError> {
        let wrong = ClaimsError::Malformed(name);
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number,
            Some(_) => return Err(wrong),
        };
        let seconds = match number.as_i64() {
            Some(whole) => whole,
            None => {
                let float = number.as_f64().filter(|f| f.is_finite()).ok_or(wrong)?;
                // Saturates, and what saturates is out of range.
                #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second is dropped; the range is checked")]
                let whole = float.floor() as i64;
                whole
            }
        };
        if !(0..=NUMERIC_DATE_MAX_SECONDS).contains(&seconds) {
            return Err(wrong);
        }
        Ok(Some(Time::from_unix(seconds)))
    }

    /// Judges times, issuer and audience.
    pub fn check(&self, expected: &Expected<'_>, now: Time) -> Result<(), ClaimsError> {
        self.check_times(&expected.times, now)?;
        if let Some(issuer) = expected.issuer
            && self.text("iss")? != Some(issuer)
        {
            return Err(ClaimsError::Issuer);
        }
        if let Some(wanted) = expected.audiences {
            let found = self.audiences()?;
            if !found.iter().any(|a| wanted.iter().any(|w| w == a)) {
                return Err(ClaimsError::Audience);
            }
        }
        Ok(())
    }

    /// Judges the times alone.
    pub fn check_times(&self, rules: &TimeRules, now: Time) -> Result<(), ClaimsError> {
        let (issued, not_before, expires) = (self.date("iat")?, self.date("nbf")?, self.date("exp")?);
        if rules.require_expiration && expires.is_none() {
            return Err(ClaimsError::NoExpiration);
        }
        let end = match (expires, issued.max(not_before)) {
            (Some(end), _) => end,
            (None, Some(latest)) => latest.plus(rules.expiration_leeway),
            (None, None) => return Err(ClaimsError::NoTimes),
        };
        let start = not_before.or(issued).unwrap_or_else(|| end.minus(rules.not_before_leeway));
        let (early, late) = (now.minus(rules.clock_skew_leeway), now.plus(rules.clock_skew_leeway));
        if start > late {
            return Err(ClaimsError::NotYet);
        }
        if end <= early {
            return Err(ClaimsError::Expired);
        }
        if issued.is_some_and(|issued| issued > late) {
            return Err(ClaimsError::FromTheFuture);
        }
        Ok(())
    }
}
