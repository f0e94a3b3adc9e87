//! A step's name and settings.

use super::{Inputs, out::Brand};
use crate::{BuildError, Kind, Node};
use mainstay_core::InvalidConfig;
use mainstay_retry::Backoff;
use std::{fmt::Debug, marker::PhantomData, num::NonZeroU32, sync::Arc, time::Duration};

/// A step's name and its settings. Where there are none to set, the name is enough: `"reserve-stock"`.
///
/// The name has 1 to 64 of `a` to `z`, `0` to `9`, dot, hyphen and underscore. It is what the journal calls the step, so it stays
/// while there are sagas of this version.
///
/// # Defaults
///
/// | setting | default | of |
/// | --- | --- | --- |
/// | [`attempts`](Self::attempts) | 5, with the first | what can be turned back; after the pivot there is no end |
/// | [`backoff`](Self::backoff) | exponential, 200 ms to 30 s, full jitter | what runs |
/// | [`attempt_timeout`](Self::attempt_timeout) | 30 s | what runs |
/// | [`undo_attempts`](Self::undo_attempts) | 10, with the first | what has an undo |
/// | [`undo_backoff`](Self::undo_backoff) | exponential, 200 ms to 60 s, full jitter | what has an undo |
/// | [`undo_timeout`](Self::undo_timeout) | 30 s | what has an undo |
///
/// To set what would have no effect is a [`BuildError`], as is a value out of range.
#[derive(Debug, Clone)]
#[must_use = "settings without a step do nothing"]
pub struct Step<'s> {
    name: Arc<str>,
    after: Vec<usize>,
    attempts: Option<u32>,
    backoff: Option<Backoff>,
    attempt_timeout: Option<Limit>,
    undo_attempts: Option<u32>,
    undo_backoff: Option<Backoff>,
    undo_timeout: Option<Limit>,
    brand: Brand<'s>,
}

/// How long an attempt may take.
#[derive(Debug, Clone, Copy)]
enum Limit {
    After(Duration),
    None,
}

impl Limit {
    const fn time(self) -> Option<Duration> {
        match self {
            Self::After(time) => Some(time),
            Self::None => None,
        }
    }
}

impl<'s> Step<'s> {
    /// A step of this name, with the defaults.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            after: Vec::new(),
            attempts: None,
            backoff: None,
            attempt_timeout: None,
            undo_attempts: None,
            undo_backoff: None,
            undo_timeout: None,
            brand: PhantomData,
        }
    }

    /// Waits for these without reading them; undone is in the opposite order. May be called again.
    ///
    /// Only what was added before has a handle, so no cycle can be written.
    pub fn after(mut self, others: impl Inputs<'s>) -> Self {
        // Nobody has to wait for the input.
        self.after.extend(others.slots().0.into_iter().filter_map(|slot| slot.checked_sub(1)));
        self
    }

    /// How often the step is tried, with the first attempt, before the saga is turned back. A rejection is never tried again.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// How long to wait between attempts.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How long one attempt may take. What takes longer is dropped, and may have happened.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.attempt_timeout = Some(Limit::After(limit));
        self
    }

    /// Lets an attempt take as long as it likes. While it runs, the saga can neither end nor be undone.
    pub fn no_timeout(mut self) -> Self {
        self.attempt_timeout = Some(Limit::None);
        self
    }

    /// How often the undo is tried before an operator has to help.
    pub fn undo_attempts(mut self, attempts: u32) -> Self {
        self.undo_attempts = Some(attempts);
        self
    }

    /// How long to wait between attempts of the undo.
    pub fn undo_backoff(mut self, backoff: Backoff) -> Self {
        self.undo_backoff = Some(backoff);
        self
    }

    /// How long one attempt of the undo may take. It heeds neither a cancellation nor the deadline of the saga.
    pub fn undo_timeout(mut self, limit: Duration) -> Self {
        self.undo_timeout = Some(Limit::After(limit));
        self
    }

    /// Lets an attempt of the undo take as long as it likes.
    pub fn no_undo_timeout(mut self) -> Self {
        self.undo_timeout = Some(Limit::None);
        self
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The node of the graph, before or after the pivot.
    pub(super) fn into_node(self, kind: Kind, is_committed: bool) -> Result<Node, BuildError> {
        self.check(kind, is_committed).map_err(|error| BuildError::Setting { step: self.name.clone(), error })?;
        let mut node = Node::new(self.name, kind).needs(self.after);
        set(&mut node.retry.attempts, self.attempts.map(NonZeroU32::new));
        set(&mut node.retry.backoff, self.backoff);
        set(&mut node.attempt_timeout, self.attempt_timeout.map(Limit::time));
        set(&mut node.undo_retry.attempts, self.undo_attempts.map(NonZeroU32::new));
        set(&mut node.undo_retry.backoff, self.undo_backoff);
        set(&mut node.undo_timeout, self.undo_timeout.map(Limit::time));
        Ok(node)
    }

    /// Whether each setting has an effect. The ranges are checked with the graph, but for the attempts: there zero has a meaning.
    fn check(&self, kind: Kind, is_committed: bool) -> Result<(), InvalidConfig> {
        let runs = kind.is_run();
        let has_undo = matches!(kind, Kind::Compensatable);
        has_effect("attempts", self.attempts, runs && !is_committed, "only before the pivot, on what runs")?;
        has_effect("backoff", self.backoff, runs, "only on what runs")?;
        has_effect("attempt_timeout", self.attempt_timeout, runs, "only on what runs")?;
        has_effect("undo_attempts", self.undo_attempts, has_undo, "only on what has an undo")?;
        has_effect("undo_backoff", self.undo_backoff, has_undo, "only on what has an undo")?;
        has_effect("undo_timeout", self.undo_timeout, has_undo, "only on what has an undo")?;
        for (field, attempts) in [("attempts", self.attempts), ("undo_attempts", self.undo_attempts)] {
            InvalidConfig::check(field, attempts.unwrap_or(1), 1..=u32::MAX)?;
        }
        Ok(())
    }
}

fn has_effect<T: Debug>(
    field: &'static str,
    value: Option<T>,
    has_effect: bool,
    allowed: &str,
) -> Result<(), InvalidConfig> {
    match value {
        Some(value) if !has_effect => Err(InvalidConfig::new(field, value, allowed)),
        _ => Ok(()),
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl From<&str> for Step<'_> {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

impl From<String> for Step<'_> {
    fn from(name: String) -> Self {
        Self::named(name)
    }
}
