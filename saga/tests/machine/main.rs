//! The machine of one saga: what follows what.
#![cfg(feature = "testkit")]

mod backward;
mod definitions;
mod drawings;
mod forward;
mod graphs;
mod invariants;
mod model;
mod operator;
mod random;
mod refused;
mod saga;
mod waits;
