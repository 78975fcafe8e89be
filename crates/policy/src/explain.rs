//! Why a request is allowed or refused: the stanzas that match, the one that decides and why, and what would have to be granted.
//!
//! The decision is the evaluator's own ([`Acl::decide`]); only the story around it is told here. Deliberately absent: who may ask
//! for it, and values of parameters.

use std::sync::Arc;

use api_types::Operation;

use crate::acl::{Acl, Ask};
use crate::capability::Capabilities;
use crate::document::{Policy, Rule, RulePath};
use crate::grant::{Denial, DenialReason, Grant, GrantKind};
use crate::grant_text;
use crate::pattern::{Pattern, Precedence};
use crate::template::Identity;

/// The story of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// What [`Acl::decide`] says.
    pub decision: Result<Grant, Denial>,
    /// The pattern that decided, as written or as filled in for the caller; `None` if none matches, and for root.
    pub pattern: Option<String>,
    /// What all stanzas of that pattern allow together, sorted.
    pub capabilities: Vec<&'static str>,
    /// Why that pattern decided, in words.
    pub why: String,
    /// Every stanza that matches: those of the deciding pattern first, then by policy and line.
    pub stanzas: Vec<Stanza>,
    /// Stanzas with a template that the caller's identity cannot fill, so that they say nothing.
    pub unfilled: Vec<Stanza>,
    /// Policies of which no stanza matches, by name.
    pub silent: Vec<String>,
    /// HCL to add to a policy, so that this request, and no other one, is allowed as well. `None` if it is allowed, and if
    /// nothing that is added can help.
    pub grant: Option<String>,
    /// What stands in the way and what to do, in words; empty if allowed.
    pub advice: String,
}

/// A stanza of one policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Stanza {
    /// The policy's name.
    pub policy: String,
    /// The path as it stands in the policy.
    pub path: String,
    /// The line that it starts in, from 1.
    pub line: usize,
    /// What it alone allows, sorted; `["deny"]` for nothing.
    pub capabilities: Vec<&'static str>,
    /// Why another pattern goes before it; `None` if it is of the deciding pattern.
    pub beaten_by: Option<Precedence>,
}

/// A stanza that matches, and its pattern.
struct Candidate {
    pattern: Pattern,
    stanza: Stanza,
}

/// Tells the story of [`Acl::decide`] for a token with these policies (none of which is `root`).
#[must_use]
pub fn explain(policies: &[Arc<Policy>], identity: Option<&Identity>, ask: &Ask<'_>) -> Explanation {
    let acl = Acl::compile(policies, identity);
    let decision = acl.decide(ask);
    let list = ask.operation.is_listing();
    let found = acl.found(ask.path, list);
    let winner = found.map(|(text, ..)| Pattern::new(text));
    let (mut candidates, unfilled, silent) = gather(policies, identity, ask);
    if let Some(winner) = &winner {
        for candidate in &mut candidates {
            candidate.stanza.beaten_by = beaten(&acl, winner, &candidate.pattern, ask);
        }
    }
    // A stable sort: within a group they stay in the order of policies and lines.
    candidates.sort_by_key(|c| c.stanza.beaten_by.is_some());
    let (grant, advice) = match &decision {
        Ok(_) => (None, String::new()),
        Err(denial) => (missing(&acl, policies, identity, ask, denial), advise(ask, denial, &candidates)),
    };
    Explanation {
        why: why(winner.as_ref(), &candidates, ask),
        pattern: winner.map(|w| w.text().to_owned()),
        capabilities: found.map_or(Capabilities::NONE, |(_, c, _)| c).names(),
        stanzas: candidates.into_iter().map(|c| c.stanza).collect(),
        unfilled,
        silent,
        grant,
        advice,
        decision,
    }
}

impl Explanation {
    /// The story of a token with the `root` policy.
    #[must_use]
    pub fn of_root(ask: &Ask<'_>) -> Self {
        Self {
            decision: Acl::root().decide(ask),
            pattern: None,
            capabilities: vec!["root"],
            why: "the root policy allows everything".to_owned(),
            stanzas: Vec::new(),
            unfilled: Vec::new(),
            silent: Vec::new(),
            grant: None,
            advice: String::new(),
        }
    }

    /// Whether it is allowed.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.decision.is_ok()
    }
}

impl Denial {
    /// The reason in words; never the value of a parameter.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.reason {
            DenialReason::NoRule => "no stanza matches the path".to_owned(),
            DenialReason::MissingCapability => "the deciding stanza lacks the capability".to_owned(),
            DenialReason::ExplicitDeny => "the deciding stanza says deny".to_owned(),
            DenialReason::MissingSudo => "the path needs the sudo capability as well".to_owned(),
            DenialReason::Parameter(name) => format!("the parameter {name:?} is missing, denied or not among the allowed"),
            DenialReason::Wrapping => {
                "the stanza demands response wrapping within limits that the request does not keep".to_owned()
            }
            DenialReason::Token(why) => format!("the token is not valid here: {why}"),
        }
    }
}

