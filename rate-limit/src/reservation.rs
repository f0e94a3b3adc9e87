//! A reservation that gives itself back.

use crate::{
    clock::Clock,
    decision::{Decision, ReserveError},
    keyed::{KeyedLimiter, KeyedReserved},
    limiter::Limiter,
    reserved::Reserved,
};
use std::{
    fmt,
    future::{Future, poll_fn},
    hash::Hash,
    ops::Deref,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Units that were taken and are not used yet; dropped, they are given back.
///
/// Time is tokio's. `H` is whatever leads to the limiter, keyed or not: `&Limiter`, `Arc<Limiter>`, `&'static Limiter`.
///
/// What is given back is what would still be missing, see [`Limiter::give_back_at`]: never anything that later callers have
/// used meanwhile.
///
/// ```
/// use mainstay_rate_limit::{Limiter, Quota};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = Limiter::new(Quota::per_second(10)?)?;
///
/// drop(limiter.reserve(4, Duration::ZERO)?);
/// assert_eq!(limiter.peek().remaining, 10);
///
/// limiter.reserve(10, Duration::ZERO)?.spend();
/// let later = limiter.reserve(4, Duration::from_secs(1))?;
/// assert!(later.at().is_some(), "in 400 ms");
/// later.turn().await;
/// later.spend();
/// assert_eq!(limiter.peek().remaining, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a reservation that is dropped is given back"]
#[clippy::has_significant_drop]
pub struct Reservation<H: Deref<Target: Lender>> {
    limiter: H,
    /// `None` when it is spent.
    reserved: Option<<H::Target as Lender>::Reserved>,
}

/// A limiter to which reservations are given back: [`Limiter`] or [`KeyedLimiter`].
pub trait Lender {
    /// The plain token.
    type Reserved;

    /// From when on the units may be used, if that is still to come.
    fn turn_of(&self, reserved: &Self::Reserved) -> Option<Instant>;

    /// Has this one woken, and not the one from before, when the units may be used sooner.
    fn watch(&self, reserved: &Self::Reserved, waker: Option<Waker>);

    /// The decision by which they were reserved.
    fn decision_of(reserved: &Self::Reserved) -> Decision;

    /// Gives back what was not used.
    fn give_back(&self, reserved: Self::Reserved);
}

impl<H: Deref<Target = Limiter>> Reservation<H> {
    /// Takes `cost` units at the earliest moment, if that is at most `wait_at_most` away, as [`Limiter::reserve_at`] says.
    ///
    /// [`Limiter::reserve`] does the same for a reference.
    ///
    /// # Errors
    ///
    /// If that moment is too far away, or if it never comes.
    pub fn take(limiter: H, cost: u64, wait_at_most: Duration) -> Result<Self, ReserveError> {
        let reserved = limiter.reserve_at(cost, wait_at_most, Clock)?;
        Ok(Self::new(limiter, reserved))
    }

    /// One unit, if it comes in time; that it does not is no refusal.
    pub(crate) fn take_untold(limiter: H, wait_at_most: Duration) -> Option<Self> {
        let reserved = limiter.reserve_untold(1, wait_at_most, Clock).ok()?;
        Some(Self::new(limiter, reserved))
    }
}

impl<K: Hash + ?Sized, H: Deref<Target = KeyedLimiter<K>>> Reservation<H> {
    /// Takes `cost` units of the key at the earliest moment, if that is at most `wait_at_most` away.
    ///
    /// [`KeyedLimiter::reserve`] does the same for a reference.
    ///
    /// # Errors
    ///
    /// If that moment is too far away, or if it never comes.
    pub fn take_of_key(limiter: H, key: &K, cost: u64, wait_at_most: Duration) -> Result<Self, ReserveError> {
        let reserved = limiter.reserve_at(key, cost, wait_at_most, Clock)?;
        Ok(Self::new(limiter, reserved))
    }
}

impl<H: Deref<Target: Lender>> Reservation<H> {
    const fn new(limiter: H, reserved: <H::Target as Lender>::Reserved) -> Self {
        Self { limiter, reserved: Some(reserved) }
    }

    /// From when on the units may be used; `None` if they may be now. It comes nearer when somebody before leaves.
    pub fn at(&self) -> Option<Instant> {
        self.limiter.turn_of(self.reserved())
    }

    fn reserved(&self) -> &<H::Target as Lender>::Reserved {
        self.reserved.as_ref().unwrap_or_else(|| unreachable!("it is not spent"))
    }

    /// The decision by which they were reserved: always allowed.
    pub fn decision(&self) -> Decision {
        <H::Target as Lender>::decision_of(self.reserved())
    }

    /// Waits until the units may be used. When somebody before leaves, that is sooner.
    ///
    /// Of several tasks that wait for one reservation, only the one that was polled last is told of that.
    ///
    /// # Cancel safety
    ///
    /// The reservation stays as it is.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    pub async fn turn(&self) {
        let Some(at) = self.at() else { return };
        let mut timer = pin!(sleep_until(at));
        poll_fn(|cx| self.poll_turn(timer.as_mut(), cx)).await;
    }

    /// Whether it is its turn. Pending: the timer will wake us, or who leaves before.
    pub(crate) fn poll_turn(&self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        // Before the question: whoever moves it after the answer finds the waker.
        self.limiter.watch(self.reserved(), Some(cx.waker().clone()));
        while let Some(at) = self.at() {
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    /// Uses the units: nothing is given back any more.
    pub fn spend(mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.limiter.watch(&reserved, None);
        }
    }
}

impl<H: Deref<Target: Lender>> Drop for Reservation<H> {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.limiter.give_back(reserved);
        }
    }
}

