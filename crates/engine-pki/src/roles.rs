//! Roles: what may be asked for, and what the certificate then says.

use api_types::{Map, Operation};
use engine::{Call, EngineError, Field, FieldKind, Fields, Outcome, Response, Route};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Page, View};

use crate::keys::KeySpec;
use crate::oids;
use crate::policies;
use crate::store::resolve_issuer;
use crate::{Pki, wanted_page};

/// A role. The names are those of the API, so the record is the answer. Durations are whole seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "each field is described where it is declared, in FIELDS")]
pub struct Role {
    pub allow_any_name: bool,
    pub allow_bare_domains: bool,
    pub allow_glob_domains: bool,
    pub allow_ip_sans: bool,
    pub allow_localhost: bool,
    pub allow_subdomains: bool,
    pub allow_token_displayname: bool,
    pub allow_wildcard_certificates: bool,
    pub allowed_domains: Vec<String>,
    pub allowed_domains_template: bool,
    pub allowed_other_sans: Vec<String>,
    pub allowed_serial_numbers: Vec<String>,
    pub allowed_uri_sans: Vec<String>,
    pub allowed_uri_sans_template: bool,
    pub allowed_user_ids: Vec<String>,
    pub basic_constraints_valid_for_non_ca: bool,
    pub client_flag: bool,
    pub cn_validations: Vec<String>,
    pub code_signing_flag: bool,
    pub country: Vec<String>,
    pub email_protection_flag: bool,
    pub enforce_hostnames: bool,
    pub ext_key_usage: Vec<String>,
    pub ext_key_usage_oids: Vec<String>,
    pub generate_lease: bool,
    pub issuer_ref: String,
    pub key_bits: i64,
    pub key_type: String,
    pub key_usage: Vec<String>,
    pub locality: Vec<String>,
    pub max_ttl: u64,
    pub no_store: bool,
    pub not_after: String,
    pub not_before_duration: u64,
    pub organization: Vec<String>,
    pub ou: Vec<String>,
    pub policy_identifiers: Vec<String>,
    pub postal_code: Vec<String>,
    pub province: Vec<String>,
    pub require_cn: bool,
    pub serial_number_source: String,
    pub server_flag: bool,
    pub signature_bits: i64,
    pub street_address: Vec<String>,
    pub ttl: u64,
    pub use_csr_common_name: bool,
    pub use_csr_sans: bool,
    pub use_pss: bool,
}

impl Default for Role {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Self {
            allow_any_name: false,
            allow_bare_domains: false,
            allow_glob_domains: false,
            allow_ip_sans: true,
            allow_localhost: true,
            allow_subdomains: false,
            allow_token_displayname: false,
            allow_wildcard_certificates: true,
            allowed_domains: Vec::new(),
            allowed_domains_template: false,
            allowed_other_sans: Vec::new(),
            allowed_serial_numbers: Vec::new(),
            allowed_uri_sans: Vec::new(),
            allowed_uri_sans_template: false,
            allowed_user_ids: Vec::new(),
            basic_constraints_valid_for_non_ca: false,
            client_flag: true,
            cn_validations: words(&["email", "hostname"]),
            code_signing_flag: false,
            country: Vec::new(),
            email_protection_flag: false,
            enforce_hostnames: true,
            ext_key_usage: Vec::new(),
            ext_key_usage_oids: Vec::new(),
            generate_lease: false,
            issuer_ref: "default".to_owned(),
            key_bits: 0,
            key_type: "rsa".to_owned(),
            key_usage: words(&["DigitalSignature", "KeyAgreement", "KeyEncipherment"]),
            locality: Vec::new(),
            max_ttl: 0,
            no_store: false,
            not_after: String::new(),
            not_before_duration: 30,
            organization: Vec::new(),
            ou: Vec::new(),
            policy_identifiers: Vec::new(),
            postal_code: Vec::new(),
            province: Vec::new(),
            require_cn: true,
            serial_number_source: "json-csr".to_owned(),
            server_flag: true,
            signature_bits: 0,
            street_address: Vec::new(),
            ttl: 0,
            use_csr_common_name: true,
            use_csr_sans: true,
            use_pss: false,
        }
    }
}

