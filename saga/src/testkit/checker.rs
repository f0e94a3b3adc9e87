//! The invariants of a saga's records, read off the records themselves.
//!
//! It is slow and obvious on purpose, and shares nothing with the fold: it keeps no state, and asks all that came before
//! again for each record.

use crate::{Cause, FailedAs, Graph, Kind, ParkReason, Record};
use std::fmt::{self, Display, Formatter};

/// An invariant that records break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its number, such as `I-6`.
    pub invariant: &'static str,
    /// The number of the record that breaks it, which counts from one.
    pub seq: usize,
    /// What is wrong.
    pub what: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "record {} breaks {}: {}", self.seq, self.invariant, self.what)
    }
}

impl std::error::Error for Violation {}

/// Checks the records of one saga, each with the epoch of whoever wrote it: all of them, or as many as there are by now.
///
/// | | |
/// | --- | --- |
/// | I-1 | the first record creates the saga, no other does, and epochs never fall |
/// | I-2 | what ends was started before, in the same epoch, and has not ended since |
/// | I-3 | a step starts only if all that it needs is done, its condition is met, and the saga goes forward |
/// | I-4 | a saga is turned once, for a cause that is there, before the first undo; no step starts afterwards |
/// | I-5 | at the end all steps are done, or nothing is left to undo |
/// | I-6 | a step is undone after all that came later, also through others, and after these have ended |
/// | I-7 | nothing turns or is undone once the pivot has succeeded, or may have |
/// | I-8 | nothing follows the last record, and nothing starts while the saga is parked |
/// | I-10 | the attempts of a step, and of its undo, count from one without gaps: they share one key |
/// | I-11 | what may have happened is undone, and nothing else is; what has ended for good does not start again unasked |
///
/// # Errors
///
/// The first invariant that does not hold.
pub fn check(graph: &Graph, records: &[(u64, Record)]) -> Result<(), Violation> {
    for (index, (epoch, record)) in records.iter().enumerate() {
        let past = Past { graph, records: &records[..index], epoch: *epoch };
        past.check(record).map_err(|(invariant, what)| Violation { invariant, seq: index + 1, what })?;
    }
    Ok(())
}

/// What was written before a record that is looked at, and the epoch of that record.
#[derive(Clone, Copy)]
struct Past<'a> {
    graph: &'a Graph,
    records: &'a [(u64, Record)],
    epoch: u64,
}

/// One attempt of a step or of an undo.
struct Attempt<'a> {
    epoch: u64,
    /// The record that ended it.
    end: Option<&'a Record>,
    /// Nobody ran it, although it was started.
    is_lost: bool,
}

type Broken = (&'static str, String);

fn ensure(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err((invariant, what())) }
}

impl<'a> Past<'a> {
    fn check(self, record: &Record) -> Result<(), Broken> {
        let is_first = matches!(record, Record::Created { .. });
        ensure(is_first == self.records.is_empty(), "I-1", || "a saga is created first, and once".into())?;
        let last_epoch = self.records.last().map_or(0, |(epoch, _)| *epoch);
        ensure(self.epoch >= last_epoch, "I-1", || format!("epoch {} after {last_epoch}", self.epoch))?;
        ensure(!self.any(Record::is_last), "I-8", || "the saga has ended".into())?;
        match record {
            Record::StepStarted { step, attempt } => self.check_step_started(step, *attempt),
            Record::StepSucceeded { step, .. } => self.check_step_succeeded(step),
            Record::StepFailed { step, .. } => self.check_step_failed(step),
            Record::StepLeftOut { step } => {
                self.check_goes_forward(step)?;
                ensure(!self.is_condition_met(step), "I-3", || format!("the condition of {step} is met"))
            }
            Record::WaitStarted { step, .. } => {
                self.check_goes_forward(step)?;
                ensure(self.is_condition_met(step), "I-3", || format!("the condition of {step} is not met"))
            }
            Record::Turned { cause } => self.check_turned(cause),
            Record::UndoStarted { step, attempt } => self.check_undo_started(step, *attempt),
            Record::UndoSucceeded { step } | Record::UndoFailed { step, .. } => {
                let is_open = self.undo_attempts(step).last().is_some_and(|last| self.is_running(last));
                ensure(is_open, "I-2", || format!("the undo of {step} ends, and none is running"))
            }
            Record::Completed => self.check_completed(),
            Record::Compensated => self.check_compensated(),
            _ => Ok(()),
        }
    }

