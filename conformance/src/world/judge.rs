//! Whether what the layer said is right.

use super::{State, World, number};
use crate::{action::Answer, backend::InnerCall, clause::Clause, ledger::Seen, request::Reply, told::Told};

impl World<'_> {
    pub(super) fn is_ready(&mut self, at: usize, was_ready: bool, reserved: usize) {
        let slot = &mut self.services[at];
        slot.state = State::Ready;
        slot.repeats = if was_ready { slot.repeats + 1 } else { 0 };
        self.saw(Seen::Ready);
        self.readiness_error_is_told(None);
        let (now, said_ready) = self.backend.with(|state| (state.reserved(), state.said_ready));
        // Spawned tasks may have found it before.
        let (more, has_room) = (now > reserved, said_ready || now > 0);
        let slot = &mut self.services[at];
        let took = slot.took;
        slot.took |= more;
        slot.backed = has_room;
        if was_ready && took && more && !self.subject.profile.buffers {
            self.breach(
                Clause::ReadinessStays,
                "asked again, a ready service took a second token of the inner service",
            );
        }
    }

    pub(super) fn is_pending(&mut self, at: usize, was_ready: bool) -> bool {
        self.services[at].state = State::Pending;
        self.saw(Seen::Pending);
        self.readiness_error_is_told(None);
        let (ready, pending) = self.backend.with(|state| (state.said_ready, state.said_pending));
        if was_ready {
            self.breach(Clause::ReadinessStays, "a service that had said ready said pending before it was called");
        } else if ready && !pending {
            self.breach(
                Clause::ReadyWhenInnerIsReady,
                "`poll_ready` was pending although the inner service said ready",
            );
        }
        self.services[at].ear.woken()
    }

    /// Whoever gets an error from `poll_ready` drops the service.
    pub(super) fn is_defunct(&mut self, at: usize, told: &Told) {
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

    pub(super) fn judge_reply(&mut self, at: usize, reply: Reply) {
        let request = number(at);
        let ok = |call: &InnerCall| call.request == request && call.done && call.answer == Some(Answer::Ok);
        let given = self.backend.with(|state| state.calls.iter().any(ok));
        let right = reply.request() == Some(request) && given;
        if !right && !self.subject.profile.makes_up_answers {
            self.breach(Clause::AnswersBelong, format!("call {at} was answered with a reply that was not given to it"));
        }
    }

    /// `errors`: how many inner errors there were before this poll.
    pub(super) fn judge_error(&mut self, at: usize, told: &Told, errors: u32) {
        let request = number(at);
        let profile = &self.subject.profile;
        let own = |call: &&InnerCall| call.request == request;
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
            let of_readiness = self.backend.with(|state| state.all_readiness_errors.contains(&inner));
            if !given.contains(&inner) && !of_readiness {
                self.breach(
                    Clause::InnerErrorIsKept,
                    format!("call {at} got an error that was not given to it: {}", told.text),
                );
            }
        } else if last {
            self.breach(
                Clause::InnerErrorIsKept,
                format!("the inner service failed call {at}, and its error came out as another: {}", told.text),
            );
        } else if !(told.refused && (profile.refuses || profile.permits.is_some()))
            && !(profile.fails || profile.buffers)
        {
            self.breach(
                Clause::InnerErrorIsKept,
                format!(
                    "call {at} failed with an error that is not the inner service's, and none was declared: {}",
                    told.text
                ),
            );
        }
    }
}
