//! The machine of one saga: what follows what.
#![cfg(feature = "testkit")]

mod graphs;
mod model;
mod random;
mod saga;
