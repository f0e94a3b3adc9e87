//! This collection.

use mainstay_benches::{
    Case,
    circuit_breaker::{circuit, configs, core, core_open, layer, layer_open, opened},
};
use std::sync::Arc;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (window, config) in configs().into_iter().filter(|(window, _)| !window.contains("slow")) {
        let leaked = || &*Box::leak(Box::new(circuit(config.clone())));
        cases.push(layer(format!("{window}/mainstay_layer"), Arc::new(circuit(config.clone()))));
        cases.push(layer(format!("{window}/mainstay_layer_static"), leaked()));
        cases.push(core(format!("{window}/mainstay_core"), leaked()));
    }
    cases.push(layer_open("open/mainstay_layer", Arc::new(circuit(opened()))));
    cases.push(core_open("open/mainstay_core", Box::leak(Box::new(circuit(opened())))));
    cases
}
