//! The `token_*` parameters that every auth method's role shares (contract §3.6), with their deprecated twins.

use std::net::IpAddr;
use std::time::Duration;

use api_types::{Map, duration};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Auth, EngineError, Field, FieldKind, Fields, TokenType};

/// The shared fields, to be joined to a role's own.
pub const TOKEN_FIELDS: [Field; 9] = [
    Field::new("token_ttl", FieldKind::DurationSecond, "The initial TTL of the token to generate."),
    Field::new("token_max_ttl", FieldKind::DurationSecond, "The maximum lifetime of the generated token."),
    Field::new("token_policies", FieldKind::CommaStringSlice, "Comma-separated list of policies."),
    Field::new("token_bound_cidrs", FieldKind::CommaStringSlice, "CIDR blocks from which the token may be used and issued."),
    Field::new("token_explicit_max_ttl", FieldKind::DurationSecond, "A hard limit on the token's lifetime, from its issue."),
    Field::new("token_no_default_policy", FieldKind::Bool, "Leave the default policy out."),
    Field::new("token_num_uses", FieldKind::Int, "How often the token may be used; 0 is any number."),
    Field::new("token_period", FieldKind::DurationSecond, "Makes the token periodic: renewable for ever by this much."),
    Field::new("token_type", FieldKind::String, "service, batch, default, default-service or default-batch."),
];

/// The shared parameters as a role keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenParams {
    /// Initial TTL in seconds; 0 is the mount's default.
    pub token_ttl: u64,
    /// Maximum TTL in seconds; 0 is the mount's maximum.
    pub token_max_ttl: u64,
    /// Policies as they were written.
    pub token_policies: Vec<String>,
    /// CIDRs or addresses as they were written.
    pub token_bound_cidrs: Vec<String>,
    /// Hard limit in seconds; 0 is none.
    pub token_explicit_max_ttl: u64,
    /// Without the `default` policy.
    pub token_no_default_policy: bool,
    /// Uses; 0 is any number.
    pub token_num_uses: u64,
    /// Period in seconds; 0 is not periodic.
    pub token_period: u64,
    /// Kind of token.
    pub token_type: TokenType,
}

impl TokenParams {
    /// Takes over what was sent and checks it; what was not sent stays. The texts are Vault's.
    pub fn update(&mut self, fields: &Fields) -> Result<(), EngineError> {
        let seconds = |name: &str, into: &mut u64| {
            if let Some(d) = fields.duration(name) {
                *into = d.as_secs();
            }
        };
        seconds("token_ttl", &mut self.token_ttl);
        seconds("token_max_ttl", &mut self.token_max_ttl);
        seconds("token_explicit_max_ttl", &mut self.token_explicit_max_ttl);
        seconds("token_period", &mut self.token_period);
        if let Some(cidrs) = fields.texts("token_bound_cidrs") {
            check_cidrs(cidrs)?;
            self.token_bound_cidrs = cidrs.to_vec();
        }
        if let Some(policies) = fields.texts("token_policies") {
            self.token_policies = policies.to_vec();
        }
        if let Some(no_default) = fields.bool("token_no_default_policy") {
            self.token_no_default_policy = no_default;
        }
        if let Some(n) = fields.int("token_num_uses") {
            self.token_num_uses = u64::try_from(n).map_err(|_| EngineError::invalid("'token_num_uses' cannot be negative"))?;
        }
        if let Some(text) = fields.text("token_type") {
            self.token_type =
                TokenType::parse(text).ok_or_else(|| EngineError::Invalid(format!("invalid 'token_type' value {text:?}")))?;
        }
        self.check()
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.token_max_ttl > 0 && self.token_ttl > self.token_max_ttl {
            return Err(EngineError::invalid("'token_ttl' cannot be greater than 'token_max_ttl'"));
        }
        if matches!(self.token_type, TokenType::Batch | TokenType::DefaultBatch) {
            if self.token_period != 0 {
                return Err(EngineError::invalid(
                    "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
                ));
            }
            if self.token_num_uses != 0 {
                return Err(EngineError::invalid(
                    "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
                ));
            }
        }
        Ok(())
    }

