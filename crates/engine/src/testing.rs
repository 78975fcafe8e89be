//! Calls an engine in unit tests, over a map in memory and without a permit. Compiled only with the `testing` feature.

use api_types::{Map, Operation};
use secret::{SeededEntropy, Time};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use storage::{MemoryTransaction, View};

use crate::table::serve;
use crate::{Auth, Call, Caller, Engine, EngineError, Fields, Mount, Outcome, Request, Response, System};

/// An engine with everything around it that a call needs; change the public fields to set a scene.
pub struct Harness<E> {
    /// The engine.
    pub engine: E,
    /// The mount; 768 h TTLs, path `test/`.
    pub mount: Mount,
    /// Who asks; root.
    pub caller: Caller,
    /// The time of the next call.
    pub now: Time,
    /// The storage, all of it visible to the engine.
    pub txn: MemoryTransaction,
    /// Deterministic randomness.
    pub entropy: SeededEntropy,
    /// Mounts that `System::mount_by_accessor` finds.
    pub mounts: Vec<Arc<Mount>>,
}

impl<E: Engine> Harness<E> {
    /// A scene with `engine` mounted at `test/`.
    pub fn new(engine: E) -> Self {
        let month = Duration::from_secs(768 * 3600);
        Self {
            engine,
            mount: Mount {
                path: "test/".into(),
                mount_type: E::TYPE.into(),
                accessor: format!("{}_00000000", E::TYPE),
                uuid: "00000000-0000-4000-8000-000000000000".into(),
                default_lease_ttl: month,
                max_lease_ttl: month,
                ..Mount::default()
            },
            caller: Caller { policies: vec!["root".into()], is_root: true, sudo: true, ..Caller::default() },
            now: Time::from_unix(1_800_000_000),
            txn: MemoryTransaction::default(),
            entropy: SeededEntropy::new(1),
            mounts: Vec::new(),
        }
    }

    /// Calls with a JSON object (anything else counts as no data). `Update` becomes `Create` as the core would do it.
    pub async fn call(&mut self, operation: Operation, path: &str, data: Value) -> Outcome {
        let mut request = Request::new(operation, format!("{}{path}", self.mount.path));
        request.data = match data {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        self.send(request, path).await
    }

    /// Calls with a whole request, for headers, tokens and addresses.
    pub async fn send(&mut self, request: Request, path: &str) -> Outcome {
        let system = Mounts(self.mounts.clone());
        let mut call = Call {
            operation: request.operation,
            request: &request,
            path,
            fields: Fields::default(),
            view: View::new(&mut self.txn, ""),
            mount: &self.mount,
            caller: &self.caller,
            now: self.now,
            entropy: &self.entropy,
            system: &system,
        };
        if call.operation == Operation::Update && crate::Backend::exists(&self.engine, &mut call)? == Some(false) {
            call.operation = Operation::Create;
        }
        serve(&self.engine, &mut call).await
    }

    /// Renews a login, as the core does for `auth/token/renew-self`.
    pub fn renew(&mut self, auth: &mut Auth) -> Result<(), EngineError> {
        self.renew_by(&Request::new(Operation::Update, "auth/token/renew-self"), auth)
    }

    /// Renews a login by a whole request, for addresses and certificates.
    pub fn renew_by(&mut self, request: &Request, auth: &mut Auth) -> Result<(), EngineError> {
        let system = Mounts(self.mounts.clone());
        let mut call = Call {
            operation: Operation::Update,
            request,
            path: "",
            fields: Fields::default(),
            view: View::new(&mut self.txn, ""),
            mount: &self.mount,
            caller: &self.caller,
            now: self.now,
            entropy: &self.entropy,
            system: &system,
        };
        self.engine.renew_login(&mut call, auth)
    }

    /// Calls and takes `data` of the answer.
    pub async fn data(&mut self, operation: Operation, path: &str, data: Value) -> Result<Map, EngineError> {
        Ok(self.call(operation, path, data).await?.and_then(|r: Response| r.data).map(|d| d.to_map()).unwrap_or_default())
    }

    /// Calls and takes the error text; an answer is reported as text too, so that the assertion shows it.
    pub async fn error(&mut self, operation: Operation, path: &str, data: Value) -> String {
        match self.call(operation, path, data).await {
            Ok(answer) => format!("no error but {answer:?}"),
            Err(e) => e.to_string(),
        }
    }
}

struct Mounts(Vec<Arc<Mount>>);

impl System for Mounts {
    fn mount_by_accessor(&self, accessor: &str) -> Option<Arc<Mount>> {
        self.0.iter().find(|m| m.accessor == accessor).cloned()
    }
}
