//! The crate `tower-resilience-circuitbreaker`: a layer for tower.

use crate::{DAY, SPAN, call_again, poll_once};
use mainstay_benches::{Case, Leaf};
use tower_layer::Layer;
use tower_resilience_circuitbreaker::{
    CircuitBreaker, CircuitBreakerConfigBuilder, CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier,
    SlidingWindowType,
};

type Builder = CircuitBreakerConfigBuilder<DefaultClassifier>;

/// Half of the last hundred calls.
pub fn builder() -> Builder {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(100)
        .minimum_number_of_calls(20)
        .wait_duration_in_open(DAY)
}

/// Five failures in a row.
pub fn consecutive() -> Builder {
    builder().consecutive_failures(5)
}

fn within() -> Builder {
    builder().sliding_window_type(SlidingWindowType::TimeBased).sliding_window_duration(SPAN)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        closed("consecutive/tower_resilience", consecutive()),
        closed("last_100/tower_resilience", builder()),
        within_held(100),
        within_held(1_000),
        within_held(10_000),
        open(),
    ]
}

fn closed(name: &str, builder: Builder) -> Case {
    let service = service(builder);
    Case::new(name, move || {
        let mut service = service.clone();
        move |number| assert!(matches!(call_again(&mut service, number), Ok(answer) if answer == number))
    })
}

/// Its time window has one record for each call and reads all of them at each call, so it is made anew each `held` calls: on
/// average it holds half as many.
fn within_held(held: u64) -> Case {
    Case::new(format!("within_10s/tower_resilience_up_to_{held}_held"), move || {
        let mut current = service(within());
        move |number| {
            if number % held == 0 {
                current = service(within());
            }
            assert!(matches!(call_again(&mut current, number), Ok(answer) if answer == number));
        }
    })
}

fn open() -> Case {
    let service = service(builder());
    assert!(poll_once(service.force_open()).is_ready());
    Case::new("open/tower_resilience", move || {
        let mut service = service.clone();
        move |number| {
            assert!(matches!(call_again(&mut service, number), Err(CircuitBreakerError::OpenCircuit)));
        }
    })
}

fn service(builder: Builder) -> CircuitBreaker<Leaf, DefaultClassifier> {
    // With a handle, all clones share one circuit.
    let (layer, _handle) = builder.build_with_handle().expect("every setting is in its range");
    layer.layer(Leaf)
}
