//! Where an audit file may lie. A device writes where the server can write, and its path comes over the API: so not among the
//! plugins (CVE-2025-6000: an audit file that became one), not in the store, not over the server's own configuration.

use std::path::{Component, Path, PathBuf};

use crate::EnableError;

/// A file or directory that no audit file may be, or lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The file or directory. It need not exist yet.
    pub path: PathBuf,
    /// How a refusal calls it: `in the plugin directory`, `the server's configuration`.
    pub what: &'static str,
}

/// Refuses what is guarded, by whatever spelling, and directories. Links at the very end are refused when the file is opened.
pub(crate) fn check(path: &Path, guarded: &[Guarded]) -> Result<(), EnableError> {
    let real = resolved(path);
    for place in guarded {
        if real.starts_with(resolved(&place.path)) {
            return Err(EnableError::Guarded(place.what));
        }
    }
    if real.is_dir() {
        return Err(EnableError::Directory);
    }
    Ok(())
}

/// The path with links and `..` resolved as far as it exists. What does not exist yet holds no links.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut known = absolute.as_path();
    let mut rest = Vec::new();
    loop {
        if let Ok(real) = known.canonicalize() {
            return rest.iter().rev().fold(real, |mut out: PathBuf, part| {
                match part {
                    Component::ParentDir => {
                        out.pop();
                    }
                    other => out.push(other),
                }
                out
            });
        }
        match (known.parent(), known.components().next_back()) {
            (Some(parent), Some(last)) => {
                rest.push(last);
                known = parent;
            }
            _ => return absolute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE class P (CVE-2025-6000): an audit file among the plugins, in the store or over the configuration.
    #[test]
    fn class_p_guarded_places_are_out_of_reach_by_any_spelling() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for made in ["plugins", "data/db", "logs"] {
            std::fs::create_dir_all(at(made)).unwrap();
        }
        std::fs::write(at("server.hcl"), "").unwrap();
        for (link, to) in [("link", "plugins"), ("store", "data"), ("logs/deep", "data/db"), ("conf", "server.hcl")] {
            std::os::unix::fs::symlink(at(to), at(link)).unwrap();
        }
        let guarded = [
            Guarded { path: at("plugins"), what: "in the plugin directory" },
            Guarded { path: at("data"), what: "in the server's storage" },
            Guarded { path: at("server.hcl"), what: "the server's configuration" },
        ];
        for (below, what) in [
            ("plugins/a", "in the plugin directory"),
            ("plugins/new/deep/a", "in the plugin directory"),
            ("logs/../plugins/a", "in the plugin directory"),
            ("link/a", "in the plugin directory"),
            ("link/new/a", "in the plugin directory"),
            ("gone/../plugins/a", "in the plugin directory"),
            ("plugins", "in the plugin directory"),
            ("store/db/journal", "in the server's storage"),
            ("logs/deep/x", "in the server's storage"),
            ("data/SYNCED", "in the server's storage"),
            ("server.hcl", "the server's configuration"),
            ("logs/../server.hcl", "the server's configuration"),
            ("conf", "the server's configuration"),
        ] {
            assert_eq!(check(&at(below), &guarded), Err(EnableError::Guarded(what)), "{below}");
        }
        assert_eq!(check(&at("logs"), &guarded), Err(EnableError::Directory));
        for elsewhere in ["logs/a", "plugins-old/a", "plugins/../logs/a", "server.hcl.log"] {
            assert_eq!(check(&at(elsewhere), &guarded), Ok(()), "{elsewhere}");
        }
    }
}
