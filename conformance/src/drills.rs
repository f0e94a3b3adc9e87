//! What a search does not reach: many clones on few slots, panics, foreign code that comes back, sizes.

use crate::{
    action::{Action, Answer},
    backend::Backend,
    clause::{Clause, ClauseSet},
    heart::Heart,
    ledger::Event,
    request::Request,
    subject::{AnyService, Erased},
    trap::{self, Point},
    world::{State, World},
};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// How many want how little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) tokens: usize,
    /// Tokens that come when all have asked once.
    pub(crate) late: usize,
    pub(crate) clones: usize,
}

/// Several clones on few slots, in changing order: each is polled when it is woken, called when it is ready, and dropped
/// when it has been served so often.
pub(crate) fn crowd<'a>(
    subject: &'a Erased,
    heart: &'a Heart,
    masked: ClauseSet,
    Crowd { tokens, late, clones }: Crowd,
    seed: u64,
) -> World<'a> {
    const ROUNDS: usize = 3;
    let mut late = late;
    let mut world = World::new(subject, heart, masked, tokens);
    (1..clones).for_each(|_| world.perform(Action::Clone(0)));
    let mut served = vec![0; clones];
    let mut order: Vec<usize> = (0..clones).collect();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut idle_turns = 0;
    while served.iter().any(|served| *served < ROUNDS) && world.breach.is_none() {
        let mut moved = false;
        order.shuffle(&mut rng);
        for &at in &order {
            if served[at] < ROUNDS && serve(&mut world, at) {
                served[at] += usize::from(world.services[at].state == State::Idle);
                moved = true;
                if served[at] == ROUNDS {
                    world.perform(Action::DropService(at));
                }
            }
        }
        moved |= finish_calls(&mut world);
        for _ in 0..std::mem::take(&mut late) {
            world.perform(Action::Give);
            moved = true;
        }
        if moved {
            idle_turns = 0;
            continue;
        }
        idle_turns += 1;
        if !world.clock.ticks() || idle_turns > 100 {
            stuck(&mut world, &served);
            break;
        }
        world.perform(Action::Advance);
    }
    world
}

/// Polls a service that was woken, and calls it when it is ready. A service that failed is replaced.
fn serve(world: &mut World<'_>, at: usize) -> bool {
    if world.services[at].service.is_none() || !world.services[at].ear.woken() && world.services[at].state == State::Pending
    {
        return false;
    }
    world.perform(Action::Ready(at));
    if world.services[at].state == State::Ready {
        world.perform(Action::Call(at));
        let call = world.calls.len() - 1;
        if world.calls[call].future.is_some() {
            world.perform(Action::Poll(call));
        }
        return true;
    }
    false
}

/// Answers what runs, and polls what was woken.
fn finish_calls(world: &mut World<'_>) -> bool {
    let mut moved = false;
    for call in 0..world.backend.with(|state| state.calls.len()) {
        let running = world.backend.with(|state| state.calls[call].alive && state.calls[call].answer.is_none());
        if running {
            world.perform(Action::Answer(call, Answer::Ok));
            moved = true;
        }
    }
    for call in 0..world.calls.len() {
        if world.calls[call].future.is_some() && world.calls[call].ear.woken() {
            world.perform(Action::Poll(call));
            moved = true;
        }
    }
    moved
}

fn stuck(world: &mut World<'_>, served: &[usize]) {
    if !world.look_for_sleepers() {
        world.breach(
            Clause::ClonesCannotDeadlock,
            format!("nobody gets further, and nobody would if polled; calls served per clone: {served:?}"),
        );
    }
}

/// A panic at one point; then everything else has to work.
pub(crate) fn panic<'a>(
    subject: &'a Erased,
    heart: &'a Heart,
    masked: ClauseSet,
    point: Point,
    skip: u32,
) -> Option<World<'a>> {
    let mut world = World::new(subject, heart, masked, 2);
    world.panics_expected = true;
    world.perform(Action::Clone(0));
    if point == Point::DropService {
        // Not earlier: what a function returns is lost if a local of it panics when it is dropped, and that is the
        // language's doing (rust-lang/rust#47949).
        one_call(&mut world, 0, false);
        trap::panic_at(point, skip);
        world.perform(Action::DropService(0));
    } else {
        trap::panic_at(point, skip);
        one_call(&mut world, 0, point == Point::DropFuture);
    }
    if trap::disarm() {
        // The point was never reached, which is no finding.
        return None;
    }
    // Whoever catches a panic throws away what panicked.
    world.drop_service(0);
    drop_calls(&mut world);
    world.clock.settle();
    world.panics_expected = false;
    if subject.profile.recovers_alone {
        follow_up(&mut world);
    }
    world.end(true, Clause::PanicsDoNotSpread);
    Some(world)
}

