//! `config/keys` and `cache-config`: settings of the mount.

use engine::{Call, EngineError, Outcome, Response};
use serde_json::json;

use crate::Transit;
use crate::limits::CACHE_MIN_ENTRIES;
use crate::store::{self, CacheConfig, KeysConfig};

/// Shows the settings for all keys.
pub(super) fn read_keys(_: &Transit, call: &mut Call<'_>) -> Outcome {
    Ok(Some(show_keys(store::keys_config(&mut call.view)?)))
}

/// Changes the settings for all keys.
pub(super) fn write_keys(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let mut config = store::keys_config(&mut call.view)?;
    if let Some(disable) = call.fields.bool("disable_upsert") {
        config.disable_upsert = disable;
    }
    store::put_keys_config(&mut call.view, config)?;
    Ok(Some(show_keys(config)))
}

fn show_keys(config: KeysConfig) -> Response {
    Response::json(json!({ "disable_upsert": config.disable_upsert }))
}

/// Shows the cache size.
pub(super) fn read_cache(_: &Transit, call: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({ "size": store::cache_config(&mut call.view)?.size }))))
}

/// Changes the cache size. Here it only is remembered: the server's record cache is bounded as a whole.
pub(super) fn write_cache(_: &Transit, call: &mut Call<'_>) -> Outcome {
    let size = call.fields.int("size").unwrap_or(0);
    if size != 0 && size < CACHE_MIN_ENTRIES {
        return Err(EngineError::Invalid(format!("size must be 0 or a value greater or equal to {CACHE_MIN_ENTRIES}")));
    }
    store::put_cache_config(&mut call.view, CacheConfig { size })?;
    Ok(Some(Response::json(json!({ "size": size }))))
}
