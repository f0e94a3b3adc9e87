//! Events through `tracing`.

use crate::{
    machine::Wait,
    status::{Change, State},
};
use tracing::{debug, info, warn};

pub(crate) fn changed(name: &'static str, change: &Change) {
    let Change { from, to, cause } = change;
    let generation = to.generation;
    match to.state {
        State::Open => warn!(circuit = name, %from, %cause, generation, "circuit opened"),
        State::Closed => info!(circuit = name, %from, %cause, generation, "circuit closed"),
        State::HalfOpen => {
            info!(circuit = name, %from, %cause, generation, "circuit let probes pass");
        }
        State::Recovering => {
            info!(circuit = name, %from, %cause, generation, "circuit let a share of calls pass");
        }
        State::Isolated => warn!(circuit = name, %from, %cause, generation, "circuit was isolated"),
        State::Disabled => warn!(circuit = name, %from, %cause, generation, "circuit was disabled"),
    }
}

pub(crate) fn refused(name: &'static str, wait: Wait, shadow: bool) {
    debug!(circuit = name, retry_after = ?wait, shadow, "call was refused");
}
