//! Issuers as things with names: listing, reading, changing, revoking, deleting.

use api_types::{Map, Operation};
use engine::{Call, Data, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};

use crate::config::check_urls;
use crate::draft::Urls;
use crate::fetch::raw;
use crate::fields::list as texts;
use crate::pem;
use crate::store::{
    Issuer, IssuersConfig, LeafNotAfter, Named, Revoked, Usage, all_issuers, chain, decode, hex_joined, pems, resolve_issuer,
    setting, touch_crls,
};
use crate::{Pki, oids};

const FIELDS: &[Field] = {
    use FieldKind::{Bool, CommaStringSlice as List, String as Text};
    &[
        Field::new("issuer_ref", Text, "`default`, a name or an id."),
        Field::new("issuer_name", Text, "A name for the issuer."),
        Field::new("leaf_not_after_behavior", Text, "`err`, `truncate` or `permit` for leaves that outlive the issuer."),
        Field::new("manual_chain", List, "Issuers that make its chain."),
        Field::new("usage", List, "`read-only`, `issuing-certificates`, `crl-signing`, `ocsp-signing`."),
        Field::new("revocation_signature_algorithm", Text, "How its revocation lists are signed, in Go's words."),
        Field::new("issuing_certificates", List, "URLs of its certificate."),
        Field::new("crl_distribution_points", List, "URLs of its revocation lists."),
        Field::new("delta_crl_distribution_points", List, "URLs of its delta lists."),
        Field::new("ocsp_servers", List, "URLs of OCSP responders."),
        Field::new("enable_aia_url_templating", Bool, "The URLs hold templates."),
    ]
};
const CONFIG: &[Field] = &[
    Field::new("default", FieldKind::String, "The default issuer: a name or an id."),
    Field::new("default_follows_latest_issuer", FieldKind::Bool, "A new issuer with a key becomes the default."),
];

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    vec![
        Route::new("issuers/?", &[], "Lists issuers.").on(Operation::List, "Lists issuers.", list),
        Route::new("issuer/{issuer_ref}", FIELDS, "An issuer.")
            .on(Operation::Read, "Reads an issuer.", read)
            .on(Operation::Update, "Writes what can be changed, as a whole.", write)
            .on(Operation::Patch, "Changes what is given.", patch)
            .on(Operation::Delete, "Deletes an issuer; its key stays.", delete),
        Route::new("issuer/{issuer_ref}/json", FIELDS, "An issuer's certificate and chain.").on(
            Operation::Read,
            "Reads a certificate and its chain.",
            read_public,
        ),
        Route::new("issuer/{issuer_ref}/der", FIELDS, "An issuer's certificate, DER.").on(
            Operation::Read,
            "Reads a certificate.",
            |_, call| read_raw(call, false),
        ),
        Route::new("issuer/{issuer_ref}/pem", FIELDS, "An issuer's certificate, PEM.").on(
            Operation::Read,
            "Reads a certificate.",
            |_, call| read_raw(call, true),
        ),
        Route::new("issuer/{issuer_ref}/revoke", FIELDS, "Revokes an issuer.").on(
            Operation::Update,
            "Revokes an issuer for good.",
            revoke,
        ),
        Route::new("config/issuers", CONFIG, "The default issuer.")
            .on(Operation::Read, "Reads the default issuer.", read_config)
            .on(Operation::Update, "Sets the default issuer.", |_, call| write_config(call, "")),
        Route::new("root/replace", CONFIG, "The default issuer after a rotation.").on(
            Operation::Update,
            "Makes another issuer the default, `next` unless told otherwise.",
            |_, call| write_config(call, "next"),
        ),
    ]
}

fn list(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let config: IssuersConfig = setting(&mut call.view, "config/issuers")?;
    let (mut ids, mut info) = (Vec::new(), Map::new());
    for issuer in all_issuers(&mut call.view)? {
        let shown = json!({
            "issuer_name": issuer.name, "is_default": issuer.id == config.default, "key_id": issuer.key_id,
            "serial_number": issuer.serial_number,
        });
        info.insert(issuer.id.clone(), shown);
        ids.push(issuer.id.clone());
    }
    let mut response = Response::list(ids);
    if let (Some(Data::Map(map)), false) = (&mut response.data, info.is_empty()) {
        map.insert("key_info".into(), info.into());
    }
    Ok(Some(response))
}

fn named(call: &mut Call<'_>) -> Result<Issuer, EngineError> {
    let reference = call.fields.str("issuer_ref").to_owned();
    Ok(resolve_issuer(&mut call.view, &reference)?.as_ref().clone())
}

/// Stored PEM ends in a newline where Vault shows records, and not where it shows issued certificates.
fn lines(pems: Vec<String>) -> Vec<String> {
    pems.into_iter().map(|p| p + "\n").collect()
}

