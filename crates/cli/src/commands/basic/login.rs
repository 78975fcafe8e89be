//! `login`: authenticate, and keep the token for the next commands.

use client::{Request, SecretReply};
use secret::SecretString;
use serde_json::{Value, json};

use super::login_methods;
use crate::command::Command;
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FIELD_FORMAT, FlagSet, HTTP, switch, text};
use crate::render::Format;
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        text("method", "The auth method: token, userpass, ldap, kubernetes, jwt, oidc, approle, cert and so on.").or("token"),
        text("path", "Where the auth method is enabled, if not at its own name."),
        switch("no-store", "Do not keep the token for the next commands."),
        switch("no-print", "Do not print the token. It is still kept."),
        switch("token-only", "Print the token and nothing else, and do not keep it. The same as -field=token -no-store."),
    ],
};

/// Logs in.
pub static COMMAND: Command = Command {
    path: "login",
    synopsis: "Authenticate locally",
    operands: "[options] [AUTH K=V...]",
    about: "\
Authenticates with a token or through an auth method, and keeps the token that
comes of it. The argument of the token method is the token; it is asked for if it
is missing. The arguments of other methods are the fields of their login.

    $ {bin} login
    $ {bin} login -method=userpass username=ann
    $ {bin} login -method=kubernetes role=app jwt=@token",
    sets: &[&HTTP, &FIELD_FORMAT, &OPTIONS],
    run: Some(run),
};

fn run(s: &mut Session<'_, '_>) -> Outcome {
    let token_only = s.on("token-only");
    let store = !s.on("no-store") && !token_only;
    let method = crate::session::sanitize(s.text("method"));
    let mut secret = login_methods::log_in(s, &method)?;
    if store && let Some(wrap) = &secret.wrap_info {
        let request = Request::put("sys/wrapping/unwrap").without_wrapping().with_token(SecretString::from(wrap.token.as_str()));
        let inner = s.secret(&request).doing("unwrapping token")?;
        secret = inner.ok_or_else(|| Failure::Server("Error authenticating: the wrapped answer is empty".to_owned()))?;
    }
    if let Some(validated) = second_factor(s, &secret)? {
        secret = validated;
    } else if secret.auth.as_ref().is_some_and(|a| a.mfa_requirement.as_ref().is_some_and(|r| !r.is_null())) {
        s.warn(
            "A login request was issued that is subject to MFA validation. Please make sure\nto validate the login by sending another \
             request to sys/mfa/validate endpoint.\n",
        )?;
        return s.show_secret(&secret);
    }
    let token = secret.auth.as_ref().map(|a| SecretString::from(a.client_token.as_str())).filter(|t| !t.is_empty());
    match (&token, store) {
        // The token is good all the same, so it is shown rather than lost.
        (Some(token), true) => {
            if let Err(Failure::Server(why)) = s.store_token(token) {
                s.warn(&format!(
                    "{why}\n\nAuthentication was successful, but the token was not persisted. The\nresulting token is shown below for \
                     your records.\n"
                ))?;
                s.show_secret(&secret)?;
                return Err(Failure::Code(2));
            }
        }
        (None, true) => return Err(Failure::Server("Error authenticating: the server gave no token".to_owned())),
        _ => {}
    }
    if s.on("no-print") {
        return Ok(0);
    }
    if token_only {
        return s.show_field("token", crate::render::field(&secret, "token"));
    }
    if s.text("field").is_empty() && s.format == Format::Table {
        announce(s, store && token.is_some())?;
    }
    s.show_secret(&secret)
}

fn announce(s: &mut Session<'_, '_>, stored: bool) -> Result<(), Failure> {
    if !stored {
        return s.say(
            "Success! You are now authenticated. The token was not stored in the token helper.\nSet the VAULT_TOKEN environment \
             variable or pass the token below with each request to\nVault.\n",
        );
    }
    if s.host.env.get("VAULT_TOKEN").is_some() {
        s.warn(
            "WARNING! The VAULT_TOKEN environment variable is set! The value of this\nvariable will take precedence; if this is \
             unwanted please unset VAULT_TOKEN or\nupdate its value accordingly.\n",
        )?;
    }
    let program = s.host.program.clone();
    s.say(&format!(
        "Success! You are now authenticated. The token information displayed below\nis already stored in the token helper. You do \
         NOT need to run \"{program} login\"\nagain. Future Vault requests will automatically use this token.\n"
    ))
}

/// Answers a single second factor; `None` if none is owed, or more than one way leads on.
fn second_factor(s: &mut Session<'_, '_>, secret: &SecretReply) -> Result<Option<SecretReply>, Failure> {
    let requirement = secret.auth.as_ref().and_then(|a| a.mfa_requirement.as_ref());
    let Some(constraints) = requirement.and_then(|r| r.get("mfa_constraints")).and_then(Value::as_object) else {
        return Ok(None);
    };
    let methods: Vec<&Value> = constraints.values().filter_map(|c| c.get("any")?.as_array()).flatten().collect();
    let ([method], false) = (methods.as_slice(), s.on("non-interactive")) else { return Ok(None) };
    let word = |key: &str| method.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let passcode = if method.get("uses_passcode").and_then(Value::as_bool) == Some(true) {
        s.ask_hidden(&format!("Enter the passphrase for methodID {:?} of type {:?}: ", word("id"), word("type")))?
    } else {
        s.warn("Asking Vault to perform MFA validation with upstream service. You should receive a push notification in your authenticator app shortly")?;
        SecretString::default()
    };
    let id = requirement.and_then(|r| r.get("mfa_request_id")).cloned();
    let body = json!({ "mfa_request_id": id, "mfa_payload": { (word("id")): [passcode.expose()] } });
    let answer = s.secret(&Request::put("sys/mfa/validate").without_token().json(&body)).doing("validating the second factor")?;
    Ok(answer)
}
