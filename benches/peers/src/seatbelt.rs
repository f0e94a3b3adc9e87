//! The crate `seatbelt`: a layer, for tower and for its own service trait. It has a time window only.

use crate::{DAY, SPAN, poll_once};
use layered::Execute;
use mainstay_benches::{Case, Failed, Leaf, call};
use mainstay_core::{Error, Reason, Refused};
use seatbelt::{
    RecoveryInfo, ResilienceContext,
    breaker::{Breaker, BreakerLayer},
    typestates::Set,
};
use std::{
    sync::{Arc, LazyLock},
    task::Poll,
};
use tick::Clock;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;

type Answer = Result<u64, Error<Failed>>;

/// Half of the calls of ten seconds.
pub fn layer() -> BreakerLayer<u64, Answer, Set, Set> {
    // The clock spawns a task that drives timers. Nothing here needs one, but the task needs a home.
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().enable_time().build().expect("a runtime"));
    let _context = RUNTIME.enter();
    Breaker::layer("breaker", &ResilienceContext::new(Clock::new_tokio()))
        .recovery_with(|answer: &Answer, _| match answer {
            Ok(_) => RecoveryInfo::never(),
            Err(_) => RecoveryInfo::retry(),
        })
        .rejected_input_error(|_, _| rejected().into())
        .failure_threshold(0.5)
        .min_throughput(20)
        .sampling_duration(SPAN)
        .break_duration(DAY)
}

/// What is answered instead of a call.
pub const fn rejected() -> Refused {
    Refused::new(Reason::CircuitOpen, "seatbelt")
}

pub(crate) fn cases() -> Vec<Case> {
    vec![closed(), closed_layered(), open()]
}

fn closed() -> Case {
    let service = layer().layer(Leaf);
    Case::new("within_10s/seatbelt", move || {
        let mut service = service.clone();
        move |number| assert_eq!(call(&mut service, number), Poll::Ready(Ok(number)))
    })
}

fn closed_layered() -> Case {
    let service = Arc::new(layer().layer(Execute::new(async |number: u64| Answer::Ok(number))));
    Case::new("within_10s/seatbelt_layered", move || {
        let service = Arc::clone(&service);
        move |number| {
            let answer = poll_once(layered::Service::execute(&*service, number));
            assert_eq!(answer, Poll::Ready(Ok(number)));
        }
    })
}

fn open() -> Case {
    let failing = Execute::new(async |_: u64| Answer::Err(Error::Inner(Failed)));
    let service = Arc::new(layer().layer(failing));
    for _ in 0..20 {
        let _ = poll_once(layered::Service::execute(&*service, 0));
    }
    Case::new("open/seatbelt_layered", move || {
        let service = Arc::clone(&service);
        move |number| {
            let answer = poll_once(layered::Service::execute(&*service, number));
            assert_eq!(answer, Poll::Ready(Err(rejected().into())));
        }
    })
}
