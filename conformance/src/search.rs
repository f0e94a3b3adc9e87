//! Which sequences of actions are tried: all short ones, then long ones at random; and the shortest that shows a breach.

use crate::{
    action::{Action, Answer},
    clause::Clause,
    ledger::Event,
    world::{Breach, Setting, State, World},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use std::{collections::VecDeque, time::Instant};

/// What the driver does in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// Tokens of the inner service at first.
    pub(crate) tokens: usize,
    pub(crate) actions: Vec<Action>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) breach: Option<Breach>,
    pub(crate) log: Vec<Event>,
    /// What could have been done next.
    next: Vec<Action>,
}

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Runs of the exhaustive search.
    pub(crate) short: usize,
    /// Runs of the random search, and their length.
    pub(crate) long: usize,
    pub(crate) length: usize,
    pub(crate) seed: u64,
    /// When to stop, for layers that take long.
    pub(crate) until: Instant,
}

impl Effort {
    fn is_over(&self) -> bool {
        now() >= self.until
    }
}

/// The real time: how long a check takes is no matter of a paused clock.
#[expect(clippy::disallowed_methods, reason = "the kit watches itself, not the layer")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Few enough that every order of them is tried, many enough for two to get in each other's way.
const MOST_SERVICES: usize = 2;
const MOST_CALLS: usize = 2;

/// More scripts are not kept in memory.
const MOST_WAITING: usize = 500_000;

/// A script this long is a random one, in which more may be alive.
const LONG: usize = 12;

/// Runs a script; an action that is not possible is left out.
pub(crate) fn run(setting: Setting<'_>, script: &Script) -> Outcome {
    let mut world = World::new(setting, script.tokens);
    for action in &script.actions {
        if is_possible(&world, *action) {
            world.perform(*action);
        }
        if world.breach.is_some() {
            break;
        }
    }
    let next = possible(&world, script);
    if world.breach.is_none() {
        finish(&mut world, script.actions.len());
    }
    outcome(&mut world, next)
}

fn finish(world: &mut World<'_>, length: usize) {
    world.look_for_sleepers();
    // Not always, since what is under way is to be dropped, too.
    if world.breach.is_none() && (length / 2).is_multiple_of(2) {
        world.everybody_gets_an_answer();
    }
    if world.breach.is_none() {
        world.end(length.is_multiple_of(2), Clause::NothingIsLeftBehind);
    }
}

/// Every sequence, the shortest first, up to so many; those that break a clause are not prolonged.
pub(crate) fn short(setting: &mut Setting<'_>, effort: Effort, found: &mut dyn FnMut(Script, Outcome)) -> usize {
    // With no token, one, and two.
    let mut queue: VecDeque<Script> = (0..=2).map(|tokens| Script { tokens, actions: Vec::new() }).collect();
    let mut runs = 0;
    while let Some(script) = queue.pop_front() {
        if runs >= effort.short || effort.is_over() {
            break;
        }
        runs += 1;
        let mut outcome = run(*setting, &script);
        for action in std::mem::take(&mut outcome.next) {
            // Those that will not have their turn need no room.
            if queue.len() + runs < effort.short && queue.len() < MOST_WAITING {
                let mut longer = script.clone();
                longer.actions.push(action);
                queue.push_back(longer);
            }
        }
        if let Some(breach) = &outcome.breach {
            setting.masked.insert(breach.clause);
            found(script, outcome);
        }
    }
    runs
}

/// Long sequences at random.
pub(crate) fn long(setting: &mut Setting<'_>, effort: Effort, found: &mut dyn FnMut(Script, Outcome)) -> usize {
    let mut rng = SmallRng::seed_from_u64(effort.seed);
    for walk in 0..effort.long {
        if effort.is_over() {
            return walk;
        }
        let (script, outcome) = wander(*setting, effort.length, &mut rng);
        if let Some(clause) = outcome.breach.as_ref().map(|breach| breach.clause) {
            let (script, outcome) = shortest(*setting, script, outcome, clause);
            setting.masked.insert(clause);
            found(script, outcome);
        }
    }
    effort.long
}

