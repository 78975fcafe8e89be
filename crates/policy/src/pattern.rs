//! Path patterns: what they match, and which of two wins (contract §4.2).

use std::cmp::{Ordering, Reverse};

/// A pattern of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Matches itself.
    Exact(Box<str>),
    /// Has a wildcard.
    Wild(Wild),
}

/// `head` up to the first wildcard, then `+` segments and perhaps a closing `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wild {
    text: Box<str>,
    head: usize,
    /// Everything after the head, cut at `/`, the closing `*` taken off; starts with a `+`. Empty for a plain prefix rule.
    tail: Box<[Box<str>]>,
    prefix: bool,
}

/// Why one pattern goes before another (contract §4.2), strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// It has no wildcard.
    Exact,
    /// A list is looked up without its closing slash first.
    BareListFirst,
    /// A deny on a list's path with its slash is never skipped.
    DenyOnList,
    /// Its first wildcard comes later.
    LaterWildcard,
    /// It does not end in `*`.
    NoClosingStar,
    /// It has fewer `+` segments.
    FewerPlus,
    /// It is longer.
    Longer,
    /// It comes later in the alphabet.
    Alphabet,
}

impl std::fmt::Display for Precedence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Exact => "an exact path goes before every pattern",
            Self::BareListFirst => "a list is looked up without its closing slash first",
            Self::DenyOnList => "a deny on the list's path with its slash is never skipped",
            Self::LaterWildcard => "its first wildcard comes later",
            Self::NoClosingStar => "it does not end in \"*\"",
            Self::FewerPlus => "it has fewer \"+\" segments",
            Self::Longer => "it is longer",
            Self::Alphabet => "it comes later in the alphabet",
        })
    }
}

impl Pattern {
    /// Reads a pattern. `+` is a wildcard only as a whole segment, `*` only at the very end.
    pub(crate) fn new(text: &str) -> Self {
        let plus = first_plus(text);
        if plus.is_none() && !text.ends_with('*') {
            return Self::Exact(text.into());
        }
        let prefix = text.ends_with('*');
        let body = text.strip_suffix('*').unwrap_or(text);
        let head = plus.unwrap_or(body.len());
        let tail = plus.and_then(|at| body.get(at..)).map(|t| t.split('/').map(Box::from).collect()).unwrap_or_default();
        Self::Wild(Wild { text: text.into(), head, tail, prefix })
    }

    /// As written.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Exact(text) => text,
            Self::Wild(wild) => &wild.text,
        }
    }

    /// Whether it matches a path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => &**text == path,
            Self::Wild(wild) => wild.matches(path),
        }
    }

    /// How many wildcards of each kind it has; a template's value must not change that.
    pub(crate) fn shape(&self) -> (usize, bool) {
        match self {
            Self::Exact(_) => (0, false),
            Self::Wild(wild) => (wild.pluses(), wild.prefix),
        }
    }
}

impl Wild {
    /// What stands before the first wildcard.
    pub(crate) fn head(&self) -> &str {
        self.text.get(..self.head).unwrap_or("")
    }

    /// As written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has no `+`, only a closing `*`.
    pub(crate) fn is_plain_prefix(&self) -> bool {
        self.tail.is_empty()
    }

    /// The segments from the first wildcard on; the last one without the closing `*`.
    pub(crate) fn tail(&self) -> &[Box<str>] {
        &self.tail
    }

    /// Whether it ends in `*`.
    pub(crate) fn is_open(&self) -> bool {
        self.prefix
    }

    /// Whether it matches a path that is known to start with the head.
    pub(crate) fn matches_after_head(&self, path: &str) -> bool {
        let Some(rest) = path.get(self.head..) else { return false };
        let Some((last, before)) = self.tail.split_last() else { return true };
        let mut rest = rest;
        for part in before {
            let Some((segment, after)) = rest.split_once('/') else { return false };
            if !segment_matches(part, segment) {
                return false;
            }
            rest = after;
        }
        if self.prefix {
            // `+*` is refused when a policy is written, so the last part is literal.
            return rest.starts_with(&**last);
        }
        !rest.contains('/') && segment_matches(last, rest)
    }

    /// Whether it matches a path.
    pub(crate) fn matches(&self, path: &str) -> bool {
        path.starts_with(self.head()) && self.matches_after_head(path)
    }

    /// Whether it could match some path that starts with `base`.
    pub(crate) fn reaches(&self, base: &str) -> bool {
        let head = self.head();
        if head.starts_with(base) {
            return true;
        }
        let Some(mut rest) = base.strip_prefix(head) else { return false };
        for (i, part) in self.tail.iter().enumerate() {
            let open_end = self.prefix && i + 1 == self.tail.len();
            match rest.split_once('/') {
                Some((segment, after)) if segment_matches(part, segment) => rest = after,
                Some((segment, _)) => return open_end && segment.starts_with(&**part),
                None => return &**part == "+" || part.starts_with(rest) || (open_end && rest.starts_with(&**part)),
            }
        }
        self.prefix
    }

    fn pluses(&self) -> usize {
        self.tail.iter().filter(|s| &***s == "+").count()
    }

    /// Why it wins over `other`, a pattern of lower [`Wild::priority`]; the first point in which they differ.
    pub(crate) fn precedence(&self, other: &Self) -> Precedence {
        if self.head != other.head {
            Precedence::LaterWildcard
        } else if self.prefix != other.prefix {
            Precedence::NoClosingStar
        } else if self.pluses() != other.pluses() {
            Precedence::FewerPlus
        } else if self.text.len() != other.text.len() {
            Precedence::Longer
        } else {
            Precedence::Alphabet
        }
    }

    /// Whether everything that `other` matches is matched by this one too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let parts = |w: &Self| -> Vec<String> {
            let text = if w.prefix { w.text.strip_suffix('*').unwrap_or(&w.text) } else { &w.text };
            text.split('/').map(str::to_owned).collect()
        };
        let (mine, theirs) = (parts(self), parts(other));
        let one = |mine: &str, theirs: &str| mine == "+" || mine == theirs;
        if !self.prefix {
            return !other.prefix && mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(m, t)| one(m, t));
        }
        let Some((last, before)) = mine.split_last() else { return false };
        let Some((given, rest)) = theirs.split_at_checked(before.len()) else { return false };
        let Some(at) = rest.first() else { return false };
        // The last part of a pattern that ends in `*` is only a beginning; a `+` before it would have to be whole.
        let whole = given.iter().zip(before).all(|(t, m)| one(m, t));
        let starts = if at == "+" { last.is_empty() } else { at.starts_with(last.as_str()) };
        whole && starts
    }

    /// Greatest wins: later first wildcard, no closing `*`, fewer `+`, longer, lexicographically greater.
    pub(crate) fn priority(&self, other: &Self) -> Ordering {
        let key = |w: &Self| (w.head, !w.prefix, Reverse(w.pluses()), w.text.len());
        key(self).cmp(&key(other)).then_with(|| self.text.cmp(&other.text))
    }
}

fn segment_matches(part: &str, segment: &str) -> bool {
    part == "+" || part == segment
}

/// Where the first segment stands that is a `+` and nothing else.
fn first_plus(text: &str) -> Option<usize> {
    let mut at = 0;
    for segment in text.split('/') {
        if segment == "+" {
            return Some(at);
        }
        at += segment.len() + 1;
    }
    None
}
