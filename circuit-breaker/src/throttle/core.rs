//! The throttle: the counts under a lock.

use super::{
    ThrottleConfig,
    machine::{Decision, Machine, Place, Tally},
    observe::Observers,
};
use crate::{
    permit::Outcome,
    sync::{Mutex, MutexGuard},
};
use mainstay_core::{InvalidConfig, Now, Reason, Refused, intern};
use std::{fmt, sync::PoisonError, time::Instant};

/// A client that sends less to a service which accepts little: adaptive throttling.
///
/// It has no states and no probes. Each call is refused with a probability that follows from the recent calls alone:
///
/// ```text
/// p = min(max_rejection, max(0, (requests - K * accepts) / (requests + 1)))
/// ```
///
/// The formula is that of *Site Reliability Engineering* (Beyer, Jones, Petoff, Murphy; O'Reilly 2016), chapter 21
/// "Handling Overload", under "Client-Side Throttling". As long as the service accepts at least one of K requests nothing is
/// refused. If it accepts none, the client sends on average only as much as `max_rejection` leaves, and what of that is
/// accepted lets it send more. Use it where a service answers *some* of its calls; a [`Circuit`](crate::Circuit) is for
/// one that answers none.
///
/// # What is counted
///
/// | call | request | accept |
/// | --- | --- | --- |
/// | refused here | yes | no |
/// | in flight | yes | not yet |
/// | answered, [`Success`](Outcome::Success) | yes | yes |
/// | failed or overloaded, [`Failure`](Outcome::Failure) | yes | no |
/// | [`Ignored`](Outcome::Ignored): refused further in, or by the rule says nothing | taken back | no |
/// | [`Abandoned`](Outcome::Abandoned): cancelled | taken back | no |
///
/// A request is counted when it is admitted and not when it ends: a service that hangs is noticed by the calls that wait for
/// it. So a burst larger than [`minimum_calls`](ThrottleConfig::minimum_calls) and than what was accepted lately refuses a
/// part of itself.
///
/// Cancelled calls are taken back since hedges and impatient users cancel healthy calls: a client that asks three and takes
/// the first answer would otherwise throttle three healthy services. While it is in flight such a call counts, so a
/// service that never answers is still sent no more than `minimum_calls` calls at a time and the share that `max_rejection`
/// leaves. A timeout further in makes failures of them.
///
/// # Late answers
///
/// An accept is counted where its request was, so both leave the window together. If an answer comes when its request
/// has left already, it counts as a request *and* an accept of the present: accepts never outnumber requests, and a late
/// answer can at most make good for itself. A window shorter than the slowest call still sees those calls twice, once as
/// requests without an answer; with K below 2 a healthy service could then be throttled. The window should be several
/// times as long as the slowest call.
///
/// # Examples
///
/// ```
/// use mainstay_circuit_breaker::{Outcome, Throttle, ThrottleConfig};
///
/// let now = tokio::time::Instant::now().into_std();
/// let throttle = Throttle::new_at(ThrottleConfig::default().minimum_calls(10).seed(1), now)?;
///
/// for _ in 0..10 {
///     let permit = throttle.admit(now).expect("ten calls say nothing yet");
///     throttle.settle(permit, Outcome::Failure);
/// }
/// assert_eq!(throttle.snapshot_at(now).rejection_rate, 0.9, "10 / 11, but at most 0.9");
///
/// let refused = (0..1_000).filter(|_| throttle.admit(now).is_err()).count();
/// assert!((850..950).contains(&refused));
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
pub struct Throttle {
    machine: Mutex<Machine>,
    name: &'static str,
    observers: Observers,
}

/// The right to make one call; a plain token.
///
/// It belongs to the throttle that gave it, and is settled there. One that is dropped unsettled is a request that was never
/// accepted; a [`ThrottleGuard`](crate::ThrottleGuard) settles by itself.
#[derive(Debug)]
#[must_use = "an admitted call has to be settled"]
pub struct ThrottlePermit {
    /// `None` if the call does not count, as in shadow mode.
    pub(super) place: Option<Place>,
}

