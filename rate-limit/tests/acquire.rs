//! Waiting without tower: in order, refused at once if it is too long, and nothing lost by those who leave.

use futures_util::future::join_all;
use mainstay_core::{Error, Reason};
use mainstay_rate_limit::{Config, KeyedLimiter, Limiter, Quota, Reservation, ReserveError, Rule};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};

const MILLI: Duration = Duration::from_millis(1);

/// Ten units at once, and one each 100 ms.
fn limiter() -> Limiter {
    Limiter::new(Quota::per_second(10).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn waiter_is_woken_at_its_moment_and_not_before() {
    let limiter = limiter();
    assert!(limiter.check_cost(10).unwrap().allowed);
    let mut waiting = task::spawn(limiter.acquire(3, Duration::MAX));
    assert_pending!(waiting.poll());
    advance(299 * MILLI).await;
    assert!(!waiting.is_woken());
    advance(MILLI).await;
    assert!(waiting.is_woken());
    assert_ready_ok!(waiting.poll());
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_taken_without_a_wait() {
    let limiter = limiter();
    assert_ready_ok!(task::spawn(limiter.acquire(10, Duration::ZERO)).poll());
    assert_eq!(limiter.peek().remaining, 0, "and it is used");
    assert_ready_ok!(task::spawn(limiter.acquire(0, Duration::ZERO)).poll());
}

#[tokio::test(start_paused = true)]
async fn order_is_that_of_the_first_polls_whatever_the_cost() {
    let limiter = limiter();
    assert!(limiter.check_cost(10).unwrap().allowed);
    let start = Instant::now();
    let costs = [1, 7, 1, 2, 1];
    let turns = join_all(costs.map(async |cost| {
        limiter.acquire(cost, Duration::MAX).await.unwrap();
        start.elapsed()
    }));
    assert_eq!(turns.await, [100, 800, 900, 1_100, 1_200].map(Duration::from_millis));
}

#[tokio::test(start_paused = true)]
async fn too_long_a_wait_is_refused_at_once_with_the_exact_time() {
    let limiter = Limiter::new(Config::new(Quota::per_second(10).unwrap()).name("partner")).unwrap();
    assert!(limiter.check_cost(10).unwrap().allowed);
    let refused = assert_ready_err!(task::spawn(limiter.acquire(2, 199 * MILLI)).poll());
    assert_eq!((refused.reason(), refused.by()), (Reason::RateLimited, "partner"));
    assert_eq!(refused.retry_after(), Some(200 * MILLI));
    assert_eq!(limiter.snapshot().waiting, 0);
    assert_pending!(task::spawn(limiter.acquire(2, 200 * MILLI)).poll());
}

#[tokio::test(start_paused = true)]
async fn cost_that_never_fits_is_an_error_of_its_own() {
    let limiter = limiter();
    for cost in [11, 5_000_000_000, u64::MAX] {
        let refused = assert_ready_err!(task::spawn(limiter.acquire(cost, Duration::MAX)).poll());
        assert_eq!(refused.retry_after(), None);
        let ReserveError::CostTooLarge(error) = limiter.reserve(cost, Duration::MAX).unwrap_err() else {
            panic!("waiting does not help")
        };
        assert_eq!((error.cost, error.limit), (cost, 10));
    }
    assert_eq!(limiter.peek().remaining, 10);
}

#[tokio::test(start_paused = true)]
async fn waiters_that_are_cancelled_lose_nothing() {
    for woken in [false, true] {
        let limiter = limiter();
        assert!(limiter.check_cost(10).unwrap().allowed);
        let mut waiters: Vec<_> = (0..5).map(|_| task::spawn(limiter.acquire(2, Duration::MAX))).collect();
        for waiter in &mut waiters {
            assert_pending!(waiter.poll());
        }
        if woken {
            advance(Duration::from_secs(1)).await;
            assert!(waiters.iter().all(task::Spawn::is_woken));
        }
        drop(waiters);
        let expected = if woken { 10 } else { 0 };
        assert_eq!(limiter.peek().remaining, expected, "woken: {woken}");
        assert_eq!(limiter.snapshot().waiting, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn those_behind_a_cancelled_waiter_are_woken_and_come_sooner() {
    let limiter = limiter();
    assert!(limiter.check_cost(10).unwrap().allowed);
    let [mut first, mut second, mut third] = [(); 3].map(|()| task::spawn(limiter.acquire(1, Duration::MAX)));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    drop(second);
    assert!(!first.is_woken(), "it is before");
    assert!(third.is_woken());
    assert_pending!(third.poll());
    advance(199 * MILLI).await;
    assert_ready_ok!(first.poll());
    assert!(!third.is_woken());
    advance(MILLI).await;
    assert!(third.is_woken());
    assert_ready_ok!(third.poll());
    assert_eq!(limiter.snapshot().waiting, 0);
    assert!(!limiter.check().allowed, "each unit was given once");
}

#[tokio::test(start_paused = true)]
async fn waiter_is_told_each_time_that_somebody_leaves_and_when_the_quota_is_raised() {
    let limiter = limiter();
    let keyed = KeyedLimiter::<str>::new(Quota::per_second(10).unwrap().burst(1).unwrap()).unwrap();
    assert!(limiter.check_cost(10).unwrap().allowed && keyed.check("a").allowed);
    let mut before: Vec<_> = (0..3).map(|_| limiter.reserve(1, Duration::MAX).unwrap()).collect();
    let before_of_key = keyed.reserve("a", 1, Duration::MAX).unwrap();
    let mut waiting = task::spawn(limiter.acquire(1, Duration::MAX));
    let mut of_key = task::spawn(keyed.acquire("a", 1, Duration::MAX));
    assert_pending!(waiting.poll());
    assert_pending!(of_key.poll());
    while let Some(place) = before.pop() {
        drop(place);
        assert!(waiting.is_woken());
        assert_pending!(waiting.poll());
    }
    limiter.reconfigure(Quota::per_second(1_000).unwrap()).unwrap();
    assert!(waiting.is_woken());
    drop(before_of_key);
    assert!(of_key.is_woken());
    advance(MILLI).await;
    assert_ready_ok!(waiting.poll());
    advance(99 * MILLI).await;
    assert_ready_ok!(of_key.poll());
}

#[tokio::test(start_paused = true)]
async fn reservation_is_given_back_unless_it_is_spent() {
    let limiter = Arc::new(limiter());
    let reservation = Reservation::take(Arc::clone(&limiter), 4, Duration::ZERO).unwrap();
    assert_eq!((reservation.at(), reservation.decision().remaining), (None, 6));
    drop(reservation);
    assert_eq!(limiter.peek().remaining, 10);
    limiter.reserve(4, Duration::ZERO).unwrap().spend();
    assert_eq!(limiter.peek().remaining, 6);
}

#[tokio::test(start_paused = true)]
async fn pace_is_even_for_every_algorithm_that_can() {
    // A window lets a burst pass when it begins; a bucket with a burst of one never does.
    let limiter = Limiter::new([
        Rule::token_bucket(Quota::per_second(20).unwrap().burst(1).unwrap()),
        Rule::sliding_log(Quota::per_second(10).unwrap()),
    ])
    .unwrap();
    let start = Instant::now();
    let mut sent = Vec::new();
    for _ in 0..25 {
        limiter.acquire(1, Duration::MAX).await.unwrap();
        sent.push(start.elapsed());
    }
    assert!(sent.windows(2).all(|pair| pair[1] >= pair[0] + 50 * MILLI), "{sent:?}");
    assert!(sent.windows(11).all(|pair| pair[10] >= pair[0] + Duration::from_secs(1)), "{sent:?}");
    assert_eq!(sent[24], Duration::from_millis(2_200));
}

#[tokio::test(start_paused = true)]
async fn keys_wait_apart() {
    let limiter = KeyedLimiter::<str>::new(Quota::per_second(10).unwrap().burst(1).unwrap()).unwrap();
    let start = Instant::now();
    let turns = join_all(["a", "a", "b", "a", "b"].map(async |key| {
        limiter.acquire(key, 1, Duration::MAX).await.unwrap();
        start.elapsed()
    }));
    assert_eq!(turns.await, [0, 100, 0, 200, 100].map(Duration::from_millis));

    let mut waiting = task::spawn(limiter.acquire("a", 1, Duration::MAX));
    assert_pending!(waiting.poll());
    let refused = assert_ready_err!(task::spawn(limiter.acquire("a", 1, MILLI)).poll());
    assert_eq!(refused.retry_after(), Some(200 * MILLI));
    drop(waiting);
    assert_eq!(limiter.peek("a").retry_after, 100 * MILLI, "it has left the queue");

    let limiter = Arc::new(limiter);
    drop(Reservation::take_of_key(Arc::clone(&limiter), "c", 1, Duration::ZERO).unwrap());
    assert_eq!(limiter.peek("c").remaining, 1);
}

#[tokio::test(start_paused = true)]
async fn work_runs_only_if_there_is_a_unit_for_it() {
    let limiter = Limiter::new(Quota::per_second(1).unwrap()).unwrap();
    let keyed = KeyedLimiter::<str>::new(Quota::per_second(1).unwrap()).unwrap();
    let mut runs = 0;
    for _ in 0..3 {
        let work = || {
            runs += 1;
            std::future::ready(Ok::<_, Error<()>>(()))
        };
        let _ = limiter.call(work).await;
    }
    assert_eq!(runs, 1);
    let work = || std::future::ready(Ok::<_, Error<()>>(()));
    assert_eq!(keyed.call("a", work).await, Ok(()));
    assert!(matches!(keyed.call("a", work).await, Err(Error::Refused(_))));
    assert_eq!(keyed.call("b", work).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_in_shadow_mode() {
    let limiter = Limiter::new(Config::new(Quota::per_second(1).unwrap()).shadow(true)).unwrap();
    for _ in 0..5 {
        assert_ready_ok!(task::spawn(limiter.acquire(1, Duration::MAX)).poll());
    }
    assert_eq!(limiter.snapshot().refused, 4);
}

#[tokio::test(start_paused = true)]
async fn wait_of_a_century_is_possible() {
    let limiter = Limiter::new(Quota::new(1, Duration::from_hours(73 * 365 * 24)).unwrap()).unwrap();
    assert!(limiter.check().allowed);
    let mut waiting = task::spawn(limiter.acquire(1, Duration::MAX));
    assert_pending!(waiting.poll());
    drop(waiting);
    assert_eq!(limiter.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn pace_above_what_timers_can_tell_needs_a_burst_of_some_milliseconds() {
    let limiter = Limiter::new(Quota::per_second(10_000).unwrap().burst(50).unwrap()).unwrap();
    let start = Instant::now();
    for _ in 0..10_000 {
        limiter.acquire(1, Duration::from_secs(1)).await.unwrap();
    }
    let took = start.elapsed();
    assert!((990..1_010).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_when_shadow_mode_begins_keeps_his_moment() {
    let limiter = limiter();
    let config = limiter.config();
    limiter.acquire(10, Duration::ZERO).await.unwrap();
    let mut waiter = task::spawn(limiter.acquire(1, Duration::MAX));
    assert_pending!(waiter.poll());
    limiter.reconfigure(config.shadow(true)).unwrap();
    assert_ready_ok!(task::spawn(limiter.acquire(1, Duration::MAX)).poll());
    assert_pending!(waiter.poll());
    advance(100 * MILLI).await;
    assert_ready_ok!(waiter.poll());
}
