//! What the routes do. `key/<name>` holds the key, `used/<name>` the time steps whose codes were accepted.

use api_types::Map;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;
use storage::Page;

use crate::code::{UsedSteps, Verdict};
use crate::key::Key;
use crate::{Totp, barcode, otpauth};

/// Pixels of the QR code unless asked otherwise.
const QR_PIXELS_DEFAULT: i64 = 200;

pub fn list(_: &Totp, call: &mut Call<'_>) -> Outcome {
    let after = call.fields.text("after").filter(|a| !a.is_empty()).map(str::to_owned);
    let limit = call.fields.int("limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    Ok(Some(Response::list(call.view.list("key/", &Page { after, limit })?)))
}

pub fn read(_: &Totp, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    let Some(key) = call.view.get_json::<Key>(&format!("key/{name}"))? else { return Ok(None) };
    Ok(Some(Response::json(json!({
        "issuer": key.issuer,
        "account_name": key.account_name,
        "period": key.period,
        "algorithm": key.algorithm,
        "digits": key.digits,
    }))))
}

pub fn delete(_: &Totp, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    call.view.delete(&format!("key/{name}"))?;
    call.view.delete(&format!("used/{name}"))?;
    Ok(None)
}

pub fn write(_: &Totp, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    let qr_pixels = call.fields.int("qr_size").unwrap_or(QR_PIXELS_DEFAULT);
    if qr_pixels < 0 {
        return Err(EngineError::invalid("the qr_size value must be greater than or equal to zero"));
    }
    let key = Key::from_fields(&call.fields, call.entropy)?;
    let shown = call.fields.bool("generate").unwrap_or(false) && call.fields.bool("exported").unwrap_or(true);
    let answer = if shown { Some(Response::data(exported(&key, qr_pixels)?)) } else { None };
    let path = format!("key/{name}");
    // Writing the same secret again must not make its used codes good again.
    if call.view.get_json::<Key>(&path)?.is_some_and(|old| old.secret != key.secret || old.period != key.period) {
        call.view.delete(&format!("used/{name}"))?;
    }
    call.view.put_json(&path, &key)?;
    Ok(answer)
}

fn exported(key: &Key, qr_pixels: i64) -> Result<Map, EngineError> {
    let url = otpauth::write(key);
    let mut data = Map::new();
    data.insert("url".into(), url.as_str().into());
    if qr_pixels > 0 {
        let picture = barcode::png(&url, u32::try_from(qr_pixels).unwrap_or(u32::MAX))
            .map_err(|e| EngineError::Internal(format!("failed to generate QR code image: {e}")))?;
        data.insert("barcode".into(), BASE64_STANDARD.encode(picture).into());
    }
    Ok(data)
}

pub fn code(_: &Totp, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    let key = known(call, &name)?;
    let scheme = key.scheme();
    let code = scheme.code(&key.bytes()?, scheme.step(call.now));
    Ok(Some(Response::json(json!({ "code": code }))))
}

pub fn check(_: &Totp, call: &mut Call<'_>) -> Outcome {
    let name = name(call)?;
    if call.fields.str("code").is_empty() {
        return Err(EngineError::invalid("the code value is required"));
    }
    let key = known(call, &name)?;
    let path = format!("used/{name}");
    let used = call.view.get_json::<UsedSteps>(&path)?.unwrap_or_default();
    match used.check(&key.scheme(), &key.bytes()?, call.fields.str("code"), call.now) {
        Verdict::Wrong => Ok(Some(Response::json(json!({ "valid": false })))),
        Verdict::Used => Err(EngineError::invalid("code already used; wait until the next time period")),
        Verdict::Right(used) => {
            call.view.put_json(&path, &used)?;
            Ok(Some(Response::json(json!({ "valid": true }))))
        }
    }
}

fn known(call: &mut Call<'_>, name: &str) -> Result<std::sync::Arc<Key>, EngineError> {
    call.view.get_json::<Key>(&format!("key/{name}"))?.ok_or_else(|| EngineError::Invalid(format!("unknown key: {name}")))
}

/// The name in the path: word characters, and inside also `.`, `-` and `@`. Anything else is no path of this engine.
fn name(call: &Call<'_>) -> Result<String, EngineError> {
    let name = call.fields.str("name");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || matches!(c, '-' | '.' | '@'));
    if good { Ok(name.to_owned()) } else { Err(EngineError::UnsupportedPath) }
}
