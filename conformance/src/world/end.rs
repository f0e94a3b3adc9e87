//! How a run ends: nobody sleeps who need not, and nothing is left.

use super::{State, World};
use crate::{
    action::{Action, Answer},
    clause::Clause,
    ledger::{Event, Letter},
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often time passes for a layer that takes some.
const PATIENCE: u32 = 5;

/// So many permits are counted after every run.
const FEW: usize = 4;

impl World<'_> {
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
        let who = if service { format!("`poll_ready` of {}", Letter(at)) } else { format!("call {at}") };
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
        // Each costs time, so where there are many they are not counted after every run.
        let count = self.calls.len() < 2 || self.calls.len() > FEW || self.subject.profile.permits <= Some(FEW);
        if let (Some(permits), None, false, true) = (self.subject.profile.permits, &self.breach, loses_permits, count) {
            self.count_permits(permits, blame);
            self.drop_all(services_first);
        }
        let heir = self.heir.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.clock.within(|| drop(heir)))) {
            self.unwound("the drop of the service", &*payload);
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
        for _ in 0..PATIENCE {
            self.let_time_pass();
        }
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
                (reserved, "tokens still reserved"),
                (running, "inner futures still alive"),
                (instances, "inner services still alive"),
                (state.requests_alive, "requests still alive"),
                (state.tokens - state.free - reserved.min(state.tokens - state.free), "tokens missing from the pool"),
            ];
            let left: Vec<String> =
                parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{what}: {count}")).collect();
            (!left.is_empty()).then(|| format!("every service and future was dropped; {}", left.join(", ")))
        })
    }

    /// When no call is alive, as many calls as there are permits can be started.
    fn count_permits(&mut self, permits: usize, blame: Clause) {
        self.backend.record(Event::Note("are all permits free again?"));
        self.backend.with(|state| state.fail_readiness = false);
        (0..=permits).for_each(|_| self.backend.give());
        for started in 0..permits {
            let service = self.start_another();
            self.start_a_call(service);
            if self.backend.with(|state| state.running(None)) <= started {
                let clause = if blame == Clause::NothingIsLeftBehind { Clause::OwnPermitsComeHome } else { blame };
                self.breach(clause, format!("no call was alive, and only {started} of {permits} permits could be had"));
                return;
            }
        }
        // One more must not be let in, which is looked at after each step.
        let service = self.start_another();
        self.start_a_call(service);
    }

    fn start_another(&mut self) -> usize {
        let service = self.clock.within(|| self.heir.as_ref().and_then(|heir| heir.another()));
        let service = match service {
            Some(service) => self.push_service(service),
            None => self.add_service(),
        };
        self.perform(Action::Ready(service));
        service
    }

    /// As far as the inner call, for which the layer may take some time.
    fn start_a_call(&mut self, service: usize) {
        if self.services[service].state != State::Ready {
            return;
        }
        let running = self.backend.with(|state| state.running(None));
        self.perform(Action::Call(service));
        let call = self.calls.len() - 1;
        for _ in 0..PATIENCE {
            if self.calls[call].future.is_none() || self.backend.with(|state| state.running(None)) > running {
                return;
            }
            self.perform(Action::Poll(call));
            if self.backend.with(|state| state.running(None)) <= running {
                self.let_time_pass();
            }
        }
    }

    fn let_time_pass(&mut self) {
        if self.clock.ticks() {
            self.perform(Action::Advance);
        }
    }

    /// With the inner service as willing as can be, every call that is under way comes to an end.
    pub(crate) fn everybody_gets_an_answer(&mut self) {
        const TURNS: u32 = 8;
        self.backend.record(Event::Note("the services are dropped, and the inner service answers everything"));
        self.drop_services();
        self.backend.with(|state| state.fail_readiness = false);
        for _ in 0..self.calls.len() {
            self.perform(Action::Give);
        }
        for _ in 0..TURNS {
            for call in 0..self.backend.with(|state| state.calls.len()) {
                if self.backend.with(|state| state.calls[call].alive && state.calls[call].answer.is_none()) {
                    self.perform(Action::Answer(call, Answer::Ok));
                }
            }
            for at in 0..self.calls.len() {
                if self.calls[at].future.is_some() {
                    self.perform(Action::Poll(at));
                }
            }
            if self.calls.iter().all(|call| call.future.is_none()) {
                return;
            }
            self.let_time_pass();
        }
        if let Some(at) = self.calls.iter().position(|call| call.future.is_some()) {
            self.breach(Clause::AnswersBelong, format!("call {at} never gets an answer"));
        }
    }
}
