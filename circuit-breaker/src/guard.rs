//! A permit that settles itself.

use crate::{
    circuit::Circuit,
    clock::Clock,
    permit::{Outcome, Permit},
    wait::Waiter,
};
use mainstay_core::Refused;
use std::{fmt, future::poll_fn, mem, ops::Deref};

/// The right to make one call, which settles itself: as abandoned when dropped, as failed when the call panics.
///
/// Time is tokio's. `H` is whatever leads to the circuit: `&Circuit`, `Arc<Circuit>`, `&'static Circuit`.
///
/// ```
/// use mainstay_circuit_breaker::{Circuit, Config, Guard, Outcome};
///
/// let circuit = Circuit::new(Config::default())?;
///
/// let guard = Guard::admit(&circuit).expect("the circuit is closed");
/// guard.settle(Outcome::Success);
///
/// drop(Guard::admit(&circuit));
///
/// let snapshot = circuit.snapshot();
/// assert_eq!((snapshot.votes.calls, snapshot.abandoned), (1, 1));
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[must_use = "a guard that is dropped is an abandoned call"]
#[clippy::has_significant_drop]
pub struct Guard<H: Deref<Target = Circuit>> {
    circuit: H,
    permit: Option<Permit>,
}

impl<H: Deref<Target = Circuit>> Guard<H> {
    /// Asks the circuit for a call.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub fn admit(circuit: H) -> Result<Self, Refused> {
        let permit = circuit.admit(Clock)?;
        Ok(Self::new(circuit, permit))
    }

    /// Waits until the circuit admits a call.
    ///
    /// Those who wait go on in the order in which they came, and at most as many at once as the circuit has room for. While
    /// it is recovering each is drawn once in a stage, and waits for the end of the stage if it is not; once a second when the
    /// time of the stage is over and only votes are missing. A circuit in shadow
    /// mode is not waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it gives its place in line up, and its turn, if it had come, to the next one.
    ///
    /// # Panics
    ///
    /// If it has to wait for a time to pass, outside of a tokio runtime with a timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_circuit_breaker::{Circuit, Config, Guard, Outcome, State, Window};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
    /// let circuit = Circuit::new(Config::default().window(Window::Consecutive(1)).probes(1))?;
    /// Guard::wait(&circuit).await.settle(Outcome::Failure);
    /// assert_eq!(circuit.state(), State::Open);
    ///
    /// Guard::wait(&circuit).await.settle(Outcome::Success); // thirty seconds later
    /// assert_eq!(circuit.state(), State::Closed);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn wait(circuit: H) -> Self {
        if let Ok(permit) = circuit.admit_by_word() {
            return Self::new(circuit, permit);
        }
        let mut waiter = Waiter::new(&*circuit);
        let permit = loop {
            poll_fn(|cx| waiter.poll(cx)).await;
            match circuit.admit_waiter(Clock) {
                Ok(permit) => break permit,
                // Another one was faster.
                Err(None) => {}
                // Not drawn in this stage.
                Err(Some(rest)) => tokio::time::sleep(rest).await,
            }
        };
        // After the slot is taken, so that nobody is let through for it.
        drop(waiter);
        Self::new(circuit, permit)
    }

    pub(crate) const fn new(circuit: H, permit: Permit) -> Self {
        Self { circuit, permit: Some(permit) }
    }

    /// Reports how the call ended.
    pub fn settle(mut self, outcome: Outcome) {
        self.settle_once(outcome);
    }

    /// Runs a part of the call; if it panics, the call has failed.
    ///
    /// `std::thread::panicking` would not do: it is true as well where a future is dropped while something else unwinds.
    pub fn run<R>(&mut self, part: impl FnOnce() -> R) -> R {
        let scope = PanicScope(self);
        let result = part();
        mem::forget(scope);
        result
    }

    /// Moves the right to another guard, so that this one has nothing left to settle.
    #[cfg(feature = "http")]
    pub(crate) fn hand_over(&mut self) -> Self
    where
        H: Clone,
    {
        Self { circuit: self.circuit.clone(), permit: self.permit.take() }
    }

    /// Says that the call is not silent: if it is a probe that is still out, its deadline starts anew.
    pub fn renew(&self) {
        if let Some(permit) = &self.permit {
            self.circuit.renew(permit, Clock);
        }
    }

    pub(crate) fn settle_once(&mut self, outcome: Outcome) {
        if let Some(permit) = &self.permit {
            if let Err(word) = self.circuit.settle_by_word(permit, outcome) {
                self.circuit.settle_by_state(word, permit, outcome, Clock);
            }
            self.permit = None;
        }
    }
}

impl<H: Deref<Target = Circuit>> Drop for Guard<H> {
    fn drop(&mut self) {
        self.settle_once(Outcome::Abandoned);
    }
}

impl<H: Deref<Target = Circuit>> fmt::Debug for Guard<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("circuit", &*self.circuit).field("permit", &self.permit).finish()
    }
}

/// Dropped only while what it guards unwinds.
struct PanicScope<'a, H: Deref<Target = Circuit>>(&'a mut Guard<H>);

impl<H: Deref<Target = Circuit>> Drop for PanicScope<'_, H> {
    fn drop(&mut self) {
        self.0.settle_once(Outcome::Failure);
    }
}
