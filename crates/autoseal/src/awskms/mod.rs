//! The `awskms` seal: a key of AWS KMS keeps the root key. Options and variables are Vault's.
//!
//! What is wrapped names the key that wrapped it, so the configured key can be exchanged: the old one opens, and the root key then
//! goes under the new one. Deliberately absent: data keys (the root key is 32 bytes, KMS takes 4096) and creating keys.

mod credentials;
mod given;
mod sign;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use outbound::{Credentials, Outbound, Payload, Question, Reach, Trust};
use secret::{Clock, Entropy, SecretBytes, SecretString};
use serde_json::{Value, json};

use crate::{Blob, BoxFuture, SealFault, SealWrapper};
use credentials::Source;

const TYPE: &str = "awskms";
/// How long one answer may take: unsealing is tried again anyway.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest answer is some ten times shorter.
const ANSWER_MAX_BYTES: usize = 64 << 10;
/// What of AWS's own words goes into an error.
const MESSAGE_MAX_CHARS: usize = 300;
const DEFAULT_REGION: &str = "us-east-1";

/// The stanza as written; what it leaves out comes from the environment.
#[derive(Debug, Clone, Default)]
pub struct AwsKmsConfig {
    /// `region`, else `AWS_REGION`, `AWS_DEFAULT_REGION`, us-east-1.
    pub region: String,
    /// `access_key`, else where AWS's tools look.
    pub access_key: SecretString,
    /// `secret_key`.
    pub secret_key: SecretString,
    /// `session_token`.
    pub session_token: SecretString,
    /// `kms_key_id`: an id, an ARN or an alias. `VAULT_AWSKMS_SEAL_KEY_ID` wins.
    pub kms_key_id: String,
    /// `endpoint`, else `AWS_KMS_ENDPOINT`, else the region's own.
    pub endpoint: String,
}

/// The seal.
pub struct AwsKmsSeal {
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    source: Source,
    region: String,
    endpoint: String,
    key: String,
    /// ARN of the configured key, once KMS has said it.
    current: Mutex<Option<String>>,
}

/// Why a question to AWS got no useful answer.
#[derive(Debug)]
enum Failure {
    /// No answer, or a useless one.
    Away(String),
    /// Nothing was asked: something here is missing.
    Unfit(String),
    /// AWS answered with an error.
    Said { status: u16, code: String, message: String },
}

impl AwsKmsSeal {
    /// A seal. Nothing is asked of AWS yet. `variable` looks up the environment.
    pub fn new(config: AwsKmsConfig, variable: &dyn Fn(&str) -> Option<String>, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let given = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
        let key = variable("VAULT_AWSKMS_SEAL_KEY_ID").or_else(|| given(&config.kms_key_id)).ok_or("kms_key_id is missing")?;
        let region = given(&config.region).or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| DEFAULT_REGION.into());
        // It becomes part of a host name.
        if !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(format!("region {region:?} is no region"));
        }
        let endpoint = given(&config.endpoint).or_else(|| variable("AWS_KMS_ENDPOINT"));
        let endpoint = base_url(&endpoint.unwrap_or_else(|| endpoint_of("kms", &region)))?;
        let source = Source::choose(&config, &region, variable)?;
        let outbound = Outbound::with_timeout(Reach::Anywhere, TIMEOUT);
        Ok(Self { outbound, clock, source, region, endpoint, key, current: Mutex::new(None) })
    }

    async fn ask(&self, action: &str, body: &Value) -> Result<Value, Failure> {
        let now = self.clock.now();
        let keys = self.source.keys(&self.outbound, now).await?;
        let body = serde_json::to_vec(body).map_err(|e| Failure::Unfit(e.to_string()))?;
        let headers = sign::headers(&keys, &self.region, &self.endpoint, action, &body, now).map_err(Failure::Unfit)?;
        let question = Question {
            url: &self.endpoint,
            trust: &Trust::System,
            credentials: Credentials::Headers(&headers),
            payload: Payload::Typed(sign::CONTENT_TYPE, body),
            answer_max_bytes: ANSWER_MAX_BYTES,
        };
        let answer = self.outbound.ask(question, now).await.map_err(|e| Failure::Away(e.to_string()))?;
        let said = serde_json::from_slice::<Value>(&answer.body);
        if answer.status == 200 {
            return said.map_err(|_| Failure::Away(format!("the answer to {action} is not JSON")));
        }
        let failure = refusal(action, answer.status, &said.unwrap_or_default());
        if matches!(&failure, Failure::Said { code, .. } if code.ends_with("ExpiredTokenException")) {
            self.source.forget().await;
        }
        Err(failure)
    }

    /// Learns which key is the configured one: it may be an alias. A policy that forbids the question forbids nothing else.
    async fn look_up_key(&self) -> Result<(), SealFault> {
        match self.ask("DescribeKey", &json!({ "KeyId": self.key })).await {
            Ok(answer) => self.note_current(answer.pointer("/KeyMetadata/Arn").and_then(Value::as_str)),
            Err(Failure::Said { code, .. }) if code.ends_with("AccessDeniedException") => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    fn note_current(&self, arn: Option<&str>) {
        if let (Some(arn), Ok(mut current)) = (arn, self.current.lock()) {
            *current = Some(arn.to_owned());
        }
    }

    async fn hide(&self, plain: &SecretBytes) -> Result<Blob, SealFault> {
        let body = json!({
            "KeyId": self.key, "Plaintext": BASE64_STANDARD.encode(plain.expose()), "EncryptionContext": context(),
        });
        let answer = self.ask("Encrypt", &body).await?;
        let key_id = answer.get("KeyId").and_then(Value::as_str).ok_or_else(|| away("its answer names no key".into()))?;
        let ciphertext = decoded(&answer, "CiphertextBlob")?;
        self.note_current(Some(key_id));
        Ok(Blob { seal: TYPE.into(), key_id: key_id.to_owned(), ciphertext })
    }

    /// The key that wrapped. In another region than its own only a replica can open, and that is the configured key.
    fn opener<'a>(&'a self, blob: &'a Blob) -> &'a str {
        let region = blob.key_id.split(':').nth(3);
        if region.is_none_or(|r| r == self.region) { &blob.key_id } else { &self.key }
    }

    async fn reveal(&self, blob: &Blob) -> Result<SecretBytes, SealFault> {
        if blob.seal != TYPE {
            return Err(SealFault::Foreign(TYPE, format!("it was made by the {} seal", blob.seal)));
        }
        // A mistaken key id shows itself here, and not years later when the key that opens is gone.
        self.look_up_key().await?;
        let body = json!({
            "KeyId": self.opener(blob), "CiphertextBlob": BASE64_STANDARD.encode(&blob.ciphertext), "EncryptionContext": context(),
        });
        decoded(&self.ask("Decrypt", &body).await?, "Plaintext").map(SecretBytes::new)
    }
}

impl SealWrapper for AwsKmsSeal {
    fn seal_type(&self) -> &'static str {
        TYPE
    }

    fn wrap<'a>(&'a self, plain: &'a SecretBytes, _: &'a dyn Entropy) -> BoxFuture<'a, Result<Blob, SealFault>> {
        Box::pin(self.hide(plain))
    }

    fn open<'a>(&'a self, blob: &'a Blob) -> BoxFuture<'a, Result<SecretBytes, SealFault>> {
        Box::pin(self.reveal(blob))
    }

    fn is_current(&self, blob: &Blob) -> bool {
        self.current.lock().is_ok_and(|current| current.as_ref().is_none_or(|arn| *arn == blob.key_id))
    }
}

