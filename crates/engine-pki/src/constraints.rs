//! Name constraints of an authority (RFC 5280 §4.2.1.10): written into roots and intermediates, and checked before a leaf is
//! signed, so that no certificate leaves that every verifier would refuse.

use std::net::IpAddr;

use der::Decode;
use ipnet::IpNet;
use x509_cert::ext::pkix::NameConstraints as Read;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use crate::asn1;
use crate::names::{AltNames, ip_bytes};

/// One side of the constraints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subtrees {
    /// Domains; a leading dot means subdomains only.
    pub dns: Vec<String>,
    /// Networks.
    pub ips: Vec<IpNet>,
    /// Mail addresses, hosts, or `.domains`.
    pub emails: Vec<String>,
    /// Hosts of URIs, or `.domains`.
    pub uris: Vec<String>,
}

/// What an authority may sign for. Empty on both sides: anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// If a kind has entries here, names of that kind must match one.
    pub permitted: Subtrees,
    /// Names that match one are refused.
    pub excluded: Subtrees,
    /// The extension holds something this engine cannot check (directory names, odd masks).
    pub opaque: bool,
}

impl Subtrees {
    fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.ips.is_empty() && self.emails.is_empty() && self.uris.is_empty()
    }

    fn to_der(&self) -> Vec<Vec<u8>> {
        let dns = self.dns.iter().map(|n| asn1::implicit(2, n.as_bytes()));
        let ips = self.ips.iter().map(|net| asn1::implicit(7, &[ip_bytes(net.network()), ip_bytes(net.netmask())].concat()));
        let emails = self.emails.iter().map(|n| asn1::implicit(1, n.as_bytes()));
        let uris = self.uris.iter().map(|n| asn1::implicit(6, n.as_bytes()));
        dns.chain(ips).chain(emails).chain(uris).map(|base| asn1::sequence(&[base])).collect()
    }

    /// Answers `false` for a kind of name it does not hold.
    fn read(&mut self, subtree: &GeneralSubtree) -> bool {
        match &subtree.base {
            GeneralName::DnsName(n) => self.dns.push(n.as_str().to_owned()),
            GeneralName::Rfc822Name(n) => self.emails.push(n.as_str().to_owned()),
            GeneralName::UniformResourceIdentifier(n) => self.uris.push(n.as_str().to_owned()),
            GeneralName::IpAddress(bytes) => match network(bytes.as_bytes()) {
                Some(net) => self.ips.push(net),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

impl NameConstraints {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// The extension's value.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let side = |n: u8, s: &Subtrees| if s.is_empty() { Vec::new() } else { asn1::implicit_sequence(n, &s.to_der()) };
        asn1::sequence(&[side(0, &self.permitted), side(1, &self.excluded)])
    }

    /// Reads the extension's value; what cannot be read is opaque.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let mut out = Self::default();
        let Ok(read) = Read::from_der(value) else { return Self { opaque: true, ..out } };
        for subtree in read.permitted_subtrees.iter().flatten() {
            out.opaque |= !out.permitted.read(subtree);
        }
        for subtree in read.excluded_subtrees.iter().flatten() {
            out.opaque |= !out.excluded.read(subtree);
        }
        out
    }

    /// The first name that the constraints forbid. An opaque constraint forbids nothing here: verifiers judge it.
    #[must_use]
    pub fn violation(&self, names: &AltNames) -> Option<String> {
        let domain = |host: &String, rule: &String| in_domain(host, rule);
        let uri = |text: &String, rule: &String| uri_host(text).is_some_and(|host| in_host(&host, rule));
        let ip = |ip: &IpAddr, net: &IpNet| net.contains(ip);
        first(&names.dns, &self.permitted.dns, &self.excluded.dns, domain)
            .or_else(|| first(&names.emails, &self.permitted.emails, &self.excluded.emails, |a, r| email_in(a, r)))
            .or_else(|| first(&names.uris, &self.permitted.uris, &self.excluded.uris, uri))
            .or_else(|| first(&names.ips, &self.permitted.ips, &self.excluded.ips, ip))
    }
}

fn first<N: ToString, R>(names: &[N], permitted: &[R], excluded: &[R], matches: impl Fn(&N, &R) -> bool) -> Option<String> {
    let bad =
        |n: &&N| (!permitted.is_empty() && !permitted.iter().any(|r| matches(n, r))) || excluded.iter().any(|r| matches(n, r));
    names.iter().find(bad).map(ToString::to_string)
}

/// A host name under a `dNSName` constraint: equal or below; with a leading dot only below.
fn in_domain(host: &str, rule: &str) -> bool {
    let host = host.strip_prefix("*.").unwrap_or(host).to_ascii_lowercase();
    let rule = rule.to_ascii_lowercase();
    if rule.is_empty() {
        return true;
    }
    match rule.strip_prefix('.') {
        Some(_) => host.ends_with(rule.as_str()),
        None => host == rule || host.strip_suffix(rule.as_str()).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// A host under the constraint of a URI or mail address: exactly it, or with a leading dot below it.
fn in_host(host: &str, rule: &str) -> bool {
    let (host, rule) = (host.to_ascii_lowercase(), rule.to_ascii_lowercase());
    if rule.starts_with('.') { host.ends_with(rule.as_str()) } else { host == rule }
}

fn email_in(address: &str, rule: &str) -> bool {
    if rule.contains('@') {
        return address == rule;
    }
    address.rsplit_once('@').is_some_and(|(_, host)| in_host(host, rule))
}

fn uri_host(text: &str) -> Option<String> {
    url::Url::parse(text).ok()?.host_str().map(str::to_owned)
}

fn network(bytes: &[u8]) -> Option<IpNet> {
    let half = bytes.len() / 2;
    let (address, mask) = bytes.split_at_checked(half)?;
    let ip = |b: &[u8]| match b.len() {
        4 => <[u8; 4]>::try_from(b).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(b).ok().map(IpAddr::from),
        _ => None,
    };
    IpNet::with_netmask(ip(address)?, ip(mask)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str) -> AltNames {
        AltNames { dns: vec![name.into()], ..AltNames::default() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let side = Subtrees {
            dns: vec!["a.test".into()],
            ips: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            emails: vec![".a.test".into()],
            uris: vec!["a.test".into()],
        };
        let all = NameConstraints { permitted: side.clone(), excluded: side, opaque: false };
        assert_eq!(NameConstraints::parse(&all.to_der()), all);
        assert!(NameConstraints::parse(b"\x05\x00").opaque);
    }

    #[test]
    fn names_outside_are_found() {
        let permitted = NameConstraints {
            permitted: Subtrees { dns: vec!["a.test".into()], ips: vec!["10.0.0.0/8".parse().unwrap()], ..Subtrees::default() },
            ..NameConstraints::default()
        };
        for good in ["a.test", "b.a.test", "*.a.test", "B.A.Test"] {
            assert_eq!(permitted.violation(&dns(good)), None, "{good}");
        }
        for bad in ["b.test", "xa.test", "a.test.evil", "test", ""] {
            assert_eq!(permitted.violation(&dns(bad)).as_deref(), Some(bad));
        }
        let ip = |t: &str| AltNames { ips: vec![t.parse().unwrap()], ..AltNames::default() };
        assert_eq!(permitted.violation(&ip("10.1.2.3")), None);
        assert_eq!(permitted.violation(&ip("11.1.2.3")).as_deref(), Some("11.1.2.3"));
        assert_eq!(permitted.violation(&ip("::1")).as_deref(), Some("::1"));
        // A kind without an entry is free.
        assert_eq!(permitted.violation(&AltNames { emails: vec!["x@y".into()], ..AltNames::default() }), None);
        let excluded = NameConstraints {
            excluded: Subtrees { dns: vec![".a.test".into()], emails: vec!["a.test".into()], ..Subtrees::default() },
            ..NameConstraints::default()
        };
        assert_eq!(excluded.violation(&dns("a.test")), None);
        assert_eq!(excluded.violation(&dns("b.a.test")).as_deref(), Some("b.a.test"));
        let mail = |t: &str| AltNames { emails: vec![t.into()], ..AltNames::default() };
        assert_eq!(excluded.violation(&mail("x@a.test")).as_deref(), Some("x@a.test"));
        assert_eq!(excluded.violation(&mail("x@b.a.test")), None);
    }
}
