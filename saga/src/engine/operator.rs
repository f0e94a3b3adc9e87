//! What a person does with sagas.

use super::{ask::Ask, engine::Engine, outcome::AskError, read::fold};
use crate::{
    ByOperator, Graph, ParkReason, Record, SagaId, Timestamp, UnreadableRecord,
    journal::{Filter, JournalError, Stored, Summary},
    state::State,
    text::cut,
};
use std::{
    fmt::{self, Debug, Formatter},
    sync::Arc,
};

/// Acts on sagas in somebody's name, which is kept in the journal with the reason: up to 8 KiB of each.
///
/// A saga is *parked* when it cannot go on by itself: it leaves memory and is not touched until somebody has seen to it. What has
/// been done outside, such as a refund by hand, is told to it by [`mark_compensated`](Self::mark_compensated) or
/// [`skip`](Self::skip), and [`retry`](Self::retry) lets it try again.
///
/// # Cancel safety
///
/// Of all functions: if the future is dropped, what it was to do is done, or not, or a moment later; never half.
/// [`inspect`](Self::inspect) says which.
pub struct Operator<A> {
    engine: Engine<A>,
    name: Arc<str>,
}

/// All that is known of a saga.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inspection {
    /// How it stands, by the journal.
    pub summary: Summary,
    /// The records as they are kept.
    pub stored: Vec<Stored>,
    /// The shape of the saga, if the engine was given its definition.
    pub graph: Option<Arc<Graph>>,
    /// What the records make, or why they cannot be read.
    pub state: Result<State, ParkReason>,
}

impl Inspection {
    /// The records that can be read, and why others cannot.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, UnreadableRecord>> {
        self.stored.iter().map(|stored| Record::decode(&stored.bytes))
    }

    /// The steps and how each stands, as text in the language of [Mermaid](https://mermaid.js.org); `None` if that is not known.
    pub fn mermaid(&self) -> Option<String> {
        Some(self.graph.as_ref()?.mermaid_of(self.state.as_ref().ok()?))
    }

    /// The same in the language of [Graphviz](https://graphviz.org).
    pub fn dot(&self) -> Option<String> {
        Some(self.graph.as_ref()?.dot_of(self.state.as_ref().ok()?))
    }
}

impl<A: Send + Sync + 'static> Operator<A> {
    pub(crate) const fn new(engine: Engine<A>, name: Arc<str>) -> Self {
        Self { engine, name }
    }

    /// All that is known of a saga. It changes nothing.
    ///
    /// # Errors
    ///
    /// If there is no such saga, or the journal does not answer.
    pub async fn inspect(&self, id: SagaId) -> Result<Inspection, AskError> {
        let base = &self.engine.shared().base;
        let stored = base.journal.load(id).await.map_err(unread)?;
        // A record that is added in between is in the summary and not among these, of which the state is made.
        let summary = base.journal.find(id).await.map_err(unread)?.ok_or(AskError::NotFound)?;
        let graph = base.graph(&summary.saga, summary.version).cloned();
        let seq = stored.len().try_into().unwrap_or(u64::MAX);
        let state = graph.as_ref().map_or(Err(ParkReason::DefinitionChanged), |graph| fold(graph, &stored, seq));
        Ok(Inspection { summary, stored, graph, state })
    }

    /// Summaries by ascending id, after this one. Parked sagas are found by `Filter { phases: vec![Phase::Parked], .. }`.
    ///
    /// # Errors
    ///
    /// If the journal does not answer.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<SagaId>,
        at_most: usize,
    ) -> Result<Vec<Summary>, JournalError> {
        self.engine.shared().journal.list(filter, after, at_most).await
    }

    /// Lets a parked saga try again what it was parked for, with as many attempts as at first.
    ///
    /// # Errors
    ///
    /// If it is not parked, or as [`AskError`] says.
    pub async fn retry(&self, id: SagaId, reason: &str) -> Result<(), AskError> {
        self.act(id, Record::Resumed(self.by(reason))).await
    }

    /// Vouches that nothing is left of a step's effect: it is not undone any more. Of a pivot whose outcome is unknown it says that
    /// it has not happened, and the saga is undone.
    ///
    /// # Errors
    ///
    /// If that cannot be said of this step now, or as [`AskError`] says.
    pub async fn mark_compensated(&self, id: SagaId, step: &str, reason: &str) -> Result<(), AskError> {
        self.act(id, Record::MarkedCompensated { step: step.into(), by: self.by(reason) }).await
    }

    /// Leaves the effect of a step as it is, while a saga is undone; or does without a step after the pivot that has failed and that
    /// nobody reads, while it waits for its next attempt or for an operator.
    ///
    /// # Errors
    ///
    /// If that cannot be done with this step now, or as [`AskError`] says.
    pub async fn skip(&self, id: SagaId, step: &str, reason: &str) -> Result<(), AskError> {
        self.act(id, Record::Skipped { step: step.into(), by: self.by(reason) }).await
    }

    /// Gives a parked saga up as it is. Nothing follows.
    ///
    /// # Errors
    ///
    /// If it is not parked, or as [`AskError`] says.
    pub async fn abandon(&self, id: SagaId, reason: &str) -> Result<(), AskError> {
        self.act(id, Record::Abandoned(self.by(reason))).await
    }

    /// Forgets sagas that ended before this moment, at most so many, and says how many there were. Their keys are free again.
    ///
    /// # Errors
    ///
    /// If the journal does not answer.
    pub async fn purge(&self, ended_before: Timestamp, at_most: usize) -> Result<u64, JournalError> {
        self.engine.shared().journal.purge(ended_before, at_most).await
    }

    fn by(&self, reason: &str) -> ByOperator {
        ByOperator { by: Arc::clone(&self.name), reason: cut(reason) }
    }

    async fn act(&self, id: SagaId, record: Record) -> Result<(), AskError> {
        self.engine.ask(id, |reply| Ask::Operator { record, reply }).await
    }
}

fn unread(error: JournalError) -> AskError {
    match error {
        JournalError::NotFound => AskError::NotFound,
        error => AskError::Journal(error),
    }
}

impl<A> Clone for Operator<A> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), name: Arc::clone(&self.name) }
    }
}

impl<A> Debug for Operator<A> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("name", &self.name).finish_non_exhaustive()
    }
}