/// The stanzas that match, those that cannot be filled in, and the policies that are silent.
fn gather(policies: &[Arc<Policy>], identity: Option<&Identity>, ask: &Ask<'_>) -> (Vec<Candidate>, Vec<Stanza>, Vec<String>) {
    let bare = bare(ask);
    let clean = !ask.path.split('/').any(|s| s == "." || s == "..");
    let (mut candidates, mut unfilled, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for policy in policies {
        let before = candidates.len();
        for rule in policy.rules() {
            let stanza = Stanza {
                policy: policy.name().to_owned(),
                path: rule.written.to_string(),
                line: rule.line,
                capabilities: rule.capabilities.names(),
                beaten_by: None,
            };
            match rule.path.pattern(identity) {
                None => unfilled.push(stanza),
                Some(pattern) if clean && (pattern.matches(ask.path) || bare.is_some_and(|b| pattern.matches(b))) => {
                    candidates.push(Candidate { pattern, stanza });
                }
                Some(_) => {}
            }
        }
        if candidates.len() == before {
            silent.push(policy.name().to_owned());
        }
    }
    (candidates, unfilled, silent)
}

/// The path of a list without its closing slash.
fn bare<'a>(ask: &Ask<'a>) -> Option<&'a str> {
    if ask.operation.is_listing() { ask.path.strip_suffix('/') } else { None }
}

/// Why `winner` goes before `loser`; `None` if they are the same.
fn beaten(acl: &Acl, winner: &Pattern, loser: &Pattern, ask: &Ask<'_>) -> Option<Precedence> {
    let (winning, losing) = match (winner, loser) {
        (a, b) if a == b => return None,
        (Pattern::Exact(_), Pattern::Wild(_)) => return Some(Precedence::Exact),
        (Pattern::Wild(a), Pattern::Wild(b)) => (a, b),
        // Of two exact ones the list's path as it is goes first; a pattern never goes before an exact path.
        (_, Pattern::Exact(_)) => return Some(Precedence::Exact),
    };
    let shared = [Some(ask.path), bare(ask)].into_iter().flatten().any(|p| winning.matches(p) && losing.matches(p));
    if shared && winning.priority(losing).is_gt() {
        return Some(winning.precedence(losing));
    }
    let denies = acl.found(ask.path, true).is_some_and(|(_, capabilities, _)| capabilities.is_deny());
    Some(if denies { Precedence::DenyOnList } else { Precedence::BareListFirst })
}

fn why(winner: Option<&Pattern>, candidates: &[Candidate], ask: &Ask<'_>) -> String {
    let Some(winner) = winner else { return "no stanza matches, and what nothing allows is denied".to_owned() };
    let together = candidates.iter().filter(|c| c.stanza.beaten_by.is_none()).count();
    let mut text = match candidates.iter().find_map(|c| c.stanza.beaten_by) {
        None => "the only pattern that matches".to_owned(),
        Some(_) if matches!(winner, Pattern::Exact(_)) && winner.text() == ask.path => Precedence::Exact.to_string(),
        Some(first) => {
            let mut reasons: Vec<String> = Vec::new();
            for loser in candidates.iter().filter(|c| c.stanza.beaten_by.is_some()) {
                let reason = format!("{}: before {:?}", loser.stanza.beaten_by.unwrap_or(first), loser.pattern.text());
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
            reasons.join("; ")
        }
    };
    if together > 1 {
        text.push_str("; stanzas for the same path add up, and one deny wins over all");
    }
    text
}

fn advise(ask: &Ask<'_>, denial: &Denial, candidates: &[Candidate]) -> String {
    let words = denial.words();
    if ask.operation == Operation::Header {
        return "no policy can allow HEAD requests".to_owned();
    }
    if Pattern::new(ask.path).shape() != (0, false) {
        return format!("{words}; the path reads as a pattern, so no stanza can name it alone");
    }
    let deciding = || candidates.iter().filter(|c| c.stanza.beaten_by.is_none());
    match &denial.reason {
        DenialReason::ExplicitDeny => {
            let places: Vec<String> = deciding()
                .filter(|c| c.stanza.capabilities == ["deny"])
                .map(|c| format!("policy {:?}, line {}", c.stanza.policy, c.stanza.line))
                .collect();
            format!("{words} ({}); a deny is meant: change it there if it was not", places.join("; "))
        }
        DenialReason::Parameter(_) | DenialReason::Wrapping => {
            format!("{words}; change the request or the conditions of the stanza, nothing that is added can lift them")
        }
        _ => words,
    }
}

/// The least text that allows the request, tried on the evaluator before it is offered.
fn missing(acl: &Acl, policies: &[Arc<Policy>], identity: Option<&Identity>, ask: &Ask<'_>, denial: &Denial) -> Option<String> {
    let mut needed = Capabilities::needed(ask.operation)?;
    if ask.needs_sudo {
        needed = needed.with(Capabilities::SUDO);
    }
    if !matches!(denial.reason, DenialReason::NoRule | DenialReason::MissingCapability | DenialReason::MissingSudo) {
        return None;
    }
    let text = grant_text::least(acl, ask.path, ask.operation.is_listing(), needed);
    let added = Policy::parse("added", &text).ok()?;
    let exact = |r: &Rule| matches!(r.path, RulePath::Fixed(Pattern::Exact(_)));
    if !added.rules().iter().all(exact) {
        return None;
    }
    let with: Vec<Arc<Policy>> = policies.iter().cloned().chain([Arc::new(added)]).collect();
    Acl::compile(&with, identity).decide(ask).is_ok().then_some(text)
}

impl Grant {
    /// How it came about, in words.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.kind() {
            GrantKind::Root => "the root policy allows everything",
            GrantKind::Open => "the path needs no token",
            GrantKind::Rule => "the deciding stanza has the capability",
        }
    }
}
