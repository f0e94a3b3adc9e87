//! One circuit per endpoint under tower's balancer: `cargo run -p mainstay-examples --example circuit_per_endpoint`
//!
//! Three replicas, of which one fails every call. Its circuit opens and the other two stay closed. A call that the open
//! circuit refuses was certainly not executed, so it is simply made again, and the balancer picks anew.

use mainstay::{
    BoxError, Refusable, Verdict,
    circuit_breaker::{CircuitBreakerLayer, Config, State, Window},
};
use std::time::Duration;
use tower::{
    Layer, Service, ServiceExt,
    balance::p2c::Balance,
    discover::ServiceList,
    load::{CompleteOnResponse, PendingRequests},
    service_fn,
};

const REPLICAS: [&str; 3] = ["catalog-a", "catalog-b", "catalog-c"];
const BROKEN: &str = "catalog-b";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let config = Config::default().name("catalog").window(Window::Consecutive(5)).open_for(Duration::from_mins(1));
    let policy = CircuitBreakerLayer::new(config)?;

    // The same configuration for each endpoint, and a circuit of its own.
    let layers = REPLICAS.map(|_| policy.fresh());
    let circuits = layers.each_ref().map(CircuitBreakerLayer::handle);
    let endpoints = REPLICAS.into_iter().zip(layers).map(|(replica, layer)| {
        let endpoint = service_fn(move |item: u32| async move { ask(replica, item) });
        PendingRequests::new(layer.layer(endpoint), CompleteOnResponse::default())
    });
    let mut catalog = Balance::new(ServiceList::new(endpoints));

    let (mut answered, mut failed, mut refused) = (0, 0, 0);
    for item in 0..300 {
        loop {
            match catalog.ready().await?.call(item).await {
                Ok(answer) => {
                    assert!(!answer.starts_with(BROKEN));
                    answered += 1;
                }
                Err(error) if matches!(error.verdict(), Verdict::Refused(_)) => {
                    refused += 1;
                    continue;
                }
                Err(_) => failed += 1,
            }
            break;
        }
    }

    println!("{answered} answered, {failed} failed, {refused} refused and asked again");
    for (replica, circuit) in REPLICAS.iter().zip(&circuits) {
        println!("{replica}: {}", circuit.state());
        assert_eq!(circuit.state() == State::Open, *replica == BROKEN);
    }
    assert_eq!(failed, 5, "the fifth failure opened the circuit, and no later call reached the broken replica");
    Ok(())
}

fn ask(replica: &str, item: u32) -> Result<String, BoxError> {
    if replica == BROKEN {
        return Err(format!("{replica} has lost its disk").into());
    }
    Ok(format!("{replica}: item {item}"))
}
