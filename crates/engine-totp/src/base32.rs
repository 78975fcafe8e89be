//! Base32 (RFC 4648 §6) as people type secrets: any case, with or without padding. Refusals name the place, as clients of Vault
//! read it.

use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Where text stops being Base32: the index of the first byte that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("illegal base32 data at input byte {0}")]
pub struct NotBase32(pub usize);

/// Text without padding.
#[must_use]
pub fn encode(bytes: &[u8]) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(5) * 8));
    let (mut buffer, mut bits) = (0u32, 0u32);
    let mut push = |five: u32| out.extend(ALPHABET.get((five & 31) as usize).copied().map(char::from));
    for byte in bytes {
        buffer = (buffer << 8 | u32::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(buffer >> bits);
        }
    }
    if bits > 0 {
        push(buffer << (5 - bits));
    }
    out
}

/// The bytes of `text`. Leftover bits of the last character are not looked at.
pub fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, NotBase32> {
    let body = text.trim_end_matches('=');
    let mut out = Zeroizing::new(Vec::with_capacity(body.len() * 5 / 8));
    let (mut buffer, mut bits) = (0u32, 0u32);
    for (place, byte) in body.bytes().enumerate() {
        let five = ALPHABET.iter().position(|c| *c == byte.to_ascii_uppercase()).ok_or(NotBase32(place))?;
        buffer = (buffer << 5 | u32::try_from(five).unwrap_or_default()) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((buffer >> bits) as u8);
        }
    }
    // One, three or six characters in the last group cannot come from whole bytes.
    if matches!(body.len() % 8, 1 | 3 | 6) { Err(NotBase32(body.len())) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(*encode(bytes.as_bytes()), text);
            for form in [text.to_owned(), text.to_lowercase(), format!("{text}{}", "=".repeat((8 - text.len() % 8) % 8))] {
                assert_eq!(decode(&form).unwrap().as_slice(), bytes.as_bytes(), "{form}");
            }
        }
    }

    #[test]
    fn what_is_not_base32_is_refused_at_its_place() {
        for (text, place) in
            [("A CDEFGH", 1), ("!!!", 0), ("ABC", 3), ("A==", 1), ("AB=CDEFG", 2), ("ABCDEFG1", 7), ("ABCDEF", 6), ("ÄB", 0)]
        {
            assert_eq!(decode(text), Err(NotBase32(place)), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_secret_comes_back(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..70)) {
            let back = decode(&encode(&bytes)).unwrap();
            proptest::prop_assert_eq!(back.as_slice(), bytes.as_slice());
        }

        #[test]
        fn rubbish_never_panics(text in ".{0,40}") {
            let _ = decode(&text);
        }
    }
}
