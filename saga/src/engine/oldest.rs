//! How old the oldest saga is that has not ended: a number that grows when one is stuck, whatever it is stuck in.

use super::{
    shared::{Base, Known, Shared},
    trace,
};
use crate::{
    SagaId, Timestamp,
    journal::{Filter, JournalError, Phase},
    panics::told,
};
use futures_util::{FutureExt, future::join_all};
use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How much older than what was seen a saga may be that comes to the journal later: one whose start took so long, or one of a process
/// whose clock is behind. A clock that is set back further can hide a saga for as long as the engine runs.
const MARGIN: u64 = 10 * 60 * 1_000;

/// How long a journal is waited for before the age that is known is told without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks as often as the journal is polled, until the engine is no more. A journal that does not answer here keeps no claim waiting.
pub(crate) async fn watch<A: Send + Sync + 'static>(base: &Base, shared: &Weak<Shared<A>>) {
    let mut watched = shared.upgrade().map(|engine| Oldest::of_each_name(&engine.known)).unwrap_or_default();
    while shared.strong_count() > 0 {
        join_all(watched.iter_mut().map(|oldest| oldest.look(base))).await;
        sleep(base.config.poll_interval).await;
    }
}

/// The oldest saga of a name. Its age is zero again when this is dropped.
struct Oldest<A> {
    /// One of the definitions of this name.
    known: Arc<Known<A>>,
    found: Option<(SagaId, Timestamp)>,
    /// Nothing that has not ended is before this.
    after: Option<SagaId>,
}

impl<A> Oldest<A> {
    fn of_each_name(known: &[Arc<Known<A>>]) -> Vec<Self> {
        let name = |known: &Arc<Known<A>>| Arc::clone(&known.definition.graph.name);
        let is_first = |at: usize| !known[..at].iter().any(|before| name(before) == name(&known[at]));
        let firsts = (0..known.len()).filter(|&at| is_first(at));
        firsts.map(|at| Self { known: Arc::clone(&known[at]), found: None, after: None }).collect()
    }

    /// Tells the age. If the journal fails, the oldest is taken for the one that it was; before its first answer nothing is told.
    async fn look(&mut self, base: &Base) {
        let found = AssertUnwindSafe(timeout(PATIENCE, self.find(base))).catch_unwind().await;
        let answer = found.map_err(told).and_then(|in_time| in_time.map_err(|late| late.to_string()));
        if let Err(error) = answer.unwrap_or_else(|why| Err(JournalError::Transient(why.into()))) {
            trace::look_failed(base.config.name, &error);
        }
        if self.after.is_some() {
            let age = self.found.map_or(Duration::ZERO, |(_, since)| base.clock.now().since(since));
            self.known.observers.oldest(age);
        }
    }

    /// Finds the oldest one.
    ///
    /// Ids ascend with time, and what has ended stays so: while the oldest one has not ended, it is still the oldest, and when it has,
    /// the next is behind it. So this is one look at one saga for each poll, and those that have ended are passed once, but for those
    /// of the last minutes. A journal that cannot look for a name also passes the sagas of others, up to the first of this name.
    async fn find(&mut self, base: &Base) -> Result<(), JournalError> {
        if let Some((id, _)) = self.found
            && let Ok(Some(summary)) = base.journal.find(id).await
            && !summary.phase.is_ended()
        {
            return Ok(());
        }
        let phases = vec![Phase::Forward, Phase::Backward, Phase::Parked];
        let filter = Filter { saga: Some(Arc::clone(&self.known.definition.graph.name)), phases };
        let now = base.clock.now();
        let listed = base.journal.list(filter, self.after, 1).await?;
        self.found = listed.first().map(|summary| (summary.id, summary.created_at));
        let seen = self.found.map_or(now, |(id, _)| id.made_at());
        self.after = Some(SagaId::before(Timestamp::from_millis(seen.as_millis().saturating_sub(MARGIN))));
        Ok(())
    }
}

impl<A> Drop for Oldest<A> {
    fn drop(&mut self) {
        self.known.observers.oldest(Duration::ZERO);
    }
}
