//! What ends when: an index ordered by time, so that expiry never scans tokens or leases.
//!
//! Names in the store are sealed one by one and in no order, so listing a folder costs as much as it has names. Therefore
//! time is spread over folders: `sys/expire/due/<seconds / 65536>/<seconds / 256 % 256>/<seconds % 256>/<xx>/<name>`, all in
//! hexadecimal, where `xx` are two characters of the name. Twenty thousand ends in one second are 80 names a folder.
//!
//! Deliberately absent: the decision that a token or lease is really over. An entry here is a hint; the record decides.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::EngineError;
use secret::Time;
use storage::{Page, View};

const ROOT: &str = "sys/expire/due/";

/// What ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DueItem {
    /// A token, by its key: give it to [`crate::TokenStore::expire`].
    Token(String),
    /// The lease of a secret, by its id.
    Lease(String),
}

/// One entry of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// When, in whole seconds.
    pub at: Time,
    /// What.
    pub item: DueItem,
}

/// Up to `limit` entries that are due at `now`, earliest second first.
///
/// Call it in a transaction that only reads and is thrown away: it lists folders in which every token creation writes, so a
/// commit would conflict. Each entry is then handled in a transaction of its own, which reads the record again.
pub fn due(view: &mut View<'_>, now: Time, limit: usize) -> Result<Vec<Due>, EngineError> {
    let now_seconds = u64::try_from(now.unix()).unwrap_or(0);
    let mut out = Vec::new();
    for high in folders(view, ROOT, 0, now_seconds >> 16)? {
        let high_path = format!("{ROOT}{high:08x}/");
        for middle in folders(view, &high_path, high << 8, now_seconds >> 8)? {
            let middle_path = format!("{high_path}{:02x}/", middle & 0xff);
            for second in folders(view, &middle_path, middle << 8, now_seconds)? {
                if collect(view, &format!("{middle_path}{:02x}/", second & 0xff), second, limit, &mut out)? {
                    return Ok(out);
                }
            }
        }
    }
    Ok(out)
}

/// Removes an entry for which there is no record any more. Normally there is none: record and entry go in one transaction.
pub fn discard(view: &mut View<'_>, due: &Due) -> Result<(), EngineError> {
    forget(view, due.at, &due.item)
}

/// Notes that `item` ends at `at`.
pub(crate) fn note(view: &mut View<'_>, at: Time, item: &DueItem) -> Result<(), EngineError> {
    // A record must hold something: one byte.
    Ok(view.put(&slot(at, item), b"1".as_slice().into())?)
}

/// Forgets that `item` ends at `at`.
pub(crate) fn forget(view: &mut View<'_>, at: Time, item: &DueItem) -> Result<(), EngineError> {
    Ok(view.delete(&slot(at, item))?)
}

/// The full second in which `now` lies: what ends there is due at `now`.
pub(crate) fn this_second(now: Time) -> Time {
    Time::from_unix(now.unix())
}

/// A lease id as one path segment.
pub(crate) fn segment(lease_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(lease_id)
}

/// The lease id of a segment.
pub(crate) fn from_segment(name: &str) -> Option<String> {
    URL_SAFE_NO_PAD.decode(name).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}

/// The folders of one level whose number does not exceed `last`; `base` is what the levels above add.
fn folders(view: &mut View<'_>, path: &str, base: u64, last: u64) -> Result<Vec<u64>, EngineError> {
    let names = view.list(path, &Page::default())?;
    Ok(names
        .iter()
        .filter_map(|name| u64::from_str_radix(name.strip_suffix('/')?, 16).ok())
        .map(|n| base | n)
        .filter(|n| *n <= last)
        .collect())
}

/// Takes the entries of one second; answers whether the limit is reached.
fn collect(view: &mut View<'_>, path: &str, second: u64, limit: usize, out: &mut Vec<Due>) -> Result<bool, EngineError> {
    let at = Time::from_unix(i64::try_from(second).unwrap_or(i64::MAX));
    for shard in view.list(path, &Page::default())? {
        let left = limit.saturating_sub(out.len());
        if left == 0 {
            return Ok(true);
        }
        let names = view.list(&format!("{path}{shard}"), &Page { after: None, limit: Some(left) })?;
        out.extend(names.iter().filter_map(|name| Some(Due { at, item: parse(name)? })));
    }
    Ok(out.len() >= limit)
}

