//! `sys/generate-root/*`: a new root token by consent of enough holders of shares (contract §2.2). The token leaves as its bytes
//! XOR a one-time password, or encrypted to an OpenPGP key.
//!
//! Unlike a rekey it can be cancelled by anybody, as in Vault (its recorded answers have no nonce there): a cancelled attempt
//! costs its holders a repetition and nothing else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use pgp_keys::PublicKey;
use secret::{Entropy, SecretBytes, SecretString};
use serde::Serialize;
use tokens::TokenStore;

use super::ceremony::{CeremonyError, GiveOutcome, Given};
use super::check_length;
use super::recipients::to_base64;
use super::rekey::{RekeyTarget, WRONG_SHARES};
use crate::core::{Core, OpenCore};
use crate::pipeline::commit_failure;

/// Length of a root token, and so of its one-time password: `hvs.` and 24 characters.
const OTP_CHARS: usize = 28;

/// What an attempt is started with: a password, else a key, else a password is made.
#[derive(Debug, Clone, Default)]
pub struct GenerateRootRequest {
    /// One-time password.
    pub otp: SecretString,
    /// OpenPGP key in base64.
    pub pgp_key: String,
}

/// Where an attempt stands. `Debug` would show the password.
#[derive(Clone, Default, Serialize)]
pub struct GenerateRootStatus {
    nonce: String,
    started: bool,
    progress: usize,
    required: u8,
    complete: bool,
    encoded_token: String,
    encoded_root_token: String,
    pgp_fingerprint: String,
    otp: String,
    otp_length: usize,
}

enum Cover {
    Otp(SecretString),
    Pgp(Box<PublicKey>),
}

impl Cover {
    fn fingerprint(&self) -> String {
        match self {
            Self::Otp(_) => String::new(),
            Self::Pgp(key) => key.fingerprint().to_owned(),
        }
    }

    fn encode(&self, token: &SecretString, entropy: &dyn Entropy) -> Result<String, String> {
        match self {
            Self::Pgp(key) => to_base64(key, &SecretBytes::from(token.expose().as_bytes()), entropy).map_err(|e| e.to_string()),
            Self::Otp(otp) => {
                let (token, otp) = (token.expose().as_bytes(), otp.expose().as_bytes());
                if token.len() != otp.len() {
                    return Err("the token and its one-time password differ in length".into());
                }
                Ok(BASE64_STANDARD_NO_PAD.encode(token.iter().zip(otp).map(|(a, b)| a ^ b).collect::<Vec<u8>>()))
            }
        }
    }
}

/// One attempt under way.
pub(crate) struct RootGeneration {
    nonce: String,
    cover: Cover,
    given: Given,
}

