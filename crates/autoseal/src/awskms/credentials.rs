//! Who the seal is to AWS: keys of the stanza, of the environment, of the shared credentials file, or keys that somebody nearby gives
//! for a while (`given`). Deliberately absent: `~/.aws/config`, SSO, and programs that print keys.

use std::path::PathBuf;

use outbound::Outbound;
use secret::{SecretString, Time};

use super::given::{Given, Giver};
use super::{AwsKmsConfig, Failure};

const DEFAULT_PROFILE: &str = "default";

/// Looks up an environment variable; an empty one is none.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What signs a request. No `Debug`: it holds secrets.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key: SecretString,
    pub(super) secret_key: SecretString,
    pub(super) session_token: Option<SecretString>,
    pub(super) expires: Option<Time>,
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
    Given(Box<Given>),
}

impl Source {
    /// The first that is there, in the order of AWS's tools: stanza, environment, a workload's token, shared file, the container's
    /// agent, and at last the instance.
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
        if let Some(role) = Giver::web_identity(region, variable)? {
            return Ok(Self::Given(Given::by(role)));
        }
        let (named, profile) = (variable("AWS_SHARED_CREDENTIALS_FILE"), variable("AWS_PROFILE"));
        let is_named = named.is_some() || profile.is_some();
        let home = variable("HOME").map(|home| format!("{home}/.aws/credentials"));
        let path = PathBuf::from(named.or(home).unwrap_or_else(|| ".aws/credentials".into()));
        let file = Self::File { profile: profile.unwrap_or_else(|| DEFAULT_PROFILE.into()), path: path.clone() };
        if is_named || path.exists() {
            return Ok(file);
        }
        match Giver::container(variable)?.map_or_else(|| Giver::instance(variable), |c| Ok(Some(c)))? {
            Some(giver) => Ok(Self::Given(Given::by(giver))),
            None => Ok(file),
        }
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
            Self::Given(given) => given.keys(outbound, now).await,
        }
    }

    /// After AWS said that the keys are over.
    pub(super) async fn forget(&self) {
        if let Self::Given(given) = self {
            given.forget().await;
        }
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
}
