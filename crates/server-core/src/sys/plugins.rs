//! `sys/plugins/catalog`: the engines of this binary. Vault's external plugins do not exist here; registering one is refused.

use api_types::Operation;
use engine::{Call, EngineError, Field, FieldKind, Outcome, Response, Route};
use serde_json::{Value, json};

use super::{SystemEngine, running_version};

/// What is mounted once by the server itself and cannot be mounted again.
const NOT_MOUNTABLE: [&str; 4] = ["cubbyhole", "identity", "system", "token"];
/// The three kinds of the catalogue.
const KINDS: [&str; 3] = ["auth", "database", "secret"];

const NAME: &[Field] = &[
    Field::new("name", FieldKind::String, "Name of the plugin."),
    Field::new("type", FieldKind::String, "auth, database or secret."),
    Field::new("version", FieldKind::String, "Version of the plugin."),
    Field::new("sha256", FieldKind::String, "Digest of the program."),
    Field::new("command", FieldKind::String, "The program."),
    Field::new("args", FieldKind::StringSlice, "Its arguments."),
    Field::new("env", FieldKind::StringSlice, "Its environment."),
    Field::new("oci_image", FieldKind::String, "Its image."),
    Field::new("runtime", FieldKind::String, "What runs the image."),
];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![
        Route::new("plugins/catalog/?", &[], "Lists all plugins.").on(Operation::Read, "List them.", all),
        Route::new("plugins/catalog/auth/?", &[], "Lists auth methods.")
            .on(Operation::List, "List them.", |e, _| list(e, "auth")),
        Route::new("plugins/catalog/database/?", &[], "Lists database plugins.")
            .on(Operation::List, "List them.", |e, _| list(e, "database")),
        Route::new("plugins/catalog/secret/?", &[], "Lists secrets engines.")
            .on(Operation::List, "List them.", |e, _| list(e, "secret")),
        Route::new("plugins/catalog/{name...}", NAME, "Shows a plugin.")
            .on(Operation::Read, "Show a plugin.", read)
            .on(Operation::Update, "Register a plugin.", refuse)
            .on(Operation::Delete, "Remove a plugin.", refuse),
        Route::new("plugins/pins/?", &[], "Lists pinned versions.").on(Operation::Read, "List them.", pins),
    ]
}

fn names(engine: &SystemEngine, kind: &str) -> Result<Vec<&'static str>, EngineError> {
    let (_, open) = engine.opened()?;
    let registry = open.registry();
    let found: Vec<&'static str> = match kind {
        "auth" => registry.auth.keys().copied().collect(),
        "secret" => registry.secrets.keys().copied().collect(),
        _ => Vec::new(),
    };
    Ok(found.into_iter().filter(|name| !NOT_MOUNTABLE.contains(name)).collect())
}

fn all(engine: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    let mut data = api_types::Map::new();
    let mut detailed = Vec::new();
    for kind in KINDS {
        let found = names(engine, kind)?;
        detailed.extend(found.iter().map(|name| {
            json!({
                "name": name,
                "type": kind,
                "version": running_version(name),
                "builtin": true,
                "deprecation_status": "supported",
            })
        }));
        data.insert(kind.to_owned(), found.into());
    }
    data.insert("detailed".to_owned(), Value::Array(detailed));
    Ok(Some(Response::data(data)))
}

fn list(engine: &SystemEngine, kind: &str) -> Outcome {
    Ok(Some(Response::list(names(engine, kind)?.into_iter().map(str::to_owned).collect())))
}

/// `<type>/<name>`, or a name without its type, which Vault no longer looks up.
fn read(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let path = call.fields.str("name");
    let Some((kind, name)) = path.split_once('/').filter(|(kind, _)| KINDS.contains(kind)) else {
        let text = format!("Deprecated API endpoint, cannot read plugin information from catalog for {path:?}");
        return Ok(Some(Response::warning(text)));
    };
    if !names(engine, kind)?.contains(&name) {
        return Ok(None);
    }
    Ok(Some(Response::json(json!({
        "name": name,
        "args": null,
        "command": "",
        "sha256": "",
        "builtin": true,
        "version": running_version(name),
        "deprecation_status": "supported",
    }))))
}

fn refuse(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Err(EngineError::invalid("this server runs only its built-in engines; external plugins cannot be registered"))
}

fn pins(_: &SystemEngine, _: &mut Call<'_>) -> Outcome {
    Ok(Some(Response::json(json!({ "pinned_versions": [] }))))
}
