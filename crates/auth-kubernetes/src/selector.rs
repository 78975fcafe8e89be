//! `bound_service_account_namespace_selector`: a Kubernetes label selector, as JSON or YAML, of which `matchLabels` counts.
//!
//! Deliberately absent: `matchExpressions`. Stricter than the reference on purpose: a selector without any label, or with a field
//! that is not known (a misspelt `matchLabel`), would match every namespace, so it is refused.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limits::SELECTOR_MAX_BYTES;

/// A selector that selects something: at least one label.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector(BTreeMap<String, String>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(default)]
    match_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    match_expressions: Option<Vec<serde::de::IgnoredAny>>,
}

impl Selector {
    /// Reads a selector; `None` if it is not one we can honour in full.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > SELECTOR_MAX_BYTES {
            return None;
        }
        let written = match text.trim_start().starts_with('{').then(|| serde_json::from_str::<Written>(text)) {
            Some(Ok(written)) => written,
            // A flow mapping of YAML may begin like JSON. By way of a value, so that `1` and `true` do not become texts.
            _ => serde_yaml_ng::from_value(serde_yaml_ng::from_str(text).ok()?).ok()?,
        };
        let no_expressions = written.match_expressions.is_none_or(|e| e.is_empty());
        written.match_labels.filter(|labels| no_expressions && !labels.is_empty()).map(Self)
    }

    /// Whether every label is there with the value that is asked for.
    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_say_the_same() {
        let want = Selector::parse(r#"{"matchLabels": {"team": "alpha", "tier": "1"}}"#);
        assert!(want.is_some());
        for text in [
            "matchLabels:\n  team: alpha\n  tier: \"1\"\n",
            "{matchLabels: {team: alpha, tier: '1'}}",
            "{\"matchLabels\":\t{\"team\":\"alpha\",\"tier\":\"1\"},\"matchExpressions\":[]}",
        ] {
            assert_eq!(Selector::parse(text), want, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_in_full_is_refused() {
        let long = format!("{{\"matchLabels\": {{\"a\": \"{}\"}}}}", "b".repeat(SELECTOR_MAX_BYTES));
        for text in [
            "not json",
            "",
            "{",
            "[]",
            "{}",
            "null",
            "5",
            "matchLabels:",
            "{\"matchLabels\": {}}",
            "{\"matchLabels\": []}",
            "{\"matchLabels\": {\"a\": 1}}",
            "matchLabels:\n  a: true\n",
            "{\"matchLabel\": {\"a\": \"b\"}}",
            "{\"matchLabels\": {\"a\": \"b\"}, \"matchExpressions\": [{\"key\": \"a\", \"operator\": \"Exists\"}]}",
            "{\"matchExpressions\": [{\"key\": \"a\", \"operator\": \"In\", \"values\": [\"b\"]}]}",
            "{\"matchLabels\": {\"a\": \"b\"}, \"extra\": 1}",
            "matchLabels: &a\n  x: *a\n",
            &long,
        ] {
            assert_eq!(Selector::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_label_must_be_there() {
        let selector = Selector::parse(r#"{"matchLabels": {"team": "alpha", "env": "prod"}}"#).unwrap();
        let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert!(selector.matches(&labels(&[("team", "alpha"), ("env", "prod"), ("x", "y")])));
        for missing in [&[][..], &[("team", "alpha")], &[("team", "alpha"), ("env", "Prod")], &[("team", ""), ("env", "prod")]] {
            assert!(!selector.matches(&labels(missing)), "{missing:?}");
        }
    }
}
