//! Hedging: another attempt beside one that takes long.
//!
//! # One call
//!
//! ```text
//!            time has come, or an attempt failed        service is ready
//!   next ──────────────────────────────────────▶ paid ──────────────────▶ running ──▶ ended
//!    │                 │                          │                          │
//!    │                 ├ budget does not pay:     └ deadline, unready, time  └ success: the answer
//!    │                 │ one hedge less             named by the service:      failure: kept, if it leaves most open
//!    │                 └ body under way:            given back, no more
//!    │                   one delay later
//!    └ deadline, last one sent: no more
//! ```
//!
//! What holds at the end of each poll:
//!
//! - at most one attempt is paid and not running; nothing waits for readiness that is not paid;
//! - what runs was polled, and the task is registered with it, with the service that is not ready, and with the timer;
//! - the timer is that of the next attempt, or, while one is paid, that of the deadline;
//! - if nothing runs, nothing is paid and no failure has yet to start the next attempt, the call is over; it is over too if one
//!   is paid and a response is kept.
//!
//! # Where a call can be cancelled
//!
//! Before its first poll, while attempts run, while one is paid and waits, and while something panics. All of it is owned by
//! one future: dropping it drops the attempts, then gives the charge back, then counts the time that the first attempt had.

mod call;
mod config;
mod counts;
mod future;
mod hedging;
mod latencies;
mod layer;
mod next;
mod observe;
mod race;
mod referee;
#[cfg(feature = "serde")]
mod serde;
mod service;
mod stopwatch;
mod timer;

pub use self::{
    config::{HedgeConfig, HedgeDelay, Percentile},
    future::HedgeFuture,
    hedging::{HedgeSnapshot, Hedging},
    latencies::{Latencies, LatencySnapshot},
    layer::HedgeLayer,
    service::Hedge,
};
