//! An error has to be kept as text.

use mainstay_core::Error;
use mainstay_saga::{Draft, Out, Participant};
use tower::service_fn;

/// It is no `std::error::Error`.
#[derive(Debug)]
struct Broken;

fn order<'s>(mut s: Draft<'s, ()>, item: Out<'s, u64>) -> Out<'s, u64> {
    let prices = Participant::new(service_fn(async |item: u64| Err::<u64, _>(Error::Inner(Broken))));
    s.read("price", item, move |_, item| prices.call(item))
}

fn main() {}