const FIELDS: &[Field] = {
    use FieldKind::{Bool, CommaStringSlice as List, DurationSecond as Seconds, Int, String as Text};
    &[
        Field::new("name", Text, "Name of the role."),
        Field::new("allow_any_name", Bool, "Any name may be asked for."),
        Field::new("allow_bare_domains", Bool, "The allowed domains themselves may be asked for."),
        Field::new("allow_glob_domains", Bool, "Allowed domains may hold `*` as a pattern."),
        Field::new("allow_ip_sans", Bool, "Addresses may be asked for."),
        Field::new("allow_localhost", Bool, "`localhost` and `localdomain` may be asked for."),
        Field::new("allow_subdomains", Bool, "Names below the allowed domains may be asked for."),
        Field::new("allow_token_displayname", Bool, "The token's display name may be asked for."),
        Field::new("allow_wildcard_certificates", Bool, "Names with `*` may be asked for, where another rule allows them."),
        Field::new("allowed_domains", List, "Domains that the other rules speak of."),
        Field::new("allowed_domains_template", Bool, "Allowed domains may hold identity templates."),
        Field::new("allowed_other_sans", List, "Other names, as `<oid>;UTF8:<value or pattern>`; `*` for any."),
        Field::new("allowed_serial_numbers", List, "Patterns of subject serial numbers."),
        Field::new("allowed_uri_sans", List, "Patterns of URIs."),
        Field::new("allowed_uri_sans_template", Bool, "Allowed URIs may hold identity templates."),
        Field::new("allowed_user_ids", List, "Patterns of user ids."),
        Field::new("basic_constraints_valid_for_non_ca", Bool, "Leaves say that they are no authority."),
        Field::new("client_flag", Bool, "Certificates are for clients."),
        Field::new("cn_validations", List, "`email`, `hostname`, or `disabled`."),
        Field::new("code_signing_flag", Bool, "Certificates are for code signing."),
        Field::new("country", List, "C of the subject."),
        Field::new("email_protection_flag", Bool, "Certificates are for mail."),
        Field::new("enforce_hostnames", Bool, "Names must be host names."),
        Field::new("ext_key_usage", List, "Extended key usages by name."),
        Field::new("ext_key_usage_oids", List, "Extended key usages by OID."),
        Field::new("generate_lease", Bool, "Certificates have a lease; its end revokes them."),
        Field::new("issuer_ref", Text, "The issuer: `default`, a name, or an id."),
        Field::new("key_bits", Int, "Size of keys; 0 for the kind's default."),
        Field::new("key_type", Text, "`rsa`, `ec`, `ed25519` or `any`."),
        Field::new("key_usage", List, "Key usages by name."),
        Field::new("locality", List, "L of the subject."),
        Field::new("max_ttl", Seconds, "Longest life."),
        Field::new("no_store", Bool, "Certificates are not kept."),
        Field::new("not_after", Text, "End of life as a time, RFC 3339."),
        Field::new("not_before_duration", Seconds, "How far certificates are dated back."),
        Field::new("organization", List, "O of the subject."),
        Field::new("ou", List, "OU of the subject."),
        Field::new("policy_identifiers", List, "Policy OIDs, or JSON objects with `oid`, `cps`, `notice`."),
        Field::new("postal_code", List, "Postal code of the subject."),
        Field::new("province", List, "ST of the subject."),
        Field::new("require_cn", Bool, "A common name must be there."),
        Field::new("serial_number_source", Text, "`json-csr` or `json`: where the subject's serial number may come from."),
        Field::new("server_flag", Bool, "Certificates are for servers."),
        Field::new("signature_bits", Int, "Hash of an RSA issuer's signature: 256, 384, 512, 0 for the default."),
        Field::new("street_address", List, "Street of the subject."),
        Field::new("ttl", Seconds, "Life when none is asked for."),
        Field::new("use_csr_common_name", Bool, "The request's common name wins when signing."),
        Field::new("use_csr_sans", Bool, "The request's alternative names win when signing."),
        Field::new("use_pss", Bool, "RSA issuers sign with PSS."),
    ]
};

