//! From the pipeline's values to audit records. Plain values: hashing is the device's business.

use audit::{AuthRecord, PolicyResults, RequestFacts, RequestRecord, ResponseFacts, ResponseRecord, WrapRecord};
use engine::{Auth, Request, Response};
use policy::Grant;
use secret::Time;

use crate::answer::Answer;
use crate::decide::Known;
use crate::mounts::{Mounted, Table};
use crate::settings::AuditedHeaders;

/// What audit needs to know of a request, beside the request.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request,
    pub(crate) operation: api_types::Operation,
    pub(crate) mounted: Option<&'a Mounted>,
    pub(crate) known: Option<&'a Known>,
    pub(crate) now: Time,
    /// Request headers that audit lines show.
    pub(crate) audited: &'a AuditedHeaders,
}

impl Asked<'_> {
    pub(crate) fn request_record(&self, grant: Option<&Grant>, error: Option<String>) -> RequestRecord {
        RequestRecord { time: self.now, auth: self.auth(grant), request: self.facts(), error }
    }

    /// The record of an answer; without one (a device appeared just now) of the mere fact that there was one.
    pub(crate) fn response_record(&self, grant: &Grant, answer: Option<&Answer>) -> ResponseRecord {
        let (response, error) = match answer {
            None => (ResponseFacts::default(), None),
            Some(answer) => self.outcome(answer),
        };
        ResponseRecord { time: self.now, auth: self.auth(Some(grant)), request: self.facts(), response, error }
    }

    fn outcome(&self, answer: &Answer) -> (ResponseFacts, Option<String>) {
        match answer {
            Answer::Response { response, is_list, .. } => (self.response_facts(response, *is_list), None),
            Answer::Wrapped(wrap) => {
                let wrap_info = WrapRecord {
                    ttl: wrap.ttl,
                    token: wrap.token.clone(),
                    accessor: wrap.accessor.clone(),
                    creation_time: wrap.creation_time,
                    creation_path: wrap.creation_path.clone(),
                    wrapped_accessor: wrap.wrapped_accessor.clone(),
                };
                (ResponseFacts { wrap_info: Some(wrap_info), ..ResponseFacts::default() }, None)
            }
            Answer::Failure(f) => {
                let error = f.errors.first().cloned().or_else(|| Some(String::new()));
                (ResponseFacts { data: f.data.clone(), ..ResponseFacts::default() }, error.filter(|e| !e.is_empty()))
            }
        }
    }

    fn facts(&self) -> RequestFacts {
        let request = self.request;
        let mut facts = RequestFacts::new(request.id.clone(), self.operation, request.path.clone());
        if let Some(m) = self.mounted {
            facts.mount_point = m.entry.full_path();
            facts.mount_type = m.entry.mount_type.clone();
            facts.mount_class = if m.entry.table == Table::Auth { "auth" } else { "secret" }.to_owned();
            facts.mount_accessor = m.entry.accessor.clone();
            facts.mount_running_version = crate::sys::running_version(&m.entry.mount_type);
            facts.plain_data_keys = m.entry.config.audit_non_hmac_request_keys.clone().unwrap_or_default();
        }
        facts.client_token = request.token.clone();
        if let Some(known) = self.known {
            facts.client_token_accessor = known.caller.accessor.clone();
            facts.client_id = known.caller.client_id();
        }
        facts.data = (!request.data.is_empty()).then(|| request.data.clone());
        facts.remote_address = request.connection.remote_addr.map(|a| a.to_string()).unwrap_or_default();
        facts.remote_port = request.connection.remote_port;
        facts.request_uri = request.header(":uri").unwrap_or_default().to_owned();
        facts.wrap_ttl = request.wrap.as_ref().map(|w| w.ttl);
        for (name, hmac) in self.audited {
            if let Some(values) = request.headers.get(name) {
                facts.headers.insert(name.clone(), audit::AuditedHeader { values: values.clone(), hmac: *hmac });
            }
        }
        facts.policy_override = request.header(api_types::headers::POLICY_OVERRIDE).is_some_and(|v| v == "true");
        facts
    }

    fn auth(&self, grant: Option<&Grant>) -> Option<AuthRecord> {
        let known = self.known?;
        let entry = &known.found.entry;
        let policy_results = grant.map(|g| PolicyResults {
            allowed: true,
            granting: g.granting_policies().map(str::to_owned).collect(),
            reason: None,
        });
        Some(AuthRecord {
            client_token: self.request.token.clone(),
            accessor: known.caller.accessor.clone(),
            display_name: known.caller.display_name.clone(),
            policies: known.caller.policies.clone(),
            token_policies: known.caller.token_policies.clone(),
            identity_policies: known.caller.identity_policies.clone(),
            metadata: known.caller.metadata.clone(),
            num_uses: u64::try_from(entry.num_uses).unwrap_or(0),
            remaining_uses: u64::try_from(entry.num_uses.saturating_sub(1)).unwrap_or(0),
            entity_id: known.caller.entity_id.clone(),
            token_type: if entry.is_batch() { "batch" } else { "service" }.to_owned(),
            token_ttl_seconds: entry.ttl.as_secs(),
            token_issue_time: Some(entry.creation_time),
            policy_results,
            ..AuthRecord::default()
        })
    }

    fn response_facts(&self, response: &Response, is_list: bool) -> ResponseFacts {
        ResponseFacts {
            auth: response.auth.as_deref().map(new_auth),
            data: response.data.as_ref().map(engine::Data::to_map),
            warnings: response.warnings.clone(),
            lease_id: response.secret.as_ref().map(|s| s.lease_id.clone()).unwrap_or_default(),
            wrap_info: None,
            headers: response.headers.clone(),
            redirect: String::new(),
            plain_data_keys: self.mounted.and_then(|m| m.entry.config.audit_non_hmac_response_keys.clone()).unwrap_or_default(),
            is_list,
        }
    }
}

fn new_auth(auth: &Auth) -> AuthRecord {
    let mut policies: Vec<String> = auth.token_policies.iter().chain(&auth.identity_policies).cloned().collect();
    policies.sort_unstable();
    policies.dedup();
    AuthRecord {
        client_token: auth.client_token.clone(),
        accessor: auth.accessor.clone(),
        display_name: auth.display_name.clone(),
        policies,
        token_policies: auth.token_policies.clone(),
        identity_policies: auth.identity_policies.clone(),
        no_default_policy: auth.no_default_policy,
        metadata: auth.metadata.clone(),
        num_uses: auth.num_uses,
        entity_id: auth.entity_id.clone(),
        entity_created: auth.entity_created,
        token_type: if auth.token_type == engine::TokenType::Batch { "batch" } else { "service" }.to_owned(),
        token_ttl_seconds: auth.ttl.as_secs(),
        ..AuthRecord::default()
    }
}
