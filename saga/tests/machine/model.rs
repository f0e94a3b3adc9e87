//! What a saga should do, written slowly: sets of names, looked up again for every question.
//!
//! It knows what runs here, which no record says, and is told of crashes.

use mainstay_saga::{ByOperator, Cause, FailedAs, Graph, Kind, ParkReason, Record, Timestamp, journal::Phase};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

type Name = String;
type Names = BTreeSet<Name>;

#[derive(Default, Clone)]
pub(crate) struct Model {
    order: Vec<Name>,
    kinds: BTreeMap<Name, Kind>,
    needs: BTreeMap<Name, Names>,
    conditions: BTreeMap<Name, Name>,
    after_pivot: Names,
    read: Names,

    deadline: Option<Timestamp>,
    cancel: Option<String>,
    cause: Option<Cause>,
    parked: Option<ParkReason>,
    ended: Option<Phase>,
    vouched: Option<ByOperator>,

    /// Attempts that may have happened.
    doubts: BTreeMap<Name, BTreeSet<u32>>,
    started: BTreeMap<Name, u32>,
    undo_started: BTreeMap<Name, u32>,
    /// Started without an end since the last end or resumption.
    in_a_row: BTreeMap<Name, u32>,
    /// Begun and without an end, whether it runs here or not.
    open: Names,
    open_undos: Names,
    /// Running here.
    pub(crate) here: Names,
    again: BTreeMap<Name, Timestamp>,
    undo_again: BTreeMap<Name, Timestamp>,
    waits: BTreeMap<Name, Option<Timestamp>>,
    signals: BTreeMap<Name, String>,
    outputs: BTreeMap<Name, String>,
    left_out: Names,
    /// Failed for good, in the order in which they did.
    failed: Vec<(Name, FailedAs, String)>,
    stuck: Names,
    undo_stuck: Names,
    undone: Names,
    /// Settled by an operator.
    by_hand: Names,
    skipped_forward: Names,
}

impl Model {
    pub(crate) fn new(graph: &Graph) -> Self {
        let mut model = Self::default();
        let name = |position: usize| graph.nodes()[position].name().to_owned();
        let mut past_pivot = false;
        for node in graph.nodes() {
            let step = node.name().to_owned();
            model.order.push(step.clone());
            model.kinds.insert(step.clone(), node.kind());
            model.needs.insert(step.clone(), node.needed().iter().map(|&need| name(need)).collect());
            model.read.extend(node.read().iter().map(|&read| name(read)));
            if let Some(condition) = node.condition() {
                model.conditions.insert(step.clone(), name(condition));
            }
            if past_pivot {
                model.after_pivot.insert(step);
            }
            past_pivot |= node.kind() == Kind::Pivot;
        }
        model.read.extend(graph.result().map(name));
        model
    }

    pub(crate) fn crash(&mut self) {
        self.here.clear();
    }

    // ===== questions =====

    pub(crate) fn phase(&self) -> Phase {
        match (&self.ended, &self.parked, &self.cause) {
            (Some(phase), _, _) => *phase,
            (_, Some(_), _) => Phase::Parked,
            (_, _, Some(_)) => Phase::Backward,
            _ => Phase::Forward,
        }
    }

    fn pivot(&self) -> Option<&Name> {
        self.order.iter().find(|step| self.kinds[*step] == Kind::Pivot)
    }

    fn is_done(&self, step: &Name) -> bool {
        self.outputs.contains_key(step) || self.left_out.contains(step) || self.skipped_forward.contains(step)
    }

    fn is_doubtful(&self, step: &Name) -> bool {
        self.doubts.get(step).is_some_and(|attempts| !attempts.is_empty())
    }

    /// The pivot has neither happened nor may it have.
    fn may_turn(&self) -> bool {
        self.cause.is_none()
            && self.pivot().is_none_or(|pivot| !self.outputs.contains_key(pivot) && !self.is_doubtful(pivot))
    }

    fn has_effect(&self, step: &Name) -> bool {
        self.kinds[step] == Kind::Compensatable
            && (self.outputs.contains_key(step) || self.is_doubtful(step))
            && !self.undone.contains(step)
            && !self.by_hand.contains(step)
    }

    fn successors(&self, step: &Name) -> Names {
        self.order.iter().filter(|later| self.needs[*later].contains(step)).cloned().collect()
    }

    /// Nothing is left of it, nor of anything that comes later, and none of these runs.
    fn is_settled(&self, step: &Name) -> bool {
        !self.has_effect(step)
            && !self.here.contains(step)
            && self.successors(step).iter().all(|later| self.is_settled(later))
    }