const LIST_FIELDS: &[Field] = &[];

/// The routes of roles.
pub fn routes() -> Vec<Route<Pki>> {
    vec![
        Route::new("roles/?", LIST_FIELDS, "Lists roles.").on(Operation::List, "Lists roles.", list),
        Route::new("roles/{name}", FIELDS, "A role.")
            .help("What may be asked for under this name, and what the certificate then says.")
            .on(Operation::Read, "Reads a role.", read)
            .on(Operation::Update, "Writes a role as a whole.", write)
            .on(Operation::Patch, "Changes what is given.", patch)
            .on(Operation::Delete, "Deletes a role; certificates stay as they are.", delete),
    ]
}

/// The role of that name.
pub fn find(view: &mut View<'_>, name: &str) -> Result<Option<Role>, EngineError> {
    Ok(view.get_json::<Role>(&format!("role/{name}"))?.map(|r| r.as_ref().clone()))
}

fn list(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let page: Page = wanted_page(call);
    Ok(Some(Response::list(call.view.list("role/", &page)?)))
}

fn read(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    find(&mut call.view, &name)?.map(|role| answer(&role)).transpose()
}

fn write(_: &Pki, call: &mut Call<'_>) -> Outcome {
    save(call, Role::default())
}

fn patch(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let name = call.fields.str("name").to_owned();
    let role = find(&mut call.view, &name)?.ok_or_else(|| EngineError::invalid("Unable to fetch role entry to patch"))?;
    save(call, role)
}

fn delete(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let key = format!("role/{}", call.fields.str("name"));
    if call.view.get(&key)?.is_some() {
        call.view.delete(&key)?;
    }
    Ok(None)
}

fn save(call: &mut Call<'_>, mut role: Role) -> Outcome {
    fill(&mut role, &call.fields);
    settle(&mut role)?;
    call.view.put_json(&format!("role/{}", call.fields.str("name")), &role)?;
    let mut response = answer(&role)?;
    response.warnings.extend(issuer_warning(&mut call.view, &role.issuer_ref)?);
    Ok(Some(response))
}

/// A role may be written before its issuer is there; then it says so.
fn issuer_warning(view: &mut View<'_>, reference: &str) -> Result<Option<String>, EngineError> {
    match resolve_issuer(view, reference) {
        Ok(_) => Ok(None),
        Err(e @ (EngineError::Storage(_) | EngineError::Entropy(_))) => Err(e),
        Err(_) if reference == "default" => Ok(Some(
            "Issuing Certificate was set to default, but no default issuing certificate (configurable at /config/issuers) is currently set"
                .to_owned(),
        )),
        Err(_) => {
            Ok(Some(format!("Issuing Certificate was set to {reference} but no issuing certificate currently has that name")))
        }
    }
}

fn answer(role: &Role) -> Result<Response, EngineError> {
    match serde_json::to_value(role) {
        Ok(Value::Object(map)) => Ok(Response::data(map)),
        _ => Ok(Response::data(Map::new())),
    }
}