    // ===== the rules =====

    fn check_step_started(self, step: &str, attempt: u32) -> Result<(), Broken> {
        self.check_goes_forward(step)?;
        ensure(self.is_condition_met(step), "I-3", || format!("the condition of {step} is not met"))?;
        let before = self.attempts(step);
        ensure(before.len() + 1 == attempt as usize, "I-10", || {
            format!("attempt {attempt} of {step} is out of order")
        })?;
        let is_over = self.unasked_since(|record| is_final_failure(record, step));
        ensure(!is_over, "I-11", || format!("{step} had failed for good"))?;
        ensure(!self.is_step_running(step), "I-2", || format!("{step} starts while it is running"))
    }

    /// What holds for everything that begins to be done for a step.
    fn check_goes_forward(self, step: &str) -> Result<(), Broken> {
        ensure(!self.is_parked(), "I-8", || format!("{step} goes on while the saga is parked"))?;
        ensure(!self.is_turned(), "I-4", || format!("{step} goes on although the saga was turned"))?;
        ensure(!self.is_done(step), "I-3", || format!("{step} is done"))?;
        let position = self.graph.position(step).ok_or_else(|| ("I-3", format!("there is no step {step}")))?;
        for &need in self.graph.nodes[position].needed() {
            let need = self.graph.nodes[need].name();
            ensure(self.is_done(need), "I-3", || format!("{step} needs {need}, which is not done"))?;
        }
        Ok(())
    }

    fn check_step_succeeded(self, step: &str) -> Result<(), Broken> {
        match self.kind(step) {
            Some(Kind::Signal { .. }) => {
                self.check_goes_forward(step)?;
                let has_come =
                    self.any(|record| matches!(record, Record::SignalReceived { step: of, .. } if **of == *step));
                ensure(has_come, "I-2", || format!("no signal for {step} has come"))
            }
            Some(Kind::Timer { .. }) => self.check_waits(step),
            _ => self.check_is_running(step),
        }
    }

    fn check_step_failed(self, step: &str) -> Result<(), Broken> {
        if matches!(self.kind(step), Some(Kind::Signal { .. })) {
            self.check_waits(step)
        } else {
            self.check_is_running(step)
        }
    }

    fn check_waits(self, step: &str) -> Result<(), Broken> {
        self.check_goes_forward(step)?;
        let has_begun = self.any(|record| matches!(record, Record::WaitStarted { step: of, .. } if **of == *step));
        ensure(has_begun, "I-2", || format!("{step} was not waited for"))
    }

    fn check_is_running(self, step: &str) -> Result<(), Broken> {
        ensure(self.is_step_running(step), "I-2", || format!("{step} ends, and is not running"))
    }

    fn check_turned(self, cause: &Cause) -> Result<(), Broken> {
        ensure(!self.is_turned(), "I-4", || "the saga is turned twice".into())?;
        let there_is = match cause {
            Cause::StepFailed { step, outcome, error } => {
                matches!(
                    self.last_failure(step),
                    Some(Record::StepFailed { outcome: of, error: text, retry_at: None, .. }) if of == outcome && text == error
                )
            }
            Cause::Cancelled { reason } => {
                self.any(|record| matches!(record, Record::CancelRequested { reason: given } if given == reason))
            }
            Cause::DeadlinePassed => self.any(|record| matches!(record, Record::Created { deadline: Some(_), .. })),
            Cause::Operator(by) => {
                self.any(|record| matches!(record, Record::MarkedCompensated { by: given, .. } if given == by))
            }
        };
        ensure(there_is, "I-4", || "the saga is turned without a cause".into())?;
        let Some(pivot) = self.graph.pivot().map(|pivot| self.graph.nodes[pivot].name()) else { return Ok(()) };
        ensure(!self.has_succeeded(pivot), "I-7", || "the pivot has succeeded".into())?;
        let is_unknown = self.is_doubtful(pivot) && !self.is_settled_by_hand(pivot);
        ensure(!is_unknown, "I-7", || "the pivot may have happened".into())
    }

