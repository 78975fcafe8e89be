//! An engine that hands out leases and can be told to refuse to take them back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use api_types::{Map, Operation};
use engine::{BoxFuture, Call, Engine, EngineError, LeasedSecret, Outcome, PathTable, Response, Route};
use serde_json::json;

#[derive(Default)]
pub struct Wishes {
    /// Revocations fail.
    pub broken: AtomicBool,
    /// Revocations that succeeded.
    pub revoked: AtomicUsize,
}

pub struct Lessor {
    table: PathTable<Self>,
    wishes: Arc<Wishes>,
}

impl Lessor {
    pub fn new(wishes: Arc<Wishes>) -> Self {
        let routes = vec![
            Route::new("creds/{name}", &[], "").on(Operation::Read, "", |_, _| Ok(Some(leased(true)))),
            Route::new("headers", &[], "")
                .on(Operation::Read, "", |_, call| Ok(Some(Response::json(json!(call.request.headers))))),
            Route::new("fixed/{name}", &[], "").on(Operation::Read, "", |_, _| Ok(Some(leased(false)))),
        ];
        Self { table: PathTable::new("", routes), wishes }
    }
}

fn leased(renewable: bool) -> Response {
    let secret = LeasedSecret {
        ttl: Duration::from_secs(3600),
        max_ttl: Duration::from_secs(3 * 3600),
        renewable,
        register: true,
        ..LeasedSecret::default()
    };
    Response { secret: Some(Box::new(secret)), ..Response::json(json!({ "user": "u" })) }
}

impl Engine for Lessor {
    const TYPE: &'static str = "lessor";

    fn table(&self) -> &PathTable<Self> {
        &self.table
    }

    fn renew_secret<'a>(&'a self, _: &'a mut Call<'_>, _: &'a Map) -> BoxFuture<'a, Outcome> {
        let broken = self.wishes.broken.load(Ordering::SeqCst);
        Box::pin(async move { if broken { Err(EngineError::internal("backend is away")) } else { Ok(None) } })
    }

    fn revoke_secret<'a>(&'a self, _: &'a mut Call<'_>, _: &'a Map) -> BoxFuture<'a, Result<(), EngineError>> {
        Box::pin(async move {
            if self.wishes.broken.load(Ordering::SeqCst) {
                return Err(EngineError::internal("backend is away"));
            }
            self.wishes.revoked.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}
