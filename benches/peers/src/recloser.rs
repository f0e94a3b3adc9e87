//! The crate `recloser`: wraps a closure or a future.

use crate::{DAY, poll_once};
use mainstay_benches::{Case, Failed};
use recloser::{AsyncRecloser, Error, Recloser};
use std::{future::ready, sync::Arc, task::Poll};

/// Half of the last hundred calls.
pub fn recloser() -> Recloser {
    Recloser::custom().error_rate(0.5).closed_len(100).open_wait(DAY).build()
}

pub(crate) fn cases() -> Vec<Case> {
    vec![closed(), closed_async(), open()]
}

fn closed() -> Case {
    let breaker = Arc::new(recloser());
    Case::new("last_100/recloser", move || {
        let breaker = Arc::clone(&breaker);
        move |number| {
            let answer = breaker.call(|| Ok::<_, Failed>(number));
            assert!(matches!(answer, Ok(answer) if answer == number));
        }
    })
}

fn closed_async() -> Case {
    let breaker = AsyncRecloser::from(recloser());
    Case::new("last_100/recloser_async", move || {
        let breaker = breaker.clone();
        move |number| {
            let answer = poll_once(breaker.call(ready(Ok::<_, Failed>(number))));
            assert!(matches!(answer, Poll::Ready(Ok(answer)) if answer == number));
        }
    })
}

fn open() -> Case {
    let breaker = Arc::new(recloser());
    // The window has to be full, and is judged by one call more.
    for _ in 0..101 {
        let _ = breaker.call(|| Err::<u64, _>(Failed));
    }
    Case::new("open/recloser", move || {
        let breaker = Arc::clone(&breaker);
        move |number| assert!(matches!(breaker.call(|| Ok::<_, Failed>(number)), Err(Error::Rejected)))
    })
}
