//! `operator generate-root`: a new root token, out of enough shares of the key.

use api_types::Map;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use client::Request;
use secret::SecretString;
use serde_json::{Value, json};

use super::{pgp, share};
use crate::command::Command;
use crate::commands::basic::status::{cell, number};
use crate::exit::{Doing, Failure, Outcome};
use crate::flags::{FORMAT, FlagSet, HTTP, switch, text};
use crate::render::{Format, table};
use crate::session::Session;

static OPTIONS: FlagSet = FlagSet {
    title: "Command Options",
    flags: &[
        switch("init", "Start to generate a root token. Only if none is being generated."),
        switch("cancel", "Stop, and forget the shares given so far."),
        switch("status", "Print the state."),
        text("decode", "Print the token out of this encoded one; needs -otp."),
        switch("generate-otp", "Print a one-time password for -init."),
        text("otp", "The one-time password, for -init or -decode."),
        text("pgp-key", "File with the OpenPGP public key that the token is encrypted for, instead of a one-time password."),
        text("nonce", "The nonce of the operation; needed with a share as argument."),
        switch("dr-token", "Generate a token for disaster recovery of a replicated cluster."),
        switch("recovery-token", "Generate a token for a server in recovery mode."),
    ],
};

/// Generates a root token.
pub static COMMAND: Command = Command {
    path: "operator generate-root",
    synopsis: "Generates a new root, DR operation, or recovery token",
    operands: "[options] [KEY]",
    about: "\
Makes a new root token. Start with -init, then give enough shares of the key, one
with each call; the token comes encoded and is read with -decode.

    $ {bin} operator generate-root -init
    $ {bin} operator generate-root
    $ {bin} operator generate-root -decode=ENCODED -otp=OTP",
    sets: &[&HTTP, &FORMAT, &OPTIONS],
    run: Some(run),
};

/// Length of a one-time password if the server does not tell: `hvs.` and 24 characters.
const OTP_LENGTH: usize = 28;
/// The server leaves the padding off; other tools put it on.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

fn run(s: &mut Session<'_, '_>) -> Outcome {
    s.expect_at_most(1)?;
    let base = match (s.on("dr-token"), s.on("recovery-token")) {
        (true, true) => return Err(Failure::Local("Both -recovery-token and -dr-token flags are set".to_owned())),
        (true, false) => "sys/replication/dr/secondary/generate-operation-token",
        (false, true) => "sys/generate-recovery-token",
        (false, false) => "sys/generate-root",
    };
    let attempt = format!("{base}/attempt");
    if s.on("generate-otp") {
        return one_time_password(s, &attempt);
    }
    if !s.text("decode").is_empty() {
        return print_decoded(s);
    }
    if s.on("cancel") {
        s.call(&Request::delete(&attempt)).doing("canceling root token generation")?;
        s.say("Success! Root token generation canceled (if it was started)")?;
        return Ok(0);
    }
    if s.on("init") {
        return init(s, &attempt);
    }
    if s.on("status") {
        let status = s.json(&Request::get(&attempt)).doing("getting root generation status")?;
        show(s, &status)?;
        return Ok(0);
    }
    provide(s, base, &attempt)
}

fn one_time_password(s: &mut Session<'_, '_>, attempt: &str) -> Outcome {
    let status: Map = s.json(&Request::get(attempt)).doing("getting root generation status")?;
    let length = usize::try_from(number(&status, "otp_length")).unwrap_or(0);
    let length = if length == 0 { OTP_LENGTH } else { length };
    let otp = s.host.entropy.base62(length).map_err(|e| Failure::Server(format!("Error reading random bytes: {e}")))?;
    match s.format {
        Format::Table => s.show_raw(&otp)?,
        _ => s.show(&json!({ "otp": otp }), "")?,
    }
    Ok(0)
}

fn print_decoded(s: &mut Session<'_, '_>) -> Outcome {
    let encoded = match s.text("decode").to_owned() {
        word if word == "-" => s.stdin()?.trim().to_owned(),
        word => word,
    };
    let otp = SecretString::from(s.text("otp"));
    if otp.is_empty() {
        return Err(Failure::Local("Missing otp: use -otp to supply it".to_owned()));
    }
    let token = decode(&encoded, &otp).map_err(|e| Failure::Local(format!("Error decoding root token: {e}")))?;
    match s.format {
        Format::Table => s.show_raw(token.expose())?,
        _ => s.show(&json!({ "token": token.expose() }), "")?,
    }
    Ok(0)
}

