//! KV version 2: the paths of the engine and what its handlers share.

mod config;
mod data;
mod metadata;
mod subkeys;
mod versions;

use api_types::{Map, Operation};
use engine::{Call, Data, Engine, EngineError, Field, FieldKind, Kind, Outcome, PathTable, Response, Route};
use serde_json::Value;

use crate::store;

const PATH: Field = Field::new("path", FieldKind::String, "Location of the secret.");
const VERSION: Field = Field::new("version", FieldKind::Int, "Version to read; the current one if absent or 0.");
const MAX_VERSIONS: Field = Field::new("max_versions", FieldKind::Int, "Versions to keep; the default is 10.");
const CAS_REQUIRED: Field = Field::new("cas_required", FieldKind::Bool, "Every write must send the cas option.");
const VERSIONS: Field = Field::new("versions", FieldKind::CommaIntSlice, "Version numbers.");

const CONFIG_FIELDS: &[Field] = &[
    MAX_VERSIONS,
    CAS_REQUIRED,
    Field::new("delete_version_after", FieldKind::SignedDuration, "Life of a version; negative switches it off for all keys."),
];
const DATA_FIELDS: &[Field] = &[
    PATH,
    VERSION,
    Field::new("options", FieldKind::Map, "Write options: `cas`, the version that must be current; 0 if there must be none."),
    Field::new("data", FieldKind::Map, "The secret, or the merge patch of it."),
];
const METADATA_FIELDS: &[Field] = &[
    PATH,
    MAX_VERSIONS,
    CAS_REQUIRED,
    Field::new("delete_version_after", FieldKind::DurationSecond, "Life of a version."),
    Field::new("custom_metadata", FieldKind::Map, "Names and texts kept with the key."),
    Field::new("exclude_deleted", FieldKind::Bool, "List without keys whose current version is deleted."),
    Field::new("after", FieldKind::Any, "List only names after this one."),
    Field::new("limit", FieldKind::Any, "List at most this many names."),
];
const SUBKEYS_FIELDS: &[Field] =
    &[PATH, VERSION, Field::new("depth", FieldKind::Int, "How deep to go; 0 or absent is all the way.")];
const VERSIONS_FIELDS: &[Field] = &[PATH, VERSIONS];
const CATCH_ALL_FIELDS: &[Field] = &[PATH];

const ROOT_WARNING: &str = "Non-listing operations on the root of a K/V v2 mount are not supported.";

/// The versioned engine.
pub struct KvV2 {
    table: PathTable<Self>,
}

impl KvV2 {
    /// The engine; its settings are in each mount's storage.
    #[must_use]
    pub fn new() -> Self {
        let mut routes = vec![
            Route::new("config", CONFIG_FIELDS, "Settings of the mount.")
                .on(Operation::Read, "Reads the settings that apply to every key.", config::read)
                .on(Operation::Update, "Changes the settings that apply to every key.", config::write),
            Route::new("data/{path...}", DATA_FIELDS, "Reads, writes, patches and deletes secrets.")
                .help("A write makes a new version. A patch makes one from the current version. A delete can be undone.")
                .exists(known)
                .on(Operation::Read, "Reads a version.", data::read)
                .on(Operation::Update, "Writes a new version.", data::write)
                .on(Operation::Patch, "Writes a new version by merge patch.", data::patch)
                .on(Operation::Delete, "Deletes the current version.", data::delete)
                .on(Operation::List, "Refused: lists are below metadata/.", unversioned_path),
            Route::new("metadata/{path...?}", METADATA_FIELDS, "Settings and history of a key, listings.")
                .exists(known)
                .on(Operation::Read, "Reads a key's settings and history.", metadata::read)
                .on(Operation::Update, "Changes a key's settings.", metadata::write)
                .on(Operation::Patch, "Changes a key's settings by merge patch.", metadata::patch)
                .on(Operation::Delete, "Removes a key with all its versions for good.", metadata::delete)
                .on(Operation::List, "Lists a folder.", metadata::list),
            Route::new("delete/{path...?}", VERSIONS_FIELDS, "Deletes versions; can be undone.").on(
                Operation::Update,
                "Deletes versions.",
                versions::delete,
            ),
            Route::new("undelete/{path...?}", VERSIONS_FIELDS, "Brings deleted versions back.").on(
                Operation::Update,
                "Brings versions back.",
                versions::undelete,
            ),
            Route::new("destroy/{path...?}", VERSIONS_FIELDS, "Removes the data of versions for good.").on(
                Operation::Update,
                "Destroys versions.",
                versions::destroy,
            ),
            Route::new("subkeys/{path...?}", SUBKEYS_FIELDS, "The names inside a secret, without its values.").on(
                Operation::Read,
                "Reads the names inside a version.",
                subkeys::read,
            ),
        ];
        // A folder's name without its slash is no path of the folder; these come first, so that the patterns above, which
        // take an empty rest, do not catch them.
        let roots = ["metadata", "data", "delete", "undelete", "destroy", "subkeys"];
        routes.splice(0..0, roots.into_iter().map(|root| refusing(Route::new(root, &[], "Refused: a key must follow."))));
        routes.push(refusing(Route::new("{path...?}", CATCH_ALL_FIELDS, "Refused: no path of this engine.")));
        Self { table: PathTable::new("Key/value secrets with versions.", routes) }
    }
}

