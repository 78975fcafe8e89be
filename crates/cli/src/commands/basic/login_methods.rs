//! How each auth method wants to be asked. Methods that are not named here get their fields as they were typed.

use api_types::Map;
use client::{Request, SecretAuth, SecretReply};
use secret::SecretString;
use serde_json::{Number, Value, json};

use crate::exit::{Doing, Failure, Fault};
use crate::kv_pairs;
use crate::session::{Session, sanitize};

/// Asks the server for a token.
pub(super) fn log_in(s: &mut Session<'_, '_>, method: &str) -> Result<SecretReply, Failure> {
    if method == "token" {
        return with_token(s);
    }
    let words = s.args.clone();
    let mut data =
        kv_pairs::parse(&words, s.host.input).map_err(|e| Failure::Local(format!("Error parsing configuration: {e}")))?;
    let mount = data.remove("mount").as_ref().and_then(Value::as_str).map(sanitize);
    let mount = s.given("path").map(sanitize).or(mount).filter(|m| !m.is_empty()).unwrap_or_else(|| method.to_owned());
    if method == "oidc" {
        return crate::login::oidc(s, &mount, &data);
    }
    let request = match method {
        "userpass" | "ldap" | "okta" | "radius" => with_password(s, &mount, method, data)?,
        _ => Request::put(&format!("auth/{mount}/login")).json(&data),
    };
    let answer = s.secret(&request.without_token()).doing("authenticating")?;
    answer.ok_or_else(|| Failure::Server("Error authenticating: the server gave no token".to_owned()))
}

/// Looks the token up, so that a wrong one is not kept.
fn with_token(s: &mut Session<'_, '_>) -> Result<SecretReply, Failure> {
    s.expect_at_most(1)?;
    let token = match s.arg(0) {
        word if word == "-" => SecretString::from(s.stdin()?.trim()),
        word if word.is_empty() => s.ask_hidden("Token (will be hidden): ")?,
        word => SecretString::from(word.strip_prefix("token=").unwrap_or(&word)),
    };
    if token.is_empty() {
        return Err(Failure::Local("A token must be passed to auth. Please view the help for more information.".to_owned()));
    }
    let request = Request::get("auth/token/lookup-self").without_wrapping().with_token(token.clone());
    let looked = s.secret(&request).map_err(|fault| match fault {
        Fault::Client(e) => Failure::Server(format!("Error authenticating: error looking up token: {e}")),
        Fault::Other(other) => other,
    })?;
    let data = looked.and_then(|l| l.data).unwrap_or_default();
    Ok(as_login(&token, &data))
}

/// The answer that a login would have given for this token.
fn as_login(token: &SecretString, data: &Map) -> SecretReply {
    let list = |key: &str| -> Option<Vec<String>> {
        let list = data.get(key)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    };
    let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let own = list("policies").unwrap_or_default();
    let mut all = own.clone();
    all.extend(list("identity_policies").unwrap_or_default());
    all.sort();
    all.dedup();
    let auth = SecretAuth {
        client_token: token.expose().to_owned(),
        accessor: text("accessor"),
        policies: Some(all),
        token_policies: Some(own),
        identity_policies: list("identity_policies"),
        metadata: data.get("meta").and_then(Value::as_object).cloned(),
        orphan: data.get("orphan").and_then(Value::as_bool).unwrap_or(false),
        entity_id: text("entity_id"),
        lease_duration: match data.get("ttl") {
            Some(Value::Number(n)) => n.clone(),
            _ => Number::from(0),
        },
        renewable: data.get("renewable").and_then(Value::as_bool).unwrap_or(false),
        mfa_requirement: None,
    };
    SecretReply {
        request_id: String::new(),
        lease_id: String::new(),
        lease_duration: Number::from(0),
        renewable: false,
        data: None,
        warnings: None,
        auth: Some(auth),
        wrap_info: None,
        mount_type: String::new(),
    }
}

fn with_password(s: &mut Session<'_, '_>, mount: &str, method: &str, mut data: Map) -> Result<Request, Failure> {
    let username = match data.remove("username") {
        Some(Value::String(name)) if !name.is_empty() => name,
        _ if method == "ldap" => s.host.env.get("LOGNAME").or_else(|| s.host.env.get("USER")).unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    if username.is_empty() {
        return Err(Failure::Server("Error authenticating: 'username' must be specified".to_owned()));
    }
    let password = match data.remove("password") {
        Some(Value::String(password)) => SecretString::new(password),
        _ => s.ask_hidden("Password (will be hidden): ")?,
    };
    data.insert("password".to_owned(), json!(password.expose()));
    Ok(Request::put(&format!("auth/{mount}/login/{username}")).json(&data))
}
