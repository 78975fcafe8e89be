//! PEM (RFC 7468), written strictly and read kindly: text around blocks, CRLF and missing last newlines are common in what
//! people paste. A broken block is an error, not something to skip.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::limits::PEM_BYTES;

/// Label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// Label of a certificate request.
pub const REQUEST: &str = "CERTIFICATE REQUEST";
/// Label of a revocation list.
pub const CRL: &str = "X509 CRL";
/// Characters in a line.
const LINE_CHARS: usize = 64;

/// One block.
pub struct Block {
    /// What stands after `BEGIN`.
    pub label: String,
    /// The content; it may be a private key.
    pub der: Zeroizing<Vec<u8>>,
}

/// Why text is not PEM.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PemError {
    /// No block at all.
    #[error("no data found in PEM block")]
    Nothing,
    /// A block that begins and does not end, or whose content is not Base64.
    #[error("a PEM block is broken")]
    Broken,
    /// More than anyone needs.
    #[error("too much PEM data")]
    TooLong,
}

/// A block as text, without a newline at its end.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = format!("-----BEGIN {label}-----\n");
    for (i, c) in text.chars().enumerate() {
        if i > 0 && i % LINE_CHARS == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str(&format!("\n-----END {label}-----"));
    out
}

/// All blocks of a text, at least one.
pub fn decode(text: &str) -> Result<Vec<Block>, PemError> {
    if text.len() > PEM_BYTES {
        return Err(PemError::TooLong);
    }
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(PemError::Broken)?;
        let end = format!("-----END {label}-----");
        let (body, after) = after.split_once(end.as_str()).ok_or(PemError::Broken)?;
        let bare: Zeroizing<String> = Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let der = STANDARD.decode(bare.as_bytes()).map_err(|_| PemError::Broken)?;
        blocks.push(Block { label: label.to_owned(), der: Zeroizing::new(der) });
        rest = after;
    }
    if blocks.is_empty() { Err(PemError::Nothing) } else { Ok(blocks) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_whatever_is_around_them() {
        let text = format!("# first\r\n{}\r\nnote\n{}", encode("A", &[7; 100]).replace('\n', "\r\n"), encode("B C", b""));
        let blocks = decode(&text).unwrap();
        assert_eq!(blocks.iter().map(|b| (b.label.as_str(), b.der.len())).collect::<Vec<_>>(), [("A", 100), ("B C", 0)]);
    }

    #[test]
    fn lines_have_64_characters_and_no_newline_ends_the_text() {
        let text = encode("A", &[1; 96]);
        assert!(text.lines().skip(1).take(2).all(|l| l.len() == 64), "{text}");
        assert!(!text.ends_with('\n'));
    }

    #[test]
    fn what_is_not_pem_is_refused() {
        for (text, want) in [
            ("", PemError::Nothing),
            ("certificate", PemError::Nothing),
            ("-----BEGIN A-----\nAAAA", PemError::Broken),
            ("-----BEGIN A", PemError::Broken),
            ("-----BEGIN A-----\nAAAA\n-----END B-----", PemError::Broken),
            ("-----BEGIN A-----\n????\n-----END A-----", PemError::Broken),
        ] {
            assert_eq!(decode(text).err(), Some(want), "{text}");
        }
        assert_eq!(decode(&"x".repeat(PEM_BYTES + 1)).err(), Some(PemError::TooLong));
    }
}
