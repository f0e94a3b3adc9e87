//! The clauses: what a middleware owes to those above and below it.

use std::fmt;

macro_rules! clauses {
    ($( $(#[$doc:meta])* $clause:ident = $id:literal, $test:ident: $rule:literal; why: $why:literal; cure: $cure:literal; )*) => {
        /// One promise of tower's contract, or of the vocabulary of refusals.
        ///
        /// Each has a short [`id`](Clause::id), a [`rule`](Clause::rule) of one sentence, the reason [`why`](Clause::why)
        /// it matters, and the usual [`cure`](Clause::cure).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Clause {
            $( #[doc = concat!("**", $id, ".** ", $rule, " ", $why)] $(#[$doc])* $clause, )*
        }

        impl Clause {
            /// Every clause, in the order of a card.
            pub const ALL: &[Self] = &[$( Self::$clause ),*];

            /// The short name, such as `R1`.
            pub const fn id(self) -> &'static str {
                match self { $( Self::$clause => $id ),* }
            }

            /// The name of its test in a [`conformance_suite!`](crate::conformance_suite), such as `r1_spent_where_earned`.
            pub const fn test(self) -> &'static str {
                match self { $( Self::$clause => stringify!($test) ),* }
            }

            /// What holds, in one sentence.
            pub const fn rule(self) -> &'static str {
                match self { $( Self::$clause => $rule ),* }
            }

            /// What goes wrong for users where it does not hold.
            pub const fn why(self) -> &'static str {
                match self { $( Self::$clause => $why ),* }
            }

            /// Where to look first.
            pub const fn cure(self) -> &'static str {
                match self { $( Self::$clause => $cure ),* }
            }
        }

        /// Expands to one `#[test]` for each clause; used by [`conformance_suite!`](crate::conformance_suite).
        #[doc(hidden)]
        #[macro_export]
        macro_rules! __each_clause {
            ($report:ident) => {
                $( #[test] fn $test() { $report().require($crate::Clause::$clause); } )*
            };
        }
    };
}

