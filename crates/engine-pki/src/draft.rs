//! A certificate before it is signed. Everything was decided by the caller; here it only becomes bytes.

use der::asn1::ObjectIdentifier;
use serde::{Deserialize, Serialize};

use crate::asn1;
use crate::constraints::NameConstraints;
use crate::keys::{KeyError, PrivateKey};
use crate::names::AltNames;
use crate::oids;
use crate::public::{PublicKey, Scheme};

/// Where verifiers find the issuer's certificate, revocation lists and OCSP responders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Urls {
    /// `caIssuers`.
    pub issuing_certificates: Vec<String>,
    /// Where revocation lists are.
    pub crl_distribution_points: Vec<String>,
    /// Where delta revocation lists are.
    pub delta_crl_distribution_points: Vec<String>,
    /// OCSP responders.
    pub ocsp_servers: Vec<String>,
    /// The texts above hold `{{issuer_id}}`, `{{cluster_path}}` or `{{cluster_aia_path}}`.
    pub enable_templating: bool,
}

impl Urls {
    /// Whether nothing is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.issuing_certificates.is_empty()
            && self.crl_distribution_points.is_empty()
            && self.delta_crl_distribution_points.is_empty()
            && self.ocsp_servers.is_empty()
    }
}

/// One extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Kind.
    pub id: ObjectIdentifier,
    /// A verifier that does not know it must refuse.
    pub critical: bool,
    /// The value's DER.
    pub value: Vec<u8>,
}

impl Extension {
    /// An extension.
    #[must_use]
    pub fn new(id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Self {
        Self { id, critical, value }
    }

    /// The `Extension`.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let critical = if self.critical { asn1::yes() } else { Vec::new() };
        asn1::sequence(&[asn1::oid(&self.id), critical, asn1::octets(&self.value)])
    }
}

/// What the certificate says about being an authority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Basic {
    /// Nothing.
    #[default]
    Absent,
    /// That it is none.
    Leaf,
    /// That it is one, with at most so many authorities below.
    Authority(Option<u8>),
}

/// A certificate to be.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The subject's `Name`.
    pub subject: Vec<u8>,
    /// The subject's key.
    pub key: PublicKey,
    /// Alternative names.
    pub names: AltNames,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
    /// Authority or not.
    pub basic: Basic,
    /// Bits of [`oids::KEY_USAGES`]; none: no extension.
    pub key_usage: u16,
    /// Extended usages; none: no extension.
    pub ext_key_usage: Vec<ObjectIdentifier>,
    /// `PolicyInformation` values.
    pub policies: Vec<Vec<u8>>,
    /// For authorities.
    pub constraints: NameConstraints,
    /// Where to look.
    pub urls: Urls,
    /// A key identifier other than the computed one.
    pub key_id: Option<Vec<u8>>,
    /// Further extensions; one of a kind that is written above replaces it.
    pub extra: Vec<Extension>,
}

/// Who signs.
#[derive(Debug, Clone)]
pub struct Signer {
    /// The signer's `Name`.
    pub name: Vec<u8>,
    /// The signer's key identifier.
    pub key_id: Vec<u8>,
    /// How it signs.
    pub scheme: Scheme,
}

impl Draft {
    /// A draft with nothing in it but a subject, a key and a time.
    #[must_use]
    pub fn new(subject: Vec<u8>, key: PublicKey, not_before: i64, not_after: i64) -> Self {
        Self {
            subject,
            key,
            names: AltNames::default(),
            not_before,
            not_after,
            basic: Basic::default(),
            key_usage: 0,
            ext_key_usage: Vec::new(),
            policies: Vec::new(),
            constraints: NameConstraints::default(),
            urls: Urls::default(),
            key_id: None,
            extra: Vec::new(),
        }
    }

    /// The signed certificate.
    pub fn sign(&self, serial: &[u8], signer: &Signer, key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
        let extensions: Vec<Vec<u8>> = self.extensions(&signer.key_id).iter().map(Extension::to_der).collect();
        let content = asn1::sequence(&[
            asn1::explicit(0, &asn1::number(2)),
            asn1::unsigned(serial),
            signer.scheme.algorithm(),
            signer.name.clone(),
            asn1::sequence(&[asn1::time(self.not_before), asn1::time(self.not_after)]),
            self.subject.clone(),
            self.key.spki(),
            asn1::explicit(3, &asn1::sequence(&extensions)),
        ]);
        seal(content, signer.scheme, key)
    }

