//! `sys/policies/password`: rules for passwords that engines make up, and the making.
//!
//! Deliberately absent: other rules than `charset` (Vault has none), and other sources of randomness than the server's.

use std::collections::BTreeSet;

use api_types::Operation;
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use hcl1::{Node, Object};
use secret::Entropy;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::SystemEngine;
use super::policies::{LISTING, is_name, names_below, page_of, plain_text};

const ROWS: &str = "sys/password_policy/";

/// Vault's bounds: shorter is guessed, longer serves nobody.
const LENGTH_MIN_CHARS: usize = 4;
const LENGTH_MAX_CHARS: usize = 100;
/// Candidates tried before the rules are called impossible. Vault tries for one second; this takes a few milliseconds.
const CANDIDATES_MAX: usize = 10_000;

#[derive(Serialize, Deserialize)]
struct Row {
    policy: String,
    #[serde(default)]
    entropy_source: String,
}

const NAME: Field = Field::new("name", FieldKind::String, "Name of the password policy.");
const NAME_ONLY: &[Field] = &[NAME];
const FIELDS: &[Field] = &[
    NAME,
    Field::new("policy", FieldKind::String, "The rules, as HCL or JSON, also in base64."),
    Field::new("entropy_source", FieldKind::String, "Where randomness comes from; only the platform."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("policies/password/?", LISTING, "List the password policies.").on(Operation::List, "List the policies.", list),
        Route::new("policies/password/{name...}/generate", NAME_ONLY, "Make a password by a policy.").on(
            Operation::Read,
            "Make a password.",
            generate,
        ),
        Route::new("policies/password/{name...}", FIELDS, "Read, write or delete a password policy.")
            .on(Operation::Read, "Read the policy.", read)
            .on(Operation::Update, "Write the policy.", write)
            .on(Operation::Delete, "Delete the policy.", delete),
    ]
}

/// Why a password policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PasswordPolicyError {
    #[error("invalid password policy: failed to parse: {0}")]
    Syntax(String),
    #[error("invalid password policy: unknown key {0:?}")]
    UnknownKey(String),
    #[error("invalid password policy: unknown rule {0:?}")]
    UnknownRule(String),
    #[error("invalid password policy: {0:?} must be {1}")]
    WrongType(&'static str, &'static str),
    #[error("invalid password policy: charset must be specified")]
    NoCharset,
    #[error("invalid password policy: charset holds characters that cannot be printed")]
    Unprintable,
    #[error("passwords must be between {LENGTH_MIN_CHARS} and {LENGTH_MAX_CHARS} characters")]
    Length,
    #[error("unable to generate password from provided policy: are the rules impossible?")]
    Impossible,
}

/// A password policy: so many characters out of all sets, at least so many out of each.
pub(crate) struct PasswordPolicy {
    length: usize,
    rules: Vec<(BTreeSet<char>, usize)>,
    all: Vec<char>,
}

impl PasswordPolicy {
    /// Reads `length = N` and `rule "charset" { charset = "…" min-chars = N }`.
    pub(crate) fn parse(text: &str) -> Result<Self, PasswordPolicyError> {
        use PasswordPolicyError as E;
        let document = hcl1::parse(text).map_err(|e| E::Syntax(e.to_string()))?;
        if let Some(key) = document.unknown_keys(&["length", "rule"]).next() {
            return Err(E::UnknownKey(key.text.clone()));
        }
        let length = number(&document, "length")?.unwrap_or(0);
        let mut rules = Vec::new();
        for block in document.blocks("rule", 1).map_err(|e| E::Syntax(e.to_string()))? {
            let kind = block.labels.first().map_or("", |k| k.text.as_str());
            if kind != "charset" {
                return Err(E::UnknownRule(kind.to_owned()));
            }
            if let Some(key) = block.body.unknown_keys(&["charset", "min-chars"]).next() {
                return Err(E::UnknownKey(key.text.clone()));
            }
            let set = block.body.attribute("charset").ok_or(E::NoCharset)?;
            let set: BTreeSet<char> = set.as_str().ok_or(E::WrongType("charset", "a string"))?.chars().collect();
            if set.is_empty() {
                return Err(E::NoCharset);
            }
            if set.iter().any(|c| c.is_control()) {
                return Err(E::Unprintable);
            }
            rules.push((set, number(block.body, "min-chars")?.unwrap_or(0)));
        }
        if !(LENGTH_MIN_CHARS..=LENGTH_MAX_CHARS).contains(&length) {
            return Err(E::Length);
        }
        let all: BTreeSet<char> = rules.iter().flat_map(|(set, _)| set.iter().copied()).collect();
        if all.is_empty() {
            return Err(E::NoCharset);
        }
        Ok(Self { length, rules, all: all.into_iter().collect() })
    }

