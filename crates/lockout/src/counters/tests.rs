//! Parallel guesses, spellings, floods, and the ends of a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NOW: Time = Time(1_800_000_000_000_000_000);
const QUARTER: Duration = Duration::from_secs(15 * 60);

fn rule() -> Rule {
    Rule::default()
}

fn fails(l: &Lockout, rule: Rule, alias: &str, known: bool, n: usize, now: Time) -> Vec<Ruling> {
    (0..n).map(|_| l.judge(rule, "acc", alias, known, Verdict::Wrong, now)).collect()
}

fn right(l: &Lockout, alias: &str, now: Time) -> Ruling {
    l.judge(rule(), "acc", alias, true, Verdict::Right, now)
}

async fn fail(l: &Lockout, alias: &str, known: bool) -> bool {
    match l.admit(rule(), "acc", alias, known, NOW).await {
        Some(attempt) => {
            attempt.settle(Verdict::Wrong, NOW);
            true
        }
        None => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn class_i_a_hundred_parallel_tries_get_five_guesses() {
    let l = Arc::new(Lockout::default());
    let guesses = Arc::new(AtomicU32::new(0));
    let tries: Vec<_> = (0..100)
        .map(|i| {
            let (l, guesses) = (Arc::clone(&l), Arc::clone(&guesses));
            tokio::spawn(async move {
                let name = ["ann", "ANN", " ann", "Ann "][i % 4];
                if let Some(attempt) = l.admit(rule(), "acc", name, true, NOW).await {
                    tokio::task::yield_now().await;
                    guesses.fetch_add(1, Ordering::SeqCst);
                    attempt.settle(Verdict::Wrong, NOW);
                }
            })
        })
        .collect();
    for t in tries {
        t.await.unwrap();
    }
    assert_eq!(guesses.load(Ordering::SeqCst), 5);
}

#[test]
fn class_i_a_hundred_parallel_guesses_get_five_answers() {
    let l = Lockout::default();
    let answered: usize = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..10)
            .map(|i| {
                let l = &l;
                let name = if i % 2 == 0 { "web" } else { "WEB" };
                scope.spawn(move || fails(l, rule(), name, true, 10, NOW).iter().filter(|r| **r == Ruling::Answer).count())
            })
            .collect();
        hands.into_iter().map(|h| h.join().unwrap()).sum()
    });
    assert_eq!(answered, 5);
    assert_eq!(right(&l, "wEb", NOW), Ruling::Locked, "the right secret does not open it");
    assert_eq!(right(&l, " web ", NOW), Ruling::Locked, "nor a space");
    assert_eq!(l.judge(rule(), "other", "web", true, Verdict::Right, NOW), Ruling::Answer, "another mount");
    assert_eq!(l.locked(NOW, |_| Some(rule())).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_right_logins_at_once_all_pass() {
    let l = Arc::new(Lockout::default());
    let tries: Vec<_> = (0..100)
        .map(|_| {
            let l = Arc::clone(&l);
            tokio::spawn(async move {
                let attempt = l.admit(rule(), "acc", "ann", true, NOW).await.unwrap();
                tokio::task::yield_now().await;
                attempt.settle(Verdict::Right, NOW);
            })
        })
        .collect();
    for t in tries {
        t.await.unwrap();
    }
    assert!(l.tables.lock().known.is_empty(), "nothing stays behind");
}

#[tokio::test]
async fn a_try_that_was_given_up_makes_room_and_counts_for_nothing() {
    let l = Lockout::default();
    for _ in 0..20 {
        drop(l.admit(rule(), "acc", "ann", true, NOW).await.unwrap());
    }
    assert!(fail(&l, "ann", true).await);
    assert_eq!(l.tables.lock().known.values().map(|c| (c.failures, c.under_way)).collect::<Vec<_>>(), [(1, 0)]);
}

#[tokio::test]
async fn a_flood_of_invented_names_is_bounded_and_moves_no_real_counter() {
    let l = Lockout::default();
    for _ in 0..5 {
        assert!(fail(&l, "ann", true).await);
    }
    // Fill the table directly: each insertion after that has to make room.
    for i in 0..STRANGERS_MAX {
        let counter = Counter { failures: 1, last_failure: NOW, under_way: 0, over: NOW.plus(QUARTER) };
        l.tables.lock().strangers.insert(Key::new("acc", &format!("n{i}"), false), counter);
    }
    for i in 0..50 {
        assert!(fail(&l, &format!("m{i}"), false).await);
    }
    assert_eq!(l.tables.lock().strangers.len(), STRANGERS_MAX);
    assert!(!fail(&l, "ann", true).await, "still locked");
    let long = "x".repeat(100_000);
    fails(&l, rule(), &long, false, 1, NOW);
    assert!(l.tables.lock().strangers.keys().all(|k| k.alias.len() <= STRANGER_KEY_MAX_CHARS));
}

#[test]
fn one_mounts_sweep_asks_no_rule_of_its_own_about_another_mounts_counters() {
    let l = Lockout::default();
    let short = Rule { duration: Duration::from_secs(1), counter_reset: Duration::from_secs(1), ..rule() };
    fails(&l, rule(), "ann", true, 5, NOW);
    let later = NOW.plus(Duration::from_secs(60));
    for i in 0..=KNOWN_SWEEP {
        l.judge(short, "other", &format!("u{i}"), true, Verdict::Wrong, NOW);
    }
    l.judge(short, "other", "last", true, Verdict::Wrong, later);
    assert_eq!(l.tables.lock().known.len(), 2, "the other mount's are over, this one is not");
    assert_eq!(right(&l, "ann", later), Ruling::Locked);
}

#[test]
fn strangers_are_locked_alike_and_not_shown() {
    let l = Lockout::default();
    assert_eq!(fails(&l, rule(), "nobody", false, 6, NOW).last(), Some(&Ruling::Locked));
    assert_eq!(fails(&l, rule(), "real", true, 6, NOW).last(), Some(&Ruling::Locked));
    let shown: Vec<String> = l.locked(NOW, |_| Some(rule())).into_iter().map(|l| l.alias).collect();
    assert_eq!(shown, ["real"]);
    assert!(l.locked(NOW, |_| None).is_empty(), "a mount that is gone");
    assert!(l.locked(NOW, |_| Some(Rule { disabled: true, ..rule() })).is_empty());
    assert!(l.locked(NOW.plus(QUARTER), |_| Some(rule())).is_empty(), "over");
    l.unlock("acc", "Nobody");
    assert_eq!(fails(&l, rule(), "nobody", false, 1, NOW), [Ruling::Answer]);
}

#[test]
fn time_success_and_an_operator_end_it_and_nothing_else() {
    let l = Lockout::default();
    fails(&l, rule(), "web", true, 5, NOW);
    l.unlock("acc", "wed");
    l.unlock("other", "web");
    assert_eq!(right(&l, "web", NOW.plus(QUARTER - Duration::from_nanos(1))), Ruling::Locked);
    assert_eq!(right(&l, "web", NOW.plus(QUARTER)), Ruling::Answer);
    fails(&l, rule(), "web", true, 4, NOW);
    assert_eq!(right(&l, "web", NOW), Ruling::Answer);
    assert_eq!(fails(&l, rule(), "web", true, 5, NOW), [Ruling::Answer; 5], "counted anew after a success");
    l.unlock("acc", "WEB");
    assert_eq!(fails(&l, rule(), "web", true, 4, NOW), [Ruling::Answer; 4]);
    assert_eq!(fails(&l, rule(), "web", true, 5, NOW.plus(QUARTER)), [Ruling::Answer; 5], "counted anew after the reset time");
}

#[test]
fn the_rule_of_the_moment_holds() {
    let l = Lockout::default();
    let strict = Rule { threshold: 2, duration: Duration::from_secs(10), ..rule() };
    assert_eq!(fails(&l, strict, "ann", true, 3, NOW), [Ruling::Answer, Ruling::Answer, Ruling::Locked]);
    assert_eq!(fails(&l, rule(), "ann", true, 1, NOW), [Ruling::Answer], "a higher threshold lets on");
    assert_eq!(fails(&l, strict, "ann", true, 1, NOW), [Ruling::Locked], "and a lower one locks again");
    assert_eq!(fails(&l, strict, "ann", true, 1, NOW.plus(Duration::from_secs(10))), [Ruling::Answer]);
    let zero = Rule { threshold: 0, ..rule() };
    assert_eq!(fails(&l, zero, "bob", true, 2, NOW), [Ruling::Answer, Ruling::Locked], "zero counts as one");
}

#[tokio::test]
async fn switched_off_nothing_locks_and_nothing_is_kept() {
    let l = Lockout::default();
    let off = Rule { disabled: true, ..rule() };
    assert_eq!(fails(&l, off, "web", true, 50, NOW), [Ruling::Answer; 50]);
    for _ in 0..50 {
        l.admit(off, "acc", "web", true, NOW).await.unwrap().settle(Verdict::Wrong, NOW);
    }
    assert!(l.tables.lock().known.is_empty());
}

proptest! {
    /// However tries and times mix, no span of one lock answers more wrong guesses than the threshold.
    #[test]
    fn no_more_wrong_answers_than_the_threshold_without_a_pause(
        threshold in 1u32..6,
        steps in proptest::collection::vec(0u64..3, 1..60),
    ) {
        let l = Lockout::default();
        let rule = Rule { threshold, duration: Duration::from_secs(1_000), counter_reset: Duration::from_secs(1_000), disabled: false };
        let mut now = NOW;
        let mut answered = 0;
        for seconds in steps {
            now = now.plus(Duration::from_secs(seconds));
            if l.judge(rule, "acc", "ann", true, Verdict::Wrong, now) == Ruling::Answer {
                answered += 1;
            }
        }
        prop_assert!(answered <= threshold);
    }
}
