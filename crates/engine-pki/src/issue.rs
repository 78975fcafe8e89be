//! Leaf certificates: `issue` makes the key, `sign` takes a request and a role, `sign-verbatim` takes a request as it is.

use std::time::Duration;

use api_types::{Map, Operation};
use engine::{BoxFuture, Call, EngineError, Field, Fields, LeasedSecret, Outcome, Response, Route};

use crate::answer::{Exported, Format, issued};
use crate::draft::{Basic, Draft, Extension};
use crate::fields::{alt_names, certificate_fields, complete, hash_bits, list};
use crate::keys::{KeySpec, KeyType, PrivateKey};
use crate::names::Subject;
use crate::pem;
use crate::policies;
use crate::public::PublicKey;
use crate::reading::Request;
use crate::roles::{self, Role};
use crate::rules::{self, Wish};
use crate::signing::{Authority, apart, serial};
use crate::store::{Usage, put_issued, serial_text};
use crate::validity::{self, Ask};
use crate::{Pki, oids};

const ISSUE: &[Field] = certificate_fields! {
    "name", String, "The role.";
    "issuer_ref", String, "The issuer instead of the role's.";
    "user_ids", CommaStringSlice, "User ids of the subject.";
    "remove_roots_from_chain", Bool, "The chain is shown without self-signed certificates.";
};

const SIGN: &[Field] = certificate_fields! {
    "name", String, "The role.";
    "issuer_ref", String, "The issuer instead of the role's.";
    "csr", String, "The certificate request, PEM.";
    "user_ids", CommaStringSlice, "User ids of the subject.";
    "remove_roots_from_chain", Bool, "The chain is shown without self-signed certificates.";
};

const VERBATIM: &[Field] = certificate_fields! {
    "name", String, "A role for lives, leases and storing.";
    "issuer_ref", String, "The issuer instead of the role's.";
    "csr", String, "The certificate request, PEM.";
    "key_usage", CommaStringSlice, "Key usages if the request names none.";
    "ext_key_usage", CommaStringSlice, "Extended key usages if the request names none.";
    "ext_key_usage_oids", CommaStringSlice, "The same by OID.";
    "signature_bits", Int, "Hash of an RSA issuer's signature: 256, 384, 512, 0 for the default.";
    "use_pss", Bool, "RSA issuers sign with PSS.";
    "user_ids", CommaStringSlice, "Not used: the request's subject is taken as it is.";
    "basic_constraints_valid_for_non_ca", Bool, "The certificate says that it is no authority.";
    "remove_roots_from_chain", Bool, "The chain is shown without self-signed certificates.";
};

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    let issue = |pattern| {
        Route::new(pattern, ISSUE, "A new key and certificate.").on_async(Operation::Update, "Makes a key and signs it.", issue)
    };
    let sign = |pattern| {
        Route::new(pattern, SIGN, "Signs a request.").on_async(Operation::Update, "Signs a request under a role.", sign)
    };
    let verbatim = |pattern| {
        Route::new(pattern, VERBATIM, "Signs a request as it is.").on_async(
            Operation::Update,
            "Signs a request as it is.",
            verbatim,
        )
    };
    vec![
        issue("issue/{name}"),
        issue("issuer/{issuer_ref}/issue/{name}"),
        sign("sign/{name}"),
        sign("issuer/{issuer_ref}/sign/{name}"),
        verbatim("sign-verbatim/?"),
        verbatim("sign-verbatim/{name}"),
        verbatim("issuer/{issuer_ref}/sign-verbatim/?"),
        verbatim("issuer/{issuer_ref}/sign-verbatim/{name}"),
    ]
}

