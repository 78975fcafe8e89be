//! The declared fields of every path.

use engine::Field;
use engine::FieldKind as Kind;

const NAME: Field = Field::new("name", Kind::String, "The name of the key.");
const CONTEXT: Field = Field::new("context", Kind::String, "Base64 of the context, for derived keys.");
const NONCE: Field = Field::new("nonce", Kind::String, "Base64 of a nonce; only for convergent keys made before Vault 0.6.2.");
const KEY_VERSION: Field = Field::new("key_version", Kind::Int, "The version to use; the latest if absent or 0.");
const AAD: Field = Field::new("associated_data", Kind::String, "Base64 of data to authenticate with the message.");
const PADDING: Field = Field::new("padding_scheme", Kind::String, "For RSA: oaep (default) or pkcs1v15.");
const BATCH: Field = Field::new("batch_input", Kind::Any, "A list of inputs, instead of one.");
const INPUT: Field = Field::new("input", Kind::String, "Base64 of the input.");
const URL_ALGORITHM: Field = Field::new("urlalgorithm", Kind::String, "The hash algorithm, in the path.");
const ALGORITHM: Field = Field::new("algorithm", Kind::String, "The hash algorithm.");
const FORMAT: Field = Field::new("format", Kind::String, "How the answer is encoded.");
const PARTIAL: Field =
    Field::new("partial_failure_response_code", Kind::Int, "The HTTP status when only some of a batch failed.");
const TYPE: Field = Field::new("type", Kind::String, "The type of the key; aes256-gcm96 by default.");
const DERIVED: Field = Field::new("derived", Kind::Bool, "Each use needs a context, from which its key is derived.");
const EXPORTABLE: Field = Field::new("exportable", Kind::Bool, "The key may be exported; cannot be taken back.");
const PLAINTEXT_BACKUP: Field =
    Field::new("allow_plaintext_backup", Kind::Bool, "The key may be backed up in plaintext; cannot be taken back.");
const AUTO_ROTATE: Field =
    Field::new("auto_rotate_period", Kind::DurationSecond, "Rotate after this long; 0 switches it off, else at least 1 hour.");
const CONVERGENT: Field =
    Field::new("convergent_encryption", Kind::Bool, "The same context and plaintext give the same ciphertext.");
const VERSION: Field = Field::new("version", Kind::String, "The version; all if absent, or latest.");
const CIPHERTEXT: Field = Field::new("ciphertext", Kind::String, "The ciphertext.");
const PLAINTEXT: Field = Field::new("plaintext", Kind::String, "Base64 of the plaintext.");
const HASH_FUNCTION: Field =
    Field::new("hash_function", Kind::String, "The hash inside OAEP of the wrapping: SHA1, SHA256 (default), SHA384, SHA512.");
const PUBLIC_KEY: Field = Field::new("public_key", Kind::String, "PEM of a public key, to import that alone.");

pub(super) const NAME_ONLY: &[Field] = &[NAME];
pub(super) const LISTING: &[Field] = &[
    Field::new("after", Kind::String, "List only names after this one."),
    Field::new("limit", Kind::Int, "List at most this many names."),
];
pub(super) const KEY: &[Field] = &[
    NAME,
    TYPE,
    DERIVED,
    CONVERGENT,
    EXPORTABLE,
    PLAINTEXT_BACKUP,
    CONTEXT,
    AUTO_ROTATE,
    Field::new("key_size", Kind::Int, "Bytes of an HMAC key."),
    Field::new("parameter_set", Kind::String, "For key types that are not offered here."),
    Field::new("hybrid_key_type_pqc", Kind::String, "For key types that are not offered here."),
    Field::new("hybrid_key_type_ec", Kind::String, "For key types that are not offered here."),
    Field::new("managed_key_name", Kind::String, "For key types that are not offered here."),
    Field::new("managed_key_id", Kind::String, "For key types that are not offered here."),
];
pub(super) const CONFIG: &[Field] = &[
    NAME,
    Field::new("min_decryption_version", Kind::Int, "The oldest version that decrypts and verifies."),
    Field::new("min_encryption_version", Kind::Int, "The oldest version that encrypts and signs; 0 is the latest only."),
    Field::new("deletion_allowed", Kind::Bool, "The key may be removed."),
    EXPORTABLE,
    PLAINTEXT_BACKUP,
    AUTO_ROTATE,
];
pub(super) const TRIM: &[Field] =
    &[NAME, Field::new("min_available_version", Kind::Int, "Versions below this one are removed for good.")];
