//! A count that many threads add to.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

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
    /// The stripe of this thread, counted from one; zero as long as it has none.
    static STRIPE: Cell<usize> = const { Cell::new(0) };
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

impl Tally {
    #[inline]
    pub(crate) fn add_one(&self) {
        let stripe = match STRIPE.get() {
            0 => take_stripe(),
            stripe => stripe,
        };
        // Relaxed: a count that nobody decides by.
        self.stripes[stripe % STRIPES].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        // Relaxed: see above.
        self.stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

#[cold]
fn take_stripe() -> usize {
    // Relaxed: any number will do.
    let stripe = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES + 1;
    STRIPE.set(stripe);
    stripe
}