fn issue<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let role = known_role(call)?;
        if role.key_type == "any" {
            return Err(EngineError::invalid("role key type \"any\" not allowed for issuing certificates, only signing"));
        }
        let spec = KeySpec::parse(&role.key_type, role.key_bits).map_err(|e| EngineError::invalid(e.to_string()))?;
        let format = Format::of(&call.fields)?;
        let authority = Authority::load(&mut call.view, &reference(&call.fields, &role), Usage::IssuingCertificates)?;
        let wish = wish(&role, &call.fields, None)?;
        rules::check(&role, &call.caller.display_name, &wish).map_err(EngineError::Invalid)?;
        let key = apart(move || PrivateKey::generate(spec)).await?;
        let (draft, warnings) = draft(call, &role, &wish, key.public(), &authority)?;
        let exported = Exported { key: &key, as_pkcs8: call.fields.str("private_key_format") == "pkcs8" };
        finish(call, &role, authority, draft, format, Some(&exported), warnings).await
    })
}

fn sign<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let role = known_role(call)?;
        let format = Format::of(&call.fields)?;
        let authority = Authority::load(&mut call.view, &reference(&call.fields, &role), Usage::IssuingCertificates)?;
        let request = read_request(&call.fields)?;
        key_allowed(&role, request.key.spec())?;
        let wish = wish(&role, &call.fields, Some(&request))?;
        rules::check(&role, &call.caller.display_name, &wish).map_err(EngineError::Invalid)?;
        let (draft, warnings) = draft(call, &role, &wish, request.key.clone(), &authority)?;
        finish(call, &role, authority, draft, format, None, warnings).await
    })
}

fn verbatim<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let role = if call.fields.str("name").is_empty() { None } else { Some(known_role(call)?) };
        let role = verbatim_role(role, &call.fields)?;
        let format = Format::of(&call.fields)?;
        let authority = Authority::load(&mut call.view, &reference(&call.fields, &role), Usage::IssuingCertificates)?;
        let request = read_request(&call.fields)?;
        key_allowed(&role, request.key.spec())?;
        if request
            .extension::<x509_cert::ext::pkix::BasicConstraints>(oids::BASIC_CONSTRAINTS)
            .map_err(unreadable)?
            .is_some_and(|b| b.ca)
        {
            return Err(EngineError::invalid(
                "refusing to sign a CSR that asks to be a certificate authority: use sign-intermediate",
            ));
        }
        let wish = Wish { names: request.names.clone(), ..Wish::default() };
        let (mut draft, warnings) = draft(call, &role, &wish, request.key.clone(), &authority)?;
        draft.subject = request.subject.clone();
        draft.extra = kept_extensions(&request);
        finish(call, &role, authority, draft, format, None, warnings).await
    })
}

fn known_role(call: &mut Call<'_>) -> Result<Role, EngineError> {
    let name = call.fields.str("name").to_owned();
    roles::find(&mut call.view, &name)?.ok_or_else(|| EngineError::invalid(format!("unknown role: {name}")))
}

fn reference(f: &Fields, role: &Role) -> String {
    f.text("issuer_ref").filter(|r| !r.is_empty()).unwrap_or(&role.issuer_ref).to_owned()
}

/// What a request without a role is signed under: anything goes, with the mount's lives. Of a role only lives, leases,
/// storing, dating back and the issuer count.
fn verbatim_role(role: Option<Role>, f: &Fields) -> Result<Role, EngineError> {
    let base = role.unwrap_or_default();
    let ext_key_usage_oids = list(f, "ext_key_usage_oids");
    if let Some(bad) = ext_key_usage_oids.iter().find(|id| policies::oid(id).is_none()) {
        return Err(EngineError::invalid(format!("{bad:?} could not be parsed as a valid oid for an extended key usage")));
    }
    Ok(Role {
        ttl: base.ttl,
        max_ttl: base.max_ttl,
        not_after: base.not_after,
        generate_lease: base.generate_lease,
        no_store: base.no_store,
        not_before_duration: base.not_before_duration,
        issuer_ref: base.issuer_ref,
        basic_constraints_valid_for_non_ca: f
            .bool("basic_constraints_valid_for_non_ca")
            .unwrap_or(base.basic_constraints_valid_for_non_ca),
        key_type: "any".to_owned(),
        key_usage: f.texts("key_usage").map_or_else(|| Role::default().key_usage, <[String]>::to_vec),
        ext_key_usage: list(f, "ext_key_usage"),
        ext_key_usage_oids,
        server_flag: false,
        client_flag: false,
        signature_bits: f.int("signature_bits").unwrap_or(0),
        use_pss: f.bool("use_pss").unwrap_or(false),
        ..Role::default()
    })
}

