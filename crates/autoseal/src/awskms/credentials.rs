//! Who the seal is to AWS: keys of the stanza, of the environment, of the shared credentials file, or a role that a workload's token
//! stands for (EKS). Deliberately absent: instance metadata, `~/.aws/config`, SSO, and programs that print keys.

use std::path::PathBuf;
use std::time::Duration;

use outbound::{Credentials, Outbound, Payload, Question, Trust};
use secret::{SecretString, Time};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{ANSWER_MAX_BYTES, AwsKmsConfig, Failure, base_url};

/// Keys with an end are replaced this long before it: longer than a call takes, and than clocks usually differ.
const EARLY: Duration = Duration::from_secs(300);
/// How long a role's keys are used if their end is not said; AWS gives at least 15 minutes.
const UNSAID_LIFETIME: Duration = Duration::from_secs(600);
const DEFAULT_PROFILE: &str = "default";

/// Looks up an environment variable; an empty one is none.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What signs a request. No `Debug`: it holds secrets.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key: SecretString,
    pub(super) secret_key: SecretString,
    pub(super) session_token: Option<SecretString>,
    expires: Option<Time>,
}

impl Keys {
    /// Keys without a known end.
    pub(super) fn new(access_key: SecretString, secret_key: SecretString, session_token: SecretString) -> Self {
        let session_token = Some(session_token).filter(|t| !t.is_empty());
        Self { access_key, secret_key, session_token, expires: None }
    }
}

/// Where keys come from, decided once at start.
pub(super) enum Source {
    Fixed(Keys),
    /// Read anew for each call: somebody may exchange the keys.
    File {
        path: PathBuf,
        profile: String,
    },
    Role(Box<Role>),
}

/// A role, taken with a token from a file.
pub(super) struct Role {
    arn: String,
    session: String,
    token_file: PathBuf,
    endpoint: String,
    kept: Mutex<Option<Keys>>,
}

impl Source {
    /// The first that is there, in the order of AWS's tools: stanza, environment, a workload's token, shared file.
    pub(super) fn choose(config: &AwsKmsConfig, region: &str, variable: Variables<'_>) -> Result<Self, String> {
        match (config.access_key.is_empty(), config.secret_key.is_empty()) {
            (false, false) => {
                return Ok(Self::Fixed(Keys::new(
                    config.access_key.clone(),
                    config.secret_key.clone(),
                    config.session_token.clone(),
                )));
            }
            (true, true) => {}
            _ => return Err("access_key and secret_key must be given together".into()),
        }
        let secret = |name: &str| variable(name).map(SecretString::new);
        match (secret("AWS_ACCESS_KEY_ID"), secret("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(key)) => {
                let token = secret("AWS_SESSION_TOKEN").unwrap_or_default();
                return Ok(Self::Fixed(Keys::new(id, key, token)));
            }
            (None, None) => {}
            _ => return Err("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together".into()),
        }
        if let (Some(token_file), Some(arn)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) {
            let endpoint = variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| super::endpoint_of("sts", region));
            return Ok(Self::Role(Box::new(Role {
                arn,
                session: variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "strongroom".into()),
                token_file: token_file.into(),
                endpoint: base_url(&endpoint)?,
                kept: Mutex::new(None),
            })));
        }
        let home = variable("HOME").map(|home| format!("{home}/.aws/credentials"));
        let path = variable("AWS_SHARED_CREDENTIALS_FILE").or(home).unwrap_or_else(|| ".aws/credentials".into());
        Ok(Self::File { path: path.into(), profile: variable("AWS_PROFILE").unwrap_or_else(|| DEFAULT_PROFILE.into()) })
    }

    /// Keys that are good now.
    pub(super) async fn keys(&self, outbound: &Outbound, now: Time) -> Result<Keys, Failure> {
        match self {
            Self::Fixed(keys) => Ok(keys.clone()),
            Self::File { path, profile } => {
                let none = |why: String| Failure::Unfit(format!("no AWS credentials are configured, and {why}"));
                let text = tokio::fs::read_to_string(path).await;
                let text = text.map_err(|e| none(format!("the file {} cannot be read: {}", path.display(), e.kind())))?;
                read_profile(&text, profile)
                    .ok_or_else(|| none(format!("the file {} has no keys for the profile {profile:?}", path.display())))
            }
            Self::Role(role) => {
                let mut kept = role.kept.lock().await;
                if let Some(keys) = kept.as_ref().filter(|k| k.expires.is_some_and(|end| now.plus(EARLY) < end)) {
                    return Ok(keys.clone());
                }
                let fresh = role.take(outbound, now).await?;
                *kept = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }

    /// After AWS said that the keys are over.
    pub(super) async fn forget(&self) {
        if let Self::Role(role) = self {
            *role.kept.lock().await = None;
        }
    }
}

impl Role {
    async fn take(&self, outbound: &Outbound, now: Time) -> Result<Keys, Failure> {
        let token = tokio::fs::read_to_string(&self.token_file)
            .await
            .map(SecretString::new)
            .map_err(|e| Failure::Unfit(format!("the token file {} cannot be read: {}", self.token_file.display(), e.kind())))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.arn)
            .append_pair("RoleSessionName", &self.session)
            .append_pair("WebIdentityToken", token.expose().trim())
            .finish();
        let question = Question {
            url: &self.endpoint,
            trust: &Trust::System,
            credentials: Credentials::None,
            payload: Payload::Form(SecretString::new(form)),
            answer_max_bytes: ANSWER_MAX_BYTES,
        };
        let answer = outbound.ask(question, now).await.map_err(|e| Failure::Away(format!("STS: {e}")))?;
        let text = SecretString::new(String::from_utf8(answer.body).unwrap_or_default());
        let field = |name: &str| field(text.expose(), name);
        if answer.status != 200 {
            let code = field("Code").unwrap_or_else(|| "unknown error".into());
            return Err(Failure::Said {
                status: answer.status,
                code: format!("AssumeRoleWithWebIdentity: {code}"),
                message: String::new(),
            });
        }
        let secret = |name: &str| field(name).map(SecretString::new);
        let (Some(id), Some(key), Some(session)) = (secret("AccessKeyId"), secret("SecretAccessKey"), secret("SessionToken"))
        else {
            return Err(Failure::Away("STS gave no keys".into()));
        };
        let end = field("Expiration").and_then(|text| {
            let seconds = text.split('.').next().and_then(|s| s.parse().ok()).map(Time::from_unix);
            seconds.or_else(|| Time::parse_rfc3339(&text))
        });
        let expires = Some(end.unwrap_or_else(|| now.plus(UNSAID_LIFETIME)));
        Ok(Keys { expires, ..Keys::new(id, key, session) })
    }
}

