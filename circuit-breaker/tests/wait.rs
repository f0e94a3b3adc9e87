//! A circuit that is waited for: who waits, who is woken, and for what.

#[path = "support/waiting.rs"]
mod support;

use mainstay_circuit_breaker::{Circuit, Clock, Guard, OnOpen, OpenFor, Outcome, State};
use mainstay_core::{Error, Refused};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::Ordering::SeqCst,
        mpsc::{RecvTimeoutError, channel},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};
use support::{Client, Do, World, advance, config, woken};
use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Service, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

const fn just_under(time: Duration) -> Duration {
    time.saturating_sub(MILLI)
}

fn refusal(answer: &support::Answer) -> Refused {
    match answer {
        Err(Error::Refused(refused)) => *refused,
        other => panic!("{other:?} is no refusal"),
    }
}

// ===== pending while the circuit refuses =====

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_pending_to_the_end_of_its_open_time_and_does_not_ask_the_service() {
    let world = World::open(config());
    let mut client = world.client();
    client.waits();
    advance(just_under(10 * SECOND)).await;
    assert!(!client.is_woken());
    client.waits();
    assert_eq!(world.behind.polls.load(SeqCst), 0);

    advance(MILLI).await;
    assert!(client.is_woken(), "its own timer wakes it");
    client.goes_on();
    assert_eq!(world.circuit.state(), State::Open, "waiting takes no slot");
    assert_eq!(client.ask(Do::Succeed), Ok(()));
    assert_eq!((world.circuit.state(), world.circuit.snapshot().refused), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_closed_or_a_disabled_circuit_is_not_waited_for() {
    let world = World::new(config());
    let mut client = world.client();
    client.goes_on();
    assert_eq!(client.ask(Do::Succeed), Ok(()));
    world.circuit.disable();
    client.goes_on();
    assert_eq!(client.ask(Do::Fail), Err(Error::Inner("failed")));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_in_shadow_mode_is_not_waited_for() {
    let world = World::open(config().shadow(true));
    let mut client = world.client();
    client.goes_on();
    assert_eq!(client.ask(Do::Succeed), Ok(()));
    assert_eq!(assert_ready!(task::spawn(Guard::wait(&*world.circuit)).poll()).settle(Outcome::Success), ());
    assert_eq!(world.circuit.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn ready_goes_back_to_pending_and_a_call_then_panics() {
    let world = World::new(config());
    let mut client = world.client();
    client.goes_on();
    world.circuit.isolate();
    client.waits();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(client.call(Do::Succeed)))).is_err());
    world.circuit.reset();
    assert!(client.is_woken());
    client.goes_on();
    assert_eq!(client.ask(Do::Succeed), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn waiting_wakes_nobody_however_often_it_is_polled() {
    let world = World::open(config());
    let mut clients = world.waiting(3);
    for _ in 0..1_000 {
        clients.iter_mut().for_each(Client::waits);
        assert_eq!(woken(&clients), []);
    }
}

// ===== who is woken =====

#[tokio::test(start_paused = true)]
async fn a_freed_slot_wakes_the_first_in_line() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(5);

    for first in 0..5 {
        drop(probes.pop());
        assert_eq!(woken(&clients), [first]);
        clients[first].goes_on();
        probes.push(clients[first].call(Do::Hang));
        assert_eq!(woken(&clients), []);
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_are_woken_as_slots_are_free() {
    let (world, mut probes) = World::half_open(config().probes(3), 3).await;
    let clients = world.waiting(10);
    probes.truncate(1);
    assert_eq!(woken(&clients), [0, 1]);
    probes.clear();
    assert_eq!(woken(&clients), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_vote_frees_no_slot_and_the_last_one_wakes_all() {
    let (world, mut probes) = World::half_open(config().probes(2), 1).await;
    let mut caller = world.client();
    caller.goes_on();
    let clients = world.waiting(5);
    assert_eq!(caller.ask(Do::Succeed), Ok(()));
    assert_eq!(woken(&clients), [], "one has voted and one is out");
    drop(probes.pop());
    assert_eq!(woken(&clients), [0]);

    let mut clients = clients;
    clients[0].goes_on();
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
    assert_eq!(world.circuit.state(), State::Closed);
    assert_eq!(woken(&clients), [1, 2, 3, 4]);
    clients.iter_mut().for_each(Client::goes_on);
}

#[tokio::test(start_paused = true)]
async fn closing_and_disabling_wake_all() {
    for act in [Circuit::reset, Circuit::disable] {
        let world = World::new(config());
        world.circuit.isolate();
        let mut clients = world.waiting(5);
        advance(3_600 * SECOND).await;
        assert_eq!(woken(&clients), [], "only an operator helps");
        act(&world.circuit);
        assert_eq!(woken(&clients), [0, 1, 2, 3, 4]);
        clients.iter_mut().for_each(Client::goes_on);
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_open_time_as_many_go_on_as_there_are_probes() {
    let world = World::open(config().probes(3));
    let mut clients = world.waiting(10);
    advance(10 * SECOND).await;

    let on = |client: &mut Client| client.poll().is_ready();
    // Those who came first have their turn, whoever is polled first; also before one who comes now.
    world.client().waits();
    clients.iter_mut().rev().take(7).for_each(Client::waits);
    assert!(clients[..3].iter_mut().all(on));
    assert_eq!(woken(&clients), []);

    let probes: Vec<_> = [0, 1, 2].map(|i| clients[i].call(Do::Hang)).into();
    clients.iter_mut().skip(3).for_each(Client::waits);
    drop(probes);
    assert_eq!(woken(&clients), [3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_clock_goes_on_by_itself_to_the_end_of_the_open_time() {
    let world = World::open(config().probes(3));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let mut service = world.client().service;
            tokio::spawn(async move {
                service.ready().await.unwrap().call(Do::Succeed).await.unwrap();
                Instant::now()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap() - begin, 10 * SECOND);
    }
    assert_eq!((world.circuit.state(), world.circuit.snapshot().refused), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn the_later_waker_is_the_one_that_is_woken() {
    let world = World::new(config());
    world.circuit.isolate();
    let mut client = world.client();
    client.waits();
    let earlier = std::mem::replace(&mut client.task, task::spawn(()));
    client.waits();
    world.circuit.reset();
    assert!(client.is_woken() && !earlier.is_woken());

    world.fail();
    let mut client = world.client();
    client.waits();
    let earlier = std::mem::replace(&mut client.task, task::spawn(()));
    client.waits();
    advance(10 * SECOND).await;
    assert!(client.is_woken() && !earlier.is_woken(), "of the timer too");
}

// ===== time =====

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_half_open_circuit_are_in_time_when_it_opens_again() {
    // The probe may be silent for 30 s; the circuit opens for 10 s.
    let (world, _) = World::half_open(config(), 0).await;
    let probe = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    let mut clients = world.waiting(3);
    probe.settle(Outcome::Failure);
    assert_eq!(world.circuit.state(), State::Open);

    assert_eq!(woken(&clients), [], "their timers are early enough");
    advance(SECOND).await;
    assert_eq!(woken(&clients), [0, 1, 2], "each looks by itself, though the first may never be polled");
    clients.iter_mut().for_each(Client::waits);
    advance(just_under(9 * SECOND)).await;
    assert_eq!(woken(&clients), []);
    advance(MILLI).await;
    assert_eq!(woken(&clients), [0, 1, 2]);
    clients[2].waits();
    clients[0].goes_on();
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn one_who_is_woken_and_never_polled_holds_a_half_open_circuit_up_for_a_second_or_two() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(2);
    drop(probes.pop());
    assert_eq!(woken(&clients), [0]);
    for _ in 0..2 {
        advance(SECOND).await;
        assert!(clients[1].is_woken());
        if clients[1].poll().is_ready() {
            return;
        }
    }
    panic!("the second still waits for the first");
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_for_less_is_waited_for_no_longer_than_that() {
    let (world, _) = World::half_open(config().open_on_overload(SECOND), 0).await;
    let probe = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    let mut clients = world.waiting(3);
    probe.settle(Outcome::Overloaded(Some(SECOND / 2)));
    assert_eq!(world.circuit.state(), State::Open);

    assert_eq!(woken(&clients), [0], "as many as go on then are told when");
    clients[0].waits();
    advance(just_under(SECOND / 2)).await;
    assert_eq!(woken(&clients), []);
    advance(MILLI).await;
    assert_eq!(woken(&clients), [0]);
    clients[0].goes_on();
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
    assert_eq!(woken(&clients), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn who_was_told_when_the_time_ends_and_leaves_passes_that_on() {
    let (world, _) = World::half_open(config().open_on_overload(SECOND), 0).await;
    let probe = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    let mut clients = world.waiting(3);
    probe.settle(Outcome::Overloaded(Some(SECOND / 2)));
    assert_eq!(woken(&clients), [0]);
    drop(clients.remove(0));
    assert_eq!(woken(&clients), [0]);
    clients[0].waits();
    advance(SECOND / 2).await;
    assert_eq!(woken(&clients), [0]);
    clients[0].goes_on();
}

#[tokio::test(start_paused = true)]
async fn an_open_time_that_jitter_may_shorten_to_nothing_is_waited_for() {
    let (world, _) = World::half_open(config().jitter(1.0).seed(1), 0).await;
    let _probe = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    let clients = world.waiting(1);
    advance(99 * MILLI).await;
    assert_eq!(woken(&clients), [], "not in a busy loop");
    advance(2 * MILLI).await;
    assert_eq!(woken(&clients), [0], "but it looks again");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_never_heard_of_again_is_found_out_by_those_who_wait() {
    let (world, _) = World::half_open(config().probe_deadline(20 * SECOND), 0).await;
    std::mem::forget(Guard::admit(Arc::clone(&world.circuit)).unwrap());
    let mut client = world.client();
    client.waits();
    advance(20 * SECOND).await;
    assert!(client.is_woken());
    client.waits();
    assert_eq!((world.circuit.state(), world.circuit.snapshot().reopenings), (State::Open, 1));
    advance(10 * SECOND).await;
    assert!(client.is_woken());
    client.goes_on();
    assert_eq!(client.ask(Do::Succeed), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_stays_open_for_ever_needs_no_timer() {
    let world = World::open(config().open_for(Duration::MAX));
    let client = world.waiting(1);
    advance(1_000_000 * SECOND).await;
    assert_eq!(woken(&client), []);
}

// ===== waiters that leave =====

#[tokio::test(start_paused = true)]
async fn a_woken_waiter_that_is_dropped_wakes_the_next() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(3);
    drop(probes.pop());
    assert_eq!(woken(&clients), [0]);
    drop(clients.remove(0));
    assert_eq!(woken(&clients), [0]);
    clients[0].goes_on();
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_ready_service_that_is_dropped_uncalled_wakes_the_next() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(3);
    drop(probes.pop());
    clients[0].goes_on();
    assert_eq!(woken(&clients), []);
    drop(clients.remove(0));
    assert_eq!(woken(&clients), [0]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_wakes_nobody_and_is_skipped() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(4);
    drop(clients.remove(1));
    drop(clients.remove(0));
    assert_eq!(woken(&clients), []);
    drop(probes.pop());
    assert_eq!(woken(&clients), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_taken_apart_leaves_the_line() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(2);
    drop(clients.remove(0).service.into_inner());
    drop(probes.pop());
    assert_eq!(woken(&clients), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_waiter_does_not_wait_and_takes_no_turn() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(2);
    let clone = clients[0].service.clone();
    drop(probes.pop());
    clients[0].goes_on();
    drop(clone);
    assert_eq!(woken(&clients), [], "the turn is not the clone's to give up");
    drop(clients[0].service.clone());
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
}

// ===== turns =====

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_not_used_passes_to_the_next_after_a_second() {
    let world = World::open(config());
    let mut clients = world.waiting(3);
    advance(10 * SECOND).await;
    clients[0].goes_on();
    clients[1].waits();
    clients[0].goes_on();
    advance(just_under(SECOND)).await;
    clients[1].waits();
    advance(MILLI).await;
    assert!(clients[1].is_woken());
    clients[1].goes_on();
    assert_eq!(clients[1].ask(Do::Succeed), Ok(()));
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()), "the first may still call");
}

#[tokio::test(start_paused = true)]
async fn a_turn_does_not_outlive_a_closed_circuit() {
    let world = World::open(config().open_for(SECOND / 2));
    let mut clients = [world.client(), world.client()];
    advance(SECOND / 2).await;
    clients[0].goes_on();
    world.circuit.reset();
    world.fail();
    advance(SECOND / 2).await;
    clients[1].goes_on();
}

#[tokio::test(start_paused = true)]
async fn a_woken_waiter_that_nobody_polls_holds_the_others_up_for_a_second_of_their_time() {
    let (world, mut probes) = World::half_open(config().probe_deadline(SECOND / 2), 1).await;
    let mut clients = world.waiting(2);
    drop(probes.pop());
    assert_eq!(woken(&clients), [0]);
    advance(SECOND / 2).await;
    assert_eq!(woken(&clients), [0, 1], "the timer of the second goes on");
    clients[1].waits();
    advance(SECOND / 2).await;
    clients[1].goes_on();
    assert_eq!(clients[1].ask(Do::Succeed), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_turn_and_asks_again_keeps_its_place() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(2);
    drop(probes.pop());
    let barging = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    clients[0].waits();
    advance(SECOND / 2).await;
    drop(barging);
    assert_eq!(woken(&clients), [0], "before the second");
}

#[tokio::test(start_paused = true)]
async fn two_that_were_woken_for_two_slots_are_one_when_a_call_takes_one_of_them() {
    let (world, mut probes) = World::half_open(config().probes(2), 2).await;
    let mut clients = world.waiting(3);
    probes.clear();
    assert_eq!(woken(&clients), [0, 1]);
    let barging = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    clients[1].goes_on();
    clients[0].waits();
    clients[1].goes_on();
    drop(barging);
    assert_eq!(woken(&clients), [0], "it kept its place");
    clients[0].goes_on();
    // Both are ready when another call takes one of the slots: the one that was let through first keeps its turn.
    let _barging = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    clients[0].waits();
    clients[1].goes_on();
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_refused_with_no_time_to_wait_and_comes_back_to_wait() {
    let world = World::open(config());
    let mut client = world.client();
    advance(10 * SECOND).await;
    client.goes_on();
    let probe = Guard::admit(Arc::clone(&world.circuit)).unwrap();
    assert_eq!(refusal(&client.ask(Do::Succeed)).retry_after(), Some(Duration::ZERO));
    assert_eq!(world.circuit.snapshot().refused, 1);
    client.waits();
    probe.settle(Outcome::Success);
    assert!(client.is_woken());

    client.goes_on();
    world.fail();
    assert_eq!(refusal(&client.ask(Do::Succeed)).retry_after(), Some(Duration::ZERO), "closed before, open now");
    client.waits();
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_and_waits_for_the_service_holds_nobody_up() {
    let world = World::open(config());
    let mut clients = world.waiting(2);
    advance(10 * SECOND).await;
    world.behind.unready.store(true, SeqCst);
    clients[0].waits();
    assert!(clients[1].is_woken());
    world.behind.unready.store(false, SeqCst);
    clients[1].goes_on();
    let probe = clients[1].call(Do::Hang);
    world.behind.make_ready();
    assert!(clients[0].is_woken());
    clients[0].waits();
    drop(probe);
    assert!(clients[0].is_woken());
    clients[0].goes_on();
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_services_readiness_counts_as_a_failure_and_passes_the_turn_on() {
    let world = World::open(config().probes(2).failure_rate(1.0));
    let mut clients = world.waiting(3);
    advance(10 * SECOND).await;
    world.behind.broken.store(true, SeqCst);
    assert_eq!(clients[0].poll(), Poll::Ready(Err(Error::Inner("broken"))));
    let snapshot = world.circuit.snapshot();
    assert_eq!((snapshot.state, snapshot.probes, snapshot.votes.failed), (State::HalfOpen, 0, 1));
    world.behind.broken.store(false, SeqCst);
    clients[1].goes_on();
    clients[2].waits();
    world.behind.broken.store(true, SeqCst);
    assert_eq!(clients[1].poll(), Poll::Ready(Err(Error::Inner("broken"))));
    assert_eq!(world.circuit.state(), State::Open);
    clients[2].waits();
}

// ===== operators =====

#[tokio::test(start_paused = true)]
async fn a_shorter_open_time_lets_them_go_on_earlier() {
    let world = World::open(config());
    let mut clients = world.waiting(3);
    advance(SECOND).await;
    world.circuit.reconfigure(config().open_for(3 * SECOND)).unwrap();
    assert_eq!(woken(&clients), [0, 1, 2]);
    clients.iter_mut().for_each(Client::waits);
    advance(just_under(2 * SECOND)).await;
    assert_eq!(woken(&clients), []);
    advance(MILLI).await;
    assert_eq!(woken(&clients), [0, 1, 2]);
    clients[0].goes_on();
    clients[1].waits();
}

#[tokio::test(start_paused = true)]
async fn a_longer_open_time_lets_them_wait_longer() {
    let world = World::open(config());
    let mut client = world.client();
    client.waits();
    world.circuit.reconfigure(config().open_for(OpenFor::Fixed(20 * SECOND))).unwrap();
    client.waits();
    advance(just_under(20 * SECOND)).await;
    assert!(!client.is_woken());
    advance(MILLI).await;
    client.goes_on();
}

#[tokio::test(start_paused = true)]
async fn more_probes_let_more_go_on() {
    let (world, _probes) = World::half_open(config(), 1).await;
    let mut clients = world.waiting(4);
    world.circuit.reconfigure(config().probes(3)).unwrap();
    assert_eq!(clients.iter_mut().filter_map(|client| client.poll().is_ready().then_some(())).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_refused_once_the_circuit_is_to_refuse() {
    let world = World::open(config());
    let mut clients = world.waiting(2);
    world.circuit.reconfigure(config().on_open(OnOpen::Refuse)).unwrap();
    assert_eq!(woken(&clients), [0, 1]);
    clients[0].goes_on();
    assert_eq!(refusal(&clients[0].ask(Do::Succeed)).retry_after(), Some(10 * SECOND));
    world.circuit.reconfigure(config()).unwrap();
    clients[0].waits();
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_on_once_the_circuit_is_in_shadow() {
    let world = World::open(config());
    let mut clients = world.waiting(2);
    world.circuit.reconfigure(config().shadow(true)).unwrap();
    assert_eq!(woken(&clients), [0, 1]);
    clients.iter_mut().for_each(Client::goes_on);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_isolated_meanwhile_is_waited_for_until_it_is_reset() {
    let world = World::open(config());
    let mut clients = world.waiting(2);
    world.circuit.isolate();
    assert_eq!(woken(&clients), []);
    advance(10 * SECOND).await;
    clients.iter_mut().for_each(Client::waits);
    advance(3_600 * SECOND).await;
    assert_eq!(woken(&clients), []);
    world.circuit.reset();
    assert_eq!(woken(&clients), [0, 1]);
}

// ===== wakers that are not harmless =====

/// Runs this once when woken.
struct Act(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Act {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

fn waker(act: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(Act(Mutex::new(Some(Box::new(act))))))
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_harms_neither_the_others_nor_the_call_that_woke_it() {
    let (world, _) = World::half_open(config(), 0).await;
    let mut caller = world.client();
    caller.goes_on();
    let mut call = caller.call(Do::Succeed);
    let before = world.waiting(1);
    let bad = waker(|| panic!("bang"));
    let mut middle = world.client();
    assert_pending!(middle.service.poll_ready(&mut Context::from_waker(&bad)));
    let after = world.waiting(2);

    assert_eq!(assert_ready!(call.poll()), Ok(()));
    assert_eq!((woken(&before), woken(&after)), (vec![0], vec![0, 1]));
    middle.goes_on();
}

/// A deadlock fails instead of hanging.
fn in_time(what: impl FnOnce() + Send + 'static) {
    let (done, wait) = channel();
    let thread = thread::spawn(move || {
        what();
        done.send(())
    });
    match wait.recv_timeout(Duration::from_secs(10)) {
        Ok(()) => {}
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("deadlock"),
    }
}

#[test]
fn a_waker_may_poll_the_service_again_and_command_the_circuit() {
    in_time(|| {
        let world = World::new(config());
        world.circuit.isolate();
        let polled = Arc::new(Mutex::new(Vec::new()));
        let again = Arc::new(Mutex::new(world.client().service));
        let waker = waker({
            let (again, polled, circuit) = (Arc::clone(&again), Arc::clone(&polled), Arc::clone(&world.circuit));
            move || {
                let mut service = again.lock().unwrap();
                let mut cx = Context::from_waker(Waker::noop());
                let mut poll = || polled.lock().unwrap().push(service.poll_ready(&mut cx).is_ready());
                poll();
                circuit.isolate();
                poll();
                circuit.reset();
                poll();
            }
        });
        assert_pending!(again.lock().unwrap().poll_ready(&mut Context::from_waker(&waker)));
        drop(waker);
        world.circuit.reset();
        assert_eq!(*polled.lock().unwrap(), [true, false, true]);
    });
}

#[test]
fn a_waker_that_is_dropped_for_a_later_one_may_use_the_circuit() {
    struct UsesOnDrop(Arc<Circuit>);
    impl Wake for UsesOnDrop {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for UsesOnDrop {
        fn drop(&mut self) {
            self.0.isolate();
            assert_eq!(self.0.snapshot().state, State::Isolated);
        }
    }
    in_time(|| {
        let world = World::open(config().open_for(Duration::MAX));
        let mut client = world.client();
        let mut poll = || {
            let waker = Waker::from(Arc::new(UsesOnDrop(Arc::clone(&world.circuit))));
            client.service.poll_ready(&mut Context::from_waker(&waker))
        };
        assert_pending!(poll());
        assert_pending!(poll());
        drop(client);
        assert_eq!(world.circuit.state(), State::Isolated);
    });
}

// ===== without tower =====

#[tokio::test(start_paused = true)]
async fn a_guard_is_waited_for_in_the_same_line() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut first = task::spawn(Guard::wait(&*world.circuit));
    assert_pending!(first.poll());
    let mut clients = world.waiting(1);
    let mut last = task::spawn(Guard::wait(Arc::clone(&world.circuit)));
    assert_pending!(last.poll());

    drop(probes.pop());
    assert!(first.is_woken() && !clients[0].is_woken() && !last.is_woken());
    let guard = assert_ready!(first.poll());
    assert!(!clients[0].is_woken());
    drop(guard);
    assert!(clients[0].is_woken() && !last.is_woken());
    clients[0].goes_on();
    assert_eq!(clients[0].ask(Do::Succeed), Ok(()));
    assert_ready!(last.poll()).settle(Outcome::Success);
    assert_eq!(world.circuit.snapshot().refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_is_no_longer_waited_for_passes_its_turn_on() {
    let (world, mut probes) = World::half_open(config(), 1).await;
    let mut first = task::spawn(Guard::wait(&*world.circuit));
    assert_pending!(first.poll());
    let clients = world.waiting(1);
    drop(probes.pop());
    assert!(first.is_woken());
    drop(first);
    assert_eq!(woken(&clients), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_guard_waits_also_for_a_circuit_whose_service_would_refuse() {
    let world = World::open(config().on_open(OnOpen::Refuse));
    let begin = Instant::now();
    Guard::wait(&*world.circuit).await.settle(Outcome::Success);
    assert_eq!(Instant::now() - begin, 10 * SECOND);
    assert_eq!((world.circuit.state(), world.circuit.snapshot().refused), (State::Closed, 0));
    assert!(world.circuit.admit(Clock).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_recovering_circuit_draws_those_who_wait_once_in_a_stage() {
    let config = config().on_open(OnOpen::Refuse).probes(1).gradual([0.01], 60 * SECOND).seed(1);
    let circuit = Arc::new(Circuit::new(config).unwrap());
    Guard::admit(Arc::clone(&circuit)).unwrap().settle(Outcome::Failure);
    advance(10 * SECOND).await;
    Guard::admit(Arc::clone(&circuit)).unwrap().settle(Outcome::Success);
    Guard::admit(Arc::clone(&circuit)).unwrap().settle(Outcome::Success);
    assert_eq!(circuit.state(), State::Recovering);

    let mut waiters: Vec<_> = (0..100).map(|_| task::spawn(Guard::wait(Arc::clone(&circuit)))).collect();
    let let_in = waiters.iter_mut().map(|waiter| waiter.poll().is_ready()).filter(|ready| *ready).count();
    assert!(let_in < 10, "{let_in} of a hundred in a stage of one in a hundred");
    assert_eq!(circuit.snapshot().refused, 0, "who waits is not refused");
    advance(60 * SECOND).await;
    assert!(waiters.iter().filter(|waiter| waiter.is_woken()).count() >= 100 - let_in);
}

#[test]
fn waiting_and_stages_exclude_each_other_for_a_service() {
    let both = config().on_open(OnOpen::Wait).gradual([0.5], SECOND);
    assert_eq!(Circuit::new(both).unwrap_err().field(), "gradual");
}