fn unreadable(e: crate::reading::ReadError) -> EngineError {
    EngineError::invalid(format!("certificate request could not be parsed: {e}"))
}

/// The request that was sent, with its signature checked.
pub fn read_request(f: &Fields) -> Result<Request, EngineError> {
    let text = f.str("csr");
    if text.is_empty() {
        return Err(EngineError::invalid("\"csr\" is empty"));
    }
    let blocks = pem::decode(text).map_err(|_| EngineError::invalid("csr contains no data"))?;
    let is_request = |b: &&pem::Block| matches!(b.label.as_str(), pem::REQUEST | "NEW CERTIFICATE REQUEST");
    let block = blocks.iter().find(is_request).ok_or_else(|| EngineError::invalid("csr contains no data"))?;
    Request::from_der(&block.der).map_err(unreadable)
}

/// Whether a key from outside is what the role wants.
fn key_allowed(role: &Role, spec: KeySpec) -> Result<(), EngineError> {
    let (kind, bits) = (spec.kind, i64::from(spec.bits));
    if role.key_type != "any" && role.key_type != kind.as_str() {
        return Err(EngineError::invalid(format!("role requires keys of type {}", role.key_type)));
    }
    if kind == KeyType::Rsa && bits < 2048 {
        return Err(EngineError::invalid(format!("RSA keys < 2048 bits are unsafe and not supported: got {bits}")));
    }
    if role.key_type != "any" && bits < role.key_bits {
        return Err(EngineError::invalid(format!(
            "role requires a minimum of a {}-bit key, but CSR's key is {bits} bits",
            role.key_bits
        )));
    }
    Ok(())
}

/// All names the certificate would have, from the fields and the request, as the role says.
fn wish(role: &Role, f: &Fields, request: Option<&Request>) -> Result<Wish, EngineError> {
    let from_request = request.filter(|r| role.use_csr_common_name && !r.common_name.is_empty());
    let common_name = from_request.map_or_else(|| f.str("common_name").to_owned(), |r| r.common_name.clone());
    if common_name.is_empty() && role.require_cn {
        return Err(EngineError::invalid(
            "the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to true, \
             unless \"require_cn\" is set to false",
        ));
    }
    let signed_names = request.filter(|_| role.use_csr_sans).map(|r| r.names.clone());
    let from_request = signed_names.is_some();
    let names = signed_names.map_or_else(|| alt_names(f), Ok)?;
    let mut serial_number = f.str("serial_number").to_owned();
    if serial_number.is_empty() && role.serial_number_source == "json-csr" {
        serial_number = request.map(|r| r.serial_number.clone()).unwrap_or_default();
    }
    Ok(Wish {
        names: complete(names, &common_name, f.bool("exclude_cn_from_sans").unwrap_or(false))?,
        common_name,
        serial_number,
        user_ids: list(f, "user_ids"),
        from_request,
    })
}

