//! Limits that do not hold, and locks in the wrong order.

use crate::{breaks_only, on};
use mainstay_conformance::{Clause, Probe, ProbeError, ProbeFuture, Profile, Reply, Request, Subject, check};
use pin_project::{pin_project, pinned_drop};
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use tower_service::Service;

/// What a limit can get wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// A call that is never polled keeps its permit.
    KeepsWhatWasNotPolled,
    /// A waiter that is dropped after it was woken wakes nobody.
    DropsTheWake,
    /// Lets one more in.
    OneTooMany,
}

/// A limit on two calls in flight, first come, first served.
struct Limit {
    inner: Probe,
    room: Arc<Room>,
    place: Option<u64>,
    permit: bool,
}

struct Room {
    flaw: Flaw,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    free: usize,
    next: u64,
    queue: VecDeque<(u64, Waker)>,
    /// Those that were woken, and have not come yet.
    called: Vec<u64>,
}

const PERMITS: usize = 2;

impl Limit {
    fn new(inner: Probe, flaw: Flaw) -> Self {
        let free = PERMITS + usize::from(flaw == Flaw::OneTooMany);
        let state = Mutex::new(State { free, ..State::default() });
        Self { inner, room: Arc::new(Room { flaw, state }), place: None, permit: false }
    }
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, place: &mut Option<u64>, waker: &Waker) -> bool {
        let mut state = self.lock();
        let id = *place.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        let others_called = state.called.iter().filter(|called| **called != id).count();
        if state.free > others_called
            && (state.called.contains(&id) || state.queue.iter().all(|(other, _)| *other == id))
        {
            state.free -= 1;
            state.called.retain(|called| *called != id);
            let old: Vec<_> = state.queue.extract_if_id(id);
            drop(state);
            drop(old);
            *place = None;
            return true;
        }
        let waker = waker.clone();
        let place = state.queue.iter_mut().find(|(other, _)| *other == id);
        let old = if let Some((_, old)) = place {
            Some(std::mem::replace(old, waker))
        } else {
            state.queue.push_back((id, waker));
            None
        };
        drop(state);
        drop(old);
        false
    }

    fn give(&self) {
        self.lock().free += 1;
        self.wake_next();
    }

    fn wake_next(&self) {
        let mut state = self.lock();
        let waker = if state.free > state.called.len() { state.queue.pop_front() } else { None };
        let waker = waker.map(|(id, waker)| {
            state.called.push(id);
            waker
        });
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn leave(&self, place: u64) {
        let mut state = self.lock();
        let called = state.called.iter().position(|called| *called == place).map(|at| state.called.remove(at));
        let old: Vec<_> = state.queue.extract_if_id(place);
        drop(state);
        drop(old);
        if called.is_some() && self.flaw != Flaw::DropsTheWake {
            self.wake_next();
        }
    }
}

trait ExtractId {
    fn extract_if_id(&mut self, id: u64) -> Vec<(u64, Waker)>;
}

impl ExtractId for VecDeque<(u64, Waker)> {
    fn extract_if_id(&mut self, id: u64) -> Vec<(u64, Waker)> {
        let at = self.iter().position(|(other, _)| *other == id);
        at.and_then(|at| self.remove(at)).into_iter().collect()
    }
}

impl Clone for Limit {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), room: Arc::clone(&self.room), place: None, permit: false }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.room.leave(place);
        }
        if self.permit {
            self.room.give();
        }
    }
}

#[pin_project(PinnedDrop)]
struct LimitFuture {
    #[pin]
    inner: ProbeFuture,
    room: Arc<Room>,
    permit: bool,
    polled: bool,
}

struct Permit(Option<Arc<Room>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(room) = self.0.take() {
            room.give();
        }
    }
}

impl Service<Request> for Limit {
    type Response = Reply;
    type Error = ProbeError;
    type Future = LimitFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        ready!(self.inner.poll_ready(cx))?;
        if !self.permit {
            self.permit = self.room.take(&mut self.place, cx.waker());
        }
        if self.permit { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn call(&mut self, request: Request) -> LimitFuture {
        assert!(std::mem::take(&mut self.permit), "not ready");
        let mut permit = Permit(Some(Arc::clone(&self.room)));
        let inner = self.inner.call(request);
        let room = permit.0.take().expect("taken once");
        LimitFuture { inner, room, permit: true, polled: false }
    }
}

impl Future for LimitFuture {
    type Output = Result<Reply, ProbeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        *this.polled = true;
        let answer = ready!(this.inner.poll(cx));
        if std::mem::take(this.permit) {
            this.room.give();
        }
        Poll::Ready(answer)
    }
}