/// One call with its readiness, as far as it goes; dropped early, or answered.
fn one_call(world: &mut World<'_>, at: usize, drop_early: bool) {
    world.perform(Action::Ready(at));
    if world.services[at].state != State::Ready {
        return;
    }
    world.perform(Action::Call(at));
    let call = world.calls.len() - 1;
    for _ in 0..2 {
        if world.calls[call].future.is_none() {
            return;
        }
        world.perform(Action::Poll(call));
        if drop_early && world.calls[call].future.is_some() {
            world.perform(Action::DropCall(call));
        } else {
            finish_calls(world);
        }
    }
}

fn drop_calls(world: &mut World<'_>) {
    for call in 0..world.calls.len() {
        if world.calls[call].future.is_some() {
            world.perform(Action::DropCall(call));
        }
    }
}

/// The clone that was there works, soon if not at once: a layer may have to wait first. So does one that is made now.
fn follow_up(world: &mut World<'_>) {
    const TRIES: u32 = 10;
    let new = world.add_service();
    for at in [1, new] {
        let mut tries = 0;
        while !works(world, at) {
            tries += 1;
            if !world.clock.ticks() || world.services[at].service.is_none() || tries == TRIES {
                let who = crate::ledger::Letter(at);
                let what = format!("the inner service panicked once, and since then {who}, another clone, gets no answer");
                return world.breach(Clause::PanicsDoNotSpread, what);
            }
            world.perform(Action::Advance);
        }
    }
}

fn works(world: &mut World<'_>, at: usize) -> bool {
    world.perform(Action::Ready(at));
    if world.services[at].state != State::Ready {
        return false;
    }
    world.perform(Action::Call(at));
    let call = world.calls.len() - 1;
    for _ in 0..5 {
        if world.calls[call].future.is_some() {
            world.perform(Action::Poll(call));
        }
        finish_calls(world);
    }
    matches!(world.calls[call].answer, Some(Ok(_)))
}

/// Foreign code that, at one point, uses another clone of the service.
pub(crate) fn come_back<'a>(
    subject: &'a Erased,
    heart: &'a Heart,
    masked: ClauseSet,
    point: Point,
    tokens: usize,
) -> World<'a> {
    // What the guest does is not what the driver did, so nothing else can be judged here.
    let leaks = masked.has(Clause::NothingIsLeftBehind);
    let masked = masked.and_all_but(Clause::NothingForeignUnderLock);
    let mut world = World::new(subject, heart, masked, tokens);
    let guest = Rc::new(RefCell::new(Some(world.clock.within(|| world.spare(0)))));
    let failed = Rc::new(RefCell::new(None::<String>));
    let (visitor, verdict, backend) = (Rc::clone(&guest), Rc::clone(&failed), Arc::clone(&world.backend));
    heart.reentrant(true);
    trap::arm(point, move || {
        backend.record(Event::Note("here foreign code uses another clone of the service"));
        let Some(service) = visitor.borrow_mut().take() else { return };
        match catch_unwind(AssertUnwindSafe(|| visit(service, &backend))) {
            Ok(service) => *visitor.borrow_mut() = service,
            Err(payload) => *verdict.borrow_mut() = Some(panic_text(&*payload)),
        }
    });
    errand(&mut world);
    trap::disarm();
    heart.reentrant(false);
    let guest = guest.borrow_mut().take();
    world.clock.within(|| drop(guest));
    if let Some(text) = failed.borrow_mut().take() {
        world.breach(
            Clause::NothingForeignUnderLock,
            format!("foreign code in {point} used another clone of the service, which panicked: {text}"),
        );
    }
    if !leaks {
        world.end(false, Clause::NothingForeignUnderLock);
    }
    world
}

