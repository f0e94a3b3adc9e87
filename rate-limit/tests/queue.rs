//! Who waits: in which order, for how long, and what becomes of his place.

use mainstay_rate_limit::{Config, KeyedLimiter, Limiter, Quota, ReserveError, Reserved, Rule};
use std::time::{Duration, Instant};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn limiter(config: impl Into<Config>, now: Instant) -> Limiter {
    Limiter::new_at(config, now).unwrap()
}

/// One unit each 100 ms, so many at once.
fn bucket(burst: u64) -> Quota {
    Quota::per_second(10).unwrap().burst(burst).unwrap()
}

fn wait(limiter: &Limiter, cost: u64, now: Instant) -> Reserved {
    limiter.reserve_at(cost, Duration::MAX, now).unwrap()
}

#[test]
fn places_are_given_in_order() {
    let now = start();
    let limiter = limiter(bucket(2), now);
    let waits: Vec<_> = [1, 1, 1, 2, 1].map(|cost| wait(&limiter, cost, now).wait()).into();
    assert_eq!(waits, [0, 0, 100, 300, 400].map(Duration::from_millis));
    assert_eq!(limiter.snapshot_at(now).waiting, 3);
    assert_eq!(limiter.snapshot_at(now + 300 * MILLI).waiting, 1);
    assert_eq!(limiter.snapshot_at(now + 400 * MILLI).waiting, 0);
}

