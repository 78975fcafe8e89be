//! The paths below `identity/`.

use api_types::Operation::{Delete, List, Read, Update};
use engine::{Engine, Field, FieldKind, PathTable, Route};

use crate::{alias, entity, group, group_alias, lookup, merge};

/// The identity secrets engine: entities, aliases and groups. Its view is the root of the storage, and it keeps to
/// `identity/` there.
pub struct IdentityEngine {
    table: PathTable<Self>,
    address: String,
}

impl Engine for IdentityEngine {
    const TYPE: &'static str = "identity";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }
}

impl Default for IdentityEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl IdentityEngine {
    /// The engine alone; it has no state of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::with(String::new(), Vec::new())
    }

    /// The engine with paths of neighbouring rooms at the same mount. `address` is where clients reach this server (scheme, host
    /// and port), for those who tell it on.
    #[must_use]
    pub fn with(address: String, neighbours: Vec<Route<Self>>) -> Self {
        let routes = [entity_routes(), alias_routes(), group_routes(), group_alias_routes(), lookup_routes(), neighbours];
        Self { table: PathTable::new(HELP, routes.into_iter().flatten().collect()), address }
    }

    /// Where clients reach this server.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

const HELP: &str = "Entities stand for people and machines, aliases for their names on auth mounts, groups for sets of entities.";

const ENTITY: &[Field] = &[
    Field::new("id", FieldKind::String, "ID of the entity. If set, updates the corresponding existing entity."),
    Field::new("name", FieldKind::String, "Name of the entity."),
    Field::new("metadata", FieldKind::KeyValuePairs, "Metadata of the entity."),
    Field::new("policies", FieldKind::CommaStringSlice, "Policies of the entity, added to those of its tokens on each request."),
    Field::new("disabled", FieldKind::Bool, "Tokens of a disabled entity can do nothing, and it cannot log in."),
];

const BATCH: &[Field] = &[Field::new("entity_ids", FieldKind::CommaStringSlice, "Entities to delete.")];

const MERGE: &[Field] = &[
    Field::new("from_entity_ids", FieldKind::CommaStringSlice, "Entities to merge; they are gone afterwards."),
    Field::new("to_entity_id", FieldKind::String, "Entity that takes over their aliases and groups."),
    Field::new("conflicting_alias_ids_to_keep", FieldKind::CommaStringSlice, "Of two aliases on one mount, the one to keep."),
    Field::new("force", FieldKind::Bool, "Accepted; only matters for MFA secrets, which do not exist here."),
];

const LISTING: &[Field] = &[
    Field::new("after", FieldKind::String, "Only names after this one."),
    Field::new("limit", FieldKind::Int, "At most this many."),
];

const ALIAS: &[Field] = &[
    Field::new("id", FieldKind::String, "ID of the alias. If set, updates the corresponding alias."),
    Field::new("canonical_id", FieldKind::String, "Entity or group the alias belongs to."),
    Field::new("entity_id", FieldKind::String, "Deprecated: use canonical_id."),
    Field::new("mount_accessor", FieldKind::String, "Accessor of the mount on which the name is valid."),
    Field::new("name", FieldKind::String, "The name on that mount."),
    Field::new("custom_metadata", FieldKind::KeyValuePairs, "Metadata of the alias set by operators."),
];

const GROUP_ALIAS: &[Field] = &[
    Field::new("id", FieldKind::String, "ID of the group alias. If set, updates the corresponding alias."),
    Field::new("canonical_id", FieldKind::String, "External group the alias belongs to."),
    Field::new("mount_accessor", FieldKind::String, "Accessor of the mount on which the name is valid."),
    Field::new("name", FieldKind::String, "The group's name on that mount."),
];

const GROUP: &[Field] = &[
    Field::new("id", FieldKind::String, "ID of the group. If set, updates the corresponding existing group."),
    Field::new("name", FieldKind::String, "Name of the group."),
    Field::new("type", FieldKind::String, "internal (the default) or external."),
    Field::new("metadata", FieldKind::KeyValuePairs, "Metadata of the group."),
    Field::new("policies", FieldKind::CommaStringSlice, "Policies of the group, for all its members."),
    Field::new("member_entity_ids", FieldKind::CommaStringSlice, "Entities in the group."),
    Field::new("member_group_ids", FieldKind::CommaStringSlice, "Groups in the group."),
];

