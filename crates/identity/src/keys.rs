//! Where the rows are, below the root of the storage:
//!
//! | Key | Row |
//! |---|---|
//! | `identity/entity/id/<id>` | the entity with its aliases |
//! | `identity/entity/name/<name>` | its id |
//! | `identity/entity/merged/<old id>` | the id it was merged into |
//! | `identity/entity/groups/<entity id>` | ids of the groups it is directly in |
//! | `identity/alias/name/<accessor>/<name>` | the id of the alias's entity |
//! | `identity/alias/id/<alias id>` | the id of the alias's entity |
//! | `identity/group/id/<id>` | the group with its alias |
//! | `identity/group/name/<name>` | its id |
//! | `identity/group/member/<group id>/<entity id>` | one member |
//! | `identity/group-alias/name/<accessor>/<name>` | the id of the alias's group |
//! | `identity/group-alias/id/<alias id>` | the id of the alias's group |
//!
//! Names are compared without case (as Vault does), and `/` and `%` are escaped so that a name is one segment.

pub(crate) const ENTITY_IDS: &str = "identity/entity/id/";
pub(crate) const ENTITY_NAMES: &str = "identity/entity/name/";
pub(crate) const ALIAS_IDS: &str = "identity/alias/id/";
pub(crate) const GROUP_IDS: &str = "identity/group/id/";
pub(crate) const GROUP_NAMES: &str = "identity/group/name/";
pub(crate) const GROUP_ALIAS_IDS: &str = "identity/group-alias/id/";

/// Longest name of an entity, group or alias. It becomes a key segment, and those have a 16-bit length; names as they occur
/// (e-mail addresses, distinguished names, JWT subjects) are far shorter.
pub(crate) const NAME_MAX_BYTES: usize = 4096;

/// Longest key that is looked up at all: folding and escaping make a name at most three times as long.
pub(crate) const KEY_MAX_BYTES: usize = 4 * NAME_MAX_BYTES;

/// One segment: folded to lower case, `/` and `%` escaped.
fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            '%' => out.push_str("%25"),
            '/' => out.push_str("%2f"),
            c => out.push(c),
        }
    }
    out
}

/// One segment of an id: ids are made here, but a client may ask for any text.
fn id_segment(id: &str) -> String {
    id.replace('%', "%25").replace('/', "%2f")
}

pub(crate) fn entity(id: &str) -> String {
    format!("{ENTITY_IDS}{}", id_segment(id))
}

pub(crate) fn entity_name(name: &str) -> String {
    format!("{ENTITY_NAMES}{}", segment(name))
}

pub(crate) fn merged(id: &str) -> String {
    format!("identity/entity/merged/{}", id_segment(id))
}

pub(crate) fn membership(entity_id: &str) -> String {
    format!("identity/entity/groups/{}", id_segment(entity_id))
}

pub(crate) fn alias_names(accessor: &str) -> String {
    format!("identity/alias/name/{}/", id_segment(accessor))
}

pub(crate) fn alias_name(accessor: &str, name: &str) -> String {
    format!("{}{}", alias_names(accessor), segment(name))
}

pub(crate) fn alias_id(id: &str) -> String {
    format!("{ALIAS_IDS}{}", id_segment(id))
}

pub(crate) fn group(id: &str) -> String {
    format!("{GROUP_IDS}{}", id_segment(id))
}

pub(crate) fn group_name(name: &str) -> String {
    format!("{GROUP_NAMES}{}", segment(name))
}

pub(crate) fn members(group_id: &str) -> String {
    format!("identity/group/member/{}/", id_segment(group_id))
}

pub(crate) fn member(group_id: &str, entity_id: &str) -> String {
    format!("{}{}", members(group_id), id_segment(entity_id))
}

pub(crate) fn group_alias_names(accessor: &str) -> String {
    format!("identity/group-alias/name/{}/", id_segment(accessor))
}

pub(crate) fn group_alias_name(accessor: &str, name: &str) -> String {
    format!("{}{}", group_alias_names(accessor), segment(name))
}

pub(crate) fn group_alias_id(id: &str) -> String {
    format!("{GROUP_ALIAS_IDS}{}", id_segment(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_and_has_no_case() {
        assert_eq!(entity_name("A/b%c"), "identity/entity/name/a%2fb%25c");
        assert_eq!(entity_name("a%2fb"), "identity/entity/name/a%252fb", "an escape in the name is not the escaped name");
        assert_eq!(alias_name("x/../y", "n"), "identity/alias/name/x%2f..%2fy/n");
        assert_eq!(entity_name("ANN"), entity_name("ann"));
    }
}
