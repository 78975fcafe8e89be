//! Ed25519. A key is kept as Go keeps it: the seed and the public key, 64 bytes.

use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::der;
use crate::fault::Fault;

/// Bytes of a seed and of a public key.
pub(crate) const HALF_BYTES: usize = 32;

/// Seed and public key side by side.
pub(crate) fn expand(seed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| Fault::server("unusable Ed25519 seed"))?;
    let mut key = Zeroizing::new(Vec::with_capacity(2 * HALF_BYTES));
    key.extend_from_slice(seed);
    key.extend_from_slice(pair.public_key().as_ref());
    Ok(key)
}

/// Prepares a key from seed and public key.
pub(crate) fn prepare(key: &[u8]) -> Result<Ed25519KeyPair, Fault> {
    let (seed, public) = key.split_at_checked(HALF_BYTES).ok_or_else(|| Fault::server("stored key is not consistent"))?;
    Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| Fault::server("stored key is not consistent"))
}

/// Whether the signature is good.
pub(crate) fn verify(public: &[u8], input: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(input, signature).is_ok()
}

/// Seed and public key out of a PKCS#8 document of either version.
pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
        .map_err(|_| Fault::server("error parsing asymmetric key: expected a PKCS#8 Ed25519 key"))?;
    expand(pair.seed()?.as_be_bytes()?.as_ref())
}

/// SubjectPublicKeyInfo.
pub(crate) fn public_der(public: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::sequence(&[&der::value(der::OBJECT_ID, der::OID_ED25519)]), &der::bit_string(public)])
}

/// PKCS#8 PrivateKeyInfo, version 1.
pub(crate) fn pkcs8(seed: &[u8]) -> Zeroizing<Vec<u8>> {
    let inner = Zeroizing::new(der::value(der::OCTET_STRING, &Zeroizing::new(der::value(der::OCTET_STRING, seed))));
    let algorithm = der::sequence(&[&der::value(der::OBJECT_ID, der::OID_ED25519)]);
    Zeroizing::new(der::sequence(&[&der::integer(&[]), &algorithm, &inner]))
}

/// The key of a SubjectPublicKeyInfo.
pub(crate) fn public_of(spki: &[u8]) -> Option<Vec<u8>> {
    let (algorithm, parameters, key) = der::public_key_parts(spki)?;
    (algorithm == der::OID_ED25519 && parameters.is_empty() && key.len() == HALF_BYTES).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_test_2() {
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = expand(&seed).unwrap();
        assert_eq!(hex::encode(&key[32..]), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = prepare(&key).unwrap().sign(&[0x72]);
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(verify(&key[32..], &[0x72], signature.as_ref()));
        for (public, input, bad) in [
            (&key[32..], &[0x73][..], signature.as_ref()),
            (&key[..32], &[0x72], signature.as_ref()),
            (&key[32..], &[0x72], b"short"),
        ] {
            assert!(!verify(public, input, bad));
        }
    }

    #[test]
    fn documents_read_back() {
        let key = expand(&[9; 32]).unwrap();
        assert_eq!(from_pkcs8(&pkcs8(&[9; 32])).unwrap(), key);
        assert_eq!(public_of(&public_der(&key[32..])).unwrap(), &key[32..]);
        assert!(from_pkcs8(&key).is_err());
        assert!(public_of(&key).is_none());
        assert!(prepare(&key[..40]).is_err());
    }
}
