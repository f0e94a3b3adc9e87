//! A hedge around a client: `cargo run -p mainstay-examples --example hedge`
//!
//! Every tenth look-up hangs for a second, whoever asks. When an answer takes longer than usual, a second request is sent
//! beside the first, and the first good answer wins. A budget keeps that from doubling the load when everything is slow.

use mainstay::{
    BoxError, Error,
    retry::{Budget, BudgetConfig, HedgeConfig, HedgeLayer},
};
use std::{cell::Cell, io, rc::Rc, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

const USUAL: Duration = Duration::from_millis(5);
const HANGS: Duration = Duration::from_secs(1);
/// Longer than nearly all answers take. `Percentile` finds such a delay by itself, and follows when the service changes.
const DELAY: Duration = Duration::from_millis(20);

// The clock of the example is virtual: whatever waits is done at once.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let catalog = Rc::new(Catalog::default());
    let budget = Arc::new(Budget::new(BudgetConfig::default().name("catalog").ratio(0.1).initial(5))?);
    let hedge = HedgeLayer::new(HedgeConfig::default().name("catalog").delay(DELAY))?
        // A look-up changes nothing, so it may be done twice. What is not declared so is sent once.
        .idempotent()
        // Shared with the retries of the same service, if there are any.
        .budget(Arc::clone(&budget));
    let hedging = hedge.handle();

    let mut look_up = ServiceBuilder::new()
        .layer(hedge)
        // Once, at the bottom: every policy above keeps this error type.
        .map_err(Error::Inner)
        .service_fn({
            let catalog = Rc::clone(&catalog);
            move |id| price(Rc::clone(&catalog), id)
        });

    let mut slowest = Duration::ZERO;
    for id in 0..100 {
        let asked = Instant::now();
        assert_eq!(look_up.ready().await?.call(id).await?, 100 * id);
        slowest = slowest.max(asked.elapsed());
    }
    assert_eq!(slowest, DELAY + USUAL, "nobody waited for a request that hung");
    assert_eq!(catalog.hanging.get(), 0, "and none of those is left behind");
    let hedges = hedging.snapshot();
    println!("slowest of 100: {slowest:?} instead of {HANGS:?}; {} hedges, {} won", hedges.started, hedges.won);
    assert_eq!(hedges.started, hedges.won);
    assert!(hedges.started >= 9);

    // Everything hangs: a hedge gains nothing now, and the budget soon pays for no more.
    catalog.all_hang.set(true);
    let before = catalog.calls.get();
    for id in 0..100 {
        look_up.ready().await?.call(id).await?;
    }
    let sent = catalog.calls.get() - before;
    println!("100 calls to a catalog that hangs: {sent} requests, {} hedges not paid", budget.snapshot().exhausted);
    assert!(sent <= 100 + 10 + 10, "the tokens that were left, and one for each ten good answers");
    Ok(())
}

#[derive(Default)]
struct Catalog {
    all_hang: Cell<bool>,
    calls: Cell<u32>,
    hanging: Cell<u32>,
}

async fn price(catalog: Rc<Catalog>, id: u32) -> Result<u32, io::Error> {
    let number = catalog.calls.get();
    catalog.calls.set(number + 1);
    if number % 10 == 9 || catalog.all_hang.get() {
        let _hanging = Hanging::begin(&catalog.hanging);
        sleep(HANGS).await;
    } else {
        sleep(USUAL).await;
    }
    Ok(100 * id)
}

/// Counted while it is there.
struct Hanging<'a>(&'a Cell<u32>);

impl<'a> Hanging<'a> {
    fn begin(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
