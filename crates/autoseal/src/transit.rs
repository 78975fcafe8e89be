//! The `transit` seal: another server's transit engine keeps the key (contract §8.5).

use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use client::{Client, ClientError, Config, Environment, Reply, Request};
use secret::{Entropy, SecretBytes, SecretString};
use serde_json::{Value, json};

use crate::{Blob, BoxFuture, SealFault, SealWrapper};

const TYPE: &str = "transit";
/// How long one answer may take: unsealing is tried again anyway.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The token is renewed when half of its time is over, but never more often than this.
const RENEWAL_MIN: Duration = Duration::from_secs(5);
/// How long until a renewal that failed is tried again.
const RENEWAL_RETRY: Duration = Duration::from_secs(15);

/// The stanza, with the environment already applied.
#[derive(Debug, Clone, Default)]
pub struct TransitConfig {
    /// `address`.
    pub address: String,
    /// `token`.
    pub token: SecretString,
    /// `key_name`.
    pub key_name: String,
    /// `mount_path`.
    pub mount_path: String,
    /// `namespace`.
    pub namespace: String,
    /// `key_id_prefix`.
    pub key_id_prefix: String,
    /// `disable_renewal`.
    pub disable_renewal: bool,
    /// `tls_ca_cert`, a file.
    pub tls_ca_cert: String,
    /// `tls_client_cert`, a file.
    pub tls_client_cert: String,
    /// `tls_client_key`, a file.
    pub tls_client_key: String,
    /// `tls_server_name`.
    pub tls_server_name: String,
    /// `tls_skip_verify`.
    pub tls_skip_verify: bool,
}

/// The seal.
pub struct TransitSeal {
    client: Client,
    encrypt: String,
    decrypt: String,
    prefix: String,
    renews: bool,
    /// Version of the key that wrapped last; what is older is made anew.
    latest: Mutex<Option<String>>,
}

impl TransitSeal {
    /// A seal. Nothing is asked of the other server yet. What the stanza leaves out comes from Vault's client variables.
    pub fn new(config: TransitConfig) -> Result<Self, String> {
        let mut http = Config::from_environment(&Environment::from_process()).map_err(|e| e.to_string())?;
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        http.address = some(&config.address).unwrap_or(http.address);
        http.namespace = some(&config.namespace).or(http.namespace);
        if !config.token.is_empty() {
            http.token = Some(config.token.clone());
        }
        http.tls.ca_cert = some(&config.tls_ca_cert).or(http.tls.ca_cert);
        http.tls.client_cert = some(&config.tls_client_cert).or(http.tls.client_cert);
        http.tls.client_key = some(&config.tls_client_key).or(http.tls.client_key);
        http.tls.server_name = some(&config.tls_server_name).or(http.tls.server_name);
        http.tls.skip_verify |= config.tls_skip_verify;
        http.wrap_ttl = None;
        http.timeout = TIMEOUT;
        http.max_retries = 0;
        if config.key_name.is_empty() {
            return Err("key_name is missing".into());
        }
        let mount = config.mount_path.trim_matches('/');
        let mount = if mount.is_empty() { "transit" } else { mount };
        Ok(Self {
            client: Client::new(http).map_err(|e| e.to_string())?,
            encrypt: format!("{mount}/encrypt/{}", config.key_name),
            decrypt: format!("{mount}/decrypt/{}", config.key_name),
            prefix: config.key_id_prefix,
            renews: !config.disable_renewal,
            latest: Mutex::new(None),
        })
    }

    async fn ask(&self, path: &str, body: &Value, field: &str) -> Result<SecretString, SealFault> {
        let reply = self.client.send(&Request::put(path).json(body)).await.and_then(Reply::check).map_err(fault)?;
        let answer: Value = reply.json().map_err(|e| away(e.to_string()))?;
        let text = answer.pointer(&format!("/data/{field}")).and_then(Value::as_str);
        text.map(SecretString::from).ok_or_else(|| away(format!("its answer has no {field}")))
    }

