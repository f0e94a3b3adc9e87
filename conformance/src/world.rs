//! One run: services of one layer over one backend, and the driver that acts on them.

use crate::{
    action::{Action, Answer},
    backend::{Backend, During},
    clause::{Clause, ClauseSet},
    clock::Clock,
    heart::Heart,
    ledger::{Event, Seen, Task},
    probe::Probe,
    request::{Reply, Request},
    subject::{AnyFuture, AnyLayer, AnyService, Erased},
    task::Bell,
    told::Told,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

/// A broken clause, and how.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) clause: Clause,
    pub(crate) what: String,
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
    /// How many inner calls there were when it was over.
    over_at: Option<usize>,
}

/// How one poller is woken.
pub(crate) struct Ear {
    task: Task,
    bell: Arc<Bell>,
    /// What the bell had rung when it was last polled; `None` if it never was.
    heard: Option<u32>,
    /// The bell of the task that polled before this one.
    earlier: Option<(Arc<Bell>, u32)>,
}

impl Ear {
    fn new(task: Task, backend: &Arc<Backend>) -> Self {
        Self { task, bell: Bell::new(task, backend), heard: None, earlier: None }
    }

    pub(crate) const fn polled(&self) -> bool {
        self.heard.is_some()
    }

    pub(crate) fn woken(&self) -> bool {
        self.heard.is_none_or(|heard| self.bell.rung() > heard)
    }

    pub(crate) const fn moved(&self) -> bool {
        self.earlier.is_some()
    }

    fn earlier_woken(&self) -> bool {
        self.earlier.as_ref().is_some_and(|(bell, heard)| bell.rung() > *heard)
    }

    /// From now on another task polls.
    fn move_to_another_task(&mut self, backend: &Arc<Backend>) {
        let bell = std::mem::replace(&mut self.bell, Bell::new(self.task, backend));
        let heard = bell.rung();
        self.earlier = Some((bell, heard));
    }

    /// Polls with this ear. Who wakes itself meanwhile has been woken.
    fn listen<T>(&mut self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.heard = Some(self.bell.rung());
        let waker = self.bell.waker();
        poll(&mut Context::from_waker(&waker))
    }
}

