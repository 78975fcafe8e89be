//! The rules of version 2 as pure data: what a key and a mount remember, when a version is gone, and which versions a
//! write pushes out. No storage, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::Map;
use secret::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::attribution::Attribution;
use crate::custom_metadata::CustomMetadata;
use crate::limits::DEFAULT_MAX_VERSIONS;

/// The mount's `config`, stored as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Versions kept per key; 0 leaves it to the key.
    pub max_versions: u32,
    /// Every write needs `cas`.
    pub cas_required: bool,
    /// Life of a version in seconds; 0 is unlimited, negative switches the feature off for every key.
    pub delete_version_after_s: i64,
}

/// One version, without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionMetadata {
    /// When it was written.
    pub created: Time,
    /// When it was, or will be, deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Time>,
    /// Its data is gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroyed: bool,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<Attribution>,
    /// Who deleted it; nobody if it ran out of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_by: Option<Attribution>,
}

impl VersionMetadata {
    /// Whether its deletion time has come.
    pub(crate) fn deleted(&self, now: Time) -> bool {
        self.deletion.is_some_and(|at| at <= now)
    }

    /// Whether its data must not be shown.
    pub(crate) fn gone(&self, now: Time) -> bool {
        self.destroyed || self.deleted(now)
    }
}

/// All that is known of a key, without any data: the record `metadata/<path>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyMetadata {
    /// When the key came to be.
    pub created: Time,
    /// When the last version was written.
    pub updated: Time,
    /// The newest version; 0 if there never was one.
    #[serde(default)]
    pub current_version: u64,
    /// The oldest version not yet pushed out; 0 until the limit was first reached.
    #[serde(default)]
    pub oldest_version: u64,
    /// The versions still known.
    #[serde(default)]
    pub versions: BTreeMap<u64, VersionMetadata>,
    /// Versions to keep; 0 leaves it to the mount.
    #[serde(default)]
    pub max_versions: u32,
    /// Writes need `cas`.
    #[serde(default)]
    pub cas_required: bool,
    /// Life of a version in seconds; 0 leaves it to the mount.
    #[serde(default)]
    pub delete_version_after_s: u64,
    /// The client's own notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_metadata: CustomMetadata,
    /// Who last changed a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_by: Option<Attribution>,
}

impl KeyMetadata {
    /// A key without versions.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            created: now,
            updated: now,
            current_version: 0,
            oldest_version: 0,
            versions: BTreeMap::new(),
            max_versions: 0,
            cas_required: false,
            delete_version_after_s: 0,
            custom_metadata: CustomMetadata::new(),
            last_updated_by: None,
        }
    }

    /// The newest version, unless there is none.
    pub(crate) fn current(&self) -> Option<&VersionMetadata> {
        self.versions.get(&self.current_version)
    }

    /// When a version written (or undeleted) at `now` runs out: after the smaller of the two settings that are set.
    pub(crate) fn deletion_time(&self, config: &Config, now: Time) -> Option<Time> {
        let of_mount = u64::try_from(config.delete_version_after_s).ok()?;
        let life_s = [of_mount, self.delete_version_after_s].into_iter().filter(|s| *s > 0).min()?;
        Some(now.plus(Duration::from_secs(life_s)))
    }

    /// Adds a version and answers which versions it pushes out.
    ///
    /// The limit is the larger of key's and mount's, so a mount may raise it for all its keys but never lower it.
    pub(crate) fn add_version(&mut self, config: &Config, now: Time, by: Attribution) -> Vec<u64> {
        let deletion = self.deletion_time(config, now);
        let version =
            VersionMetadata { created: now, deletion, destroyed: false, created_by: Some(by.clone()), deleted_by: None };
        self.current_version += 1;
        self.versions.insert(self.current_version, version);
        self.updated = now;
        self.last_updated_by = Some(by);

        let limit = match u64::from(self.max_versions.max(config.max_versions)) {
            0 => DEFAULT_MAX_VERSIONS,
            n => n,
        };
        if self.current_version.saturating_sub(self.oldest_version) < limit {
            return Vec::new();
        }
        self.oldest_version = self.current_version.saturating_sub(limit) + 1;
        let kept = self.versions.split_off(&self.oldest_version);
        std::mem::replace(&mut self.versions, kept).into_keys().collect()
    }

    /// One version as clients see it: `created_time`, `custom_metadata`, `deletion_time`, `destroyed`, `version`.
    pub(crate) fn show_version(&self, number: u64, version: &VersionMetadata) -> Map {
        let mut map = Map::new();
        map.insert("created_time".into(), version.created.rfc3339().into());
        map.insert("custom_metadata".into(), self.show_custom_metadata());
        map.insert("deletion_time".into(), show_time(version.deletion).into());
        map.insert("destroyed".into(), version.destroyed.into());
        map.insert("version".into(), number.into());
        map
    }

    /// The custom metadata as clients see it: null if there is none.
    pub(crate) fn show_custom_metadata(&self) -> Value {
        if self.custom_metadata.is_empty() { Value::Null } else { json!(self.custom_metadata) }
    }
}

