//! The constraints of a role on the client's certificate. Each list that is not empty must match; patterns may hold `*`.

use crate::presented::{Presented, string_of};
use crate::role::Role;

/// Whether the certificate meets every constraint of the role.
#[must_use]
pub fn meets(role: &Role, cert: &Presented) -> bool {
    let common_name = std::slice::from_ref(&cert.common_name);
    let any_name: Vec<String> = [common_name, &cert.dns, &cert.emails].concat();
    allowed(&role.allowed_names, &any_name)
        && allowed(&role.allowed_common_names, common_name)
        && allowed(&role.allowed_dns_sans, &cert.dns)
        && allowed(&role.allowed_email_sans, &cert.emails)
        && allowed(&role.allowed_uri_sans, &cert.uris)
        && allowed(&role.allowed_organizations, &cert.organizations)
        && allowed(&role.allowed_organizational_units, &cert.units)
        && role.required_extensions.iter().flatten().all(|rule| has_extension(rule, cert))
}

fn allowed(patterns: &Option<Vec<String>>, names: &[String]) -> bool {
    let patterns = patterns.as_deref().unwrap_or_default();
    patterns.is_empty() || names.iter().any(|name| patterns.iter().any(|p| glob(p, name)))
}

/// `oid:pattern` on an extension that is a string, or `hex:oid:pattern` on the bytes of any. What is neither matches nothing.
fn has_extension(rule: &str, cert: &Presented) -> bool {
    if let Some((oid, pattern)) = rule.strip_prefix("hex:").and_then(|r| r.split_once(':')) {
        return cert.extension(oid).is_some_and(|content| glob(&pattern.to_lowercase(), &hex::encode(content)));
    }
    let Some((oid, pattern)) = rule.split_once(':') else { return false };
    cert.extension(oid).and_then(string_of).is_some_and(|text| glob(pattern, &text))
}

/// `*` stands for any text; everything else for itself.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|p| !p.is_empty()) {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("a", "A", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("**", "x", true),
            ("*.test", "a.b.test", true),
            ("*.test", "test", false),
            ("a*", "ba", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("ab*ba", "aba", false),
            ("a*b*c", "a-c-b-c", true),
            ("a*b*c", "a-c", false),
            ("*a*a*", "a", false),
            ("*ä*", "xäy", true),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} on {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn matches_what_it_was_made_of(parts in proptest::collection::vec("[a-c]{0,3}", 1..5), fill in "[a-c]{0,4}") {
            proptest::prop_assert!(glob(&parts.join("*"), &parts.join(&fill)));
        }

        #[test]
        fn without_a_star_only_the_text_itself(pattern in "[a-c]{0,4}", text in "[a-c]{0,4}") {
            proptest::prop_assert_eq!(glob(&pattern, &text), pattern == text);
        }
    }
}
