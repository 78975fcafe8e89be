//! The checker of histories: tables by hand, and random histories against all orders tried one by one.

#![expect(clippy::indexing_slicing, reason = "a test")]

use proptest::prelude::*;
use sim::checker::{Act, Call, linearizable};

fn write(began: u64, ended: u64, value: u8) -> Call<u8> {
    Call { began, ended: Some(ended), act: Act::Write(Some(value)) }
}

fn read(began: u64, ended: u64, value: Option<u8>) -> Call<u8> {
    Call { began, ended: Some(ended), act: Act::Read(value) }
}

fn unknown(began: u64, value: u8) -> Call<u8> {
    Call { began, ended: None, act: Act::Write(Some(value)) }
}

#[test]
fn histories_with_an_order() {
    let good: &[&[Call<u8>]] = &[
        &[],
        &[read(1, 2, None)],
        &[write(1, 2, 1), read(3, 4, Some(1))],
        // At the same time: either way.
        &[write(1, 4, 1), read(2, 3, None)],
        &[write(1, 4, 1), read(2, 3, Some(1))],
        &[write(1, 5, 1), write(2, 6, 2), read(7, 8, Some(1))],
        &[write(1, 5, 1), write(2, 6, 2), read(7, 8, Some(2))],
        // An unknown write may happen late, or never.
        &[unknown(1, 1), read(2, 3, None), read(4, 5, Some(1))],
        &[unknown(1, 1), read(2, 3, None), read(4, 5, None)],
        &[write(1, 2, 1), Call { began: 3, ended: Some(4), act: Act::Write(None) }, read(5, 6, None)],
    ];
    for history in good {
        assert_eq!(linearizable(history), Ok(()), "{history:?}");
    }
}

#[test]
fn histories_without_an_order() {
    let bad: &[&[Call<u8>]] = &[
        &[read(1, 2, Some(1))],
        &[write(1, 2, 1), read(3, 4, None)],
        &[write(1, 2, 1), write(3, 4, 2), read(5, 6, Some(1))],
        // A read from before it was written.
        &[read(1, 2, Some(1)), write(3, 4, 1)],
        // Two readers that saw two writes in two orders.
        &[write(1, 9, 1), write(2, 10, 2), read(3, 4, Some(1)), read(5, 6, Some(2)), read(7, 8, Some(1))],
        // An unknown write that came and went.
        &[unknown(1, 1), read(2, 3, Some(1)), read(4, 5, None)],
        &[unknown(3, 1), read(1, 2, Some(1))],
        &[write(1, 2, 1), Call { began: 3, ended: Some(4), act: Act::Write(None) }, read(5, 6, Some(1))],
        &[write(1, 2, 1), unknown(3, 2), read(4, 5, Some(2)), read(6, 7, Some(1))],
    ];
    for history in bad {
        assert!(linearizable(history).is_err(), "{history:?}");
    }
}

/// All orders, one by one.
fn by_force(calls: &[Call<u8>], done: &mut Vec<usize>, register: Option<u8>) -> bool {
    let open: Vec<usize> = (0..calls.len()).filter(|i| !done.contains(i)).collect();
    if open.iter().all(|i| calls[*i].ended.is_none()) {
        return true;
    }
    for i in &open {
        let may_be_next = open.iter().all(|j| calls[*j].ended.is_none_or(|ended| ended > calls[*i].began));
        let after = match &calls[*i].act {
            Act::Read(value) if *value == register => register,
            Act::Read(_) => continue,
            Act::Write(value) => *value,
        };
        if may_be_next {
            done.push(*i);
            if by_force(calls, done, after) {
                return true;
            }
            done.pop();
        }
    }
    false
}

fn history() -> impl Strategy<Value = Vec<Call<u8>>> {
    let call = (any::<u16>(), any::<u16>(), 0..6_u8, proptest::option::of(0..3_u8));
    proptest::collection::vec(call, 0..7).prop_map(|calls| {
        let mut moments: Vec<(u16, usize, bool)> = Vec::new();
        for (n, (a, b, ..)) in calls.iter().enumerate() {
            moments.push((*a.min(b), n, true));
            moments.push((*a.max(b), n, false));
        }
        moments.sort();
        let at = |n: usize, begins: bool| {
            let place = moments.iter().position(|(_, m, first)| *m == n && *first == begins).unwrap_or(0);
            place as u64
        };
        let calls = calls.iter().enumerate().map(|(n, (.., kind, value))| Call {
            began: at(n, true).min(at(n, false)),
            ended: (*kind != 0).then(|| at(n, true).max(at(n, false))),
            act: if *kind < 3 { Act::Write(*value) } else { Act::Read(*value) },
        });
        calls.collect()
    })
}

proptest! {
    #[test]
    fn says_what_all_orders_say(history in history()) {
        prop_assert_eq!(linearizable(&history).is_ok(), by_force(&history, &mut Vec::new(), None));
    }
}
