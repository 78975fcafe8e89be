//! The authority's key: `config/ca`, `public_key`. One key a mount, stored in the record `config/ca`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::{Call, EngineError, Outcome, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::Ssh;
use crate::private::{KeyError, KeySpec, PrivateKey};
use crate::public::PublicKey;

const KEY: &str = "config/ca";
const KIND_DEFAULT: &str = "ssh-rsa";
const NOT_THERE: &str = "keys haven't been configured yet";

#[derive(Serialize, Deserialize)]
struct Record {
    /// As the operator gave it, or made here.
    public_key: String,
    /// PKCS#8, Base64.
    private_key: Zeroizing<String>,
}

/// The key to sign with.
pub fn load(call: &mut Call<'_>) -> Result<PrivateKey, EngineError> {
    let record = call.view.get_json::<Record>(KEY)?.ok_or_else(|| EngineError::internal("failed to read CA private key"))?;
    let broken = || EngineError::internal("failed to parse stored CA private key");
    let der = Zeroizing::new(BASE64_STANDARD.decode(record.private_key.as_bytes()).map_err(|_| broken())?);
    PrivateKey::from_der(&der).map_err(|_| broken())
}

/// Makes a key away from the threads that serve requests: RSA takes a second or more.
pub async fn generate(spec: KeySpec) -> Result<PrivateKey, KeyError> {
    tokio::task::spawn_blocking(move || PrivateKey::generate(spec)).await.unwrap_or(Err(KeyError::Failed))
}

pub async fn write(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let (private, public) = (call.fields.str("private_key").to_owned(), call.fields.str("public_key").to_owned());
    let given = !private.is_empty() || !public.is_empty();
    let generate_it = match call.fields.bool("generate_signing_key") {
        None => !given,
        Some(true) if given => {
            return Err(EngineError::invalid(
                "public_key and private_key must not be set when generate_signing_key is set to true",
            ));
        }
        Some(false) if private.is_empty() || public.is_empty() => {
            return Err(EngineError::invalid(
                "if generate_signing_key is false, either both public_key and private_key or a managed key must be provided",
            ));
        }
        Some(asked) => asked,
    };
    if !generate_it && (private.is_empty() || public.is_empty()) {
        return Err(EngineError::invalid(
            "only one of public_key and private_key set; both must be set to use, or both must be blank to auto-generate",
        ));
    }
    let kind = call.fields.text("key_type").unwrap_or(KIND_DEFAULT).to_owned();
    let bits = call.fields.int("key_bits").unwrap_or(0);
    let imported = if generate_it { None } else { Some(import(&private, &public)?) };
    if call.view.get(KEY)?.is_some() {
        return Err(EngineError::invalid("keys are already configured; delete them before reconfiguring"));
    }
    let internal = |e: KeyError| EngineError::Internal(e.to_string());
    let (key, public) = match imported {
        Some(key) => (key, public),
        None => {
            let key = generate(KeySpec::parse(&kind, bits).map_err(internal)?).await.map_err(internal)?;
            let public = key.public().map_err(internal)?.line();
            (key, public)
        }
    };
    let private_key = Zeroizing::new(BASE64_STANDARD.encode(key.pkcs8().map_err(internal)?.as_slice()));
    call.view.put_json(KEY, &Record { public_key: public.clone(), private_key })?;
    Ok(Some(Response::json(json!({ "public_key": public }))))
}

fn import(private: &str, public: &str) -> Result<PrivateKey, EngineError> {
    let key = PrivateKey::from_pem(private)
        .map_err(|e| EngineError::Invalid(format!("Unable to parse private_key as an SSH private key: {e}")))?;
    let public = PublicKey::parse(public)
        .map_err(|e| EngineError::Invalid(format!("Unable to parse public_key as an SSH public key: {e}")))?;
    // Certificates are believed by the public key, so a pair that does not fit would sign nothing but rubbish.
    match key.public() {
        Ok(own) if own == public => Ok(key),
        _ => Err(EngineError::invalid("public_key is not the public half of private_key")),
    }
}

pub fn read(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    match call.view.get_json::<Record>(KEY)? {
        Some(record) => Ok(Some(Response::json(json!({ "public_key": record.public_key })))),
        None => Err(EngineError::invalid(NOT_THERE)),
    }
}

pub fn delete(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    call.view.delete(KEY)?;
    Ok(None)
}

/// Plain text, for hosts that have no token.
pub fn public_key(_: &Ssh, call: &mut Call<'_>) -> Outcome {
    let record = call.view.get_json::<Record>(KEY)?;
    Ok(record.map(|r| Response::bare("text/plain", r.public_key.clone().into_bytes())))
}