    /// Copies a deprecated twin (`ttl`, `policies`, …) into the modern field when only the twin was sent; answers whether
    /// it was. Call before [`TokenParams::update`], with the twin's decoded fields.
    pub fn from_deprecated(&mut self, fields: &Fields, twin: &str, modern: &str) -> Result<bool, EngineError> {
        if !fields.has(twin) || fields.has(modern) {
            return Ok(false);
        }
        match modern {
            "token_policies" => self.token_policies = fields.texts(twin).unwrap_or_default().to_vec(),
            "token_bound_cidrs" => {
                let cidrs = fields.texts(twin).unwrap_or_default();
                check_cidrs(cidrs)?;
                self.token_bound_cidrs = cidrs.to_vec();
            }
            "token_num_uses" => {
                self.token_num_uses = u64::try_from(fields.int(twin).unwrap_or_default())
                    .map_err(|_| EngineError::Invalid(format!("'{twin}' cannot be negative")))?;
            }
            _ => {
                let seconds = fields.duration(twin).unwrap_or_default().as_secs();
                match modern {
                    "token_ttl" => self.token_ttl = seconds,
                    "token_max_ttl" => self.token_max_ttl = seconds,
                    "token_period" => self.token_period = seconds,
                    "token_explicit_max_ttl" => self.token_explicit_max_ttl = seconds,
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Adds the nine fields to a role's answer.
    pub fn show(&self, data: &mut Map) {
        data.insert("token_ttl".into(), self.token_ttl.into());
        data.insert("token_max_ttl".into(), self.token_max_ttl.into());
        data.insert("token_policies".into(), self.token_policies.clone().into());
        data.insert("token_bound_cidrs".into(), self.token_bound_cidrs.iter().map(|c| Value::from(shown_cidr(c))).collect());
        data.insert("token_explicit_max_ttl".into(), self.token_explicit_max_ttl.into());
        data.insert("token_no_default_policy".into(), self.token_no_default_policy.into());
        data.insert("token_num_uses".into(), self.token_num_uses.into());
        data.insert("token_period".into(), self.token_period.into());
        data.insert("token_type".into(), self.token_type.as_str().into());
    }

    /// Gives a login what the role says.
    pub fn apply(&self, auth: &mut Auth) {
        auth.ttl = Duration::from_secs(self.token_ttl);
        auth.max_ttl = Duration::from_secs(self.token_max_ttl);
        auth.policies.extend(self.token_policies.iter().cloned());
        auth.bound_cidrs.clone_from(&self.token_bound_cidrs);
        auth.explicit_max_ttl = Duration::from_secs(self.token_explicit_max_ttl);
        auth.no_default_policy = self.token_no_default_policy;
        auth.num_uses = self.token_num_uses;
        auth.period = Duration::from_secs(self.token_period);
        auth.token_type = self.token_type;
        auth.renewable = true;
    }

    /// Gives a renewed login the times that the role has now; everything else stays as it was issued.
    pub fn renew(&self, auth: &mut Auth) {
        auth.ttl = Duration::from_secs(self.token_ttl);
        auth.max_ttl = Duration::from_secs(self.token_max_ttl);
        auth.period = Duration::from_secs(self.token_period);
    }

    /// Warns, in Vault's words, where the role asks for more than the mount gives.
    #[must_use]
    pub fn max_ttl_warning(&self, mount_max: Duration) -> Option<String> {
        let wanted = Duration::from_secs(self.token_max_ttl);
        (wanted > mount_max).then(|| {
            format!(
                "token_max_ttl of {:?} is greater than the backend mount's maximum TTL of {:?}; issued tokens' max TTL value will be truncated",
                wanted.as_secs(),
                mount_max.as_secs()
            )
        })
    }
}

/// A single address is shown without its prefix length, a network with it, as Vault shows them.
/// The deprecated names of shared fields, each with the modern one.
pub const TWINS: [(&str, &str); 6] = [
    ("policies", "token_policies"),
    ("bound_cidrs", "token_bound_cidrs"),
    ("num_uses", "token_num_uses"),
    ("ttl", "token_ttl"),
    ("max_ttl", "token_max_ttl"),
    ("period", "token_period"),
];

/// Keeps in mind which deprecated names a role was written with: one that was not sent along with its modern twin is forgotten.
pub fn note_twins(twins: &mut Vec<String>, fields: &Fields) {
    for (twin, modern) in TWINS {
        if fields.has(twin) || fields.has(modern) {
            twins.retain(|t| t != twin);
        }
        if fields.has(twin) {
            twins.push(twin.to_owned());
        }
    }
}

/// Shows the noted deprecated names beside the modern ones that [`TokenParams::show`] put there, unless they are 0 or empty.
pub fn show_twins(twins: &[String], data: &mut Map) {
    let is_zero = |value: &Value| match value {
        Value::Number(n) => n.as_u64() == Some(0),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    for (twin, modern) in TWINS {
        let value = data.get(modern).filter(|v| twins.iter().any(|t| t == twin) && !is_zero(v)).cloned();
        if let Some(value) = value {
            data.insert(twin.to_owned(), value);
        }
    }
}

fn shown_cidr(text: &str) -> String {
    match text.parse::<IpNet>() {
        Ok(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Ok(net) => net.trunc().to_string(),
        Err(_) => text.to_owned(),
    }
}

/// Refuses what is neither a CIDR nor an address, in Vault's words.
pub fn check_cidrs(cidrs: &[String]) -> Result<(), EngineError> {
    for text in cidrs {
        if parse_cidr(text).is_none() {
            return Err(EngineError::Invalid(format!(
                "error parsing address {text:?}: Unable to convert {text:?} to an IPv4 or IPv6 address, or a UNIX Socket"
            )));
        }
    }
    Ok(())
}

/// A CIDR, or an address as the network of that one address.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether `addr` is inside one of the networks; no networks means anywhere. An unknown address is inside none.
#[must_use]
pub fn cidrs_allow(cidrs: &[String], addr: Option<IpAddr>) -> bool {
    let addr = addr.map(|a| a.to_canonical());
    cidrs.is_empty() || addr.is_some_and(|a| cidrs.iter().filter_map(|c| parse_cidr(c)).any(|net| net.contains(&a)))
}

/// The words for a duration in warnings and errors of auth methods: Go's form.
#[must_use]
pub fn shown_duration(seconds: u64) -> String {
    duration::go_string(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(data: Value) -> Fields {
        let Value::Object(map) = data else { panic!("an object") };
        Fields::decode(&TOKEN_FIELDS, &[], &map).unwrap()
    }

    #[test]
    fn refuses_in_the_words_clients_know() {
        for (data, text) in [
            (json!({"token_type": "weird"}), "invalid 'token_type' value \"weird\""),
            (json!({"token_ttl": "2h", "token_max_ttl": "1h"}), "'token_ttl' cannot be greater than 'token_max_ttl'"),
            (
                json!({"token_bound_cidrs": "nowhere"}),
                "error parsing address \"nowhere\": Unable to convert \"nowhere\" to an IPv4 or IPv6 address, or a UNIX Socket",
            ),
            (json!({"token_num_uses": -1}), "'token_num_uses' cannot be negative"),
        ] {
            assert_eq!(TokenParams::default().update(&fields(data)).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn keeps_what_was_not_sent() {
        let mut p = TokenParams::default();
        p.update(&fields(json!({"token_policies": ["a"], "token_ttl": 60}))).unwrap();
        p.update(&fields(json!({"token_ttl": 30}))).unwrap();
        assert_eq!((p.token_ttl, p.token_policies.as_slice()), (30, ["a".to_owned()].as_slice()));
    }

    #[test]
    fn addresses_are_matched_by_network() {
        let nets = vec!["10.0.0.0/8".to_owned(), "127.0.0.1".to_owned()];
        assert!(cidrs_allow(&nets, "10.1.2.3".parse().ok()));
        assert!(cidrs_allow(&nets, "::ffff:127.0.0.1".parse().ok()));
        assert!(!cidrs_allow(&nets, "11.1.2.3".parse().ok()));
        assert!(!cidrs_allow(&nets, None));
        assert!(cidrs_allow(&[], None));
    }
}
