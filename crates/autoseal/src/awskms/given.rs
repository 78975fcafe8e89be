//! Keys that somebody nearby gives for a while: STS for a workload's token (EKS), the agent beside a container (ECS, EKS pod
//! identity), or the instance's metadata (EC2, version 2 only). They are taken anew before they end; where that fails, they are
//! used until they do.
//!
//! CVE class T: keys come only from the places AWS documents. Over plain HTTP that is loopback and the agents' own link-local
//! addresses, whatever a variable says; nothing redirects.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use outbound::{Credentials, Outbound, Payload, Question, Reach, Trust};
use secret::{SecretString, Time};
use serde_json::Value;
use tokio::sync::Mutex;

use super::credentials::{Keys, Variables};
use super::{ANSWER_MAX_BYTES, Failure, base_url, endpoint_of};

/// Keys with an end are replaced this long before it: longer than a call takes, and than clocks usually differ.
const EARLY: Duration = Duration::from_secs(300);
/// How long keys are used if their end is not said; AWS gives at least 15 minutes.
const UNSAID_LIFETIME: Duration = Duration::from_secs(600);
/// The agents beside containers: of ECS, and of EKS over IPv4 and IPv6.
const AGENTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
/// The instance's metadata, over IPv4 and IPv6.
const INSTANCE: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];
/// Six hours, the longest; each use takes a fresh one.
const SESSION_TTL_SECONDS: &str = "21600";

/// Keys and who gives them.
pub(super) struct Given {
    giver: Giver,
    /// To agents and metadata.
    near: Outbound,
    kept: Mutex<Option<Keys>>,
}

/// Who gives keys.
pub(super) enum Giver {
    /// STS, for a token in a file.
    WebIdentity { arn: String, session: String, token_file: PathBuf, endpoint: String },
    /// The agent beside a container.
    Container { url: String, authorization: Option<Authorization> },
    /// The instance's metadata; the URL ends in `/`.
    Instance { url: String },
}

/// What the agent wants to see.
pub(super) enum Authorization {
    Fixed(SecretString),
    /// Read anew each time: it is exchanged while the container runs.
    File(PathBuf),
}

impl Given {
    pub(super) fn by(giver: Giver) -> Box<Self> {
        Box::new(Self { giver, near: Outbound::new(Reach::NoProxy), kept: Mutex::new(None) })
    }

    /// Keys that are good now.
    pub(super) async fn keys(&self, outbound: &Outbound, now: Time) -> Result<Keys, Failure> {
        let mut kept = self.kept.lock().await;
        let good_for = |span: Duration| move |k: &&Keys| k.expires.is_some_and(|end| now.plus(span) < end);
        if let Some(keys) = kept.as_ref().filter(good_for(EARLY)) {
            return Ok(keys.clone());
        }
        let outbound = if matches!(self.giver, Giver::WebIdentity { .. }) { outbound } else { &self.near };
        match self.giver.take(outbound, now).await {
            Ok(fresh) => Ok(kept.insert(fresh).clone()),
            Err(e) => kept.as_ref().filter(good_for(Duration::ZERO)).cloned().ok_or(e),
        }
    }

