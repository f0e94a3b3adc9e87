//! What a call allocates: nothing.
//!
//! Run with the features off and on: with `tracing` and no subscriber, with `metrics` and no recorder.

mod support;

use allocation_counter::measure;
use mainstay_core::{Deadline, Error, Meta};
use mainstay_timeout::{Deadlines, InMeta, Timeout, TimeoutLayer, timeout, within};
use std::{
    convert::Infallible,
    future::{Pending, Ready, pending, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use support::{Job, config, ms, now};
use tower::{Layer, Service};

type Answer = Result<u32, Error<Infallible>>;

#[derive(Clone, Copy)]
struct Leaf;

#[derive(Clone, Copy)]
struct Silent;

impl Service<Job> for Leaf {
    type Response = u32;
    type Error = Error<Infallible>;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Job) -> Self::Future {
        ready(Ok(7))
    }
}

impl Service<Job> for Silent {
    type Response = u32;
    type Error = Error<Infallible>;
    type Future = Pending<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Job) -> Self::Future {
        pending()
    }
}

const CALLS: u32 = 100;

/// How often `act` allocates, once it has run before.
fn allocations(mut act: impl FnMut()) -> u64 {
    act();
    measure(|| (0..CALLS).for_each(|_| act())).count_total
}

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ask<S: Service<Job, Response = u32, Error = Error<Infallible>>, D: Deadlines<Job>>(
    service: &mut Timeout<S, D>,
    job: Job,
) -> Poll<Answer> {
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    poll(service.call(job))
}

fn due(wait: Duration) -> Job {
    let mut job = Job::default();
    job.set_meta(Deadline::after(now(), wait));
    job
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), CALLS.into());
}

#[test]
fn a_call_that_is_answered_at_once_allocates_nothing() {
    let mut plain = support::layer(ms(100)).layer(Leaf);
    assert_eq!(allocations(|| assert_eq!(ask(&mut plain, Job::default()), Poll::Ready(Ok(7)))), 0);
    let mut carried = TimeoutLayer::with_deadlines(config(ms(100)), InMeta).unwrap().layer(Leaf);
    assert_eq!(allocations(|| assert_eq!(ask(&mut carried, due(ms(5_000))), Poll::Ready(Ok(7)))), 0);
    assert_eq!(allocations(|| assert_eq!(poll(timeout("test", ms(1), ready(Answer::Ok(7)))), Poll::Ready(Ok(7)))), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_allocates_nothing() {
    let mut plain = support::layer(ms(100)).layer(Silent);
    assert_eq!(allocations(|| assert!(ask(&mut plain, Job::default()).is_pending())), 0);
    let mut carried = TimeoutLayer::with_deadlines(config(ms(100)), InMeta).unwrap().layer(Silent);
    assert_eq!(allocations(|| assert!(ask(&mut carried, due(ms(50))).is_pending())), 0);
    let deadline = Deadline::after(now(), ms(50));
    assert_eq!(allocations(|| assert!(poll(within("test", deadline, pending::<Answer>())).is_pending())), 0);
}

// With a recorder there is a look-up.
#[tokio::test(start_paused = true)]
async fn a_refused_call_and_one_that_times_out_allocate_nothing_unless_they_are_counted() {
    let most = if cfg!(feature = "metrics") { 2 * u64::from(CALLS) } else { 0 };
    let mut carried = TimeoutLayer::with_deadlines(config(ms(100)), InMeta).unwrap().layer(Silent);
    let late = due(Duration::ZERO);
    assert!(allocations(|| assert!(matches!(ask(&mut carried, late), Poll::Ready(Err(Error::Refused(_)))))) <= most);
    let over = || poll(timeout("test", Duration::ZERO, pending::<Answer>()));
    assert!(allocations(|| assert!(matches!(over(), Poll::Ready(Err(Error::TimedOut(_)))))) <= most);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn the_map_of_the_extensions_is_paid_for_once() {
    let leaf = tower::service_fn(|_: http::Request<()>| ready(Ok::<_, Error<Infallible>>(())));
    let layer = |time| TimeoutLayer::http(config(ms(time))).unwrap();
    let mut inner = layer(50).layer(leaf);
    let mut both = layer(90).layer(inner);
    let one = allocations(|| assert!(poll(inner.call(http::Request::new(()))).is_ready()));
    assert!((3..=4).contains(&(one / u64::from(CALLS))), "as the README says: {one}");
    assert_eq!(allocations(|| assert!(poll(both.call(http::Request::new(()))).is_ready())), one);
}