    async fn hide(&self, plain: &SecretBytes) -> Result<Blob, SealFault> {
        let body = json!({ "plaintext": BASE64_STANDARD.encode(plain.expose()) });
        let text = self.ask(&self.encrypt, &body, "ciphertext").await?;
        let version = version_of(text.expose()).ok_or_else(|| away("its answer is no ciphertext".into()))?;
        let key_id = format!("{}{version}", self.prefix);
        if let Ok(mut latest) = self.latest.lock() {
            *latest = Some(key_id.clone());
        }
        Ok(Blob { seal: TYPE.into(), key_id, ciphertext: text.expose().as_bytes().to_vec() })
    }

    async fn reveal(&self, blob: &Blob) -> Result<SecretBytes, SealFault> {
        let foreign = || SealFault::Foreign(TYPE, "it is no ciphertext of a transit engine".into());
        let text = std::str::from_utf8(&blob.ciphertext).map_err(|_| foreign())?;
        version_of(text).ok_or_else(foreign)?;
        let plain = self.ask(&self.decrypt, &json!({ "ciphertext": text }), "plaintext").await?;
        BASE64_STANDARD.decode(plain.expose()).map(SecretBytes::new).map_err(|_| away("its answer is not base64".into()))
    }

    /// Renews the token at half its time. A token that cannot be renewed is left alone.
    async fn renew(&self) {
        loop {
            let looked = self.client.send(&Request::get("auth/token/lookup-self")).await;
            let looked = looked.and_then(Reply::check).and_then(Reply::json::<Value>);
            let wait = match looked {
                Ok(answer) => {
                    let renewable = answer.pointer("/data/renewable").and_then(Value::as_bool).unwrap_or(false);
                    let ttl = answer.pointer("/data/ttl").and_then(Value::as_u64).unwrap_or(0);
                    if !renewable || ttl == 0 {
                        return;
                    }
                    Duration::from_secs(ttl / 2).max(RENEWAL_MIN)
                }
                Err(e) => {
                    tracing::warn!(error = %e, "the transit seal's token could not be looked up");
                    tokio::time::sleep(RENEWAL_RETRY).await;
                    continue;
                }
            };
            tokio::time::sleep(wait).await;
            let renewed = self.client.send(&Request::put("auth/token/renew-self").json(&json!({}))).await;
            if let Err(e) = renewed.and_then(Reply::check) {
                tracing::warn!(error = %e, "the transit seal's token could not be renewed");
            }
        }
    }
}

impl SealWrapper for TransitSeal {
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
        self.latest.lock().is_ok_and(|latest| latest.as_ref().is_none_or(|id| *id == blob.key_id))
    }

    fn keep_alive(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.renews {
                self.renew().await;
            }
        })
    }
}

/// `v1` of `vault:v1:…`.
fn version_of(ciphertext: &str) -> Option<&str> {
    let (version, rest) = ciphertext.strip_prefix("vault:")?.split_once(':')?;
    let digits = version.strip_prefix('v')?;
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && !rest.is_empty()).then_some(version)
}

fn away(why: String) -> SealFault {
    SealFault::Away { seal: TYPE, why }
}

/// Statuses of the client's own making do not heal by waiting; everything else may.
fn fault(error: ClientError) -> SealFault {
    match &error {
        ClientError::Response(r) if (400..500).contains(&r.status) && r.status != 429 => {
            SealFault::Refused { seal: TYPE, why: format!("status {}: {}", r.status, r.errors.join(", ")) }
        }
        _ => away(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertexts_have_a_version() {
        assert_eq!(version_of("vault:v12:abc"), Some("v12"));
        for bad in ["", "vault:", "vault:v:abc", "vault:v1", "vault:v1:", "vault:1:abc", "other:v1:abc", "vault:vx:abc"] {
            assert_eq!(version_of(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_told_apart_from_a_foreign_key() {
        let config = TransitConfig { address: "http://127.0.0.1:1".into(), key_name: "k".into(), ..TransitConfig::default() };
        let seal = TransitSeal::new(config.clone()).unwrap();
        let blob = |text: &str| Blob { seal: TYPE.into(), key_id: "v1".into(), ciphertext: text.as_bytes().to_vec() };
        assert!(matches!(seal.open(&blob("vault:v1:abc")).await, Err(SealFault::Away { .. })));
        assert!(matches!(seal.open(&blob("abc")).await, Err(SealFault::Foreign(..))));
        assert_eq!(TransitSeal::new(TransitConfig { key_name: String::new(), ..config }).err().unwrap(), "key_name is missing");
    }
}
