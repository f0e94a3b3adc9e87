//! Beside other crates: the same calls, the same loop, the same checks. Here the circuit breaker, in [`attempts`],
//! [`rate_limit`] and [`saga`] the others.
//!
//! Each crate is used as its own documentation shows it, with the settings of ours where it has them: five failures in a row,
//! half of the last hundred calls, half of the calls of ten seconds, at least twenty of them. Whoever is open stays open for a
//! day.

pub mod attempts;
mod failsafe;
mod mainstay;
pub mod rate_limit;
mod recloser;
pub mod saga;
mod seatbelt;
mod tower_resilience;

pub use self::{
    failsafe::{consecutive as failsafe_consecutive, within as failsafe_within},
    recloser::recloser,
    seatbelt::{layer as seatbelt_layer, rejected as seatbelt_rejected},
    tower_resilience::{builder as tower_resilience_builder, consecutive as tower_resilience_consecutive},
};

use mainstay_benches::{Case, bare};
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower_service::Service;

/// How long whoever is open stays open.
pub const DAY: Duration = Duration::from_hours(24);

/// The time window.
pub const SPAN: Duration = Duration::from_secs(10);

/// All cases for one thread, by what is measured.
pub fn cases() -> Vec<Case> {
    let crates =
        [mainstay::cases(), failsafe::cases(), recloser::cases(), seatbelt::cases(), tower_resilience::cases()];
    sorted([bare()].into_iter().chain(crates.into_iter().flatten()).collect())
}

/// The cases where threads meet at one breaker.
///
/// Two of tower-resilience are left out. Its time window is made anew all the time here, for each thread its own. Where two
/// threads meet at its open breaker, one sleeps on a timer, which nobody drives here.
pub fn shared_cases() -> Vec<Case> {
    let left_out = |name: &str| name == "open/tower_resilience" || name.starts_with("within_10s/tower_resilience");
    cases().into_iter().filter(|case| !left_out(case.name())).collect()
}

/// One after another what measures the same, in the order of the crates.
fn sorted(mut cases: Vec<Case>) -> Vec<Case> {
    let group = |case: &Case| {
        let group = case.name().split('/').next().unwrap_or_default();
        ["bare", "consecutive", "last_100", "within_10s", "open"].iter().position(|&known| known == group)
    };
    cases.sort_by_key(group);
    cases
}

/// One call, asked again for as long as it waits for another thread.
///
/// # Errors
///
/// The error of the service.
#[inline]
pub fn call_again<S: Service<u64>>(service: &mut S, request: u64) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    ready(|| service.poll_ready(&mut cx))?;
    let mut future = pin!(service.call(request));
    ready(|| future.as_mut().poll(&mut cx))
}

/// Polls a future that has no reason to wait.
#[inline]
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[inline]
fn ready<T>(mut poll: impl FnMut() -> Poll<T>) -> T {
    loop {
        if let Poll::Ready(answer) = poll() {
            return answer;
        }
        std::hint::spin_loop();
    }
}
