//! From `seal` stanzas to seals.

use std::sync::Arc;

use autoseal::{AwsKmsSeal, SealWrapper, StaticSeal, TransitSeal};
use secret::SystemClock;
use server_core::Seals;

use crate::config::{SealKind, SealStanza};

/// Makes the configured seals; nothing is asked of another server yet.
pub fn build(stanzas: &[SealStanza]) -> Result<Seals, String> {
    let mut seals = Seals::default();
    for stanza in stanzas {
        let named = |e: String| format!("Error configuring seal {:?}: {e}", stanza.kind.name());
        let made: Arc<dyn SealWrapper> = match &stanza.kind {
            SealKind::Static { current, previous } => Arc::new(
                StaticSeal::new((&current.0, current.1.expose()), (&previous.0, previous.1.expose()))
                    .map_err(|e| named(e.to_string()))?,
            ),
            SealKind::AwsKms(config) => {
                let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
                Arc::new(AwsKmsSeal::new(config.clone(), &variable, Arc::new(SystemClock)).map_err(named)?)
            }
            SealKind::Transit(config) => Arc::new(TransitSeal::new(config.clone()).map_err(named)?),
        };
        if stanza.disabled {
            seals.retiring = Some(made);
        } else {
            seals.active = Some(made);
        }
    }
    Ok(seals)
}
