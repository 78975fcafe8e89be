//! Policy names: one normal form, applied before every comparison, so that ` ROOT ` is root everywhere or nowhere.

use std::collections::BTreeSet;

/// The policy that may do everything.
pub(crate) const ROOT: &str = "root";
/// The policy that every token gets unless told otherwise.
pub(crate) const DEFAULT: &str = "default";
/// The policy of wrapping tokens.
pub(crate) const RESPONSE_WRAPPING: &str = "response-wrapping";
/// Policies that only the server itself gives.
pub(crate) const NOT_ASSIGNABLE: [&str; 2] = [RESPONSE_WRAPPING, "control-group"];

/// The normal form of a policy name: without surrounding white space, in lower case.
#[must_use]
pub fn normalise_policy(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Normal forms, sorted, without repetition or empty names. `root` swallows all others; without it `default` is added if
/// `add_default`.
#[must_use]
pub fn normalise_policies<S: AsRef<str>>(names: impl IntoIterator<Item = S>, add_default: bool) -> Vec<String> {
    let mut out = normal_names(names);
    if out.contains(ROOT) {
        return vec![ROOT.to_owned()];
    }
    if add_default {
        out.insert(DEFAULT.to_owned());
    }
    out.into_iter().collect()
}

/// Normal forms, sorted, without repetition or empty names; `root` is a name like any other here.
pub(crate) fn normal_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    names.into_iter().map(|n| normalise_policy(n.as_ref())).filter(|n| !n.is_empty()).collect()
}

/// Whether a list of policies, normal or not, gives root.
#[must_use]
pub fn is_root<S: AsRef<str>>(names: &[S]) -> bool {
    names.iter().any(|n| normalise_policy(n.as_ref()) == ROOT)
}

/// `text` against a pattern in which `*` at the start or the end stands for anything, as Vault's role globs do.
pub(crate) fn glob_matches(pattern: &str, text: &str) -> bool {
    // A `*` inside is wild as well: the parts between must follow each other.
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Networks as they are shown: a single address without its prefix length, a network without its host bits.
pub(crate) fn shown_cidrs(cidrs: &[String]) -> Vec<String> {
    let shown = |text: &String| match text.parse::<ipnet::IpNet>() {
        Ok(net) if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
        Ok(net) => net.trunc().to_string(),
        Err(_) => text.clone(),
    };
    cidrs.iter().map(shown).collect()
}

/// Go's `%q` of a list of texts: `["a" "b"]`.
pub(crate) fn quoted_list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("{:?}", n.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_one_name_however_it_is_written() {
        for name in ["root", " root", "ROOT ", "Root", "\troot\n", "\u{a0}RoOt\u{2003}"] {
            assert_eq!(normalise_policies([name, "a"], true), ["root"], "{name:?}");
            assert!(is_root(&[name]), "{name:?}");
        }
        // Look-alikes stay what they are: names of policies that do not exist.
        for name in ["ｒｏｏｔ", "rооt", "ro\u{200b}ot", "r00t", "root/", "roots"] {
            assert_ne!(normalise_policies([name], false), ["root"], "{name:?}");
            assert!(!is_root(&[name]), "{name:?}");
        }
    }

    #[test]
    fn lists_are_sorted_without_repetition() {
        assert_eq!(normalise_policies(["B", " a ", "a", "b", ""], true), ["a", "b", "default"]);
        assert_eq!(normalise_policies(Vec::<String>::new(), false), Vec::<String>::new());
    }

    #[test]
    fn networks_as_shown() {
        let given = ["127.0.0.1/32", "10.1.2.3/8", "::1", "x"].map(str::to_owned);
        assert_eq!(shown_cidrs(&given), ["127.0.0.1", "10.0.0.0/8", "::1", "x"]);
    }

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("g-*", "g-one", true),
            ("g-*", "h-one", false),
            ("*-x", "a-x", true),
            ("*-x", "a-y", false),
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*a", "a", false),
            ("", "a", false),
        ] {
            assert_eq!(glob_matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
