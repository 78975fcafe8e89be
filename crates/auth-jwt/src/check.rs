//! What a write of `config` asks the network before it is stored, so that a wrong address fails here and not at the next login.

use engine::{Call, EngineError, Outcome};

use crate::Jwt;
use crate::config::{Config, KeySource};
use crate::place::Place;

const REFUSED: &str = "the configuration was refused";

/// `config` (204).
pub(crate) async fn write(engine: &Jwt, call: &mut Call<'_>) -> Outcome {
    let config = Config::from_fields(&call.fields)?;
    config.check_source()?;
    match config.source() {
        KeySource::Own => {}
        KeySource::Sets(sets) => {
            for set in &sets {
                if !set.jwks_ca_pem.is_empty() && !outbound::has_certificate(&set.jwks_ca_pem) {
                    return Err(EngineError::invalid("error checking jwks_ca_pem"));
                }
                engine.fetched.key_set_now(&*engine.web, set, call.now).await.map_err(|e| {
                    Place::of(call).complain(&e, REFUSED);
                    EngineError::Invalid(format!("error checking jwks URL {}", set.jwks_url))
                })?;
            }
        }
        KeySource::Discovery => {
            let wrong = || EngineError::invalid("error checking oidc discovery URL");
            if !config.oidc_discovery_ca_pem.is_empty() && !outbound::has_certificate(&config.oidc_discovery_ca_pem) {
                return Err(wrong());
            }
            engine.fetched.provider_now(&*engine.web, &config, call.now).await.map_err(|e| {
                Place::of(call).complain(&e, REFUSED);
                wrong()
            })?;
        }
    }
    config.check_rest()?;
    config.store(call)?;
    Ok(None)
}