    fn is_condition_met(&self, step: &Name) -> bool {
        self.conditions
            .get(step)
            .is_none_or(|condition| self.outputs.get(condition).is_some_and(|output| output == "true"))
    }

    fn started_too_often(&self, step: &Name) -> bool {
        self.in_a_row.get(step).copied().unwrap_or(0) >= 25
    }

    fn is_stuck(&self, step: &Name) -> bool {
        let is_named = self.parked.as_ref().and_then(ParkReason::step).is_some_and(|named| **named == **step);
        self.stuck.contains(step)
            || (is_named && !self.is_done(step) && !self.failed.iter().any(|(failed, ..)| failed == step))
    }

    // ===== what comes next =====

    pub(crate) fn next(&self, now: Timestamp) -> Option<Record> {
        match self.phase() {
            Phase::Forward => self.next_forward(now),
            Phase::Backward => self.next_backward(now),
            Phase::Parked => self.next_cancel(),
            _ => None,
        }
    }

    fn next_cancel(&self) -> Option<Record> {
        let reason = self.cancel.clone().filter(|_| self.may_turn())?;
        Some(Record::Turned { cause: Cause::Cancelled { reason: reason.into() } })
    }

    fn next_forward(&self, now: Timestamp) -> Option<Record> {
        if let Some((step, outcome, error)) = self.failed.first() {
            let (step, error) = (step.as_str().into(), error.as_str().into());
            let cause = Cause::StepFailed { step, outcome: *outcome, error };
            return Some(Record::Turned { cause });
        }
        if let Some(by) = &self.vouched {
            return Some(Record::Turned { cause: Cause::Operator(by.clone()) });
        }
        if let Some(turn) = self.next_cancel() {
            return Some(turn);
        }
        if self.order.iter().all(|step| self.is_done(step)) {
            return Some(Record::Completed);
        }
        if self.may_turn() && self.deadline.is_some_and(|deadline| deadline <= now) {
            return Some(Record::Turned { cause: Cause::DeadlinePassed });
        }
        let next = self.order.iter().find_map(|step| self.next_of(step, now));
        next.or_else(|| self.next_park())
    }

    fn next_of(&self, step: &Name, now: Timestamp) -> Option<Record> {
        let name = || step.as_str().into();
        if self.is_done(step) || self.stuck.contains(step) || self.by_hand.contains(step) || self.here.contains(step) {
            return None;
        }
        if !self.needs[step].iter().all(|need| self.is_done(need)) {
            return None;
        }
        if !self.is_condition_met(step) {
            return Some(Record::StepLeftOut { step: name() });
        }
        let start = || {
            let attempt = self.started.get(step).copied().unwrap_or(0) + 1;
            Some(Record::StepStarted { step: name(), attempt })
        };
        match self.kinds[step] {
            Kind::Signal { at_most } => match (self.signals.get(step), self.waits.get(step)) {
                (Some(payload), _) => Some(Record::StepSucceeded { step: name(), output: super::saga::json(payload) }),
                (None, None) => {
                    Some(Record::WaitStarted { step: name(), until: at_most.map(|at_most| now.after(at_most)) })
                }
                (None, Some(Some(until))) if *until <= now => Some(Record::StepFailed {
                    step: name(),
                    outcome: FailedAs::Rejected,
                    error: "no signal in time".into(),
                    retry_at: None,
                }),
                _ => None,
            },
            Kind::Timer { wait } => match self.waits.get(step) {
                None => Some(Record::WaitStarted { step: name(), until: Some(now.after(wait)) }),
                Some(Some(until)) if *until <= now => {
                    Some(Record::StepSucceeded { step: name(), output: super::saga::json("null") })
                }
                _ => None,
            },
            _ if self.open.contains(step) => {
                if self.started_too_often(step) {
                    None
                } else {
                    start()
                }
            }
            _ => match self.again.get(step) {
                Some(at) if *at > now => None,
                _ => start(),
            },
        }
    }

    fn next_backward(&self, now: Timestamp) -> Option<Record> {
        if self.order.iter().all(|step| self.is_settled(step)) {
            return Some(Record::Compensated);
        }
        let next = self.order.iter().find(|step| {
            self.has_effect(step)
                && !self.here.contains(*step)
                && !self.undo_stuck.contains(*step)
                && (!self.open_undos.contains(*step) || !self.started_too_often(step))
                && self.undo_again.get(*step).is_none_or(|at| *at <= now)
                && self.successors(step).iter().all(|later| self.is_settled(later))
        });
        let undo = next.map(|step| {
            let attempt = self.undo_started.get(step).copied().unwrap_or(0) + 1;
            Record::UndoStarted { step: step.as_str().into(), attempt }
        });
        undo.or_else(|| self.next_park())
    }

