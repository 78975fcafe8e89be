//! Keys as things with names: listing, reading, renaming, deleting, making. Their private halves are shown once or never.

use api_types::{Map, Operation};
use engine::{BoxFuture, Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::json;

use crate::Pki;
use crate::answer::{Exported, Format, put_key};
use crate::root::Source;
use crate::store::{Key, KeysConfig, Named, add_key, all_issuers, all_keys, resolve_key, setting};

const KEY: &[Field] = &[
    Field::new("key_ref", FieldKind::String, "`default`, a name or an id."),
    Field::new("key_name", FieldKind::String, "A name for the key."),
];
const GENERATE: &[Field] = &[
    Field::new("exported", FieldKind::String, "`internal` or `exported`."),
    Field::new("key_name", FieldKind::String, "A name for the key."),
    Field::new("key_type", FieldKind::String, "`rsa`, `ec` or `ed25519`."),
    Field::new("key_bits", FieldKind::Int, "Size of the key; 0 for the kind's default."),
];
const CONFIG: &[Field] = &[Field::new("default", FieldKind::String, "The default key: a name or an id.")];

/// The routes.
pub fn routes() -> Vec<Route<Pki>> {
    vec![
        Route::new("keys/?", &[], "Lists keys.").on(Operation::List, "Lists keys.", list),
        Route::new("keys/generate/{exported}", GENERATE, "A new key.").on_async(Operation::Update, "Makes a key.", generate),
        Route::new("key/{key_ref}", KEY, "A key.")
            .on(Operation::Read, "Reads what may be known of a key.", read)
            .on(Operation::Update, "Renames a key.", rename)
            .on(Operation::Delete, "Deletes a key that no issuer uses.", delete),
        Route::new("config/keys", CONFIG, "The default key.").on(Operation::Read, "Reads the default key.", read_config).on(
            Operation::Update,
            "Sets the default key.",
            write_config,
        ),
    ]
}

fn list(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let config: KeysConfig = setting(&mut call.view, "config/keys")?;
    let (mut ids, mut info) = (Vec::new(), Map::new());
    for key in all_keys(&mut call.view)? {
        info.insert(key.id.clone(), json!({ "key_name": key.name, "is_default": key.id == config.default }));
        ids.push(key.id.clone());
    }
    let mut response = Response::list(ids);
    if let (Some(engine::Data::Map(map)), false) = (&mut response.data, info.is_empty()) {
        map.insert("key_info".into(), info.into());
    }
    Ok(Some(response))
}

fn describe(key: &Key) -> Result<Response, EngineError> {
    let id = key.load()?.public().id();
    Ok(Response::json(json!({
        "key_id": key.id, "key_name": key.name, "key_type": key.kind.as_str(), "subject_key_id": crate::store::hex_joined(&id, ":"),
    })))
}

fn read(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let reference = call.fields.str("key_ref").to_owned();
    let key = resolve_key(&mut call.view, &reference)?;
    describe(&key).map(Some)
}

fn rename(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let (reference, name) = (call.fields.str("key_ref").to_owned(), call.fields.str("key_name").to_owned());
    let key = resolve_key(&mut call.view, &reference)?;
    Named::Key.check(&mut call.view, &name, &key.id)?;
    let renamed = Key { name, ..key.as_ref().clone() };
    Named::Key.rename(&mut call.view, &key.id, &key.name, &renamed.name)?;
    call.view.put_json(&format!("key/{}", key.id), &renamed)?;
    Ok(Some(Response::json(json!({ "key_id": renamed.id, "key_name": renamed.name, "key_type": renamed.kind.as_str() }))))
}

fn delete(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let reference = call.fields.str("key_ref").to_owned();
    let key = resolve_key(&mut call.view, &reference)?;
    if let Some(user) = all_issuers(&mut call.view)?.iter().find(|i| i.key_id == key.id) {
        return Err(EngineError::invalid(format!("Failed to Delete Key. Key in Use by Issuer: {}", user.id)));
    }
    Named::Key.rename(&mut call.view, &key.id, &key.name, "")?;
    call.view.delete(&format!("key/{}", key.id))?;
    let mut config: KeysConfig = setting(&mut call.view, "config/keys")?;
    if config.default != key.id {
        return Ok(None);
    }
    config.default.clear();
    call.view.put_json("config/keys", &config)?;
    Ok(Some(Response::warning(format!(
        "Deleted key {reference} (via reference {reference}); this was configured as the default key. Operations without \
         an explicit key will not work until a new default is configured."
    ))))
}

fn generate<'a>(_: &'a Pki, call: &'a mut Call<'_>) -> BoxFuture<'a, Outcome> {
    Box::pin(async move {
        let exported = match call.fields.str("exported") {
            "internal" => false,
            "exported" => true,
            _ => return Err(EngineError::invalid("unknown export type; must be \"internal\" or \"exported\"")),
        };
        let name = call.fields.str("key_name").to_owned();
        Named::Key.check(&mut call.view, &name, "")?;
        let key = Source::of(&mut call.view, &call.fields)?.key().await?;
        let (record, _) = add_key(&mut call.view, &key, &name, call.entropy)?;
        let mut map = Map::new();
        map.insert("key_id".into(), record.id.clone().into());
        map.insert("key_name".into(), record.name.clone().into());
        map.insert("key_type".into(), record.kind.as_str().into());
        if exported {
            put_key(&mut map, Format::Pem, &Exported { key: &key, as_pkcs8: false })?;
            map.remove("private_key_type");
        }
        Ok(Some(Response::data(map)))
    })
}

fn read_config(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let config: KeysConfig = setting(&mut call.view, "config/keys")?;
    Ok(Some(Response::json(json!({ "default": config.default }))))
}

fn write_config(_: &Pki, call: &mut Call<'_>) -> Outcome {
    let reference = call.fields.str("default").to_owned();
    if reference.is_empty() || reference == "default" {
        return Err(EngineError::invalid("Invalid key specification; must be non-empty and can't be 'default'."));
    }
    let key = resolve_key(&mut call.view, &reference)?;
    call.view.put_json("config/keys", &KeysConfig { default: key.id.clone() })?;
    Ok(Some(Response::json(json!({ "default": key.id }))))
}