/// Takes over what was sent.
fn fill(role: &mut Role, f: &Fields) {
    macro_rules! take {
        (bool: $($b:ident)*; list: $($l:ident)*; seconds: $($s:ident)*; text: $($t:ident)*; int: $($i:ident)*;) => {
            $(if let Some(v) = f.bool(stringify!($b)) { role.$b = v; })*
            $(if let Some(v) = f.texts(stringify!($l)) { role.$l = v.to_vec(); })*
            $(if let Some(v) = f.duration(stringify!($s)) { role.$s = v.as_secs(); })*
            $(if let Some(v) = f.text(stringify!($t)) { role.$t = v.to_owned(); })*
            $(if let Some(v) = f.int(stringify!($i)) { role.$i = v; })*
        };
    }
    take! {
        bool: allow_any_name allow_bare_domains allow_glob_domains allow_ip_sans allow_localhost allow_subdomains
            allow_token_displayname allow_wildcard_certificates allowed_domains_template allowed_uri_sans_template
            basic_constraints_valid_for_non_ca client_flag code_signing_flag email_protection_flag enforce_hostnames
            generate_lease no_store require_cn server_flag use_csr_common_name use_csr_sans use_pss;
        list: allowed_domains allowed_other_sans allowed_serial_numbers allowed_uri_sans allowed_user_ids cn_validations country
            ext_key_usage ext_key_usage_oids key_usage locality organization ou policy_identifiers postal_code province
            street_address;
        seconds: max_ttl not_before_duration ttl;
        text: issuer_ref key_type not_after serial_number_source;
        int: key_bits signature_bits;
    }
}

/// Checks the role and fills in what follows from it.
fn settle(role: &mut Role) -> Result<(), EngineError> {
    if role.max_ttl != 0 && role.ttl > role.max_ttl {
        return Err(EngineError::invalid("\"ttl\" value must be less than \"max_ttl\" value"));
    }
    if role.key_type != "any" {
        // Vault reports these two as its own failure (500); clients see the text.
        let spec = KeySpec::parse(&role.key_type, role.key_bits).map_err(|e| {
            EngineError::internal(format!("error setting keyBits {} on role for keyType {}: {e}", role.key_bits, role.key_type))
        })?;
        role.key_bits = spec.bits.into();
    }
    if !matches!(role.signature_bits, 0 | 256 | 384 | 512) {
        return Err(EngineError::internal(format!(
            "unsupported hash signature algorithm for keyType {}: {}",
            role.key_type, role.signature_bits
        )));
    }
    for id in &role.ext_key_usage_oids {
        if policies::oid(id).is_none() {
            return Err(EngineError::invalid(format!("{id:?} could not be parsed as a valid oid for an extended key usage")));
        }
    }
    for policy in &role.policy_identifiers {
        policies::policy_information(policy).map_err(EngineError::Internal)?;
    }
    if let Some(bad) = role.cn_validations.iter().find(|v| !matches!(v.as_str(), "email" | "hostname" | "disabled")) {
        return Err(EngineError::invalid(format!("unknown cn_validations value: {bad:?}")));
    }
    if role.cn_validations.is_empty() {
        role.cn_validations = Role::default().cn_validations;
    }
    if role.cn_validations.len() > 1 && role.cn_validations.iter().any(|v| v == "disabled") {
        return Err(EngineError::invalid("cannot specify both 'disabled' and other cn_validations"));
    }
    if !matches!(role.serial_number_source.as_str(), "json-csr" | "json") {
        return Err(EngineError::invalid(format!("unknown serial_number_source: {:?}", role.serial_number_source)));
    }
    for other in role.allowed_other_sans.iter().filter(|o| *o != "*") {
        crate::rules::parse_other(other).map_err(EngineError::Invalid)?;
    }
    if role.issuer_ref.is_empty() {
        role.issuer_ref = "default".to_owned();
    }
    Ok(())
}

impl Role {
    /// The extended usages a certificate of this role has: the flags, the names, the OIDs.
    #[must_use]
    pub fn extended_usages(&self) -> Vec<der::asn1::ObjectIdentifier> {
        let flags = [
            (self.server_flag, "serverauth"),
            (self.client_flag, "clientauth"),
            (self.code_signing_flag, "codesigning"),
            (self.email_protection_flag, "emailprotection"),
        ];
        let flagged = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name);
        let mut out = Vec::new();
        let named = flagged.chain(self.ext_key_usage.iter().map(String::as_str)).filter_map(oids::ext_key_usage);
        for id in named.chain(self.ext_key_usage_oids.iter().filter_map(|o| policies::oid(o))) {
            if !out.contains(&id) {
                out.push(id);
            }
        }
        out
    }
}
