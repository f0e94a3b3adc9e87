//! What a layer declares about itself, and which clauses follow from it.

use crate::{auto_traits::AutoTraits, clause::Clause};
use std::time::Duration;

/// What a layer is allowed to do, and what it promises beyond the contract.
///
/// [`Profile::pass_through`] is the strictest: a layer that only hands requests on. Each method allows something, or
/// promises something that is then checked.
///
/// ```
/// use mainstay_conformance::{Clause, Profile};
///
/// let bulkhead = Profile::pass_through().may_refuse().owns_permits(3);
/// let hedge = Profile::pass_through().max_inner_calls(2);
/// let odd = Profile::pass_through().deviates(Clause::ReadinessStays, "a balancer shall route around it");
/// # drop((bulkhead, hedge, odd));
/// ```
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::struct_excessive_bools, reason = "permissions that do not exclude each other")]
pub struct Profile {
    pub(crate) refuses: bool,
    pub(crate) fails: bool,
    pub(crate) makes_up_answers: bool,
    pub(crate) most_inner_calls: usize,
    pub(crate) permits: Option<usize>,
    pub(crate) buffers: bool,
    pub(crate) backpressure: bool,
    pub(crate) replaces_failed: bool,
    pub(crate) detaches: bool,
    pub(crate) recovers_alone: bool,
    pub(crate) service_is: AutoTraits,
    pub(crate) future_is: AutoTraits,
    pub(crate) future_overhead: Option<usize>,
    #[cfg(feature = "allocations")]
    pub(crate) allocations: Option<u64>,
    pub(crate) deviations: Vec<(Clause, &'static str)>,
    pub(crate) step: Duration,
}

impl Profile {
    /// A layer that hands each request on once and says what the inner service says. It is `Send`, and so is its future.
    pub const fn pass_through() -> Self {
        Self {
            refuses: false,
            fails: false,
            makes_up_answers: false,
            most_inner_calls: 1,
            permits: None,
            buffers: false,
            backpressure: false,
            replaces_failed: false,
            detaches: false,
            recovers_alone: true,
            service_is: AutoTraits::SEND,
            future_is: AutoTraits::SEND,
            future_overhead: None,
            #[cfg(feature = "allocations")]
            allocations: None,
            deviations: Vec::new(),
            step: Duration::from_secs(1),
        }
    }

