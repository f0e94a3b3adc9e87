//! The lift is missing under the circuit breaker.

use mainstay_circuit_breaker::{CircuitBreakerLayer, Config};
use mainstay_core::check;
use tower::{ServiceBuilder, service_fn};

fn main() {
    let layer = CircuitBreakerLayer::new(Config::default()).unwrap();
    let stack = ServiceBuilder::new().layer(layer).service(service_fn(async |n: u32| u8::try_from(n)));
    check::<u32, _>(stack);
}
