//! A panic somewhere, and whether everything else still works.

use super::{Served, drop_calls, one_call, serve};
use crate::{
    action::Action,
    clause::Clause,
    ledger::Letter,
    trap::{self, Point},
    world::{Setting, World},
};

/// A panic at one point; then everything else has to work.
pub(crate) fn panic(setting: Setting<'_>, point: Point, skip: u32) -> Option<World<'_>> {
    let mut world = World::new(setting, 2);
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
    if setting.subject.profile.recovers_alone {
        follow_up(&mut world);
    }
    world.end(true, Clause::PanicsDoNotSpread);
    Some(world)
}

/// The clone that was there works, soon if not at once: a layer may have to wait first. So does one that is made now.
fn follow_up(world: &mut World<'_>) {
    const TRIES: u32 = 10;
    let new = world.add_service();
    for at in [1, new] {
        let mut tries = 0;
        loop {
            tries += 1;
            let served = serve(world, at);
            let may_come = world.clock.ticks() || served == Served::Refused;
            if served == Served::Yes {
                break;
            }
            if !may_come || world.services[at].service.is_none() || tries == TRIES {
                let who = Letter(at);
                let what =
                    format!("the inner service panicked once, and since then {who}, another clone, gets no answer");
                return world.breach(Clause::PanicsDoNotSpread, what);
            }
            if world.clock.ticks() {
                world.perform(Action::Advance);
            }
        }
        // What it has reserved, the next one may need.
        world.drop_service(at);
    }
}
