//! Names of service accounts and namespaces: globs that bind a role, and what Kubernetes allows as a name.

/// Whether one of `patterns` is `text`, where `*` stands for any characters, none included.
pub(crate) fn any_matches(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|p| glob(p, text))
}

/// `*` is the only special character and crosses everything, `.` and `-` included.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut middle: Vec<&str> = parts.collect();
    // Without any `*` the whole text was the first part.
    let Some(last) = middle.pop() else { return rest.is_empty() };
    for part in middle {
        // The leftmost place is always good enough, because what follows may be anything.
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A namespace's name: an RFC 1123 label.
pub(crate) fn is_namespace(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len()) && text.starts_with(edge) && text.ends_with(edge) && text.chars().all(|c| edge(c) || c == '-')
}

/// A service account's name: an RFC 1123 subdomain.
pub(crate) fn is_service_account(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |l: &str| l.starts_with(edge) && l.ends_with(edge) && l.chars().all(|c| edge(c) || c == '-');
    (1..=253).contains(&text.len()) && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names_only() {
        for (pattern, text, want) in [
            ("app", "app", true),
            ("app", "app2", false),
            ("app", "xapp", false),
            ("app", "App", false),
            ("app", "", false),
            ("", "app", false),
            ("ap*", "app2", true),
            ("ap*", "ap", true),
            ("ap*", "a", false),
            ("*pp", "app", true),
            ("*pp", "appx", false),
            ("a*p*-sa", "app-x-sa", true),
            ("a*p*-sa", "app-x-sb", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("ab*ba", "aba", false),
            ("*a*b*", "b-a", false),
            ("*", "", true),
            ("**", "x", true),
            ("a?p", "app", false),
            ("a.p", "app", false),
            ("[a]pp", "app", false),
        ] {
            assert_eq!(any_matches(&[pattern.to_owned()], text), want, "{pattern} on {text}");
        }
        assert!(!any_matches(&[], "app"));
        assert!(any_matches(&["x".into(), "a*".into()], "app"));
    }

    #[test]
    fn only_names_that_kubernetes_allows_reach_a_url() {
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a.b", "a%2fb", "ä", "a b", "a\n", &"a".repeat(64)] {
            assert!(!is_namespace(bad), "{bad}");
        }
        for bad in ["", ".", "a..b", "a.", "-a.b", "a.b-", "a/b", "../x", "a?b", &"a".repeat(254)] {
            assert!(!is_service_account(bad), "{bad}");
        }
        assert!(is_namespace("kube-system") && is_namespace("0"));
        assert!(is_service_account("app.v1-x") && is_service_account("default"));
    }
}
