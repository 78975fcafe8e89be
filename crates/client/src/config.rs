//! What a client needs to know, read from the environment of Vault's own client.
//!
//! Deliberately absent: reading files (see `tls`) and opening sockets; this is the pure part.

use std::time::Duration;

use api_types::duration;
use secret::SecretString;

use crate::environment::Environment;
use crate::limits::{DEFAULT_ADDRESS, DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, RETRY_WAIT_MAX, RETRY_WAIT_MIN};

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable holds something else than its type.
    #[error("could not parse {0}")]
    Variable(&'static str),
    /// The address is no URL, or its scheme is unknown.
    #[error("invalid address {0:?}: {1}")]
    Address(String, String),
    /// A certificate or key cannot be read.
    #[error("Error loading {what}: {cause}")]
    Certificate {
        /// What was to be loaded, such as `CA File`.
        what: &'static str,
        /// Why not.
        cause: String,
    },
    /// One of certificate and key was given without the other.
    #[error("both client cert and client key must be provided")]
    HalfClientCertificate,
    /// The HTTP or TLS library refused the settings.
    #[error("cannot build the HTTP client: {0}")]
    Build(String),
}

/// How to reach the server through a proxy.
#[derive(Debug, Clone, Default)]
pub enum Proxy {
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the process; never for loopback addresses.
    #[default]
    Environment,
    /// Always this one. A secret, because a proxy's URL may hold a password.
    Url(SecretString),
}

/// Certificates and keys.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// File with PEM roots; replaces the system's.
    pub ca_cert: Option<String>,
    /// PEM roots as text; used if there is no `ca_cert`.
    pub ca_cert_bytes: Option<String>,
    /// Directory of PEM roots; used if neither of the above is set.
    pub ca_path: Option<String>,
    /// File with the client's PEM chain.
    pub client_cert: Option<String>,
    /// File with the client's PEM key.
    pub client_key: Option<String>,
    /// The name that the server's certificate must carry, instead of the address's host.
    pub server_name: Option<String>,
    /// File with the system's roots, if not where distributions keep it (`SSL_CERT_FILE`).
    pub system_roots: Option<String>,
    /// Accept any certificate.
    pub skip_verify: bool,
}

/// Everything a [`crate::Client`] is made from.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http://`, `https://` or `unix://` address of the server.
    pub address: String,
    /// Sent with every request that brings no token of its own.
    pub token: Option<SecretString>,
    /// Sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// Sent as `X-Vault-Wrap-TTL`.
    pub wrap_ttl: Option<String>,
    /// More headers for every request (`X-Vault-MFA`, `-header`).
    pub headers: Vec<(String, String)>,
    /// Certificates and keys.
    pub tls: Tls,
    /// How to reach the server.
    pub proxy: Proxy,
    /// For a whole request.
    pub timeout: Duration,
    /// How often a failed request is sent again.
    pub max_retries: u32,
    /// Shortest pause before a retry.
    pub retry_wait_min: Duration,
    /// Longest pause before the first retry.
    pub retry_wait_max: Duration,
    /// Whether one redirect is followed.
    pub follow_redirect: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: DEFAULT_ADDRESS.to_owned(),
            token: None,
            namespace: None,
            wrap_ttl: None,
            headers: Vec::new(),
            tls: Tls::default(),
            proxy: Proxy::default(),
            timeout: DEFAULT_TIMEOUT,
            max_retries: DEFAULT_MAX_RETRIES,
            retry_wait_min: RETRY_WAIT_MIN,
            retry_wait_max: RETRY_WAIT_MAX,
            follow_redirect: true,
        }
    }
}

