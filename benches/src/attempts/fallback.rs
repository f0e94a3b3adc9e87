//! The cases of fallback.

use super::answers;
use crate::{Case, Failed, Leaf, at_once};
use mainstay_core::{Error, lift};
use mainstay_fallback::{FallbackLayer, fallback};
use std::future::ready;
use tower_layer::Layer;
use tower_service::Service;

const INSTEAD: u64 = 0;

pub(super) fn cases() -> Vec<Case> {
    vec![
        at_once("fallback_value/layer", value()),
        at_once("fallback_function/layer", function()),
        without_tower("fallback_function/call"),
        at_once("fallback_service/layer", FallbackLayer::service(Leaf).layer(Leaf)),
    ]
}

/// A service that answers failures with a value.
pub fn value() -> impl Service<u64, Response = u64> + Clone + Send + 'static {
    FallbackLayer::value(INSTEAD).layer(Leaf)
}

/// A service that answers failures with what a function makes of them.
pub fn function() -> impl Service<u64, Response = u64> + Clone + Send + 'static {
    FallbackLayer::on_error(|_: Error<Failed>| INSTEAD).layer(Leaf)
}

/// A future and a function, without tower.
pub fn without_tower(name: &str) -> Case {
    Case::new(name, || {
        |number| {
            let work = fallback(lift(ready(Ok::<_, Failed>(number))), |_| INSTEAD);
            answers(async { Ok::<_, Error<Failed>>(work.await) }, number);
        }
    })
}
