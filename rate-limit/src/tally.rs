//! A count that many threads add to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A count in stripes, so that threads which are refused all the time do not write one cache line.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    stripes: [Stripe; STRIPES],
}

#[derive(Debug, Default)]
#[repr(align(128))] // Two lines: some processors fetch them in pairs.
struct Stripe(AtomicU64);

const STRIPES: usize = 8;

thread_local! {
    // Relaxed: any number will do.
    static STRIPE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Tally {
    #[inline]
    pub(crate) fn add_one(&self) {
        // A thread that is at its end has no stripe any more.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        // Relaxed: a count that nobody decides by.
        self.stripes[stripe].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        // Relaxed: see above.
        self.stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}
