//! The task of a saga: from its start, its claim, or a wish, to its end or its rest.

use super::{
    ask::{Ask, tell},
    observe::Stopwatch,
    outcome::{AskError, Outcome},
    read::fold,
    registry::Next,
    run::{AT_ONCE, Rest, Run, Stuck, batch},
    seat::{Seat, Stage},
    shared::{Failed, Known, Shared},
    trace,
};
use crate::{
    Graph, ParkReason, Payload, Record, Timestamp,
    journal::{Claimed, Created, Grant, JournalError, NewSaga, Phase},
    panics::told,
    state::{IllegalRecord, State},
    text::cut,
};
use futures_util::FutureExt;
use mainstay_core::BoxError;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// How long an engine that gives up everything tries to give a saga back.
const COURTESY: Duration = Duration::from_millis(250);

/// A saga that is to be made.
pub(crate) struct New<A> {
    pub(crate) known: Arc<Known<A>>,
    /// The definition's, as it was given to the start: its deadline may be another than the registered one.
    pub(crate) graph: Arc<Graph>,
    pub(crate) key: Arc<str>,
    pub(crate) input: Payload,
}

/// With what a task begins.
pub(crate) enum Begin<A> {
    New(New<A>),
    Claimed(Claimed),
    Asked,
}

/// Runs a saga in a task of its own, so that it does not depend on who asked for it.
pub(crate) fn spawn<A: Send + Sync + 'static>(
    shared: &Arc<Shared<A>>,
    seat: Arc<Seat>,
    begin: Begin<A>,
    room: Option<OwnedSemaphorePermit>,
) {
    let task = Task { shared: Arc::clone(shared), seat, is_done: false };
    tokio::spawn(task.live(begin, room));
}

/// The task's hold on the saga. However the task ends, the saga is not held any more.
struct Task<A> {
    shared: Arc<Shared<A>>,
    seat: Arc<Seat>,
    /// Whether it has ended in order: then the saga may be with another task by now.
    is_done: bool,
}

impl<A> Drop for Task<A> {
    fn drop(&mut self) {
        if !self.is_done {
            if let Some(stage) = self.seat.left_by_task("its task was dropped") {
                self.seat.set(stage);
            }
            for ask in self.shared.registry.lose(&self.seat) {
                ask.refuse(AskError::Stopped);
            }
        }
        self.shared.registry.release(Arc::clone(&self.seat));
    }
}

