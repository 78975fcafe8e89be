//! `policy_identifiers` of a role: an OID, or a JSON object `{"oid": …, "cps": …, "notice": …}`.

use der::asn1::ObjectIdentifier;
use serde::Deserialize;

use crate::asn1;
use crate::oids;

#[derive(Deserialize)]
struct Described {
    oid: String,
    #[serde(default)]
    cps: String,
    #[serde(default)]
    notice: String,
}

/// The `PolicyInformation` of one identifier, or the words of a refusal (they end in what Go's libraries say, which is free).
pub fn policy_information(text: &str) -> Result<Vec<u8>, String> {
    if let Some(id) = oid(text) {
        return Ok(asn1::sequence(&[asn1::oid(&id)]));
    }
    let refusal = || {
        format!(
            "Policy Identifier {text:?} is neither a valid OID: strconv.Atoi: parsing {text:?}: invalid syntax, nor a JSON policy identifier"
        )
    };
    let described: Described = serde_json::from_str(text).map_err(|_| refusal())?;
    let id = oid(&described.oid).ok_or_else(refusal)?;
    let mut qualifiers = Vec::new();
    if !described.notice.is_empty() {
        let notice = asn1::sequence(&[asn1::utf8(&described.notice)]);
        qualifiers.push(asn1::sequence(&[asn1::oid(&oids::POLICY_NOTICE), notice]));
    }
    if !described.cps.is_empty() {
        qualifiers.push(asn1::sequence(&[asn1::oid(&oids::POLICY_CPS), asn1::tlv(0x16, described.cps.as_bytes())]));
    }
    let qualifiers = if qualifiers.is_empty() { Vec::new() } else { asn1::sequence(&qualifiers) };
    Ok(asn1::sequence(&[asn1::oid(&id), qualifiers]))
}

/// An object identifier in dotted form.
#[must_use]
pub fn oid(text: &str) -> Option<ObjectIdentifier> {
    ObjectIdentifier::new(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_plain_or_described() {
        assert!(policy_information("1.3.6.1").is_ok());
        let full = policy_information(r#"{"oid":"1.3.6.1","cps":"https://a.test","notice":"read me"}"#).unwrap();
        assert!(<x509_cert::ext::pkix::certpolicy::PolicyInformation as der::Decode>::from_der(&full).is_ok());
        for bad in ["", "not.an.oid", "1", "9.9.9", "{}", r#"{"oid":"x"}"#, r#"{"oid":1}"#] {
            assert!(policy_information(bad).unwrap_err().contains("neither a valid OID: strconv."), "{bad}");
        }
    }
}
