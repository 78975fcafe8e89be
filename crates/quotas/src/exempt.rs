//! Paths that no rate limit covers.

/// Exact paths and prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exempt {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl Exempt {
    /// Reads patterns: a path, or with a closing `*` everything that begins so. A leading slash means nothing.
    pub fn new<'p>(patterns: impl IntoIterator<Item = &'p String>) -> Self {
        let mut out = Self::default();
        for pattern in patterns {
            let path = pattern.trim_start_matches('/');
            match path.strip_suffix('*') {
                Some(head) => out.prefixes.push(head.to_owned()),
                None => out.exact.push(path.trim_end_matches('/').to_owned()),
            }
        }
        out
    }

    /// Whether a path below `/v1/` is exempt.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let bare = path.trim_end_matches('/');
        self.exact.iter().any(|p| p == bare) || self.prefixes.iter().any(|p| path.starts_with(p.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_exempt() {
        let patterns = ["sys/health", "/kv/data/open/*", "kv/list/"].map(str::to_owned);
        let e = Exempt::new(&patterns);
        for (path, want) in [
            ("sys/health", true),
            ("sys/health/", true),
            ("sys/healthy", false),
            ("sys/heal", false),
            ("sys", false),
            ("", false),
            ("kv/data/open/a/b", true),
            ("kv/data/opened", false),
            ("kv/data/open", false),
            ("kv/list", true),
            ("kv/list/a", false),
        ] {
            assert_eq!(e.covers(path), want, "{path}");
        }
        assert!(!Exempt::default().covers("sys/health"));
    }
}
