//! The body of a request: bounded, checked, and only then parsed.

use api_types::{Map, Operation};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits::Limits;
use crate::{json_limits, request};

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("http: request body too large")]
    TooLarge,
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("overloaded, try again later")]
    NoRoom,
    #[error("the body could not be read")]
    Broken,
    #[error("{0}")]
    Limit(#[from] json_limits::JsonLimit),
    #[error("{0}")]
    Json(String),
    #[error("{0}")]
    MediaType(String),
}

/// Reads the whole body within the listener's bounds.
pub(crate) async fn read<B>(head: &HeaderMap, body: B, limits: &Limits) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let declared = declared(head);
    if declared.is_some_and(|n| n > limits.max_request_bytes) {
        return Err(BodyError::TooLarge);
    }
    let bound = usize::try_from(limits.max_request_bytes).unwrap_or(usize::MAX);
    match tokio::time::timeout(limits.read_timeout, Limited::new(body, bound).collect()).await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

/// Bytes of a refused body that are read all the same: closing a connection on a client that is still sending can take the answer
/// from it. Go's servers do the same with the same bound.
const DRAIN_BYTES: u64 = 256 << 10;
/// For no longer than that.
const DRAIN_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// Reads a small body and forgets it.
pub(crate) async fn drain<B>(head: &HeaderMap, body: B)
where
    B: Body<Data = Bytes> + Send,
{
    if body.is_end_stream() || declared(head).is_none_or(|n| n > DRAIN_BYTES) {
        return;
    }
    let mut body = std::pin::pin!(body);
    let _ = tokio::time::timeout(DRAIN_TIME, async { while let Some(Ok(_)) = body.frame().await {} }).await;
}

fn declared(head: &HeaderMap) -> Option<u64> {
    head.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|t| t.parse().ok())
}

/// Room for large bodies, in KiB, over all connections: bodies are read before anybody is asked who sends them, so without a
/// bound on their sum ten thousand strangers could each make the server hold 32 MiB.
pub(crate) struct Room(Semaphore);

/// Bodies up to this size need no room: the bound on connections bounds their sum.
const SMALL_BYTES: u64 = 64 << 10;
/// 256 MiB.
const ROOM_KIB: u32 = 256 << 10;

impl Room {
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(ROOM_KIB as usize))
    }

    /// Waits for the room that this request's body may need; it is given back when the answer is made. A body of undeclared length
    /// may become as large as any.
    pub(crate) async fn take<B: Body>(
        &self,
        head: &HeaderMap,
        body: &B,
        limits: &Limits,
    ) -> Result<Option<SemaphorePermit<'_>>, BodyError> {
        if body.is_end_stream() || declared(head).is_some_and(|n| n <= SMALL_BYTES) {
            return Ok(None);
        }
        let bytes = declared(head).unwrap_or(limits.max_request_bytes).min(limits.max_request_bytes);
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        match tokio::time::timeout(limits.read_timeout, self.0.acquire_many(kib)).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(BodyError::NoRoom),
        }
    }
}

/// The data of a write: JSON, unless it is declared a form and does not look like JSON (curl declares everything a form).
pub(crate) fn parse(head: &HeaderMap, operation: Operation, body: &[u8], limits: &Limits) -> Result<Map, BodyError> {
    let media = head.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if operation == Operation::Patch {
        check_patch_type(&essence, media)?;
    }
    let first = body.iter().copied().find(|b| !b.is_ascii_whitespace());
    let Some(first) = first else { return Ok(Map::new()) };
    let looks_like_json = matches!(first, b'{' | b'[');
    if looks_like_json {
        json_limits::check(body, limits)?;
    } else if essence == "application/x-www-form-urlencoded" {
        return Ok(joined(request::parse_form(body)));
    }
    let patch = operation == Operation::Patch;
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) if patch => Err(BodyError::Json("error parsing JSON".into())),
        Ok(other) => Err(BodyError::Json(format!(
            "failed to parse JSON input: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            kind(&other)
        ))),
        Err(_) if patch => Err(BodyError::Json("error parsing JSON".into())),
        // The parser's own words can quote the body, which may be a secret sent to the wrong place: only the position is told.
        Err(e) => {
            Err(BodyError::Json(format!("failed to parse JSON input: invalid JSON at line {}, column {}", e.line(), e.column())))
        }
    }
}

