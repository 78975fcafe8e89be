//! A policy and a path: no panic, and what `capabilities` tells agrees with what `decide` does.

use std::sync::Arc;

use api_types::{Map, Operation};
use policy::{Acl, Ask, Identity, Policy};

pub fn run((text, path, name): (&str, &str, &str)) {
    let Ok(policy) = Policy::parse("fuzz", text) else { return };
    let identity = Identity { id: "id".into(), name: name.into(), ..Identity::default() };
    let acl = Acl::compile(&[Arc::new(policy)], Some(&identity));
    let data = Map::new();
    let list = Ask { operation: Operation::List, path, data: &data, wrap_ttl: None, needs_sudo: false };
    if acl.decide(&list).is_ok() {
        assert!(acl.capabilities(path).contains(&"list"));
    }
    let _ = (acl.touches(path), acl.resultant());
}
