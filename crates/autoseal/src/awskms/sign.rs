//! AWS Signature Version 4 on a question to KMS, by the crate of AWS's own SDK.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use secret::{SecretString, Time};

use super::credentials::Keys;

pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// The name KMS had first, and has on the wire.
const SERVICE: &str = "TrentService";

/// The headers that go with `body` to KMS, beside host and content type.
pub(super) fn headers(
    keys: &Keys,
    region: &str,
    url: &str,
    action: &str,
    body: &[u8],
    now: Time,
) -> Result<Vec<(String, SecretString)>, String> {
    let token = keys.session_token.as_ref().map(|t| t.expose().to_owned());
    let identity = Credentials::new(keys.access_key.expose(), keys.secret_key.expose(), token, None, "strongroom").into();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(now.unix()).unwrap_or_default());
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kms")
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|e| e.to_string())?
        .into();
    let target = format!("{SERVICE}.{action}");
    let given = [("content-type", CONTENT_TYPE), ("x-amz-target", target.as_str())];
    let request = SignableRequest::new("POST", url, given.into_iter(), SignableBody::Bytes(body));
    // Its errors are about headers, whose text stays here.
    let request = request.map_err(|_| "the request cannot be signed".to_owned())?;
    let (instructions, _) = sign(request, &params).map_err(|_| "the request cannot be signed".to_owned())?.into_parts();
    let (signed, _) = instructions.into_parts();
    let mut headers = vec![("x-amz-target".to_owned(), SecretString::from(target.as_str()))];
    headers.extend(signed.iter().map(|h| (h.name().to_owned(), SecretString::from(h.value()))));
    Ok(headers)
}