/// An optional time as clients see it: empty if there is none.
pub(crate) fn show_time(time: Option<Time>) -> String {
    time.map(Time::rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Time {
        Time::from_unix(s)
    }

    #[test]
    fn the_window_moves_with_the_larger_limit() {
        // (limit of the key, limit of the mount, writes, oldest shown, versions kept)
        for (key, mount, writes, oldest, kept) in [
            (0, 0, 9, 0, 9),
            (0, 0, 10, 1, 10),
            (0, 0, 11, 2, 10),
            (3, 0, 2, 0, 2),
            (3, 0, 3, 1, 3),
            (3, 0, 7, 5, 3),
            (3, 5, 7, 3, 5),
            (5, 3, 7, 3, 5),
            (1, 0, 1, 1, 1),
            (1, 0, 4, 4, 1),
            (u32::MAX, 0, 30, 0, 30),
        ] {
            let mut meta = KeyMetadata { max_versions: key, ..KeyMetadata::new(at(0)) };
            let config = Config { max_versions: mount, ..Config::default() };
            let gone: usize = (0..writes).map(|n| meta.add_version(&config, at(n), Attribution::default()).len()).sum();
            assert_eq!((meta.oldest_version, meta.versions.len()), (oldest, kept), "{key} {mount} {writes}");
            assert_eq!(gone + kept, usize::try_from(writes).unwrap());
            assert!(meta.versions.keys().all(|v| *v >= oldest && *v <= meta.current_version));
        }
    }

    #[test]
    fn a_lower_limit_prunes_at_the_next_write_only() {
        let mut meta = KeyMetadata::new(at(0));
        for n in 0..6 {
            meta.add_version(&Config::default(), at(n), Attribution::default());
        }
        meta.max_versions = 2;
        assert_eq!(meta.versions.len(), 6);
        assert_eq!(meta.add_version(&Config::default(), at(9), Attribution::default()), [1, 2, 3, 4, 5]);
        assert_eq!(meta.oldest_version, 6);
    }

    #[test]
    fn the_shorter_life_counts_and_a_negative_one_switches_off() {
        for (mount, key, want) in [
            (0, 0, None),
            (0, 5, Some(105)),
            (7, 0, Some(107)),
            (7, 5, Some(105)),
            (5, 7, Some(105)),
            (-1, 5, None),
            (-1, 0, None),
        ] {
            let meta = KeyMetadata { delete_version_after_s: key, ..KeyMetadata::new(at(0)) };
            let config = Config { delete_version_after_s: mount, ..Config::default() };
            assert_eq!(meta.deletion_time(&config, at(100)), want.map(at), "{mount} {key}");
        }
    }

    #[test]
    fn records_survive_the_round_trip() {
        let mut meta = KeyMetadata::new(at(1));
        meta.add_version(&Config { delete_version_after_s: 4, ..Config::default() }, Time(i64::MAX - 1), Attribution::upgrade());
        meta.custom_metadata.insert("a".into(), "b".into());
        let text = serde_json::to_string(&meta).unwrap();
        assert_eq!(serde_json::from_str::<KeyMetadata>(&text).unwrap(), meta, "{text}");
    }
}
