//! A provider's discovery document (OpenID Connect Discovery 1.0 §4) and which of its addresses may be used. Pure.

use serde::Deserialize;
use url::{Host, Url};

/// Why a discovery document is of no use. For the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("the discovery document is not readable")]
    Unreadable,
    #[error("the discovery document's issuer is not the configured address")]
    Issuer,
    #[error("the discovery document's {0} may not be used")]
    Endpoint(&'static str),
}

/// What counts of the document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    #[serde(default)]
    pub(crate) authorization_endpoint: String,
    #[serde(default)]
    pub(crate) token_endpoint: String,
    pub(crate) jwks_uri: String,
    #[serde(default)]
    pub(crate) userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Provider {
    /// Where the document of a configured address is.
    pub(crate) fn document_url(configured: &str) -> String {
        format!("{}/.well-known/openid-configuration", configured.strip_suffix('/').unwrap_or(configured))
    }

    /// Reads and checks. `for_sign_in` demands what a browser's sign-in needs besides keys.
    pub(crate) fn parse(document: &[u8], configured: &str) -> Result<Self, ProviderError> {
        let provider: Self = serde_json::from_slice(document).map_err(|_| ProviderError::Unreadable)?;
        if provider.issuer != configured {
            return Err(ProviderError::Issuer);
        }
        let home = Url::parse(configured).map_err(|_| ProviderError::Issuer)?;
        let may = |text: &str| Url::parse(text).is_ok_and(|url| may_follow(&home, &url));
        let mut named = vec![("jwks_uri", Some(provider.jwks_uri.as_str()))];
        named.push(("authorization_endpoint", Some(provider.authorization_endpoint.as_str()).filter(|t| !t.is_empty())));
        named.push(("token_endpoint", Some(provider.token_endpoint.as_str()).filter(|t| !t.is_empty())));
        named.push(("userinfo_endpoint", provider.userinfo_endpoint.as_deref()));
        match named.into_iter().find(|(_, text)| text.is_some_and(|t| !may(t))) {
            Some((name, _)) => Err(ProviderError::Endpoint(name)),
            None => Ok(provider),
        }
    }

    /// Whether the client shows itself by HTTP Basic; without a list that is what a provider takes (Discovery §3).
    pub(crate) fn takes_basic(&self) -> bool {
        self.token_endpoint_auth_methods_supported.as_ref().is_none_or(|all| all.iter().any(|m| m == "client_secret_basic"))
    }
}

/// The operator chose the provider; the provider's document chooses further addresses (class T). Those may be on other hosts, as
/// large providers have it, but neither less protected than the document nor on this very machine, unless the provider is.
fn may_follow(home: &Url, target: &Url) -> bool {
    let scheme = target.scheme() == "https" || (target.scheme() == "http" && home.scheme() == "http");
    scheme && target.username().is_empty() && target.password().is_none() && (!is_here(target) || is_here(home))
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => v4.is_loopback() || v4.is_unspecified(),
        Some(Host::Ipv6(v6)) => {
            let mapped = v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback() || v4.is_unspecified());
            v6.is_loopback() || v6.is_unspecified() || mapped
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(configured: &str, change: &[(&str, &str)]) -> Result<Provider, ProviderError> {
        let mut document = json!({
            "issuer": configured, "jwks_uri": format!("{configured}/jwks"), "authorization_endpoint": format!("{configured}/auth"),
            "token_endpoint": format!("{configured}/token"),
        });
        for (name, value) in change {
            document[*name] = json!(value);
        }
        Provider::parse(document.to_string().as_bytes(), configured)
    }

    #[test]
    fn class_t_a_document_may_not_lead_to_this_machine_or_off_tls() {
        const HOME: &str = "https://idp.example";
        assert!(with(HOME, &[("jwks_uri", "https://keys.example/jwks")]).is_ok());
        for target in [
            "http://idp.example/x",
            "http://169.254.169.254/x",
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://0x7f000001/x",
            "https://0.0.0.0/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://localhost:8200/v1/sys/seal",
            "https://LOCALHOST./x",
            "https://a.localhost/x",
            "https://u:p@idp.example/x",
            "file:///etc/passwd",
            "ftp://idp.example/x",
            "/relative",
            "x",
        ] {
            for name in ["jwks_uri", "token_endpoint", "userinfo_endpoint", "authorization_endpoint"] {
                assert!(matches!(with(HOME, &[(name, target)]), Err(ProviderError::Endpoint(_))), "{name} {target}");
            }
        }
        assert!(with("http://127.0.0.1:9", &[("token_endpoint", "http://localhost:9/token")]).is_ok());
    }

    #[test]
    fn the_issuer_is_the_configured_address_to_the_letter() {
        const HOME: &str = "https://idp.example/realm";
        for issuer in
            ["https://idp.example/realm/", "https://IDP.example/realm", "https://idp.example", "https://evil.example", ""]
        {
            assert_eq!(with(HOME, &[("issuer", issuer)]), Err(ProviderError::Issuer), "{issuer}");
        }
        for text in ["", "[]", "{}", "null", "{\"issuer\": 1}", "{\"issuer\": \"https://idp.example/realm\"}"] {
            assert_eq!(Provider::parse(text.as_bytes(), HOME), Err(ProviderError::Unreadable), "{text}");
        }
    }
}
