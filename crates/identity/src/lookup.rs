//! `lookup/entity` and `lookup/group`: find by id, by name, or by an alias. Nothing found is 204.

use engine::{Call, EngineError, Fields, Outcome};

use crate::paths::IdentityEngine;
use crate::{rows, shown};

/// What is looked for.
enum Query {
    Id(String),
    Name(String),
    AliasId(String),
    Alias {
        mount_accessor: String,
        name: String,
    },
    /// A field was sent, but empty.
    Nothing,
}

fn query(fields: &Fields) -> Result<Query, EngineError> {
    let sent = ["id", "name", "alias_id", "alias_name", "alias_mount_accessor"].iter().filter(|f| fields.has(f)).count();
    let text = |name: &str| fields.str(name).to_owned();
    let (name, mount_accessor) = (text("alias_name"), text("alias_mount_accessor"));
    match sent {
        0 => Err(EngineError::invalid("query parameter not supplied")),
        2 if !name.is_empty() && !mount_accessor.is_empty() => Ok(Query::Alias { mount_accessor, name }),
        1 if !name.is_empty() || !mount_accessor.is_empty() => {
            Err(EngineError::invalid("both 'alias_name' and 'alias_mount_accessor' needs to be set"))
        }
        1 if !fields.str("id").is_empty() => Ok(Query::Id(text("id"))),
        1 if !fields.str("name").is_empty() => Ok(Query::Name(text("name"))),
        1 if !fields.str("alias_id").is_empty() => Ok(Query::AliasId(text("alias_id"))),
        1 => Ok(Query::Nothing),
        _ => Err(EngineError::invalid("query parameter conflict; please supply distinct set of query parameters")),
    }
}

/// `lookup/entity`.
pub(crate) fn entity(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let view = &mut call.view;
    let found = match query(&call.fields)? {
        Query::Id(id) => rows::entity(view, &id)?,
        Query::Name(name) => rows::entity_by_name(view, &name)?,
        Query::AliasId(id) => rows::entity_by_alias_id(view, &id)?,
        Query::Alias { mount_accessor, name } => rows::entity_by_alias(view, &mount_accessor, &name)?,
        Query::Nothing => None,
    };
    let Some(found) = found else { return Ok(None) };
    shown::entity(view, call.system, &found).map(Some)
}

/// `lookup/group`.
pub(crate) fn group(_: &IdentityEngine, call: &mut Call<'_>) -> Outcome {
    let view = &mut call.view;
    let found = match query(&call.fields)? {
        Query::Id(id) => rows::group(view, &id)?,
        Query::Name(name) => rows::group_by_name(view, &name)?,
        Query::AliasId(id) => rows::group_by_alias_id(view, &id)?,
        Query::Alias { mount_accessor, name } => rows::group_by_alias(view, &mount_accessor, &name)?,
        Query::Nothing => None,
    };
    let Some(found) = found else { return Ok(None) };
    shown::group(view, call.system, &found).map(Some)
}