pub(super) const IMPORT: &[Field] = &[
    NAME,
    TYPE,
    CIPHERTEXT,
    HASH_FUNCTION,
    PUBLIC_KEY,
    DERIVED,
    EXPORTABLE,
    PLAINTEXT_BACKUP,
    CONTEXT,
    AUTO_ROTATE,
    Field::new("allow_rotation", Kind::Bool, "The imported key may be rotated here."),
];
pub(super) const IMPORT_VERSION: &[Field] = &[
    NAME,
    CIPHERTEXT,
    HASH_FUNCTION,
    PUBLIC_KEY,
    Field::new("version", Kind::Int, "The version whose private half is brought; a new one if absent."),
];
pub(super) const CSR: &[Field] = &[
    NAME,
    Field::new("version", Kind::Int, "The version; the latest if absent."),
    Field::new("csr", Kind::String, "PEM of a request whose names and extensions are taken over."),
];
pub(super) const CHAIN: &[Field] = &[
    NAME,
    Field::new("version", Kind::Int, "The version; the latest if absent."),
    Field::new("certificate_chain", Kind::String, "PEM of the certificates, leaf first."),
];
pub(super) const EXPORT: &[Field] = &[
    NAME,
    Field::new("type", Kind::String, "encryption-key, signing-key, hmac-key, public-key or certificate-chain."),
    VERSION,
    FORMAT,
];
pub(super) const BYOK: &[Field] = &[
    Field::new("destination", Kind::String, "The RSA key to wrap with."),
    Field::new("source", Kind::String, "The key to wrap."),
    VERSION,
    Field::new("hash", Kind::String, "The hash inside OAEP: SHA1, SHA256 (default), SHA384, SHA512."),
];
pub(super) const RESTORE: &[Field] = &[
    Field::new("name", Kind::String, "The name of the restored key; the old one if absent."),
    Field::new("backup", Kind::String, "The backup."),
    Field::new("force", Kind::Bool, "Replace a key of that name."),
];
pub(super) const ENCRYPT: &[Field] =
    &[NAME, PLAINTEXT, CONTEXT, NONCE, KEY_VERSION, AAD, PADDING, TYPE, CONVERGENT, BATCH, PARTIAL];
pub(super) const DECRYPT: &[Field] = &[NAME, CIPHERTEXT, CONTEXT, NONCE, AAD, PADDING, BATCH, PARTIAL];
pub(super) const REWRAP: &[Field] = &[
    NAME,
    CIPHERTEXT,
    CONTEXT,
    NONCE,
    KEY_VERSION,
    Field::new("decrypt_padding_scheme", Kind::String, "For RSA: the padding of the old ciphertext."),
    Field::new("encrypt_padding_scheme", Kind::String, "For RSA: the padding of the new ciphertext."),
    BATCH,
];
pub(super) const DATAKEY: &[Field] = &[
    Field::new("plaintext", Kind::String, "plaintext shows the key, wrapped does not."),
    NAME,
    CONTEXT,
    NONCE,
    AAD,
    PADDING,
    Field::new("bits", Kind::Int, "128, 256 (default) or 512."),
];
pub(super) const SIGN: &[Field] = &[
    NAME,
    INPUT,
    CONTEXT,
    KEY_VERSION,
    URL_ALGORITHM,
    ALGORITHM,
    Field::new("hash_algorithm", Kind::String, "The hash algorithm; sha2-256 by default."),
    Field::new("prehashed", Kind::Bool, "The input is a hash already."),
    Field::new("signature_algorithm", Kind::String, "For RSA: pss (default) or pkcs1v15."),
    Field::new("marshaling_algorithm", Kind::String, "asn1 (default) or jws."),
    Field::new("salt_length", Kind::String, "For RSA PSS: auto (default), hash or a number of bytes."),
    BATCH,
];
pub(super) const VERIFY: &[Field] = &[
    NAME,
    INPUT,
    CONTEXT,
    URL_ALGORITHM,
    ALGORITHM,
    Field::new("signature", Kind::String, "The signature."),
    Field::new("hmac", Kind::String, "The HMAC."),
    Field::new("cmac", Kind::String, "A CMAC; no key type here makes any."),
    Field::new("hash_algorithm", Kind::String, "The hash algorithm; sha2-256 by default."),
    Field::new("prehashed", Kind::Bool, "The input is a hash already."),
    Field::new("signature_algorithm", Kind::String, "For RSA: pss (default) or pkcs1v15."),
    Field::new("marshaling_algorithm", Kind::String, "asn1 (default) or jws."),
    Field::new("salt_length", Kind::String, "For RSA PSS: auto (default), hash or a number of bytes."),
    BATCH,
];
pub(super) const HMAC: &[Field] = &[NAME, INPUT, KEY_VERSION, URL_ALGORITHM, ALGORITHM, BATCH];
pub(super) const RANDOM: &[Field] = &[
    Field::new("urlbytes", Kind::String, "The number of bytes, in the path."),
    Field::new("bytes", Kind::Int, "The number of bytes; 32 by default."),
    Field::new("source", Kind::String, "Where they come from: platform (default), seal or all."),
    FORMAT,
];
pub(super) const HASH: &[Field] = &[INPUT, URL_ALGORITHM, ALGORITHM, FORMAT];
pub(super) const KEYS_CONFIG: &[Field] =
    &[Field::new("disable_upsert", Kind::Bool, "Encrypting with an unknown name does not make a key.")];
pub(super) const CACHE: &[Field] = &[Field::new("size", Kind::Int, "Entries; 0 is unlimited.")];