const LOOKUP: &[Field] = &[
    Field::new("id", FieldKind::String, "ID to look for."),
    Field::new("name", FieldKind::String, "Name to look for."),
    Field::new("alias_id", FieldKind::String, "ID of an alias to look for."),
    Field::new("alias_name", FieldKind::String, "Name of an alias; together with alias_mount_accessor."),
    Field::new("alias_mount_accessor", FieldKind::String, "Accessor of the alias's mount; together with alias_name."),
];

type Routes = Vec<Route<IdentityEngine>>;

fn entity_routes() -> Routes {
    vec![
        Route::new("entity", ENTITY, "Create a new entity").on(Update, "Create or update an entity", entity::write),
        Route::new("entity/id/?", LISTING, "List all the entity IDs").on(List, "List entity IDs", entity::list_ids),
        Route::new("entity/name/?", LISTING, "List all the entity names").on(List, "List entity names", entity::list_names),
        Route::new("entity/batch-delete", BATCH, "Delete all of the entities provided").on(
            Update,
            "Delete entities",
            entity::batch_delete,
        ),
        Route::new("entity/merge/?", MERGE, "Merge two or more entities together").on(Update, "Merge entities", merge::merge),
        Route::new("entity/id/{id}", ENTITY, "Update, read or delete an entity using entity ID")
            .on(Update, "Update an entity", entity::write)
            .on(Read, "Read an entity", entity::read_by_id)
            .on(Delete, "Delete an entity", entity::delete_by_id),
        Route::new("entity/name/{name...}", ENTITY, "Update, read or delete an entity using entity name")
            .on(Update, "Create or update an entity", entity::write)
            .on(Read, "Read an entity", entity::read_by_name)
            .on(Delete, "Delete an entity", entity::delete_by_name),
    ]
}

fn alias_routes() -> Routes {
    vec![
        Route::new("entity-alias", ALIAS, "Create a new alias").on(Update, "Create or update an alias", alias::write),
        Route::new("entity-alias/id/?", LISTING, "List all the alias IDs").on(List, "List alias IDs", alias::list),
        Route::new("entity-alias/id/{id}", ALIAS, "Update, read or delete an alias ID")
            .on(Update, "Update an alias", alias::write)
            .on(Read, "Read an alias", alias::read)
            .on(Delete, "Delete an alias", alias::delete),
    ]
}

fn group_routes() -> Routes {
    vec![
        Route::new("group", GROUP, "Create a new group").on(Update, "Create or update a group", group::write),
        Route::new("group/id/?", LISTING, "List all the group IDs").on(List, "List group IDs", group::list_ids),
        Route::new("group/name/?", LISTING, "List all the group names").on(List, "List group names", group::list_names),
        Route::new("group/id/{id}", GROUP, "Update, read or delete a group using its ID")
            .on(Update, "Update a group", group::write_by_id)
            .on(Read, "Read a group", group::read_by_id)
            .on(Delete, "Delete a group", group::delete_by_id),
        Route::new("group/name/{name...}", GROUP, "Update, read or delete a group using its name")
            .on(Update, "Create or update a group", group::write_by_name)
            .on(Read, "Read a group", group::read_by_name)
            .on(Delete, "Delete a group", group::delete_by_name),
    ]
}

fn group_alias_routes() -> Routes {
    vec![
        Route::new("group-alias", GROUP_ALIAS, "Create a new group alias").on(
            Update,
            "Create or update a group alias",
            group_alias::write,
        ),
        Route::new("group-alias/id/?", LISTING, "List all the group alias IDs").on(List, "List alias IDs", group_alias::list),
        Route::new("group-alias/id/{id}", GROUP_ALIAS, "Update, read or delete a group alias using its ID")
            .on(Update, "Update a group alias", group_alias::write_by_id)
            .on(Read, "Read a group alias", group_alias::read)
            .on(Delete, "Delete a group alias", group_alias::delete),
    ]
}

fn lookup_routes() -> Routes {
    vec![
        Route::new("lookup/entity", LOOKUP, "Find an entity").on(Update, "Look up an entity", lookup::entity),
        Route::new("lookup/group", LOOKUP, "Find a group").on(Update, "Look up a group", lookup::group),
    ]
}