    /// A password, uniformly out of all that the rules allow: candidates that break a rule are thrown away.
    pub(crate) fn generate(&self, entropy: &dyn Entropy) -> Result<String, EngineError> {
        for _ in 0..CANDIDATES_MAX {
            let candidate = self.candidate(entropy)?;
            if self.rules.iter().all(|(set, min)| candidate.chars().filter(|c| set.contains(c)).count() >= *min) {
                return Ok(candidate);
            }
        }
        Err(EngineError::Rejected(PasswordPolicyError::Impossible.to_string()))
    }

    fn candidate(&self, entropy: &dyn Entropy) -> Result<String, EngineError> {
        let count = u32::try_from(self.all.len()).unwrap_or(u32::MAX).max(1);
        // Numbers from here on would favour the first characters.
        let fair = u32::MAX - u32::MAX % count;
        let (mut out, mut picked) = (String::new(), 0);
        while picked < self.length {
            for bytes in entropy.bytes((self.length - picked) * 4)?.chunks_exact(4) {
                let number = bytes.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
                let index = usize::try_from(number % count).unwrap_or(0);
                if let (true, Some(c)) = (number < fair, self.all.get(index)) {
                    out.push(*c);
                    picked += 1;
                }
            }
        }
        Ok(out)
    }
}

fn number(object: &Object, key: &'static str) -> Result<Option<usize>, PasswordPolicyError> {
    let wrong = PasswordPolicyError::WrongType(key, "a whole number");
    match object.attribute(key).map(Node::to_json) {
        None => Ok(None),
        Some(Value::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()).map(Some).ok_or(wrong),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong),
        Some(_) => Err(wrong),
    }
}

fn list(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let names = names_below(&mut call.view, ROWS)?;
    Ok(Some(Response::list(page_of(names, &call.fields))))
}

fn row(call: &mut Call<'_>) -> Result<Option<std::sync::Arc<Row>>, EngineError> {
    let name = call.fields.str("name");
    if !is_name(name) {
        return Ok(None);
    }
    Ok(call.view.get_json::<Row>(&format!("{ROWS}{name}"))?)
}

fn read(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let Some(row) = row(call)? else { return Ok(None) };
    let mut data = json!({ "policy": row.policy });
    if let (Some(map), false) = (data.as_object_mut(), row.entropy_source.is_empty()) {
        map.insert("entropy_source".into(), row.entropy_source.clone().into());
    }
    Ok(Some(Response::json(data)))
}

fn write(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if !is_name(&name) {
        return Err(EngineError::Rejected("missing policy name".to_owned()));
    }
    let sent = call.fields.str("policy");
    if sent.is_empty() {
        return Err(EngineError::Rejected("missing policy".to_owned()));
    }
    let source = call.fields.str("entropy_source").to_owned();
    if !matches!(source.as_str(), "" | "platform") {
        return Err(EngineError::Rejected(format!("unsupported entropy source {source:?}")));
    }
    let text = plain_text(sent);
    let policy = PasswordPolicy::parse(&text).map_err(|e| EngineError::Rejected(e.to_string()))?;
    // Rules that nothing can satisfy are found now and not when a password is needed.
    policy.generate(call.entropy)?;
    call.view.put_json(&format!("{ROWS}{name}"), &Row { policy: text, entropy_source: source })?;
    Ok(None)
}

fn delete(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    if is_name(&name) {
        call.view.delete(&format!("{ROWS}{name}"))?;
    }
    Ok(None)
}

fn generate(_: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let Some(row) = row(call)? else { return Ok(None) };
    let policy = PasswordPolicy::parse(&row.policy).map_err(|e| EngineError::internal(e.to_string()))?;
    Ok(Some(Response::json(json!({ "password": policy.generate(call.entropy)? }))))
}