/// One long run, chosen step by step from what is possible.
fn wander(setting: Setting<'_>, length: usize, rng: &mut SmallRng) -> (Script, Outcome) {
    let mut script = Script { tokens: rng.random_range(0..=2), actions: Vec::new() };
    let mut world = World::new(setting, script.tokens);
    while script.actions.len() < length && world.breach.is_none() {
        let mut choices = possible(&world, &script);
        choices.extend(answers(&world, Answer::RefusedBelow));
        // What ends things would otherwise end them too soon.
        if rng.random_bool(0.8) {
            choices.retain(|action| !matches!(action, Action::DropService(_) | Action::DropCall(_)));
        }
        let Some(action) = choices.choose(rng) else { break };
        script.actions.push(*action);
        world.perform(*action);
    }
    if world.breach.is_none() {
        finish(&mut world, script.actions.len());
    }
    (script, outcome(&mut world, Vec::new()))
}

fn outcome(world: &mut World<'_>, next: Vec<Action>) -> Outcome {
    let log = if world.breach.is_some() { world.log() } else { Vec::new() };
    Outcome { breach: world.breach.take(), log, next }
}

/// The script without what is not needed to break the clause, as it was broken in `first`.
fn shortest(setting: Setting<'_>, script: Script, first: Outcome, clause: Clause) -> (Script, Outcome) {
    let breaks = |outcome: &Outcome| outcome.breach.as_ref().is_some_and(|breach| breach.clause == clause);
    let mut best = run(setting, &script);
    let mut script = script;
    if !breaks(&best) {
        let what = first.breach.map_or_else(String::new, |breach| breach.what);
        let what = format!("{what}; not when the same was done again: the layer does not do the same each time");
        return (script, Outcome { breach: Some(Breach { clause, what }), ..first });
    }
    remove_actions(&mut script, &mut best, &mut |script| Some(run(setting, script)).filter(&breaks));
    merge_services(&mut script, &mut best, &mut |script| Some(run(setting, script)).filter(&breaks));
    (script, best)
}

/// Whether a script still breaks the clause, and how.
type Still<'a> = dyn FnMut(&Script) -> Option<Outcome> + 'a;

fn remove_actions(script: &mut Script, best: &mut Outcome, still: &mut Still<'_>) {
    let mut chunk = script.actions.len().div_ceil(2);
    while chunk > 0 {
        let mut at = 0;
        while at < script.actions.len() {
            let mut shorter = script.clone();
            shorter.actions.drain(at..(at + chunk).min(script.actions.len()));
            match still(&shorter) {
                Some(outcome) => (*script, *best) = (shorter, outcome),
                None => at += chunk,
            }
        }
        chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
    }
}

/// One service less, by letting another do what it did; if the clause is still broken.
fn merge_services(script: &mut Script, best: &mut Outcome, still: &mut Still<'_>) {
    let made = script.actions.iter().filter(|action| matches!(action, Action::Clone(_))).count();
    for gone in (1..=made).rev() {
        for heir in 0..gone {
            let mut fewer = script.clone();
            fewer.actions.iter_mut().for_each(|action| action.rename_service(gone, heir));
            remove_clone(&mut fewer, gone);
            if let Some(outcome) = still(&fewer) {
                (*script, *best) = (fewer, outcome);
                break;
            }
        }
    }
}

/// Service `n` is made by the `n`th clone; later ones move up.
fn remove_clone(script: &mut Script, gone: usize) {
    let is_clone = |(_, action): &(usize, &Action)| matches!(action, Action::Clone(_));
    let Some(at) = script.actions.iter().enumerate().filter(is_clone).nth(gone - 1).map(|(at, _)| at) else { return };
    script.actions.remove(at);
    script.actions.iter_mut().for_each(|action| action.move_up_after(gone));
}

