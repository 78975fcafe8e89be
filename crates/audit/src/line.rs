//! One entry as one line: Vault's key names, empty fields left out, secrets hashed while they are written. Contract §7.5.
//!
//! `auth` and `request` are the same in both lines of a request, so they are written once and kept as the *head* until the
//! answer is recorded. Deliberately absent: where lines go.

mod json;
mod jsonx;
mod mask;

use secret::Time;

use self::json::{Object, array, strings};
use self::mask::Mask;
use crate::hash::{Digits, Hasher};
use crate::record::{
    AuditedHeader, AuthRecord, Payload, PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord, Shy,
    WrapRecord,
};

/// `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Jsonx,
}

/// How one device writes entries.
pub(crate) struct Style {
    pub(crate) format: Format,
    /// Put before each line.
    pub(crate) prefix: String,
    /// Write everything in plain.
    pub(crate) log_raw: bool,
    /// Hash accessors.
    pub(crate) hmac_accessor: bool,
    /// Write counts in place of listings.
    pub(crate) elide_list_responses: bool,
}

/// Why a request was refused, in words that the client is not told: what stood in the way, and the pattern of the rule that
/// decided. Never a value.
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) rule: Option<String>,
}

/// What writes a device's lines.
pub(crate) struct Scribe {
    pub(crate) style: Style,
    pub(crate) hasher: Hasher,
}

impl Scribe {
    /// The members `auth` and `request`, which both lines of a request share.
    pub(crate) fn head(&self, auth: Option<&AuthRecord<'_>>, request: &RequestFacts<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES_USUAL);
        self.shared(&mut Object::inside(&mut out), auth, request);
        out
    }

    fn shared(&self, members: &mut Object<'_>, auth: Option<&AuthRecord<'_>>, request: &RequestFacts<'_>) {
        if let Some(auth) = auth {
            self.auth(members.open("auth"), auth);
        }
        self.asked(members.open("request"), request, auth);
    }

    /// Appends both lines of a request that is recorded with its answer.
    pub(crate) fn pair(&self, record: &ResponseRecord<'_>, out: &mut Vec<u8>) {
        let asked = |entry: &mut Object<'_>| begin(entry, record.time, b"request");
        if self.style.format == Format::Jsonx {
            // Its lines are written over, so the head has to be kept apart.
            let head = self.head(record.auth.as_ref(), &record.request);
            self.line(out, |entry| {
                asked(entry);
                entry.members(&head);
            });
            return self.response(record, &head, None, out);
        }
        let mut head = 0..0;
        self.line(out, |entry| {
            asked(entry);
            head = entry.span(|members| self.shared(members, record.auth.as_ref(), &record.request));
        });
        self.line(out, |entry| self.answer(entry, record, None, |entry| entry.members_again(head)));
    }

    /// Appends the line of a request, newline included.
    pub(crate) fn request(&self, record: &RequestRecord<'_>, head: &[u8], refusal: Option<&Refusal>, out: &mut Vec<u8>) {
        self.line(out, |entry| {
            begin(entry, record.time, b"request");
            entry.members(head);
            entry.text("error", record.error.as_deref().unwrap_or_default());
            denial(entry, refusal);
        });
    }

    /// Appends the line of an answer, newline included.
    pub(crate) fn response(&self, record: &ResponseRecord<'_>, head: &[u8], refusal: Option<&Refusal>, out: &mut Vec<u8>) {
        self.line(out, |entry| self.answer(entry, record, refusal, |entry| entry.members(head)));
    }

