//! A timeout, and the deadline that it passes on: `cargo run -p mainstay-examples --example timeout`
//!
//! A page asks for reviews, which may take 200 ms. If the page itself has less time left they get no more than that, and if
//! it has none they are not asked at all. What timed out may have been done; what was refused was certainly not.

use http::Request;
use mainstay::{
    BoxError, Deadline, Error, Meta, Reason,
    timeout::{Config, TimeoutLayer},
};
use std::{cell::Cell, io, rc::Rc, time::Duration};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};

const WAIT: Duration = Duration::from_millis(200);

// The clock of the example is virtual: whatever waits is done at once.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let calls = Rc::new(Cell::new(0));
    let mut reviews = ServiceBuilder::new()
        .layer(TimeoutLayer::http(Config::default().name("reviews").timeout(WAIT))?)
        // Once, at the bottom: every policy above keeps this error type.
        .map_err(Error::Inner)
        .service_fn({
            let calls = Rc::clone(&calls);
            move |request| {
                calls.set(calls.get() + 1);
                answer(request)
            }
        });

    // In time.
    let left = ask(&mut reviews, Duration::from_millis(50), None).await?;
    assert_eq!(left, Some(WAIT));
    println!("answered; there were {WAIT:?} for it");

    // Too slow: given up, and nobody knows what became of it.
    let asked = Instant::now();
    let Err(Error::TimedOut(timed_out)) = ask(&mut reviews, Duration::from_secs(10), None).await else {
        unreachable!()
    };
    assert_eq!((timed_out.by(), timed_out.after(), asked.elapsed()), ("reviews", WAIT, WAIT));
    println!("{timed_out}");

    // The page has 120 ms left, so the reviews have no more.
    let page = Deadline::after(Instant::now().into_std(), Duration::from_millis(120));
    let Err(Error::TimedOut(timed_out)) = ask(&mut reviews, Duration::from_secs(10), Some(page)).await else {
        unreachable!()
    };
    assert_eq!(timed_out.after(), Duration::from_millis(120));
    println!("{timed_out}");

    // Now the page has none: nobody waits for the reviews, and so they are not asked.
    let Err(Error::Refused(refused)) = ask(&mut reviews, Duration::ZERO, Some(page)).await else { unreachable!() };
    assert_eq!((refused.by(), refused.reason()), ("reviews", Reason::DeadlinePassed));
    assert_eq!(calls.get(), 3, "the fourth call never reached the service");
    println!("{refused}");
    Ok(())
}

/// Asks for reviews that take so long, for a page that is due.
async fn ask(
    reviews: &mut impl Service<Request<Duration>, Response = Option<Duration>, Error = Error<io::Error>>,
    takes: Duration,
    due: Option<Deadline>,
) -> Result<Option<Duration>, Error<io::Error>> {
    let mut request = Request::new(takes);
    if let Some(due) = due {
        request.set_meta(due);
    }
    reviews.ready().await?.call(request).await
}

/// Whoever is asked knows how much time there is, and can be frugal with it, or pass it on.
async fn answer(request: Request<Duration>) -> Result<Option<Duration>, io::Error> {
    let deadline: Option<Deadline> = request.meta();
    let left = deadline.and_then(|deadline| deadline.remaining(Instant::now().into_std()));
    sleep(*request.body()).await;
    Ok(left)
}