#[pinned_drop]
impl PinnedDrop for LimitFuture {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let kept = this.room.flaw == Flaw::KeepsWhatWasNotPolled && !*this.polled;
        if std::mem::take(this.permit) && !kept {
            this.room.give();
        }
    }
}

fn subject(flaw: Flaw) -> mainstay_conformance::Report {
    let make = match flaw {
        Flaw::None => |inner| Limit::new(inner, Flaw::None),
        Flaw::KeepsWhatWasNotPolled => |inner| Limit::new(inner, Flaw::KeepsWhatWasNotPolled),
        Flaw::DropsTheWake => |inner| Limit::new(inner, Flaw::DropsTheWake),
        Flaw::OneTooMany => |inner| Limit::new(inner, Flaw::OneTooMany),
    };
    check(Subject::new("limit", move || on(make)).profile(Profile::pass_through().owns_permits(PERMITS)))
}

#[test]
fn a_right_limit_holds() {
    subject(Flaw::None).assert();
}

#[test]
fn keeps_the_permit_of_what_was_not_polled() {
    breaks_only(&subject(Flaw::KeepsWhatWasNotPolled), Clause::OwnPermitsComeHome);
}

#[test]
fn drops_the_wake() {
    breaks_only(&subject(Flaw::DropsTheWake), Clause::WakeIsPassedOn);
}

#[test]
fn lets_one_too_many_in() {
    breaks_only(&subject(Flaw::OneTooMany), Clause::LimitHolds);
}

/// One permit for all; every second clone takes it before the inner service's token, the others after it.
struct TwoOrders {
    inner: Probe,
    only: Arc<Only>,
    permit: Option<OnlyPermit>,
    first: bool,
}

#[derive(Default)]
struct Only {
    state: Mutex<OnlyState>,
}

#[derive(Default)]
struct OnlyState {
    taken: bool,
    clones: usize,
    waiting: Vec<Waker>,
}

struct OnlyPermit(Arc<Only>);

impl Only {
    fn lock(&self) -> MutexGuard<'_, OnlyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnlyPermit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.taken = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl TwoOrders {
    fn over(inner: Probe) -> Self {
        Self { inner, only: Arc::default(), permit: None, first: true }
    }

    fn poll_permit(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.permit.is_none() {
            let waker = cx.waker().clone();
            let mut state = self.only.lock();
            if state.taken {
                state.waiting.push(waker);
                return Poll::Pending;
            }
            state.taken = true;
            drop(state);
            self.permit = Some(OnlyPermit(Arc::clone(&self.only)));
        }
        Poll::Ready(())
    }
}

impl Clone for TwoOrders {
    fn clone(&self) -> Self {
        let mut state = self.only.lock();
        state.clones += 1;
        let first = state.clones.is_multiple_of(2);
        drop(state);
        Self { inner: self.inner.clone(), only: Arc::clone(&self.only), permit: None, first }
    }
}

impl Service<Request> for TwoOrders {
    type Response = Reply;
    type Error = ProbeError;
    type Future = TwoOrdersFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        if self.first {
            ready!(self.poll_permit(cx));
        }
        ready!(self.inner.poll_ready(cx))?;
        self.poll_permit(cx).map(Ok)
    }

    fn call(&mut self, request: Request) -> TwoOrdersFuture {
        let permit = self.permit.take();
        TwoOrdersFuture { inner: self.inner.call(request), permit }
    }
}

#[pin_project]
struct TwoOrdersFuture {
    #[pin]
    inner: ProbeFuture,
    permit: Option<OnlyPermit>,
}

impl Future for TwoOrdersFuture {
    type Output = Result<Reply, ProbeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.inner.poll(cx));
        *this.permit = None;
        Poll::Ready(answer)
    }
}

#[test]
fn takes_two_things_in_two_orders() {
    let subject = Subject::new("two orders", || on(TwoOrders::over)).profile(Profile::pass_through().backpressure());
    breaks_only(&check(subject), Clause::ClonesCannotDeadlock);
}

#[test]
fn a_limit_that_is_not_there_is_missed() {
    for permits in [1, 3, 7, 20] {
        let profile = Profile::pass_through().owns_permits(permits);
        let subject = Subject::new("no limit", tower_layer::Identity::new).profile(profile);
        breaks_only(&check(subject), Clause::LimitHolds);
    }
}
