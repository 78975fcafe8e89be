//! What a rule says about a request's parameters and about response wrapping (contract §4.3).

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::{Map, Operation};
use serde_json::Value;

use crate::grant::DenialReason;

/// Lower-case parameter name to the values named for it; no values means any value.
pub(crate) type ValueLists = BTreeMap<String, Vec<Value>>;

/// The conditions of one pattern.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Conditions {
    pub(crate) allowed: ValueLists,
    pub(crate) denied: ValueLists,
    /// Lower case, in the order of the text.
    pub(crate) required: Vec<String>,
    /// Zero: not set.
    pub(crate) min_wrap_ttl: Duration,
    /// Zero: not set.
    pub(crate) max_wrap_ttl: Duration,
}

impl Conditions {
    /// Whether nothing is demanded.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another rule for the same pattern demands.
    pub(crate) fn merge(&mut self, other: &Self) {
        merge_lists(&mut self.allowed, &other.allowed);
        merge_lists(&mut self.denied, &other.denied);
        for name in &other.required {
            if !self.required.contains(name) {
                self.required.push(name.clone());
            }
        }
        self.min_wrap_ttl = smaller_set(self.min_wrap_ttl, other.min_wrap_ttl);
        self.max_wrap_ttl = smaller_set(self.max_wrap_ttl, other.max_wrap_ttl);
    }

    /// Checks a request against them.
    pub(crate) fn check(&self, operation: Operation, data: &Map, wrap_ttl: Option<Duration>) -> Result<(), DenialReason> {
        let wrap_ttl = wrap_ttl.filter(|ttl| !ttl.is_zero());
        let too_long = !self.max_wrap_ttl.is_zero() && wrap_ttl.is_none_or(|ttl| ttl > self.max_wrap_ttl);
        let too_short = !self.min_wrap_ttl.is_zero() && wrap_ttl.is_none_or(|ttl| ttl < self.min_wrap_ttl);
        if too_long || too_short {
            return Err(DenialReason::Wrapping);
        }
        if operation.is_write() || operation == Operation::Read { self.check_parameters(data) } else { Ok(()) }
    }

    fn check_parameters(&self, data: &Map) -> Result<(), DenialReason> {
        if self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty() {
            return Ok(());
        }
        let refuse = |name: &str| Err(DenialReason::Parameter(name.to_owned()));
        let given: Vec<(String, &Value)> = data.iter().map(|(k, v)| (k.to_lowercase(), v)).collect();
        for name in &self.required {
            if !given.iter().any(|(g, _)| g == name) {
                return refuse(name);
            }
        }
        let denies_all = self.denied.contains_key("*");
        for (name, value) in &given {
            if denies_all || self.denied.get(name).is_some_and(|values| values.is_empty() || denies(values, value)) {
                return refuse(name);
            }
        }
        let allows_others = self.allowed.contains_key("*");
        if self.allowed.is_empty() || (allows_others && self.allowed.len() == 1) {
            return Ok(());
        }
        for (name, value) in &given {
            let fine = match self.allowed.get(name) {
                Some(values) => values.is_empty() || allows(values, value),
                None => allows_others,
            };
            if !fine {
                return refuse(name);
            }
        }
        Ok(())
    }
}

/// Newer values come first, as Vault shows them (golden `acl_params`); a list that is empty, "any value", stays empty.
pub(crate) fn merge_lists(into: &mut ValueLists, from: &ValueLists) {
    for (name, values) in from {
        match into.get_mut(name) {
            None => {
                into.insert(name.clone(), values.clone());
            }
            Some(old) if old.is_empty() || values.is_empty() => old.clear(),
            Some(old) => {
                old.splice(0..0, values.iter().cloned());
            }
        }
    }
}

fn smaller_set(a: Duration, b: Duration) -> Duration {
    match (a.is_zero(), b.is_zero()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.min(b),
    }
}

/// Every element of a list, and every part of a comma-joined text, must be one of the values: an engine reads both as a list.
fn allows(values: &[Value], given: &Value) -> bool {
    if values.contains(given) && !given.is_number() {
        return true;
    }
    match given {
        Value::Array(elements) => elements.iter().all(|e| !e.is_array() && allows(values, e)),
        Value::String(text) if text.contains(',') => text.split(',').all(|part| any_glob(values, part.trim())),
        Value::String(text) => any_glob(values, text),
        _ => false,
    }
}

/// Any element or part that is one of the values denies. Numbers are compared by their text: sending `5` for `"5"` is no way around.
fn denies(values: &[Value], given: &Value) -> bool {
    if values.contains(given) {
        return true;
    }
    match given {
        Value::Array(elements) => elements.iter().any(|e| denies(values, e)),
        Value::String(text) => any_glob(values, text) || text.split(',').any(|part| any_glob(values, part.trim())),
        Value::Number(number) => any_glob(values, &number.to_string()),
        Value::Bool(b) => any_glob(values, if *b { "true" } else { "false" }),
        _ => false,
    }
}

fn any_glob(values: &[Value], text: &str) -> bool {
    values.iter().filter_map(Value::as_str).any(|pattern| glob(pattern, text))
}

/// `*` at the start, at the end or both; anywhere else it is a star.
fn glob(pattern: &str, text: &str) -> bool {
    let (start, body) = pattern.strip_prefix('*').map_or((false, pattern), |b| (true, b));
    let (end, body) = body.strip_suffix('*').map_or((false, body), |b| (true, b));
    match (start, end) {
        (false, false) => text == body,
        (true, false) => text.ends_with(body),
        (false, true) => text.starts_with(body),
        (true, true) => text.contains(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_only_at_the_ends() {
        let matching =
            [("*", ""), ("*", "x"), ("a*", "abc"), ("*c", "abc"), ("*b*", "abc"), ("a*c", "a*c"), ("**", "x"), ("a", "a")];
        for (pattern, text) in matching {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        let other = [
            ("a", "ab"),
            ("a", "A"),
            ("a*c", "abc"),
            ("b*", "abc"),
            ("*b", "abc"),
            ("", "x"),
            ("*x*", "abc"),
            ("a**", "abc"),
            ("a", ""),
        ];
        for (pattern, text) in other {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