/// A field anywhere in an answer of STS, which is XML, or JSON to those who accept it.
fn field(text: &str, name: &str) -> Option<String> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return in_json(&value, name);
    }
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim().to_owned()).filter(|v| !v.is_empty())
}

fn in_json(value: &Value, name: &str) -> Option<String> {
    let members = value.as_object()?;
    match members.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => members.values().find_map(|inner| in_json(inner, name)),
    }
}

/// Keys of one profile of a shared credentials file.
fn read_profile(text: &str, profile: &str) -> Option<Keys> {
    let (mut inside, mut id, mut key, mut token) = (false, String::new(), String::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if let (true, Some((name, value))) = (inside && !line.starts_with(['#', ';']), line.split_once('=')) {
            match name.trim() {
                "aws_access_key_id" => id = value.trim().to_owned(),
                "aws_secret_access_key" => key = value.trim().to_owned(),
                "aws_session_token" => token = value.trim().to_owned(),
                _ => {}
            }
        }
    }
    (!id.is_empty() && !key.is_empty())
        .then(|| Keys::new(SecretString::new(id), SecretString::new(key), SecretString::new(token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = AK1\naws_secret_access_key=SK=1/+\n\n[ other ]\n\
                        aws_access_key_id=AK2\n;aws_secret_access_key=no\n[third]\naws_access_key_id=AK3\naws_secret_access_key = SK3\n\
                        aws_session_token = T3\nregion = eu-west-1\n";

    #[test]
    fn a_profile_has_its_own_keys_and_no_others() {
        let found = |profile| {
            let keys = read_profile(FILE, profile)?;
            let token = keys.session_token.map(|t| t.expose().to_owned());
            Some((keys.access_key.expose().to_owned(), keys.secret_key.expose().to_owned(), token))
        };
        assert_eq!(found("default"), Some(("AK1".into(), "SK=1/+".into(), None)));
        assert_eq!(found("third"), Some(("AK3".into(), "SK3".into(), Some("T3".into()))));
        for absent in ["other", "fourth", "", "Default"] {
            assert!(found(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn fields_of_both_forms() {
        let xml = "<R><Credentials><AccessKeyId>AK</AccessKeyId><Expiration>2026-11-24T12:00:00Z</Expiration></Credentials></R>";
        let json = r#"{"R":{"Credentials":{"AccessKeyId":"AK","Expiration":1.7641E9}}}"#;
        for text in [xml, json] {
            assert_eq!(field(text, "AccessKeyId").as_deref(), Some("AK"));
            assert!(field(text, "Expiration").is_some());
            assert_eq!(field(text, "SecretAccessKey"), None);
        }
        assert_eq!(field("<Code></Code>", "Code"), None);
    }
}
