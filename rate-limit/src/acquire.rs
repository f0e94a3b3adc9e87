//! Limits without tower: wait for units, or run work if they are there.

use crate::{
    decision::{CostTooLarge, Decision, ReserveError},
    keyed::KeyedLimiter,
    limiter::Limiter,
    reservation::Reservation,
};
use mainstay_core::{Refusable, Refused};
use std::{hash::Hash, time::Duration};

impl Limiter {
    /// Takes `cost` units at the earliest moment, if that is at most `wait_at_most` away; they go back when the reservation is
    /// dropped without being [spent](Reservation::spend).
    ///
    /// # Errors
    ///
    /// If that moment is too far away, or if it never comes.
    pub fn reserve(&self, cost: u64, wait_at_most: Duration) -> Result<Reservation<&Self>, ReserveError> {
        Reservation::take(self, cost, wait_at_most)
    }

    /// Waits for `cost` units, but not longer than `wait_at_most`, and uses them.
    ///
    /// Whoever waits does so in order: in that in which the futures were first polled. Nobody is overtaken, neither by one who
    /// asks for less nor by [`check`](Self::check). How long it takes is known at once, so nobody waits in vain.
    ///
    /// Give `wait_at_most` the time that the caller really waits, instead of a timeout around this: whoever leaves wakes all
    /// behind him that have asked again since somebody left, so a crowd of `n` that gives up one by one costs about `n²/2`
    /// wakes. Who is refused at once wakes nobody.
    ///
    /// To pace calls that go out, make a token bucket with a [burst](crate::Quota::burst) of one: they then go out evenly.
    /// Tokio's timers have milliseconds, and a wait is rounded up to one; with more than some hundred calls per second, a burst of some
    /// milliseconds is needed to reach the rate.
    ///
    /// # Errors
    ///
    /// At once, if the wait would be longer: the refusal says how long. If there are never as many units, it says no time.
    /// [`reserve`](Self::reserve) has an error for each.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it leaves the queue and gives the units back; those behind come sooner.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_rate_limit::{Limiter, Quota};
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Limiter::new(Quota::per_second(10)?.burst(1)?)?;
    /// let start = tokio::time::Instant::now();
    ///
    /// for _ in 0..5 {
    ///     limiter.acquire(1, Duration::from_secs(1)).await?;
    /// }
    /// assert_eq!(start.elapsed(), Duration::from_millis(400));
    ///
    /// let refused = limiter.acquire(1, Duration::from_millis(50)).await.unwrap_err();
    /// assert_eq!(refused.retry_after(), Some(Duration::from_millis(100)));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire(&self, cost: u64, wait_at_most: Duration) -> Result<(), Refused> {
        let reservation = self.reserve(cost, wait_at_most).map_err(|error| error.refused(self.name()))?;
        reservation.turn().await;
        reservation.spend();
        Ok(())
    }

    /// Runs `work` if there is a unit for it.
    ///
    /// The limiter is asked when the returned future is first polled. Work with a plain error is lifted by
    /// [`lift`](mainstay_core::lift); the error type is then [`Error<E>`](mainstay_core::Error).
    ///
    /// # Errors
    ///
    /// The refusal of the limiter, or the error of the work.
    ///
    /// # Cancel safety
    ///
    /// The unit of work that was started is used.
    ///
    /// # Examples
    ///
    /// ```
    /// use mainstay_core::{Error, lift};
    /// use mainstay_rate_limit::{Limiter, Quota};
    ///
    /// async fn fetch() -> Result<u32, std::num::ParseIntError> {
    ///     "7".parse()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
    /// let limiter = Limiter::new(Quota::per_minute(1)?)?;
    ///
    /// assert_eq!(limiter.call(|| lift(fetch())).await, Ok(7));
    /// assert!(matches!(limiter.call(|| lift(fetch())).await, Err(Error::Refused(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn call<T, E, F>(&self, work: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
    {
        self.admit(1)?;
        work().await
    }
}

impl<K: Hash + ?Sized> KeyedLimiter<K> {
    /// Takes `cost` units of the key at the earliest moment, if that is at most `wait_at_most` away; they go back when the
    /// reservation is dropped without being [spent](Reservation::spend).
    ///
    /// # Errors
    ///
    /// If that moment is too far away, or if it never comes.
    pub fn reserve(&self, key: &K, cost: u64, wait_at_most: Duration) -> Result<Reservation<&Self>, ReserveError> {
        Reservation::take_of_key(self, key, cost, wait_at_most)
    }

    /// Waits for `cost` units of the key, but not longer than `wait_at_most`, and uses them; as [`Limiter::acquire`] does.
    ///
    /// # Errors
    ///
    /// At once, if the wait would be longer: the refusal says how long. If there are never as many units, it says no time.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it leaves the queue and gives the units back; those behind come sooner.
    ///
    /// # Panics
    ///
    /// If it has to wait outside of a tokio runtime with a timer.
    pub async fn acquire(&self, key: &K, cost: u64, wait_at_most: Duration) -> Result<(), Refused> {
        let reservation = self.reserve(key, cost, wait_at_most).map_err(|error| error.refused(self.name()))?;
        reservation.turn().await;
        reservation.spend();
        Ok(())
    }

    /// Runs `work` if there is a unit of the key for it, as [`Limiter::call`] does.
    ///
    /// # Errors
    ///
    /// The refusal of the limiter, or the error of the work.
    ///
    /// # Cancel safety
    ///
    /// The unit of work that was started is used.
    pub async fn call<T, E, F>(&self, key: &K, work: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Refusable,
    {
        admit(Ok(self.check(key)), self.name())?;
        work().await
    }
}

/// The answer of the limiter called `by` as a refusal, if it is one.
#[inline]
pub(crate) fn admit(answer: Result<Decision, CostTooLarge>, by: &'static str) -> Result<(), Refused> {
    match answer {
        Ok(decision) => decision.refused(by).map_or(Ok(()), Err),
        Err(error) => Err(error.refused(by)),
    }
}