    /// It may answer that it refuses a call, which then never reached the inner service.
    ///
    /// What is a refusal: [`mainstay_core::Refused`], and what [`Subject::refusal`](crate::Subject::refusal) says.
    pub const fn may_refuse(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// It has errors of its own that are no refusals, such as a timeout: the call may have been executed.
    pub const fn may_fail(mut self) -> Self {
        self.fails = true;
        self
    }

    /// It may give an answer that the inner service did not give to this request: [`Reply::made_up`](crate::Reply::made_up)
    /// or an earlier reply.
    pub const fn may_answer_without_inner(mut self) -> Self {
        self.makes_up_answers = true;
        self
    }

    /// A call may make up to so many inner calls, one after the other or at once: retries, hedges. 1 by default.
    ///
    /// # Panics
    ///
    /// If `most` is 0.
    pub const fn max_inner_calls(mut self, most: usize) -> Self {
        assert!(most > 0, "`max_inner_calls` is 0, allowed is at least 1");
        self.most_inner_calls = most;
        self
    }

    /// It has so many permits of its own, shared by all clones; a call holds one from before it reaches the inner service
    /// until its future completes or is dropped. Waiting for one, or being refused for want of one, is allowed.
    ///
    /// Where services [cannot be cloned](crate::Subject::without_clone), all services of one layer share them.
    ///
    /// # Panics
    ///
    /// If `permits` is 0, or more than 100: a small limit shows the same, and sooner.
    pub const fn owns_permits(mut self, permits: usize) -> Self {
        assert!(permits > 0 && permits <= 100, "`owns_permits` is out of its range, allowed is 1 to 100");
        self.permits = Some(permits);
        self
    }

    /// Ready means that there is room in a buffer: something else polls the inner service and calls it, later, and errors
    /// of its readiness come in answers.
    pub const fn buffers(mut self) -> Self {
        self.buffers = true;
        self
    }

    /// `poll_ready` waits for more than the inner service: for time, a permit, another value.
    pub const fn backpressure(mut self) -> Self {
        self.backpressure = true;
        self
    }

    /// An inner value whose `poll_ready` failed is dropped and another is used, so that callers need not see the error.
    pub const fn replaces_failed(mut self) -> Self {
        self.replaces_failed = true;
        self
    }

    /// Work may go on when its response future has been dropped, or has given its answer.
    pub const fn detaches(mut self) -> Self {
        self.detaches = true;
        self
    }

    /// After a panic nobody can call it any more, for example because the panic ended a background task: only leaks are
    /// looked for.
    pub const fn ends_with_a_panic(mut self) -> Self {
        self.recovers_alone = false;
        self
    }

    /// What the service is; `Send` by default.
    pub const fn service_is(mut self, traits: AutoTraits) -> Self {
        self.service_is = traits;
        self
    }

    /// What the response future is; `Send` by default. The inner future is `Send` and `Sync`, and not `Unpin`.
    pub const fn future_is(mut self, traits: AutoTraits) -> Self {
        self.future_is = traits;
        self
    }

    /// By how many bytes the response future may be larger than the inner one.
    pub const fn future_overhead(mut self, bytes: usize) -> Self {
        self.future_overhead = Some(bytes);
        self
    }

    /// How often a call that goes through may allocate, once it is warm.
    #[cfg(feature = "allocations")]
    #[cfg_attr(docsrs, doc(cfg(feature = "allocations")))]
    pub const fn allocations(mut self, per_call: u64) -> Self {
        self.allocations = Some(per_call);
        self
    }

    /// How far the driver moves the clock when it lets time pass; 1 s by default. Long enough for whatever the layer
    /// waits for to be over after a few steps.
    ///
    /// # Panics
    ///
    /// If `step` is less than a millisecond or more than 365 days.
    pub const fn step(mut self, step: Duration) -> Self {
        let allowed = step.as_millis() >= 1 && step.as_secs() <= 365 * 24 * 60 * 60;
        assert!(allowed, "`step` is out of its range, allowed is 1 ms to 365 days");
        self.step = step;
        self
    }

    /// The layer breaks this clause on purpose, and says why. The test of the clause passes; the card shows both.
    pub fn deviates(mut self, clause: Clause, reason: &'static str) -> Self {
        self.deviations.push((clause, reason));
        self
    }

    pub(crate) fn deviation(&self, clause: Clause) -> Option<&'static str> {
        self.deviations.iter().find(|(other, _)| *other == clause).map(|(_, reason)| *reason)
    }

    /// Why the clause does not bind a layer of this profile; `None` if it does.
    pub(crate) fn exempt(&self, clause: Clause) -> Option<&'static str> {
        let (exempt, reason) = match clause {
            Clause::OwnPermitsComeHome | Clause::WakeIsPassedOn | Clause::LimitHolds => {
                (self.permits.is_none(), "owns no permits")
            }
            Clause::BackpressureIsPassedOn => (self.buffers, "lets calls in for later, as declared"),
            Clause::ReadyWhenInnerIsReady => {
                (self.buffers || self.backpressure || self.permits.is_some(), "waits for more than the inner service")
            }
            Clause::DropCancels | Clause::AnswerEndsAll => (self.detaches, "lets work outlive its caller, as declared"),
            Clause::FutureIsSmall => (self.future_overhead.is_none(), "no size was declared"),
            #[cfg(feature = "allocations")]
            Clause::FewAllocations => (self.allocations.is_none(), "no number of allocations was declared"),
            #[cfg(not(feature = "allocations"))]
            Clause::FewAllocations => (true, "needs the feature `allocations`"),
            _ => (false, ""),
        };
        exempt.then_some(reason)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::pass_through()
    }
}
