//! A policy and a path: no panic, and what `capabilities` tells agrees with what `decide` does.
#![no_main]

use std::sync::Arc;

use api_types::{Map, Operation};
use libfuzzer_sys::fuzz_target;
use policy::{Acl, Ask, Identity, Policy};

fuzz_target!(|input: (&str, &str, &str)| {
    let (text, path, name) = input;
    let Ok(policy) = Policy::parse("fuzz", text) else { return };
    let identity = Identity { id: "id".into(), name: name.into(), ..Identity::default() };
    let acl = Acl::compile(&[Arc::new(policy)], Some(&identity));
    let data = Map::new();
    let list = Ask { operation: Operation::List, path, data: &data, wrap_ttl: None, needs_sudo: false };
    if acl.decide(&list).is_ok() {
        assert!(acl.capabilities(path).contains(&"list"));
    }
    let _ = (acl.touches(path), acl.resultant());
});