#[test]
fn nobody_overtakes_one_who_waits() {
    let now = start();
    let quota = Quota::per_second(10).unwrap();
    for rule in
        [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
    {
        let limiter = limiter(rule, now);
        assert!(limiter.check_cost_at(7, now).unwrap().allowed);
        let large = wait(&limiter, 5, now);
        assert!(large.wait() > Duration::ZERO);
        // There is room for three, but they were asked for later.
        let small = limiter.check_at(now);
        assert!(!small.allowed, "{rule:?}");
        assert!(small.retry_after >= large.wait());
        let patient = wait(&limiter, 1, now);
        assert!(patient.wait() >= large.wait());
        // With nobody before it there would have been room at once.
        limiter.give_back_at(patient, now);
        limiter.give_back_at(large, now);
        assert_eq!(limiter.check_at(now).remaining, 2, "{rule:?}");
    }
}

#[test]
fn too_long_a_wait_is_refused_at_once_and_takes_nothing() {
    let now = start();
    let limiter = limiter(bucket(1), now);
    assert!(limiter.check_at(now).allowed);
    let error = limiter.reserve_at(1, Duration::from_nanos(99_999_999), now).unwrap_err();
    let ReserveError::TooLate(decision) = error else { panic!("{error}") };
    assert_eq!((decision.allowed, decision.retry_after), (false, 100 * MILLI));
    assert_eq!(limiter.reserve_at(1, 100 * MILLI, now).unwrap().wait(), 100 * MILLI);
    assert_eq!(limiter.snapshot_at(now).refused, 1);
}

#[test]
fn all_who_leave_the_queue_leave_no_trace() {
    let now = start();
    for backwards in [false, true] {
        let limiter = limiter(bucket(1), now);
        assert!(limiter.check_at(now).allowed);
        let mut places: Vec<_> = (0..10).map(|_| wait(&limiter, 1, now)).collect();
        assert_eq!(limiter.check_at(now).retry_after, 1_100 * MILLI);
        if backwards {
            places.reverse();
        }
        for place in places {
            limiter.give_back_at(place, now);
        }
        assert_eq!(limiter.check_at(now).retry_after, 100 * MILLI);
        assert_eq!(limiter.snapshot_at(now).waiting, 0);
    }
}

#[test]
fn those_behind_one_who_leaves_come_sooner() {
    let now = start();
    let limiter = limiter(bucket(1), now);
    let [_first, second, third, fourth] = [(); 4].map(|()| wait(&limiter, 1, now));
    assert_eq!([third.wait(), fourth.wait()], [200 * MILLI, 300 * MILLI]);
    limiter.give_back_at(second, now + 50 * MILLI);
    let at = now + 60 * MILLI;
    assert_eq!([&third, &fourth].map(|place| limiter.wait_at(place, at)), [40 * MILLI, 140 * MILLI]);
    assert_eq!(wait(&limiter, 1, at).wait(), 240 * MILLI, "the next one comes behind");
    assert_eq!(limiter.wait_at(&third, now + 100 * MILLI), Duration::ZERO);
}

#[test]
fn those_behind_one_who_leaves_come_in_their_order_and_not_before_he_left() {
    let now = start();
    let quota = Quota::per_second(10).unwrap();
    for rule in
        [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
    {
        let limiter = limiter(rule, now);
        assert!(limiter.check_cost_at(5, now).unwrap().allowed);
        let large = wait(&limiter, 10, now);
        let small: Vec<_> = (0..7).map(|_| wait(&limiter, 1, now)).collect();
        let at = now + MILLI;
        limiter.give_back_at(large, at);
        assert_eq!(limiter.snapshot_at(at).waiting, 2, "{rule:?}: there is room for five of seven");
        let waits: Vec<_> = small.iter().map(|place| limiter.wait_at(place, at)).collect();
        assert!(waits.is_sorted() && waits[4].is_zero() && !waits[5].is_zero(), "{rule:?}: {waits:?}");
    }
}

#[test]
fn one_who_came_sooner_gives_back_what_he_took_then() {
    let now = start();
    let quota = Quota::per_second(10).unwrap();
    for rules in [
        vec![Rule::token_bucket(quota)],
        vec![Rule::sliding_log(quota)],
        vec![Rule::token_bucket(quota), Rule::fixed_window(Quota::per_hour(13).unwrap())],
    ] {
        let limiter = limiter(rules, now);
        let _used = wait(&limiter, 8, now);
        let large = wait(&limiter, 5, now);
        let small = wait(&limiter, 2, now);
        assert!(small.wait() >= 300 * MILLI);
        // From here on the small one has its unit.
        limiter.give_back_at(large, now);
        assert_eq!(limiter.wait_at(&small, now), Duration::ZERO);
        assert!(!limiter.check_at(now).allowed);
        limiter.give_back_at(small, now);
        assert!(limiter.check_cost_at(2, now).unwrap().allowed);
        assert!(!limiter.check_at(now).allowed);
    }
    // What came back by itself since then is not given back.
    let limiter = limiter(bucket(10), now);
    let _used = wait(&limiter, 8, now);
    let [large, small] = [5, 2].map(|cost| wait(&limiter, cost, now));
    limiter.give_back_at(large, now);
    let at = now + SECOND;
    assert!(limiter.check_cost_at(10, at).unwrap().allowed);
    limiter.give_back_at(small, at);
    assert!(!limiter.check_at(at).allowed);
}

#[test]
fn nobody_comes_before_the_one_before_him_and_gives_back_as_of_his_own_moment() {
    let now = start();
    let limiter = limiter(Rule::sliding_log(Quota::per_second(10).unwrap()), now);
    let _used = wait(&limiter, 8, now);
    let [leaves, _large, small] = [4, 3, 4].map(|cost| wait(&limiter, cost, now));
    limiter.give_back_at(leaves, now);
    // Nobody has asked since: only now are the moments of the others found out, and there is room for both of them at once.
    let at = now + 1_500 * MILLI;
    limiter.give_back_at(small, at);
    assert_eq!(limiter.peek_at(at).remaining, 7);
}

#[test]
fn waiters_that_give_up_do_not_stop_the_rest() {
    let now = start();
    let limiter = limiter(bucket(10), now);
    let mut waiting: Vec<(Instant, Reserved)> = Vec::new();
    let mut served = 0;
    // Twelve callers per second; each gives up after 5 s, and the limit would let them wait for 60.
    for tick in 0..3_600_u32 {
        let at = now + tick * SECOND / 12;
        waiting.extend(limiter.reserve_at(1, 60 * SECOND, at).map(|reserved| (at, reserved)));
        let mut still = Vec::new();
        for (came, reserved) in waiting.drain(..) {
            if limiter.wait_at(&reserved, at).is_zero() {
                served += u32::from(tick >= 2_400);
            } else if at >= came + 5 * SECOND {
                limiter.give_back_at(reserved, at);
            } else {
                still.push((came, reserved));
            }
        }
        waiting = still;
    }
    assert!(served >= 999, "served {served} of 1000 in the last 100 s");
}

#[test]
fn one_who_cancels_all_but_his_last_place_denies_nobody() {
    let now = start();
    let limiter = limiter(bucket(10), now);
    let mut places: Vec<_> = (0..609).map(|_| limiter.reserve_at(1, 60 * SECOND, now).unwrap()).collect();
    let last = places.pop().unwrap();
    for place in places {
        limiter.give_back_at(place, now);
    }
    assert_eq!(limiter.wait_at(&last, now), Duration::ZERO);
    let decision = limiter.check_at(now);
    assert!(decision.allowed);
    assert_eq!(decision.remaining, 8);
}

#[test]
fn cancelling_many_waiters_is_not_quadratic() {
    let now = start();
    for (backwards, is_watched) in [(false, false), (false, true), (true, false), (true, true)] {
        let time = |waiters: u32| {
            let limiter = limiter(bucket(10), now);
            let mut places: Vec<_> = (0..waiters).map(|_| wait(&limiter, 1, now)).collect();
            if is_watched {
                // From the last one on all before it count as such who want to be told.
                assert!(!limiter.wait_at(&places[places.len() - 1], now).is_zero());
            }
            if backwards {
                places.reverse();
            }
            let clock = start();
            for place in places {
                limiter.give_back_at(place, now);
            }
            start().saturating_duration_since(clock)
        };
        // As many waiters in sixteen queues as in one, so that other programs disturb both alike; and the best of a few.
        let best =
            |queues, waiters| (0..5).map(|_| (0..queues).map(|_| time(waiters)).sum::<Duration>()).min().unwrap();
        // Fewer of those who watch, for whom the failure would last.
        let waiters = if is_watched { 500 } else { 2_000 };
        let (short, long) = (best(16, waiters), best(1, 16 * waiters));
        assert!(long < 6 * short, "in short queues {short:?}, in a long one {long:?}");
    }
}

#[test]
fn what_is_given_back_is_at_most_what_is_still_missing() {
    let now = start();
    for (after, left) in [(0, 10), (300, 10), (499, 10), (500, 10), (900, 10)] {
        let limiter = limiter(bucket(10), now);
        let reserved = wait(&limiter, 5, now);
        let at = now + after * MILLI;
        limiter.give_back_at(reserved, at);
        assert_eq!(limiter.peek_at(at).remaining, left);
    }
    // Somebody has used meanwhile what came back by itself.
    let limiter = limiter(bucket(10), now);
    let reserved = wait(&limiter, 5, now);
    let at = now + 500 * MILLI;
    assert!(limiter.check_cost_at(10, at).unwrap().allowed);
    limiter.give_back_at(reserved, at);
    assert_eq!(limiter.peek_at(at).remaining, 0);
}

#[test]
fn refund_gives_back_no_more_than_was_taken() {
    let now = start();
    let quota = Quota::per_second(10).unwrap();
    for rule in
        [Rule::token_bucket(quota), Rule::sliding_log(quota), Rule::sliding_counter(quota), Rule::fixed_window(quota)]
    {
        let limiter = limiter(rule, now);
        assert!(limiter.check_cost_at(6, now).unwrap().allowed);
        limiter.refund_at(2, now);
        assert_eq!(limiter.peek_at(now).remaining, 6, "{rule:?}");
        limiter.refund_at(u64::MAX, now);
        assert_eq!(limiter.peek_at(now).remaining, 10, "{rule:?}");
        assert!(limiter.check_cost_at(10, now).unwrap().allowed);
        assert!(!limiter.check_at(now).allowed, "{rule:?}");
    }
}

#[test]
fn cell_is_as_before_when_nobody_waits_any_more() {
    let now = start();
    let limiter = limiter(bucket(1), now);
    assert!(limiter.check_at(now).allowed);
    let place = wait(&limiter, 1, now);
    assert!(!limiter.check_at(now + 100 * MILLI).allowed, "the unit is his");
    limiter.give_back_at(place, now + 100 * MILLI);
    assert!(limiter.check_at(now + 100 * MILLI).allowed);
    assert!(limiter.check_at(now + SECOND).allowed);
    assert!(!limiter.check_at(now + SECOND).allowed);
}

#[test]
fn what_others_gave_back_is_not_given_back_again() {
    let now = start();
    let milli = Rule::token_bucket(Quota::per_second(1_000).unwrap().burst(100).unwrap());
    for rules in [vec![milli], vec![milli, milli]] {
        let limiter = limiter(rules, now);
        let first = wait(&limiter, 20, now);
        let second = wait(&limiter, 30, now);
        limiter.give_back_at(first, now);
        // The bucket is full at the same moment as after the second, but now by the third.
        let third = wait(&limiter, 20, now);
        limiter.give_back_at(second, now);
        let at = now + 25 * MILLI;
        assert!(limiter.check_cost_at(100, at).unwrap().allowed, "the third is back by itself");
        limiter.give_back_at(third, at);
        assert_eq!(limiter.peek_at(at).remaining, 0);
    }
}

#[test]
fn nothing_is_given_back_as_of_an_earlier_moment() {
    let now = start();
    let at = now + 500 * MILLI;
    let several = limiter([Rule::token_bucket(bucket(10)), Rule::token_bucket(bucket(10))], now);
    let reserved = wait(&several, 5, now);
    assert!(several.check_cost_at(10, at).unwrap().allowed);
    several.give_back_at(reserved, now);
    assert_eq!(several.peek_at(at).remaining, 0);

    let keyed = KeyedLimiter::<str>::new_at(bucket(10), now).unwrap();
    let reserved = keyed.reserve_at("a", 5, Duration::ZERO, now).unwrap();
    assert!(keyed.check_cost_at("a", 10, at).unwrap().allowed);
    keyed.give_back_at(reserved, now);
    assert_eq!(keyed.peek_at("a", at).remaining, 0);
}

#[test]
fn gap_of_one_who_left_is_for_the_next_and_not_for_those_who_come_later() {
    let now = start();
    let limiter = limiter(bucket(3), now);
    let _used = wait(&limiter, 3, now);
    let first = wait(&limiter, 3, now);
    let second = wait(&limiter, 1, now);
    assert_eq!([first.wait(), second.wait()], [300 * MILLI, 400 * MILLI]);
    limiter.give_back_at(first, now);
    assert_eq!(limiter.wait_at(&second, now), 100 * MILLI);
    assert_eq!(wait(&limiter, 1, now).wait(), 200 * MILLI);
}

#[test]
fn refund_of_everything_keeps_later_bounds() {
    for everything in [10, u64::MAX] {
        let now = start();
        let limiter = limiter(bucket(10), now);
        let _ = limiter.check_at(now);
        limiter.refund_at(everything, now);

        assert!(limiter.check_cost_at(5, now).unwrap().allowed);
        let reserved = limiter.reserve_at(5, Duration::ZERO, now).unwrap();
        limiter.refund_at(5, now);
        let at = now + 500 * MILLI;
        assert!(limiter.check_cost_at(10, at).unwrap().allowed);
        limiter.give_back_at(reserved, at);
        let more = limiter.check_cost_at(5, at).unwrap();
        assert!(!more.allowed, "fifteen at one moment after a refund of {everything}");
    }
}

#[test]
fn refund_of_everything_does_not_make_later_gifts_smaller() {
    let now = start();
    let limiter = limiter(bucket(10), now);
    assert!(limiter.check_at(now).allowed);
    limiter.refund_at(u64::MAX, now);
    assert!(limiter.check_cost_at(5, now).unwrap().allowed);
    let reserved = wait(&limiter, 5, now);
    let at = now + 500 * MILLI;
    limiter.give_back_at(reserved, at);
    assert_eq!(limiter.peek_at(at).remaining, 10);
}