/// Everything that runs foreign code, once.
fn errand(world: &mut World<'_>) {
    world.perform(Action::Clone(0));
    world.perform(Action::Clone(0));
    for at in 0..3 {
        world.perform(Action::Ready(at));
    }
    for at in 0..3 {
        if world.services[at].state == State::Ready {
            world.perform(Action::Call(at));
        }
    }
    for call in 0..world.calls.len() {
        if world.calls[call].future.is_some() {
            world.perform(Action::Poll(call));
        }
    }
    // From another task, so that wakers are replaced.
    for at in 0..3 {
        if world.services[at].service.is_some() && world.services[at].state == State::Pending {
            world.perform(Action::ReadyElsewhere(at));
        }
    }
    for call in 0..world.calls.len() {
        if world.calls[call].future.is_some() {
            world.perform(Action::PollElsewhere(call));
        }
    }
    if world.backend.with(|state| !state.calls.is_empty() && state.calls[0].alive && state.calls[0].answer.is_none()) {
        world.perform(Action::Answer(0, Answer::Err));
    }
    finish_calls(world);
    world.perform(Action::Give);
    for at in 0..3 {
        if world.services[at].service.is_some() {
            one_call(world, at, true);
        }
    }
    if world.clock.ticks() {
        world.perform(Action::Advance);
    }
    world.perform(Action::FailReadiness);
    for at in 0..3 {
        if world.services[at].service.is_some() {
            world.perform(Action::Ready(at));
            world.perform(Action::DropService(at));
        }
    }
    drop_calls(world);
}

/// What foreign code does with its clone. One that fails is finished.
fn visit(mut service: Box<dyn AnyService>, backend: &Arc<Backend>) -> Option<Box<dyn AnyService>> {
    let cx = &mut Context::from_waker(Waker::noop());
    match service.poll_ready(cx) {
        Poll::Ready(Ok(())) => {
            let mut future = service.call(Request::new(u32::MAX, Arc::clone(backend)));
            let _ = future.as_mut().poll(cx);
        }
        Poll::Ready(Err(_)) => return None,
        Poll::Pending => {}
    }
    drop(service.another());
    Some(service)
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".into())
}

/// The inner service fails a call by a refusal further in.
pub(crate) fn launder<'a>(subject: &'a Erased, heart: &'a Heart, masked: ClauseSet) -> World<'a> {
    let mut world = World::new(subject, heart, masked, 2);
    world.perform(Action::Ready(0));
    if world.services[0].state == State::Ready {
        world.perform(Action::Call(0));
        for _ in 0..=subject.profile.most_inner_calls {
            if world.calls[0].future.is_some() {
                world.perform(Action::Poll(0));
            }
            for call in 0..world.backend.with(|state| state.calls.len()) {
                let waits = world.backend.with(|state| state.calls[call].alive && state.calls[call].answer.is_none());
                if waits {
                    world.perform(Action::Answer(call, Answer::RefusedBelow));
                }
            }
            if world.clock.ticks() {
                world.perform(Action::Advance);
            }
        }
        if world.calls[0].future.is_some() {
            world.perform(Action::Poll(0));
        }
    }
    world
}

/// Allocations per call of a warm service; `None` if it does not answer at once.
#[cfg(feature = "allocations")]
pub(crate) fn allocations(subject: &Erased, heart: &Heart) -> Option<u64> {
    const CALLS: u32 = 100;
    let mut world = World::new(subject, heart, ClauseSet::default(), 4);
    world.backend.with(|state| {
        state.quiet = true;
        state.calls.reserve(10_000);
        state.instances.reserve(10_000);
    });
    let mut rounds = |calls: u32| (0..calls).all(|_| quiet_call(&mut world));
    if !rounds(CALLS) {
        return None;
    }
    let mut worked = true;
    let counted = allocation_counter::measure(|| worked = rounds(CALLS));
    // Rounded up, so that one in a hundred calls shows.
    worked.then(|| counted.count_total.div_ceil(CALLS.into()))
}

#[cfg(feature = "allocations")]
fn quiet_call(world: &mut World<'_>) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    let request = Request::new(0, Arc::clone(&world.backend));
    let clock = &world.clock;
    let Some(service) = world.services[0].service.as_mut() else { return false };
    clock.within(|| {
        matches!(service.poll_ready(cx), Poll::Ready(Ok(()))) && service.call_in_place(request, cx) == Poll::Ready(true)
    })
}
