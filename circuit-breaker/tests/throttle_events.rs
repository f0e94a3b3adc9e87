//! The event of a refusal; alone in its process, since events of one place are switched on and off for all threads.
#![cfg(feature = "tracing")]

use mainstay_circuit_breaker::{Outcome, Throttle, ThrottleConfig, ThrottleGuard};
use std::{
    fmt::Write,
    sync::{Arc, Mutex},
};
use tracing_subscriber::layer::SubscriberExt;

#[test]
fn a_refusal_is_an_event_at_debug_level() {
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            assert_eq!(*event.metadata().level(), tracing::Level::DEBUG);
            let mut text = String::new();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                let _ = write!(text, "{field}={value:?} ");
            });
            self.0.lock().unwrap().push(text);
        }
    }

    let seen = Seen::default();
    let throttle = Throttle::new(ThrottleConfig::default().name("leaf").seed(3).minimum_calls(1).shadow(true)).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(seen.clone()), || {
        for _ in 0..20 {
            ThrottleGuard::admit(&throttle).unwrap().settle(Outcome::Failure);
        }
    });
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.len() as u64, throttle.snapshot().refused);
    assert!(!seen.is_empty());
    assert!(seen[0].contains("message=call was refused") && seen[0].contains("throttle=\"leaf\""), "{}", seen[0]);
    assert!(seen[0].contains("shadow=true"), "{}", seen[0]);
}
