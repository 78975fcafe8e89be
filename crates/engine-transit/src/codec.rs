//! Texts around bytes: base64 with Go's tolerance and Go's complaints, and PEM.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Padding is needed, but bits that fall off the end may be set: what Go's `StdEncoding` takes.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

const PEM_LINE_CHARS: usize = 64;

/// Standard base64.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// The same behind what is in `out`.
pub(crate) fn encode_onto(mut out: String, bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_append(bytes, &mut out);
    out
}

/// Decodes standard base64; line breaks are skipped, as Go does. The error names the place, never the content.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    // Nearly every text is what the quick one takes, which is less than Go takes.
    if let Ok(decoded) = base64_simd::STANDARD.decode_to_vec(text) {
        return Ok(decoded);
    }
    let decoded = match LENIENT.decode(text) {
        Err(_) if text.contains(['\r', '\n']) => {
            let joined: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect());
            LENIENT.decode(joined.as_bytes())
        }
        other => other,
    };
    decoded.map_err(|e| {
        let at = match e {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}

/// URL-safe base64 without padding, as JWS has it.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Reverses [`encode_url`].
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// A PEM block with a line feed at its end.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(encode(der));
    let mut out = format!("-----BEGIN {label}-----\n");
    for (i, c) in body.chars().enumerate() {
        if i > 0 && i % PEM_LINE_CHARS == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str(&format!("\n-----END {label}-----\n"));
    out
}

/// The blocks of a PEM text: label and content. Text outside blocks is skipped, a broken block ends the list.
pub(crate) fn parse_pem(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let Some((label, after)) = after.split_once("-----") else { break };
        let Some((body, after)) = after.split_once(&format!("-----END {label}-----")) else { break };
        let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let Ok(der) = decode(&body) else { break };
        blocks.push((label.to_owned(), der));
        rest = after;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_takes_what_go_takes_and_names_the_place() {
        for (text, want) in [
            ("", Ok("")),
            ("YQ==", Ok("a")),
            ("YR==", Ok("a")),
            ("YW\nJj\r\n", Ok("abc")),
            ("YQ", Err("illegal base64 data at input byte 2")),
            ("YQ=", Err("illegal base64 data at input byte 3")),
            ("Y Q==", Err("illegal base64 data at input byte 1")),
            ("not base64!", Err("illegal base64 data at input byte 3")),
            ("_-==", Err("illegal base64 data at input byte 0")),
        ] {
            let got = decode(text);
            assert_eq!(got.as_deref().map_err(String::as_str), want.map(str::as_bytes), "{text:?}");
        }
    }

    proptest::proptest! {
        /// The quick decoder takes a part of what the lenient one takes, and reads it alike.
        #[test]
        fn both_decoders_read_alike(text in "[A-Za-z0-9+/_=\\-\n ]{0,80}|([A-Za-z0-9+/]{4}){0,40}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?") {
            if let Ok(quick) = base64_simd::STANDARD.decode_to_vec(&text) {
                proptest::prop_assert_eq!(LENIENT.decode(&text).unwrap(), quick);
            }
        }

        #[test]
        fn what_is_encoded_comes_back(bytes: Vec<u8>) {
            let text = encode(&bytes);
            proptest::prop_assert_eq!(decode(&text).unwrap(), bytes.clone());
            proptest::prop_assert_eq!(encode_onto("vault:v1:".to_owned(), &bytes), format!("vault:v1:{text}"));
        }
    }

    #[test]
    fn pem_goes_both_ways_and_broken_blocks_are_not_blocks() {
        let der: Vec<u8> = (0..200).collect();
        let text = pem("PUBLIC KEY", &der);
        assert!(text.lines().all(|l| l.len() <= 64) && text.ends_with("-----END PUBLIC KEY-----\n"));
        assert_eq!(
            parse_pem(&format!("junk\n{text}{text}")),
            vec![("PUBLIC KEY".to_owned(), der); 2].iter().map(|(l, d)| (l.clone(), d.clone())).collect::<Vec<_>>()
        );
        for broken in
            ["", "-----BEGIN A-----", "-----BEGIN A-----\n!!\n-----END A-----", "-----BEGIN A-----\nYQ==\n-----END B-----"]
        {
            assert!(parse_pem(broken).is_empty(), "{broken}");
        }
    }
}
