//! `sys/tools/*` and `sys/decode-token`: small helpers that store nothing.

use api_types::Operation;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::json;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use sha3::{Sha3_224, Sha3_256, Sha3_384, Sha3_512};

use super::SystemEngine;

/// Most random bytes in one answer: 128 KiB, Vault's bound.
const RANDOM_MAX_BYTES: i64 = 128 * 1024;
/// Random bytes when nobody says how many.
const RANDOM_DEFAULT_BYTES: i64 = 32;

const HASH: &[Field] = &[
    Field::new("input", FieldKind::String, "The data, in base64."),
    Field::new("algorithm", FieldKind::String, "sha2-224, sha2-256 (default), sha2-384, sha2-512, sha3-224 and so on."),
    Field::new("urlalgorithm", FieldKind::String, "The algorithm, in the path."),
    Field::new("format", FieldKind::String, "hex (default) or base64."),
];

const RANDOM: &[Field] = &[
    Field::new("source", FieldKind::String, "platform (default), seal or all; only in the path."),
    Field::new("urlbytes", FieldKind::String, "How many bytes, in the path."),
    Field::new("bytes", FieldKind::Int, "How many bytes; 32 by default."),
    Field::new("format", FieldKind::String, "base64 (default) or hex."),
];

const DECODE: &[Field] = &[
    Field::new("encoded_token", FieldKind::String, "The token as generate-root gave it out."),
    Field::new("otp", FieldKind::String, "The one-time password it was encoded with."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    let random_text = "Gives out random bytes.";
    vec![
        Route::new("tools/hash", HASH, "Hashes data.").on(Operation::Update, "Hash.", hash),
        Route::new("tools/hash/{urlalgorithm...}", HASH, "Hashes data.").on(Operation::Update, "Hash.", hash),
        Route::new("tools/random", RANDOM, random_text).on(Operation::Update, "Give out random bytes.", random),
        Route::new("tools/random/{urlbytes...}", RANDOM, random_text).on(Operation::Update, "Give out random bytes.", random),
        Route::new("decode-token", DECODE, "Decodes a token of generate-root.").on(Operation::Update, "Decode.", decode_token),
    ]
}

fn hash(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let fields = &call.fields;
    let input = BASE64_STANDARD
        .decode(fields.str("input"))
        .map_err(|e| EngineError::Invalid(format!("unable to decode input as base64: {e}")))?;
    let format = fields.text("format").unwrap_or("hex");
    if !matches!(format, "hex" | "base64") {
        return Err(EngineError::Invalid(format!("unsupported encoding format {format}; must be \"hex\" or \"base64\"")));
    }
    let in_path = fields.text("urlalgorithm").filter(|a| !a.is_empty());
    let algorithm = in_path.or_else(|| fields.text("algorithm")).unwrap_or("sha2-256");
    let sum = match algorithm {
        "sha2-224" => Sha224::digest(&input).to_vec(),
        "sha2-256" => Sha256::digest(&input).to_vec(),
        "sha2-384" => Sha384::digest(&input).to_vec(),
        "sha2-512" => Sha512::digest(&input).to_vec(),
        "sha3-224" => Sha3_224::digest(&input).to_vec(),
        "sha3-256" => Sha3_256::digest(&input).to_vec(),
        "sha3-384" => Sha3_384::digest(&input).to_vec(),
        "sha3-512" => Sha3_512::digest(&input).to_vec(),
        other => return Err(EngineError::Invalid(format!("unsupported algorithm {other}"))),
    };
    Ok(Some(Response::json(json!({ "sum": encode(&sum, format) }))))
}

/// `tools/random[/<source>][/<bytes>]`: policies can thus speak of both. One segment that names no source is the number; a
/// segment that is no name at all (`-1`) is neither, and the body decides.
fn random(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let rest = call.path.strip_prefix("tools/random/").unwrap_or_default();
    let (first, second) = rest.split_once('/').unwrap_or((rest, ""));
    let body = call.fields.int("bytes").unwrap_or(RANDOM_DEFAULT_BYTES);
    let number = |text: &str| {
        text.parse::<i64>()
            .map_err(|e| EngineError::Invalid(format!("error parsing url-set byte count: strconv.Atoi: parsing {text:?}: {e}")))
    };
    let (source, bytes) = match (first, second) {
        ("", _) => ("platform", body),
        (name, _) if !is_name(name) => ("platform", body),
        (source @ ("platform" | "seal" | "all"), "") => (source, body),
        (count, "") => ("platform", number(count)?),
        (source, count) => (source, number(count)?),
    };
    if bytes < 1 {
        return Err(EngineError::invalid("\"bytes\" cannot be less than 1"));
    }
    if bytes > RANDOM_MAX_BYTES {
        return Err(EngineError::Invalid(format!("\"bytes\" should be less than {RANDOM_MAX_BYTES}")));
    }
    let format = call.fields.text("format").unwrap_or("base64");
    if !matches!(format, "hex" | "base64") {
        return Err(EngineError::Invalid(format!("unsupported encoding format {format:?}; must be \"hex\" or \"base64\"")));
    }
    if !matches!(source, "platform" | "seal" | "all") {
        let text = format!("unsupported entropy source {source:?}; must be \"platform\" or \"seal\", or \"all\"");
        return Err(EngineError::Invalid(text));
    }
    let random = call.entropy.bytes(usize::try_from(bytes).unwrap_or(0))?;
    let mut response = Response::json(json!({ "random_bytes": encode(&random, format) }));
    if source == "seal" {
        response = response.with_warning("no seal/entropy augmentation available, using platform entropy source");
    }
    if call.request.data.contains_key("source") {
        response = response.with_warning(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [source]",
        );
    }
    Ok(Some(response))
}

/// Undoes the one-time pad of generate-root. The texts are Vault's, and so is the status: its client's mistakes are errors here.
fn decode_token(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let refused = |text: String| EngineError::Internal(text);
    let token = BASE64_STANDARD_NO_PAD
        .decode(call.fields.str("encoded_token"))
        .map_err(|e| refused(format!("error decoding base64'd token: {e}")))?;
    let otp = call.fields.str("otp").as_bytes();
    for (part, name) in [(token.as_slice(), "first"), (otp, "second")] {
        if part.is_empty() {
            return Err(refused(format!("error xoring token: decoded {name} base64 value is nil or empty")));
        }
    }
    if token.len() != otp.len() {
        let (a, b) = (token.len(), otp.len());
        return Err(refused(format!("error xoring token: length of byte slices is not equivalent: {a} != {b}")));
    }
    let plain: Vec<u8> = token.iter().zip(otp).map(|(a, b)| a ^ b).collect();
    Ok(Some(Response::json(json!({ "token": String::from_utf8_lossy(&plain) }))))
}

fn encode(bytes: &[u8], format: &str) -> String {
    if format == "hex" { hex::encode(bytes) } else { BASE64_STANDARD.encode(bytes) }
}

/// What Vault's path pattern takes for a name: word characters, with `-` and `.` inside.
fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word) && text.ends_with(word) && text.chars().all(|c| word(c) || matches!(c, '-' | '.'))
}
