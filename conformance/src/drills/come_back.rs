//! Foreign code that comes back to the layer from within.

use super::{drop_calls, finish_calls, one_call};
use crate::{
    action::{Action, Answer},
    backend::{Backend, InnerCall},
    clause::Clause,
    ledger::Event,
    request::Request,
    subject::AnyService,
    trap::{self, Point},
    world::{Setting, State, World, panic_text},
};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Foreign code that, at one point, uses another clone of the service.
pub(crate) fn come_back(setting: Setting<'_>, point: Point, tokens: usize) -> World<'_> {
    let all = setting.masked;
    // What the guest does is not what the driver did, so nothing else can be judged here.
    let leaks = setting.masked.has(Clause::NothingIsLeftBehind);
    let setting = Setting { masked: setting.masked.and_all_but(Clause::NothingForeignUnderLock), ..setting };
    let mut world = World::new(setting, tokens);
    let guest = Rc::new(RefCell::new(Some(world.clock.within(|| world.spare(0)))));
    let failed = Rc::new(RefCell::new(None::<String>));
    let (visitor, verdict, backend) = (Rc::clone(&guest), Rc::clone(&failed), Arc::clone(&world.backend));
    let entrance = world.clock.entrance();
    setting.heart.reentrant(true);
    trap::arm(point, move || {
        backend.record(Event::Note("here foreign code uses another clone of the service"));
        let Some(service) = visitor.borrow_mut().take() else { return };
        match catch_unwind(AssertUnwindSafe(|| entrance.within(|| visit(service, &backend)))) {
            Ok(service) => *visitor.borrow_mut() = service,
            Err(payload) => *verdict.borrow_mut() = Some(panic_text(&*payload)),
        }
    });
    errand(&mut world);
    trap::disarm();
    setting.heart.reentrant(false);
    let guest = guest.borrow_mut().take();
    world.clock.within(|| drop(guest));
    // A layer that panics by itself does so here, too.
    let panics_anyway = all.has(Clause::PanicsDoNotSpread);
    if let Some(text) = failed.borrow_mut().take().filter(|_| !panics_anyway) {
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
            move_service(world, at);
        }
        if world.services[at].state == State::Ready {
            world.perform(Action::Call(at));
        }
    }
    for call in 0..world.calls.len() {
        if world.calls[call].future.is_some() {
            world.perform(Action::Poll(call));
        }
    }
    for at in 0..3 {
        move_service(world, at);
    }
    for call in 0..world.calls.len() {
        for _ in 0..2 {
            if world.calls[call].future.is_some() {
                world.perform(Action::Nudge);
                world.perform(Action::PollElsewhere(call));
            }
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

/// Polls from two other tasks, one after the other, so that the layer has the last reference to a waker; the inner service
/// has given up its own by then.
fn move_service(world: &mut World<'_>, at: usize) {
    for _ in 0..2 {
        if world.services[at].service.is_some() {
            world.perform(Action::Nudge);
            world.perform(Action::ReadyElsewhere(at));
        }
    }
}

/// What foreign code does with its clone. One that fails is finished.
fn visit(mut service: Box<dyn AnyService>, backend: &Arc<Backend>) -> Option<Box<dyn AnyService>> {
    let cx = &mut Context::from_waker(Waker::noop());
    match service.poll_ready(cx) {
        Poll::Ready(Ok(())) => {
            let mut future = service.call(Request::new(u32::MAX, Arc::clone(backend)));
            if future.as_mut().poll(cx).is_pending() {
                finish_visit(backend);
                let _ = future.as_mut().poll(cx);
            }
        }
        Poll::Ready(Err(_)) => return None,
        Poll::Pending => {}
    }
    drop(service.another());
    Some(service)
}

/// The inner service answers the guest.
fn finish_visit(backend: &Backend) {
    let waits = |call: &InnerCall| call.request == u32::MAX && call.alive && call.answer.is_none();
    let call = backend.with(|state| state.calls.iter().rposition(waits));
    if let Some(call) = call {
        backend.answer(call, Answer::Ok);
    }
}
