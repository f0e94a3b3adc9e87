//! The one loop: records are folded to a state, the state is planned to records, and what they start is run.

use super::{
    ask::Answer,
    attempt::{Attempt, Ended, Ending, Work, unknown},
    observe::{InMemory, Stopwatch, Timings},
    outcome::{AskError, Outcome},
    seat::Seat,
    shared::{Failed, Known, Shared},
    trace,
};
use crate::{
    Graph, ParkReason, Payload, Record, StepCx, Timestamp, UndoCx,
    define::Unreadable,
    journal::{Batch, Grant, JournalError, Phase},
    panics::caught,
    state::{IllegalRecord, State},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// A saga in memory, and all that is needed to go on with it.
pub(crate) struct Run<A> {
    pub(crate) shared: Arc<Shared<A>>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) known: Arc<Known<A>>,
    pub(crate) state: State,
    pub(crate) grant: Grant,
    /// Folded, and not yet durable.
    pending: Vec<Record>,
    /// What may start once `pending` is durable.
    starts: Vec<Start>,
    /// Who is answered once `pending` is durable.
    pub(super) answers: Vec<Answer>,
    pub(super) attempts: FuturesUnordered<Attempt>,
    /// What has ended and is not yet folded.
    pub(super) ended: Vec<Ended>,
    /// How long those took that are folded and not yet durable.
    pub(super) timings: Timings,
    /// What the saga is parked for once nothing is under way.
    pub(super) park: Option<ParkReason>,
    _in_memory: InMemory,
}

struct Start {
    step: usize,
    attempt: u32,
    undo: bool,
}

/// Before any moment, whatever the clocks of others say.
pub(crate) const AT_ONCE: Timestamp = Timestamp::from_millis(0);

/// How a saga leaves memory.
pub(crate) enum Rest {
    Ended(Outcome<Payload>),
    Parked(ParkReason),
    /// It only waits, until then at the latest if it waits for a time.
    Away(Option<Timestamp>),
}

/// Why a run ended without the saga having come to an end or a rest.
pub(crate) enum Stuck {
    /// The engine gives up everything, and the journal may still answer.
    Killed,
    Failed(Failed),
    /// A record that this very version made cannot follow the others.
    Illegal(IllegalRecord),
}

impl Stuck {
    /// What those are told who asked something.
    pub(crate) fn tell(&self) -> AskError {
        match self {
            Self::Killed => AskError::Stopped,
            // The append was asked for more than once perhaps, and this is the last answer.
            Self::Failed(Failed::Journal(error)) => {
                AskError::Journal(JournalError::Ambiguous(error.to_string().into()))
            }
            Self::Failed(failed) => failed.tell(),
            Self::Illegal(illegal) => AskError::Corrupt(illegal.to_string()),
        }
    }
}

impl From<Failed> for Stuck {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<IllegalRecord> for Stuck {
    fn from(illegal: IllegalRecord) -> Self {
        Self::Illegal(illegal)
    }
}

impl<A: Send + Sync + 'static> Run<A> {
    pub(crate) fn new(
        shared: &Arc<Shared<A>>,
        seat: &Arc<Seat>,
        known: Arc<Known<A>>,
        state: State,
        grant: Grant,
    ) -> Box<Self> {
        let in_memory = known.observers.entered();
        // It is handed on several times, and is large.
        Box::new(Self {
            shared: Arc::clone(shared),
            seat: Arc::clone(seat),
            known,
            state,
            grant,
            pending: Vec::with_capacity(2),
            starts: Vec::with_capacity(1),
            answers: Vec::new(),
            attempts: FuturesUnordered::new(),
            ended: Vec::with_capacity(1),
            timings: Timings::new(),
            park: None,
            _in_memory: in_memory,
        })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.known.definition.graph
    }

    /// Runs the saga until it ends, parks, or only waits.
    pub(crate) async fn go(&mut self) -> Result<Rest, Stuck> {
        loop {
            if self.shared.is_killed() {
                return Err(Stuck::Killed);
            }
            let now = self.shared.clock.now();
            self.take_ended(now)?;
            self.take_asks();
            self.plan(now)?;
            if !self.pending.is_empty() {
                self.append(now).await?;
                self.committed().await;
                match self.at_end() {
                    None => continue,
                    Some(rest) => return Ok(rest),
                }
            }
            self.answer();
            if let Some(rest) = self.at_end().or_else(|| self.at_stop(now)) {
                return Ok(rest);
            }
            if let Some(wake) = self.wait().await {
                return Ok(Rest::Away(wake));
            }
        }
    }

    fn at_end(&self) -> Option<Rest> {
        let outcome = self.state.outcome(self.graph()).map(Rest::Ended);
        outcome.or_else(|| self.state.park_reason().cloned().map(Rest::Parked))
    }

    /// What is left to another engine, if this one stops and nothing is under way.
    fn at_stop(&self, now: Timestamp) -> Option<Rest> {
        if !self.shared.is_stopping() || !self.attempts.is_empty() {
            return None;
        }
        let is_due = self.state.plan(self.graph(), now).is_some();
        Some(Rest::Away(if is_due { Some(AT_ONCE) } else { self.state.next_wake() }))
    }

    /// Folds a record, and keeps it for the next append.
    pub(crate) fn record(&mut self, record: Record) -> Result<(), IllegalRecord> {
        self.state.apply(&self.known.definition.graph, &record)?;
        self.note_start(&record);
        self.pending.push(record);
        Ok(())
    }