fn describe(call: &mut Call<'_>, issuer: &Issuer) -> Result<Response, EngineError> {
    let chain = chain(&mut call.view, issuer)?;
    let manual: Value = if issuer.manual_chain.is_empty() { Value::Null } else { issuer.manual_chain.clone().into() };
    let mut response = Response::json(json!({
        "issuer_id": issuer.id,
        "issuer_name": issuer.name,
        "key_id": issuer.key_id,
        "certificate": pem::encode(pem::CERTIFICATE, &decode(&issuer.certificate)?) + "\n",
        "ca_chain": lines(pems(&chain)),
        "manual_chain": manual,
        "leaf_not_after_behavior": issuer.leaf_not_after_behavior,
        "usage": issuer.usage_text(),
        "revocation_signature_algorithm": issuer.revocation_signature_algorithm,
        "revoked": issuer.revoked_at.is_some(),
        "issuing_certificates": issuer.urls.issuing_certificates,
        "crl_distribution_points": issuer.urls.crl_distribution_points,
        "delta_crl_distribution_points": issuer.urls.delta_crl_distribution_points,
        "ocsp_servers": issuer.urls.ocsp_servers,
        "enable_aia_url_templating": issuer.urls.enable_templating,
        "disable_critical_extension_checks": false,
        "disable_path_length_checks": false,
        "disable_name_checks": false,
        "disable_name_constraint_checks": false,
    }));
    if let (Some(at), Some(Data::Map(map))) = (issuer.revoked_at, &mut response.data) {
        map.insert("revocation_time".into(), at.unix().into());
        map.insert("revocation_time_rfc3339".into(), at.rfc3339().into());
    }
    Ok(response)
}

fn read(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let issuer = named(call)?;
    describe(call, &issuer).map(Some)
}

fn read_public(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let issuer = named(call)?;
    let chain = chain(&mut call.view, &issuer)?;
    let mut response = Response::json(json!({
        "issuer_id": issuer.id, "issuer_name": issuer.name, "ca_chain": lines(pems(&chain)),
        "certificate": pem::encode(pem::CERTIFICATE, &decode(&issuer.certificate)?) + "\n",
    }));
    if let (Some(at), Some(Data::Map(map))) = (issuer.revoked_at, &mut response.data) {
        map.insert("revocation_time".into(), at.unix().into());
    }
    Ok(Some(response))
}

fn read_raw(call: &mut Call<'_>, as_pem: bool) -> Outcome {
    let issuer = named(call)?;
    Ok(Some(raw(&decode(&issuer.certificate)?, as_pem)))
}

fn write(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let old = named(call)?;
    let fresh = Issuer {
        name: String::new(),
        manual_chain: Vec::new(),
        leaf_not_after_behavior: LeafNotAfter::Err,
        usage: Usage::ALL.to_vec(),
        revocation_signature_algorithm: String::new(),
        urls: Urls::default(),
        ..old.clone()
    };
    save(call, &old, fresh)
}

fn patch(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let old = named(call)?;
    save(call, &old, old.clone())
}

fn save(call: &mut Call<'_>, old: &Issuer, mut new: Issuer) -> Outcome {
    if let Some(name) = call.fields.text("issuer_name") {
        new.name = name.to_owned();
    }
    if let Some(text) = call.fields.text("leaf_not_after_behavior") {
        new.leaf_not_after_behavior = serde_json::from_value(Value::String(text.to_owned())).map_err(|_| {
            EngineError::invalid(
                "Unknown value for field `leaf_not_after_behavior`. Possible values are `err`, `truncate`, and `permit`.",
            )
        })?;
    }
    if call.fields.has("usage") {
        new.usage = usages(&texts(&call.fields, "usage"))?;
    }
    let certificate = old.read()?;
    if !certificate.allows(oids::CRL_SIGN) {
        if call.fields.has("usage") && new.usage.contains(&Usage::CrlSigning) {
            return Err(EngineError::invalid(
                "this issuer's certificate does not allow it to sign revocation lists (KeyUsage: CRLSign)",
            ));
        }
        new.usage.retain(|u| *u != Usage::CrlSigning);
    }
    if old.revoked_at.is_some() && new.usage.contains(&Usage::IssuingCertificates) {
        if call.fields.has("usage") {
            return Err(EngineError::invalid(
                "This issuer was revoked; unable to modify its usage to include certificate signing again.",
            ));
        }
        new.usage.retain(|u| *u != Usage::IssuingCertificates);
    }
    if let Some(text) = call.fields.text("revocation_signature_algorithm") {
        new.revocation_signature_algorithm = text.to_owned();
    }
    urls(call, &mut new.urls)?;
    if call.fields.has("manual_chain") {
        new.manual_chain = manual_chain(call, &old.id)?;
    }
    Named::Issuer.check(&mut call.view, &new.name, &old.id)?;
    Named::Issuer.rename(&mut call.view, &old.id, &old.name, &new.name)?;
    call.view.put_json(&format!("issuer/{}", new.id), &new)?;
    touch_crls(&mut call.view, call.entropy)?;
    describe(call, &new).map(Some)
}

