//! An inner service that works, and then fails on a refusal further in.

use crate::{
    action::{Action, Answer},
    world::{Setting, State, World},
};

/// The inner service fails a call by a refusal further in.
pub(crate) fn launder(setting: Setting<'_>) -> World<'_> {
    /// Whoever tries more often has shown what it does.
    const MOST: usize = 16;
    let mut world = World::new(setting, 2);
    world.perform(Action::Ready(0));
    if world.services[0].state == State::Ready {
        world.perform(Action::Call(0));
        for _ in 0..=setting.subject.profile.most_inner_calls.min(MOST) {
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
