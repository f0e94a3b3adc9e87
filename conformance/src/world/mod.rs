//! One run: services of one layer over one backend, and the driver that acts on them.

mod end;
mod judge;

use crate::{
    action::Action,
    backend::{Backend, During},
    clause::{Clause, ClauseSet},
    clock::Clock,
    heart::Heart,
    ledger::{Event, Seen, Task},
    probe::Probe,
    request::{Reply, Request},
    subject::{AnyFuture, AnyLayer, AnyService, Erased},
    task::Ear,
    told::Told,
};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
};

/// A broken clause, and how.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) clause: Clause,
    pub(crate) what: String,
}

/// What all runs of a phase have in common.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) subject: &'a Erased,
    pub(crate) heart: &'a Heart,
    /// Clauses that do not bind, and those that are known to be broken.
    pub(crate) masked: ClauseSet,
}

/// One run.
///
/// Fields are dropped in this order: futures, services, the layer, and the clock last, since all may hold timers.
pub(crate) struct World<'a> {
    pub(crate) calls: Vec<Outer>,
    pub(crate) services: Vec<Slot>,
    /// Stays until the end, so that what all clones share can be looked at then; for layers that own permits.
    heir: Option<Box<dyn AnyService>>,
    layer: Box<dyn AnyLayer>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) clock: Clock,
    pub(crate) subject: &'a Erased,
    heart: &'a Heart,
    masked: ClauseSet,
    pub(crate) breach: Option<Breach>,
    /// A waiter was dropped between being woken and being polled.
    pub(crate) woken_waiter_dropped: bool,
    /// A panic was planted, so one is no surprise.
    pub(crate) panics_expected: bool,
    /// How many inner calls have been looked at.
    looked_at: usize,
}

/// A service.
pub(crate) struct Slot {
    pub(crate) service: Option<Box<dyn AnyService>>,
    pub(crate) state: State,
    pub(crate) ear: Ear,
    /// How often it was polled since it became ready.
    pub(crate) repeats: u32,
    /// Whether being ready has taken a token.
    took: bool,
    /// Whether the inner service had room when this was last found ready.
    backed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    Pending,
    Ready,
}

/// A response future; gone when it has answered.
pub(crate) struct Outer {
    pub(crate) future: Option<AnyFuture>,
    pub(crate) ear: Ear,
    pub(crate) answer: Option<Result<Reply, Told>>,
    /// How many inner calls it has made.
    made: usize,
    /// How many there were when it was over.
    over_at: Option<usize>,
    /// Whether the inner service had room when its service was found ready.
    backed: bool,
}

impl<'a> World<'a> {
    /// A first service on an inner service with so many tokens.
    pub(crate) fn new(setting: Setting<'a>, tokens: usize) -> Self {
        let Setting { subject, heart, masked } = setting;
        let backend = Arc::new(Backend::default());
        heart.begin(&backend);
        let clock = Clock::new(subject.on_tokio);
        let layer = clock.within(|| subject.layer());
        let mut world = Self {
            calls: Vec::new(),
            services: Vec::new(),
            heir: None,
            layer,
            backend,
            clock,
            subject,
            heart,
            masked,
            breach: None,
            woken_waiter_dropped: false,
            panics_expected: false,
            looked_at: 0,
        };
        (0..tokens).for_each(|_| world.backend.give());
        world.add_service();
        if subject.profile.permits.is_some() {
            world.heir = Some(world.clock.within(|| world.spare(0)));
        }
        world
    }

    /// Another service from the same layer.
    pub(crate) fn add_service(&mut self) -> usize {
        let probe = Probe::new(Arc::clone(&self.backend));
        let service = self.clock.within(|| self.layer.service(probe));
        self.push_service(service)
    }

    fn push_service(&mut self, service: Box<dyn AnyService>) -> usize {
        let at = self.services.len();
        let ear = Ear::new(Task::Service(at), &self.backend);
        self.services.push(Slot {
            service: Some(service),
            state: State::Idle,
            ear,
            repeats: 0,
            took: false,
            backed: false,
        });
        at
    }

    /// A clone of a service, or where that cannot be had, another from the same layer; not counted among the services.
    pub(crate) fn spare(&self, of: usize) -> Box<dyn AnyService> {
        let clone = self.services[of].service.as_ref().and_then(|service| service.another());
        clone.unwrap_or_else(|| self.layer.service(Probe::new(Arc::clone(&self.backend))))
    }

    /// The clause does not hold; the first one of a run counts.
    pub(crate) fn breach(&mut self, clause: Clause, what: impl Into<String>) {
        if self.breach.is_none() && !self.masked.has(clause) {
            self.breach = Some(Breach { clause, what: what.into() });
        }
    }

    pub(crate) fn log(&self) -> Vec<Event> {
        self.backend.with(|state| state.log.clone())
    }

    fn saw(&self, seen: Seen) {
        self.backend.record(Event::Saw(seen));
    }