    fn next_park(&self) -> Option<Record> {
        if !self.here.is_empty() || self.timers().next().is_some() {
            return None;
        }
        let reason = self.order.iter().find_map(|step| {
            let step_name = || step.as_str().into();
            if self.stuck.contains(step) && self.kinds[step] == Kind::Pivot {
                Some(ParkReason::PivotUnknown { step: step_name() })
            } else if self.stuck.contains(step) {
                Some(ParkReason::StepRejected { step: step_name() })
            } else if self.undo_stuck.contains(step) {
                Some(ParkReason::UndoFailed { step: step_name() })
            } else if (self.open.contains(step) || self.open_undos.contains(step)) && self.started_too_often(step) {
                Some(ParkReason::NeverEnds { step: step_name() })
            } else {
                None
            }
        });
        reason.map(|reason| Record::Parked { reason })
    }

    /// The moments that something waits for, apart from the deadline.
    fn timers(&self) -> impl Iterator<Item = Timestamp> {
        let forward = self.again.values().chain(self.waits.values().flatten());
        let is_forward = self.phase() == Phase::Forward;
        let is_backward = self.phase() == Phase::Backward;
        forward.filter(move |_| is_forward).chain(self.undo_again.values().filter(move |_| is_backward)).copied()
    }

    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        let running = matches!(self.phase(), Phase::Forward | Phase::Backward);
        let deadline = self.deadline.filter(|_| running && self.may_turn());
        self.timers().chain(deadline).min()
    }

    // ===== what somebody from outside may ask for =====

    /// Whether somebody from outside may ask for this now.
    pub(crate) fn accepts(&self, record: &Record) -> bool {
        let is_open = self.ended.is_none();
        let is_parked = self.parked.is_some();
        match record {
            Record::CancelRequested { .. } => {
                let past = self.pivot().is_some_and(|pivot| self.outputs.contains_key(pivot));
                is_open && self.cause.is_none() && self.cancel.is_none() && !past && (!is_parked || self.may_turn())
            }
            Record::SignalReceived { step, .. } => {
                let step = step.to_string();
                let waits = matches!(self.kinds[&step], Kind::Signal { .. });
                let failed = self.failed.iter().any(|(failed, ..)| *failed == step);
                is_open
                    && self.cause.is_none()
                    && waits
                    && !self.signals.contains_key(&step)
                    && !self.is_done(&step)
                    && !failed
            }
            Record::Resumed(_) | Record::Abandoned(_) => is_open && is_parked,
            Record::MarkedCompensated { step, .. } if self.cause.is_none() => {
                let step = step.to_string();
                let is_free = !self.here.contains(&step) && !self.by_hand.contains(&step);
                is_open && self.kinds[&step] == Kind::Pivot && self.is_stuck(&step) && is_free
            }
            Record::Skipped { step, .. } if self.cause.is_none() => {
                let step = step.to_string();
                let may_miss = !self.read.contains(&step) && self.after_pivot.contains(&step);
                let has_failed = self.is_stuck(&step) || self.again.contains_key(&step);
                is_open && may_miss && has_failed && !self.here.contains(&step)
            }
            Record::MarkedCompensated { step, .. } | Record::Skipped { step, .. } => {
                let step = step.to_string();
                let in_flight = self.open.contains(&step) || self.open_undos.contains(&step);
                is_open && self.has_effect(&step) && !self.here.contains(&step) && (is_parked || !in_flight)
            }
            _ => unreachable!("nobody from outside asks for {record:?}"),
        }
    }

    // ===== what a record changes =====

    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Created { deadline, .. } => self.deadline = *deadline,
            Record::StepStarted { step, attempt } => {
                let step = step.to_string();
                if self.kinds[&step] != Kind::ReadOnly {
                    self.doubts.entry(step.clone()).or_default().insert(*attempt);
                }
                *self.in_a_row.entry(step.clone()).or_default() += 1;
                self.started.insert(step.clone(), *attempt);
                self.again.remove(&step);
                self.open.insert(step.clone());
                self.here.insert(step);
            }
            Record::StepSucceeded { step, output } => {
                self.end(step);
                self.waits.remove(&**step);
                self.outputs.insert(step.to_string(), output.as_str().to_owned());
            }
            Record::StepFailed { step, outcome, error, retry_at } => self.step_failed(step, *outcome, error, *retry_at),
            Record::StepLeftOut { step } => {
                self.left_out.insert(step.to_string());
            }
            Record::WaitStarted { step, until } => {
                self.waits.insert(step.to_string(), *until);
            }
            Record::SignalReceived { step, payload, .. } => {
                self.signals.insert(step.to_string(), payload.as_str().to_owned());
            }
            Record::CancelRequested { reason } => self.cancel = Some(reason.to_string()),
            Record::Turned { cause } => {
                self.cause = Some(cause.clone());
                self.parked = None;
            }
            Record::Parked { reason } => {
                self.parked = Some(reason.clone());
                // Whoever cannot read the input of a step does not run it.
                if let ParkReason::Unreadable { step, .. } = reason {
                    self.here.remove(&**step);
                }
            }
            Record::Resumed(_) => self.resumed(),
            Record::MarkedCompensated { step, by } => {
                if self.cause.is_none() {
                    self.vouched = Some(by.clone());
                    self.doubts.remove(&**step);
                }
                self.by_hand(step);
            }
            Record::Skipped { step, .. } => {
                if self.cause.is_none() {
                    self.skipped_forward.insert(step.to_string());
                }
                self.by_hand(step);
            }
            _ => self.apply_backward(record),
        }
    }

    fn apply_backward(&mut self, record: &Record) {
        match record {
            Record::UndoStarted { step, attempt } => {
                let step = step.to_string();
                if !self.open_undos.contains(&step) {
                    self.in_a_row.insert(step.clone(), 0);
                }
                *self.in_a_row.entry(step.clone()).or_default() += 1;
                self.undo_started.insert(step.clone(), *attempt);
                self.undo_again.remove(&step);
                self.open.remove(&step);
                self.open_undos.insert(step.clone());
                self.here.insert(step);
            }
            Record::UndoSucceeded { step } => {
                self.end(step);
                self.undone.insert(step.to_string());
            }
            Record::UndoFailed { step, retry_at, .. } => {
                self.end(step);
                match retry_at {
                    Some(at) => drop(self.undo_again.insert(step.to_string(), *at)),
                    None => drop(self.undo_stuck.insert(step.to_string())),
                }
            }
            Record::Completed => self.ended = Some(Phase::Completed),
            Record::Compensated => self.ended = Some(Phase::Compensated),
            Record::Abandoned(_) => {
                self.ended = Some(Phase::Abandoned);
                self.here.clear();
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn end(&mut self, step: &str) {
        self.here.remove(step);
        self.open.remove(step);
        self.open_undos.remove(step);
        self.in_a_row.remove(step);
    }

    fn step_failed(&mut self, step: &str, outcome: FailedAs, error: &str, retry_at: Option<Timestamp>) {
        let step = step.to_owned();
        self.end(&step);
        self.waits.remove(&step);
        let attempt = self.started.get(&step).copied().unwrap_or(0);
        let doubts = self.doubts.entry(step.clone()).or_default();
        match outcome {
            FailedAs::Rejected | FailedAs::NotExecuted => drop(doubts.remove(&attempt)),
            FailedAs::RejectedForKey => doubts.clear(),
            _ => {}
        }
        let cannot_turn = self.after_pivot.contains(&step) || (Some(&step) == self.pivot() && self.is_doubtful(&step));
        if let Some(at) = retry_at {
            self.again.insert(step, at);
        } else if cannot_turn && self.cause.is_none() {
            self.stuck.insert(step);
        } else {
            self.failed.push((step, outcome, error.to_owned()));
        }
    }

    fn resumed(&mut self) {
        self.parked = None;
        self.in_a_row.clear();
        let at_once = Timestamp::from_millis(0);
        for step in std::mem::take(&mut self.stuck) {
            if !matches!(self.kinds[&step], Kind::Signal { .. }) {
                self.again.insert(step, at_once);
            }
        }
        for step in std::mem::take(&mut self.undo_stuck) {
            self.undo_again.insert(step, at_once);
        }
    }

    fn by_hand(&mut self, step: &str) {
        self.parked = None;
        self.end(step);
        self.again.remove(step);
        self.undo_again.remove(step);
        self.stuck.remove(step);
        self.undo_stuck.remove(step);
        self.by_hand.insert(step.to_owned());
    }

    /// What each step gave, as JSON, with a mark for those that were left out.
    pub(crate) fn output(&self, step: &str) -> Option<Value> {
        let left_out = self.left_out.contains(step).then(|| "\"left_out\"".to_owned());
        self.outputs.get(step).cloned().or(left_out).map(|text| serde_json::from_str(&text).unwrap())
    }

    /// `None`: nothing to undo. `Some(true)`: it happened. `Some(false)`: perhaps.
    pub(crate) fn effect(&self, step: &str) -> Option<bool> {
        let step = step.to_owned();
        self.has_effect(&step).then(|| self.outputs.contains_key(&step))
    }
}