    fn note_start(&mut self, record: &Record) {
        let (step, attempt, undo) = match record {
            Record::StepStarted { step, attempt } => (step, *attempt, false),
            Record::UndoStarted { step, attempt } => (step, *attempt, true),
            _ => return,
        };
        if let Some(step) = self.graph().position(step) {
            self.starts.push(Start { step, attempt, undo });
        }
    }

    /// Plans until nothing is to be done.
    pub(crate) fn plan(&mut self, now: Timestamp) -> Result<(), IllegalRecord> {
        self.park_when_idle()?;
        if self.park.is_some() {
            return Ok(());
        }
        let stopping = self.shared.is_stopping();
        while let Some(record) = self.state.plan(self.graph(), now) {
            if stopping && starts(&record) {
                break;
            }
            self.record(record)?;
        }
        Ok(())
    }

    fn park_when_idle(&mut self) -> Result<(), IllegalRecord> {
        if self.attempts.is_empty()
            && self.ended.is_empty()
            && let Some(reason) = self.park.take()
        {
            return self.record(Record::Parked { reason });
        }
        Ok(())
    }

    /// The records that are not yet durable.
    pub(crate) fn pending(&self) -> &[Record] {
        &self.pending
    }

    async fn append(&mut self, at: Timestamp) -> Result<(), Failed> {
        let (nonce, stopwatch) = (rand::random(), Stopwatch::start());
        let (grant, phase) = (self.grant, self.state.phase());
        let Self { shared, seat, pending, attempts, ended, .. } = self;
        let span = trace::append(pending.len());
        let meanwhile = |cx: &mut Context<'_>| collect(attempts, ended, cx);
        let kept = shared.persist(seat, |journal| journal.append(grant, batch(pending, nonce, phase, at)), meanwhile);
        self.grant = span.of(kept).await?;
        self.known.observers.appended(&stopwatch.read());
        Ok(())
    }

    /// What is pending is durable: what it starts may start.
    pub(crate) async fn committed(&mut self) {
        self.known.observers.recorded(self.grant.id, &self.pending);
        self.known.observers.timed(&mut self.timings);
        self.pending.clear();
        self.answer();
        poll_fn(|cx| {
            self.begin(cx);
            Poll::Ready(())
        })
        .await;
        // A saga whose steps never wait lets others have a turn.
        tokio::task::consume_budget().await;
    }

    /// Those whose wishes were not kept are told so.
    pub(crate) fn give_up(&mut self, error: impl Fn() -> AskError) {
        for answer in self.answers.drain(..) {
            answer.refuse(error());
        }
    }

    fn answer(&mut self) {
        for answer in self.answers.drain(..) {
            answer.give();
        }
    }

    /// Starts what may start. What ends at once costs no timer and no place among those that wait.
    fn begin(&mut self, cx: &mut Context<'_>) {
        let mut starts = mem::take(&mut self.starts);
        for start in starts.drain(..) {
            match self.attempt(&start) {
                Ok(mut attempt) => match Pin::new(&mut attempt).poll(cx) {
                    Poll::Ready(ended) => self.ended.push(ended),
                    Poll::Pending => self.attempts.push(attempt),
                },
                Err(ended) => self.ended.push(ended),
            }
        }
        self.starts = starts;
    }

    fn work(&self, start: &Start) -> Result<Work, Unreadable> {
        let (step, id) = (start.step, self.seat.id);
        let name = Arc::clone(&self.graph().nodes()[step].name);
        let code = &self.known.definition.code[step];
        let (view, table) = (self.state.step(step), self.state.outputs());
        let app = Arc::clone(&self.shared.app);
        if start.undo {
            let cx = UndoCx::new(app, id, name).at_attempt(start.attempt);
            return code.undo(cx, table, view.output()).map(Work::Undo);
        }
        let cx = StepCx::new(app, id, name).at_attempt(start.attempt, view.maybe_done_before());
        code.run(cx, table).map(Work::Do)
    }

    fn attempt(&self, start: &Start) -> Result<Attempt, Ended> {
        let (step, stopwatch) = (start.step, Stopwatch::start());
        let made = caught(|| self.work(start));
        let ending = match made {
            Ok(Ok(work)) => {
                let node = &self.graph().nodes()[step];
                let limit = if start.undo { node.undo_timeout } else { node.attempt_timeout };
                let span = trace::step(node.name(), start.attempt, start.undo);
                return Ok(Attempt::new(step, work, limit, span, stopwatch));
            }
            Ok(Err(unreadable)) => Ending::Unreadable { undo: start.undo, error: unreadable.to_string() },
            Err(panic) => unknown(start.undo, &panic),
        };
        Err(Ended { step, ending, took: stopwatch.read() })
    }
}

/// Records as a journal takes them.
pub(crate) fn batch(records: &[Record], nonce: u64, phase: Phase, at: Timestamp) -> Batch {
    Batch { records: records.iter().map(Record::encode).collect(), nonce, phase, at }
}

/// Whether something begins with this record that a shutdown would have to wait for.
const fn starts(record: &Record) -> bool {
    matches!(record, Record::StepStarted { .. } | Record::UndoStarted { .. } | Record::WaitStarted { .. })
}

fn collect(attempts: &mut FuturesUnordered<Attempt>, ended: &mut Vec<Ended>, cx: &mut Context<'_>) {
    while let Poll::Ready(Some(end)) = attempts.poll_next_unpin(cx) {
        ended.push(end);
    }
}
