//! Wakers are foreign code: no lock is held when they run, and one that panics does not keep the others from being woken.

use mainstay_core::Now;
use mainstay_rate_limit::{Clock, KeyedLimiter, Lender, Limiter, Quota, Reservation};
use std::{
    future::Future,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

/// A task that acts when it is woken.
struct Task<F> {
    act: F,
    is_woken: AtomicBool,
}

impl<F: Fn() + Send + Sync + 'static> Task<F> {
    fn new(act: F) -> Arc<Self> {
        Arc::new(Self { act, is_woken: AtomicBool::new(false) })
    }

    fn is_woken(&self) -> bool {
        self.is_woken.load(Ordering::SeqCst)
    }
}

impl<F: Fn() + Send + Sync + 'static> Wake for Task<F> {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        (self.act)();
    }
}

fn quota(per_second: u64) -> Quota {
    Quota::per_second(per_second).unwrap().burst(1).unwrap()
}

/// Waits with a task for each place, and says which of them were woken when something moves the places.
fn woken_by<H, F, const N: usize>(places: &[Reservation<H>; N], act: [F; N], moves: impl FnOnce()) -> [bool; N]
where
    H: Deref<Target: Lender>,
    F: Fn() + Send + Sync + 'static,
{
    let tasks = act.map(Task::new);
    let mut turns = places.each_ref().map(|place| Box::pin(place.turn()));
    for (turn, task) in turns.iter_mut().zip(&tasks) {
        let waker = Waker::from(Arc::clone(task));
        assert!(turn.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    moves();
    tasks.map(|task| task.is_woken())
}

/// All are woken, though the first two panic; the panic of the first one goes on.
fn all_are_woken<H: Deref<Target: Lender>>(places: &[Reservation<H>; 3], moves: impl FnOnce()) {
    let act = [0, 1, 2].map(|number| {
        move || {
            if number < 2 {
                panic_any(number);
            }
        }
    });
    let mut panic = Ok(());
    let woken = woken_by(places, act, || panic = catch_unwind(AssertUnwindSafe(moves)));
    assert_eq!(woken, [true; 3]);
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&0));
}

#[tokio::test(start_paused = true)]
async fn waker_that_panics_keeps_nobody_from_being_woken() {
    for way in 0..3 {
        let limiter = Limiter::new(quota(10)).unwrap();
        let reserve = || limiter.reserve(1, Duration::MAX).unwrap();
        reserve().spend();
        let before = reserve();
        all_are_woken(&[(); 3].map(|()| reserve()), || match way {
            0 => drop(before),
            1 => limiter.refund(1),
            _ => limiter.reconfigure(quota(20)).unwrap(),
        });
        assert_eq!(limiter.snapshot().refused, 0, "it goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn waker_that_panics_keeps_nobody_from_being_woken_with_keys() {
    for way in 0..3 {
        let limiter = KeyedLimiter::<u32>::new(quota(10)).unwrap();
        let reserve = || limiter.reserve(&0, 1, Duration::MAX).unwrap();
        reserve().spend();
        let before = reserve();
        all_are_woken(&[(); 3].map(|()| reserve()), || match way {
            0 => drop(before),
            1 => limiter.refund(&0, 1),
            _ => limiter.reconfigure(quota(20)).unwrap(),
        });
    }
}

#[tokio::test(start_paused = true)]
async fn waker_that_panics_does_not_stop_a_change_half_way() {
    let limiter = KeyedLimiter::<u32>::new(quota(10)).unwrap();
    let places: [_; 40] = std::array::from_fn(|key| {
        let key = u32::try_from(key).unwrap();
        limiter.reserve(&key, 1, Duration::MAX).unwrap().spend();
        limiter.reserve(&key, 1, Duration::MAX).unwrap()
    });
    let mut panic = Ok(());
    let woken = woken_by(&places, [(); 40].map(|()| || panic_any("a waker")), || {
        panic = catch_unwind(AssertUnwindSafe(|| limiter.reconfigure(quota(20)).unwrap()));
    });
    assert!(panic.is_err());
    assert_eq!(woken, [true; 40], "in whatever shards they are");
    assert_eq!(limiter.config().limit.rules[0].quota(), quota(20));
    assert!(places.iter().all(|place| place.at() == Some(tokio::time::Instant::now() + Duration::from_millis(50))));
}

/// Does it in a thread of its own, so that a deadlock fails instead of hanging. Its time is paused.
fn in_time(what: impl Future<Output = ()> + Send + 'static) {
    let (done, wait) = channel();
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(what);
        done.send(())
    });
    match wait.recv_timeout(Duration::from_secs(10)) {
        Ok(()) => {}
        Err(RecvTimeoutError::Disconnected) => resume_unwind(thread.join().unwrap_err()),
        Err(RecvTimeoutError::Timeout) => panic!("deadlock"),
    }
}

