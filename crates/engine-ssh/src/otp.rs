//! One-time passwords: made under a lease by `creds`, used up by a host at `verify`. The password is stored nowhere: its record
//! stands under an HMAC of it, with a key of the mount's own.

use std::net::IpAddr;

use api_types::Map;
use aws_lc_rs::hmac;
use engine::{Call, EngineError, Field, FieldKind, LeasedSecret, Outcome, Response};
use ipnet::IpNet;
use secret::SecretBytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use storage::Page;

use crate::Ssh;
use crate::roles::{self, OtpRole, Role, split};

const SALT: &str = "salt";
const SALT_BYTES: usize = 32;
const FOLDER: &str = "otp/";
const ZERO_ADDRESS: &str = "config/zeroaddress";
/// What the lease remembers: the record's key.
const RECORD: &str = "record";
/// With this word a host tries its connection.
const ECHO: (&str, &str) = ("verify-echo-request", "verify-echo-response");

/// Declared fields.
pub const CREDS: &[Field] = &[
    Field::new("role", FieldKind::String, "Name of the role."),
    Field::new("username", FieldKind::String, "The user; the role's unless said."),
    Field::new("ip", FieldKind::String, "Address of the host."),
];

#[derive(Serialize, Deserialize)]
struct Record {
    ip: IpAddr,
    username: String,
    role_name: String,
}

#[derive(Default, Serialize, Deserialize)]
struct ZeroAddress {
    roles: Vec<String>,
}

fn address(call: &Call<'_>) -> Result<IpAddr, EngineError> {
    let text = call.fields.str("ip");
    if text.is_empty() {
        return Err(EngineError::invalid("Missing ip"));
    }
    text.parse().map_err(|_| EngineError::Invalid(format!("Invalid IP {text:?}")))
}

fn zero_address(call: &mut Call<'_>) -> Result<Vec<String>, EngineError> {
    Ok(call.view.get_json::<ZeroAddress>(ZERO_ADDRESS)?.map(|z| z.roles.clone()).unwrap_or_default())
}

fn within(networks: &str, ip: IpAddr) -> bool {
    split(networks).filter_map(|n| n.parse::<IpNet>().ok()).any(|n| n.contains(&ip))
}

fn reaches(role: &OtpRole, ip: IpAddr) -> bool {
    within(&role.cidr_list, ip) && !within(&role.exclude_cidr_list, ip)
}

pub fn creds(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let name = roles::name(call)?;
    let ip = address(call)?;
    let found = roles::load(call, &name)?.ok_or_else(|| EngineError::Invalid(format!("Role {name:?} not found")))?;
    let apart = || EngineError::invalid("Error validating IP: IP does not belong to role");
    let Role::Otp(role) = found.as_ref() else { return Err(apart()) };
    let username = match call.fields.str("username") {
        "" => role.default_user.clone(),
        asked if asked == role.default_user || split(&role.allowed_users).any(|u| u == "*" || u == asked) => asked.to_owned(),
        _ => return Err(EngineError::invalid("Username is not present is allowed users list")),
    };
    if !reaches(role, ip) && !zero_address(call)?.contains(&name) {
        return Err(apart());
    }
    let otp = call.entropy.uuid()?;
    if call.view.get(SALT)?.is_none() {
        let salt = call.entropy.bytes(SALT_BYTES)?;
        call.view.put(SALT, SecretBytes::new(salt))?;
    }
    let record = record_key(call, &otp)?;
    call.view.put_json(&record, &Record { ip, username: username.clone(), role_name: name })?;
    let data = json!({ "key_type": "otp", "key": otp, "username": username, "ip": ip, "port": role.port });
    let lease = LeasedSecret {
        renewable: false,
        register: true,
        internal: [(RECORD.to_owned(), record.into())].into_iter().collect(),
        ..LeasedSecret::default()
    };
    Ok(Some(Response { secret: Some(Box::new(lease)), ..Response::json(data) }))
}

fn record_key(call: &mut Call<'_>, otp: &str) -> Result<String, EngineError> {
    let salt = call.view.get(SALT)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_ref().map(|r| r.bytes()).unwrap_or_default());
    Ok(format!("{FOLDER}{}", hex::encode(hmac::sign(&key, otp.as_bytes()))))
}

/// The end of a lease takes its password away, used or not.
pub fn revoke(call: &mut Call<'_>, internal: &Map) -> Result<(), EngineError> {
    if let Some(record) = internal.get(RECORD).and_then(Value::as_str).filter(|r| r.starts_with(FOLDER)) {
        call.view.delete(record)?;
    }
    Ok(())
}

/// Without a token: whoever knows the password may use it up.
pub fn verify(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let otp = call.fields.str("otp").to_owned();
    if otp == ECHO.0 {
        return Ok(Some(Response::json(json!({ "message": ECHO.1 }))));
    }
    let key = record_key(call, &otp)?;
    let record = call.view.get_json::<Record>(&key)?.ok_or_else(|| EngineError::invalid("OTP not found"))?;
    call.view.delete(&key)?;
    Ok(Some(Response::json(json!({ "ip": record.ip, "username": record.username, "role_name": record.role_name }))))
}

pub fn lookup(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let ip = address(call)?;
    let zero = zero_address(call)?;
    let mut names = Vec::new();
    for name in call.view.list(roles::FOLDER, &Page::default())? {
        let fits = matches!(roles::load(call, &name)?.as_deref(), Some(Role::Otp(role)) if reaches(role, ip));
        if fits || zero.contains(&name) {
            names.push(name);
        }
    }
    let shown = if names.is_empty() { Value::Null } else { names.into() };
    Ok(Some(Response::json(json!({ "roles": shown }))))
}

pub fn write_zero_address(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let names = call.fields.texts("roles").unwrap_or_default().to_vec();
    if names.is_empty() {
        return Err(EngineError::invalid("Missing roles"));
    }
    for name in &names {
        if roles::load(call, name)?.is_none() {
            return Err(EngineError::Invalid(format!("Role {name:?} does not exist")));
        }
    }
    call.view.put_json(ZERO_ADDRESS, &ZeroAddress { roles: names })?;
    Ok(None)
}

pub fn read_zero_address(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let found = call.view.get_json::<ZeroAddress>(ZERO_ADDRESS)?;
    Ok(found.map(|z| Response::json(json!({ "roles": z.roles }))))
}

pub fn delete_zero_address(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    call.view.delete(ZERO_ADDRESS)?;
    Ok(None)
}
