//! Whether a role allows the names that are asked for. Pure: the same check stands behind every way in (issue, sign), on
//! the names that would end up in the certificate, wherever they came from. An empty list allows nothing.
//!
//! Deliberately absent: identity templates. A domain with `{{` in it matches no name.

use crate::names::{AltNames, OtherName, is_hostname, to_ascii};
use crate::policies;
use crate::roles::Role;

/// All that a client wants the certificate to name.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The subject's common name; empty for none.
    pub common_name: String,
    /// The subject's serial number; empty for none.
    pub serial_number: String,
    /// The subject's user ids.
    pub user_ids: Vec<String>,
    /// Alternative names, the common name among them unless it was excluded.
    pub names: AltNames,
    /// For error texts: where the alternative names came from.
    pub from_request: bool,
}

/// The first thing the role does not allow, in the words for the client.
pub fn check(role: &Role, display_name: &str, wish: &Wish) -> Result<(), String> {
    let cn = &wish.common_name;
    if !cn.is_empty() && !common_name_allowed(role, display_name, cn) {
        return Err(format!("common name {cn} not allowed by this role"));
    }
    let names = &wish.names;
    for name in &names.dns {
        if name.contains('@') || !name_allowed(role, display_name, name) {
            return Err(format!("subject alternate name {name} not allowed by this role"));
        }
    }
    for address in &names.emails {
        if !address.contains('@') || !name_allowed(role, display_name, address) {
            return Err(format!("email address {address} not allowed by this role"));
        }
    }
    if let (false, Some(_)) = (role.allow_ip_sans, names.ips.first()) {
        let all: Vec<String> = names.ips.iter().map(ToString::to_string).collect();
        return Err(format!("IP Subject Alternative Names are not allowed in this role, but was provided [{}]", all.join(" ")));
    }
    uris_allowed(role, wish)?;
    for other in &names.others {
        other_allowed(role, other)?;
    }
    if !wish.serial_number.is_empty() && !any_matches(&role.allowed_serial_numbers, &wish.serial_number) {
        return Err(format!("serial_number {} not allowed by this role", wish.serial_number));
    }
    match wish.user_ids.iter().find(|id| !any_matches(&role.allowed_user_ids, id)) {
        Some(id) => Err(format!("user_id {id} is not allowed by this role")),
        None => Ok(()),
    }
}

fn common_name_allowed(role: &Role, display_name: &str, cn: &str) -> bool {
    let valid = |what: &str| role.cn_validations.iter().any(|v| v == what);
    if cn.chars().any(char::is_control) {
        return false;
    }
    // `disabled` frees the common name only: where it also is an alternative name, it is checked as one.
    valid("disabled") || (valid(if cn.contains('@') { "email" } else { "hostname" }) && name_allowed(role, display_name, cn))
}

/// Whether a host name or mail address is allowed.
fn name_allowed(role: &Role, display_name: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let (is_email, host) = match name.split_once('@') {
        Some((local, host)) if !local.is_empty() && !host.contains('@') => (true, host),
        Some(_) => return false,
        None => (false, name.as_str()),
    };
    if name.chars().any(char::is_control) || host.is_empty() {
        return false;
    }
    let is_wildcard = name.contains('*');
    if is_wildcard && (is_email || !role.allow_wildcard_certificates || !is_hostname(host)) {
        return false;
    }
    if role.enforce_hostnames && !is_hostname(host) {
        return false;
    }
    if role.allow_any_name || (role.allow_localhost && matches!(name.as_str(), "localhost" | "localdomain")) {
        return true;
    }
    let display_name = display_name.to_lowercase();
    if role.allow_token_displayname && !display_name.is_empty() {
        let shown = display_name.as_str();
        if name == shown || (role.allow_subdomains && !shown.contains('@') && is_below(host, shown)) {
            return true;
        }
    }
    role.allowed_domains.iter().any(|domain| domain_allows(role, domain, &name, host, is_email))
}

