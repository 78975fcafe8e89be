//! Times, issuer and audience: more refusals than grants, and CVE-2026-25537's confusion of types (class H).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests may fail loudly")]

use std::time::Duration;

use jose::{Algorithm, Claims, ClaimsError, Expected, Jws, PrivateKey, TimeRules};
use proptest::prelude::*;
use secret::Time;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;

fn claims(value: &str) -> Claims {
    let value: Value = serde_json::from_str(value).unwrap();
    let key = PrivateKey::from_pkcs8(Algorithm::EdDSA, PrivateKey::generate(Algorithm::EdDSA).unwrap().expose()).unwrap();
    let token = key.sign(None, None, &value).unwrap();
    Jws::parse(token.expose()).unwrap().verify([key.public_key()]).unwrap()
}

fn times(value: &str, rules: &TimeRules) -> Result<(), ClaimsError> {
    claims(value).check_times(rules, Time::from_unix(NOW))
}

#[test]
fn times_with_the_usual_leeways() {
    use ClaimsError::{Expired, FromTheFuture, NoTimes, NotYet};
    let at = |d: i64| NOW + d;
    for (value, want) in [
        (json!({"exp": at(1)}), Ok(())),
        (json!({"exp": at(-59)}), Ok(())),
        (json!({"exp": at(-60)}), Err(Expired)),
        (json!({"exp": at(-61)}), Err(Expired)),
        (json!({"exp": 0}), Err(Expired)),
        (json!({"nbf": at(60)}), Ok(())),
        (json!({"nbf": at(61)}), Err(NotYet)),
        (json!({"iat": at(61)}), Err(NotYet)),
        (json!({"iat": at(61), "nbf": at(0), "exp": at(100)}), Err(FromTheFuture)),
        (json!({"iat": at(0)}), Ok(())),
        (json!({"iat": at(-209)}), Ok(())),
        (json!({"iat": at(-210)}), Err(Expired)),
        (json!({"nbf": at(-211), "iat": at(-300)}), Err(Expired)),
        (json!({"exp": at(211)}), Err(NotYet)),
        (json!({"exp": at(210)}), Ok(())),
        (json!({}), Err(NoTimes)),
    ] {
        assert_eq!(times(&value.to_string(), &TimeRules::default()), want, "{value}");
    }
    for (value, want) in [
        (json!({"exp": at(1), "iat": at(0)}), Ok(())),
        (json!({"exp": at(0), "iat": at(-9)}), Err(Expired)),
        (json!({"exp": at(9), "iat": at(1)}), Err(NotYet)),
        (json!({"iat": at(0)}), Err(ClaimsError::NoExpiration)),
        (json!({}), Err(ClaimsError::NoExpiration)),
    ] {
        assert_eq!(times(&value.to_string(), &TimeRules::own()), want, "{value}");
    }
}

#[test]
fn class_h_a_date_that_is_no_number_is_not_an_absent_one() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "\"1800000000\"",
            "\"9999999999\"",
            "\"never\"",
            "null",
            "true",
            "[]",
            "{}",
            "[1800000000]",
            "-1",
            "1e400",
            "-1e400",
            "1e18",
            "253402300800",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999999999999999999999999",
        ] {
            let text = format!(r#"{{"{name}": {value}}}"#);
            assert_eq!(claims(&text).date(name), Err(ClaimsError::Malformed(name)), "{text}");
            assert_eq!(times(&text, &TimeRules::default()), Err(ClaimsError::Malformed(name)), "{text}");
        }
    }
    for (value, want) in [("1.9", 1), ("0", 0), ("1.8e9", NOW), ("1800000000.0", NOW), ("253402300799", 253_402_300_799)] {
        assert_eq!(claims(&format!(r#"{{"exp": {value}}}"#)).date("exp"), Ok(Some(Time::from_unix(want))), "{value}");
    }
}

#[test]
fn issuer_and_audience_match_exactly_or_not_at_all() {
    let wanted = ["a".to_owned(), "b".to_owned()];
    let check = |value: Value, issuer: Option<&str>, audiences: Option<&[String]>| {
        let expected = Expected { issuer, audiences, times: TimeRules::default() };
        let mut value = value;
        value["iat"] = json!(NOW);
        claims(&value.to_string()).check(&expected, Time::from_unix(NOW))
    };
    for (value, want) in [
        (json!({"iss": "i", "aud": "a"}), Ok(())),
        (json!({"iss": "i", "aud": ["x", "b"]}), Ok(())),
        (json!({"iss": "i", "aud": []}), Err(ClaimsError::Audience)),
        (json!({"iss": "i", "aud": ""}), Err(ClaimsError::Audience)),
        (json!({"iss": "i", "aud": "A"}), Err(ClaimsError::Audience)),
        (json!({"iss": "i", "aud": "ab"}), Err(ClaimsError::Audience)),
        (json!({"iss": "i", "aud": "a,b"}), Err(ClaimsError::Audience)),
        (json!({"iss": "i", "aud": ["a", 1]}), Err(ClaimsError::Malformed("aud"))),
        (json!({"iss": "i", "aud": {"a": 1}}), Err(ClaimsError::Malformed("aud"))),
        (json!({"iss": "i"}), Err(ClaimsError::Audience)),
        (json!({"iss": "i/", "aud": "a"}), Err(ClaimsError::Issuer)),
        (json!({"iss": "I", "aud": "a"}), Err(ClaimsError::Issuer)),
        (json!({"iss": "", "aud": "a"}), Err(ClaimsError::Issuer)),
        (json!({"iss": ["i"], "aud": "a"}), Err(ClaimsError::Malformed("iss"))),
        (json!({"aud": "a"}), Err(ClaimsError::Issuer)),
    ] {
        assert_eq!(check(value.clone(), Some("i"), Some(&wanted)), want, "{value}");
    }
    assert_eq!(check(json!({"aud": "a"}), None, Some(&[])), Err(ClaimsError::Audience), "an empty list matches nothing");
    assert_eq!(check(json!({"aud": 7, "iss": 7}), None, None), Ok(()), "unchecked");
}

proptest! {
    #[test]
    fn whatever_comes_in_nothing_panics(text in "\\PC{0,80}", now in any::<i64>(), a in any::<i64>(), leeway in any::<u64>()) {
        let _ = Jws::parse(&text);
        let _ = Jws::parse(&format!("eyJhbGciOiJFUzI1NiJ9.{text}.AA"));
        let rules = TimeRules { clock_skew_leeway: Duration::from_secs(leeway), ..TimeRules::default() };
        let map = claims_of(a);
        let ok = map.check_times(&rules, Time(now)).is_ok();
        prop_assert!(!ok || (0..=jose::NUMERIC_DATE_MAX_SECONDS).contains(&a));
    }
}

fn claims_of(exp: i64) -> Claims {
    claims(&format!(r#"{{"exp": {exp}}}"#))
}