fn slot(at: Time, item: &DueItem) -> String {
    let s = seconds(at);
    let (name, random) = match item {
        // Keys are random from the first character on, lease ids in their last.
        DueItem::Token(key) => (format!("t{key}"), key.get(..2).map(str::to_owned)),
        DueItem::Lease(id) => (format!("l{}", segment(id)), id.get(id.len().saturating_sub(2)..).map(str::to_owned)),
    };
    let shard = random.filter(|r| r.bytes().all(|b| b.is_ascii_alphanumeric())).unwrap_or_else(|| "00".to_owned());
    format!("{ROOT}{:08x}/{:02x}/{:02x}/{shard}/{name}", s >> 16, (s >> 8) & 0xff, s & 0xff)
}

fn parse(name: &str) -> Option<DueItem> {
    match name.split_at_checked(1)? {
        ("t", key) => Some(DueItem::Token(key.to_owned())),
        ("l", lease) => from_segment(lease).map(DueItem::Lease),
        _ => None,
    }
}

/// The second in which something that ends at `at` is over: rounded up, so that nothing is handled before its time.
fn seconds(at: Time) -> u64 {
    let whole = if this_second(at) == at { at.unix() } else { at.unix().saturating_add(1) };
    u64::try_from(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::collections::{BTreeMap, BTreeSet};

    use secret::{Entropy, SecretBytes, SeededEntropy};
    use storage::{Record, Transaction, TxnError};

    use super::*;

    /// Lists a folder without walking through what is below it, as the barrier does.
    #[derive(Default)]
    struct Ordered(BTreeMap<String, Record>);

    impl Transaction for Ordered {
        fn get(&mut self, key: &str) -> Result<Option<Record>, TxnError> {
            Ok(self.0.get(key).cloned())
        }

        fn put(&mut self, key: &str, value: SecretBytes) -> Result<(), TxnError> {
            self.0.insert(key.to_owned(), Record::new(value));
            Ok(())
        }

        fn delete(&mut self, key: &str) -> Result<(), TxnError> {
            self.0.remove(key);
            Ok(())
        }

        fn list(&mut self, prefix: &str, page: &Page) -> Result<Vec<String>, TxnError> {
            let mut names = Vec::new();
            let mut from = prefix.to_owned();
            while names.len() < page.limit.unwrap_or(usize::MAX) {
                let Some(rest) = self.0.range(from..).next().and_then(|(k, _)| k.strip_prefix(prefix)) else { break };
                let name = rest.split_inclusive('/').next().unwrap().to_owned();
                from = match name.strip_suffix('/') {
                    Some(folder) => format!("{prefix}{folder}0"), // `0` follows `/`
                    None => format!("{prefix}{name}\0"),
                };
                names.push(name);
            }
            Ok(names)
        }
    }

    #[test]
    fn a_storm_of_ends_comes_in_pages() {
        let mut txn = Ordered::default();
        let mut view = View::new(&mut txn, "");
        let at = Time::from_unix(1_800_000_000).plus(Duration::from_millis(300));
        let entropy = SeededEntropy::new(1);
        for _ in 0..20_000 {
            note(&mut view, at, &DueItem::Token(entropy.base62(24).unwrap())).unwrap();
        }
        assert!(due(&mut view, at, 10).unwrap().is_empty(), "not before its second is over");
        let now = at.plus(Duration::from_secs(1));
        let mut handled = BTreeSet::new();
        loop {
            let page = due(&mut view, now, 256).unwrap();
            assert!(page.len() <= 256);
            if page.is_empty() {
                break;
            }
            for entry in page {
                discard(&mut view, &entry).unwrap();
                assert!(handled.insert(format!("{:?}", entry.item)));
            }
        }
        assert_eq!(handled.len(), 20_000);
        assert!(txn.0.is_empty());
    }

    #[test]
    fn odd_lease_ids_survive_the_index() {
        let mut txn = Ordered::default();
        let mut view = View::new(&mut txn, "");
        let at = Time::from_unix(-5);
        for id in ["a", "", "db/creds/ä/€", "x/..", "a/b/0123456789"] {
            let item = DueItem::Lease(id.to_owned());
            note(&mut view, at, &item).unwrap();
            assert_eq!(
                due(&mut view, Time::from_unix(0), 9).unwrap(),
                [Due { at: Time::from_unix(0), item: item.clone() }],
                "{id}"
            );
            forget(&mut view, at, &item).unwrap();
            assert!(due(&mut view, Time::from_unix(0), 9).unwrap().is_empty(), "{id}");
        }
    }
}