fn domain_allows(role: &Role, domain: &str, name: &str, host: &str, is_email: bool) -> bool {
    let Some(domain) = to_ascii(&domain.to_lowercase()).filter(|d| !d.is_empty() && !d.contains("{{")) else { return false };
    let (name, host) = match (to_ascii(name), to_ascii(host)) {
        (Some(name), Some(host)) => (name, host),
        // A mail address may have a local part that IDNA does not take; its host was checked.
        _ => (name.to_owned(), host.to_owned()),
    };
    (role.allow_bare_domains && (name == domain || (is_email && host == domain)))
        || (role.allow_subdomains && is_below(&host, &domain))
        || (role.allow_glob_domains && domain.contains('*') && glob(&domain, &name))
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

fn uris_allowed(role: &Role, wish: &Wish) -> Result<(), String> {
    let Some(_) = wish.names.uris.first() else { return Ok(()) };
    let source = if wish.from_request { "the CSR" } else { "the API" };
    if role.allowed_uri_sans.is_empty() {
        return Err(format!("URI Subject Alternative Names are not allowed in this role, but were provided via {source}"));
    }
    let templated = |pattern: &String| pattern.contains("{{");
    let allowed = |uri: &String| role.allowed_uri_sans.iter().any(|p| !templated(p) && glob(p, uri));
    if wish.names.uris.iter().all(allowed) {
        return Ok(());
    }
    Err(format!("URI Subject Alternative Names were provided via {source} which are not valid for this role"))
}

fn other_allowed(role: &Role, other: &OtherName) -> Result<(), String> {
    if role.allowed_other_sans.iter().any(|a| a == "*") {
        return Ok(());
    }
    let rules: Vec<OtherName> = role.allowed_other_sans.iter().filter_map(|a| parse_other(a).ok()).collect();
    if !rules.iter().any(|r| r.oid == other.oid) {
        return Err(format!("other SAN OID {} not allowed by this role", other.oid));
    }
    if rules.iter().any(|r| r.oid == other.oid && glob(&r.value, &other.value)) {
        return Ok(());
    }
    Err(format!("other SAN {} not allowed for OID {} by this role", other.value, other.oid))
}

/// `<oid>;UTF8:<value>`, as OpenSSL writes it.
pub fn parse_other(text: &str) -> Result<OtherName, String> {
    let refused = || format!("could not parse requested other SAN: expected a semicolon in other SAN {text:?}");
    let (id, rest) = text.trim().split_once(';').ok_or_else(refused)?;
    let (kind, value) = rest.split_once(':').ok_or_else(refused)?;
    if !matches!(kind.trim().to_ascii_uppercase().as_str(), "UTF8" | "UTF-8") {
        return Err(format!("only UTF8 other SANs are supported; found non-UTF8 type {kind:?}"));
    }
    let oid = policies::oid(id).ok_or_else(|| format!("could not parse requested other SAN: {id:?} is not an OID"))?;
    Ok(OtherName { oid, value: value.trim().to_owned() })
}

fn any_matches(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|p| glob(p, text))
}

