//! A circuit breaker around a client: `cargo run -p mainstay-examples --example circuit_breaker`
//!
//! A payment provider falls silent. The first calls wait for it in vain, then the circuit opens and calls are refused at
//! once, with the time to come back. When the provider is well again, two probes find out and the circuit closes.

use mainstay::{
    BoxError, Error,
    circuit_breaker::{CircuitBreakerLayer, Config, State, Window},
    timeout::{self, TimeoutLayer},
};
use std::{cell::Cell, future::pending, rc::Rc, time::Duration};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

const WAIT: Duration = Duration::from_millis(250);
const OPEN_FOR: Duration = Duration::from_mins(1);

// The clock of the example is virtual: whatever waits is done at once.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let provider = Rc::new(Provider::default());
    let breaker = CircuitBreakerLayer::new(
        Config::default().name("provider").window(Window::Consecutive(3)).open_for(OPEN_FOR).probes(2),
    )?;
    let circuit = breaker.handle();

    let mut payments = ServiceBuilder::new()
        .layer(breaker)
        // Inside of the circuit, so that it sees a call without an answer as a failure.
        .layer(TimeoutLayer::new(timeout::Config::default().name("provider").timeout(WAIT))?)
        // Once, at the bottom: every policy above keeps this error type.
        .map_err(Error::Inner)
        .service(service_fn({
            let provider = Rc::clone(&provider);
            move |cents| charge(Rc::clone(&provider), cents)
        }));

    assert_eq!(pay(&mut payments, 1_999).await, "charged 1999 cents");

    provider.is_silent.set(true);
    for _ in 0..3 {
        println!("{}", pay(&mut payments, 1_999).await);
    }
    assert_eq!(circuit.state(), State::Open);

    let asked = Instant::now();
    for _ in 0..100 {
        assert_eq!(pay(&mut payments, 1_999).await, "not charged, try again in 60s");
    }
    assert!(asked.elapsed().is_zero(), "nobody waits for a refusal");
    assert_eq!(provider.calls.get(), 4, "and the provider is left in peace");

    provider.is_silent.set(false);
    sleep(OPEN_FOR).await;
    for _ in 0..2 {
        println!("{}", pay(&mut payments, 1_999).await);
    }
    assert_eq!(circuit.state(), State::Closed);
    println!("{} calls refused, {} reached the provider", circuit.snapshot().refused, provider.calls.get());
    Ok(())
}

/// What a caller makes of each answer: the three errors ask for three different things.
async fn pay(payments: &mut impl Service<u32, Response = u32, Error = Error<BoxError>>, cents: u32) -> String {
    let answer = match payments.ready().await {
        Ok(payments) => payments.call(cents).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(cents) => format!("charged {cents} cents"),
        Err(Error::Refused(refused)) => {
            format!("not charged, try again in {:?}", refused.retry_after().unwrap_or_default())
        }
        Err(Error::TimedOut(_)) => "perhaps charged: look it up before trying again".to_owned(),
        Err(error) => format!("not charged: {error}"),
    }
}

#[derive(Default)]
struct Provider {
    is_silent: Cell<bool>,
    calls: Cell<u32>,
}

async fn charge(provider: Rc<Provider>, cents: u32) -> Result<u32, BoxError> {
    provider.calls.set(provider.calls.get() + 1);
    if provider.is_silent.get() {
        pending::<()>().await;
    }
    Ok(cents)
}
