//! Many clones on few slots.

use super::finish_calls;
use crate::{
    action::Action,
    clause::Clause,
    world::{Setting, State, World},
};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

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
pub(crate) fn crowd(setting: Setting<'_>, Crowd { tokens, late, clones }: Crowd, seed: u64) -> World<'_> {
    const ROUNDS: usize = 3;
    let mut late = late;
    let mut world = World::new(setting, tokens);
    (1..clones).for_each(|_| world.perform(Action::Clone(0)));
    if world.services.len() < clones {
        return world;
    }
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
    if world.breach.is_none() {
        world.end(true, Clause::NothingIsLeftBehind);
    }
    world
}

/// Polls a service that was woken, and calls it when it is ready. A service that failed is replaced.
fn serve(world: &mut World<'_>, at: usize) -> bool {
    if world.services[at].service.is_none()
        || !world.services[at].ear.woken() && world.services[at].state == State::Pending
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

fn stuck(world: &mut World<'_>, served: &[usize]) {
    if !world.look_for_sleepers() {
        world.breach(
            Clause::ClonesCannotDeadlock,
            format!("nobody gets further, and nobody would if polled; calls served per clone: {served:?}"),
        );
    }
}
