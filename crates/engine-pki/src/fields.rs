//! Fields that several routes share, and what is read from them.

use engine::{EngineError, Fields};
use ipnet::IpNet;

use crate::constraints::{NameConstraints, Subtrees};
use crate::limits::NAMES;
use crate::names::{AltNames, Subject, is_hostname, to_ascii};
use crate::rules::parse_other;

/// Fields of everything that makes a certificate or a request for one; more may follow.
macro_rules! certificate_fields {
    ($($name:literal, $kind:ident, $text:literal;)*) => {
        &[
            engine::Field::new("common_name", engine::FieldKind::String, "The subject's common name."),
            engine::Field::new("alt_names", engine::FieldKind::CommaStringSlice, "Host names and mail addresses."),
            engine::Field::new("ip_sans", engine::FieldKind::CommaStringSlice, "Addresses."),
            engine::Field::new("uri_sans", engine::FieldKind::CommaStringSlice, "URIs."),
            engine::Field::new("other_sans", engine::FieldKind::CommaStringSlice, "Other names, as `<oid>;UTF8:<value>`."),
            engine::Field::new("exclude_cn_from_sans", engine::FieldKind::Bool, "The common name is no alternative name."),
            engine::Field::new("serial_number", engine::FieldKind::String, "The subject's serial number."),
            engine::Field::new("ttl", engine::FieldKind::DurationSecond, "Life."),
            engine::Field::new("not_after", engine::FieldKind::String, "End of life as a time, RFC 3339; instead of `ttl`."),
            engine::Field::new("format", engine::FieldKind::String, "`pem`, `der` (Base64) or `pem_bundle`."),
            engine::Field::new("private_key_format", engine::FieldKind::String, "`der` for the key's own form, or `pkcs8`."),
            $(engine::Field::new($name, engine::FieldKind::$kind, $text),)*
        ]
    };
}

/// Fields of authorities: the above, the subject, the constraints.
macro_rules! authority_fields {
    ($($name:literal, $kind:ident, $text:literal;)*) => {
        $crate::fields::certificate_fields! {
            "ou", CommaStringSlice, "OU of the subject.";
            "organization", CommaStringSlice, "O of the subject.";
            "country", CommaStringSlice, "C of the subject.";
            "locality", CommaStringSlice, "L of the subject.";
            "province", CommaStringSlice, "ST of the subject.";
            "street_address", CommaStringSlice, "Street of the subject.";
            "postal_code", CommaStringSlice, "Postal code of the subject.";
            "not_before_duration", DurationSecond, "How far the certificate is dated back.";
            "max_path_length", Int, "How many authorities may follow; -1 for any number.";
            "permitted_dns_domains", CommaStringSlice, "Domains it may sign for.";
            "excluded_dns_domains", CommaStringSlice, "Domains it may not sign for.";
            "permitted_ip_ranges", CommaStringSlice, "Networks it may sign for.";
            "excluded_ip_ranges", CommaStringSlice, "Networks it may not sign for.";
            "permitted_email_addresses", CommaStringSlice, "Mail addresses it may sign for.";
            "excluded_email_addresses", CommaStringSlice, "Mail addresses it may not sign for.";
            "permitted_uri_domains", CommaStringSlice, "URI hosts it may sign for.";
            "excluded_uri_domains", CommaStringSlice, "URI hosts it may not sign for.";
            "signature_bits", Int, "Hash of an RSA signature: 256, 384, 512, 0 for the default.";
            "use_pss", Bool, "RSA signs with PSS.";
            $($name, $kind, $text;)*
        }
    };
}

pub(crate) use {authority_fields, certificate_fields};

/// Some texts of a list field, without empty ones.
pub fn list(f: &Fields, name: &str) -> Vec<String> {
    f.texts(name).unwrap_or_default().iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// The subject of an authority.
#[must_use]
pub fn subject(f: &Fields) -> Subject {
    Subject {
        country: list(f, "country"),
        organization: list(f, "organization"),
        ou: list(f, "ou"),
        locality: list(f, "locality"),
        province: list(f, "province"),
        street_address: list(f, "street_address"),
        postal_code: list(f, "postal_code"),
        common_name: f.str("common_name").to_owned(),
        serial_number: f.str("serial_number").to_owned(),
        user_ids: Vec::new(),
    }
}

/// The alternative names that were sent, without the common name.
pub fn alt_names(f: &Fields) -> Result<AltNames, EngineError> {
    let mut out = AltNames::default();
    for name in list(f, "alt_names") {
        out.add(&name);
    }
    for text in list(f, "ip_sans") {
        let ip = text.parse().map_err(|_| EngineError::invalid(format!("the value {text:?} is not a valid IP address")))?;
        out.ips.push(ip);
    }
    for text in list(f, "uri_sans") {
        if url::Url::parse(&text).is_err() {
            return Err(EngineError::invalid(format!("the provided URI Subject Alternative Name {text:?} is not a valid URI")));
        }
        out.uris.push(text);
    }
    for text in list(f, "other_sans") {
        out.others.push(parse_other(&text).map_err(EngineError::Invalid)?);
    }
    Ok(out)
}

/// Adds the common name to the alternative names if it can be one, and brings all into the form that is written.
pub fn complete(mut names: AltNames, common_name: &str, exclude: bool) -> Result<AltNames, EngineError> {
    if !exclude && (common_name.contains('@') || is_hostname(common_name)) {
        names.add(common_name);
    }
    if names.len() > NAMES {
        return Err(EngineError::invalid(format!("more than {NAMES} alternative names")));
    }
    let unwritable = |name: &String| EngineError::invalid(format!("the name {name:?} cannot be written into a certificate"));
    for name in &mut names.dns {
        *name = to_ascii(name).ok_or_else(|| unwritable(name))?;
    }
    match names.emails.iter().chain(&names.uris).find(|n| !n.is_ascii()) {
        Some(name) => Err(unwritable(name)),
        None => Ok(names),
    }
}

/// The name constraints that were sent.
pub fn constraints(f: &Fields) -> Result<NameConstraints, EngineError> {
    let side = |which: &str| -> Result<Subtrees, EngineError> {
        let of = |what: &str| list(f, &format!("{which}_{what}"));
        let ips = of("ip_ranges").into_iter().map(|text| {
            text.parse::<IpNet>().map(|n| n.trunc()).map_err(|_| EngineError::invalid(format!("invalid CIDR address: {text}")))
        });
        Ok(Subtrees {
            dns: of("dns_domains"),
            ips: ips.collect::<Result<_, _>>()?,
            emails: of("email_addresses"),
            uris: of("uri_domains"),
        })
    };
    let out = NameConstraints { permitted: side("permitted")?, excluded: side("excluded")?, opaque: false };
    for text in [&out.permitted, &out.excluded].into_iter().flat_map(|s| s.dns.iter().chain(&s.emails).chain(&s.uris)) {
        if !text.is_ascii() {
            return Err(EngineError::invalid(format!("the name constraint {text:?} cannot be written into a certificate")));
        }
    }
    Ok(out)
}

/// `signature_bits`, checked.
pub fn hash_bits(bits: i64) -> Result<u32, EngineError> {
    match bits {
        0 | 256 | 384 | 512 => Ok(u32::try_from(bits).unwrap_or(0)),
        other => Err(EngineError::invalid(format!("unsupported hash signature algorithm: {other}"))),
    }
}
