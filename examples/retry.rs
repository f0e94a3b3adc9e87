//! Retries around a client: `cargo run -p mainstay-examples --example retry`
//!
//! A mail service fails one call in four. Each mail has a number that the service knows again, so what failed may be sent
//! again, after a wait with jitter. When the service is down altogether the budget ends that: a service that is ill must not
//! be asked three times as often.

use mainstay::{
    BoxError, Error,
    retry::{Backoff, Budget, BudgetConfig, Config, RetryLayer},
};
use std::{cell::Cell, future::ready, io, rc::Rc, sync::Arc, time::Duration};
use tower::{Service, ServiceBuilder, ServiceExt};

// The clock of the example is virtual: whatever waits is done at once.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let post = Rc::new(Post::default());
    let mail = || {
        let post = Rc::clone(&post);
        move |number| ready(post.send(number))
    };
    let backoff = Backoff::exponential(Duration::from_millis(100)).cap(Duration::from_secs(5));
    // Two good answers pay for one retry. One budget for all who call the same service.
    let budget = Arc::new(Budget::new(BudgetConfig::default().name("mail").ratio(0.5))?);
    let retry = RetryLayer::new(Config::default().name("mail").max_attempts(3).backoff(backoff))?;

    let mut careful = ServiceBuilder::new()
        .layer(retry.budget(Arc::clone(&budget)))
        // Once, at the bottom: every policy above keeps this error type.
        .map_err(Error::Inner)
        .service_fn(mail());
    // Nobody has said that a mail may be sent twice. What failed may have been sent, so it is not sent again.
    assert!(careful.ready().await?.call(0).await.is_err());
    assert_eq!(post.calls.get(), 1);

    let mut mails = ServiceBuilder::new()
        .layer(retry.idempotent().budget(Arc::clone(&budget)))
        .map_err(Error::Inner)
        .service_fn(mail());
    for number in 0..100 {
        mails.ready().await?.call(number).await?;
    }
    println!("100 mails sent, with {} calls", post.calls.replace(0));

    post.is_down.set(true);
    for number in 0..100 {
        assert!(matches!(mails.ready().await?.call(number).await, Err(Error::Inner(_))));
    }
    let (calls, budget) = (post.calls.get(), budget.snapshot());
    println!("100 mails not sent, with {calls} calls; {} retries were not paid", budget.exhausted);
    assert!(calls <= 110, "one each, and the ten retries at most that had been saved");
    assert!(budget.exhausted > 90);
    Ok(())
}

#[derive(Default)]
struct Post {
    is_down: Cell<bool>,
    calls: Cell<u32>,
}

impl Post {
    fn send(&self, _number: u32) -> Result<(), io::Error> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let fails = self.is_down.get() || call.is_multiple_of(4);
        if fails { Err(io::Error::other("connection reset")) } else { Ok(()) }
    }
}
