//! The object identifiers this engine writes or looks for.

use der::asn1::ObjectIdentifier as Oid;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => { $($(#[$doc])* pub const $name: Oid = Oid::new_unwrap($text);)* };
}

oids! {
    RSA = "1.2.840.113549.1.1.1";
    RSA_PSS = "1.2.840.113549.1.1.10";
    MGF1 = "1.2.840.113549.1.1.8";
    SHA256_RSA = "1.2.840.113549.1.1.11";
    SHA384_RSA = "1.2.840.113549.1.1.12";
    SHA512_RSA = "1.2.840.113549.1.1.13";
    EC = "1.2.840.10045.2.1";
    P256 = "1.2.840.10045.3.1.7";
    P384 = "1.3.132.0.34";
    P521 = "1.3.132.0.35";
    ECDSA_SHA256 = "1.2.840.10045.4.3.2";
    ECDSA_SHA384 = "1.2.840.10045.4.3.3";
    ECDSA_SHA512 = "1.2.840.10045.4.3.4";
    ED25519 = "1.3.101.112";
    SHA256 = "2.16.840.1.101.3.4.2.1";
    SHA384 = "2.16.840.1.101.3.4.2.2";
    SHA512 = "2.16.840.1.101.3.4.2.3";

    COMMON_NAME = "2.5.4.3";
    SERIAL_NUMBER = "2.5.4.5";
    COUNTRY = "2.5.4.6";
    LOCALITY = "2.5.4.7";
    PROVINCE = "2.5.4.8";
    STREET = "2.5.4.9";
    ORGANIZATION = "2.5.4.10";
    ORGANIZATIONAL_UNIT = "2.5.4.11";
    POSTAL_CODE = "2.5.4.17";
    USER_ID = "0.9.2342.19200300.100.1.1";

    SUBJECT_KEY_ID = "2.5.29.14";
    KEY_USAGE = "2.5.29.15";
    SUBJECT_ALT_NAME = "2.5.29.17";
    BASIC_CONSTRAINTS = "2.5.29.19";
    CRL_NUMBER = "2.5.29.20";
    DELTA_CRL = "2.5.29.27";
    NAME_CONSTRAINTS = "2.5.29.30";
    CRL_DISTRIBUTION_POINTS = "2.5.29.31";
    CERTIFICATE_POLICIES = "2.5.29.32";
    AUTHORITY_KEY_ID = "2.5.29.35";
    EXT_KEY_USAGE = "2.5.29.37";
    FRESHEST_CRL = "2.5.29.46";
    AUTHORITY_INFO_ACCESS = "1.3.6.1.5.5.7.1.1";
    ACCESS_OCSP = "1.3.6.1.5.5.7.48.1";
    ACCESS_CA_ISSUERS = "1.3.6.1.5.5.7.48.2";
    POLICY_CPS = "1.3.6.1.5.5.7.2.1";
    POLICY_NOTICE = "1.3.6.1.5.5.7.2.2";
    EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
}

/// Extended key usages by the names that Go and Vault use, in lower case.
pub const EXT_KEY_USAGES: &[(&str, Oid)] = &[
    ("any", Oid::new_unwrap("2.5.29.37.0")),
    ("serverauth", Oid::new_unwrap("1.3.6.1.5.5.7.3.1")),
    ("clientauth", Oid::new_unwrap("1.3.6.1.5.5.7.3.2")),
    ("codesigning", Oid::new_unwrap("1.3.6.1.5.5.7.3.3")),
    ("emailprotection", Oid::new_unwrap("1.3.6.1.5.5.7.3.4")),
    ("ipsecendsystem", Oid::new_unwrap("1.3.6.1.5.5.7.3.5")),
    ("ipsectunnel", Oid::new_unwrap("1.3.6.1.5.5.7.3.6")),
    ("ipsecuser", Oid::new_unwrap("1.3.6.1.5.5.7.3.7")),
    ("timestamping", Oid::new_unwrap("1.3.6.1.5.5.7.3.8")),
    ("ocspsigning", Oid::new_unwrap("1.3.6.1.5.5.7.3.9")),
    ("microsoftservergatedcrypto", Oid::new_unwrap("1.3.6.1.4.1.311.10.3.3")),
    ("netscapeservergatedcrypto", Oid::new_unwrap("2.16.840.1.113730.4.1")),
    ("microsoftcommercialcodesigning", Oid::new_unwrap("1.3.6.1.4.1.311.2.1.22")),
    ("microsoftkernelcodesigning", Oid::new_unwrap("1.3.6.1.4.1.311.61.1.1")),
];

/// Key usages by name in lower case, with their bit.
pub const KEY_USAGES: &[(&str, u16)] = &[
    ("digitalsignature", 1),
    ("contentcommitment", 1 << 1),
    ("keyencipherment", 1 << 2),
    ("dataencipherment", 1 << 3),
    ("keyagreement", 1 << 4),
    ("certsign", KEY_CERT_SIGN),
    ("crlsign", CRL_SIGN),
    ("encipheronly", 1 << 7),
    ("decipheronly", 1 << 8),
];

/// The key may sign certificates.
pub const KEY_CERT_SIGN: u16 = 1 << 5;
/// The key may sign revocation lists.
pub const CRL_SIGN: u16 = 1 << 6;

/// The bits of the named usages; unknown names mean nothing, as in Vault.
#[must_use]
pub fn key_usage_bits(names: &[String]) -> u16 {
    names.iter().fold(0, |bits, name| bits | find(KEY_USAGES, name).unwrap_or(0))
}

/// The identifier of a named extended usage.
#[must_use]
pub fn ext_key_usage(name: &str) -> Option<Oid> {
    find(EXT_KEY_USAGES, name)
}

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    let name = name.trim().to_ascii_lowercase();
    table.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
}
