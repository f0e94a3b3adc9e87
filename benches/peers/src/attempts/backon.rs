//! The crate `backon`: retries around a function.

use super::{ATTEMPTS, BASE};
use crate::poll_once;
use backon::{ExponentialBuilder, Retryable};
use mainstay_benches::{Case, Failed};
use std::{future::ready, task::Poll};

pub(super) fn cases() -> Vec<Case> {
    let plain = ExponentialBuilder::default().with_min_delay(BASE).with_max_times(ATTEMPTS as usize - 1);
    vec![case("retry/backon", plain), case("retry/backon_jitter", plain.with_jitter())]
}

fn case(name: &str, backoff: ExponentialBuilder) -> Case {
    Case::new(name, move || {
        move |number| {
            let fetch = || ready(Ok::<_, Failed>(number));
            let answer = poll_once(fetch.retry(backoff).sleep(tokio::time::sleep));
            assert_eq!(answer, Poll::Ready(Ok(number)));
        }
    })
}
