//! Waiting for a circuit: one waiter, its place in line, and its timer.

use crate::{
    circuit::Circuit,
    clock::Clock,
    waiters::{Answer, Place},
};
use std::{
    ops::Deref,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// One who waits for a circuit to let it through.
///
/// # Cancellation
///
/// It can be dropped at any moment. Away from the circuit that changes nothing. In line, its place is given up; if another
/// one has to watch the time in its stead, that one is woken. With a lease, woken or not, the lease goes to the first in
/// line, who is woken.
pub(crate) struct Waiter<H: Deref<Target = Circuit>> {
    circuit: H,
    /// Once it has asked.
    place: Option<Place>,
    /// Whether it may be in line, or have a lease.
    queued: bool,
    /// Made when there is something to wait for, and armed only while it waits.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<H: Deref<Target = Circuit>> Waiter<H> {
    pub(crate) const fn new(circuit: H) -> Self {
        Self { circuit, place: None, queued: false, alarm: None }
    }

    /// Ready when the circuit lets it through; it then has a lease, unless the circuit lets everyone through.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.queued = true;
            match self.circuit.ask(&mut self.place, cx.waker(), Clock) {
                Answer::Go => {
                    self.alarm = None;
                    return Poll::Ready(());
                }
                // Whatever changes this wakes us.
                Answer::Wait(None) => {
                    self.alarm = None;
                    return Poll::Pending;
                }
                // The moment may pass just now; then it is another answer.
                Answer::Wait(Some(at)) => ready!(self.poll_alarm(at.into(), cx)),
            }
        }
    }

    fn poll_alarm(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() != at {
            alarm.as_mut().reset(at);
        }
        alarm.as_mut().poll(cx)
    }

    /// Notes that it waits for the service behind; `false` if the circuit would refuse it by now.
    pub(crate) fn stand_by(&mut self, cx: &Context<'_>) -> bool {
        self.circuit.stand_by(&mut self.place, cx.waker(), Clock)
    }

    /// Gives up its place or its lease, if it has one.
    #[inline]
    pub(crate) fn leave(&mut self) {
        if self.queued {
            self.leave_for_good();
        }
    }

    #[inline(never)]
    fn leave_for_good(&mut self) {
        self.queued = false;
        self.alarm = None;
        if let Some(place) = self.place.take() {
            self.circuit.leave(place, Clock);
        }
    }
}

impl<H: Deref<Target = Circuit>> Drop for Waiter<H> {
    fn drop(&mut self) {
        self.leave_for_good();
    }
}
