//! Distinguished names and alternative names: what a certificate says about its subject.

use std::net::IpAddr;

use der::asn1::ObjectIdentifier;

use crate::asn1;
use crate::oids;

/// A subject, attribute by attribute, in the order Go writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// `C`.
    pub country: Vec<String>,
    /// `O`.
    pub organization: Vec<String>,
    /// `OU`.
    pub ou: Vec<String>,
    /// `L`.
    pub locality: Vec<String>,
    /// `ST`.
    pub province: Vec<String>,
    /// `STREET`.
    pub street_address: Vec<String>,
    /// `postalCode`.
    pub postal_code: Vec<String>,
    /// `CN`; empty for none.
    pub common_name: String,
    /// `serialNumber` of the subject (not the certificate's); empty for none.
    pub serial_number: String,
    /// `UID`.
    pub user_ids: Vec<String>,
}

impl Subject {
    /// The `Name`.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let one = |s: &String| if s.is_empty() { Vec::new() } else { vec![s.clone()] };
        let attributes: [(ObjectIdentifier, Vec<String>); 10] = [
            (oids::COUNTRY, self.country.clone()),
            (oids::ORGANIZATION, self.organization.clone()),
            (oids::ORGANIZATIONAL_UNIT, self.ou.clone()),
            (oids::LOCALITY, self.locality.clone()),
            (oids::PROVINCE, self.province.clone()),
            (oids::STREET, self.street_address.clone()),
            (oids::POSTAL_CODE, self.postal_code.clone()),
            (oids::COMMON_NAME, one(&self.common_name)),
            (oids::SERIAL_NUMBER, one(&self.serial_number)),
            (oids::USER_ID, self.user_ids.clone()),
        ];
        let mut sets: Vec<Vec<u8>> = Vec::new();
        for (id, values) in attributes {
            let mut pairs: Vec<Vec<u8>> =
                values.iter().map(|v| asn1::sequence(&[asn1::oid(&id), asn1::directory_string(v)])).collect();
            pairs.sort();
            pairs.dedup();
            if !pairs.is_empty() {
                sets.push(asn1::set_of(pairs));
            }
        }
        asn1::sequence(&sets)
    }
}

/// An `otherName` whose value is a `UTF8String`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherName {
    /// The type.
    pub oid: ObjectIdentifier,
    /// The text.
    pub value: String,
}

/// Alternative names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AltNames {
    /// Host names, wildcards included.
    pub dns: Vec<String>,
    /// Mail addresses.
    pub emails: Vec<String>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// URIs.
    pub uris: Vec<String>,
    /// Other names.
    pub others: Vec<OtherName>,
}

impl AltNames {
    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dns.len() + self.emails.len() + self.ips.len() + self.uris.len() + self.others.len()
    }

    /// Adds a host name or mail address, once.
    pub fn add(&mut self, name: &str) {
        let list = if name.contains('@') { &mut self.emails } else { &mut self.dns };
        if !list.iter().any(|n| n == name) {
            list.push(name.to_owned());
        }
    }

    /// The `GeneralNames`.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let others = self.others.iter().map(|o| {
            let value = asn1::explicit(0, &asn1::utf8(&o.value));
            asn1::implicit_sequence(0, &[asn1::oid(&o.oid), value])
        });
        let dns = self.dns.iter().map(|n| asn1::implicit(2, n.as_bytes()));
        let emails = self.emails.iter().map(|n| asn1::implicit(1, n.as_bytes()));
        let ips = self.ips.iter().map(|ip| asn1::implicit(7, &ip_bytes(*ip)));
        let uris = self.uris.iter().map(|n| asn1::implicit(6, n.as_bytes()));
        asn1::sequence(&others.chain(dns).chain(emails).chain(ips).chain(uris).collect::<Vec<_>>())
    }
}

/// An address in network order, 4 or 16 bytes.
#[must_use]
pub fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Whether the text can be a host name, with at most one `*` and that in its first label. What IDNA makes of it decides, so
/// names in other scripts are fine.
#[must_use]
pub fn is_hostname(name: &str) -> bool {
    let plain = name.replacen('*', "x", 1);
    let first_has_star = name.split('.').next().is_some_and(|label| label.contains('*'));
    if name.contains('*') && !first_has_star {
        return false;
    }
    let Some(ascii) = to_ascii(&plain) else { return false };
    let labels = ascii.strip_suffix('.').unwrap_or(&ascii);
    !labels.is_empty() && labels.len() <= 253 && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let end = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !label.is_empty()
        && label.len() <= 63
        && label.starts_with(end)
        && label.ends_with(end)
        && label.chars().all(|c| end(c) || c == '-')
}

/// The name as it is written into certificates; `None` if it cannot be.
#[must_use]
pub fn to_ascii(name: &str) -> Option<String> {
    if name.is_ascii() { Some(name.to_owned()) } else { idna::domain_to_ascii(name).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_with_several_values_share_one_set() {
        let subject = Subject { country: vec!["DE".into()], ou: vec!["b".into(), "a".into(), "a".into()], ..Subject::default() };
        let der = subject.to_der();
        let name = <x509_cert::name::Name as der::Decode>::from_der(&der).unwrap();
        let sets: Vec<usize> = name.as_ref().iter().map(|rdn| rdn.as_ref().len()).collect();
        assert_eq!(sets, [1, 2], "C, then two OU");
        assert_eq!(Subject::default().to_der(), [0x30, 0]);
    }

    #[test]
    fn host_names_are_told_from_other_text() {
        for good in ["a", "a.test", "A-b.Test.", "*.a.test", "f*o.test", "*", "bücher.example", "_dmarc.a.test", "1.2.3.4"] {
            assert!(is_hostname(good), "{good}");
        }
        for bad in ["", ".", "a b", "-a.test", "a-.test", "a..test", "a.*.test", "**.test", "a@b", "a/b", "a\0b", "a\n", " a"] {
            assert!(!is_hostname(bad), "{bad:?}");
        }
        assert!(!is_hostname(&"a".repeat(64)));
        assert!(!is_hostname(&"a.".repeat(130)));
    }

    #[test]
    fn alternative_names_are_written_as_x509_reads_them() {
        let names = AltNames {
            dns: vec!["a.test".into()],
            emails: vec!["x@a.test".into()],
            ips: vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            uris: vec!["spiffe://a".into()],
            others: vec![OtherName { oid: ObjectIdentifier::new_unwrap("1.2.3"), value: "v".into() }],
        };
        let read: Vec<x509_cert::ext::pkix::name::GeneralName> = der::Decode::from_der(&names.to_der()).unwrap();
        assert_eq!(read.len(), names.len());
        assert!(AltNames::default().is_empty() && !names.is_empty());
    }
}
