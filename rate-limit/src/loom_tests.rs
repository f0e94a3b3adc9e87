//! The cell, the lock and the wakers of those who wait, in every order that two threads can bring about.
//!
//! Each model names the results that there may be, and each of them must be met: a model that tries too few orders fails as
//! well.

use crate::{Limiter, Quota};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
};
use std::{
    collections::HashSet,
    fmt::Debug,
    hash::Hash,
    sync::Mutex,
    task::{Wake, Waker},
    time::{Duration, Instant},
};

const MILLI: Duration = Duration::from_millis(1);

/// Runs the model in all orders; its results have to be these, no more and no fewer.
fn results_are<T, const N: usize>(expected: [T; N], model: impl Fn() -> T + Send + Sync + 'static)
where
    T: Debug + Eq + Hash + Send + 'static,
{
    // Of std, because it belongs to all runs together.
    let met = std::sync::Arc::new(Mutex::new(HashSet::new()));
    let results = met.clone();
    loom::model(move || {
        let result = model();
        results.lock().unwrap().insert(result);
    });
    assert_eq!(*met.lock().unwrap(), HashSet::from(expected));
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// One unit per millisecond.
fn limiter(burst: u64, now: Instant) -> Arc<Limiter> {
    let quota = Quota::per_second(1_000).unwrap().burst(burst).unwrap();
    Arc::new(Limiter::new_at(quota, now).unwrap())
}

/// Runs both at once.
fn race<A: 'static, B>(
    limiter: &Arc<Limiter>,
    one: impl FnOnce(&Limiter) -> A + 'static,
    other: impl FnOnce(&Limiter) -> B,
) -> (A, B) {
    let shared = limiter.clone();
    let thread = thread::spawn(move || one(&shared));
    let other = other(limiter);
    (thread.join().unwrap(), other)
}

fn millis(time: Duration) -> u128 {
    assert_eq!(time.subsec_nanos() % 1_000_000, 0);
    time.as_millis()
}

#[test]
fn loom_the_last_unit_is_given_once() {
    results_are([(true, false), (false, true)], || {
        let now = start();
        let limiter = limiter(1, now);
        let check = move |limiter: &Limiter| limiter.check_at(now).allowed;
        race(&limiter, check, check)
    });
}

#[test]
fn loom_no_unit_is_lost() {
    results_are([(2, 1), (1, 2)], || {
        let now = start();
        let limiter = limiter(3, now);
        let check = move |limiter: &Limiter| limiter.check_at(now).remaining;
        let left = race(&limiter, check, check);
        assert_eq!(limiter.check_at(now).remaining, 0);
        assert!(!limiter.check_at(now).allowed);
        left
    });
}

#[test]
fn loom_two_who_wait_have_places_of_their_own() {
    results_are([(1, 2), (2, 1)], || {
        let now = start();
        let limiter = limiter(1, now);
        assert!(limiter.check_at(now).allowed);
        let wait = move |limiter: &Limiter| millis(limiter.reserve_at(1, 9 * MILLI, now).unwrap().wait());
        let waits = race(&limiter, wait, wait);
        assert_eq!(limiter.check_at(now).retry_after, 3 * MILLI);
        waits
    });
}

#[test]
fn loom_nobody_overtakes_one_who_waits() {
    // Whether the small one comes first, or has to wait for the large one.
    results_are([(3, true), (2, false)], || {
        let now = start();
        let limiter = limiter(3, now);
        assert!(limiter.check_cost_at(2, now).unwrap().allowed);
        let large = move |limiter: &Limiter| millis(limiter.reserve_at(3, 9 * MILLI, now).unwrap().wait());
        race(&limiter, large, move |limiter| limiter.check_at(now).allowed)
    });
}

#[test]
fn loom_what_is_given_back_is_there_once() {
    results_are([true, false], || {
        let now = start();
        let limiter = limiter(1, now);
        let reserved = limiter.reserve_at(1, Duration::ZERO, now).unwrap();
        let give_back = move |limiter: &Limiter| limiter.give_back_at(reserved, now);
        let ((), early) = race(&limiter, give_back, move |limiter| limiter.check_at(now).allowed);
        assert_eq!(limiter.check_at(now).allowed, !early);
        assert!(!limiter.check_at(now).allowed);
        early
    });
}

#[test]
fn loom_two_who_give_back_give_both() {
    // Who comes second may count as one who took before the other gave back, and then gives a little less: never more.
    results_are([2], || {
        let now = start();
        let limiter = limiter(2, now);
        let one = limiter.reserve_at(1, Duration::ZERO, now).unwrap();
        let other = limiter.reserve_at(1, Duration::ZERO, now).unwrap();
        let give_back = |reserved| move |limiter: &Limiter| limiter.give_back_at(reserved, now);
        race(&limiter, give_back(one), give_back(other));
        limiter.peek_at(now).remaining
    });
}

#[test]
fn loom_a_unit_that_is_back_by_itself_is_not_given_back_again() {
    loom::model(|| {
        let now = start();
        let later = now + MILLI;
        let limiter = limiter(2, now);
        let clock = Arc::new(AtomicBool::new(false));
        let reserved = limiter.reserve_at(1, Duration::ZERO, now).unwrap();
        let moved = clock.clone();
        let take_all = move |limiter: &Limiter| {
            // Opens the cell, if nobody keeps it closed.
            limiter.refund_at(0, now);
            moved.store(true, SeqCst);
            assert!(limiter.check_cost_at(2, later).unwrap().allowed);
        };
        race(&limiter, take_all, move |limiter| limiter.give_back_at(reserved, Reading { clock, now, later }));
        // The one from before was back by then, whether by itself or by hand.
        assert_eq!(limiter.check_at(later).retry_after, MILLI);
    });
}

/// Reads the clock of a model.
struct Reading {
    clock: Arc<AtomicBool>,
    now: Instant,
    later: Instant,
}

impl mainstay_core::Now for Reading {
    fn now(self) -> Instant {
        if self.clock.load(SeqCst) { self.later } else { self.now }
    }
}

#[test]
fn loom_a_change_of_the_quota_loses_no_unit() {
    // Whether the check came before the change.
    results_are([true, false], || {
        let now = start();
        let limiter = limiter(2, now);
        let quota = Quota::per_second(500).unwrap().burst(4).unwrap();
        let change = move |limiter: &Limiter| limiter.reconfigure_at(quota, now).unwrap();
        let ((), decision) = race(&limiter, change, move |limiter| limiter.check_at(now));
        assert!(decision.allowed);
        // Of the two that were there one is left, in the bucket that holds more.
        let left = limiter.check_at(now);
        assert_eq!((left.allowed, left.remaining, left.limit), (true, 0, 4));
        assert_eq!(limiter.check_at(now).retry_after, 2 * MILLI);
        decision.limit == 2
    });
}

/// A task: whether it was woken.
struct Task(AtomicBool);

impl Task {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self(AtomicBool::new(false)))
    }

    fn is_woken(&self) -> bool {
        self.0.load(SeqCst)
    }
}

impl Wake for Task {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn loom_one_who_leaves_wakes_whoever_has_not_seen_it() {
    // What the last poll saw, and whether its task and that of the poll before were woken.
    results_are([(2, false, true), (1, true, false), (1, false, true), (1, false, false)], || {
        let now = start();
        let limiter = limiter(1, now);
        let [_used, before, place] = [(); 3].map(|()| limiter.reserve_at(1, 9 * MILLI, now).unwrap());
        let [one, other] = [(); 2].map(|()| Task::new());
        let leave = move |limiter: &Limiter| limiter.give_back_at(before, now);
        let ((), seen) = race(&limiter, leave, |limiter| {
            // As a reservation is polled: first the waker, then the question.
            let poll = |task: &std::sync::Arc<Task>| {
                place.watch_by(Some(Waker::from(task.clone())));
                millis(limiter.wait_at(&place, now))
            };
            poll(&one);
            poll(&other)
        });
        assert_eq!(limiter.wait_at(&place, now), MILLI);
        (seen, one.is_woken(), other.is_woken())
    });
}