    /// After AWS said that the keys are over.
    pub(super) async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

impl Giver {
    /// STS, if the environment names a role and a token.
    pub(super) fn web_identity(region: &str, variable: Variables<'_>) -> Result<Option<Self>, String> {
        let (Some(token_file), Some(arn)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN")) else {
            return Ok(None);
        };
        let endpoint = variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| endpoint_of("sts", region));
        let session = variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "strongroom".into());
        Ok(Some(Self::WebIdentity { arn, session, token_file: token_file.into(), endpoint: base_url(&endpoint)? }))
    }

    /// The agent beside a container, if the environment names one.
    pub(super) fn container(variable: Variables<'_>) -> Result<Option<Self>, String> {
        let url = match (variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            (Some(path), _) if path.starts_with('/') => format!("http://{}{path}", AGENTS.first().copied().unwrap_or_default()),
            (Some(_), _) => return Err("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with a slash".into()),
            (None, Some(url)) => url,
            (None, None) => return Ok(None),
        };
        let url = nearby(&url, &AGENTS, true).map_err(|e| format!("AWS_CONTAINER_CREDENTIALS_FULL_URI: {e}"))?;
        let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|path| Authorization::File(path.into()));
        let fixed = || variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(|t| Authorization::Fixed(SecretString::new(t)));
        Ok(Some(Self::Container { url, authorization: file.or_else(fixed) }))
    }

    /// The instance, unless the environment forbids to ask it.
    pub(super) fn instance(variable: Variables<'_>) -> Result<Option<Self>, String> {
        if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let url = match variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            Some(url) => nearby(&url, &INSTANCE, false).map_err(|e| format!("AWS_EC2_METADATA_SERVICE_ENDPOINT: {e}"))?,
            None => format!("http://{}/", INSTANCE.first().copied().unwrap_or_default()),
        };
        let url = format!("{}/", url.trim_end_matches('/'));
        Ok(Some(Self::Instance { url }))
    }

    async fn take(&self, outbound: &Outbound, now: Time) -> Result<Keys, Failure> {
        match self {
            Self::WebIdentity { arn, session, token_file, endpoint } => {
                let token = token_in(token_file).await?;
                let form = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("Action", "AssumeRoleWithWebIdentity")
                    .append_pair("Version", "2011-06-15")
                    .append_pair("RoleArn", arn)
                    .append_pair("RoleSessionName", session)
                    .append_pair("WebIdentityToken", token.expose())
                    .finish();
                let asker = Asker { outbound, now, who: "STS" };
                let answer = asker.ask(endpoint, &[], Payload::Form(SecretString::new(form))).await?;
                if answer.status != 200 {
                    let code = field(answer.text.expose(), "Code").unwrap_or_else(|| "unknown error".into());
                    return Err(said(answer.status, &format!("AssumeRoleWithWebIdentity: {code}")));
                }
                asker.keys(&answer.text, "SessionToken")
            }
            Self::Container { url, authorization } => {
                let token = match authorization {
                    None => None,
                    Some(Authorization::Fixed(token)) => Some(token.clone()),
                    Some(Authorization::File(path)) => Some(token_in(path).await?),
                };
                let headers: Vec<_> = token.into_iter().map(|t| ("authorization".to_owned(), t)).collect();
                let asker = Asker { outbound, now, who: "the container's credentials agent" };
                let answer = asker.good(url, &headers, Payload::None).await?;
                asker.keys(&answer, "Token")
            }
            Self::Instance { url } => from_instance(outbound, now, url).await,
        }
    }
}

/// Asks the instance: a session first, so that no request somebody else can forge reads anything, then the role, then its keys.
async fn from_instance(outbound: &Outbound, now: Time, url: &str) -> Result<Keys, Failure> {
    let asker = Asker { outbound, now, who: "no AWS credentials are configured, and EC2's instance metadata" };
    let ttl = [("x-aws-ec2-metadata-token-ttl-seconds".to_owned(), SecretString::from(SESSION_TTL_SECONDS))];
    let session = asker.good(&format!("{url}latest/api/token"), &ttl, Payload::EmptyPut).await?;
    let session = [("x-aws-ec2-metadata-token".to_owned(), session)];
    let roles = format!("{url}latest/meta-data/iam/security-credentials/");
    let named = asker.good(&roles, &session, Payload::None).await?;
    let role = named.expose().lines().next().unwrap_or_default().trim();
    // It becomes part of the next question.
    let is_role = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    if role.is_empty() || !role.bytes().all(is_role) || role.starts_with('.') {
        return Err(Failure::Away(format!("{}: it names no role", asker.who)));
    }
    let answer = asker.good(&format!("{roles}{role}"), &session, Payload::None).await?;
    if let Some(code) = field(answer.expose(), "Code").filter(|c| c != "Success") {
        return Err(Failure::Away(format!("{}: {code}", asker.who)));
    }
    asker.keys(&answer, "Token")
}

struct Asker<'a> {
    outbound: &'a Outbound,
    now: Time,
    who: &'static str,
}

struct Told {
    status: u16,
    text: SecretString,
}

