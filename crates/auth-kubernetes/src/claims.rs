//! What a service account token says, and whether it may say so: issuer, audience, time (contract §1.5).
//!
//! Deliberately absent: trust. These rules come before the API server is asked and replace nothing it checks.

use secret::Time;
use serde::{Deserialize, Deserializer};
use serde_json::Number;
use serde_json::Value;

use crate::limits::{ASSUMED_LIFE_SECONDS, CLOCK_SKEW_SECONDS};

/// Why claims are not acceptable. The texts of all but [`ClaimsError::Unreadable`] are shown to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimsError {
    #[error("token claims are not readable")]
    Unreadable,
    #[error("1 error(s) decoding:\n\n* 'aud': source data must be an array or slice, got string")]
    BareAudience,
    #[error("invalid issuer (iss) claim")]
    Issuer,
    #[error("invalid audience (aud) claim: audience claim does not match any expected audience")]
    Audience,
    #[error("invalid not before (nbf) claim: token not yet valid")]
    NotYetValid,
    #[error("invalid expiration time (exp) claim: token is expired")]
    Expired,
    #[error("invalid issued at (iat) claim: token issued in the future")]
    IssuedInFuture,
}

/// What the mount and the role expect. `None` is anything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: Option<&'a str>,
}

/// Who the token says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    /// Empty for projected tokens.
    pub(crate) secret_name: String,
    /// The token's own audiences.
    pub(crate) audiences: Vec<String>,
}

/// The claims that count. Deriving makes a claim that is there twice an error, so no two readers can differ on it.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Value>,
    #[serde(default, deserialize_with = "numeric_date")]
    exp: Option<i64>,
    #[serde(default, deserialize_with = "numeric_date")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "numeric_date")]
    iat: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    projected: Option<Projected>,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    name: Option<String>,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: Option<String>,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret_name: Option<String>,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Projected {
    namespace: Option<String>,
    serviceaccount: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: Option<String>,
    uid: Option<String>,
}

/// Reads the claims and checks them in the order that clients see: issuer, audience, times.
pub(crate) fn check(payload: &[u8], expected: Expected<'_>, now: Time) -> Result<ServiceAccount, ClaimsError> {
    let claims: Claims = serde_json::from_slice(payload).map_err(|_| ClaimsError::Unreadable)?;
    let bare = matches!(claims.aud, Some(Value::String(_)));
    let audiences = audiences(claims.aud.as_ref())?;
    if expected.issuer.is_some_and(|want| claims.iss.as_deref() != Some(want)) {
        return Err(ClaimsError::Issuer);
    }
    if expected.audience.is_some_and(|want| !audiences.iter().any(|a| a == want)) {
        return Err(ClaimsError::Audience);
    }
    check_times(&claims, now.unix())?;
    if bare {
        return Err(ClaimsError::BareAudience);
    }
    Ok(service_account(claims, audiences))
}

fn audiences(claim: Option<&Value>) -> Result<Vec<String>, ClaimsError> {
    let text = |v: &Value| v.as_str().map(str::to_owned).ok_or(ClaimsError::Unreadable);
    match claim {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(other) => text(other).map(|one| vec![one]),
    }
}

/// Tokens that name no time at all (those kept in secrets) pass; what is missing otherwise is derived from the rest.
fn check_times(claims: &Claims, now: i64) -> Result<(), ClaimsError> {
    let exp = match (claims.iat, claims.nbf, claims.exp) {
        (None, None, None) => return Ok(()),
        (_, _, Some(exp)) => exp,
        (iat, nbf, None) => iat.max(nbf).unwrap_or_default().saturating_add(ASSUMED_LIFE_SECONDS),
    };
    let nbf = claims.nbf.or(claims.iat).unwrap_or_else(|| exp.saturating_sub(ASSUMED_LIFE_SECONDS));
    let latest = now.saturating_add(CLOCK_SKEW_SECONDS);
    if latest < nbf {
        return Err(ClaimsError::NotYetValid);
    }
    if now.saturating_sub(CLOCK_SKEW_SECONDS) > exp {
        return Err(ClaimsError::Expired);
    }
    if claims.iat.is_some_and(|iat| latest < iat) {
        return Err(ClaimsError::IssuedInFuture);
    }
    Ok(())
}