/// Whether `text` is what `pattern` says, `*` standing for anything. Linear in the text for each star.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.collect::<Vec<_>>();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(list: &[&str]) -> Role {
        Role { allowed_domains: list.iter().map(|s| (*s).to_owned()).collect(), ..Role::default() }
    }

    fn named(name: &str) -> Wish {
        let mut wish = Wish { common_name: name.to_owned(), ..Wish::default() };
        wish.names.add(name);
        wish
    }

    fn allow(role: &Role, names: &[&str]) {
        for name in names {
            assert_eq!(check(role, "shown.test", &named(name)), Ok(()), "{name}");
        }
    }

    fn deny(role: &Role, names: &[&str]) {
        for name in names {
            assert!(check(role, "shown.test", &named(name)).is_err(), "{name}");
            // The same name must not come in by the other door.
            let mut wish = Wish::default();
            wish.names.add(name);
            assert!(check(role, "shown.test", &wish).is_err(), "{name} as alternative name");
        }
    }

    #[test]
    fn an_empty_role_allows_localhost_and_nothing_else() {
        allow(&Role::default(), &["localhost", "localdomain"]);
        deny(&Role::default(), &["a", "a.test", "x.localhost", "*.localhost", "*", "shown.test", "x@localhost", "."]);
        deny(&Role { allow_localhost: false, ..Role::default() }, &["localhost", "localdomain"]);
        // The three kinds of match without a domain, and a domain without a kind of match.
        let kinds = Role { allow_bare_domains: true, allow_subdomains: true, allow_glob_domains: true, ..Role::default() };
        deny(&kinds, &["a", "a.test", "*.test", "*"]);
        deny(&domains(&["a.test", "*.a.test", ""]), &["a.test", "x.a.test", "*.a.test"]);
    }

    #[test]
    fn bare_sub_and_glob_are_independent() {
        let bare = Role { allow_bare_domains: true, ..domains(&["a.test", "Bücher.example"]) };
        allow(&bare, &["a.test", "A.TEST", "x@a.test", "bücher.example", "xn--bcher-kva.example"]);
        deny(&bare, &["x.a.test", "*.a.test", "aa.test", "x@y.a.test", "a.test.evil", "a.test@evil.test", "x@a.test@a.test"]);
        let sub = Role { allow_subdomains: true, ..domains(&["a.test"]) };
        allow(&sub, &["x.a.test", "y.x.a.test", "*.a.test", "f*.a.test", "*.x.a.test", "m@x.a.test"]);
        deny(
            &sub,
            &["a.test", ".a.test", "xa.test", "x.a.test.evil", "*.test", "x.*.a.test", "**.a.test", "m@a.test", "*@x.a.test"],
        );
        deny(&Role { allow_wildcard_certificates: false, ..sub }, &["*.a.test", "f*.a.test"]);
        let glob = Role { allow_glob_domains: true, ..domains(&["*-app.test", "ftp*.a.test"]) };
        allow(&glob, &["my-app.test", "x.y-app.test", "ftp1.a.test"]);
        deny(&glob, &["app.test", "my-app.test.evil", "my-app.tests", "ftp.b.test", "*-app.test.x", "my app-app.test"]);
        let templated = Role { allow_glob_domains: true, allow_subdomains: true, ..domains(&["{{identity.entity.name}}*"]) };
        deny(&templated, &["x", "a.test", "x.{{identity.entity.name}}*"]);
    }

    #[test]
    fn any_name_still_must_be_a_name() {
        let any = Role { allow_any_name: true, ..Role::default() };
        allow(&any, &["a", "a.test", "*.a.test", "m@a.test"]);
        deny(&any, &["a b", "a\0b.test", "a..b", "-", "m@", "@a.test", "m@*.a.test", "*.*.test"]);
        let loose = Role { enforce_hostnames: false, ..any.clone() };
        allow(&loose, &["a b", "-"]);
        deny(&loose, &["a\0b", "a\n", "a.*"]);
        deny(&Role { allow_wildcard_certificates: false, ..any }, &["*", "*.a.test"]);
    }

    #[test]
    fn a_free_common_name_does_not_free_the_alternative_name() {
        let free = Role { cn_validations: vec!["disabled".into()], ..domains(&["a.test"]) };
        let mut wish = Wish { common_name: "John Doe".into(), ..Wish::default() };
        assert_eq!(check(&free, "", &wish), Ok(()));
        assert!(check(&free, "", &Wish { common_name: "a.test\0.evil".into(), ..Wish::default() }).is_err());
        wish.names.add("evil.test");
        assert!(check(&free, "", &wish).is_err());
        let email_only = Role { cn_validations: vec!["email".into()], allow_any_name: true, ..Role::default() };
        assert!(check(&email_only, "", &named("a.test")).is_err());
        assert_eq!(check(&email_only, "", &named("m@a.test")), Ok(()));
        assert!(
            check(&Role { cn_validations: vec!["hostname".into()], allow_any_name: true, ..Role::default() }, "", &named("m@a"))
                .is_err()
        );
    }

    #[test]
    fn the_display_name_needs_its_flag() {
        let shown = Role { allow_token_displayname: true, ..Role::default() };
        allow(&shown, &["shown.test"]);
        deny(&shown, &["x.shown.test", "other.test"]);
        allow(&Role { allow_subdomains: true, ..shown.clone() }, &["x.shown.test"]);
        assert!(check(&shown, "", &named("a")).is_err(), "no display name");
    }

    #[test]
    fn other_kinds_of_names_need_their_own_permission() {
        let any = Role { allow_any_name: true, enforce_hostnames: false, ..Role::default() };
        let other = |text: &str| AltNames { others: vec![parse_other(text).unwrap()], ..AltNames::default() };
        let uri = |text: &str| AltNames { uris: vec![text.to_owned()], ..AltNames::default() };
        let ip = AltNames { ips: vec!["10.0.0.1".parse().unwrap()], ..AltNames::default() };
        let ask = |role: &Role, names: &AltNames| check(role, "", &Wish { names: names.clone(), ..Wish::default() }).is_ok();
        assert!(ask(&any, &ip));
        assert!(!ask(&Role { allow_ip_sans: false, ..any.clone() }, &ip));
        assert!(!ask(&any, &uri("spiffe://a/b")));
        assert!(!ask(&any, &other("1.2.3;UTF8:x")));
        let wide = Role {
            allowed_uri_sans: vec!["spiffe://a/*".into()],
            allowed_other_sans: vec!["1.2.3;utf8:x*".into()],
            allowed_serial_numbers: vec!["7*".into()],
            allowed_user_ids: vec!["u1".into()],
            ..any.clone()
        };
        assert!(ask(&wide, &uri("spiffe://a/b")) && !ask(&wide, &uri("spiffe://b/a")) && !ask(&wide, &uri("spiffe://a")));
        assert!(
            ask(&wide, &other("1.2.3;UTF-8:xy")) && !ask(&wide, &other("1.2.3;UTF8:y")) && !ask(&wide, &other("1.2.4;UTF8:x"))
        );
        for (serial, user, good) in [("7", "u1", true), ("", "", true), ("8", "u1", false), ("7", "u2", false), ("7", "*", false)]
        {
            let user_ids = if user.is_empty() { Vec::new() } else { vec![user.to_owned()] };
            let wish = Wish { serial_number: serial.into(), user_ids, ..Wish::default() };
            assert_eq!(check(&wide, "", &wish).is_ok(), good, "{serial} {user}");
            if !(serial.is_empty() && user.is_empty()) {
                assert!(check(&any, "", &wish).is_err(), "empty lists: {serial} {user}");
            }
        }
    }

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "aa", true),
            ("a*a", "a", false),
            ("*a*", "bab", true),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }
}