impl Config {
    /// Reads `VAULT_ADDR`, `VAULT_AGENT_ADDR` (wins over it), `VAULT_TOKEN`, `VAULT_NAMESPACE`, `VAULT_CACERT`, `VAULT_CAPATH`,
    /// `VAULT_CACERT_BYTES`, `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY`, `VAULT_SKIP_VERIFY`, `VAULT_TLS_SERVER_NAME`,
    /// `VAULT_CLIENT_TIMEOUT`, `VAULT_MAX_RETRIES`, `VAULT_WRAP_TTL`, `VAULT_HTTP_PROXY`, `VAULT_PROXY_ADDR`,
    /// `VAULT_DISABLE_REDIRECTS` and `SSL_CERT_FILE`.
    pub fn from_environment(env: &Environment) -> Result<Self, ConfigError> {
        let own = |name: &str| env.get(name).map(str::to_owned);
        let mut config = Self { token: env.get("VAULT_TOKEN").map(SecretString::from), ..Self::default() };
        if let Some(address) = own("VAULT_AGENT_ADDR").or_else(|| own("VAULT_ADDR")) {
            config.address = address;
        }
        config.namespace = own("VAULT_NAMESPACE");
        config.wrap_ttl = own("VAULT_WRAP_TTL");
        config.tls = Tls {
            ca_cert: own("VAULT_CACERT"),
            ca_cert_bytes: own("VAULT_CACERT_BYTES"),
            ca_path: own("VAULT_CAPATH"),
            client_cert: own("VAULT_CLIENT_CERT"),
            client_key: own("VAULT_CLIENT_KEY"),
            server_name: own("VAULT_TLS_SERVER_NAME"),
            system_roots: own("SSL_CERT_FILE"),
            skip_verify: env.get("VAULT_SKIP_VERIFY").map_or(Ok(false), |v| truth(v, "VAULT_SKIP_VERIFY"))?,
        };
        if let Some(proxy) = env.get("VAULT_PROXY_ADDR").or_else(|| env.get("VAULT_HTTP_PROXY")) {
            config.proxy = Proxy::Url(SecretString::from(proxy));
        }
        if let Some(text) = env.get("VAULT_CLIENT_TIMEOUT") {
            config.timeout = duration::parse(text)
                .ok()
                .and_then(duration::Signed::unsigned)
                .ok_or(ConfigError::Variable("VAULT_CLIENT_TIMEOUT"))?;
        }
        if let Some(text) = env.get("VAULT_MAX_RETRIES") {
            config.max_retries = text.parse().map_err(|_| ConfigError::Variable("VAULT_MAX_RETRIES"))?;
        }
        if let Some(text) = env.get("VAULT_DISABLE_REDIRECTS") {
            config.follow_redirect = !truth(text, "VAULT_DISABLE_REDIRECTS")?;
        }
        Ok(config)
    }
}

/// Go's `strconv.ParseBool`.
fn truth(text: &str, name: &'static str) -> Result<bool, ConfigError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ConfigError::Variable(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_environment(&pairs.iter().copied().collect())
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let c = from(&[("VAULT_ADDR", "")]).unwrap();
        assert_eq!((c.address.as_str(), c.max_retries, c.timeout.as_secs()), ("https://127.0.0.1:8200", 2, 60));
        assert!(c.token.is_none() && c.namespace.is_none() && !c.tls.skip_verify && c.follow_redirect);
    }

    #[test]
    fn every_variable_arrives() {
        let c = from(&[
            ("VAULT_ADDR", "http://a"),
            ("VAULT_AGENT_ADDR", "http://agent"),
            ("VAULT_TOKEN", "hvs.x"),
            ("VAULT_NAMESPACE", "ns1"),
            ("VAULT_CLIENT_TIMEOUT", "5"),
            ("VAULT_MAX_RETRIES", "7"),
            ("VAULT_SKIP_VERIFY", "true"),
            ("VAULT_WRAP_TTL", "1m"),
            ("VAULT_TLS_SERVER_NAME", "vault"),
            ("VAULT_HTTP_PROXY", "http://p:1"),
        ])
        .unwrap();
        assert_eq!((c.address.as_str(), c.max_retries, c.timeout.as_secs()), ("http://agent", 7, 5));
        assert!(c.token.as_ref().is_some_and(|t| t.ct_eq("hvs.x")) && c.tls.skip_verify);
        assert!(matches!(&c.proxy, Proxy::Url(u) if u.expose() == "http://p:1"));
        let shown = format!("{c:?}");
        assert!(!shown.contains("hvs.x") && !shown.contains("http://p:1"), "{shown}");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (name, value) in [
            ("VAULT_CLIENT_TIMEOUT", "soon"),
            ("VAULT_CLIENT_TIMEOUT", "-5s"),
            ("VAULT_MAX_RETRIES", "-1"),
            ("VAULT_MAX_RETRIES", "two"),
            ("VAULT_SKIP_VERIFY", "maybe"),
            ("VAULT_DISABLE_REDIRECTS", "on"),
        ] {
            assert_eq!(from(&[(name, value)]).unwrap_err().to_string(), format!("could not parse {name}"));
        }
    }
}
