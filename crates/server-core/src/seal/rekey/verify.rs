//! The verification of new shares: they come into force when enough of them were given back.

use secret::SecretBytes;
use shamir::Threshold;

use super::{RekeyTarget, VerifyStatus, VerifyUpdate};
use crate::core::Core;
use crate::seal::ceremony::{CeremonyError, GiveOutcome};
use crate::seal::check_length;

const NO_REKEY: &str = "no rekey configuration found";

impl Core {
    /// `GET verify`.
    pub async fn rekey_verify_status(&self, target: RekeyTarget) -> Result<VerifyStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        self.quorum(target)?;
        let mut ceremonies = self.ceremonies(&open).await;
        let rekey = ceremonies.rekey(target).as_ref().ok_or_else(|| CeremonyError::invalid(NO_REKEY))?;
        Ok(rekey.verify_status())
    }

    /// `DELETE verify`: the shares given back so far are forgotten, and there is a new nonce. Like Vault's, it asks for no nonce:
    /// nothing is lost but the shares given back in this round.
    pub async fn rekey_verify_restart(&self, target: RekeyTarget) -> Result<VerifyStatus, CeremonyError> {
        let open = self.for_ceremony().await?;
        self.quorum(target)?;
        let nonce = self.nonce()?;
        let mut ceremonies = self.ceremonies(&open).await;
        let rekey = ceremonies.rekey(target).as_mut().ok_or_else(|| CeremonyError::invalid(NO_REKEY))?;
        rekey.given_back.clear();
        rekey.verification_nonce = nonce;
        Ok(rekey.verify_status())
    }

    /// `PUT verify`.
    pub async fn rekey_verify(
        &self,
        target: RekeyTarget,
        nonce: &str,
        share: SecretBytes,
    ) -> Result<VerifyUpdate, CeremonyError> {
        let open = self.for_ceremony().await?;
        check_length(&share).map_err(CeremonyError::Invalid)?;
        let mut ceremonies = self.ceremonies(&open).await;
        let place = ceremonies.rekey(target);
        let rekey = place.as_mut().ok_or_else(|| CeremonyError::invalid("no rekey in progress"))?;
        if rekey.fresh.is_none() {
            return Err(CeremonyError::invalid("no rekey verification in progress"));
        }
        if !secret::ct_eq(nonce.as_bytes(), rekey.verification_nonce.as_bytes()) {
            return Err(CeremonyError::Invalid(format!(
                "incorrect nonce supplied; nonce for this verify operation is {:?}",
                rekey.verification_nonce
            )));
        }
        let joined = match rekey.given_back.give(share, rekey.shape.map_or(1, Threshold::threshold)) {
            GiveOutcome::Repeated => {
                return Err(CeremonyError::invalid("given key has already been provided during this verify operation"));
            }
            GiveOutcome::Waiting => return Ok(VerifyUpdate::Waiting(rekey.verify_status())),
            GiveOutcome::Refused(_) => None,
            GiveOutcome::Joined(joined) => Some(joined),
        };
        let Some(fresh) = rekey.fresh.take_if(|fresh| joined.is_some_and(|j| fresh.make(&j))) else {
            rekey.verification_nonce = self.nonce()?;
            return Err(CeremonyError::invalid("rekey verification failed; incorrect key shares supplied"));
        };
        if let Err(e) = self.put_in_force(&open, target, Some(&fresh), None).await {
            rekey.fresh = Some(fresh);
            return Err(e);
        }
        let nonce = std::mem::take(&mut rekey.verification_nonce);
        *place = None;
        Ok(VerifyUpdate::Complete { nonce, complete: true })
    }
}