/// The projected form wins over the flat one, part by part.
fn service_account(claims: Claims, audiences: Vec<String>) -> ServiceAccount {
    let (namespace, reference) = match claims.projected {
        Some(p) => (p.namespace, p.serviceaccount),
        None => (claims.namespace, None),
    };
    let (name, uid) = match reference {
        Some(r) => (r.name, r.uid),
        None => (claims.name, claims.uid),
    };
    ServiceAccount {
        name: name.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
        uid: uid.unwrap_or_default(),
        secret_name: claims.secret_name.unwrap_or_default(),
        audiences,
    }
}

/// Seconds since the epoch, as a JSON number; a fraction is cut off. Texts are not numbers (CVE-2026-25537).
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    let seconds = number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|f| f.is_finite() && f.abs() < 1e15)?;
        #[expect(clippy::cast_possible_truncation, reason = "the bound above is far inside i64")]
        Some(float.trunc() as i64)
    });
    seconds.map(Some).ok_or_else(|| serde::de::Error::custom("not a date"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn at_now(claims: Value, expected: Expected<'_>) -> Result<ServiceAccount, ClaimsError> {
        check(claims.to_string().as_bytes(), expected, Time::from_unix(NOW))
    }

    #[test]
    fn times_have_a_minute_of_leeway_and_no_more() {
        let t = |s: i64| NOW + s;
        for (claims, want) in [
            (json!({}), None),
            (json!({"iat": null, "exp": null, "nbf": null}), None),
            (json!({"iat": t(-10), "nbf": t(-10), "exp": t(10)}), None),
            (json!({"iat": t(-99), "nbf": t(-99), "exp": t(-60)}), None),
            (json!({"iat": t(-99), "nbf": t(-99), "exp": t(-61)}), Some(ClaimsError::Expired)),
            (json!({"iat": t(60), "nbf": t(60), "exp": t(99)}), None),
            (json!({"iat": t(0), "nbf": t(61), "exp": t(99)}), Some(ClaimsError::NotYetValid)),
            (json!({"iat": t(61), "nbf": t(0), "exp": t(99)}), Some(ClaimsError::IssuedInFuture)),
            (json!({"iat": t(61), "exp": t(99)}), Some(ClaimsError::NotYetValid)),
            // Only exp is missing: it is assumed.
            (json!({"iat": t(-210)}), None),
            (json!({"iat": t(-211)}), Some(ClaimsError::Expired)),
            (json!({"iat": t(-900), "nbf": t(-210)}), None),
            (json!({"nbf": t(-211)}), Some(ClaimsError::Expired)),
            // Only exp is there: the beginning is assumed.
            (json!({"exp": t(210)}), None),
            (json!({"exp": t(211)}), Some(ClaimsError::NotYetValid)),
            (json!({"exp": 0}), Some(ClaimsError::Expired)),
            (json!({"exp": -1}), Some(ClaimsError::Expired)),
            (json!({"exp": 1_800_000_000.9_f64, "iat": 1.8e9_f64}), None),
            (json!({"exp": "4102444800"}), Some(ClaimsError::Unreadable)),
            (json!({"nbf": "0", "exp": t(10)}), Some(ClaimsError::Unreadable)),
            (json!({"exp": [t(10)]}), Some(ClaimsError::Unreadable)),
            (json!({"exp": true}), Some(ClaimsError::Unreadable)),
            (json!({"exp": 1e300}), Some(ClaimsError::Unreadable)),
        ] {
            assert_eq!(at_now(claims.clone(), Expected::default()).err(), want, "{claims}");
        }
    }

    #[test]
    fn issuer_and_audience_must_be_the_expected_ones() {
        let issuer = Expected { issuer: Some("me"), audience: None };
        let audience = Expected { issuer: None, audience: Some("vault") };
        for (claims, expected, want) in [
            (json!({"iss": "me"}), issuer, None),
            (json!({"iss": "you"}), issuer, Some(ClaimsError::Issuer)),
            (json!({"iss": "me "}), issuer, Some(ClaimsError::Issuer)),
            (json!({"iss": ""}), issuer, Some(ClaimsError::Issuer)),
            (json!({}), issuer, Some(ClaimsError::Issuer)),
            (json!({"iss": ["me"]}), issuer, Some(ClaimsError::Unreadable)),
            (json!({"aud": ["x", "vault"]}), audience, None),
            (json!({"aud": ["vaults"]}), audience, Some(ClaimsError::Audience)),
            (json!({"aud": ["VAULT"]}), audience, Some(ClaimsError::Audience)),
            (json!({"aud": []}), audience, Some(ClaimsError::Audience)),
            (json!({"aud": null}), audience, Some(ClaimsError::Audience)),
            (json!({}), audience, Some(ClaimsError::Audience)),
            (json!({"aud": "other"}), audience, Some(ClaimsError::Audience)),
            (json!({"aud": "vault"}), audience, Some(ClaimsError::BareAudience)),
            (json!({"aud": [1]}), audience, Some(ClaimsError::Unreadable)),
            (json!({"aud": {"vault": 1}}), audience, Some(ClaimsError::Unreadable)),
            // The order in which several faults are reported.
            (
                json!({"iss": "you", "aud": ["x"], "exp": 1}),
                Expected { issuer: Some("me"), ..audience },
                Some(ClaimsError::Issuer),
            ),
            (json!({"aud": ["x"], "exp": 1}), audience, Some(ClaimsError::Audience)),
        ] {
            assert_eq!(at_now(claims.clone(), expected).err(), want, "{claims}");
        }
    }

    #[test]
    fn a_claim_that_is_there_twice_is_refused() {
        for text in [
            r#"{"aud": ["vault"], "aud": ["other"]}"#,
            r#"{"exp": 1, "exp": 4102444800}"#,
            r#"{"kubernetes.io": {"namespace": "a", "namespace": "b"}}"#,
            r#"{"kubernetes.io": {"serviceaccount": {"name": "a", "name": "b"}}}"#,
            "[]",
            "null",
            "7",
            "",
            "{",
            "\"x\"",
            "{} {}",
        ] {
            assert_eq!(check(text.as_bytes(), Expected::default(), Time::from_unix(NOW)), Err(ClaimsError::Unreadable), "{text}");
        }
    }

    #[test]
    fn the_projected_form_wins() {
        let flat = json!({
            "kubernetes.io/serviceaccount/namespace": "flat", "kubernetes.io/serviceaccount/service-account.name": "flat-sa",
            "kubernetes.io/serviceaccount/service-account.uid": "flat-uid", "kubernetes.io/serviceaccount/secret.name": "flat-secret",
        });
        let account = at_now(flat.clone(), Expected::default()).unwrap();
        assert_eq!(
            (account.namespace.as_str(), account.name.as_str(), account.uid.as_str(), account.secret_name.as_str()),
            ("flat", "flat-sa", "flat-uid", "flat-secret")
        );
        let mut both = flat;
        both["kubernetes.io"] = json!({"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "uid"}, "pod": {"name": "p"}});
        let account = at_now(both.clone(), Expected::default()).unwrap();
        assert_eq!((account.namespace.as_str(), account.name.as_str(), account.uid.as_str()), ("ns", "sa", "uid"));
        both["kubernetes.io"] = json!({"serviceaccount": {}});
        let account = at_now(both, Expected::default()).unwrap();
        assert_eq!((account.namespace.as_str(), account.name.as_str(), account.uid.as_str()), ("", "", ""));
    }
}