    fn answer(
        &self,
        entry: &mut Object<'_>,
        record: &ResponseRecord<'_>,
        refusal: Option<&Refusal>,
        head: impl FnOnce(&mut Object<'_>),
    ) {
        begin(entry, record.time, b"response");
        head(entry);
        self.answered(entry.open("response"), &record.response, &record.request);
        entry.text("error", record.error.as_deref().unwrap_or_default());
        denial(entry, refusal);
    }

    fn line(&self, out: &mut Vec<u8>, write: impl FnOnce(&mut Object<'_>)) {
        out.extend_from_slice(self.style.prefix.as_bytes());
        let start = out.len();
        let mut entry = Object::begin(out);
        write(&mut entry);
        entry.end();
        if self.style.format == Format::Jsonx {
            let xml = jsonx::from_json(out.get(start..).unwrap_or_default());
            out.truncate(start);
            out.extend_from_slice(xml.as_bytes());
        }
        out.push(b'\n');
    }

    fn hasher(&self) -> Option<&Hasher> {
        (!self.style.log_raw).then_some(&self.hasher)
    }

    fn secret(&self, to: &mut Object<'_>, name: &str, secret: Shy<'_>, known: Option<&Digits>) {
        hashed(to, name, secret.expose(), self.hasher(), known);
    }

    fn accessor(&self, to: &mut Object<'_>, name: &str, text: &str, known: Option<&Digits>) {
        hashed(to, name, text, self.hasher().filter(|_| self.style.hmac_accessor), known);
    }

    fn auth(&self, out: &mut Vec<u8>, a: &AuthRecord<'_>) {
        let known = a.kept.map(|kept| kept.hashes(&self.hasher, a.client_token.expose(), a.accessor));
        let mut to = Object::begin(out);
        self.accessor(&mut to, "accessor", a.accessor, known.as_deref().map(|k| &k.accessor));
        self.secret(&mut to, "client_token", a.client_token, known.as_deref().map(|k| &k.token));
        to.text("display_name", a.display_name);
        to.flag("entity_created", a.entity_created);
        to.text("entity_id", a.entity_id);
        to.texts("identity_policies", a.identity_policies);
        if let Some(metadata) = a.metadata.filter(|m| !m.is_empty()) {
            pairs(to.open("metadata"), metadata.iter(), |out, value| json::string(out, value));
        }
        to.flag("no_default_policy", a.no_default_policy);
        to.number("num_uses", a.num_uses);
        to.texts("policies", &a.policies);
        if let Some(results) = &a.policy_results {
            decision(to.open("policy_results"), results);
        }
        to.number("remaining_uses", a.remaining_uses);
        if let Some(time) = a.token_issue_time {
            to.time("token_issue_time", Time::from_unix(time.unix()));
        }
        to.texts("token_policies", a.token_policies);
        to.number("token_ttl", a.token_ttl_seconds);
        to.text("token_type", a.token_type);
        to.end();
    }

    fn asked(&self, out: &mut Vec<u8>, r: &RequestFacts<'_>, auth: Option<&AuthRecord<'_>>) {
        // The caller's token and accessor stand in `auth` as well.
        let same = |a: &&AuthRecord<'_>| a.client_token == r.client_token && a.accessor == r.client_token_accessor;
        let known = auth
            .filter(same)
            .and_then(|a| a.kept)
            .map(|kept| kept.hashes(&self.hasher, r.client_token.expose(), r.client_token_accessor));
        let mut to = Object::begin(out);
        to.text("client_certificate_serial_number", r.client_certificate_serial_number);
        to.text("client_id", r.client_id);
        self.secret(&mut to, "client_token", r.client_token, known.as_deref().map(|k| &k.token));
        self.accessor(&mut to, "client_token_accessor", r.client_token_accessor, known.as_deref().map(|k| &k.accessor));
        self.data(&mut to, r.data.as_ref(), r.plain_data_keys, false);
        if !r.headers.is_empty() {
            headers(to.open("headers"), &r.headers, self.hasher());
        }
        to.text("id", r.id);
        to.text("mount_accessor", r.mount_accessor);
        to.text("mount_class", r.mount_class);
        to.text("mount_point", r.mount_point);
        to.text("mount_running_version", &r.mount_running_version);
        to.text("mount_type", r.mount_type);
        // Everything lives in the root namespace.
        to.open("namespace").extend_from_slice(b"{\"id\":\"root\"}");
        to.plain("operation", r.operation.as_str().as_bytes());
        to.text("path", r.path);
        to.flag("policy_override", r.policy_override);
        if let Some(address) = r.remote_address {
            use std::io::Write;
            // Writing to memory does not fail.
            let _ = write!(to.open("remote_address"), "\"{address}\"");
        }
        to.number("remote_port", u64::from(r.remote_port));
        to.text("request_uri", r.request_uri);
        to.number("wrap_ttl", r.wrap_ttl.map_or(0, |d| d.as_secs()));
        to.end();
    }

    fn answered(&self, out: &mut Vec<u8>, r: &ResponseFacts<'_>, request: &RequestFacts<'_>) {
        let mut to = Object::begin(out);
        if let Some(auth) = &r.auth {
            self.auth(to.open("auth"), auth);
        }
        self.data(&mut to, r.data.as_ref(), r.plain_data_keys, r.is_list && self.style.elide_list_responses);
        if let Some(map) = r.headers.filter(|h| !h.is_empty()) {
            pairs(to.open("headers"), map.iter(), |out, values| strings(out, values));
        }
        to.text("mount_accessor", request.mount_accessor);
        to.text("mount_class", request.mount_class);
        to.text("mount_point", request.mount_point);
        to.text("mount_running_plugin_version", &request.mount_running_version);
        to.text("mount_type", request.mount_type);
        to.text("redirect", r.redirect);
        if !r.lease_id.is_empty() {
            let mut secret = Object::begin(to.open("secret"));
            secret.text("lease_id", r.lease_id);
            secret.end();
        }
        to.texts("warnings", r.warnings);
        if let Some(w) = &r.wrap_info {
            self.wrap(to.open("wrap_info"), w);
        }
        to.end();
    }

    fn wrap(&self, out: &mut Vec<u8>, w: &WrapRecord<'_>) {
        let mut to = Object::begin(out);
        self.accessor(&mut to, "accessor", w.accessor, None);
        to.text("creation_path", w.creation_path);
        to.time("creation_time", w.creation_time);
        self.secret(&mut to, "token", w.token, None);
        to.number("ttl", w.ttl.as_secs());
        self.accessor(&mut to, "wrapped_accessor", w.wrapped_accessor, None);
        to.end();
    }

    fn data(&self, to: &mut Object<'_>, payload: Option<&Payload<'_>>, plain: &[String], elide: bool) {
        let mask = Mask { hasher: self.hasher(), plain, elide };
        match payload {
            Some(Payload::Map(map)) if !map.is_empty() => mask.map(to.open("data"), map),
            Some(Payload::Raw(text)) if *text != "{}" => mask.raw(to.open("data"), text),
            _ => {}
        }
    }
}

/// `auth` and `request` of a usual request, so that the buffer seldom grows.
const HEAD_BYTES_USUAL: usize = 1536;

fn begin(entry: &mut Object<'_>, time: Time, kind: &[u8]) {
    entry.time("time", time);
    entry.plain("type", kind);
}

/// Not in Vault's lines: what the client is not told.
fn denial(entry: &mut Object<'_>, refusal: Option<&Refusal>) {
    let Some(refusal) = refusal else { return };
    let mut to = Object::begin(entry.open("denial"));
    to.text("reason", &refusal.reason);
    to.text("rule", refusal.rule.as_deref().unwrap_or_default());
    to.end();
}

fn hashed(to: &mut Object<'_>, name: &str, text: &str, hasher: Option<&Hasher>, known: Option<&Digits>) {
    match (hasher, known) {
        _ if text.is_empty() => {}
        (None, _) => to.text(name, text),
        (Some(_), Some(digits)) => to.plain(name, digits),
        (Some(hasher), None) => to.plain(name, &hasher.digits(text)),
    }
}

fn decision(out: &mut Vec<u8>, results: &PolicyResults<'_>) {
    let mut to = Object::begin(out);
    to.open("allowed").extend_from_slice(if results.allowed { b"true" } else { b"false" });
    if !results.granting.is_empty() {
        array(to.open("granting_policies"), &results.granting, |out, name| {
            let mut policy = Object::begin(out);
            policy.text("name", name);
            policy.plain("namespace_id", b"root");
            policy.plain("type", b"acl");
            policy.end();
        });
    }
    to.end();
}

fn headers(out: &mut Vec<u8>, headers: &[AuditedHeader<'_>], hasher: Option<&Hasher>) {
    pairs(out, headers.iter().map(|h| (h.name, h)), |out, header| {
        array(out, header.values, |out, value| match hasher.filter(|_| header.hmac) {
            Some(hasher) => {
                out.push(b'"');
                out.extend_from_slice(&hasher.digits(value));
                out.push(b'"');
            }
            None => json::string(out, value),
        });
    });
}

fn pairs<K: AsRef<str>, V>(out: &mut Vec<u8>, items: impl Iterator<Item = (K, V)>, mut write: impl FnMut(&mut Vec<u8>, V)) {
    out.push(b'{');
    for (i, (key, value)) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::string(out, key.as_ref());
        out.push(b':');
        write(out, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
