//! The remarks on a single stanza.

use hcl1::{Block, Kind, Node};

use crate::capability::Capabilities;
use crate::lint::{Finding, Level, Mounts, closest};
use crate::paths::needs_sudo;
use crate::pattern::Pattern;
use crate::template::Template;

/// First segments of a KV version 2 mount's paths.
const KV_V2_HEADS: [&str; 7] = ["config", "data", "delete", "destroy", "metadata", "subkeys", "undelete"];

/// Every capability.
const CAPABILITIES: [&str; 11] =
    ["create", "delete", "deny", "list", "patch", "read", "recover", "scan", "subscribe", "sudo", "update"];

/// A stanza as written, valid or not.
pub(crate) struct Stanza {
    pub(crate) path: String,
    pub(crate) line: usize,
    /// The words of `capabilities`, each with its line.
    words: Vec<(String, usize)>,
    /// The word of the old `policy = "…"`.
    legacy: Option<(String, usize)>,
    /// Whether `capabilities` stands there at all.
    listed: bool,
}

impl Stanza {
    pub(crate) fn read(block: &Block<'_>) -> Self {
        let label = block.labels.first();
        let path = label.map_or("", |k| k.text.as_str()).to_owned();
        let line = label.map_or(block.position.line, |k| k.position.line);
        let capabilities = block.body.attribute("capabilities");
        let words = match capabilities.map(|n| &n.kind) {
            Some(Kind::List(nodes)) => nodes.iter().filter_map(|n| Some((n.as_str()?.to_owned(), n.position.line))).collect(),
            _ => Vec::new(),
        };
        let legacy = block.body.attribute("policy").and_then(|n: &Node| Some((n.as_str()?.to_owned(), n.position.line)));
        Self { path, line, words, legacy, listed: capabilities.is_some() }
    }

    /// The path without the slash that the server drops.
    pub(crate) fn relative(&self) -> &str {
        self.path.strip_prefix('/').unwrap_or(&self.path)
    }

    /// The pattern, if it is the same for everybody.
    pub(crate) fn pattern(&self) -> Option<Pattern> {
        let plain = Template::parse(self.relative()).ok().filter(|t| !t.is_templated());
        plain.filter(|_| !self.path.contains("+*")).map(|_| Pattern::new(self.relative()))
    }

