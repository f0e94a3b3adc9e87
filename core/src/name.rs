//! Names of policies, made `'static` once.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Makes a configured name `'static`, so that refusals can carry it without allocating.
///
/// Equal names share one string, and a name stays in memory for the life of the process: use it for names from
/// configuration, never for text from requests.
///
/// ```
/// use mainstay_core::intern;
///
/// let name: &'static str = intern(&format!("{}-{}", "payments", "eu"));
/// assert!(std::ptr::eq(name, intern("payments-eu")));
/// ```
pub fn intern(name: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let leaked: &'static str = Box::leak(name.into());
    names.insert(leaked);
    leaked
}