    /// Does it, lets spawned tasks run, and looks at what came of it.
    pub(crate) fn perform(&mut self, action: Action) {
        self.heart.beat();
        self.backend.record(Event::Did(action));
        match action {
            Action::Ready(at) => {
                self.services[at].ear.forget_earlier();
                self.ready(at);
            }
            Action::ReadyElsewhere(at) => {
                self.services[at].ear.move_to_another_task(&self.backend);
                self.ready(at);
            }
            Action::Call(at) => self.call(at),
            Action::Poll(at) => {
                self.calls[at].ear.forget_earlier();
                self.poll(at);
            }
            Action::PollElsewhere(at) => {
                self.calls[at].ear.move_to_another_task(&self.backend);
                self.poll(at);
            }
            Action::DropService(at) => self.drop_service(at),
            Action::DropCall(at) => self.drop_call(at),
            Action::Clone(at) => self.clone_service(at),
            Action::Give => self.outside(|world| world.backend.give()),
            Action::Answer(call, answer) => self.outside(|world| world.backend.answer(call, answer)),
            Action::Nudge => self.outside(|world| world.backend.nudge()),
            Action::FailReadiness => self.outside(|world| world.backend.fail_readiness()),
            Action::Advance => self.clock.advance(self.subject.profile.step),
        }
        self.clock.settle();
        self.look();
    }

