//! The cubbyhole: a store for each service token, gone with the token.
//!
//! Everything lies below `cubbyhole/<cubbyhole id>/` of the storage root, so the core gives this engine a view of the root and
//! removes a token's part with the token. Contract §7.2 and the recorded answers of the topic `cubbyhole`.
//!
//! Deliberately absent: leases, versions, and any way to another token's part. Tuning, moving and disabling the mount are
//! refused by the core.

use api_types::{Map, Operation};
use engine::{Call, Engine, EngineError, Field, FieldKind, Outcome, PathTable, Response, Route, TokenType};
use storage::Page;

/// Where the part of one token lies below the storage root, with a trailing `/`.
#[must_use]
pub fn storage_prefix(cubbyhole_id: &str) -> String {
    format!("cubbyhole/{cubbyhole_id}/")
}

const FIELDS: &[Field] = &[Field::new("path", FieldKind::String, "Specifies the path of the secret.")];

/// The engine. It has no state of its own.
pub struct Cubbyhole {
    table: PathTable<Self>,
}

impl Default for Cubbyhole {
    fn default() -> Self {
        Self::new()
    }
}

impl Cubbyhole {
    /// The engine with its only route.
    #[must_use]
    pub fn new() -> Self {
        let route =
            Route::new("{path...?}", FIELDS, "Pass-through secret storage to a token-specific cubbyhole in the storage backend.")
                .help("Keeps whatever is written, for the token that wrote it and no other. It goes when the token goes.")
                .free_form()
                .exists(exists)
                .on(Operation::Read, "Retrieve the secret at the specified location.", Self::read)
                .on(Operation::Create, "Store a secret at the specified location.", Self::write)
                .on(Operation::Update, "Store a secret at the specified location.", Self::write)
                .on(Operation::Delete, "Deletes the secret at the specified location.", Self::delete)
                .on(Operation::List, "List secret entries at the specified location.", Self::list);
        Self { table: PathTable::new("The cubbyhole backend keeps secrets that belong to one token.", vec![route]) }
    }

    fn read(&self, call: &mut Call<'_>) -> Outcome {
        let key = key(call)?;
        let found = call.view.get_json::<Map>(&key)?;
        Ok(found.map(|map| Response::data(map.as_ref().clone())))
    }

    fn write(&self, call: &mut Call<'_>) -> Outcome {
        let key = key(call)?;
        if call.request.data.is_empty() {
            return Err(EngineError::internal("missing data fields"));
        }
        if key.ends_with('/') {
            // Such a name could be stored but never listed or told from a folder.
            return Err(EngineError::invalid("cannot write to a path ending in '/'"));
        }
        call.view.put_json(&key, &call.request.data)?;
        Ok(None)
    }

    fn delete(&self, call: &mut Call<'_>) -> Outcome {
        let key = key(call)?;
        call.view.delete(&key)?;
        Ok(None)
    }

    fn list(&self, call: &mut Call<'_>) -> Outcome {
        let mut folder = own_part(call)?;
        let path = call.path.trim_end_matches('/');
        if !path.is_empty() {
            folder.push_str(path);
            folder.push('/');
        }
        Ok(Some(Response::list(call.view.list(&folder, &Page::default())?)))
    }
}

impl Engine for Cubbyhole {
    const TYPE: &'static str = "cubbyhole";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

/// Tells `create` from `update`. A token without a cubbyhole has nothing anywhere: it is refused after the policy check, like
/// everybody else.
fn exists(_: &Cubbyhole, call: &mut Call<'_>) -> Result<bool, EngineError> {
    match key(call) {
        Ok(key) => Ok(call.view.get(&key)?.is_some()),
        Err(_) => Ok(false),
    }
}

/// The caller's part of the store. Batch tokens have none.
fn own_part(call: &Call<'_>) -> Result<String, EngineError> {
    let id = &call.caller.cubbyhole_id;
    // An id with a slash would lead into another token's part; none is ever made.
    if id.is_empty() || id.contains('/') || call.caller.token_type == TokenType::Batch {
        return Err(EngineError::invalid("cubbyhole operations are only supported by \"service\" type tokens"));
    }
    Ok(storage_prefix(id))
}

fn key(call: &Call<'_>) -> Result<String, EngineError> {
    let mut key = own_part(call)?;
    if call.path.is_empty() {
        return Err(EngineError::internal("missing path"));
    }
    key.push_str(call.path);
    Ok(key)
}

#[cfg(test)]
mod tests;
