//! Listings beyond one folder and beyond what a token may see: `SCAN`, and `filter=permitted`. Both work on what the engine lists, so every
//! engine has them.
//!
//! A scan is what listing folder after folder would show: it goes only into folders on which the token has `scan`, and what a
//! policy denies is not named. Bounds keep it from becoming a dump.

use std::collections::VecDeque;

use api_types::{Map, Operation};
use audit::Permit;
use barrier::Txn;
use engine::{Data, EngineError, Request, Response};
use policy::{Acl, Ask, DenialReason};
use serde_json::Value;

use crate::core::Core;
use crate::pipeline::{Scene, Served};

/// Names of one scan. A client that wants more scans folders below.
const SCAN_NAMES_MAX: usize = 10_000;
/// Folders below the first, one inside the other.
const SCAN_DEPTH_MAX: usize = 32;
/// Folders read by one scan.
const SCAN_FOLDERS_MAX: usize = 1_000;

impl Core {
    /// Names at any depth below the request's folder, relative to it, folder by folder.
    pub(crate) async fn scan(
        &self,
        scene: &Scene<'_>,
        txn: &mut Txn,
        permit: &Permit,
        served: &Served<'_>,
    ) -> Result<Option<Response>, EngineError> {
        let acl = served.known.map(|k| &*k.acl);
        let asked = scene.request.data.get("limit").and_then(whole).filter(|n| *n > 0).unwrap_or(SCAN_NAMES_MAX);
        let limit = asked.min(SCAN_NAMES_MAX);
        let (mut names, mut folders, mut read) = (Vec::new(), VecDeque::from([(String::new(), 0usize)]), 0usize);
        let mut is_whole = true;
        'folders: while let Some((folder, depth)) = folders.pop_front() {
            read += 1;
            if read > SCAN_FOLDERS_MAX {
                is_whole = false;
                break;
            }
            let listed = self.list_one(scene, txn, permit, served, &folder, limit - names.len() + 1).await?;
            for name in listed {
                let full = format!("{folder}{name}");
                let path = format!("{}{full}", scene.request.path);
                if name.ends_with('/') {
                    if acl.is_some_and(|acl| may(acl, Operation::Scan, &path)) {
                        is_whole &= depth < SCAN_DEPTH_MAX;
                        if depth < SCAN_DEPTH_MAX {
                            folders.push_back((full, depth + 1));
                        }
                    }
                } else if !acl.is_some_and(|acl| is_denied(acl, &path)) {
                    if names.len() >= limit {
                        is_whole = false;
                        break 'folders;
                    }
                    names.push(full);
                }
            }
        }
        let response = Response::list(names);
        Ok(Some(if is_whole {
            response
        } else {
            response.with_warning("The scan ended early: scan the folders below for the rest.")
        }))
    }

    /// One folder of a scan, by the engine's own listing.
    async fn list_one(
        &self,
        scene: &Scene<'_>,
        txn: &mut Txn,
        permit: &Permit,
        served: &Served<'_>,
        folder: &str,
        limit: usize,
    ) -> Result<Vec<String>, EngineError> {
        let mut request = Request { path: format!("{}{folder}", scene.request.path), ..scene.request.clone() };
        request.operation = Operation::List;
        request.data.insert("limit".into(), limit.to_string().into());
        request.data.remove("after");
        let rest = format!("{}{folder}", served.rest);
        let below = Served { operation: Operation::List, rest: &rest, ..*served };
        let inner = Scene {
            open: scene.open,
            request: &request,
            headers: scene.headers,
            router: std::sync::Arc::clone(&scene.router),
            now: scene.now,
        };
        let response = self.call_engine(&inner, txn, permit, &below, engine::Fields::default()).await?;
        Ok(response.map(|r| keys(&r)).unwrap_or_default())
    }
}

/// What `filter=permitted` leaves of a listing: names on which, or below which, the token may do something.
pub(crate) fn permitted(request: &Request, served: &Served<'_>, response: Response) -> Response {
    let Some(acl) = served.known.map(|k| &*k.acl).filter(|acl| !acl.is_root()) else { return response };
    if request.data.get("filter").and_then(Value::as_str) != Some("permitted") {
        return response;
    }
    let Some(Value::Array(listed)) = response.data.as_ref().map(Data::to_map).and_then(|mut m| m.remove("keys")) else {
        return response;
    };
    let last = listed.last().cloned();
    let was_page = request.data.get("limit").and_then(whole).is_some_and(|limit| listed.len() >= limit);
    let twin = twin(served);
    let seen = |name: &str| {
        let at = |folder: &str| {
            let path = format!("{folder}{name}");
            if name.ends_with('/') { acl.touches(&path) } else { acl.capabilities(&path) != ["deny"] }
        };
        at(&request.path) || twin.as_deref().is_some_and(at)
    };
    let kept: Vec<Value> = listed.into_iter().filter(|n| n.as_str().is_some_and(seen)).collect();
    let mut data = Map::new();
    if was_page {
        // The page may have lost its last name, and the next one begins after it all the same.
        data.insert("next_after".into(), last.unwrap_or_default());
    }
    data.insert("keys".into(), Value::Array(kept));
    Response { data: Some(data.into()), ..response }
}

/// Version 2 of KV lists names below `metadata/` that policies speak of below `data/`.
fn twin(served: &Served<'_>) -> Option<String> {
    let entry = &served.mounted.entry;
    let is_v2 = entry.mount_type == "kv" && entry.options.as_ref().and_then(|o| o.get("version")).is_some_and(|v| v == "2");
    let rest = served.rest.strip_prefix("metadata/").filter(|_| is_v2)?;
    Some(format!("{}data/{rest}", entry.full_path()))
}

fn keys(response: &Response) -> Vec<String> {
    match response.data.as_ref().map(Data::to_map).and_then(|mut m| m.remove("keys")) {
        Some(Value::Array(names)) => names.into_iter().filter_map(|n| n.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
        _ => None,
    }
}

fn may(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.decide(&Ask { operation, path, data: &Map::new(), wrap_ttl: None, needs_sudo: false }).is_ok()
}

/// Whether a policy says `deny` for the path.
fn is_denied(acl: &Acl, path: &str) -> bool {
    let ask = Ask { operation: Operation::Read, path, data: &Map::new(), wrap_ttl: None, needs_sudo: false };
    acl.decide(&ask).is_err_and(|d| d.reason == DenialReason::ExplicitDeny)
}