#[test]
fn waker_may_ask_the_limiter() {
    for way in 0..3 {
        in_time(async move {
            let limiter = Arc::new(Limiter::new(quota(10)).unwrap());
            limiter.reserve(1, Duration::MAX).unwrap().spend();
            let before = limiter.reserve(1, Duration::MAX).unwrap();
            let place = [limiter.reserve(1, Duration::MAX).unwrap()];
            let asked = Arc::clone(&limiter);
            let ask = move || {
                let _ = (asked.check(), asked.peek(), asked.snapshot(), asked.reserve(1, Duration::MAX));
                asked.reconfigure(asked.config()).unwrap();
            };
            let moves = || match way {
                0 => drop(before),
                1 => limiter.refund(1),
                _ => limiter.reconfigure(quota(20)).unwrap(),
            };
            assert_eq!(woken_by(&place, [ask], moves), [true]);
        });
    }
}

#[test]
fn waker_may_ask_the_limiter_of_keys() {
    for way in 0..3 {
        in_time(async move {
            let limiter = Arc::new(KeyedLimiter::<u32>::new(quota(10)).unwrap());
            let reserve = || limiter.reserve(&0, 1, Duration::MAX).unwrap();
            reserve().spend();
            let (before, place) = (reserve(), [reserve()]);
            let asked = Arc::clone(&limiter);
            let ask = move || {
                let _ = (asked.check(&0), asked.peek(&0), asked.snapshot(), asked.reserve(&0, 1, Duration::MAX));
                asked.reconfigure(asked.config()).unwrap();
            };
            let moves = || match way {
                0 => drop(before),
                1 => limiter.refund(&0, 1),
                _ => limiter.reconfigure(quota(20)).unwrap(),
            };
            assert_eq!(woken_by(&place, [ask], moves), [true]);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn waker_is_not_kept_in_a_place_that_is_spent_before_its_moment() {
    let limiter = Limiter::new(quota(1)).unwrap();
    let [used, place] = [(); 2].map(|()| limiter.reserve(1, Duration::MAX).unwrap());
    used.spend();
    let task = Task::new(|| {});
    let waker = Waker::from(Arc::clone(&task));
    assert!(Box::pin(place.turn()).as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    place.spend();
    // It is foreign code, which would else run under the lock when the place is forgotten.
    assert_eq!(Arc::strong_count(&task), 1);
}

/// A clock that panics.
struct Broken;

impl Now for Broken {
    fn now(self) -> Instant {
        panic_any("planted")
    }
}

#[tokio::test(start_paused = true)]
async fn waker_is_not_kept_in_a_place_that_is_given_back_by_a_clock_that_panics() {
    let task = Task::new(|| {});
    let waker = || Some(Waker::from(Arc::clone(&task)));
    let limiter = Limiter::new(quota(1)).unwrap();
    let [_used, place] = [(); 2].map(|()| limiter.reserve_at(1, Duration::MAX, Clock).unwrap());
    limiter.watch(&place, waker());
    assert!(catch_unwind(AssertUnwindSafe(|| limiter.give_back_at(place, Broken))).is_err());

    let keyed = KeyedLimiter::<u32>::new(quota(1)).unwrap();
    let [_used, place] = [(); 2].map(|()| keyed.reserve_at(&0, 1, Duration::MAX, Clock).unwrap());
    keyed.watch(&place, waker());
    assert!(catch_unwind(AssertUnwindSafe(|| keyed.give_back_at(place, Broken))).is_err());
    // It would else be dropped under the lock, at the moment of the place.
    assert_eq!(Arc::strong_count(&task), 1);
}