fn usages(names: &[String]) -> Result<Vec<Usage>, EngineError> {
    let mut out = Vec::new();
    for name in names.iter().filter(|n| *n != "read-only") {
        let usage = Usage::ALL.into_iter().find(|u| u.as_str() == name);
        out.push(usage.ok_or_else(|| {
            EngineError::invalid(format!(
                "Unable to parse specified usages: [{}] - valid values are [read-only issuing-certificates crl-signing ocsp-signing]",
                names.join(" ")
            ))
        })?);
    }
    Ok(out)
}

fn urls(call: &Call<'_>, urls: &mut Urls) -> Result<(), EngineError> {
    let f = &call.fields;
    if let Some(on) = f.bool("enable_aia_url_templating") {
        urls.enable_templating = on;
    }
    let lists = [
        ("issuing_certificates", &mut urls.issuing_certificates),
        ("crl_distribution_points", &mut urls.crl_distribution_points),
        ("delta_crl_distribution_points", &mut urls.delta_crl_distribution_points),
        ("ocsp_servers", &mut urls.ocsp_servers),
    ];
    for (name, list) in lists {
        if f.has(name) {
            *list = texts(f, name);
        }
    }
    check_urls(urls)
}

fn manual_chain(call: &mut Call<'_>, own_id: &str) -> Result<Vec<String>, EngineError> {
    let references = texts(&call.fields, "manual_chain");
    let mut ids: Vec<String> = Vec::new();
    for reference in &references {
        let id = resolve_issuer(&mut call.view, reference)?.id.clone();
        if ids.contains(&id) {
            return Err(EngineError::invalid(format!("manual chain contains duplicate issuer {reference}")));
        }
        ids.push(id);
    }
    match ids.first() {
        Some(first) if first != own_id => {
            Err(EngineError::invalid(format!("manual_chain must begin with the issuer itself ({own_id}), not with {first}")))
        }
        _ => Ok(ids),
    }
}

fn delete(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let reference = call.fields.str("issuer_ref").to_owned();
    let issuer = named(call)?;
    Named::Issuer.rename(&mut call.view, &issuer.id, &issuer.name, "")?;
    call.view.delete(&format!("issuer/{}", issuer.id))?;
    touch_crls(&mut call.view, call.entropy)?;
    let mut config: IssuersConfig = setting(&mut call.view, "config/issuers")?;
    if config.default != issuer.id {
        return Ok(None);
    }
    config.default.clear();
    call.view.put_json("config/issuers", &config)?;
    Ok(Some(Response::warning(format!(
        "Deleted issuer {} (via issuer_ref {reference}); this was configured as the default issuer. Operations without an explicit \
         issuer will not work until a new default is configured.",
        issuer.id
    ))))
}

/// Takes the right to issue, and puts the certificate on the list of whoever signed it, if that is an issuer here.
fn revoke(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let mut issuer = named(call)?;
    if issuer.revoked_at.is_none() {
        issuer.revoked_at = Some(call.now);
        issuer.usage.retain(|u| *u != Usage::IssuingCertificates);
        call.view.put_json(&format!("issuer/{}", issuer.id), &issuer)?;
        let certificate = issuer.read()?;
        for parent in all_issuers(&mut call.view)?.into_iter().filter(|p| p.id != issuer.id) {
            if certificate.is_signed_by(&parent.read()?) {
                let record = Revoked { at: call.now, issuer_id: parent.id.clone(), not_after: certificate.not_after };
                call.view.put_json(&format!("revoked/{}", hex_joined(&certificate.serial, "-")), &record)?;
                break;
            }
        }
        touch_crls(&mut call.view, call.entropy)?;
    }
    describe(call, &issuer).map(Some)
}

fn config_answer(config: &IssuersConfig) -> Response {
    Response::json(json!({
        "default": config.default, "default_follows_latest_issuer": config.default_follows_latest_issuer,
    }))
}

fn read_config(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let config: IssuersConfig = setting(&mut call.view, "config/issuers")?;
    Ok(Some(config_answer(&config)))
}

fn write_config(call: &mut Call<'_>, otherwise: &str) -> Outcome {
    let reference = call.fields.text("default").filter(|d| !d.is_empty()).unwrap_or(otherwise).to_owned();
    if reference.is_empty() || reference == "default" {
        return Err(EngineError::invalid("Invalid issuer specification; must be non-empty and can't be 'default'."));
    }
    let issuer = resolve_issuer(&mut call.view, &reference)?;
    let mut config: IssuersConfig = setting(&mut call.view, "config/issuers")?;
    config.default.clone_from(&issuer.id);
    if let Some(on) = call.fields.bool("default_follows_latest_issuer") {
        config.default_follows_latest_issuer = on;
    }
    call.view.put_json("config/issuers", &config)?;
    touch_crls(&mut call.view, call.entropy)?;
    let mut response = config_answer(&config);
    if issuer.key_id.is_empty() {
        response.warnings.push(
            "This selected default issuer has no key associated with it. Some operations like issuing certificates and signing \
             CRLs will be unavailable with the requested default issuer until a key is imported or the default issuer is changed."
                .to_owned(),
        );
    }
    Ok(Some(response))
}