impl<H: Deref<Target: Lender>> fmt::Debug for Reservation<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("reserved", &self.reserved.as_ref().map(<H::Target as Lender>::decision_of))
            .finish_non_exhaustive()
    }
}

impl Lender for Limiter {
    type Reserved = Reserved;

    fn turn_of(&self, reserved: &Reserved) -> Option<Instant> {
        self.turn_at(reserved, Clock).map(Instant::from_std)
    }

    fn watch(&self, reserved: &Reserved, waker: Option<Waker>) {
        reserved.watch_by(waker);
    }

    fn decision_of(reserved: &Reserved) -> Decision {
        reserved.decision()
    }

    fn give_back(&self, reserved: Reserved) {
        self.give_back_at(reserved, Clock);
    }
}

impl<K: Hash + ?Sized> Lender for KeyedLimiter<K> {
    type Reserved = KeyedReserved;

    fn turn_of(&self, reserved: &KeyedReserved) -> Option<Instant> {
        self.turn_at(reserved, Clock).map(Instant::from_std)
    }

    fn watch(&self, reserved: &KeyedReserved, waker: Option<Waker>) {
        reserved.watch_by(waker);
    }

    fn decision_of(reserved: &KeyedReserved) -> Decision {
        reserved.decision()
    }

    fn give_back(&self, reserved: KeyedReserved) {
        self.give_back_at(reserved, Clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quota;
    use std::cell::RefCell;
    use tokio_test::{assert_pending, assert_ready, task};

    /// Whose queue moves just after an answer, if there is somebody who leaves then.
    struct Moving {
        limiter: Limiter,
        leaves: RefCell<Vec<Option<Reserved>>>,
    }

    impl Lender for Moving {
        type Reserved = Reserved;

        fn turn_of(&self, reserved: &Reserved) -> Option<Instant> {
            let at = self.limiter.turn_of(reserved);
            if let Some(before) = self.leaves.borrow_mut().pop().flatten() {
                self.limiter.give_back(before);
            }
            at
        }

        fn watch(&self, reserved: &Reserved, waker: Option<Waker>) {
            self.limiter.watch(reserved, waker);
        }

        fn decision_of(reserved: &Reserved) -> Decision {
            reserved.decision()
        }

        fn give_back(&self, reserved: Reserved) {
            self.limiter.give_back(reserved);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_waits_is_told_of_what_moves_just_after_he_was_answered() {
        let limiter = Limiter::new(Quota::per_second(10).unwrap().burst(1).unwrap()).unwrap();
        let [_used, first, second, third] = [(); 4].map(|()| limiter.reserve_at(1, Duration::MAX, Clock).unwrap());
        // The first poll asks twice, and nobody leaves after its first question.
        let moving = Moving { limiter, leaves: RefCell::new(vec![Some(second), Some(first), None]) };
        let reservation = Reservation { limiter: &moving, reserved: Some(third) };
        let mut turn = task::spawn(reservation.turn());
        for _ in 0..2 {
            assert_pending!(turn.poll());
            assert!(turn.is_woken());
        }
        assert_pending!(turn.poll());
        assert!(!turn.is_woken());
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(turn.is_woken());
        assert_ready!(turn.poll());
    }
}
