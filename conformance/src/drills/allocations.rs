//! How often a call allocates.

use crate::{
    request::Request,
    world::{Setting, World},
};
use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Allocations per call of a warm service; `None` if it does not answer at once.
pub(crate) fn allocations(setting: Setting<'_>) -> Option<u64> {
    const CALLS: u32 = 100;
    let mut world = World::new(setting, 4);
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

fn quiet_call(world: &mut World<'_>) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    let request = Request::new(0, Arc::clone(&world.backend));
    let clock = &world.clock;
    let Some(service) = world.services[0].service.as_mut() else { return false };
    clock.within(|| {
        matches!(service.poll_ready(cx), Poll::Ready(Ok(()))) && service.call_in_place(request, cx) == Poll::Ready(true)
    })
}
