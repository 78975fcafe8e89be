//! The `seal` stanzas (contract §8.5).

use autoseal::{AwsKmsConfig, TransitConfig};
use hcl1::Object;
use secret::SecretString;
use serde_json::{Value, json};

use super::env_or;
use super::read::{ConfigError, Reader};

/// One outer seal as configured. `shamir` needs no stanza and makes none.
#[derive(Debug, Clone)]
pub struct SealStanza {
    /// What it is.
    pub kind: SealKind,
    /// Only to move away from.
    pub disabled: bool,
}

/// The kinds of outer seals.
#[derive(Clone)]
pub enum SealKind {
    /// A key of this machine.
    Static {
        /// `current_key_id`, `current_key`.
        current: (String, SecretString),
        /// `previous_key_id`, `previous_key`; both empty if there is none.
        previous: (String, SecretString),
    },
    /// Another server's transit engine.
    Transit(TransitConfig),
    /// A key of AWS KMS.
    AwsKms(AwsKmsConfig),
}

impl std::fmt::Debug for SealKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl SealKind {
    /// The stanza's label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Static { .. } => "static",
            Self::Transit(_) => "transit",
            Self::AwsKms(_) => "awskms",
        }
    }
}

const COMMON: [&str; 4] = ["disabled", "priority", "name", "purpose"];
const STATIC: [&str; 4] = ["current_key", "current_key_id", "previous_key", "previous_key_id"];
const TRANSIT: [&str; 12] = [
    "address",
    "token",
    "key_name",
    "mount_path",
    "namespace",
    "key_id_prefix",
    "disable_renewal",
    "tls_ca_cert",
    "tls_client_cert",
    "tls_client_key",
    "tls_server_name",
    "tls_skip_verify",
];

const AWSKMS: [&str; 6] = ["region", "access_key", "secret_key", "session_token", "kms_key_id", "endpoint"];

/// Reads the stanzas; without one, `VAULT_SEAL_TYPE` may name a seal that the environment describes.
pub(super) fn read(root: &mut Reader<'_>) -> Result<Vec<SealStanza>, ConfigError> {
    let mut found = Vec::new();
    let blocks = root.object().blocks("seal", 1)?;
    for block in &blocks {
        let name = block.labels.first().map_or("", |l| l.text.as_str());
        found.extend(stanza(root, name, block.body)?);
    }
    if blocks.is_empty() {
        let name = env_or("VAULT_SEAL_TYPE", None);
        if !name.is_empty() {
            found.extend(stanza(root, &name, &Object { items: Vec::new() })?);
        }
    }
    for disabled in [false, true] {
        if found.iter().filter(|s| s.disabled == disabled).count() > 1 {
            let which = if disabled { "disabled" } else { "enabled" };
            return Err(ConfigError::Invalid(format!("only one seal may be {which}")));
        }
    }
    Ok(found)
}

fn stanza(root: &mut Reader<'_>, name: &str, object: &Object) -> Result<Option<SealStanza>, ConfigError> {
    let mut reader = Reader::new("seal.", object);
    let disabled = reader.flag("disabled")?.unwrap_or(false);
    let (kind, own): (SealKind, &[&str]) = match name {
        "shamir" => return Ok(None),
        "static" => (fixed(&mut reader)?, &STATIC),
        "transit" => (SealKind::Transit(transit(&mut reader)?), &TRANSIT),
        "awskms" => (SealKind::AwsKms(awskms(&mut reader)?), &AWSKMS),
        other => {
            let text = format!("seal {other:?} is not supported by this version: shamir, static, transit and awskms are");
            return Err(ConfigError::Invalid(text));
        }
    };
    for key in object.unknown_keys(&[&COMMON, own].concat()) {
        root.warn(super::unknown("seal.", key));
    }
    Ok(Some(SealStanza { kind, disabled }))
}

fn fixed(reader: &mut Reader<'_>) -> Result<SealKind, ConfigError> {
    let mut text = |name: &str| reader.text(name).map(Option::unwrap_or_default);
    let current = (text("current_key_id")?, SecretString::new(text("current_key")?));
    let previous = (text("previous_key_id")?, SecretString::new(text("previous_key")?));
    Ok(SealKind::Static { current, previous })
}

/// Vault's variables win over the stanza for what is only the seal's; for what every client knows, the stanza wins.
fn transit(reader: &mut Reader<'_>) -> Result<TransitConfig, ConfigError> {
    let renewal = env_or("VAULT_TRANSIT_SEAL_DISABLE_RENEWAL", None);
    let disable_renewal = match renewal.as_str() {
        "" => reader.flag("disable_renewal")?.unwrap_or(false),
        text => matches!(text.to_lowercase().as_str(), "1" | "t" | "true"),
    };
    let tls_skip_verify = reader.flag("tls_skip_verify")?.unwrap_or(false);
    let mut text = |name: &str| reader.text(name).map(Option::unwrap_or_default);
    Ok(TransitConfig {
        address: text("address")?,
        token: SecretString::new(text("token")?),
        key_name: env_or("VAULT_TRANSIT_SEAL_KEY_NAME", Some(text("key_name")?)),
        mount_path: env_or("VAULT_TRANSIT_SEAL_MOUNT_PATH", Some(text("mount_path")?)),
        namespace: text("namespace")?,
        key_id_prefix: text("key_id_prefix")?,
        disable_renewal,
        tls_ca_cert: text("tls_ca_cert")?,
        tls_client_cert: text("tls_client_cert")?,
        tls_client_key: text("tls_client_key")?,
        tls_server_name: text("tls_server_name")?,
        tls_skip_verify,
    })
}

/// Only the stanza: what it leaves out, the seal looks for where AWS's tools do.
fn awskms(reader: &mut Reader<'_>) -> Result<AwsKmsConfig, ConfigError> {
    let mut text = |name: &str| reader.text(name).map(Option::unwrap_or_default);
    Ok(AwsKmsConfig {
        region: text("region")?,
        access_key: SecretString::new(text("access_key")?),
        secret_key: SecretString::new(text("secret_key")?),
        session_token: SecretString::new(text("session_token")?),
        kms_key_id: text("kms_key_id")?,
        endpoint: text("endpoint")?,
    })
}

/// For `sys/config/state/sanitized`: what there is, without its secrets.
pub(super) fn sanitized(stanzas: &[SealStanza]) -> Value {
    if !stanzas.iter().any(|s| !s.disabled) {
        return json!([{ "type": "shamir", "disabled": false }]);
    }
    stanzas.iter().map(|s| json!({ "type": s.kind.name(), "disabled": s.disabled })).collect()
}