impl<A: Send + Sync + 'static> Task<A> {
    async fn live(mut self, begin: Begin<A>, mut room: Option<OwnedSemaphorePermit>) {
        let mut begin = Some(begin);
        while let Some(next) = begin.take() {
            let was_asked = matches!(next, Begin::Asked);
            // Boxed: what a task holds itself is moved before it runs, and is aligned so that allocators serve a lot of it slowly.
            let once = AssertUnwindSafe(Box::pin(self.once(next, room.take()))).catch_unwind().await;
            let stage = match once {
                Ok(stage) => stage,
                Err(panic) => self.broken(&told(panic), was_asked).await,
            };
            begin = self.shared.registry.finish(&self.seat, stage).map(|next| match next {
                Next::Asked => Begin::Asked,
                Next::Claimed(claimed) => Begin::Claimed(claimed),
            });
        }
        self.is_done = true;
    }

    /// From one beginning to the next rest. There is room again before anybody hears of it.
    async fn once(&self, begin: Begin<A>, room: Option<OwnedSemaphorePermit>) -> Stage {
        // Who was asked something does not wait for room, and takes it if there is some.
        let _room = room.or_else(|| Arc::clone(&self.shared.room).try_acquire_owned().ok());
        let run = match begin {
            Begin::New(new) => self.create(new).await,
            Begin::Claimed(claimed) => Box::pin(self.own(claimed, false)).await,
            Begin::Asked => Box::pin(self.fetch()).await,
        };
        match run {
            Ok(run) => self.run(run).await,
            Err(stage) => stage,
        }
    }

    /// Gives the saga back after a panic of what is called here: a journal, or a span. It is due again after a while.
    async fn broken(&self, panic: &str, was_asked: bool) -> Stage {
        let id = self.seat.id;
        if was_asked {
            // Else what panics whenever it is asked would be asked without end.
            self.refuse(|| AskError::Journal(JournalError::Ambiguous(panic.into())));
        }
        let stage = self.seat.left_by_task(panic).unwrap_or(Stage::Away);
        trace::broken(self.shared.config.name, id, panic);
        let later = self.shared.clock.now().after(self.shared.config.poll_interval);
        if let Ok(claimed) = self.shared.persist(&self.seat, |journal| journal.claim_one(id), |_| {}).await {
            self.leave(claimed.grant, Some(later)).await;
        }
        stage
    }

    async fn create(&self, new: New<A>) -> Result<Box<Run<A>>, Stage> {
        let at = self.shared.clock.now();
        let graph = Arc::clone(&new.known.definition.graph);
        let key = Arc::clone(&new.key);
        let mut run = self.begin(new, at).map_err(not_started)?;
        let wish = NewSaga { id: self.seat.id, saga: Arc::clone(&graph.name), version: graph.version, key, at };
        let stopwatch = Stopwatch::start();
        let span = trace::append(run.pending().len());
        match span.of(self.keep(run.pending(), run.state.phase(), &wish)).await {
            Ok(Created::New(grant)) => {
                let took = stopwatch.read();
                run.grant = grant;
                self.seat.set(Stage::Running);
                run.known.observers.appended(&took);
                run.committed().await;
                Ok(run)
            }
            Ok(Created::Existing(id)) if id == self.seat.id => Box::pin(self.adopt()).await,
            Ok(Created::Existing(id)) => Err(Stage::Existing(id)),
            Err(Failed::Journal(error)) => Err(Stage::NotStarted(Some(error))),
            // It may be there, and is found when an engine starts again.
            Err(Failed::Killed) => {
                Err(Stage::NotStarted(Some(JournalError::Ambiguous("the engine was shut down".into()))))
            }
        }
    }

    /// The saga with its first records, folded and not yet kept.
    fn begin(&self, new: New<A>, at: Timestamp) -> Result<Box<Run<A>>, IllegalRecord> {
        let graph = Arc::clone(&new.known.definition.graph);
        let grant = Grant { id: self.seat.id, epoch: 0, seq: 0 };
        let mut run = Run::new(&self.shared, &self.seat, new.known, State::new(&graph), grant);
        run.record(Record::created(&new.graph, new.key, new.input, at))?;
        run.plan(at)?;
        Ok(run)
    }

    /// An error that says that nothing was done is for whoever wanted the saga. Once there was doubt there is only certainty.
    async fn keep(&self, records: &[Record], phase: Phase, wish: &NewSaga) -> Result<Created, Failed> {
        let nonce = rand::random();
        let mut in_doubt = false;
        let is_open = |error: &JournalError| {
            in_doubt |= matches!(error, JournalError::Ambiguous(_));
            in_doubt && !matches!(error, JournalError::Closed)
        };
        let answer = self
            .shared
            .persist_while(
                &self.seat,
                is_open,
                |journal| journal.create(wish.clone(), batch(records, nonce, phase, wish.at)),
                |_| {},
            )
            .await;
        match answer {
            // What was asked first may have been done, whatever has been said since.
            Err(Failed::Journal(error)) if in_doubt => Err(Failed::Journal(JournalError::Ambiguous(error.into()))),
            answer => answer,
        }
    }

    /// Takes the saga that a lost answer had made.
    async fn adopt(&self) -> Result<Box<Run<A>>, Stage> {
        let id = self.seat.id;
        match self.shared.persist(&self.seat, |journal| journal.claim_one(id), |_| {}).await {
            Ok(claimed) => self.own(claimed, false).await,
            Err(_) => Err(Stage::Away),
        }
    }

    /// Goes on with a saga that was claimed.
    async fn own(&self, claimed: Claimed, was_parked: bool) -> Result<Box<Run<A>>, Stage> {
        self.seat.set(Stage::Running);
        let grant = claimed.grant;
        let Some(known) = self.shared.known(&claimed.saga, claimed.version).cloned() else {
            return Err(self.leave(grant, Some(AT_ONCE)).await);
        };
        let stored = match self.shared.persist(&self.seat, |journal| journal.load(grant.id), |_| {}).await {
            Ok(stored) => stored,
            Err(failed) => return Err(self.lost(&known, grant, failed).await),
        };
        known.observers.claimed();
        match fold(&known.definition.graph, &stored, grant.seq) {
            Ok(state) => Ok(Run::new(&self.shared, &self.seat, known, state, grant)),
            Err(reason) if was_parked => Err(self.unread(&known, grant, reason).await),
            Err(reason) => Err(self.park(&known, grant, reason).await),
        }
    }

    /// Takes a saga of which something is asked while it is not in memory.
    async fn fetch(&self) -> Result<Box<Run<A>>, Stage> {
        let id = self.seat.id;
        if self.shared.is_stopping() {
            return Err(self.refuse(|| AskError::Stopped));
        }
        let found = match self.shared.persist(&self.seat, |journal| journal.find(id), |_| {}).await {
            Ok(Some(summary)) => summary,
            Ok(None) => return Err(self.refuse(|| AskError::NotFound)),
            Err(failed) => return Err(self.refuse(|| failed.tell())),
        };
        if found.phase.is_ended() {
            self.seat.take_asks().into_iter().for_each(Ask::answer_ended);
            return Err(Stage::Away);
        }
        if self.shared.known(&found.saga, found.version).is_none() {
            let error = || AskError::NotRegistered { saga: Arc::clone(&found.saga), version: found.version };
            return Err(self.refuse(error));
        }
        let claimed = match self.shared.persist(&self.seat, |journal| journal.claim_one(id), |_| {}).await {
            Ok(claimed) => claimed,
            Err(failed) => return Err(self.refuse(|| failed.tell())),
        };
        let run = self.own(claimed, found.phase == Phase::Parked).await;
        if let Err(Stage::Parked(reason)) = &run {
            self.refuse(|| AskError::Corrupt(format!("{reason:?}")));
        }
        run
    }

    fn refuse(&self, error: impl Fn() -> AskError) -> Stage {
        for ask in self.seat.take_asks() {
            ask.refuse(error());
        }
        Stage::Away
    }

    /// Runs a saga until it ends or rests.
    async fn run(&self, mut run: Box<Run<A>>) -> Stage {
        let (known, span) = (Arc::clone(&run.known), trace::run(run.graph(), run.grant));
        let gone = span.of(run.go()).await;
        let grant = run.grant;
        if let Err(stuck) = &gone {
            run.give_up(|| stuck.tell());
        }
        // What is under way ends before anybody else can have the saga.
        drop(run);
        match gone {
            Ok(Rest::Ended(outcome)) => Stage::Ended(outcome),
            Ok(Rest::Parked(reason)) => {
                Box::pin(self.leave(grant, None)).await;
                Stage::Parked(reason)
            }
            Ok(Rest::Away(wake_at)) => Box::pin(self.leave(grant, wake_at)).await,
            // A courtesy to other engines, for which nobody waits.
            Err(Stuck::Killed) => {
                drop(timeout(COURTESY, self.shared.journal.release(grant, Some(AT_ONCE))).await);
                Stage::Away
            }
            Err(Stuck::Failed(failed)) => Box::pin(self.lost(&known, grant, failed)).await,
            Err(Stuck::Illegal(illegal)) => Box::pin(self.quarantine(&known, illegal.seq(), illegal.why())).await,
        }
    }

    /// Gives the saga back.
    async fn leave(&self, grant: Grant, wake_at: Option<Timestamp>) -> Stage {
        // An error that stays one leaves the saga with this process: it is due again when the next one starts.
        let _ = self.shared.persist(&self.seat, |journal| journal.release(grant, wake_at), |_| {}).await;
        Stage::Away
    }

    /// The journal did not let the saga go on.
    async fn lost(&self, known: &Known<A>, grant: Grant, failed: Failed) -> Stage {
        match failed {
            Failed::Journal(JournalError::Conflict { seq }) => {
                return self.quarantine(known, seq, "there are records that nobody knows of").await;
            }
            Failed::Journal(JournalError::Corrupt(error)) => {
                return self.quarantine(known, grant.seq, &error.to_string()).await;
            }
            Failed::Journal(error @ JournalError::Fenced { .. }) => {
                known.observers.fenced();
                trace::lost(self.shared.config.name, grant, &error);
            }
            // The journal does not answer, or is closed: the saga is due when this process is known to be gone. Or it is no more.
            Failed::Killed | Failed::Journal(_) => {}
        }
        Stage::Away
    }

    /// A parked saga whose records cannot be folded: an operator can give it up, and do nothing else with it.
    async fn unread(&self, known: &Known<A>, grant: Grant, reason: ParkReason) -> Stage {
        let mut asks = self.seat.take_asks().into_iter();
        while let Some(ask) = asks.next() {
            let (by, reply) = match ask {
                Ask::Operator { record: Record::Abandoned(by), reply } => (by, reply),
                other => {
                    other.refuse(AskError::Corrupt(format!("{reason:?}")));
                    continue;
                }
            };
            let record = Record::Abandoned(by.clone());
            match self.add(known, grant, &record, Phase::Abandoned).await {
                Ok(_) => {
                    known.observers.recorded(grant.id, &[record]);
                    tell(reply, Ok(()));
                    asks.for_each(Ask::answer_ended);
                    return Stage::Ended(Outcome::Abandoned(by));
                }
                Err(failed) => tell(reply, Err(Stuck::Failed(failed).tell())),
            }
        }
        self.leave(grant, None).await;
        Stage::Parked(reason)
    }

    /// Adds a record to those of a saga whose state is not known.
    async fn add(&self, known: &Known<A>, grant: Grant, record: &Record, phase: Phase) -> Result<Grant, Failed> {
        let (nonce, at, stopwatch) = (rand::random(), self.shared.clock.now(), Stopwatch::start());
        let batch = || batch(std::slice::from_ref(record), nonce, phase, at);
        let kept = self.shared.persist(&self.seat, |journal| journal.append(grant, batch()), |_| {});
        let grant = trace::append(1).of(kept).await?;
        known.observers.appended(&stopwatch.read());
        Ok(grant)
    }

    /// Parks the saga whatever its records are.
    async fn quarantine(&self, known: &Known<A>, seq: u64, why: &str) -> Stage {
        let (id, reason) = (self.seat.id, ParkReason::Corrupt { seq, error: cut(why) });
        match self.shared.persist(&self.seat, |journal| journal.claim_one(id), |_| {}).await {
            Ok(claimed) => self.park(known, claimed.grant, reason).await,
            Err(_) => Stage::Away,
        }
    }

    /// Parks a saga whose state is not known.
    async fn park(&self, known: &Known<A>, grant: Grant, reason: ParkReason) -> Stage {
        match self.add(known, grant, &Record::Parked { reason: reason.clone() }, Phase::Parked).await {
            Ok(grant) => {
                known.observers.parked(grant.id, &reason);
                self.leave(grant, None).await;
                Stage::Parked(reason)
            }
            Err(_) => Stage::Away,
        }
    }
}

/// What is answered for a saga that the journal did not take.
fn not_started(why: impl Into<BoxError>) -> Stage {
    Stage::NotStarted(Some(JournalError::Transient(why.into())))
}
