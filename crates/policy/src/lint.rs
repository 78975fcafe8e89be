//! What a policy's author probably did not mean. Works on text that does not parse, too, and says so with the line.
//!
//! Three levels: an error is refused by the server, a warning is a stanza that does not do what it says, a hint is a habit that
//! bites later. Deliberately absent: any change to the text, and any effect on the evaluator.

use std::fmt;

use hcl1::{Block, Object};

use crate::document::Policy;
use crate::lint_stanza::Stanza;
use crate::pattern::Pattern;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Works, but bites later.
    Hint,
    /// A stanza that does not do what it says.
    Warning,
    /// The server refuses the policy.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hint => "hint",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The line of the text, from 1.
    pub line: usize,
    /// A short fixed name: `kv-v2-path`, `unknown-capability`, …
    pub rule: &'static str,
    /// The stanza's path as written; empty for a remark about the document.
    pub path: String,
    /// The remark.
    pub message: String,
    /// The path or word that was probably meant; empty if there is none.
    pub suggestion: String,
}

/// The mounts that a policy is checked against.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    known: Vec<(String, String)>,
    complete: bool,
}

impl Mounts {
    /// No table: only what the document itself shows.
    #[must_use]
    pub fn unknown() -> Self {
        Self::default()
    }

    /// A table of (path, type); a path ends in `/`, an auth method's starts with `auth/`, and KV version 2 is of type `kv-v2`.
    /// `complete` if a path that is not below any of them leads nowhere.
    #[must_use]
    pub fn new(known: Vec<(String, String)>, complete: bool) -> Self {
        Self { known, complete }
    }

    /// The mount of a path: its path and type.
    pub(crate) fn of(&self, path: &str) -> Option<(&str, &str)> {
        let longest =
            self.known.iter().filter(|(mount, _)| path.starts_with(mount.as_str())).max_by_key(|(mount, _)| mount.len());
        longest.map(|(mount, kind)| (mount.as_str(), kind.as_str()))
    }

    /// Whether a path surely leads nowhere: no mount is above it, and none can be below its literal beginning.
    pub(crate) fn misses(&self, head: &str) -> bool {
        self.complete
            && self.of(head).is_none()
            && !self.known.iter().any(|(m, _)| m.starts_with(head) || m.trim_end_matches('/') == head)
    }
}

/// Pairs of stanzas are compared up to this many stanzas; nobody writes more by hand, and the work grows with the square.
const COMPARED_STANZAS_MAX: usize = 1000;

/// All remarks on a policy's text, by line. An empty list means: parses, and says what it means as far as can be seen.
#[must_use]
pub fn lint(text: &str, mounts: &Mounts) -> Vec<Finding> {
    let relaxed = hcl1::Options { allow_duplicate_attributes: true };
    let document = match hcl1::parse_with(text, relaxed) {
        Ok(document) => document,
        Err(e) => return vec![whole(e.line, "syntax", e.message.clone())],
    };
    let blocks = match document.blocks("path", 1) {
        Ok(blocks) => blocks,
        Err(e) => return vec![whole(e.line, "syntax", e.to_string())],
    };
    let stanzas: Vec<Stanza> = blocks.iter().map(Stanza::read).collect();
    let mut found = keys(&document, &blocks);
    let seen = kv_v2_in(&stanzas);
    for stanza in &stanzas {
        stanza.check(mounts, &seen, &mut found);
    }
    if stanzas.len() <= COMPARED_STANZAS_MAX {
        compare(&stanzas, &mut found);
    }
    if stanzas.is_empty() && found.is_empty() {
        let message = "the policy has no stanza and allows nothing".to_owned();
        found.push(Finding { level: Level::Warning, ..whole(1, "empty", message) });
    }
    // What the parser refuses and no rule above has named.
    if !found.iter().any(|f| f.level == Level::Error)
        && let Err(e) = Policy::parse("", text)
    {
        let message = e.to_string();
        let message = message.strip_prefix("failed to parse policy: ").unwrap_or(&message).to_owned();
        found.push(whole(refused_line(&message), "syntax", message));
    }
    found.sort_by_key(|f| f.line);
    found
}

fn whole(line: usize, rule: &'static str, message: String) -> Finding {
    Finding { level: Level::Error, line, rule, path: String::new(), message, suggestion: String::new() }
}

/// The line in a refusal's text; 1 if it names none.
fn refused_line(message: &str) -> usize {
    let after = message.split_once("line ").map_or("", |(_, rest)| rest);
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(1)
}

