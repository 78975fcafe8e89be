//! OpenPGP public keys as the server wants them: base64 of the binary form. Nothing is checked here; the server does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::exit::Failure;

const ARMOR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// Reads the key files of a repeatable flag.
pub(super) fn load(words: &[String]) -> Result<Vec<String>, Failure> {
    words.iter().flat_map(|w| w.split(',')).map(str::trim).filter(|w| !w.is_empty()).map(one).collect()
}

fn one(word: &str) -> Result<String, Failure> {
    if word.starts_with("keybase:") {
        return Err(Failure::Local(format!("{word}: keys are not fetched from keybase; give a file")));
    }
    let path = word.strip_prefix('@').unwrap_or(word);
    let bytes = std::fs::read(path).map_err(|e| Failure::Local(format!("open {path}: {}", crate::kv_pairs::go_words(&e))))?;
    encode(&bytes).ok_or_else(|| Failure::Local(format!("{path}: not an OpenPGP public key")))
}

/// Armored, binary or already base64.
fn encode(bytes: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some(STANDARD.encode(bytes)) };
    let text = text.trim();
    if let Some(armored) = text.strip_prefix(ARMOR) {
        // Headers end with an empty line; the checksum line starts with "=".
        let mut lines = armored.lines().map(str::trim).skip(1).peekable();
        while lines.peek().is_some_and(|l| l.contains(": ")) {
            lines.next();
        }
        let body: String = lines.take_while(|l| !l.starts_with(['=', '-'])).collect();
        let binary = STANDARD.decode(body).ok().filter(|b| !b.is_empty())?;
        return Some(STANDARD.encode(binary));
    }
    STANDARD.decode(text).ok().filter(|b| !b.is_empty()).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_forms_of_one_key() {
        let armored =
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\nAQID\nBA==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        let plain = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAQID\nBA==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        for key in [armored.as_bytes(), plain.as_bytes(), b"AQIDBA==\n"] {
            assert_eq!(encode(key).as_deref(), Some("AQIDBA=="));
        }
        assert_eq!(encode(&[0x99, 0xff]), Some("mf8=".to_owned()));
        for wrong in ["", "hello!", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END"] {
            assert_eq!(encode(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(load(&["keybase:x".to_owned()]).is_err() && load(&["/nowhere".to_owned()]).is_err());
    }
}