/// The bytes of the one are the key of the other.
fn decode(encoded: &str, otp: &SecretString) -> Result<SecretString, &'static str> {
    let bytes = BASE64.decode(encoded.trim()).map_err(|_| "the encoded token is not base64")?;
    let otp = otp.expose().as_bytes();
    if bytes.len() != otp.len() {
        return Err("the encoded token and the one-time password differ in length");
    }
    let token = bytes.iter().zip(otp).map(|(a, b)| a ^ b).collect();
    String::from_utf8(token).map(SecretString::new).map_err(|_| "the one-time password does not belong to this token")
}

fn init(s: &mut Session<'_, '_>, attempt: &str) -> Outcome {
    let key = pgp::load(&s.all("pgp-key"))?.into_iter().next().unwrap_or_default();
    let body = json!({ "otp": s.text("otp"), "pgp_key": key });
    let status: Map = s.json(&Request::put(attempt).json(&body)).doing("initializing root generation")?;
    if s.format == Format::Table && !cell(&status, "otp").is_empty() {
        s.warn(
            "A One-Time-Password has been generated for you and is shown in the OTP field.\nYou will need this value to decode the \
             resulting root token, so keep it safe.\n",
        )?;
    }
    show(s, &status)?;
    Ok(0)
}

fn provide(s: &mut Session<'_, '_>, base: &str, attempt: &str) -> Outcome {
    let started: Map = s.json(&Request::get(attempt)).doing("getting root generation status")?;
    if started.get("started").and_then(Value::as_bool) != Some(true) {
        return Err(Failure::Local(format!(
            "No root generation is in progress. Start a root generation by running:\n\n  {} operator generate-root -init",
            s.host.program
        )));
    }
    let mut nonce = s.text("nonce").to_owned();
    if nonce.is_empty() {
        if !s.arg(0).is_empty() {
            return Err(Failure::Local("Missing nonce value: specify it via the -nonce flag".to_owned()));
        }
        nonce = cell(&started, "nonce");
        s.warn(&format!("Operation nonce: {nonce}"))?;
    }
    let key = share(s, 0, "Unseal Key (will be hidden): ")?;
    let request = Request::put(&format!("{base}/update")).json(&json!({ "nonce": nonce, "key": key.expose() }));
    let status: Map = s.json(&request).doing("posting unseal key")?;
    show(s, &status)?;
    Ok(0)
}

fn show(s: &mut Session<'_, '_>, status: &Map) -> Result<(), Failure> {
    let mut rows = vec![
        vec!["Nonce".to_owned(), cell(status, "nonce")],
        vec!["Started".to_owned(), cell(status, "started")],
        vec!["Progress".to_owned(), format!("{}/{}", number(status, "progress"), number(status, "required"))],
        vec!["Complete".to_owned(), cell(status, "complete")],
    ];
    for (title, key) in
        [("PGP Fingerprint", "pgp_fingerprint"), ("Encoded Token", "encoded_token"), ("OTP", "otp"), ("OTP Length", "otp_length")]
    {
        let value = cell(status, key);
        if !value.is_empty() && value != "0" {
            rows.push(vec![title.to_owned(), value]);
        }
    }
    s.show(status, &table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_needs_the_right_password() {
        let otp = SecretString::from("0123456789");
        let encoded: Vec<u8> = b"hvs.secret".iter().zip(otp.expose().as_bytes()).map(|(a, b)| a ^ b).collect();
        let padded = base64::engine::general_purpose::STANDARD.encode(&encoded);
        for text in [padded.as_str(), padded.trim_end_matches('=')] {
            assert!(decode(text, &otp).unwrap().ct_eq("hvs.secret"));
        }
        for (text, otp) in [(padded.as_str(), "short"), ("!!", "0123456789"), ("", "0123456789")] {
            assert!(decode(text, &SecretString::from(otp)).is_err());
        }
    }
}
