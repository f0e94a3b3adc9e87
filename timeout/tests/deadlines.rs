//! Deadlines that travel with the request.

mod support;

use mainstay_core::{Deadline, Now, Reason};
use mainstay_timeout::{Config, InMeta, Timeout, TimeoutLayer, deadline_fn};
use proptest::prelude::*;
use std::{
    cell::Cell,
    task::{Context, Waker},
    time::{Duration, Instant},
};
use support::{Answer, Job, Leaf, config, ms, now, timed_out, too_late};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_eq, task};
use tower::{Layer, Service};

fn service(config: Config) -> (Timeout<Leaf, InMeta>, Leaf) {
    let leaf = Leaf::default();
    (TimeoutLayer::with_deadlines(config, InMeta).expect("a valid configuration").layer(leaf.clone()), leaf)
}

fn due(after: Duration) -> Job {
    Job { due: Some(Deadline::after(now(), after)) }
}

#[tokio::test(start_paused = true)]
async fn the_smaller_time_counts_and_is_handed_on() {
    for (own, carried, end) in [(ms(100), ms(250), ms(100)), (ms(250), ms(100), ms(100)), (ms(100), ms(100), ms(100))] {
        let (mut service, leaf) = service(config(own));
        let mut call = task::spawn(service.call(due(carried)));
        assert_eq!(leaf.0.called.get(), Some(due(end)));
        assert_pending!(call.poll());
        advance(end.saturating_sub(ms(1))).await;
        assert_pending!(call.poll());
        advance(ms(1)).await;
        assert!(call.is_woken());
        assert_ready_eq!(call.poll(), timed_out(end));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_deadline_gets_one() {
    let (mut service, leaf) = service(config(ms(100)));
    drop(service.call(Job::default()));
    assert_eq!(leaf.0.called.get(), Some(due(ms(100))));
}

#[tokio::test(start_paused = true)]
async fn the_time_starts_at_the_call_since_the_request_says_so() {
    let (mut service, _) = service(config(ms(100)));
    let mut call = task::spawn(service.call(Job::default()));
    advance(ms(60)).await;
    assert_pending!(call.poll());
    advance(ms(40)).await;
    assert_ready_eq!(call.poll(), timed_out(ms(100)));
}

#[tokio::test(start_paused = true)]
async fn without_a_time_of_its_own_only_carried_deadlines_count() {
    let (mut service, leaf) = service(Config::default().name("test"));
    let mut free = task::spawn(service.call(Job::default()));
    assert_eq!(leaf.0.called.get(), Some(Job::default()), "there is nothing to hand on");
    let mut bound = task::spawn(service.call(due(ms(100))));
    assert_pending!(free.poll());
    assert_pending!(bound.poll());
    advance(ms(100)).await;
    assert_ready_eq!(bound.poll(), timed_out(ms(100)));
    advance(Duration::from_hours(1_000)).await;
    assert!(!free.is_woken());
    assert_pending!(free.poll());
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_late_is_refused_and_not_called() {
    let (mut service, leaf) = service(config(ms(100)));
    let job = due(ms(50));
    advance(ms(50)).await;
    let mut call = task::spawn(service.call(job));
    assert_ready_eq!(call.poll(), too_late());
    assert_eq!((leaf.0.calls.get(), leaf.0.polls.get()), (0, 0));
    drop(service.call(due(ms(1))));
    assert_eq!(leaf.0.calls.get(), 1, "a nanosecond in time is in time");
}

#[tokio::test(start_paused = true)]
async fn the_readiness_of_a_refused_call_is_there_for_the_next_one() {
    let (mut service, leaf) = service(config(ms(100)));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(service.poll_ready(cx).is_ready());
    drop(service.call(Job { due: Some(Deadline::at(now())) }));
    assert!(service.poll_ready(cx).is_ready());
    drop(service.call(due(ms(1))));
    assert_eq!((leaf.0.readied.get(), leaf.0.calls.get()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_before_the_first_poll_is_unknown_and_not_refused() {
    let (mut service, leaf) = service(config(ms(100)));
    let mut call = task::spawn(service.call(due(ms(50))));
    advance(ms(500)).await;
    assert_ready_eq!(call.poll(), timed_out(ms(50)));
    assert_eq!(leaf.0.polls.get(), 1, "an answer that is there counts");
}

#[tokio::test(start_paused = true)]
#[should_panic = "polled after its answer"]
async fn a_refused_call_is_not_polled_again() {
    let (mut service, _) = service(config(ms(100)));
    let mut call = task::spawn(service.call(Job { due: Some(Deadline::at(now())) }));
    let _ = call.poll();
    let _ = call.poll();
}

#[tokio::test(start_paused = true)]
async fn without_deadlines_a_request_is_left_as_it_is() {
    let leaf = Leaf::default();
    let mut service = support::layer(ms(100)).layer(leaf.clone());
    let late = Job { due: Some(Deadline::at(now())) };
    drop(service.call(late));
    assert_eq!(leaf.0.called.get(), Some(late));
}

#[tokio::test(start_paused = true)]
async fn closures_say_where_a_deadline_is() {
    let (reads, writes) = (Cell::new(0), Cell::new(0));
    let read = |job: &Job| {
        reads.set(reads.get() + 1);
        job.due
    };
    let write = |job: &mut Job, deadline| {
        writes.set(writes.get() + 1);
        job.due = Some(deadline);
    };
    let leaf = Leaf::default();
    let layer = TimeoutLayer::with_deadlines(config(ms(100)), deadline_fn(read, write)).unwrap();
    let mut service = layer.layer(leaf.clone());
    drop(service.call(due(ms(200))));
    assert_eq!(leaf.0.called.get(), Some(due(ms(100))));
    assert_eq!((reads.get(), writes.get()), (1, 1));
    drop(service.call(due(ms(50))));
    assert_eq!((reads.get(), writes.get()), (2, 1), "an earlier one is on the request already");
    let mut late = task::spawn(service.call(due(ms(0))));
    assert_ready_eq!(late.poll(), too_late());
}

#[tokio::test(start_paused = true)]
async fn nested_timeouts_take_the_smallest() {
    let leaf = Leaf::default();
    let layer = |name, time| {
        TimeoutLayer::with_deadlines(Config::default().name(name).timeout(time), InMeta).expect("a valid configuration")
    };
    let mut service = layer("outer", ms(100)).layer(layer("inner", ms(300)).layer(leaf.clone()));
    let mut call = task::spawn(service.call(due(ms(200))));
    assert_eq!(leaf.0.called.get(), Some(due(ms(100))));
    assert_pending!(call.poll());
    advance(ms(100)).await;
    // Both end at once. The inner answer is there when the outer time ends, so it counts, and it is unknown all the same.
    let answer: Answer = Err(mainstay_core::TimedOut::new("inner", ms(100)).into());
    assert_ready_eq!(call.poll(), answer);
}

#[test]
fn layers_and_services_of_closures_can_be_shown() {
    let deadlines = deadline_fn(|job: &Job| job.due, |job: &mut Job, deadline| job.due = Some(deadline));
    let layer = TimeoutLayer::with_deadlines(config(ms(100)), deadlines).unwrap();
    assert!(format!("{:?}", layer.layer(())).contains("deadlines: DeadlineFn { .. }"));
}

/// A clock that nobody needs.
struct Unasked;

impl Now for Unasked {
    fn now(self) -> Instant {
        panic!("nobody needs to know the time")
    }
}

#[test]
fn the_clock_is_asked_only_if_it_matters() {
    assert_eq!(Config::default().deadline(None, Unasked), Ok(None));
}

proptest! {
    #[test]
    fn the_deadline_is_the_earlier_of_the_two(own in prop::option::of(1..1_000_u64), carried in prop::option::of(0..2_000_u64)) {
        let start = now();
        let at = |millis: u64| Deadline::at(start + ms(millis));
        // The call starts at 1000.
        let config = own.map_or(Config::default(), |own| config(ms(own)));
        let decided = config.deadline(carried.map(at), start + ms(1_000));
        match (own.map(|own| own + 1_000), carried) {
            (_, Some(carried)) if carried <= 1_000 => {
                prop_assert_eq!(decided.unwrap_err().reason(), Reason::DeadlinePassed);
            }
            (Some(own), Some(carried)) => prop_assert_eq!(decided, Ok(Some(at(own.min(carried))))),
            (own, carried) => prop_assert_eq!(decided, Ok(own.or(carried).map(at))),
        }
    }
}
