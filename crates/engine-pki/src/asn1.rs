//! Writing DER: a value is its bytes, put together from the inside out. Reading is done by the `der` and `x509-cert` crates
//! (strictly), because what is read comes from strangers; what is written here comes from this crate alone.
//!
//! Deliberately absent: any reading, and every ASN.1 type that X.509 does not need.

use der::asn1::ObjectIdentifier;

/// Tag of a `SEQUENCE`.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// One value: tag, length, content.
#[must_use]
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = content.len().to_be_bytes();
            let significant: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
            // A usize has at most 8 bytes.
            out.push(0x80 | u8::try_from(significant.len()).unwrap_or(8));
            out.extend_from_slice(&significant);
        }
    }
    out.extend_from_slice(content);
    out
}

/// `SEQUENCE` of values.
#[must_use]
pub fn sequence<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    tlv(SEQUENCE, &join(parts))
}

/// `SET OF` values, in the order DER asks for.
#[must_use]
pub fn set_of(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tlv(SET, &join(&parts))
}

/// `[n] EXPLICIT value`.
#[must_use]
pub fn explicit(n: u8, value: &[u8]) -> Vec<u8> {
    tlv(0xA0 | n, value)
}

/// `[n] IMPLICIT` of a primitive type, by its content.
#[must_use]
pub fn implicit(n: u8, content: &[u8]) -> Vec<u8> {
    tlv(0x80 | n, content)
}

/// `[n] IMPLICIT SEQUENCE` of values.
#[must_use]
pub fn implicit_sequence<P: AsRef<[u8]>>(n: u8, parts: &[P]) -> Vec<u8> {
    tlv(0xA0 | n, &join(parts))
}

/// `OBJECT IDENTIFIER`.
#[must_use]
pub fn oid(id: &ObjectIdentifier) -> Vec<u8> {
    tlv(0x06, id.as_bytes())
}

/// `NULL`.
#[must_use]
pub fn null() -> Vec<u8> {
    tlv(0x05, &[])
}

/// `BOOLEAN TRUE`; DER leaves out a default `FALSE`.
#[must_use]
pub fn yes() -> Vec<u8> {
    tlv(0x01, &[0xFF])
}

/// `INTEGER` from an unsigned number in big-endian bytes.
#[must_use]
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
    if content.first().is_none_or(|b| *b >= 0x80) {
        content.insert(0, 0);
    }
    tlv(0x02, &content)
}

/// `INTEGER` from a small number.
#[must_use]
pub fn number(n: u64) -> Vec<u8> {
    unsigned(&n.to_be_bytes())
}

/// `OCTET STRING`.
#[must_use]
pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

/// `BIT STRING` of whole bytes.
#[must_use]
pub fn bits(content: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(content.len() + 1);
    all.push(0);
    all.extend_from_slice(content);
    tlv(0x03, &all)
}

/// `BIT STRING` of named bits: bit 0 of `flags` is the first name. Trailing zeros are left out, as DER asks.
#[must_use]
pub fn named_bits(flags: u16) -> Vec<u8> {
    let [high, low] = flags.reverse_bits().to_be_bytes();
    let content = match (high, low) {
        (0, 0) => vec![0],
        (high, 0) => vec![unused(high), high],
        (high, low) => vec![unused(low), high, low],
    };
    tlv(0x03, &content)
}

fn unused(last: u8) -> u8 {
    u8::try_from(last.trailing_zeros()).unwrap_or(0)
}

/// `UTF8String`, or `PrintableString` where the text allows it: what Go writes into names.
#[must_use]
pub fn directory_string(text: &str) -> Vec<u8> {
    let printable = |c: char| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c);
    if text.chars().all(printable) { tlv(0x13, text.as_bytes()) } else { utf8(text) }
}

/// `UTF8String`.
#[must_use]
pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0C, text.as_bytes())
}

/// `Time`: `UTCTime` up to the year 2049, `GeneralizedTime` after (RFC 5280 §4.1.2.5). Seconds since the Unix epoch;
/// outside of 1970…9999 the nearer end.
#[must_use]
pub fn time(unix: i64) -> Vec<u8> {
    let t = date_time(unix);
    if t.year() < 2050 { tlv(0x17, format!("{:02}{}", t.year() % 100, rest_of(&t)).as_bytes()) } else { generalized_time(unix) }
}

/// `GeneralizedTime`, seconds since the Unix epoch.
#[must_use]
pub fn generalized_time(unix: i64) -> Vec<u8> {
    let t = date_time(unix);
    tlv(0x18, format!("{:04}{}", t.year(), rest_of(&t)).as_bytes())
}

fn date_time(unix: i64) -> der::DateTime {
    let since = std::time::Duration::from_secs(u64::try_from(unix).unwrap_or(0));
    der::DateTime::from_unix_duration(since).unwrap_or(der::DateTime::INFINITY)
}

fn rest_of(t: &der::DateTime) -> String {
    format!("{:02}{:02}{:02}{:02}{:02}Z", t.month(), t.day(), t.hour(), t.minutes(), t.seconds())
}

fn join<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    parts.iter().flat_map(|p| p.as_ref().iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_short_and_the_long_form() {
        assert_eq!(tlv(4, &[1, 2]), [4, 2, 1, 2]);
        assert_eq!(tlv(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(tlv(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[0; 256])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn integers_are_minimal_and_never_negative() {
        assert_eq!(number(0), [2, 1, 0]);
        assert_eq!(number(127), [2, 1, 127]);
        assert_eq!(number(128), [2, 2, 0, 128]);
        assert_eq!(unsigned(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(unsigned(&[0xFF]), [2, 2, 0, 0xFF]);
    }

    #[test]
    fn named_bits_drop_trailing_zeros() {
        assert_eq!(named_bits(0), [3, 1, 0]);
        assert_eq!(named_bits(0b1), [3, 2, 7, 0x80], "digitalSignature");
        assert_eq!(named_bits(0b110_0000), [3, 2, 1, 0x06], "keyCertSign, cRLSign");
        assert_eq!(named_bits(1 << 8), [3, 3, 7, 0, 0x80], "decipherOnly");
    }

    #[test]
    fn times_change_their_form_in_2050() {
        assert_eq!(time(0), [&[0x17, 13][..], b"700101000000Z"].concat());
        assert_eq!(time(2_524_607_999), [&[0x17, 13][..], b"491231235959Z"].concat());
        assert_eq!(time(2_524_608_000), [&[0x18, 15][..], b"20500101000000Z"].concat());
        assert_eq!(time(253_402_300_799), [&[0x18, 15][..], b"99991231235959Z"].concat());
        assert_eq!(time(-1), time(0));
        assert_eq!(time(i64::MAX), time(253_402_300_799));
    }

    #[test]
    fn a_star_makes_a_name_utf8() {
        assert_eq!(directory_string("a.test")[0], 0x13);
        assert_eq!(directory_string("*.a.test")[0], 0x0C);
        assert_eq!(directory_string("ü")[0], 0x0C);
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_can_be_read(content in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            use der::Decode;
            let read = der::asn1::OctetString::from_der(&octets(&content)).unwrap();
            proptest::prop_assert_eq!(read.as_bytes(), &content[..]);
            let read = der::asn1::Uint::from_der(&unsigned(&content)).unwrap();
            let minimal: Vec<u8> = content.iter().copied().skip_while(|b| *b == 0).collect();
            let want = if minimal.is_empty() { vec![0] } else { minimal };
            proptest::prop_assert_eq!(read.as_bytes(), &want[..]);
        }
    }
}
