//! Networks that bind a role's or a secret id's logins.

use std::net::IpAddr;

use engine::EngineError;
use ipnet::IpNet;

/// Refuses what is no CIDR block. A bare address is none here (unlike in `token_bound_cidrs`); the words and the kind of the
/// error are the reference server's.
pub(crate) fn check(blocks: &[String]) -> Result<(), EngineError> {
    for block in blocks {
        if block.trim().parse::<IpNet>().is_err() {
            return Err(EngineError::Internal(format!("failed to validate CIDR blocks: invalid CIDR address: {block}")));
        }
    }
    Ok(())
}

/// Whether each of `inner` lies inside one of `outer`. No `outer` leaves everything free; no `inner` asks for nothing.
pub(crate) fn subset(outer: &[String], inner: &[String]) -> bool {
    let outer: Vec<IpNet> = outer.iter().filter_map(|c| engine::token_params::parse_cidr(c.trim())).collect();
    let covered =
        |c: &String| engine::token_params::parse_cidr(c.trim()).is_some_and(|net| outer.iter().any(|o| o.contains(&net)));
    outer.is_empty() || inner.iter().all(covered)
}

/// Refuses networks of a secret id that reach beyond its role's.
pub(crate) fn check_subset(role: &[String], secret_id: &[String]) -> Result<(), EngineError> {
    if subset(role, secret_id) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "CIDR blocks on the secret ID {secret_id:?} should be a subset of CIDR blocks on the role {role:?}"
    )))
}

/// Whether a login from `addr` is inside; nothing bound means anywhere, an unknown address is inside nothing.
pub(crate) fn allow(blocks: &[String], addr: Option<IpAddr>) -> bool {
    let blocks: Vec<String> = blocks.iter().map(|b| b.trim().to_owned()).collect();
    engine::token_params::cidrs_allow(&blocks, addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn subsets() {
        for (outer, inner, want) in [
            ("", "", true),
            ("", "10.0.0.0/8", true),
            ("10.0.0.0/8", "", true),
            ("10.0.0.0/8", "10.1.0.0/16 10.2.3.4/32", true),
            ("10.0.0.0/8", "10.2.3.4", true),
            ("10.0.0.0/8 fd00::/8", "fd00:1::/32", true),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("10.0.0.0/8", "10.0.0.0/7", false),
            ("10.0.0.0/8", "0.0.0.0/0", false),
            ("10.0.0.0/8", "10.1.0.0/16 127.0.0.0/8", false),
            ("10.0.0.0/8", "fd00::/8", false),
            ("10.0.0.0/8", "nonsense", false),
        ] {
            assert_eq!(subset(&list(outer), &list(inner)), want, "{inner} in {outer}");
        }
    }

    #[test]
    fn an_address_is_no_block() {
        check(&list("10.0.0.0/8 ::/0 127.0.0.1/32")).unwrap();
        for bad in ["no", "127.0.0.1", "10.0.0.0/33", "/8"] {
            let text = check(&list(bad)).unwrap_err().to_string();
            assert_eq!(text, format!("failed to validate CIDR blocks: invalid CIDR address: {bad}"));
        }
    }
}