/// The certificate that role and wish make together.
fn draft(
    call: &Call<'_>,
    role: &Role,
    wish: &Wish,
    key: PublicKey,
    authority: &Authority,
) -> Result<(Draft, Vec<String>), EngineError> {
    let seconds = |n: u64, otherwise| if n == 0 { otherwise } else { Duration::from_secs(n) };
    let max_ttl = seconds(role.max_ttl, call.mount.max_lease_ttl);
    let ttl = call.fields.duration("ttl").unwrap_or_default();
    let sent = call.fields.str("not_after");
    let not_after = if sent.is_empty() && ttl.is_zero() { role.not_after.as_str() } else { sent };
    let ask = Ask { ttl, not_after, default_ttl: seconds(role.ttl, call.mount.default_lease_ttl), max_ttl };
    let (end, warnings) = validity::end(ask, call.now).map_err(EngineError::Invalid)?;
    let end =
        validity::within(end, &authority.certificate, authority.issuer.leaf_not_after_behavior).map_err(EngineError::Invalid)?;
    let start = call.now.minus(Duration::from_secs(role.not_before_duration)).unix();
    if end <= call.now.unix() {
        return Err(EngineError::invalid("the certificate would have expired already"));
    }
    let subject = Subject {
        country: role.country.clone(),
        organization: role.organization.clone(),
        ou: role.ou.clone(),
        locality: role.locality.clone(),
        province: role.province.clone(),
        street_address: role.street_address.clone(),
        postal_code: role.postal_code.clone(),
        common_name: wish.common_name.clone(),
        serial_number: wish.serial_number.clone(),
        user_ids: wish.user_ids.clone(),
    };
    let mut draft = Draft::new(subject.to_der(), key, start, end);
    draft.names = wish.names.clone();
    draft.basic = if role.basic_constraints_valid_for_non_ca { Basic::Leaf } else { Basic::Absent };
    draft.key_usage = oids::key_usage_bits(&role.key_usage);
    draft.ext_key_usage = role.extended_usages();
    draft.policies = role
        .policy_identifiers
        .iter()
        .map(|p| policies::policy_information(p))
        .collect::<Result<_, _>>()
        .map_err(EngineError::Invalid)?;
    draft.urls = authority.urls.clone();
    Ok((draft, warnings))
}

/// The request's own extensions, but for those that the issuer alone decides.
pub fn kept_extensions(request: &Request) -> Vec<Extension> {
    const ISSUERS_OWN: [der::asn1::ObjectIdentifier; 7] = [
        oids::BASIC_CONSTRAINTS,
        oids::SUBJECT_KEY_ID,
        oids::AUTHORITY_KEY_ID,
        oids::AUTHORITY_INFO_ACCESS,
        oids::CRL_DISTRIBUTION_POINTS,
        oids::FRESHEST_CRL,
        oids::NAME_CONSTRAINTS,
    ];
    let kept = request.extensions.iter().filter(|e| !ISSUERS_OWN.contains(&e.extn_id));
    kept.map(|e| Extension::new(e.extn_id, e.critical, e.extn_value.as_bytes().to_vec())).collect()
}

/// Signs, keeps, answers.
async fn finish(
    call: &mut Call<'_>,
    role: &Role,
    authority: Authority,
    draft: Draft,
    format: Format,
    key: Option<&Exported<'_>>,
    warnings: Vec<String>,
) -> Outcome {
    authority.admits(&draft)?;
    let serial = serial(call.entropy)?;
    let signer = authority.signer(hash_bits(role.signature_bits)?, role.use_pss);
    let Authority { issuer, chain, key: issuer_key, .. } = authority;
    let (number, end) = (serial.clone(), draft.not_after);
    let certificate = apart(move || draft.sign(&number, &signer, &issuer_key)).await?;
    if !role.no_store {
        put_issued(&mut call.view, &serial, &certificate, &issuer.id, end)?;
    }
    let remove_roots = call.fields.bool("remove_roots_from_chain").unwrap_or(false);
    let mut response = Response::data(issued(format, &certificate, &serial, end, &chain, key, remove_roots)?);
    response.warnings = warnings;
    if role.generate_lease {
        let left = u64::try_from(end.saturating_sub(call.now.unix())).unwrap_or(0);
        let mut internal = Map::new();
        internal.insert("serial_number".into(), serial_text(&serial).into());
        response.secret = Some(Box::new(LeasedSecret {
            ttl: Duration::from_secs(left),
            renewable: false,
            internal,
            register: true,
            ..LeasedSecret::default()
        }));
    }
    Ok(Some(response))
}