/// Waiting heals what AWS calls its own fault or too much at once, and keys that are over; nothing else.
impl From<Failure> for SealFault {
    fn from(failure: Failure) -> Self {
        let (status, code, message) = match failure {
            Failure::Away(why) => return away(why),
            Failure::Unfit(why) => return Self::Refused { seal: TYPE, why },
            Failure::Said { status, code, message } => (status, code, message),
        };
        let passing = ["ThrottlingException", "LimitExceededException", "KeyUnavailableException", "ExpiredTokenException"];
        let why = if message.is_empty() { format!("{code} (status {status})") } else { format!("{code}: {message}") };
        let is = |names: &[&str]| names.iter().any(|name| code.ends_with(name));
        if status >= 500 || status == 429 || is(&passing) {
            return away(why);
        }
        if is(&["InvalidCiphertextException", "IncorrectKeyException"]) {
            return Self::Foreign(TYPE, why);
        }
        Self::Refused { seal: TYPE, why }
    }
}

/// AWS's words about a wrong signature quote the signed headers, and so a session token: they are left out.
fn refusal(action: &str, status: u16, said: &Value) -> Failure {
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let code = text("__type").and_then(|t| t.rsplit('#').next()).filter(|t| !t.is_empty()).unwrap_or("unknown error");
    let message = text("message").or_else(|| text("Message")).unwrap_or_default();
    let message = if code.contains("Signature") { "" } else { message.lines().next().unwrap_or_default() };
    let message = message.chars().take(MESSAGE_MAX_CHARS).collect();
    Failure::Said { status, code: format!("{action}: {code}"), message }
}

/// What KMS binds a wrapped key to; it is in the audit trail of AWS.
fn context() -> Value {
    json!({ "purpose": "strongroom-seal" })
}

fn decoded(answer: &Value, field: &str) -> Result<Vec<u8>, SealFault> {
    let text = answer.get(field).and_then(Value::as_str).ok_or_else(|| away(format!("its answer has no {field}")))?;
    BASE64_STANDARD.decode(text).map_err(|_| away(format!("{field} in its answer is not base64")))
}

fn away(why: String) -> SealFault {
    SealFault::Away { seal: TYPE, why }
}

fn endpoint_of(service: &str, region: &str) -> String {
    let zone = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{service}.{region}.{zone}/")
}

/// A URL without user, query or fragment. What is sent must not be readable on the way: plain HTTP is warned of.
fn base_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| format!("endpoint: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err("the endpoint must be an http or https URL without query".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint must not hold a user or a password".into());
    }
    let host = url.host_str().unwrap_or_default();
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if url.scheme() == "http" && !loopback {
        tracing::warn!(host, "the awskms seal's endpoint is plain http: whoever is on the way can read the root key");
    }
    Ok(url.into())
}
