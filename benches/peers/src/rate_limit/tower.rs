//! The crate `tower`: a fixed window for one service, which waits and never refuses.

use mainstay_benches::{Case, Leaf, call};
use std::{task::Poll, time::Duration};
use tower::limit::{RateLimit, rate::Rate};

pub(super) fn cases() -> Vec<Case> {
    let rate = || Rate::new(1_000_000_000, Duration::from_secs(1));
    let case = Case::new("layer/tower", move || {
        let mut service = RateLimit::new(Leaf, rate());
        move |number| assert!(matches!(call(&mut service, number), Poll::Ready(Ok(answer)) if answer == number))
    });
    vec![case.in_runtime()]
}