impl<'a> World<'a> {
    pub(crate) fn new(subject: &'a Erased, heart: &'a Heart, masked: ClauseSet, tokens: usize) -> Self {
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
        self.services.push(Slot { service: Some(service), state: State::Idle, ear, repeats: 0, took: false });
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
            Action::Ready(at) => self.ready(at),
            Action::ReadyElsewhere(at) => {
                self.services[at].ear.move_to_another_task(&self.backend);
                self.ready(at);
            }
            Action::Call(at) => self.call(at),
            Action::Poll(at) => self.poll(at),
            Action::PollElsewhere(at) => {
                self.calls[at].ear.move_to_another_task(&self.backend);
                self.poll(at);
            }
            Action::DropService(at) => self.drop_service(at),
            Action::DropCall(at) => self.drop_call(at),
            Action::Clone(at) => self.clone_service(at),
            Action::Give => self.outside(|world| world.backend.give()),
            Action::Answer(call, answer) => self.outside(|world| world.backend.answer(call, answer)),
            Action::FailReadiness => self.outside(|world| world.backend.fail_readiness()),
            Action::Advance => self.clock.advance(self.subject.profile.step),
        }
        self.clock.settle();
        self.look();
    }

    /// What the inner service does wakes, and a waker may run anything.
    fn outside(&mut self, act: impl FnOnce(&Self)) {
        let done = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| act(self))));
        if done.is_err() {
            self.unwound("waking");
        }
    }

    /// What was written down by the probes, and the limits.
    fn look(&mut self) {
        let breaches = self.backend.with(|state| std::mem::take(&mut state.breaches));
        for (clause, what) in breaches {
            self.breach(clause, what);
        }
        let (running, most) =
            self.backend.with(|state| (state.running(None), state.calls.iter().map(|call| call.request).collect::<Vec<_>>()));
        if let Some(permits) = self.subject.profile.permits.filter(|permits| running > *permits) {
            self.breach(Clause::LimitHolds, format!("{running} inner calls are in flight on {permits} permits"));
        }
        let allowed = self.subject.profile.most_inner_calls;
        for request in 0..self.calls.len() {
            let made = most.iter().filter(|of| **of as usize == request).count();
            if made > allowed {
                self.breach(
                    Clause::InnerCallsAreBounded,
                    format!("call {request} has made {made} inner calls; declared are at most {allowed}"),
                );
            }
            if self.calls[request].over_at.is_some_and(|then| made > then) && !self.subject.profile.detaches {
                self.breach(Clause::DropCancels, format!("call {request} was over, and then made an inner call"));
            }
        }
    }

    fn unwound(&mut self, what: &str) {
        self.saw(Seen::Panic);
        if !self.panics_expected {
            self.breach(Clause::PanicsDoNotSpread, format!("{what} panicked, and nothing below had"));
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
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.clock.within(|| ear.listen(|cx| service.poll_ready(cx)))
        }));
        let was_ready = slot.state == State::Ready;
        let Ok(polled) = polled else {
            slot.state = State::Idle;
            self.unwound("`poll_ready`");
            return false;
        };
        match polled {
            Poll::Ready(Ok(())) => self.is_ready(at, was_ready, reserved),
            Poll::Ready(Err(told)) => self.is_defunct(at, &told),
            Poll::Pending => return self.is_pending(at, was_ready),
        }
        false
    }

    fn is_ready(&mut self, at: usize, was_ready: bool, reserved: usize) {
        let slot = &mut self.services[at];
        slot.state = State::Ready;
        slot.repeats = if was_ready { slot.repeats + 1 } else { 0 };
        self.saw(Seen::Ready);
        self.readiness_error_is_told(None);
        let more = self.backend.with(|state| state.reserved()) > reserved;
        let slot = &mut self.services[at];
        let took = slot.took;
        slot.took |= more;
        if was_ready && took && more && !self.subject.profile.buffers {
            self.breach(Clause::ReadinessStays, "asked again, a ready service took a second token of the inner service");
        }
    }

    fn is_pending(&mut self, at: usize, was_ready: bool) -> bool {
        self.services[at].state = State::Pending;
        self.saw(Seen::Pending);
        self.readiness_error_is_told(None);
        let (ready, pending) = self.backend.with(|state| (state.said_ready, state.said_pending));
        if was_ready {
            self.breach(Clause::ReadinessStays, "a service that had said ready said pending before it was called");
        } else if ready && !pending {
            self.breach(Clause::ReadyWhenInnerIsReady, "`poll_ready` was pending although the inner service said ready");
        }
        self.services[at].ear.woken()
    }

    /// Whoever gets an error from `poll_ready` drops the service.
    fn is_defunct(&mut self, at: usize, told: &Told) {
        self.saw(Seen::Error(told.text.clone()));
        let inner_failed = self.readiness_error_is_told(Some(told));
        let profile = &self.subject.profile;
        let may = profile.refuses || profile.fails || profile.backpressure || profile.buffers;
        // Spawned tasks may have polled the inner service before.
        if !inner_failed && told.inner.is_none() && !may {
            self.breach(Clause::InnerErrorIsKept, "`poll_ready` failed although the inner one had not");
        }
        self.drop_service(at);
    }

    /// Whether the inner `poll_ready` has failed; if so, that must be told.
    fn readiness_error_is_told(&mut self, told: Option<&Told>) -> bool {
        let errors = self.backend.with(crate::backend::State::take_errors);
        let profile = &self.subject.profile;
        if errors.is_empty() || profile.buffers || profile.replaces_failed {
            return !errors.is_empty();
        }
        match told {
            None => self.breach(
                Clause::ReadinessErrorEndsIt,
                "the inner `poll_ready` failed, and the outer one did not pass the error on",
            ),
            Some(told) if told.inner.is_none_or(|inner| !errors.contains(&inner)) => self.breach(
                Clause::InnerErrorIsKept,
                format!("the error of the inner `poll_ready` came out as another: {}", told.text),
            ),
            Some(_) => {}
        }
        true
    }

    // ===== call =====

    fn call(&mut self, at: usize) {
        let request = Request::new(u32::try_from(self.calls.len()).unwrap_or(u32::MAX), Arc::clone(&self.backend));
        let task = Task::Call(self.calls.len());
        let slot = &mut self.services[at];
        (slot.state, slot.took) = (State::Idle, false);
        let Some(service) = slot.service.as_mut() else { return };
        self.backend.with(|state| state.during = During::Call);
        let called = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| service.call(request))));
        self.backend.with(|state| state.during = During::Else);
        let ear = Ear::new(task, &self.backend);
        let future = called.ok();
        if future.is_none() {
            self.unwound("`call`");
        }
        let over_at = future.is_none().then(|| self.inner_calls(self.calls.len()));
        self.calls.push(Outer { future, ear, answer: None, over_at });
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
        let polled =
            catch_unwind(AssertUnwindSafe(|| self.clock.within(|| ear.listen(|cx| future.as_mut().poll(cx)))));
        match polled {
            Ok(Poll::Pending) => {
                self.saw(Seen::Pending);
                return self.calls[at].ear.woken();
            }
            Ok(Poll::Ready(answer)) => self.answered(at, answer, errors),
            Err(_) => {
                self.unwound("the response future");
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
            self.breach(Clause::AnswerEndsAll, format!("call {at} has its answer, and {running} of its inner calls still run"));
        }
        self.calls[at].answer = Some(answer);
        self.drop_future(at);
    }

    fn judge_reply(&mut self, at: usize, reply: Reply) {
        let request = number(at);
        let ok = |call: &crate::backend::InnerCall| call.request == request && call.done && call.answer == Some(Answer::Ok);
        let given = self.backend.with(|state| state.calls.iter().any(ok));
        let right = reply.request() == Some(request) && given;
        if !right && !self.subject.profile.makes_up_answers {
            self.breach(Clause::AnswersBelong, format!("call {at} was answered with a reply that was not given to it"));
        }
    }

    /// `errors`: how many inner errors there were before this poll.
    fn judge_error(&mut self, at: usize, told: &Told, errors: u32) {
        let request = number(at);
        let profile = &self.subject.profile;
        let own = |call: &&crate::backend::InnerCall| call.request == request;
        let (made, below, given, last) = self.backend.with(|state| {
            let calls = || state.calls.iter().filter(own);
            let given: Vec<u32> = calls().filter_map(|call| call.error).collect();
            let below = calls().any(|call| call.error.is_some() && call.answer == Some(Answer::RefusedBelow));
            let last = given.iter().any(|error| *error > errors);
            (calls().count(), below, given, last)
        });
        if told.refused && below {
            self.breach(
                Clause::RefusalsAreNotLaundered,
                format!("call {at} was executed and failed on a refusal further in, and is reported as refused"),
            );
        } else if told.refused && made > 0 {
            self.breach(
                Clause::RefusedMeansNotCalled,
                format!("call {at} is reported as refused, after {made} inner calls for it"),
            );
        } else if let Some(inner) = told.inner {
            // Also the error of a readiness that was polled just now.
            let known = given.contains(&inner) || inner > errors || profile.buffers || profile.most_inner_calls > 1 || profile.replaces_failed;
            if !known {
                self.breach(Clause::InnerErrorIsKept, format!("call {at} got an error that was not given to it: {}", told.text));
            }
        } else if last && profile.most_inner_calls == 1 {
            self.breach(
                Clause::InnerErrorIsKept,
                format!("the inner service failed call {at}, and its error came out as another: {}", told.text),
            );
        } else if !(told.refused && (profile.refuses || profile.permits.is_some())) && !(profile.fails || profile.buffers) {
            self.breach(
                Clause::InnerErrorIsKept,
                format!("call {at} failed with an error that is not the inner service's, and none was declared: {}", told.text),
            );
        }
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
            Err(_) => self.unwound("`clone`"),
        }
    }

    pub(crate) fn drop_service(&mut self, at: usize) {
        let slot = &mut self.services[at];
        self.woken_waiter_dropped |= slot.state == State::Pending && slot.ear.polled() && slot.ear.woken();
        let service = slot.service.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| drop(service))));
        if dropped.is_err() {
            self.unwound("the drop of the service");
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
        if dropped.is_err() {
            self.unwound("the drop of the response future");
        }
        let made = self.inner_calls(at);
        self.calls[at].over_at.get_or_insert(made);
    }

    /// Whether somebody sleeps who would get further if polled; polls to find out.
    pub(crate) fn look_for_sleepers(&mut self) -> bool {
        let mut found = false;
        self.backend.record(Event::Note("who was not woken is polled all the same:"));
        for at in 0..self.services.len() {
            let slot = &self.services[at];
            if slot.service.is_some() && slot.state == State::Pending && !slot.ear.woken() {
                self.perform(Action::Ready(at));
                if self.services[at].state != State::Pending || self.services[at].service.is_none() {
                    self.slept(at, true);
                    found = true;
                }
            }
        }
        for at in 0..self.calls.len() {
            let outer = &self.calls[at];
            if outer.future.is_some() && outer.ear.polled() && !outer.ear.woken() {
                let made = self.inner_calls(at);
                self.perform(Action::Poll(at));
                if self.calls[at].future.is_none() || self.inner_calls(at) > made {
                    self.slept(at, false);
                    found = true;
                }
            }
        }
        found
    }

    fn slept(&mut self, at: usize, service: bool) {
        let ear = if service { &self.services[at].ear } else { &self.calls[at].ear };
        let who = if service { format!("`poll_ready` of {}", crate::ledger::Letter(at)) } else { format!("call {at}") };
        let (clause, how) = if ear.earlier_woken() {
            (Clause::LatestWakerIsWoken, "an earlier task was woken, the one that polled last was not")
        } else if self.woken_waiter_dropped && self.subject.profile.permits.is_some() {
            (Clause::WakeIsPassedOn, "a waiter that had been woken was dropped, and nobody else was woken")
        } else {
            (Clause::NoLostWakeup, "its task was not woken")
        };
        self.breach(clause, format!("{who} was pending and would have got further, but {how}"));
    }

    // ===== the end =====

    /// Drops everything, counts the permits, and looks for what is left.
    pub(crate) fn end(&mut self, services_first: bool, blame: Clause) {
        self.backend.record(Event::Note("everything is dropped"));
        self.drop_all(services_first);
        // What is known to leak is not blamed on something else.
        let known = |clause| blame != Clause::NothingIsLeftBehind && self.masked.has(clause);
        let (leaks, loses_permits) = (known(Clause::NothingIsLeftBehind), known(Clause::OwnPermitsComeHome));
        if let (Some(permits), None, false) = (self.subject.profile.permits, &self.breach, loses_permits) {
            self.count_permits(permits, blame);
            self.drop_all(services_first);
        }
        let heir = self.heir.take();
        if catch_unwind(AssertUnwindSafe(|| self.clock.within(|| drop(heir)))).is_err() {
            self.unwound("the drop of the service");
        }
        self.clock.settle();
        self.look();
        if self.subject.profile.detaches {
            self.finish_detached();
        }
        if let (Some(left), false) = (self.left_behind(), leaks) {
            self.breach(blame, left);
        }
    }

    fn drop_all(&mut self, services_first: bool) {
        if services_first {
            self.drop_services();
        }
        for at in 0..self.calls.len() {
            self.drop_future(at);
        }
        if !services_first {
            self.drop_services();
        }
        self.clock.settle();
    }

    fn drop_services(&mut self) {
        for at in 0..self.services.len() {
            self.drop_service(at);
        }
    }

    fn finish_detached(&mut self) {
        let calls = self.backend.with(|state| state.calls.len());
        for call in 0..calls {
            let running = self.backend.with(|state| state.calls[call].alive && state.calls[call].answer.is_none());
            if running {
                self.outside(|world| world.backend.answer(call, Answer::Ok));
                self.clock.settle();
            }
        }
    }

    fn left_behind(&self) -> Option<String> {
        self.backend.with(|state| {
            let instances = state.instances.iter().filter(|instance| instance.alive).count();
            let (running, reserved) = (state.calls.iter().filter(|call| call.alive).count(), state.reserved());
            let parts = [
                (reserved, "tokens are still reserved"),
                (running, "inner futures are still alive"),
                (instances, "inner services are still alive"),
                (state.requests_alive, "requests are still alive"),
                (state.tokens - state.free - reserved.min(state.tokens - state.free), "tokens are missing from the pool"),
            ];
            let left: Vec<String> =
                parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
            (!left.is_empty()).then(|| format!("with every service and future dropped, {}", left.join(", ")))
        })
    }

    /// When no call is alive, as many calls as there are permits can be started.
    fn count_permits(&mut self, permits: usize, blame: Clause) {
        self.backend.record(Event::Note("are all permits free again?"));
        self.backend.with(|state| state.fail_readiness = false);
        (0..permits).for_each(|_| self.backend.give());
        for started in 0..permits {
            let service = self.clock.within(|| self.heir.as_ref().and_then(|heir| heir.another()));
            let service = match service {
                Some(service) => self.push_service(service),
                None => self.add_service(),
            };
            self.perform(Action::Ready(service));
            if self.services[service].state == State::Ready {
                self.perform(Action::Call(service));
                self.perform(Action::Poll(self.calls.len() - 1));
            }
            if self.backend.with(|state| state.running(None)) <= started {
                let clause = if blame == Clause::NothingIsLeftBehind { Clause::OwnPermitsComeHome } else { blame };
                self.breach(clause, format!("no call was alive, and only {started} of {permits} permits could be had"));
                return;
            }
        }
    }
}

fn number(request: usize) -> u32 {
    u32::try_from(request).unwrap_or(u32::MAX)
}