impl Default for KvV2 {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for KvV2 {
    const TYPE: &'static str = "kv";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

/// The advice stands alone: whatever fields an old client sent, nothing is said about them.
fn refusing(route: Route<KvV2>) -> Route<KvV2> {
    let route = route.free_form();
    [Operation::Read, Operation::Update, Operation::Patch, Operation::Delete, Operation::List]
        .into_iter()
        .fold(route, |route, operation| route.on(operation, "Refused.", unversioned_path))
}

/// Paths that look like version 1, which old clients still send: 404, with a warning that says what to do.
fn unversioned_path(_: &KvV2, call: &mut Call<'_>) -> Outcome {
    if matches!(call.path, "metadata" | "data" | "delete" | "undelete" | "destroy") {
        return Ok(Some(not_found(None).with_warning(ROOT_WARNING)));
    }
    let command = match call.operation {
        Operation::Create | Operation::Update => "put",
        Operation::Patch => "patch",
        Operation::List => "list",
        Operation::Delete => "delete",
        _ => "get",
    };
    Ok(Some(not_found(None).with_warning(format!(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. \
         If using the Vault CLI, use 'vault kv {command}' for this operation."
    ))))
}

fn known(_: &KvV2, call: &mut Call<'_>) -> Result<bool, EngineError> {
    let path = path(call);
    store::exists(&mut call.view, &path)
}

/// The key that the request names.
fn path(call: &Call<'_>) -> String {
    call.fields.str("path").to_owned()
}

/// A 404 that still carries an envelope.
fn not_found(data: Option<Map>) -> Response {
    Response { kind: Kind::NotFoundEnvelope, data: data.map(Data::Map), ..Response::default() }
}

/// A 404 without any body: what a patch of an unknown key answers.
fn not_found_bare() -> Response {
    let kind = Kind::Bare { content_type: "application/json".to_owned(), body: Vec::new(), status: 404 };
    Response { kind, ..Response::default() }
}

/// A setting as it was sent: `None` if it was not, and the type's zero value if it was null, which resets it.
fn setting<T: Default>(call: &Call<'_>, name: &str, value: Option<T>) -> Option<T> {
    match call.request.data.get(name)? {
        Value::Null => Some(T::default()),
        _ => value,
    }
}

/// `max_versions` as it is kept. A negative number counts as no limit, as it does in Vault, which keeps it unsigned.
fn max_versions(call: &Call<'_>) -> Option<u32> {
    setting(call, "max_versions", call.fields.int("max_versions").map(|n| u32::try_from(n).unwrap_or(u32::MAX)))
}

/// The warning for a key that wants no `cas` where the mount insists.
fn cas_warning(wanted: Option<bool>, mandated: bool) -> Option<Response> {
    (mandated && wanted == Some(false)).then(|| {
        Response::warning("\"cas_required\" set to false, but is mandated by backend config. This value will be ignored.")
    })
}
