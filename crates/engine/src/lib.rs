//! The contract of everything that can be mounted: secrets engines and auth methods, their requests and answers, and the
//! path table from which routing, validation, help and OpenAPI all come.
//!
//! Deliberately absent: policy decisions, storage layout, HTTP. An engine is called with a `&Permit` or not at all.

mod call;
mod error;
mod fields;
mod mount;
mod request;
mod response;
mod stream;
mod table;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token_params;

pub use call::{Call, Caller, System};
pub use error::EngineError;
pub use fields::{Field, FieldKind, Fields};
pub use mount::{Mount, TokenType};
pub use request::{Connection, Request, WrapRequest};
pub use response::{Alias, Auth, Data, Kind, LeasedSecret, Response};
pub use stream::{Pieces, Stream};
pub use table::{Backend, BoxFuture, Engine, Handler, Method, Outcome, PathTable, Route};