clauses! {
    SpentWhereEarned = "R1", r1_spent_where_earned:
        "Readiness is spent where it was earned: `call` goes to the very inner value that `poll_ready` found ready.";
        why: "The other value has no slot, so a service with limits panics or lets too many in, and the slot that was taken stays taken.";
        cure: "In `call`, `let clone = self.inner.clone(); let ready = mem::replace(&mut self.inner, clone);` and call `ready`.";
    OnlyReadyInnerIsCalled = "R2", r2_only_ready_inner_is_called:
        "The inner service is called only after it said ready, once for each time it said so.";
        why: "A service may panic when it is called unready, and one that counts its slots lets too many in.";
        cure: "Pass `poll_ready` on to the inner service; before each further attempt, wait for readiness again.";
    ReadinessStays = "R3", r3_readiness_stays:
        "Once ready it stays ready until it is called, and asking again reserves nothing more.";
        why: "Callers poll more than once, as `select!` does; a second slot for the same call is one that somebody else waits for.";
        cure: "Remember what was reserved, and poll again only what is not ready yet.";
    ReadinessErrorEndsIt = "R4", r4_readiness_error_ends_it:
        "An error of the inner `poll_ready` is passed on, and the inner value that gave it is not used again.";
        why: "After such an error a service is finished; whoever swallows it waits for something that never comes.";
        cure: "Return the error from `poll_ready` (`ready!(self.inner.poll_ready(cx))?`), or drop the failed value and take another.";
    CallDoesNotPollReadiness = "R5", r5_call_does_not_poll_readiness:
        "`call` does not poll the inner service for readiness.";
        why: "`call` has no task that could be woken, so an answer of pending is lost.";
        cure: "Do it in `poll_ready`, or in the returned future.";
    ReadyWhenInnerIsReady = "R6", r6_ready_when_inner_is_ready:
        "`poll_ready` is not pending when the inner service has just said ready, unless the profile says what else it waits for.";
        why: "A caller waits for nothing.";
        cure: "Return what the inner service said; declare `backpressure` or `owns_permits` if there is more to wait for.";
    BackpressureIsPassedOn = "R7", r7_backpressure_is_passed_on:
        "A call that was let in finds room: a layer that is ready while the inner service is not does not wait for it in the call.";
        why: "Callers who are let in pile up out of sight, instead of being held back or sent elsewhere.";
        cure: "Be ready when the inner service is; or refuse the call; declare `buffers` if a queue is what the layer is for.";
    ClonesAreNotReady = "K1", k1_clones_are_not_ready:
        "A clone of a ready service is not ready.";
        why: "The reservation belongs to one value; two callers would share one slot.";
        cure: "Write `Clone` by hand and start the clone unready.";
    NoLostWakeup = "W1", w1_no_lost_wakeup:
        "Whoever was told pending is woken when polling again gets further.";
        why: "The task sleeps for ever although it could go on.";
        cure: "Poll what is pending with the context at hand, and wake on each change that lets somebody go on.";
    LatestWakerIsWoken = "W2", w2_latest_waker_is_woken:
        "Of several polls, the waker of the latest is woken.";
        why: "Futures move between tasks; the first waker may belong to a task that has long stopped listening.";
        cure: "Replace the stored waker on each poll (`Waker::clone_from` is cheap if it is the same).";
    NoBusyLoop = "W3", w3_no_busy_loop:
        "Whoever is pending does not wake itself over and over.";
        why: "It burns a core, and under a paused clock time never moves.";
        cure: "Do not call `wake_by_ref` in a poll that is pending; let what is waited for wake.";
    NeverBlocks = "B1", b1_never_blocks:
        "No method and no poll blocks its thread.";
        why: "One blocked thread holds up every task on it, often the one that would end the wait.";
        cure: "Register a waker and return pending.";
    ClonesCannotDeadlock = "D1", d1_clones_cannot_deadlock:
        "Several clones on few inner slots all get through, if each ready one is called.";
        why: "Clones that each hold what the other waits for stop for ever.";
        cure: "Take your own permit last, when the inner service is ready.";
    NothingIsLeftBehind = "P1", p1_nothing_is_left_behind:
        "When services and futures are dropped, however far they were, everything they held is free again.";
        why: "Slots that do not come back run out one day, at the worst time.";
        cure: "Hold each reservation in a value whose `Drop` gives it back; beware of reference cycles and `mem::forget`.";
    OwnPermitsComeHome = "P2", p2_own_permits_come_home:
        "When no call is alive, all permits of the layer are free. Binds layers that own permits.";
        why: "A permit that is lost with a cancelled call makes the limit one smaller for ever.";
        cure: "Move the permit into the response future as a guard, before anything can be cancelled.";
    WakeIsPassedOn = "P3", p3_wake_is_passed_on:
        "A waiter that is dropped after it was woken passes the wake on. Binds layers that own permits.";
        why: "The free permit is lost on somebody who will never take it, and the others sleep.";
        cure: "Use `tokio::sync::Semaphore`, or wake the next waiter in the `Drop` of a woken one.";
    LimitHolds = "P4", p4_limit_holds:
        "Never more calls are in flight than the layer has permits. Binds layers that own permits.";
        why: "That is what the limit is for.";
        cure: "Count before the inner `call`, in one atomic step.";
    DropCancels = "C1", c1_drop_cancels:
        "Dropping the response future drops the inner one at once, and no inner call follows.";
        why: "Work goes on that nobody waits for, and holds its slot.";
        cure: "Own the inner future in yours; declare `detaches` if work has to outlive its caller.";
    AnswerEndsAll = "C2", c2_answer_ends_all:
        "When the answer is given, no inner call for it is still running.";
        why: "The losers of a race go on, and hold their slots.";
        cure: "Drop the other attempts before you return the answer.";
    NoPollAfterCompletion = "F1", f1_no_poll_after_completion:
        "An inner future is not polled after it has completed.";
        why: "Most futures panic then.";
        cure: "Keep the state in an enum and leave the polling one when the future is ready.";
    PanicsDoNotSpread = "X1", x1_panics_do_not_spread:
        "The layer does not panic by itself; after a panic of the inner service in `poll_ready`, `call`, a poll or a drop, other calls work and nothing is leaked.";
        why: "One bad request must not take the service down for all others.";
        cure: "Keep state right at each point that can unwind: guards instead of clean-up code, no poisoned locks.";
    NothingForeignUnderLock = "L1", l1_nothing_foreign_under_lock:
        "No waker, no inner service and nothing of the request runs under a lock of the layer.";
        why: "Foreign code that comes back to the layer then blocks its thread for ever.";
        cure: "Collect what to wake or drop under the lock, unlock, then wake and drop.";
    InnerErrorIsKept = "E1", e1_inner_error_is_kept:
        "An error of the inner service comes through unaltered, or as the source of one that says more.";
        why: "Callers decide by it what to do next.";
        cure: "Pass it on, or keep it as `source()`. Declare `may_fail` for errors of your own.";
    AnswersBelong = "E2", e2_answers_belong:
        "Each call gets one answer in the end, and it is the inner service's answer to that very request.";
        why: "Somebody waits for ever, or gets the answer of somebody else.";
        cure: "End every path of the future; never keep answers between calls, unless that is declared (`may_answer_without_inner`).";
    InnerCallsAreBounded = "Q1", q1_inner_calls_are_bounded:
        "A call makes at most as many inner calls as declared.";
        why: "Each further attempt is load on a service that may be failing from load.";
        cure: "Count attempts, the first one too; declare the most with `max_inner_calls`.";
    RefusedMeansNotCalled = "V1", v1_refused_means_not_called:
        "Who says *refused* has not called the inner service for that request.";
        why: "Refused calls are sent again without a thought; one that was executed is then executed twice.";
        cure: "Refuse before the first attempt; after it, answer the most uncertain outcome of all attempts.";
    RefusalsAreNotLaundered = "V2", v2_refusals_are_not_laundered:
        "A call that was executed and failed on a refusal further in is not reported as refused.";
        why: "The inner service may have done half its work before its own call was refused.";
        cure: "Ask the error type for its verdict; do not search its `source()` chain for refusals.";
    AutoTraitsHold = "T1", t1_auto_traits_hold:
        "Service and future are `Send`, `Sync` and `Unpin` as declared, given an inner service that is.";
        why: "A stack that is not `Send` cannot be spawned, and users find out far from the cause.";
        cure: "Look for `Rc`, `Cell`, boxed futures without `+ Send`, and raw pointers.";
    FutureIsSmall = "S1", s1_future_is_small:
        "The response future is at most as many bytes larger than the inner one as declared.";
        why: "Each layer's future holds the next one; large ones are copied and overflow stacks.";
        cure: "Keep large parts in the service, behind a handle.";
    FewAllocations = "A1", a1_few_allocations:
        "A call that goes through allocates at most as often as declared.";
        why: "Allocations are the largest cost of most layers.";
        cure: "Name the future's type instead of boxing it.";
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A set of clauses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClauseSet(u64);

impl ClauseSet {
    /// With every other clause.
    pub(crate) const fn and_all_but(self, clause: Clause) -> Self {
        Self(self.0 | !(1 << clause as u32))
    }

    pub(crate) const fn has(self, clause: Clause) -> bool {
        self.0 >> clause as u32 & 1 == 1
    }

    pub(crate) const fn insert(&mut self, clause: Clause) {
        self.0 |= 1 << clause as u32;
    }
}