impl Asker<'_> {
    async fn ask(&self, url: &str, headers: &[(String, SecretString)], payload: Payload) -> Result<Told, Failure> {
        let credentials = Credentials::Headers(headers);
        let question = Question { url, trust: &Trust::System, credentials, payload, answer_max_bytes: ANSWER_MAX_BYTES };
        let answer = self.outbound.ask(question, self.now).await.map_err(|e| Failure::Away(format!("{}: {e}", self.who)))?;
        Ok(Told { status: answer.status, text: SecretString::new(String::from_utf8(answer.body).unwrap_or_default()) })
    }

    async fn good(&self, url: &str, headers: &[(String, SecretString)], payload: Payload) -> Result<SecretString, Failure> {
        let answer = self.ask(url, headers, payload).await?;
        if answer.status == 200 { Ok(answer.text) } else { Err(said(answer.status, self.who)) }
    }

    fn keys(&self, answer: &SecretString, session: &str) -> Result<Keys, Failure> {
        let field = |name: &str| field(answer.expose(), name);
        let secret = |name: &str| field(name).map(SecretString::new);
        let (Some(id), Some(key), Some(token)) = (secret("AccessKeyId"), secret("SecretAccessKey"), secret(session)) else {
            return Err(Failure::Away(format!("{} gave no keys", self.who)));
        };
        let end = field("Expiration").and_then(|text| {
            let seconds = text.split('.').next().and_then(|s| s.parse().ok()).map(Time::from_unix);
            seconds.or_else(|| Time::parse_rfc3339(&text))
        });
        let expires = Some(end.unwrap_or_else(|| self.now.plus(UNSAID_LIFETIME)));
        Ok(Keys { expires, ..Keys::new(id, key, token) })
    }
}

fn said(status: u16, code: &str) -> Failure {
    Failure::Said { status, code: code.to_owned(), message: String::new() }
}

async fn token_in(path: &std::path::Path) -> Result<SecretString, Failure> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|e| Failure::Unfit(format!("the token file {} cannot be read: {}", path.display(), e.kind())))?;
    Ok(SecretString::from(text.trim()))
}

/// A URL whose answer is believed: on this machine, at one of `known`, or, where `far` is set, behind TLS.
fn nearby(text: &str, known: &[&str], far: bool) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|e| e.to_string())?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it must not hold a user, a password or a fragment".into());
    }
    let address = match url.host() {
        Some(url::Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(url::Host::Ipv6(v6)) => Some(v6.to_canonical()),
        _ => None,
    };
    let is_known = |ip: IpAddr| ip.is_loopback() || known.iter().any(|k| k.parse() == Ok(ip));
    let is_near = url.host_str() == Some("localhost") || address.is_some_and(is_known);
    match url.scheme() {
        "http" if is_near => Ok(url.into()),
        "https" if is_near || far => Ok(url.into()),
        _ => Err("over http only this machine and AWS's own agents are asked".into()),
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn class_t_keys_come_from_nearby_only() {
        for (url, far, good) in [
            ("http://169.254.170.2/v2/credentials/x?id=1", true, true),
            ("http://169.254.170.23/v1/credentials", true, true),
            ("http://[fd00:ec2::23]/v1/credentials", true, true),
            ("http://127.0.0.1:51679/x", true, true),
            ("http://[::1]/x", true, true),
            ("http://localhost/x", true, true),
            ("https://keys.example/x", true, true),
            ("https://keys.example/x", false, false),
            ("http://keys.example/x", true, false),
            ("http://169.254.169.254/latest", true, false),
            ("http://10.0.0.1/x", true, false),
            ("http://2852039166/x", true, false),
            ("http://[::ffff:10.0.0.1]/x", true, false),
            ("http://localhost.evil.example/x", true, false),
            ("http://u:p@127.0.0.1/x", true, false),
            ("file:///etc/passwd", true, false),
            ("ftp://127.0.0.1/x", true, false),
            ("/v2/credentials", true, false),
        ] {
            assert_eq!(nearby(url, &AGENTS, far).is_ok(), good, "{url} {far}");
        }
        let relative = |path: &'static str| {
            Giver::container(&move |n| (n == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").then(|| path.to_owned()))
        };
        assert!(matches!(relative("/v2/x"), Ok(Some(Giver::Container { url, .. })) if url == "http://169.254.170.2/v2/x"));
        for bad in [".evil.example/x", "@evil.example/x", "v2/x"] {
            assert!(relative(bad).is_err(), "{bad}");
        }
        let metadata =
            |url: &'static str| Giver::instance(&move |n| (n == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| url.into()));
        assert!(metadata("http://[fd00:ec2::254]").is_ok() && metadata("http://10.0.0.1/").is_err());
        assert!(matches!(Giver::instance(&|n| (n == "AWS_EC2_METADATA_DISABLED").then(|| "true".into())), Ok(None)));
    }
}
