//! What stands behind all probes of one run: the pool of tokens, the inner calls, the ledger.

use crate::{
    action::Answer,
    clause::Clause,
    ledger::{Event, Progress, Readiness},
    request::ProbeError,
};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

/// Shared by the probes, futures, requests and wakers of one run.
///
/// No waker and no trap is run, and nothing foreign is dropped, while the state is locked.
#[derive(Default)]
pub(crate) struct Backend {
    state: Mutex<State>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(crate) struct State {
    /// Tokens in the pool.
    pub(crate) free: usize,
    /// Tokens in all.
    pub(crate) tokens: usize,
    pub(crate) fail_readiness: bool,
    pub(crate) errors: u32,
    pub(crate) instances: Vec<Instance>,
    pub(crate) calls: Vec<InnerCall>,
    pub(crate) requests_alive: usize,
    /// What the driver is doing.
    pub(crate) during: During,
    pub(crate) log: Vec<Event>,
    /// Broken clauses that the probes saw by themselves.
    pub(crate) breaches: Vec<(Clause, &'static str)>,
    /// Every readiness error.
    pub(crate) all_readiness_errors: Vec<u32>,
    /// Readiness errors given since the driver last looked.
    pub(crate) readiness_errors: Vec<u32>,
    /// Whether `poll_ready` of a probe has said ready, or pending, since the driver last looked.
    pub(crate) said_ready: bool,
    pub(crate) said_pending: bool,
    /// Writes nothing down, and answers at once: for counting allocations.
    pub(crate) quiet: bool,
}

/// One value of the inner service.
#[derive(Debug, Default)]
pub(crate) struct Instance {
    pub(crate) alive: bool,
    pub(crate) token: bool,
    failed: bool,
    /// Of the latest poll that was pending.
    waker: Option<Waker>,
    /// When it was cloned from one that was ready; until it is asked itself.
    born_of_ready: Option<During>,
}

#[expect(clippy::struct_excessive_bools, reason = "facts that do not exclude each other")]
pub(crate) struct InnerCall {
    pub(crate) request: u32,
    token: bool,
    pub(crate) had_token: bool,
    pub(crate) alive: bool,
    pub(crate) done: bool,
    pub(crate) answer: Option<Answer>,
    waker: Option<Waker>,
    /// The number of the error that it gave.
    pub(crate) error: Option<u32>,
}

/// A reply, or an error.
pub(crate) type Given = Result<(), ProbeError>;

/// What the driver is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum During {
    #[default]
    Else,
    Call,
    Clone,
}

impl Backend {
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Planted panics never unwind through the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, event: Event) {
        self.with(|state| state.record(event));
    }

    /// One token more: for whoever asks first of those who wait.
    pub(crate) fn give(&self) {
        self.with(|state| state.tokens += 1);
        self.token_returned();
    }

    /// Wakes everybody for nothing.
    pub(crate) fn nudge(&self) {
        self.wake_waiters();
        let running: Vec<Waker> =
            self.with(|state| state.calls.iter_mut().filter_map(|call| call.waker.take()).collect());
        running.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn fail_readiness(&self) {
        self.with(|state| state.fail_readiness = true);
        self.wake_waiters();
    }

    fn token_returned(&self) {
        self.with(|state| state.free += 1);
        self.wake_waiters();
    }

    fn wake_waiters(&self) {
        let waiters: Vec<Waker> =
            self.with(|state| state.instances.iter_mut().filter_map(|instance| instance.waker.take()).collect());
        waiters.into_iter().for_each(Waker::wake);
    }

    // ===== called by the probes =====

    pub(crate) fn poll_ready(&self, instance: usize, waker: Waker) -> Readiness {
        // What is replaced is dropped unlocked.
        let (answer, _old) = self.with(|state| state.poll_ready(instance, waker));
        answer
    }

    /// Starts an inner call.
    pub(crate) fn called(&self, instance: usize, request: u32) -> usize {
        self.with(|state| state.called(instance, request))
    }

    pub(crate) fn poll(&self, call: usize, waker: Waker) -> Option<Given> {
        let (answer, token, _old) = self.with(|state| state.poll(call, waker));
        if token {
            self.token_returned();
        }
        answer
    }

    pub(crate) fn future_dropped(&self, call: usize) {
        let (token, _waker) = self.with(|state| state.future_dropped(call));
        if token {
            self.token_returned();
        }
    }

    pub(crate) fn cloned(&self, from: usize) -> usize {
        self.with(|state| state.cloned(from))
    }

    pub(crate) fn instance_dropped(&self, instance: usize) {
        let (token, _waker) = self.with(|state| state.instance_dropped(instance));
        if token {
            self.token_returned();
        }
    }

    // ===== called by the driver =====

    /// The inner service answers one of its calls.
    pub(crate) fn answer(&self, call: usize, answer: Answer) {
        let waker = self.with(|state| {
            let call = &mut state.calls[call];
            call.answer = Some(answer);
            call.waker.take()
        });
        waker.into_iter().for_each(Waker::wake);
    }
}

impl State {
    pub(crate) fn record(&mut self, event: Event) {
        if !self.quiet {
            self.log.push(event);
        }
    }

    pub(crate) fn breach(&mut self, clause: Clause, what: &'static str) {
        self.breaches.push((clause, what));
    }

    /// A first value, which no other was cloned to.
    pub(crate) fn new_instance(&mut self) -> usize {
        self.instances.push(Instance { alive: true, ..Instance::default() });
        self.instances.len() - 1
    }