// ===== what is possible =====

fn is_possible(world: &World<'_>, action: Action) -> bool {
    let service = |at: usize| world.services.get(at).filter(|slot| slot.service.is_some());
    let call = |at: usize| world.calls.get(at).filter(|call| call.future.is_some());
    match action {
        Action::Ready(at) | Action::ReadyElsewhere(at) | Action::DropService(at) | Action::Clone(at) => {
            service(at).is_some()
        }
        Action::Call(at) => service(at).is_some_and(|slot| slot.state == State::Ready),
        Action::Poll(at) | Action::PollElsewhere(at) | Action::DropCall(at) => call(at).is_some(),
        Action::Answer(at, _) => world
            .backend
            .with(|state| state.calls.get(at).is_some_and(|call| call.alive && !call.done && call.answer.is_none())),
        Action::Advance => world.clock.ticks(),
        Action::Give | Action::Nudge | Action::FailReadiness => true,
    }
}

/// What makes sense to do next.
fn possible(world: &World<'_>, script: &Script) -> Vec<Action> {
    let mut actions = Vec::new();
    let long = usize::from(script.actions.len() > LONG);
    let room_for_service = world.services.iter().filter(|slot| slot.service.is_some()).count() < MOST_SERVICES + long;
    let room_for_call = world.calls.iter().filter(|call| call.future.is_some()).count() < MOST_CALLS + long;
    for (at, slot) in world.services.iter().enumerate().filter(|(_, slot)| slot.service.is_some()) {
        match slot.state {
            State::Ready if slot.repeats < 1 => actions.push(Action::Ready(at)),
            State::Pending if !slot.ear.woken() => {
                if !slot.ear.moved() {
                    actions.push(Action::ReadyElsewhere(at));
                }
            }
            State::Ready => {}
            State::Idle | State::Pending => actions.push(Action::Ready(at)),
        }
        if slot.state == State::Ready && room_for_call {
            actions.push(Action::Call(at));
        }
        if room_for_service {
            actions.push(Action::Clone(at));
        }
        actions.push(Action::DropService(at));
    }
    for (at, call) in world.calls.iter().enumerate().filter(|(_, call)| call.future.is_some()) {
        if call.ear.woken() {
            actions.push(Action::Poll(at));
        } else if !call.ear.moved() {
            actions.push(Action::PollElsewhere(at));
        }
        actions.push(Action::DropCall(at));
    }
    actions.extend(answers(world, Answer::Ok));
    actions.extend(answers(world, Answer::Err));
    actions.extend(surroundings(world, script));
    actions
}

fn answers(world: &World<'_>, answer: Answer) -> Vec<Action> {
    let calls = world.backend.with(|state| state.calls.len());
    let answers = (0..calls).map(|call| Action::Answer(call, answer));
    answers.filter(|action| is_possible(world, *action)).collect()
}

fn surroundings(world: &World<'_>, script: &Script) -> Vec<Action> {
    let mut actions = Vec::new();
    let tokens = world.backend.with(|state| state.tokens);
    if tokens < 2 + usize::from(script.actions.len() > LONG) {
        actions.push(Action::Give);
    }
    if !script.actions.contains(&Action::FailReadiness) || script.actions.len() > LONG {
        actions.push(Action::FailReadiness);
    }
    // For nothing, so one after the other shows no more than one.
    let anybody_waits = world.services.iter().any(|slot| slot.state == State::Pending)
        || world.calls.iter().any(|call| call.future.is_some() && call.ear.polled());
    if anybody_waits && script.actions.last() != Some(&Action::Nudge) {
        actions.push(Action::Nudge);
    }
    let last_two = script.actions.iter().rev().take(2);
    if world.clock.ticks() && last_two.filter(|action| **action == Action::Advance).count() < 2 {
        actions.push(Action::Advance);
    }
    actions
}
