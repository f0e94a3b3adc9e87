//! The crate `tokio-retry`: retries around a function.

use super::ATTEMPTS;
use crate::poll_once;
use mainstay_benches::{Case, Failed};
use std::{future::ready, task::Poll, time::Duration};
use tokio_retry::{
    Retry,
    strategy::{ExponentialBackoff, jitter},
};

pub(super) fn cases() -> Vec<Case> {
    vec![case("retry/tokio_retry", backoff), case("retry/tokio_retry_jitter", || backoff().map(jitter))]
}

/// 100 ms, 200 ms: each delay is a power of its base, times its factor.
fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBackoff::from_millis(2).factor(50).take(ATTEMPTS as usize - 1)
}

fn case<I: Iterator<Item = Duration>>(name: &str, strategy: impl Fn() -> I + Copy + Send + 'static) -> Case {
    Case::new(name, move || {
        move |number| {
            let answer = poll_once(Retry::start(strategy(), || ready(Ok::<_, Failed>(number))));
            assert_eq!(answer, Poll::Ready(Ok(number)));
        }
    })
}