    /// The words of its capabilities.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(w, _)| w.as_str())
    }

    /// Whether it denies.
    pub(crate) fn denies(&self) -> bool {
        self.has("deny") || self.legacy.as_ref().is_some_and(|(w, _)| w == "deny")
    }

    pub(crate) fn finding(&self, level: Level, rule: &'static str, message: String) -> Finding {
        Finding { level, line: self.line, rule, path: self.path.clone(), message, suggestion: String::new() }
    }

    fn has(&self, word: &str) -> bool {
        self.words().any(|w| w == word)
    }

    /// What it allows; unknown words allow nothing.
    fn capabilities(&self) -> Capabilities {
        let old = self.legacy.as_ref().and_then(|(w, _)| Capabilities::legacy(w)).unwrap_or(Capabilities::NONE);
        self.words().filter_map(Capabilities::named).fold(old, Capabilities::with)
    }

    /// All remarks on it alone. `seen` are the mounts that the document treats as KV version 2.
    pub(crate) fn check(&self, mounts: &Mounts, seen: &[String], found: &mut Vec<Finding>) {
        self.check_words(found);
        self.check_path(found);
        if mounts.misses(self.head()) {
            found.push(self.finding(Level::Warning, "no-mount", "no mount has this path".to_owned()));
        }
        self.check_kv(mounts, seen, found);
        self.check_sudo(mounts, found);
        self.check_list(found);
    }

    fn check_words(&self, found: &mut Vec<Finding>) {
        for (word, line) in &self.words {
            if Capabilities::named(word).is_none() {
                let mut finding = self.finding(Level::Error, "unknown-capability", format!("there is no capability {word:?}"));
                finding.line = *line;
                finding.suggestion = closest(word, &CAPABILITIES);
                found.push(finding);
            }
        }
        if let Some((word, line)) = &self.legacy {
            let known = Capabilities::legacy(word);
            let (level, rule, message) = match known {
                None => (Level::Error, "unknown-capability", format!("there is no old-style policy {word:?}")),
                Some(_) => (Level::Hint, "old-style", "the old notation never allows patch; write capabilities".to_owned()),
            };
            let mut finding = self.finding(level, rule, message);
            finding.line = *line;
            if let Some(known) = known {
                finding.suggestion = format!("capabilities = {:?}", known.names());
            }
            found.push(finding);
        }
        if self.denies() && self.words.len() > 1 {
            let text = "deny wins: the other capabilities of the stanza count for nothing".to_owned();
            found.push(self.finding(Level::Warning, "deny-mixed", text));
        }
        if self.legacy.is_none() && (!self.listed || self.words.is_empty()) {
            let text = "a stanza without capabilities allows nothing, and hides wider ones like a deny".to_owned();
            found.push(self.finding(Level::Warning, "no-capabilities", text));
        }
        if self.words.len() == 1 && self.has("sudo") {
            let text = "sudo allows nothing by itself: add what the operation needs".to_owned();
            found.push(self.finding(Level::Warning, "sudo-alone", text));
        }
    }

    fn check_path(&self, found: &mut Vec<Finding>) {
        let path = self.relative();
        if self.path.starts_with('/') {
            let mut finding = self.finding(Level::Hint, "leading-slash", "the slash at the start is dropped".to_owned());
            finding.suggestion = path.to_owned();
            found.push(finding);
        }
        if path.starts_with("v1/") {
            let mut finding = self.finding(Level::Warning, "api-prefix", "policy paths do not start with v1/".to_owned());
            finding.suggestion = path.strip_prefix("v1/").unwrap_or(path).to_owned();
            found.push(finding);
        }
        if path.strip_suffix('*').unwrap_or(path).contains('*') && !self.path.contains("+*") {
            let text = "a * that is not at the very end is an ordinary character; for one segment write +".to_owned();
            let mut finding = self.finding(Level::Warning, "glob-in-the-middle", text);
            if path.split('/').rev().skip(1).any(|s| s == "*") {
                finding.suggestion = segments(path, |s, last| if s == "*" && !last { "+" } else { s });
            }
            found.push(finding);
        }
        if path.split('/').any(|s| s != "+" && s.contains('+') && !s.contains("+*")) {
            let text = "a + is a wildcard only as a whole segment; here it is an ordinary character".to_owned();
            found.push(self.finding(Level::Warning, "plus-in-a-segment", text));
        }
        if path.split('/').any(|s| s == "." || s == "..") {
            let text = "requests with . or .. segments are refused, so this never matches".to_owned();
            found.push(self.finding(Level::Warning, "unreachable", text));
        }
    }

    fn check_kv(&self, mounts: &Mounts, seen: &[String], found: &mut Vec<Finding>) {
        let path = self.relative();
        let (mount, sure) = match mounts.of(path) {
            Some((mount, "kv-v2")) => (mount, true),
            Some(_) => return,
            None => match seen.iter().find(|m| path.starts_with(m.as_str())) {
                Some(mount) => (mount.as_str(), false),
                None => return,
            },
        };
        let Some(rest) = path.strip_prefix(mount) else { return };
        let (head, below) = rest.split_once('/').unwrap_or((rest, ""));
        let open = head.strip_suffix('*');
        if head.is_empty()
            || head == "+"
            || head.contains("{{")
            || open.is_some_and(|o| KV_V2_HEADS.iter().any(|h| h.starts_with(o)))
        {
            return;
        }
        if KV_V2_HEADS.contains(&head) {
            if head == "data" && self.has("list") {
                let text = format!("{mount} is KV version 2: names are listed at metadata/, not at data/");
                let mut finding = self.finding(Level::Warning, "kv-v2-list", text);
                finding.suggestion = format!("{mount}metadata/{below}");
                found.push(finding);
            }
            return;
        }
        let lists_only = self.has("list") && self.words.len() == 1;
        let why = if sure { "is" } else { "is used elsewhere in this policy as" };
        let text = format!("{mount} {why} KV version 2, whose secrets are at data/ and whose lists are at metadata/");
        let mut finding = self.finding(Level::Warning, "kv-v2-path", text);
        finding.suggestion = format!("{mount}{}/{rest}", if lists_only { "metadata" } else { "data" });
        found.push(finding);
    }

    fn check_sudo(&self, mounts: &Mounts, found: &mut Vec<Finding>) {
        let capabilities = self.capabilities();
        if capabilities.is_deny() || capabilities == Capabilities::NONE || capabilities.any_of(Capabilities::SUDO) {
            return;
        }
        let path = self.relative();
        let place = match (path.strip_prefix("sys/"), path.strip_prefix("auth/token/")) {
            (Some(rest), _) => Some(("system", rest)),
            (_, Some(rest)) => Some(("token", rest)),
            _ => mounts.of(path).and_then(|(mount, kind)| Some((kind, path.strip_prefix(mount)?))),
        };
        if place.is_some_and(|(kind, rest)| needs_sudo(kind, rest, api_types::Operation::Update)) {
            let text = "the path needs the sudo capability besides the others".to_owned();
            found.push(self.finding(Level::Warning, "sudo-missing", text));
        }
    }

    fn check_list(&self, found: &mut Vec<Finding>) {
        let path = self.relative();
        if self.words.len() == 1 && self.has("list") && !path.ends_with(['/', '*']) && !path.is_empty() {
            let text = "lists are asked for with a closing slash; this matches too, but only lists of this one folder".to_owned();
            let mut finding = self.finding(Level::Hint, "list-without-slash", text);
            finding.suggestion = format!("{path}/");
            found.push(finding);
        }
    }

    /// The literal beginning.
    fn head(&self) -> &str {
        let path = self.relative();
        let end = path.find("{{").into_iter().chain(path.find("/+").map(|n| n + 1)).chain(path.find('*')).min();
        let end = if path == "+" || path.starts_with("+/") { Some(0) } else { end };
        path.get(..end.unwrap_or(path.len())).unwrap_or(path)
    }
}

/// A path with each segment changed; the second argument says whether it is the last one.
fn segments<'a>(path: &'a str, change: impl Fn(&'a str, bool) -> &'a str) -> String {
    let last = path.split('/').count().saturating_sub(1);
    path.split('/').enumerate().map(|(i, s)| change(s, i == last)).collect::<Vec<_>>().join("/")
}