impl Core {
    /// `GET attempt`.
    pub async fn generate_root_status(&self) -> Result<GenerateRootStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        let required = self.quorum(RekeyTarget::Barrier)?;
        let ceremonies = self.ceremonies(&open).await;
        Ok(status_of(ceremonies.root_generation.as_ref(), required))
    }

    /// `PUT attempt`.
    pub async fn generate_root_init(&self, request: GenerateRootRequest) -> Result<GenerateRootStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        let required = self.quorum(RekeyTarget::Barrier)?;
        let mut made = None;
        let cover = if !request.otp.is_empty() {
            if request.otp.expose().len() != OTP_CHARS {
                return Err(CeremonyError::invalid("OTP string is wrong length"));
            }
            Cover::Otp(request.otp)
        } else if !request.pgp_key.is_empty() {
            let key = PublicKey::parse(&request.pgp_key, self.clock.now());
            Cover::Pgp(Box::new(key.map_err(|e| CeremonyError::Invalid(format!("error parsing PGP key: {e}")))?))
        } else {
            let otp = self.entropy.base62(OTP_CHARS).map_err(|e| CeremonyError::internal(&e))?;
            Cover::Otp(SecretString::new(made.insert(otp).clone()))
        };
        let mut ceremonies = self.ceremonies(&open).await;
        if ceremonies.root_generation.is_some() {
            return Err(CeremonyError::invalid("root generation already in progress"));
        }
        let nonce = self.nonce()?;
        let attempt = ceremonies.root_generation.insert(RootGeneration { nonce, cover, given: Given::default() });
        tracing::info!("root generation started");
        Ok(GenerateRootStatus { otp: made.unwrap_or_default(), ..status_of(Some(attempt), required) })
    }

    /// `PUT update`.
    pub async fn generate_root_update(&self, nonce: &str, share: SecretBytes) -> Result<GenerateRootStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        let required = self.quorum(RekeyTarget::Barrier)?;
        check_length(&share).map_err(|text| CeremonyError::Invalid(format!("invalid key: {text}")))?;
        let mut ceremonies = self.ceremonies(&open).await;
        let Some(attempt) = ceremonies.root_generation.as_mut() else {
            return Err(CeremonyError::invalid("no root generation in progress"));
        };
        if !secret::ct_eq(nonce.as_bytes(), attempt.nonce.as_bytes()) {
            let text = format!("incorrect nonce supplied; nonce for this root generation operation is {:?}", attempt.nonce);
            return Err(CeremonyError::Invalid(text));
        }
        let mut status = GenerateRootStatus {
            nonce: attempt.nonce.clone(),
            started: true,
            required,
            pgp_fingerprint: attempt.cover.fingerprint(),
            ..GenerateRootStatus::default()
        };
        let joined = match attempt.given.give(share, required) {
            GiveOutcome::Repeated => {
                return Err(CeremonyError::invalid("given key has already been provided during this generation operation"));
            }
            GiveOutcome::Waiting => return Ok(GenerateRootStatus { progress: attempt.given.count(), ..status }),
            GiveOutcome::Refused(e) => return Err(CeremonyError::Invalid(format!("failed to compute root key: {e}"))),
            GiveOutcome::Joined(joined) => joined,
        };
        if !self.is_authority(&open, &joined)? {
            let why = if self.is_outer() {
                super::outer::WRONG_RECOVERY.to_owned()
            } else {
                format!("unable to retrieve stored keys: {WRONG_SHARES}")
            };
            return Err(CeremonyError::Invalid(format!("root generation aborted: unable to authenticate: {why}")));
        }
        status.encoded_token = self.covered_token(&open, &attempt.cover).await?;
        status.encoded_root_token.clone_from(&status.encoded_token);
        status.progress = usize::from(required);
        status.complete = true;
        ceremonies.root_generation = None;
        tracing::info!("a root token was generated");
        Ok(status)
    }

    /// A new root token. It is covered before it is stored: one that cannot be handed out never exists.
    async fn covered_token(&self, open: &OpenCore, cover: &Cover) -> Result<String, CeremonyError> {
        let now = self.clock.now();
        let work = |view: &mut storage::View<'_>| {
            let token = TokenStore::root(&open.tokens, view, now, &*self.entropy, None)?;
            cover.encode(&token, &*self.entropy).map_err(engine::EngineError::Internal)
        };
        self.transact(open, work).await.map_err(|e| CeremonyError::Failed(commit_failure(&e)))
    }

    /// `DELETE attempt`.
    pub async fn generate_root_cancel(&self) -> Result<(), CeremonyError> {
        let open = self.for_ceremony().await?;
        let mut ceremonies = self.ceremonies(&open).await;
        if ceremonies.root_generation.take().is_some() {
            tracing::info!("root generation cancelled");
        }
        Ok(())
    }
}

fn status_of(attempt: Option<&RootGeneration>, required: u8) -> GenerateRootStatus {
    GenerateRootStatus {
        nonce: attempt.map(|a| a.nonce.clone()).unwrap_or_default(),
        started: attempt.is_some(),
        progress: attempt.map_or(0, |a| a.given.count()),
        required,
        pgp_fingerprint: attempt.map(|a| a.cover.fingerprint()).unwrap_or_default(),
        otp_length: OTP_CHARS,
        ..GenerateRootStatus::default()
    }
}
