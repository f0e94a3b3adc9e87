//! What comes into a running saga: ends of attempts, wishes from outside, time.

use super::{
    ask::{Answer, Ask, Reply, tell},
    attempt::{Ended, Ending},
    outcome::{AskError, CancelAck, SignalAck},
    run::Run,
};
use crate::{
    FailedAs, Kind, ParkReason, Payload, Record, Timestamp,
    panics::caught,
    state::{IllegalRecord, Status},
    text::cut,
};
use futures_util::StreamExt;
use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};
use tokio::time::{Instant, sleep_until};

/// What a run was waiting for.
enum Woken {
    Ended(Ended),
    Asked,
    Time,
}

impl<A: Send + Sync + 'static> Run<A> {
    /// Folds the attempts that have ended.
    pub(super) fn take_ended(&mut self, now: Timestamp) -> Result<(), IllegalRecord> {
        let mut ended = std::mem::take(&mut self.ended);
        for Ended { step, ending, took } in ended.drain(..) {
            let (graph, state) = (self.graph(), &self.state);
            let draw = || self.shared.draws.next();
            let record = match ending {
                Ending::Do(result) => state.settle_with(graph, step, result, now, draw),
                Ending::Undo(result) => state.settle_undo_with(graph, step, result, now, draw),
                Ending::Unreadable { undo, error } => {
                    // It did not begin, so there is no time that it took.
                    let record = self.unreadable(step, undo, cut(error), now);
                    self.record(record)?;
                    continue;
                }
            };
            self.timings.add(step, &record, took);
            self.record(record)?;
        }
        self.ended = ended;
        Ok(())
    }

    /// An attempt that could not begin has done nothing, and can be made again once the definition fits.
    fn unreadable(&mut self, step: usize, undo: bool, error: Arc<str>, now: Timestamp) -> Record {
        let step = Arc::clone(&self.graph().nodes()[step].name);
        self.park = Some(ParkReason::Unreadable { step: Arc::clone(&step), error: Arc::clone(&error) });
        let retry_at = Some(now);
        if undo {
            Record::UndoFailed { step, error, retry_at }
        } else {
            Record::StepFailed { step, outcome: FailedAs::NotExecuted, error, retry_at }
        }
    }

    /// Folds what was asked for from outside. The answers wait for the next append.
    pub(super) fn take_asks(&mut self) {
        for ask in self.seat.take_asks() {
            match ask {
                Ask::Cancel { reason, reply } => self.take_cancel(reason, reply),
                Ask::Signal { step, id, payload, reply } => self.take_signal(step, id, payload, reply),
                Ask::Operator { record, reply } => self.take_operator(record, reply),
            }
        }
    }

    fn take_operator(&mut self, record: Record, reply: Reply<()>) {
        let step = self.known_step(&record);
        let result = self.state.check(self.graph(), &record).and_then(|()| self.record(record));
        match (result, step) {
            (Ok(()), _) => self.answers.push(Answer::Operator(reply)),
            (Err(illegal), None) => tell(reply, Err(illegal.into())),
            (Err(illegal), Some(step)) => {
                tell(reply, Err(AskError::Illegal(format!("step {step:?}: {}", illegal.why()))));
            }
        }
    }

    /// The step on which an operator acts, if there is one.
    fn known_step(&self, record: &Record) -> Option<Arc<str>> {
        let (Record::MarkedCompensated { step, .. } | Record::Skipped { step, .. }) = record else { return None };
        self.graph().position(step).map(|_| Arc::clone(step))
    }

    fn take_cancel(&mut self, reason: Arc<str>, reply: Reply<CancelAck>) {
        match self.cancel(reason) {
            Ok(ack) => self.answers.push(Answer::Cancel(reply, ack)),
            Err(error) => tell(reply, Err(error)),
        }
    }

    fn cancel(&mut self, reason: Arc<str>) -> Result<CancelAck, AskError> {
        if self.state.is_past_pivot() {
            return Ok(CancelAck::TooLate);
        }
        if self.state.cause().is_none() && self.state.cancel_reason().is_none() {
            self.record(Record::CancelRequested { reason })?;
        }
        Ok(CancelAck::Accepted)
    }

    fn take_signal(&mut self, step: Arc<str>, id: Arc<str>, payload: Payload, reply: Reply<SignalAck>) {
        match self.signal(step, id, payload) {
            Ok(ack) => self.answers.push(Answer::Signal(reply, ack)),
            Err(error) => tell(reply, Err(error)),
        }
    }

    fn signal(&mut self, step: Arc<str>, id: Arc<str>, payload: Payload) -> Result<SignalAck, AskError> {
        let nodes = self.graph().nodes();
        let is_signal = |&position: &usize| matches!(nodes[position].kind(), Kind::Signal { .. });
        let position = self.graph().position(&step).filter(is_signal);
        let position = position.ok_or_else(|| AskError::Illegal(format!("no step {step:?} waits for a signal")))?;
        let view = self.state.step(position);
        if let Some(received) = view.signal_id() {
            return Ok(if *received == id { SignalAck::AlreadyReceived } else { SignalAck::OtherReceived });
        }
        let is_wanted = matches!(view.status(), Status::Idle | Status::Waiting { .. } | Status::Stuck);
        if self.state.cause().is_some() || !is_wanted {
            return Ok(SignalAck::TooLate);
        }
        let accepted = caught(|| self.known.definition.code[position].accept(&payload));
        accepted.unwrap_or_else(|panic| Err(serde::de::Error::custom(panic))).map_err(AskError::Unreadable)?;
        self.record(Record::SignalReceived { step, id, payload })?;
        Ok(SignalAck::Accepted)
    }

    /// Waits until something comes in. Gives the time of the next thing to do, if that is so far off that the saga can leave memory.
    pub(super) async fn wait(&mut self) -> Option<Option<Timestamp>> {
        let wake = self.wake();
        let resting = self.attempts.is_empty();
        match self.woken(self.until(wake, resting)).await {
            Woken::Ended(ended) => self.ended.push(ended),
            Woken::Asked => {}
            Woken::Time => return (resting && wake.is_none_or(|wake| wake > self.shared.clock.now())).then_some(wake),
        }
        None
    }

    /// When the saga has to be looked at again by itself. An engine that stops begins nothing, so what is due does not matter.
    fn wake(&self) -> Option<Timestamp> {
        if self.park.is_some() || self.shared.is_stopping() { None } else { self.state.next_wake() }
    }

    fn until(&self, wake: Option<Timestamp>, resting: bool) -> Option<Instant> {
        let wake = wake.and_then(|wake| self.shared.clock.instant(wake));
        let leave = resting.then(|| Instant::now() + self.shared.config.idle_after);
        wake.into_iter().chain(leave).min()
    }

    async fn woken(&mut self, until: Option<Instant>) -> Woken {
        let Self { seat, attempts, .. } = self;
        let mut asked = pin!(seat.asked());
        let mut alarm = pin!(until.map(sleep_until));
        poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = attempts.poll_next_unpin(cx) {
                return Poll::Ready(Woken::Ended(ended));
            }
            if asked.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Asked);
            }
            if alarm.as_mut().as_pin_mut().is_some_and(|alarm| alarm.poll(cx).is_ready()) {
                return Poll::Ready(Woken::Time);
            }
            Poll::Pending
        })
        .await
    }
}
