//! `random/` and `hash/`: no key is involved.

use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;

use super::sign::hash_name;
use crate::Transit;
use crate::codec;
use crate::crypto::hash::Hash;
use crate::limits::{RANDOM_DEFAULT_BYTES, RANDOM_MAX_BYTES};

const SOURCES: [&str; 3] = ["platform", "seal", "all"];

/// `random[/<source>][/<bytes>]`. One segment that names no source is the number; one that is no name at all is ignored.
pub(super) fn random(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let path = call.fields.str("urlbytes");
    let (first, second) = path.split_once('/').unwrap_or((path, ""));
    let in_body = call.fields.int("bytes").unwrap_or(RANDOM_DEFAULT_BYTES);
    let is_name = first.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let (source, bytes) = match (SOURCES.contains(&first), second) {
        _ if !is_name => ("platform", in_body),
        (true, "") => (first, in_body),
        (false, "") => ("platform", number(first)?),
        (_, count) => (first, number(count)?),
    };
    if bytes < 1 {
        return Err(EngineError::invalid("\"bytes\" cannot be less than 1"));
    }
    if bytes > RANDOM_MAX_BYTES {
        return Err(EngineError::Invalid(format!("\"bytes\" should be less than {RANDOM_MAX_BYTES}")));
    }
    let format = format(call, "base64", |f| format!("{f:?}"))?;
    if !SOURCES.contains(&source) {
        let text = format!("unsupported entropy source {source:?}; must be \"platform\" or \"seal\", or \"all\"");
        return Err(EngineError::Invalid(text));
    }
    let random = call.entropy.bytes(usize::try_from(bytes).unwrap_or(0))?;
    let mut response = Response::json(json!({ "random_bytes": format.encode(&random) }));
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

/// Hashes the input.
pub(super) fn hash(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let input = call.fields.text("input").ok_or_else(|| EngineError::invalid("input missing"))?;
    let input = codec::decode(input).map_err(|e| EngineError::Invalid(format!("unable to decode input as base64: {e}")))?;
    let format = format(call, "hex", str::to_owned)?;
    let name = hash_name(&call.fields);
    // SHA-1 is for signatures of old clients; nobody needs it here.
    let hash = Hash::parse(name)
        .filter(|h| !matches!(h, Hash::None | Hash::Sha1))
        .ok_or_else(|| EngineError::Invalid(format!("unsupported algorithm {name}")))?;
    Ok(Some(Response::json(json!({ "sum": format.encode(&hash.of(&[&input])) }))))
}

enum Format {
    Hex,
    Base64,
}

impl Format {
    fn encode(&self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => codec::encode(bytes),
        }
    }
}

fn format(call: &Call<'_>, default: &str, quote: fn(&str) -> String) -> Result<Format, EngineError> {
    match call.fields.text("format").unwrap_or(default) {
        "hex" => Ok(Format::Hex),
        "base64" => Ok(Format::Base64),
        other => {
            let text = format!("unsupported encoding format {}; must be \"hex\" or \"base64\"", quote(other));
            Err(EngineError::Invalid(text))
        }
    }
}

fn number(text: &str) -> Result<i64, EngineError> {
    text.parse().map_err(|_| {
        EngineError::Invalid(format!("error parsing url-set byte count: strconv.Atoi: parsing {text:?}: invalid syntax"))
    })
}
