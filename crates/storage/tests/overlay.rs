//! Applying a run of changes through one [`Overlay`] and one commit is the same as committing each.

use proptest::collection::vec;
use proptest::prelude::*;
use storage::{Batch, Changeset, Check, Durability, MemoryStore, Overlay, Space, Store, Write, range_digest};

#[derive(Debug, Clone)]
enum Step {
    /// Set or remove, if the version is the present one (or was wrongly assumed).
    Write { key: u8, value: Option<u8>, right: bool },
    /// Set, if the range is what it was `stale` steps ago or now.
    InRange { key: u8, from: u8, to: u8, stale: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..8_u8, any::<Option<u8>>(), any::<bool>()).prop_map(|(key, value, right)| Step::Write { key, value, right }),
        (0..8_u8, 0..9_u8, 0..9_u8, any::<bool>()).prop_map(|(key, from, to, stale)| Step::InRange { key, from, to, stale }),
    ]
}

/// Turns a step into a change, with checks as a reader of `reference` would make them.
fn change(step: &Step, reference: &MemoryStore, before: &MemoryStore) -> Result<Changeset, TestCaseError> {
    let fail = |e: storage::StoreError| TestCaseError::fail(e.to_string());
    Ok(match *step {
        Step::Write { key, value, right } => {
            let version = Overlay::new(reference).version(&[key]).map_err(fail)? + u64::from(!right);
            Changeset {
                checks: vec![Check::Version { key: vec![key], version }],
                writes: vec![Write { key: vec![key], value: value.map(|v| vec![v]) }],
            }
        }
        Step::InRange { key, from, to, stale } => {
            let digest = range_digest(if stale { before } else { reference }, &[from], &[to]).map_err(fail)?;
            Changeset {
                checks: vec![Check::Range { from: vec![from], to: vec![to], digest }],
                writes: vec![Write { key: vec![key], value: Some(vec![key]) }],
            }
        }
    })
}

fn dump(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let _infallible = store.scan(Space::State, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded, &mut |k, v| {
        all.push((k.to_vec(), v.to_vec()));
        std::ops::ControlFlow::Continue(())
    });
    all
}

proptest! {
    #[test]
    fn a_run_through_an_overlay_equals_one_commit_each(first in vec(step(), 0..10), second in vec(step(), 0..20)) {
        let fail = |e: storage::StoreError| TestCaseError::fail(e.to_string());
        let (one_each, at_once, before) = (MemoryStore::default(), MemoryStore::default(), MemoryStore::default());
        let mut index = 0;
        for run in [first, second] {
            let mut batch = Batch::default();
            let mut overlay = Overlay::new(&at_once);
            for step in &run {
                index += 1;
                let change = change(step, &one_each, &before)?;
                let mut single = Batch::default();
                let expected = storage::apply(&one_each, &change, index, &mut single).map_err(fail)?;
                one_each.commit(single, Durability::Buffered).map_err(fail)?;
                prop_assert_eq!(overlay.apply(&change, index, &mut batch).map_err(fail)?, expected);
            }
            at_once.commit(batch.clone(), Durability::Buffered).map_err(fail)?;
            before.commit(batch, Durability::Buffered).map_err(fail)?;
            prop_assert_eq!(dump(&one_each), dump(&at_once));
        }
    }
}
