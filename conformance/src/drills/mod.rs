//! What a search does not reach: many clones on few slots, panics, foreign code that comes back, sizes.

#[cfg(feature = "allocations")]
mod allocations;
mod come_back;
mod crowd;
mod launder;
mod panics;

#[cfg(feature = "allocations")]
pub(crate) use allocations::allocations;
pub(crate) use come_back::come_back;
pub(crate) use crowd::{Crowd, crowd};
pub(crate) use launder::launder;
pub(crate) use panics::panic;

use crate::{
    action::{Action, Answer},
    world::{State, World},
};

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

fn drop_calls(world: &mut World<'_>) {
    for call in 0..world.calls.len() {
        if world.calls[call].future.is_some() {
            world.perform(Action::DropCall(call));
        }
    }
}

/// How an attempt to be served ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Yes,
    /// Neither that request nor this one need be let in.
    Refused,
    No,
}

/// One call to its end, however long the layer takes.
fn serve(world: &mut World<'_>, at: usize) -> Served {
    const TURNS: u32 = 8;
    world.perform(Action::Ready(at));
    if world.services[at].state != State::Ready {
        return Served::No;
    }
    world.perform(Action::Call(at));
    let call = world.calls.len() - 1;
    for _ in 0..TURNS {
        if world.calls[call].future.is_none() {
            break;
        }
        world.perform(Action::Poll(call));
        if !finish_calls(world) && world.calls[call].future.is_some() && world.clock.ticks() {
            world.perform(Action::Advance);
        }
    }
    match &world.calls[call].answer {
        Some(Ok(_)) => Served::Yes,
        Some(Err(told)) if told.refused => Served::Refused,
        _ => Served::No,
    }
}