/// Keys that policies do not have.
fn keys(document: &Object, blocks: &[Block<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for key in document.unknown_keys(&["path", "name"]) {
        let mut finding = whole(key.position.line, "unknown-key", format!("policies have no key {:?}", key.text));
        finding.suggestion = closest(&key.text, &["path", "name"]);
        found.push(finding);
    }
    for block in blocks {
        let path = block.labels.first().map_or("", |k| k.text.as_str());
        for key in block.body.unknown_keys(&crate::document::PATH_KEYS) {
            let mut finding = whole(key.position.line, "unknown-key", format!("a stanza has no key {:?}", key.text));
            finding.path = path.to_owned();
            finding.suggestion = closest(&key.text, &crate::document::PATH_KEYS);
            found.push(finding);
        }
    }
    found
}

/// Mounts that the document itself treats as KV version 2, by a path with `data/` or `metadata/`.
fn kv_v2_in(stanzas: &[Stanza]) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for stanza in stanzas {
        let path = stanza.relative();
        let head = ["/data/", "/metadata/"].iter().find_map(|middle| path.split_once(middle)).map(|(mount, _)| mount);
        if let Some(mount) = head.filter(|m| !m.contains(['/', '+', '*', '{'])).map(|m| format!("{m}/"))
            && !seen.contains(&mount)
        {
            seen.push(mount);
        }
    }
    seen
}

/// Remarks on two stanzas: one that never decides, and one that takes more away than it gives.
fn compare(stanzas: &[Stanza], found: &mut Vec<Finding>) {
    let patterns: Vec<Option<Pattern>> = stanzas.iter().map(Stanza::pattern).collect();
    for (stanza, pattern) in stanzas.iter().zip(&patterns) {
        let Some(pattern) = pattern else { continue };
        let others = || stanzas.iter().zip(&patterns).filter_map(|(s, p)| p.as_ref().map(|p| (s, p)));
        let better = others().find(|(_, p)| match (p, pattern) {
            (Pattern::Wild(a), Pattern::Wild(b)) => a != b && a.priority(b).is_gt() && a.covers(b),
            _ => false,
        });
        if let Some((other, _)) = better {
            let reason = format!("never decides: {:?} (line {}) matches all of it and goes first", other.path, other.line);
            found.push(stanza.finding(Level::Warning, "unreachable", reason));
            continue;
        }
        let denied = others().find(|(s, p)| s.line != stanza.line && *p == pattern && s.denies() && !stanza.denies());
        if let Some((other, _)) = denied {
            let reason = format!("allows nothing: line {} denies the same path, and a deny wins", other.line);
            found.push(stanza.finding(Level::Warning, "unreachable", reason));
            continue;
        }
        if let Pattern::Exact(path) = pattern {
            narrower(stanza, path, &mut others(), found);
        }
    }
}

/// An exact stanza stands alone: what a pattern allows there does not add up.
fn narrower<'a>(
    stanza: &Stanza,
    path: &str,
    others: &mut dyn Iterator<Item = (&'a Stanza, &'a Pattern)>,
    found: &mut Vec<Finding>,
) {
    if stanza.denies() {
        return;
    }
    let wild = others.filter_map(|(s, p)| match p {
        Pattern::Wild(w) if w.matches(path) => Some((s, w)),
        _ => None,
    });
    let Some((wider, _)) = wild.max_by(|(_, a), (_, b)| a.priority(b)) else { return };
    let lost: Vec<&str> = wider.words().filter(|c| !stanza.words().any(|own| own == *c)).collect();
    if !wider.denies() && !lost.is_empty() {
        let text = format!(
            "stands alone here: what {:?} (line {}) allows does not add up; missing: {}",
            wider.path,
            wider.line,
            lost.join(", ")
        );
        found.push(stanza.finding(Level::Hint, "not-added-up", text));
    }
}

/// The word of `known` that a mistyped one is closest to, if it is close.
pub(crate) fn closest(word: &str, known: &[&str]) -> String {
    let word = word.to_lowercase();
    let best = known.iter().map(|k| (distance(&word, k), *k)).min();
    best.filter(|(d, k)| *d <= 2 && *d < k.len()).map(|(_, k)| k.to_owned()).unwrap_or_default()
}

/// How many letters must be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, d) in b.iter().enumerate() {
            let (left, above, corner) = (next.last().copied(), row.get(j + 1).copied(), row.get(j).copied());
            let changed = corner.unwrap_or(usize::MAX - 1) + usize::from(c != *d);
            let best = left.into_iter().chain(above).map(|n| n + 1).chain([changed]).min();
            next.push(best.unwrap_or(changed));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
