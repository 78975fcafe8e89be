//! From the pipeline's values to audit records. Everything is borrowed, and nothing hashed: that is the device's business.

use std::borrow::Cow;
use std::collections::BTreeMap;

use audit::{
    AuditedHeader, AuthRecord, Payload, PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord, WrapRecord,
};
use engine::{Auth, Data, Request, Response};
use policy::Grant;
use secret::Time;

use crate::answer::Answer;
use crate::decide::Known;
use crate::mounts::{Mounted, Table};
use crate::settings::AuditedHeaders;

/// Headers by lower-case name.
pub(crate) type Headers = BTreeMap<String, Vec<String>>;

/// What audit needs to know of a request, beside the request.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request,
    /// All headers of the request; the engine saw fewer.
    pub(crate) headers: &'a Headers,
    pub(crate) operation: api_types::Operation,
    pub(crate) mounted: Option<&'a Mounted>,
    pub(crate) known: Option<&'a Known>,
    pub(crate) now: Time,
    /// Request headers that audit lines show.
    pub(crate) audited: &'a AuditedHeaders,
}

impl<'a> Asked<'a> {
    pub(crate) fn request_record<'r>(&self, grant: Option<&'r Grant>, error: Option<&'r str>) -> RequestRecord<'r>
    where
        'a: 'r,
    {
        RequestRecord { time: self.now, auth: self.auth(grant), request: self.facts(), error: error.map(Cow::Borrowed) }
    }

    /// The record of an answer.
    pub(crate) fn response_record<'r>(&self, grant: &'r Grant, answer: &'r Answer) -> ResponseRecord<'r>
    where
        'a: 'r,
    {
        let (response, error) = self.outcome(answer);
        ResponseRecord { time: self.now, auth: self.auth(Some(grant)), request: self.facts(), response, error }
    }

    fn outcome<'r>(&self, answer: &'r Answer) -> (ResponseFacts<'r>, Option<Cow<'r, str>>)
    where
        'a: 'r,
    {
        match answer {
            Answer::Response { response, is_list, .. } => (self.response_facts(response, *is_list), None),
            Answer::Wrapped(wrap) => {
                let wrap_info = WrapRecord {
                    ttl: wrap.ttl,
                    token: (&wrap.token).into(),
                    accessor: &wrap.accessor,
                    creation_time: wrap.creation_time,
                    creation_path: &wrap.creation_path,
                    wrapped_accessor: &wrap.wrapped_accessor,
                };
                (ResponseFacts { wrap_info: Some(wrap_info), ..ResponseFacts::default() }, None)
            }
            Answer::Failure(f) => {
                let error = f.errors.first().filter(|e| !e.is_empty()).map(|e| Cow::Borrowed(e.as_str()));
                (ResponseFacts { data: f.data.as_ref().map(Payload::from), ..ResponseFacts::default() }, error)
            }
        }
    }

    fn facts(&self) -> RequestFacts<'a> {
        let request = self.request;
        let mut facts = RequestFacts::new(&request.id, self.operation, &request.path);
        if let Some(m) = self.mounted {
            facts.mount_point = &m.facts.path;
            facts.mount_type = &m.entry.mount_type;
            facts.mount_class = if m.entry.table == Table::Auth { "auth" } else { "secret" };
            facts.mount_accessor = &m.entry.accessor;
            facts.mount_running_version = Cow::Borrowed(&m.running_version);
            facts.plain_data_keys = m.entry.config.audit_non_hmac_request_keys.as_deref().unwrap_or_default();
        }
        facts.client_token = (&request.token).into();
        if let Some(known) = self.known {
            facts.client_token_accessor = &known.caller.accessor;
            facts.client_id = known.client_id();
        }
        facts.data = (!request.data.is_empty()).then(|| Payload::from(&request.data));
        facts.remote_address = request.connection.remote_addr;
        facts.remote_port = request.connection.remote_port;
        let header = |name: &str| self.headers.get(name).and_then(|values| values.first()).map(String::as_str);
        facts.request_uri = header(":uri").unwrap_or_default();
        facts.wrap_ttl = request.wrap.as_ref().map(|w| w.ttl);
        for (name, hmac) in self.audited {
            if let Some(values) = self.headers.get(name) {
                facts.headers.push(AuditedHeader { name, values, hmac: *hmac });
            }
        }
        facts.policy_override = header(api_types::headers::POLICY_OVERRIDE) == Some("true");
        facts
    }

    fn auth<'r>(&self, grant: Option<&'r Grant>) -> Option<AuthRecord<'r>>
    where
        'a: 'r,
    {
        let known = self.known?;
        let (entry, caller) = (&known.found.entry, &*known.caller);
        let policy_results = grant.map(|g| PolicyResults { allowed: true, granting: g.granting_policies().collect() });
        Some(AuthRecord {
            client_token: (&self.request.token).into(),
            accessor: &caller.accessor,
            display_name: &caller.display_name,
            policies: Cow::Borrowed(&caller.policies),
            token_policies: &caller.token_policies,
            identity_policies: &caller.identity_policies,
            metadata: Some(&caller.metadata),
            num_uses: u64::try_from(entry.num_uses).unwrap_or(0),
            remaining_uses: u64::try_from(entry.num_uses.saturating_sub(1)).unwrap_or(0),
            entity_id: &caller.entity_id,
            token_type: if entry.is_batch() { "batch" } else { "service" },
            token_ttl_seconds: entry.ttl.as_secs(),
            token_issue_time: Some(entry.creation_time),
            policy_results,
            kept: Some(&known.told.hashes),
            ..AuthRecord::default()
        })
    }

    fn response_facts<'r>(&self, response: &'r Response, is_list: bool) -> ResponseFacts<'r>
    where
        'a: 'r,
    {
        ResponseFacts {
            auth: response.auth.as_deref().map(new_auth),
            data: response.data.as_ref().map(payload),
            warnings: &response.warnings,
            lease_id: response.secret.as_ref().map_or("", |s| s.lease_id.as_str()),
            wrap_info: None,
            headers: Some(&response.headers),
            redirect: "",
            plain_data_keys: self
                .mounted
                .and_then(|m| m.entry.config.audit_non_hmac_response_keys.as_deref())
                .unwrap_or_default(),
            is_list,
        }
    }
}

fn payload(data: &Data) -> Payload<'_> {
    match data {
        Data::Map(map) => Payload::from(map),
        Data::Raw(raw) => Payload::Raw(raw.get()),
    }
}

fn new_auth(auth: &Auth) -> AuthRecord<'_> {
    let mut policies: Vec<String> = auth.token_policies.iter().chain(&auth.identity_policies).cloned().collect();
    policies.sort_unstable();
    policies.dedup();
    AuthRecord {
        client_token: (&auth.client_token).into(),
        accessor: &auth.accessor,
        display_name: &auth.display_name,
        policies: Cow::Owned(policies),
        token_policies: &auth.token_policies,
        identity_policies: &auth.identity_policies,
        no_default_policy: auth.no_default_policy,
        metadata: Some(&auth.metadata),
        num_uses: auth.num_uses,
        entity_id: &auth.entity_id,
        entity_created: auth.entity_created,
        token_type: if auth.token_type == engine::TokenType::Batch { "batch" } else { "service" },
        token_ttl_seconds: auth.ttl.as_secs(),
        ..AuthRecord::default()
    }
}