    fn poll_ready(&mut self, at: usize, waker: Waker) -> (Readiness, Option<Waker>) {
        if self.during == During::Call {
            self.breach(Clause::CallDoesNotPollReadiness, "`call` polled the inner service for readiness");
        }
        self.instances[at].born_of_ready = None;
        if self.instances[at].failed {
            self.breach(Clause::ReadinessErrorEndsIt, "an inner value that had failed was polled for readiness again");
        }
        let (answer, old) = self.readiness(at, waker);
        match answer {
            Readiness::TookToken | Readiness::StillReady => self.said_ready = true,
            Readiness::Pending => self.said_pending = true,
            Readiness::Error(id) => {
                self.readiness_errors.push(id);
                self.all_readiness_errors.push(id);
            }
        }
        self.record(Event::PolledReady { instance: at, answer });
        (answer, old)
    }

    fn readiness(&mut self, at: usize, waker: Waker) -> (Readiness, Option<Waker>) {
        if self.instances[at].token {
            return (Readiness::StillReady, Some(waker));
        }
        if std::mem::take(&mut self.fail_readiness) {
            self.errors += 1;
            self.instances[at].failed = true;
            return (Readiness::Error(self.errors), Some(waker));
        }
        if self.free == 0 {
            return (Readiness::Pending, self.instances[at].waker.replace(waker));
        }
        self.free -= 1;
        self.instances[at].token = true;
        (Readiness::TookToken, Some(waker))
    }

    fn called(&mut self, at: usize, request: u32) -> usize {
        let token = std::mem::take(&mut self.instances[at].token);
        if !token {
            self.called_unready(at);
        }
        let answer = self.quiet.then_some(Answer::Ok);
        self.calls.push(InnerCall {
            request,
            token,
            had_token: token,
            alive: true,
            done: false,
            answer,
            waker: None,
            error: None,
        });
        let call = self.calls.len() - 1;
        self.record(Event::Called { instance: at, call, request, token });
        call
    }

    fn called_unready(&mut self, at: usize) {
        let instance = &self.instances[at];
        let (clause, what) = match instance.born_of_ready {
            _ if instance.failed => {
                (Clause::ReadinessErrorEndsIt, "the inner service was called after its `poll_ready` had failed")
            }
            Some(During::Clone) => {
                (Clause::ClonesAreNotReady, "a clone of a ready service called the inner service without asking it")
            }
            Some(_) => (
                Clause::SpentWhereEarned,
                "the inner value that was called is a clone of the one that was polled ready, and not ready itself",
            ),
            None => (Clause::OnlyReadyInnerIsCalled, "the inner service was called without being ready"),
        };
        self.breach(clause, what);
    }

    fn poll(&mut self, at: usize, waker: Waker) -> (Option<Given>, bool, Option<Waker>) {
        if self.calls[at].done {
            self.breach(Clause::NoPollAfterCompletion, "an inner future was polled after it had completed");
            self.record(Event::Polled { call: at, answer: Progress::Again });
            return (None, false, Some(waker));
        }
        let call = &mut self.calls[at];
        let Some(answer) = call.answer else {
            let old = call.waker.replace(waker);
            self.record(Event::Polled { call: at, answer: Progress::Pending });
            return (None, false, old);
        };
        call.done = true;
        let token = std::mem::take(&mut call.token);
        if answer == Answer::Ok {
            self.record(Event::Polled { call: at, answer: Progress::Ok });
            return (Some(Ok(())), token, Some(waker));
        }
        self.errors += 1;
        let id = self.errors;
        self.calls[at].error = Some(id);
        self.record(Event::Polled { call: at, answer: Progress::Error(id) });
        (Some(Err(ProbeError::new(id, answer == Answer::RefusedBelow))), token, Some(waker))
    }

    fn future_dropped(&mut self, at: usize) -> (bool, Option<Waker>) {
        let call = &mut self.calls[at];
        call.alive = false;
        let (token, waker, unfinished) = (std::mem::take(&mut call.token), call.waker.take(), !call.done);
        self.record(Event::FutureDropped { call: at, unfinished });
        (token, waker)
    }

    fn cloned(&mut self, from: usize) -> usize {
        let source = &self.instances[from];
        let born_of_ready = if source.token { Some(self.during) } else { source.born_of_ready };
        let to = self.new_instance();
        self.instances[to].born_of_ready = born_of_ready;
        self.record(Event::InstanceCloned { from, to, in_call: self.during == During::Call });
        to
    }

    fn instance_dropped(&mut self, at: usize) -> (bool, Option<Waker>) {
        let token = std::mem::take(&mut self.instances[at].token);
        self.instances[at].alive = false;
        self.record(Event::InstanceDropped { instance: at, token });
        (token, self.instances[at].waker.take())
    }

    /// Tokens that services hold for their next call.
    pub(crate) fn reserved(&self) -> usize {
        self.instances.iter().filter(|instance| instance.token).count()
    }

    /// Inner calls that are running; for one request, or for all.
    pub(crate) fn running(&self, request: Option<u32>) -> usize {
        let of = |call: &&InnerCall| call.alive && !call.done && request.is_none_or(|request| call.request == request);
        self.calls.iter().filter(of).count()
    }

    pub(crate) fn inner_calls(&self, request: u32) -> usize {
        self.calls.iter().filter(|call| call.request == request).count()
    }

    pub(crate) fn take_errors(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.readiness_errors)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}
