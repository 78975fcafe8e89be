//! Any token, key set, PEM: no panic, and nothing verifies that this key did not sign.

use std::sync::LazyLock;

use jose::{Jwk, JwkSet, Jws, PublicKey};

/// The public key of RFC 7515 appendix A.3; its private half signs nothing here.
static KEY: LazyLock<JwkSet> = LazyLock::new(|| {
    let text = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    JwkSet::parse(text.as_bytes()).expect("a known key set")
});

pub fn run((token, document): (&str, &[u8])) {
    if let Ok(jws) = Jws::parse(token) {
        let _ = (jws.algorithm(), jws.key_id(), jws.typ(), jws.unverified_claims());
        assert!(KEY.verify(&jws).is_err());
    }
    if let Ok(set) = JwkSet::parse(document) {
        let again = JwkSet::parse(set.to_json().to_string().as_bytes()).expect("a written set parses");
        assert_eq!(again.to_json(), set.to_json());
    }
    if let Ok(value) = serde_json::from_slice(document)
        && let Ok(key) = Jwk::from_json(&value)
    {
        let _ = key.key.thumbprint();
    }
    if let Ok(text) = std::str::from_utf8(document) {
        let _ = PublicKey::from_pem(text);
    }
    let _ = (PublicKey::from_spki(document), PublicKey::from_certificate(document));
}
