//! The cases of timeout.

use super::answers;
use crate::{Case, Failed, Leaf, PendingLeaf, at_once, call_awaited};
use mainstay_core::{Deadline, Now, lift};
use mainstay_retry::Clock;
use mainstay_timeout::{Config, TimeoutLayer, deadline_fn};
use std::{future::ready, time::Duration};
use tower_layer::Layer;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn cases() -> Vec<Case> {
    vec![
        at_once("timeout/layer", timeout().layer(Leaf)),
        with_deadline(),
        without_tower("timeout/call"),
        awaited("timeout_awaited/layer"),
    ]
}

/// Ten seconds.
pub fn timeout() -> TimeoutLayer {
    TimeoutLayer::new(config()).expect("every setting is in its range")
}

fn config() -> Config {
    Config::default().timeout(PATIENCE)
}

/// Each request carries a deadline that is far away.
fn with_deadline() -> Case {
    let far = Deadline::after(Clock.now(), Duration::from_hours(24));
    let carried = deadline_fn(move |_: &u64| Some(far), move |_: &mut u64, nearer| assert!(nearer < far));
    let layer = TimeoutLayer::with_deadlines(config(), carried).expect("every setting is in its range");
    at_once("timeout/layer_deadline", layer.layer(Leaf))
}

/// A future that is given ten seconds, without tower.
pub fn without_tower(name: &str) -> Case {
    Case::new(name, || {
        |number| answers(mainstay_timeout::timeout("bench", PATIENCE, lift(ready(Ok::<_, Failed>(number)))), number)
    })
}

/// The inner service is pending once, so a timer is made.
pub fn awaited(name: &str) -> Case {
    Case::awaited(name, || {
        let mut service = timeout().layer(PendingLeaf);
        async move |number| assert_eq!(call_awaited(&mut service, number).await, Ok(number))
    })
}