    fn check_undo_started(self, step: &str, attempt: u32) -> Result<(), Broken> {
        ensure(self.is_turned(), "I-4", || format!("{step} is undone, and the saga was not turned"))?;
        ensure(!self.is_parked(), "I-8", || format!("{step} is undone while the saga is parked"))?;
        ensure(self.is_to_be_undone(step), "I-11", || format!("nothing of {step} is to be undone"))?;
        let before = self.undo_attempts(step);
        ensure(before.len() + 1 == attempt as usize, "I-10", || format!("undo {attempt} of {step} is out of order"))?;
        let is_over = self.unasked_since(
            |record| matches!(record, Record::UndoFailed { step: of, retry_at: None, .. } if **of == *step),
        );
        ensure(!is_over, "I-11", || format!("the undo of {step} had failed for good"))?;
        let is_running = self.is_step_running(step) || before.last().is_some_and(|last| self.is_running(last));
        ensure(!is_running, "I-2", || format!("{step} is undone while it is running"))?;
        for later in self.all_after(step) {
            ensure(!self.is_to_be_undone(later), "I-6", || format!("{step} is undone before {later}"))?;
            ensure(!self.is_step_running(later), "I-2", || format!("{step} is undone while {later} is running"))?;
        }
        Ok(())
    }

    fn check_completed(self) -> Result<(), Broken> {
        ensure(!self.is_turned(), "I-5", || "the saga was turned".into())?;
        ensure(!self.is_parked(), "I-8", || "the saga is parked".into())?;
        let open = self.graph.nodes.iter().find(|node| !self.is_done(node.name()));
        ensure(open.is_none(), "I-5", || format!("not all steps are done: {:?}", open.map(crate::Node::name)))
    }

    fn check_compensated(self) -> Result<(), Broken> {
        ensure(self.is_turned(), "I-5", || "the saga was not turned".into())?;
        ensure(!self.is_parked(), "I-8", || "the saga is parked".into())?;
        for step in self.graph.nodes.iter().map(crate::Node::name) {
            ensure(!self.is_to_be_undone(step), "I-5", || format!("{step} is not undone"))?;
            ensure(!self.is_step_running(step), "I-2", || format!("{step} is running"))?;
        }
        Ok(())
    }

    // ===== what can be asked of the past =====

    fn any(self, mut of: impl FnMut(&Record) -> bool) -> bool {
        self.records.iter().any(|(_, record)| of(record))
    }

    fn kind(self, step: &str) -> Option<Kind> {
        self.graph.position(step).map(|position| self.graph.nodes[position].kind())
    }

    fn is_turned(self) -> bool {
        self.any(|record| matches!(record, Record::Turned { .. }))
    }

    /// Whether the last record about parking parks.
    fn is_parked(self) -> bool {
        let about_parking = self.records.iter().rev().find(|(_, record)| {
            use Record::{MarkedCompensated, Parked, Resumed, Skipped, Turned};
            matches!(record, Parked { .. } | Resumed(_) | MarkedCompensated { .. } | Skipped { .. } | Turned { .. })
        });
        matches!(about_parking, Some((_, Record::Parked { .. })))
    }

    fn has_succeeded(self, step: &str) -> bool {
        self.any(|record| matches!(record, Record::StepSucceeded { step: of, .. } if **of == *step))
    }

    /// Whether whoever needs the step may go on.
    fn is_done(self, step: &str) -> bool {
        let is_left = self.any(|record| match record {
            Record::StepLeftOut { step: of } | Record::Skipped { step: of, .. } => **of == *step,
            _ => false,
        });
        self.has_succeeded(step) || is_left
    }

    fn is_condition_met(self, step: &str) -> bool {
        let condition = self.graph.position(step).and_then(|position| self.graph.nodes[position].condition());
        let Some(condition) = condition.map(|condition| self.graph.nodes[condition].name()) else { return true };
        self.any(|record| {
            matches!(record, Record::StepSucceeded { step, output } if **step == *condition && output.as_str() == "true")
        })
    }

    fn is_settled_by_hand(self, step: &str) -> bool {
        self.any(|record| match record {
            Record::MarkedCompensated { step: of, .. } | Record::Skipped { step: of, .. } => **of == *step,
            _ => false,
        })
    }