/// A throttle at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ThrottleSnapshot {
    /// The configured name.
    pub name: &'static str,
    /// Requests in the window, with those that were refused here and those in flight.
    pub requests: u64,
    /// Those that the service has accepted.
    pub accepts: u64,
    /// The probability with which the next call is refused. In shadow mode, with which it would be.
    pub rejection_rate: f64,
    /// Calls refused since the throttle was made. In shadow mode, those that would have been.
    pub refused: u64,
}

impl Throttle {
    /// A throttle that has seen nothing, and whose first moment is `now`.
    ///
    /// [`Throttle::new`] takes the moment from tokio's clock.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn new_at(config: ThrottleConfig, now: impl Now) -> Result<Self, InvalidConfig> {
        config.check()?;
        let name = intern(&config.name);
        Ok(Self { machine: Mutex::new(Machine::new(config, now.now())?), name, observers: Observers::new(name) })
    }

    /// A throttle of its own with the present configuration of this one, first moment `now`. Its seed, if one was
    /// configured, is drawn from this one, so that the two do not draw alike.
    ///
    /// # Panics
    ///
    /// Never: the configuration was checked.
    #[must_use]
    pub fn fresh_at(&self, now: impl Now) -> Self {
        let config = self.lock().config_for_another();
        Self::new_at(config, now).unwrap_or_else(|error| unreachable!("a checked configuration was refused: {error}"))
    }

    /// Counts a request, and admits it or not.
    ///
    /// # Errors
    ///
    /// The refusal, unless the throttle is in shadow mode. It names no time: the next call has its own chance.
    #[inline]
    pub fn admit(&self, now: impl Now) -> Result<ThrottlePermit, Refused> {
        // Read before the lock is taken.
        let now = now.now();
        let decision = self.lock().admit(now);
        match decision {
            Decision::Admitted(permit) => Ok(permit),
            Decision::Refused { rejection_rate, shadow } => self.refuse(rejection_rate, shadow),
        }
    }

    /// Reports how an admitted call ended. It takes no time: an answer counts where its request was counted.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a permit is settled once")]
    pub fn settle(&self, permit: ThrottlePermit, outcome: Outcome) {
        self.settle_ref(&permit, outcome);
    }

    #[inline]
    pub(super) fn settle_ref(&self, permit: &ThrottlePermit, outcome: Outcome) {
        // A failure leaves the request as it was counted: without an accept.
        if let Some(place) = permit.place.filter(|_| outcome != Outcome::Failure) {
            self.lock().settle(place, outcome);
        }
    }

    /// The throttle as it is now.
    pub fn snapshot_at(&self, now: impl Now) -> ThrottleSnapshot {
        let now = now.now();
        let mut machine = self.lock();
        let (Tally { requests, accepts }, rejection_rate) = machine.look(now);
        ThrottleSnapshot { name: self.name, requests, accepts, rejection_rate, refused: machine.refused() }
    }

    /// The configured name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The present configuration.
    pub fn config(&self) -> ThrottleConfig {
        self.lock().config().clone()
    }

    /// Takes another configuration and keeps what was counted; a window of another length starts empty.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or the name is another one; then nothing is changed.
    pub fn reconfigure_at(&self, config: ThrottleConfig, now: impl Now) -> Result<(), InvalidConfig> {
        config.check()?;
        let now = now.now();
        self.lock().reconfigure(config, now)
    }

    /// Takes the metrics recorder that is installed now, if the throttle has met another one before.
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn rebind_metrics(&self) {
        self.observers.rebind_metrics();
    }

    /// Counts a service that failed before it could be called: a request that was not accepted.
    pub(super) fn fail_unready(&self, now: Instant) {
        self.lock().request(now);
    }

    #[cold]
    fn refuse(&self, rejection_rate: f64, shadow: bool) -> Result<ThrottlePermit, Refused> {
        self.observers.refused(rejection_rate, shadow);
        if shadow { Ok(ThrottlePermit { place: None }) } else { Err(Refused::new(Reason::Throttled, self.name)) }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        // Nothing foreign runs under the lock, so a panic there would be a bug of ours; other calls go on all the same.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("name", &self.name).finish_non_exhaustive()
    }
}
