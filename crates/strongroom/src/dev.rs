//! Development mode: in memory, one share, unsealed at once, KV at `secret/` (contract §8.6). Never for production, and it says so.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use api_types::Operation;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::Request;
use secret::{Entropy, SecretString, SystemEntropy};
use serde_json::json;
use server_core::{Core, InitRequest};

use crate::config::Config;

/// `-dev-…`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevFlags {
    /// The root token; made up if empty.
    pub root_token: String,
    /// `host:port`.
    pub address: String,
    /// Leave `~/.vault-token` alone.
    pub no_store_token: bool,
    /// KV version 1 at `secret/`.
    pub kv_v1: bool,
    /// Nothing at `secret/`.
    pub no_kv: bool,
}

impl Default for DevFlags {
    fn default() -> Self {
        Self { root_token: String::new(), address: "127.0.0.1:8200".into(), no_store_token: false, kv_v1: false, no_kv: false }
    }
}

impl DevFlags {
    /// The defaults, as the environment sets them.
    pub fn from_environment() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let default = Self::default();
        Self {
            root_token: var("VAULT_DEV_ROOT_TOKEN_ID").unwrap_or_default(),
            address: var("VAULT_DEV_LISTEN_ADDRESS").unwrap_or(default.address),
            ..Self::default()
        }
    }

    /// The configuration of development mode.
    pub fn config(&self) -> Config {
        let text = format!(
            "storage \"inmem\" {{}}\nlistener \"tcp\" {{\n  address = {:?}\n  tls_disable = true\n}}\nui = true\nraw_storage_endpoint = true\n",
            self.address
        );
        let parsed = hcl1::parse(&text).ok().and_then(|o| Config::from_object(&o).ok());
        // Only an address with odd characters gets here; it would not bind either.
        parsed.unwrap_or_else(|| Self::default().config())
    }

    /// Initialises, unseals, mounts KV, and prints what tools look for.
    pub async fn prepare(&self, core: &Arc<Core>) -> Result<(), String> {
        let token = (!self.root_token.is_empty()).then(|| SecretString::from(self.root_token.as_str()));
        let request = InitRequest { secret_shares: 1, secret_threshold: 1, root_token: token, ..InitRequest::default() };
        let made = core.init(request).await.map_err(|e| format!("Error initializing Dev mode: {e}"))?;
        let share = made.shares.into_iter().next().ok_or("Error initializing Dev mode: no share")?;
        let unseal_key = BASE64_STANDARD.encode(share.expose());
        core.unseal(share, false).await.map_err(|e| format!("Error initializing Dev mode: {e}"))?;
        if !self.no_kv {
            self.mount_kv(core, &made.root_token).await?;
        }
        if !self.no_store_token {
            store_token(&made.root_token);
        }
        self.announce(&unseal_key, &made.root_token);
        Ok(())
    }

    async fn mount_kv(&self, core: &Core, token: &SecretString) -> Result<(), String> {
        let mut request = Request::new(Operation::Update, "sys/mounts/secret");
        request.id = SystemEntropy.uuid().map_err(|e| e.to_string())?;
        request.token = token.clone();
        let version = if self.kv_v1 { "1" } else { "2" };
        if let serde_json::Value::Object(data) =
            json!({ "type": "kv", "description": "key/value secret storage", "options": { "version": version } })
        {
            request.data = data;
        }
        match core.handle(request).await.get() {
            server_core::Answer::Failure(f) => Err(format!("Error mounting KV: {}", f.errors.join(", "))),
            _ => Ok(()),
        }
    }

    fn announce(&self, unseal_key: &str, token: &SecretString) {
        let text = format!(
            "WARNING! dev mode is enabled! In this mode, the server runs entirely in memory\n\
             and starts unsealed with a single unseal key. The root token is already\n\
             authenticated to the CLI, so you can immediately begin using it.\n\n\
             You may need to set the following environment variables:\n\n    \
             $ export VAULT_ADDR='http://{}'\n\n\
             The unseal key and root token are displayed below in case you want to\n\
             seal/unseal the server or re-authenticate.\n\n\
             Unseal Key: {unseal_key}\nRoot Token: {}\n\n\
             Development mode should NOT be used in production installations!\n\n",
            self.address,
            token.expose()
        );
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Writes the token where the CLI looks for it, readable by its owner only.
fn store_token(token: &SecretString) {
    let Some(home) = std::env::var_os("HOME") else { return };
    let path = std::path::Path::new(&home).join(".vault-token");
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    if let Err(e) = opened.and_then(|mut f| f.write_all(token.expose().as_bytes())) {
        tracing::warn!(error = %e, "the root token could not be stored for the CLI");
    }
}
