//! Where a leader takes the proposals of other nodes, each once: a question that is asked again after a lost connection
//! gets the answer of the first.
//!
//! That is exact within a term, because a motion is for one term only and this memory is as long as the term. Between
//! terms the proposer waits until the log shows that nothing of the old term can come any more (`together`).

use std::collections::{BTreeMap, HashMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::limits::{DESK_MOTIONS, DESK_ORIGINS};
use crate::types::Ticket;
use crate::wire::Outcome;

/// The motions taken in the present term.
#[derive(Default)]
pub(crate) struct Desk(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    term: u64,
    origins: HashMap<u64, Origin>,
    /// Longest unheard first.
    order: VecDeque<u64>,
}

#[derive(Default)]
struct Origin {
    /// Numbers below are forgotten, and not taken any more.
    floor: u64,
    motions: BTreeMap<u64, watch::Receiver<Option<Outcome>>>,
}

/// What to do about a motion.
pub(crate) enum Task {
    /// It is new: carry it out and tell the outcome.
    New(watch::Sender<Option<Outcome>>, watch::Receiver<Option<Outcome>>),
    /// It is being carried out, or was.
    Known(watch::Receiver<Option<Outcome>>),
    /// It may have been taken once, and nobody remembers.
    Forgotten,
}

impl Desk {
    /// Looks a motion for `term` up, and notes it if it is new.
    pub(crate) fn take(&self, term: u64, ticket: Ticket) -> Task {
        let mut taken = self.0.lock();
        if taken.term > term {
            return Task::Forgotten;
        }
        if taken.term < term {
            *taken = Taken { term, ..Taken::default() };
        }
        if !taken.origins.contains_key(&ticket.origin) {
            // A process that was silent while so many others came has no motion under way.
            if taken.order.len() >= DESK_ORIGINS
                && let Some(oldest) = taken.order.pop_front()
            {
                taken.origins.remove(&oldest);
            }
        }
        if taken.order.back() != Some(&ticket.origin) {
            taken.order.retain(|origin| *origin != ticket.origin);
            taken.order.push_back(ticket.origin);
        }
        let origin = taken.origins.entry(ticket.origin).or_default();
        if let Some(known) = origin.motions.get(&ticket.number) {
            return Task::Known(known.clone());
        }
        if ticket.number < origin.floor {
            return Task::Forgotten;
        }
        let (tell, outcome) = watch::channel(None);
        origin.motions.insert(ticket.number, outcome.clone());
        if origin.motions.len() > DESK_MOTIONS
            && let Some((oldest, _)) = origin.motions.pop_first()
        {
            origin.floor = oldest + 1;
        }
        Task::New(tell, outcome)
    }

    /// A motion that did not reach the log may be made again.
    pub(crate) fn give_back(&self, term: u64, ticket: Ticket) {
        let mut taken = self.0.lock();
        if taken.term == term
            && let Some(origin) = taken.origins.get_mut(&ticket.origin)
        {
            origin.motions.remove(&ticket.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Applied;

    fn ticket(origin: u64, number: u64) -> Ticket {
        Ticket { origin, number }
    }

    fn is_new(desk: &Desk, term: u64, ticket: Ticket) -> bool {
        matches!(desk.take(term, ticket), Task::New(..))
    }

    #[test]
    fn a_motion_is_taken_once_in_a_term_and_not_in_an_earlier_one() {
        let desk = Desk::default();
        let Task::New(tell, _) = desk.take(3, ticket(1, 5)) else { panic!("it is new") };
        assert!(matches!(desk.take(3, ticket(1, 5)), Task::Known(outcome) if outcome.borrow().is_none()));
        tell.send_replace(Some(Outcome::Applied(Applied { index: 9, committed: true })));
        assert!(matches!(desk.take(3, ticket(1, 5)), Task::Known(outcome) if outcome.borrow().is_some()));
        assert!(is_new(&desk, 3, ticket(1, 4)), "they may come in any order");
        assert!(is_new(&desk, 3, ticket(2, 5)), "another process counts for itself");
        assert!(is_new(&desk, 4, ticket(1, 5)), "the proposer knows that term 3 is over");
        assert!(matches!(desk.take(3, ticket(1, 6)), Task::Forgotten));
    }

    #[test]
    fn what_did_not_reach_the_log_may_come_again() {
        let desk = Desk::default();
        assert!(is_new(&desk, 3, ticket(1, 5)));
        desk.give_back(2, ticket(1, 5));
        assert!(!is_new(&desk, 3, ticket(1, 5)));
        desk.give_back(3, ticket(1, 5));
        assert!(is_new(&desk, 3, ticket(1, 5)));
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_not_taken_again() {
        let desk = Desk::default();
        for number in 0..=DESK_MOTIONS as u64 {
            assert!(is_new(&desk, 1, ticket(1, number)));
        }
        assert!(matches!(desk.take(1, ticket(1, 0)), Task::Forgotten));
        for origin in 2..=DESK_ORIGINS as u64 + 1 {
            assert!(is_new(&desk, 1, ticket(origin, 0)));
        }
        assert_eq!(desk.0.lock().origins.len(), DESK_ORIGINS);
    }
}