fn check_patch_type(essence: &str, media: &str) -> Result<(), BodyError> {
    match essence {
        "application/merge-patch+json" => Ok(()),
        "" => Err(BodyError::Json("mime: no media type".into())),
        _ => Err(BodyError::MediaType(format!("PATCH requires Content-Type of application/merge-patch+json, provided {media}"))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        _ => "number",
    }
}

/// Repeated values of a form are joined with a comma.
fn joined(form: Map) -> Map {
    form.into_iter()
        .map(|(k, v)| match v {
            Value::Array(items) => {
                let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                (k, Value::String(texts.join(",")))
            }
            other => (k, other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(media: &str, operation: Operation, body: &str) -> Result<Map, String> {
        let mut head = HeaderMap::new();
        if !media.is_empty() {
            head.insert(CONTENT_TYPE, media.parse().unwrap());
        }
        parse(&head, operation, body.as_bytes(), &Limits::default()).map_err(|e| e.to_string())
    }

    #[test]
    fn curls_default_type_with_json_is_json() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(parsed(form, Operation::Update, r#" {"a": 1}"#).unwrap(), *json!({"a": 1}).as_object().unwrap());
        assert_eq!(
            parsed(form, Operation::Update, "a=1&a=2&b=x%20y").unwrap(),
            *json!({"a": "1,2", "b": "x y"}).as_object().unwrap()
        );
        assert!(parsed("", Operation::Update, "").unwrap().is_empty());
        assert!(parsed("", Operation::Update, "null").unwrap().is_empty());
    }

    #[test]
    fn bad_bodies_are_refused_without_quoting_them() {
        for (media, operation, body, text) in [
            (
                "",
                Operation::Update,
                "[1]",
                "failed to parse JSON input: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            ("", Operation::Update, "hunter2", "failed to parse JSON input: invalid JSON at line 1, column 1"),
            ("", Operation::Update, r#"{"a":1} x"#, "failed to parse JSON input: invalid JSON at line 1, column 9"),
            (
                "application/json",
                Operation::Patch,
                "{}",
                "PATCH requires Content-Type of application/merge-patch+json, provided application/json",
            ),
            ("application/merge-patch+json", Operation::Patch, "{", "error parsing JSON"),
            ("", Operation::Update, r#"{"a":1,"a":2}"#, "duplicate key in object"),
        ] {
            assert_eq!(parsed(media, operation, body), Err(text.to_owned()), "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_wait_for_room_and_small_ones_do_not() {
        let room = Room::new();
        let limits = Limits::default();
        let sized = |n: u64| {
            let mut head = HeaderMap::new();
            head.insert(CONTENT_LENGTH, n.to_string().parse().unwrap());
            head
        };
        let body = http_body_util::Full::new(Bytes::from_static(b"x"));
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(room.take(&sized(32 << 20), &body, &limits).await.unwrap());
        }
        assert!(matches!(room.take(&HeaderMap::new(), &body, &limits).await, Err(BodyError::NoRoom)));
        assert!(room.take(&sized(64 << 10), &body, &limits).await.unwrap().is_none());
        held.pop();
        assert!(room.take(&sized(32 << 20), &body, &limits).await.unwrap().is_some());
    }

    #[test]
    fn numbers_keep_their_text() {
        let map = parsed("", Operation::Update, r#"{"n": 90071992547409931234567890.10}"#).unwrap();
        assert_eq!(map["n"].to_string(), "90071992547409931234567890.10");
    }
}
