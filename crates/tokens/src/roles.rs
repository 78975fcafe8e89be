//! Token roles: what tokens made through `auth/token/create/<role>` may be (contract §3.5).

use std::sync::Arc;
use std::time::Duration;

use api_types::Map;
use engine::{EngineError, TokenType};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::View;

use crate::names::shown_cidrs;

pub(crate) const FOLDER: &str = "sys/token/roles/";

/// What a role adds to a token's limits. Read anew at every renewal, so a change of the role reaches living tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleLimits {
    /// The role's name; empty if there is no role.
    pub name: String,
    /// Zero is none.
    pub period: Duration,
    /// Zero is none.
    pub explicit_max_ttl: Duration,
}

/// A role as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRole {
    /// Its name.
    pub name: String,
    /// Policies that may be asked for; all of them are given if none is asked for.
    pub allowed_policies: Vec<String>,
    /// Patterns of policies that may be asked for.
    pub allowed_policies_glob: Vec<String>,
    /// Policies that are refused.
    pub disallowed_policies: Vec<String>,
    /// Patterns of policies that are refused.
    pub disallowed_policies_glob: Vec<String>,
    /// Tokens are orphans.
    pub orphan: bool,
    /// Tokens may be renewed.
    pub renewable: bool,
    /// Last segment of the tokens' path.
    pub path_suffix: String,
    /// Names (or patterns) that `entity_alias` may have, in lower case.
    pub allowed_entity_aliases: Vec<String>,
    /// Kind of tokens.
    pub token_type: TokenType,
    /// Seconds; 0 is none.
    pub token_period: u64,
    /// Seconds; 0 is none.
    pub token_explicit_max_ttl: u64,
    /// Networks.
    pub token_bound_cidrs: Vec<String>,
    /// Without the `default` policy.
    pub token_no_default_policy: bool,
    /// Uses; 0 is any number.
    pub token_num_uses: u64,
    /// `period` was given by its old name and is shown under it too.
    pub old_period: bool,
    /// `explicit_max_ttl` was given by its old name and is shown under it too.
    pub old_explicit_max_ttl: bool,
    /// `bound_cidrs` was given by its old name and is shown under it too.
    pub old_bound_cidrs: bool,
}

impl Default for TokenRole {
    fn default() -> Self {
        Self {
            name: String::new(),
            allowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            allowed_entity_aliases: Vec::new(),
            token_type: TokenType::DefaultService,
            token_period: 0,
            token_explicit_max_ttl: 0,
            token_bound_cidrs: Vec::new(),
            token_no_default_policy: false,
            token_num_uses: 0,
            old_period: false,
            old_explicit_max_ttl: false,
            old_bound_cidrs: false,
        }
    }
}

impl TokenRole {
    /// The role with this name.
    pub fn load(view: &mut View<'_>, name: &str) -> Result<Option<Arc<Self>>, EngineError> {
        Ok(view.get_json::<Self>(&format!("{FOLDER}{name}"))?)
    }

    /// What it adds to a token's limits.
    #[must_use]
    pub fn limits(&self) -> RoleLimits {
        RoleLimits {
            name: self.name.clone(),
            period: Duration::from_secs(self.token_period),
            explicit_max_ttl: Duration::from_secs(self.token_explicit_max_ttl),
        }
    }

    /// Whether it has an opinion on policies at all.
    #[must_use]
    pub fn rules_policies(&self) -> bool {
        self.allows_listed_only() || !self.disallowed_policies.is_empty() || !self.disallowed_policies_glob.is_empty()
    }

    /// Whether only listed policies may be asked for.
    #[must_use]
    pub fn allows_listed_only(&self) -> bool {
        !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty()
    }

    /// The `data` of a read.
    #[must_use]
    pub fn show(&self) -> Map {
        let mut data = Map::new();
        let mut set = |name: &str, value: Value| {
            data.insert(name.to_owned(), value);
        };
        set("name", self.name.clone().into());
        set("orphan", self.orphan.into());
        set("path_suffix", self.path_suffix.clone().into());
        set("renewable", self.renewable.into());
        set("token_type", self.token_type.as_str().into());
        set("period", if self.old_period { self.token_period } else { 0 }.into());
        set("token_period", self.token_period.into());
        set("explicit_max_ttl", if self.old_explicit_max_ttl { self.token_explicit_max_ttl } else { 0 }.into());
        set("token_explicit_max_ttl", self.token_explicit_max_ttl.into());
        set("allowed_policies", self.allowed_policies.clone().into());
        set("allowed_policies_glob", self.allowed_policies_glob.clone().into());
        set("disallowed_policies", self.disallowed_policies.clone().into());
        set("disallowed_policies_glob", self.disallowed_policies_glob.clone().into());
        set("allowed_entity_aliases", self.allowed_entity_aliases.clone().into());
        set("token_no_default_policy", self.token_no_default_policy.into());
        if !self.token_bound_cidrs.is_empty() {
            set("token_bound_cidrs", shown_cidrs(&self.token_bound_cidrs).into());
            if self.old_bound_cidrs {
                set("bound_cidrs", shown_cidrs(&self.token_bound_cidrs).into());
            }
        }
        if self.token_num_uses > 0 {
            set("token_num_uses", self.token_num_uses.into());
        }
        data
    }
}
