//! What the journal says of a saga that is not in memory.

use super::{
    outcome::{Outcome, WaitError},
    shared::Base,
};
use crate::{
    Graph, ParkReason, Payload, Record, SagaId,
    journal::{Phase, Stored, Summary},
    state::State,
    text::cut,
};

/// The state that these records make, of which nothing is running; or why the saga is to be parked.
pub(crate) fn fold(graph: &Graph, stored: &[Stored], seq: u64) -> Result<State, ParkReason> {
    let mut state = State::new(graph);
    for kept in stored {
        let corrupt = |error: String| ParkReason::Corrupt { seq: kept.seq, error: cut(error) };
        let record = Record::decode(&kept.bytes).map_err(|error| corrupt(error.to_string()))?;
        if matches!(&record, Record::Created { fingerprint, .. } if *fingerprint != graph.fingerprint) {
            return Err(ParkReason::DefinitionChanged);
        }
        state.apply(graph, &record).map_err(|illegal| corrupt(illegal.why().to_owned()))?;
    }
    if state.seq() != seq {
        return Err(ParkReason::Corrupt { seq, error: format!("{} records were kept", state.seq()).into() });
    }
    state.lose_live();
    Ok(state)
}

/// How a saga stands that is not in memory.
pub(crate) enum Found {
    Running,
    Parked(ParkReason),
    Ended(Outcome<Payload>),
}

impl Base {
    /// How the saga stands by the journal.
    pub(crate) async fn look_up(&self, id: SagaId) -> Result<Found, WaitError> {
        let summary = self.journal.find(id).await.map_err(WaitError::Journal)?.ok_or(WaitError::NotFound)?;
        if summary.phase.is_running() {
            return Ok(Found::Running);
        }
        let stored = self.journal.load(id).await.map_err(WaitError::Journal)?;
        if summary.phase == Phase::Parked {
            return last_reason(&stored).map(Found::Parked);
        }
        self.outcome(&summary, &stored).map(Found::Ended)
    }

    fn outcome(&self, summary: &Summary, stored: &[Stored]) -> Result<Outcome<Payload>, WaitError> {
        // An operator gives up also what nobody can read.
        if let Some(Ok(Record::Abandoned(by))) = stored.last().map(|kept| Record::decode(&kept.bytes)) {
            return Ok(Outcome::Abandoned(by));
        }
        let not_registered = || WaitError::NotRegistered { saga: summary.saga.clone(), version: summary.version };
        let graph = self.graph(&summary.saga, summary.version).ok_or_else(not_registered)?;
        let state = fold(graph, stored, summary.seq).map_err(|reason| WaitError::Corrupt(format!("{reason:?}")))?;
        state.outcome(graph).ok_or_else(|| WaitError::Corrupt("it has no outcome".to_owned()))
    }
}

/// Why the saga was parked last. What it was sent since then comes behind.
fn last_reason(stored: &[Stored]) -> Result<ParkReason, WaitError> {
    let reason = stored.iter().rev().find_map(|kept| match Record::decode(&kept.bytes) {
        Ok(Record::Parked { reason }) => Some(reason),
        Ok(_) | Err(_) => None,
    });
    reason.ok_or_else(|| WaitError::Corrupt("it is parked without a reason".to_owned()))
}

impl State {
    /// How the saga ended, if it did.
    pub(crate) fn outcome(&self, graph: &Graph) -> Option<Outcome<Payload>> {
        match self.phase() {
            Phase::Completed => self.result(graph).cloned().map(Outcome::Completed),
            Phase::Compensated => self.cause().cloned().map(Outcome::Compensated),
            Phase::Abandoned => self.abandoned_by().cloned().map(Outcome::Abandoned),
            Phase::Forward | Phase::Backward | Phase::Parked => None,
        }
    }
}