#[cfg(test)]
mod tests {
    use secret::SeededEntropy;

    use super::*;

    const ASCII: &str = r#"
        length = 20
        rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
        rule "charset" { charset = "ABCDEFGHIJKLMNOPQRSTUVWXYZ" min-chars = 1 }
        rule "charset" { charset = "0123456789" min-chars = 5 }
    "#;

    #[test]
    fn passwords_keep_every_rule_and_differ() {
        let policy = PasswordPolicy::parse(ASCII).unwrap();
        let entropy = SeededEntropy::new(7);
        let mut seen = BTreeSet::new();
        for _ in 0..500 {
            let password = policy.generate(&entropy).unwrap();
            assert_eq!(password.chars().count(), 20);
            assert!(password.chars().all(|c| c.is_ascii_alphanumeric()), "{password}");
            assert!(password.chars().filter(char::is_ascii_digit).count() >= 5, "{password}");
            assert!(password.chars().any(|c| c.is_ascii_lowercase()) && password.chars().any(|c| c.is_ascii_uppercase()));
            assert!(seen.insert(password));
        }
    }

    #[test]
    fn every_character_is_as_likely() {
        let policy = PasswordPolicy::parse("length = 100\nrule \"charset\" { charset = \"abcäö\" }").unwrap();
        let entropy = SeededEntropy::new(8);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..500 {
            for c in policy.generate(&entropy).unwrap().chars() {
                *counts.entry(c).or_insert(0u32) += 1;
            }
        }
        assert_eq!(counts.len(), 5);
        assert!(counts.values().all(|n| (9_400..10_600).contains(n)), "{counts:?}");
    }

    #[test]
    fn json_and_doubled_characters_are_fine() {
        let policy =
            PasswordPolicy::parse(r#"{"length": 4, "rule": [{"charset": {"charset": "aab", "min-chars": 2}}]}"#).unwrap();
        assert_eq!(policy.all, ['a', 'b']);
    }

    #[test]
    fn bad_policies_are_refused_in_words() {
        for (text, want) in [
            ("", "passwords must be between 4 and 100 characters"),
            ("length = 3\nrule \"charset\" { charset = \"ab\" }", "passwords must be between 4 and 100 characters"),
            ("length = 101\nrule \"charset\" { charset = \"ab\" }", "passwords must be between 4 and 100 characters"),
            ("length = 8", "invalid password policy: charset must be specified"),
            ("length = 8\nrule \"charset\" { charset = \"\" }", "invalid password policy: charset must be specified"),
            ("length = 8\nrule \"charset\" { min-chars = 2 }", "invalid password policy: charset must be specified"),
            ("length = 8\nrule \"regex\" { charset = \"ab\" }", "invalid password policy: unknown rule \"regex\""),
            ("length = 8\nrule \"charset\" { charset = \"ab\" max = 1 }", "invalid password policy: unknown key \"max\""),
            ("size = 8", "invalid password policy: unknown key \"size\""),
            ("length = true", "invalid password policy: \"length\" must be a whole number"),
            ("length = -8\nrule \"charset\" { charset = \"ab\" }", "invalid password policy: \"length\" must be a whole number"),
            ("length = 8\nrule \"charset\" { charset = 5 }", "invalid password policy: \"charset\" must be a string"),
            (
                "length = 8\nrule \"charset\" { charset = \"a\\n\" }",
                "invalid password policy: charset holds characters that cannot be printed",
            ),
        ] {
            assert_eq!(PasswordPolicy::parse(text).err().map(|e| e.to_string()).as_deref(), Some(want), "{text}");
        }
        assert!(matches!(PasswordPolicy::parse("length = {"), Err(PasswordPolicyError::Syntax(_))));
    }

    #[test]
    fn impossible_rules_end() {
        let text = "length = 4\nrule \"charset\" { charset = \"ab\" min-chars = 3 }\nrule \"charset\" { charset = \"cd\" min-chars = 3 }";
        let error = PasswordPolicy::parse(text).unwrap().generate(&SeededEntropy::new(1)).unwrap_err();
        assert!(error.to_string().contains("are the rules impossible?"), "{error}");
    }
}
