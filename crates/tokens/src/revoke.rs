//! Taking tokens away, with everything that hangs on them.
//!
//! A token that is being revoked is first moved to its end (`expire_time` = now): it is useless from then on and stands in the
//! due-time index, so an interrupted revocation is taken up again by whoever works through that index.

use engine::EngineError;
use secret::Time;
use storage::{Page, View};

use crate::due::{self, DueItem};
use crate::issue::children_path;
use crate::leases::{LeaseRecord, Leases, token_folder};
use crate::store::{id_path, stored};
use crate::{TokenEntry, TokenStore};

/// How far a revocation came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Keys of tokens below that are useless already but not yet removed. Go on with each in a transaction of its own, or leave
    /// them to the expiry worker, in whose index they stand.
    pub rest: Vec<String>,
    /// Leases of secrets that are due now; the core revokes them through their engines.
    pub leases: Vec<String>,
}

impl Revoked {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn done(&self) -> bool {
        self.rest.is_empty()
    }
}

impl TokenStore {
    /// Revokes a token and all below it, a parent before its children, branch by branch. At most about `limit` records are
    /// touched; an unknown key is already revoked.
    pub fn revoke_tree(&self, view: &mut View<'_>, key: &str, now: Time, limit: usize) -> Result<Revoked, EngineError> {
        let mut out = Revoked::default();
        let mut left = limit.max(2);
        // An explicit stack: a chain of ten thousand tokens must not be ten thousand calls deep. Whatever is on it has ended.
        let mut stack = Vec::new();
        if let Some(entry) = stored(view, key)? {
            end_now(view, key, &entry, now)?;
            stack.push(key.to_owned());
        }
        while let Some(key) = stack.pop() {
            if left == 0 || !take_away(view, &key, now, &mut left, &mut stack, &mut out)? {
                stack.push(key);
                break;
            }
        }
        out.rest = stack;
        Ok(out)
    }

    /// Revokes a token alone; its children live on as orphans.
    pub fn revoke_orphan(&self, view: &mut View<'_>, key: &str, now: Time, limit: usize) -> Result<Revoked, EngineError> {
        if let Some(entry) = stored(view, key)? {
            view.put_json(&id_path(key), &TokenEntry { spare_children: true, ..TokenEntry::clone(&entry) })?;
        }
        self.revoke_tree(view, key, now, limit)
    }

    /// What the expiry worker does with a token that is due: revokes it if its time is really over. A token that was renewed
    /// since the index was read has moved in the index already.
    pub fn expire(&self, view: &mut View<'_>, key: &str, now: Time, limit: usize) -> Result<Revoked, EngineError> {
        match stored(view, key)? {
            Some(entry) if !entry.is_live(now) => self.revoke_tree(view, key, now, limit),
            _ => Ok(Revoked::default()),
        }
    }
}

/// Takes one ended token away and puts its children, ended as well, on the stack. Answers whether `left` sufficed.
fn take_away(
    view: &mut View<'_>,
    key: &str,
    now: Time,
    left: &mut usize,
    stack: &mut Vec<String>,
    out: &mut Revoked,
) -> Result<bool, EngineError> {
    let Some(entry) = stored(view, key)? else { return Ok(true) };
    let folder = children_path(key);
    let page = Page { after: None, limit: Some(left.saturating_add(1)) };
    for child in view.list(&folder, &page)? {
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        view.delete(&format!("{folder}{child}"))?;
        let Some(found) = stored(view, &child)? else { continue };
        if entry.spare_children {
            let free = TokenEntry { parent: String::new(), orphan: true, ..TokenEntry::clone(&found) };
            view.put_json(&id_path(&child), &free)?;
        } else {
            end_now(view, &child, &found, now)?;
            stack.push(child);
        }
    }
    remove(view, key, &entry, now, left, out)
}

/// Moves a token to its end, unless it is there, and lets go of its parent, which is ending or has ended.
fn end_now(view: &mut View<'_>, key: &str, entry: &TokenEntry, now: Time) -> Result<(), EngineError> {
    let mut ended = entry.clone();
    if !entry.parent.is_empty() {
        view.delete(&format!("{}{key}", children_path(&entry.parent)))?;
        ended.parent.clear();
    }
    if entry.is_live(now) {
        let item = DueItem::Token(key.to_owned());
        if let Some(end) = entry.expire_time {
            due::forget(view, end, &item)?;
        }
        let end = due::this_second(now);
        due::note(view, end, &item)?;
        ended.expire_time = Some(end);
    }
    Ok(view.put_json(&id_path(key), &ended)?)
}

/// Removes a token without children; answers whether `left` sufficed.
fn remove(
    view: &mut View<'_>,
    key: &str,
    entry: &TokenEntry,
    now: Time,
    left: &mut usize,
    out: &mut Revoked,
) -> Result<bool, EngineError> {
    let folder = token_folder(key);
    for name in view.list(&folder, &Page { after: None, limit: Some(left.saturating_add(1)) })? {
        if *left == 0 {
            return Ok(false);
        }
        *left -= 1;
        view.delete(&format!("{folder}{name}"))?;
        if let Some(lease) = due::from_segment(&name)
            && Leases::make_due(view, &lease, now)?
        {
            out.leases.push(lease);
        }
    }
    if !entry.cubbyhole_id.is_empty() && !clear(view, &format!("cubbyhole/{}/", entry.cubbyhole_id), left)? {
        return Ok(false);
    }
    if let Some(end) = entry.expire_time {
        due::forget(view, end, &DueItem::Token(key.to_owned()))?;
    }
    if let Some(lease) = entry.lease_id() {
        LeaseRecord::delete(view, &lease)?;
    }
    view.delete(&id_path(key))?;
    *left = left.saturating_sub(1);
    Ok(true)
}

/// Deletes below `prefix` as far as `left` goes; answers whether all is gone.
fn clear(view: &mut View<'_>, prefix: &str, left: &mut usize) -> Result<bool, EngineError> {
    let mut folders = vec![prefix.to_owned()];
    while let Some(folder) = folders.pop() {
        for name in view.list(&folder, &Page::default())? {
            if name.ends_with('/') {
                folders.push(format!("{folder}{name}"));
            } else if *left == 0 {
                return Ok(false);
            } else {
                view.delete(&format!("{folder}{name}"))?;
                *left -= 1;
            }
        }
    }
    Ok(true)
}