    /// What the inner service does wakes, and a waker may run anything.
    fn outside(&mut self, act: impl FnOnce(&Self)) {
        let done = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| act(self))));
        if let Err(payload) = done {
            self.unwound("waking", &*payload);
        }
    }

    /// What was written down by the probes, and the limits.
    fn look(&mut self) {
        let breaches = self.backend.with(|state| std::mem::take(&mut state.breaches));
        for (clause, what) in breaches {
            self.breach(clause, what);
        }
        let running = self.backend.with(|state| state.running(None));
        if let Some(permits) = self.subject.profile.permits.filter(|permits| running > *permits) {
            self.breach(Clause::LimitHolds, format!("{running} inner calls are in flight on {permits} permits"));
        }
        let new: Vec<(u32, bool)> = self.backend.with(|state| {
            let new = state.calls.iter().skip(self.looked_at).map(|call| (call.request, call.had_token));
            new.collect()
        });
        self.looked_at += new.len();
        for (request, had_token) in new {
            self.look_at_inner_call(request as usize, had_token);
        }
    }

    fn look_at_inner_call(&mut self, request: usize, had_token: bool) {
        // That of foreign code.
        let Some(outer) = self.calls.get_mut(request) else { return };
        outer.made += 1;
        let (made, late) = (outer.made, outer.over_at.is_some_and(|then| outer.made > then));
        let refused = outer.answer.as_ref().is_some_and(|answer| answer.as_ref().is_err_and(|told| told.refused));
        let unbacked = made == 1 && had_token && !outer.backed;
        let profile = &self.subject.profile;
        let (allowed, detaches, buffers) = (profile.most_inner_calls, profile.detaches, profile.buffers);
        if late && refused {
            let what = format!("call {request} was reported as refused, and then made an inner call");
            self.breach(Clause::RefusedMeansNotCalled, what);
        } else if late && !detaches {
            self.breach(Clause::DropCancels, format!("call {request} was over, and then made an inner call"));
        } else if made > allowed {
            let what = format!("call {request} has made {made} inner calls; declared are at most {allowed}");
            self.breach(Clause::InnerCallsAreBounded, what);
        } else if unbacked && !buffers {
            let what = format!("call {request} was let in while the inner service had no room, and waited for it then");
            self.breach(Clause::BackpressureIsPassedOn, what);
        }
    }

    fn unwound(&mut self, what: &str, payload: &(dyn Any + Send)) {
        self.saw(Seen::Panic);
        if !self.panics_expected {
            let text = panic_text(payload);
            let hint = if text.contains("no reactor running") {
                " (a layer that needs tokio is driven with `Subject::on_tokio`)"
            } else {
                ""
            };
            let what = format!("{what} panicked, and nothing below had: {text}{hint}");
            self.breach(Clause::PanicsDoNotSpread, what);
        }
    }

    // ===== poll_ready =====

    fn ready(&mut self, at: usize) {
        // Who wakes itself is polled again, so long.
        const SPINS: u32 = 50;
        for _ in 0..SPINS {
            if !self.ready_once(at) {
                return;
            }
            self.clock.settle();
        }
        self.breach(Clause::NoBusyLoop, format!("`poll_ready` was pending {SPINS} times, and woke itself each time"));
    }

    /// Whether it is pending, and has woken itself.
    fn ready_once(&mut self, at: usize) -> bool {
        let reserved = self.backend.with(|state| {
            (state.said_ready, state.said_pending) = (false, false);
            state.readiness_errors.clear();
            state.reserved()
        });
        let slot = &mut self.services[at];
        let Some(service) = slot.service.as_mut() else { return false };
        let ear = &mut slot.ear;
        let polled = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| ear.listen(|cx| service.poll_ready(cx)))));
        let was_ready = slot.state == State::Ready;
        match polled {
            Ok(Poll::Ready(Ok(()))) => self.is_ready(at, was_ready, reserved),
            Ok(Poll::Ready(Err(told))) => self.is_defunct(at, &told),
            Ok(Poll::Pending) => return self.is_pending(at, was_ready),
            Err(payload) => {
                slot.state = State::Idle;
                self.unwound("`poll_ready`", &*payload);
            }
        }
        false
    }

    // ===== call =====

    fn call(&mut self, at: usize) {
        let request = Request::new(u32::try_from(self.calls.len()).unwrap_or(u32::MAX), Arc::clone(&self.backend));
        let task = Task::Call(self.calls.len());
        let slot = &mut self.services[at];
        let backed = slot.backed;
        (slot.state, slot.took, slot.backed) = (State::Idle, false, false);
        let Some(service) = slot.service.as_mut() else { return };
        self.backend.with(|state| state.during = During::Call);
        let called = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| service.call(request))));
        self.backend.with(|state| state.during = During::Else);
        let ear = Ear::new(task, &self.backend);
        let (future, over_at) = match called {
            Ok(future) => (Some(future), None),
            Err(payload) => {
                self.unwound("`call`", &*payload);
                (None, Some(self.inner_calls(self.calls.len())))
            }
        };
        self.calls.push(Outer { future, ear, answer: None, made: 0, over_at, backed });
    }

    fn inner_calls(&self, request: usize) -> usize {
        self.backend.with(|state| state.inner_calls(number(request)))
    }

    fn poll(&mut self, at: usize) {
        const SPINS: u32 = 50;
        for _ in 0..SPINS {
            if !self.poll_once(at) {
                return;
            }
            self.clock.settle();
        }
        self.breach(Clause::NoBusyLoop, format!("the future was pending {SPINS} times, and woke itself each time"));
    }

    /// Whether it is pending, and has woken itself.
    fn poll_once(&mut self, at: usize) -> bool {
        let errors = self.backend.with(|state| state.errors);
        let outer = &mut self.calls[at];
        let Some(future) = outer.future.as_mut() else { return false };
        let ear = &mut outer.ear;
        let polled = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| ear.listen(|cx| future.as_mut().poll(cx)))));
        match polled {
            Ok(Poll::Pending) => {
                self.saw(Seen::Pending);
                return self.calls[at].ear.woken();
            }
            Ok(Poll::Ready(answer)) => self.answered(at, answer, errors),
            Err(payload) => {
                self.unwound("the response future", &*payload);
                self.drop_call(at);
            }
        }
        false
    }

    fn answered(&mut self, at: usize, answer: Result<Reply, Told>, errors: u32) {
        self.saw(match &answer {
            Ok(reply) => Seen::Reply(reply.request()),
            Err(told) => Seen::Error(told.text.clone()),
        });
        // Before the future is dropped.
        self.clock.settle();
        let running = self.backend.with(|state| state.running(Some(number(at))));
        match &answer {
            Ok(reply) => self.judge_reply(at, *reply),
            Err(told) => self.judge_error(at, told, errors),
        }
        if running > 0 && !self.subject.profile.detaches {
            self.breach(
                Clause::AnswerEndsAll,
                format!("call {at} has its answer, and {running} of its inner calls still run"),
            );
        }
        self.calls[at].answer = Some(answer);
        self.drop_future(at);
    }

    // ===== clone and drop =====

    fn clone_service(&mut self, at: usize) {
        self.backend.with(|state| state.during = During::Clone);
        let clone = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| self.spare(at))));
        self.backend.with(|state| state.during = During::Else);
        match clone {
            Ok(clone) => {
                self.push_service(clone);
            }
            Err(payload) => self.unwound("`clone`", &*payload),
        }
    }

    pub(crate) fn drop_service(&mut self, at: usize) {
        let slot = &mut self.services[at];
        self.woken_waiter_dropped |= slot.state == State::Pending && slot.ear.polled() && slot.ear.woken();
        let service = slot.service.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| drop(service))));
        if let Err(payload) = dropped {
            self.unwound("the drop of the service", &*payload);
        }
    }

    fn drop_call(&mut self, at: usize) {
        let outer = &self.calls[at];
        self.woken_waiter_dropped |= outer.future.is_some() && outer.ear.polled() && outer.ear.woken();
        self.drop_future(at);
        self.clock.settle();
        let running = self.backend.with(|state| state.running(Some(number(at))));
        if running > 0 && !self.subject.profile.detaches {
            self.breach(
                Clause::DropCancels,
                format!("the future of call {at} was dropped, and {running} of its inner calls still run"),
            );
        }
    }

    fn drop_future(&mut self, at: usize) {
        let future = self.calls[at].future.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| drop(future))));
        if let Err(payload) = dropped {
            self.unwound("the drop of the response future", &*payload);
        }
        let made = self.inner_calls(at);
        self.calls[at].over_at.get_or_insert(made);
    }
}

fn number(request: usize) -> u32 {
    u32::try_from(request).unwrap_or(u32::MAX)
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into())
}
