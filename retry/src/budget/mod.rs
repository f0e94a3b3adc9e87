//! What retries and hedges are paid from.

mod bucket;
mod config;
mod core;
mod observe;
mod pay;
mod reserve;
mod terms;

pub use self::{
    config::BudgetConfig,
    core::{Budget, BudgetSnapshot, Token},
    pay::{Charge, NoBudget, Pay, SpendOnly},
};
