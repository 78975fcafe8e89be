//! Pages of listings. Names are sealed, so the store's order is not theirs: small folders are sorted, large ones are read in the
//! order of the store, from where the last page ended, so that a page costs the same in a folder of any size.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use envelope::SealedName;
use storage::{Page, PageNames, Space, TxnError};

use crate::transaction::paged;
use crate::{Barrier, Unsealed};

/// Names in a folder whose pages are sorted. Finding out that a folder has more costs reading so many keys, some 1 ms; sorting them
/// would cost opening each name.
pub(crate) const SORTED_COUNT_MAX: usize = 2048;

/// How many keys of one subfolder a listing walks over before it seeks past the folder instead.
const SKIP_COUNT_MAX: usize = 8;

impl Barrier<Unsealed> {
    /// A page of the names directly below `folder`, as applied.
    pub(crate) fn page(&self, folder: &str, page: &Page, limit: usize) -> Result<PageNames, TxnError> {
        let sealed = self.name(folder)?;
        if !self.is_large(&sealed)? {
            return Ok(PageNames { names: paged(self.listing(folder)?.names().iter(), page), sorted: true });
        }
        let from = match &page.after {
            None => sealed.as_bytes().to_vec(),
            Some(after) => self.names().child(&sealed, after).map_err(|_| TxnError::Name("name is too long"))?.after_subtree(),
        };
        Ok(PageNames { names: self.names_from(&sealed, from, limit)?, sorted: false })
    }

    /// The names of at most `limit` children of `folder`, from the stored name `from` on, in the order of the store.
    pub(crate) fn names_from(&self, folder: &SealedName, from: Vec<u8>, limit: usize) -> Result<Vec<String>, TxnError> {
        let mut names = Vec::new();
        let mut failed = None;
        self.children(folder, from, &mut |child| {
            if names.len() >= limit {
                return ControlFlow::Break(());
            }
            match self.names().first_child(folder, child) {
                Ok((name, _)) => {
                    names.push(name);
                    ControlFlow::Continue(())
                }
                Err(e) => {
                    failed = Some(e);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failed {
            Some(e) => Err(TxnError::Corrupt { what: "name".into(), detail: e.to_string() }),
            None => Ok(names),
        }
    }

    fn is_large(&self, folder: &Arc<SealedName>) -> Result<bool, TxnError> {
        // A listing in the cache is a current one.
        if let Some(known) = self.caches().listing(folder) {
            return Ok(known.names().len() > SORTED_COUNT_MAX);
        }
        let mut count = 0usize;
        self.children(folder, folder.as_bytes().to_vec(), &mut |_| {
            count += 1;
            if count > SORTED_COUNT_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(count > SORTED_COUNT_MAX)
    }

    /// Visits the stored name of each child of `folder` once, from `from` on, in the order of the store.
    fn children(
        &self,
        folder: &SealedName,
        mut from: Vec<u8>,
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), TxnError> {
        let end = folder.after_subtree();
        loop {
            let mut inside: Option<SealedName> = None;
            let mut skipped = 0usize;
            let mut over = false;
            self.store().scan(Space::State, Bound::Included(&from), Bound::Excluded(&end), &mut |key, _| {
                if inside.as_ref().is_some_and(|child| key.starts_with(child.as_bytes())) {
                    skipped += 1;
                    return if skipped > SKIP_COUNT_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
                }
                skipped = 0;
                // A key without a whole segment is damaged; reading it by name says so.
                let child = folder.child_in(key).unwrap_or(key);
                inside = SealedName::from_stored(child);
                let flow = visit(child);
                over = flow.is_break();
                flow
            })?;
            match inside {
                Some(child) if !over && skipped > SKIP_COUNT_MAX => from = child.after_subtree(),
                _ => return Ok(()),
            }
        }
    }
}