    /// Whether there was such a record, and nobody has resumed the saga since.
    fn unasked_since(self, mut of: impl FnMut(&Record) -> bool) -> bool {
        let last = self.records.iter().rposition(|(_, record)| of(record));
        last.is_some_and(|last| !self.records[last..].iter().any(|(_, record)| matches!(record, Record::Resumed(_))))
    }

    /// The attempts of a step, each with the record that ended it before the next began.
    fn attempts(self, step: &str) -> Vec<Attempt<'a>> {
        self.attempts_of(
            |record| matches!(record, Record::StepStarted { step: of, .. } if **of == *step),
            |record| match record {
                Record::StepSucceeded { step: of, .. } | Record::StepFailed { step: of, .. } => **of == *step,
                _ => false,
            },
            step,
        )
    }

    /// How a step has failed last.
    fn last_failure(self, step: &str) -> Option<&'a Record> {
        let mut records = self.records.iter().rev().map(|(_, record)| record);
        records.find(|record| matches!(record, Record::StepFailed { step: of, .. } if **of == *step))
    }

    fn undo_attempts(self, step: &str) -> Vec<Attempt<'a>> {
        self.attempts_of(
            |record| matches!(record, Record::UndoStarted { step: of, .. } if **of == *step),
            |record| match record {
                Record::UndoSucceeded { step: of } | Record::UndoFailed { step: of, .. } => **of == *step,
                _ => false,
            },
            step,
        )
    }

    fn attempts_of(
        self,
        starts: impl Fn(&Record) -> bool,
        ends: impl Fn(&Record) -> bool,
        step: &str,
    ) -> Vec<Attempt<'a>> {
        let mut attempts = Vec::new();
        for (epoch, record) in self.records {
            if starts(record) {
                attempts.push(Attempt { epoch: *epoch, end: None, is_lost: false });
            }
            let Some(last) = attempts.last_mut() else { continue };
            if ends(record) {
                last.end = Some(record);
            }
            let unreadable =
                matches!(record, Record::Parked { reason: ParkReason::Unreadable { step: of, .. } } if **of == *step);
            last.is_lost |= unreadable;
        }
        attempts
    }

    /// Whether an attempt is under way where the record is written: one of an earlier epoch ended with its owner.
    fn is_running(self, attempt: &Attempt<'_>) -> bool {
        attempt.end.is_none() && !attempt.is_lost && attempt.epoch == self.epoch
    }

    fn is_step_running(self, step: &str) -> bool {
        self.attempts(step).last().is_some_and(|last| self.is_running(last))
    }

    /// Whether an attempt may have happened: one without an end, or with an unknown one, that no later one vouches for.
    fn is_doubtful(self, step: &str) -> bool {
        let attempts = self.attempts(step);
        let vouched = |attempt: &Attempt<'_>| {
            matches!(attempt.end, Some(Record::StepFailed { outcome: FailedAs::RejectedForKey, .. }))
        };
        let since = attempts.iter().rposition(vouched).map_or(0, |last| last + 1);
        attempts[since..].iter().any(|attempt| match attempt.end {
            None => true,
            Some(Record::StepFailed { outcome, .. }) => *outcome == FailedAs::Unknown,
            Some(_) => false,
        })
    }

    /// Whether a step has an effect, or may have one, and nobody has undone it or taken it on.
    fn is_to_be_undone(self, step: &str) -> bool {
        let undone = self.any(|record| matches!(record, Record::UndoSucceeded { step: of } if **of == *step));
        self.kind(step) == Some(Kind::Compensatable)
            && (self.has_succeeded(step) || self.is_doubtful(step))
            && !undone
            && !self.is_settled_by_hand(step)
    }

    /// All steps that need this one, also through others.
    fn all_after(self, step: &str) -> Vec<&'a str> {
        let mut after = Vec::new();
        let mut open: Vec<usize> = self.graph.position(step).into_iter().collect();
        while let Some(position) = open.pop() {
            for (later, node) in self.graph.nodes.iter().enumerate() {
                if node.needed().contains(&position) && !after.contains(&node.name()) {
                    after.push(node.name());
                    open.push(later);
                }
            }
        }
        after
    }
}

fn is_final_failure(record: &Record, step: &str) -> bool {
    matches!(record, Record::StepFailed { step: of, retry_at: None, .. } if **of == *step)
}