    fn extensions(&self, authority: &[u8]) -> Vec<Extension> {
        let mut out = Vec::new();
        if self.key_usage != 0 {
            out.push(Extension::new(oids::KEY_USAGE, true, asn1::named_bits(self.key_usage)));
        }
        if !self.ext_key_usage.is_empty() {
            let usages: Vec<Vec<u8>> = self.ext_key_usage.iter().map(asn1::oid).collect();
            out.push(Extension::new(oids::EXT_KEY_USAGE, false, asn1::sequence(&usages)));
        }
        out.extend(basic_constraints(self.basic));
        let own = self.key_id.clone().unwrap_or_else(|| self.key.id());
        out.push(Extension::new(oids::SUBJECT_KEY_ID, false, asn1::octets(&own)));
        out.push(authority_key_id(authority));
        out.extend(authority_info(&self.urls));
        if !self.names.is_empty() {
            // RFC 5280 §4.2.1.6: critical when the subject is empty, for then it is all there is.
            let critical = self.subject == asn1::sequence::<Vec<u8>>(&[]);
            out.push(Extension::new(oids::SUBJECT_ALT_NAME, critical, self.names.to_der()));
        }
        if !self.policies.is_empty() {
            out.push(Extension::new(oids::CERTIFICATE_POLICIES, false, asn1::sequence(&self.policies)));
        }
        if !self.constraints.is_empty() {
            out.push(Extension::new(oids::NAME_CONSTRAINTS, true, self.constraints.to_der()));
        }
        out.extend(distribution_points(oids::CRL_DISTRIBUTION_POINTS, &self.urls.crl_distribution_points));
        out.extend(distribution_points(oids::FRESHEST_CRL, &self.urls.delta_crl_distribution_points));
        for extra in &self.extra {
            match out.iter_mut().find(|e| e.id == extra.id) {
                Some(written) => *written = extra.clone(),
                None => out.push(extra.clone()),
            }
        }
        out
    }
}

/// A certificate request with these names, signed by its own key. `extra` are further requested extensions.
pub fn request(
    subject: &[u8],
    names: &AltNames,
    extra: &[Extension],
    key: &PrivateKey,
    scheme: Scheme,
) -> Result<Vec<u8>, KeyError> {
    let mut wanted: Vec<Extension> = extra.to_vec();
    if !names.is_empty() {
        wanted.push(Extension::new(oids::SUBJECT_ALT_NAME, false, names.to_der()));
    }
    let attributes = if wanted.is_empty() {
        Vec::new()
    } else {
        let extensions: Vec<Vec<u8>> = wanted.iter().map(Extension::to_der).collect();
        let values = asn1::set_of(vec![asn1::sequence(&extensions)]);
        vec![asn1::sequence(&[asn1::oid(&oids::EXTENSION_REQUEST), values])]
    };
    let content =
        asn1::sequence(&[asn1::number(0), subject.to_vec(), key.public().spki(), asn1::implicit_sequence(0, &attributes)]);
    seal(content, scheme, key)
}

/// `SEQUENCE { content, algorithm, signature }`.
pub fn seal(content: Vec<u8>, scheme: Scheme, key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let signature = key.sign(scheme, &content)?;
    Ok(asn1::sequence(&[content, scheme.algorithm(), asn1::bits(&signature)]))
}

/// `AuthorityKeyIdentifier` with a key identifier.
#[must_use]
pub fn authority_key_id(id: &[u8]) -> Extension {
    Extension::new(oids::AUTHORITY_KEY_ID, false, asn1::sequence(&[asn1::implicit(0, id)]))
}

/// `BasicConstraints`, critical; nothing for [`Basic::Absent`].
#[must_use]
pub fn basic_constraints(basic: Basic) -> Option<Extension> {
    let value = match basic {
        Basic::Absent => return None,
        Basic::Leaf => asn1::sequence::<Vec<u8>>(&[]),
        Basic::Authority(None) => asn1::sequence(&[asn1::yes()]),
        Basic::Authority(Some(n)) => asn1::sequence(&[asn1::yes(), asn1::number(n.into())]),
    };
    Some(Extension::new(oids::BASIC_CONSTRAINTS, true, value))
}

fn authority_info(urls: &Urls) -> Option<Extension> {
    let entry = |method: &ObjectIdentifier, url: &String| asn1::sequence(&[asn1::oid(method), asn1::implicit(6, url.as_bytes())]);
    let ocsp = urls.ocsp_servers.iter().map(|u| entry(&oids::ACCESS_OCSP, u));
    let issuers = urls.issuing_certificates.iter().map(|u| entry(&oids::ACCESS_CA_ISSUERS, u));
    let all: Vec<Vec<u8>> = ocsp.chain(issuers).collect();
    (!all.is_empty()).then(|| Extension::new(oids::AUTHORITY_INFO_ACCESS, false, asn1::sequence(&all)))
}

fn distribution_points(id: ObjectIdentifier, urls: &[String]) -> Option<Extension> {
    let point = |url: &String| {
        let full_name = asn1::implicit_sequence(0, &[asn1::implicit(6, url.as_bytes())]);
        asn1::sequence(&[asn1::explicit(0, &full_name)])
    };
    let all: Vec<Vec<u8>> = urls.iter().map(point).collect();
    (!all.is_empty()).then(|| Extension::new(id, false, asn1::sequence(&all)))
}
