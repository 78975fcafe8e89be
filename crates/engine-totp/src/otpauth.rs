//! `otpauth://totp/Issuer:account?secret=…`: the form in which authenticator apps exchange keys. Read leniently, as Vault reads
//! it (neither the scheme nor the kind is looked at), and written so that every value comes back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::key::Key;

/// Left as they are in the path; the first letters of RFC 3986 `pchar` and what Go leaves beside them.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
/// In values: without what separates them.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':').remove(b'@');

/// What a URL says; `None` and empty are "not said".
#[derive(Default)]
pub struct OtpAuth {
    /// `issuer`, or what stands before the first `:` of the label.
    pub issuer: Option<String>,
    /// The label, without the issuer.
    pub account_name: String,
    /// The secret in Base32.
    pub secret: Zeroizing<String>,
    /// `digits` as written.
    pub digits: Option<String>,
    /// `period` as written.
    pub period: Option<String>,
    /// `algorithm` as written.
    pub algorithm: Option<String>,
}

impl OtpAuth {
    /// Reads a URL; `None` if its escapes are broken.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (url, _) = url.split_once('#').unwrap_or((url, ""));
        let (front, query) = url.split_once('?').unwrap_or((url, ""));
        let mut out = Self::default();
        if let Some((_, after)) = front.split_once("://") {
            let (_, path) = after.split_once('/').unwrap_or((after, ""));
            let label = decode(path)?;
            match label.split_once(':') {
                Some((issuer, account)) => {
                    out.issuer = Some(issuer.to_owned());
                    out.account_name = account.to_owned();
                }
                None => out.account_name = label,
            }
        } else {
            decode(front)?;
        }
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let Some(value) = decode(&value.replace('+', " ")).filter(|v| !v.is_empty()) else { continue };
            match name {
                "secret" => out.secret = Zeroizing::new(value),
                "issuer" => out.issuer = Some(value),
                "digits" => out.digits = Some(value),
                "period" => out.period = Some(value),
                "algorithm" => out.algorithm = Some(value),
                _ => {}
            }
        }
        Some(out)
    }
}

/// A key as a URL. Holds its secret.
#[must_use]
pub fn write(key: &Key) -> Zeroizing<String> {
    let label = format!("{}:{}", key.issuer, key.account_name);
    Zeroizing::new(format!(
        "otpauth://totp/{}?algorithm={}&digits={}&issuer={}&period={}&secret={}",
        utf8_percent_encode(&label, PATH),
        key.algorithm.as_str(),
        key.digits,
        utf8_percent_encode(&key.issuer, VALUE),
        key.period,
        key.secret
    ))
}

/// `%` must be followed by two hexadecimal digits, and the whole be UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    pieces.next();
    let hex = |s: &str| s.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !pieces.all(hex) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(|t| t.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::Algorithm;

    fn key(issuer: &str, account: &str) -> Key {
        Key {
            secret: "ABCDEFGH".into(),
            issuer: issuer.into(),
            account_name: account.into(),
            period: 30,
            algorithm: Algorithm::Sha1,
            digits: 6,
            skew: 1,
        }
    }

    #[test]
    fn a_written_url_is_vaults() {
        assert_eq!(
            *write(&key("I s/é:x", "a b@x+y")),
            "otpauth://totp/I%20s/%C3%A9:x:a%20b@x+y?algorithm=SHA1&digits=6&issuer=I%20s%2F%C3%A9:x&period=30&secret=ABCDEFGH"
        );
    }

    #[test]
    fn labels_and_values_are_told_apart() {
        for (url, issuer, account) in [
            ("otpauth://totp/I:a?secret=AB", Some("I"), "a"),
            ("otpauth://totp/I%3Aa:b?secret=AB", Some("I"), "a:b"),
            ("otpauth://totp/I:a?secret=AB&issuer=J", Some("J"), "a"),
            ("otpauth://totp/a?secret=AB", None, "a"),
            ("otpauth://totp?secret=AB", None, ""),
            ("otpauth://totp/a?secret=AB&issuer=#x", None, "a"),
            ("x?secret=AB", None, ""),
        ] {
            let read = OtpAuth::parse(url).unwrap();
            assert_eq!(
                (read.issuer.as_deref(), read.account_name.as_str(), read.secret.as_str()),
                (issuer, account, "AB"),
                "{url}"
            );
        }
        for broken in ["%zz", "otpauth://totp/%", "otpauth://totp/%e", "otpauth://totp/%ff"] {
            assert!(OtpAuth::parse(broken).is_none(), "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(issuer in "[^:]{1,20}", account in ".{1,20}") {
            let read = OtpAuth::parse(&write(&key(&issuer, &account))).unwrap();
            proptest::prop_assert_eq!(read.issuer.as_deref(), Some(issuer.as_str()));
            proptest::prop_assert_eq!(read.account_name, account);
            proptest::prop_assert_eq!(read.secret.as_str(), "ABCDEFGH");
        }

        #[test]
        fn rubbish_never_panics(url in ".{0,60}") {
            let _ = OtpAuth::parse(&url);
        }
    }
}
