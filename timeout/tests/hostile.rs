//! A hostile reader's tests. Each fails at 43bc737. `must_…`, `should_…` and `note_…` give the severity.
#![allow(missing_docs, clippy::pedantic, clippy::disallowed_methods, reason = "scratch")]

mod support;

use mainstay_core::{Deadline, Error};
use mainstay_timeout::{Config, InMeta, NoDeadline, TimeoutLayer, timeout};
use std::{
    cell::Cell,
    future::{pending, poll_fn, ready},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use support::{Answer, Job, Leaf, ms, now, timed_out};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};

// ---- T1: README, "With deadlines the outer one suffices: each attempt takes what is left, and is refused when nothing is"

#[tokio::test(start_paused = true)]
async fn should_t1_the_outer_one_suffices() {
    let attempts = Rc::new(Cell::new(0));
    let count = attempts.clone();
    let leaf = service_fn(move |_: Job| {
        count.set(count.get() + 1);
        pending::<Answer>()
    });
    let retry = service_fn(move |job: Job| {
        let leaf = leaf.clone();
        async move {
            let mut last = Ok(0);
            for _ in 0..3 {
                last = leaf.clone().oneshot(job).await;
                if last.is_ok() {
                    break;
                }
            }
            last
        }
    });
    let config = Config::default().timeout(Duration::from_secs(5));
    let stack = TimeoutLayer::with_deadlines(config, InMeta).unwrap().layer(retry);
    let _ = stack.oneshot(Job::default()).await;
    assert!(attempts.get() > 1, "the first attempt hung, and took all of the five seconds");
}

// ---- T2: README, the first example

#[test]
fn should_t2_the_first_example_can_be_copied() {
    let readme = include_str!("../README.md");
    let shown = readme.lines().filter(|line| !line.starts_with("# ")).find(|line| line.contains("start_paused"));
    assert_eq!(shown, None, "a newcomer copies a paused clock into `main`");
}

/// What becomes of who copies it: a server that answers after 20 ms, and a timeout of 250.
#[tokio::test(start_paused = true)]
async fn should_t2_what_happens_to_who_copies_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::thread::sleep(ms(20));
        std::io::Write::write_all(&mut stream, b"x").unwrap();
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    let read = async { stream.readable().await.map_err(|_| Error::Inner("io")) };
    assert_eq!(timeout("payments", ms(250), read).await, Ok(()), "after {:?}", start.elapsed());
}

// ---- T4: docs of `timeout`, "A time of zero is one poll"

#[tokio::test]
async fn should_t4_zero_is_one_poll_on_the_real_clock() {
    let mut most = 0;
    for _ in 0..5 {
        let polls = Cell::new(0_u32);
        let inner = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<Answer>::Pending
        });
        assert_eq!(timeout("test", Duration::ZERO, inner).await, timed_out(Duration::ZERO));
        most = most.max(polls.get());
    }
    assert_eq!(most, 1);
}

#[tokio::test]
async fn should_t4_zero_ends_a_future_of_ten_steps() {
    let mut answered = 0;
    for _ in 0..20 {
        let steps = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            Answer::Ok(7)
        };
        answered += u32::from(timeout("test", Duration::ZERO, steps).await.is_ok());
    }
    assert_eq!(answered, 0, "ten pending polls are more than one poll");
}

#[tokio::test(start_paused = true)]
async fn should_t4_zero_is_one_poll_when_the_budget_is_used_up() {
    let task = tokio::spawn(async {
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::consume_budget().await;
        }
        let polls = AtomicU32::new(0);
        let inner = poll_fn(|_| {
            polls.fetch_add(1, Relaxed);
            Poll::<Answer>::Pending
        });
        let _ = timeout("test", Duration::ZERO, inner).await;
        polls.load(Relaxed)
    });
    assert_eq!(task.await.unwrap(), 1);
}

// ---- T5: "from its first poll" is from the end of its first poll

#[tokio::test]
async fn note_t5_the_first_poll_counts() {
    let start = Instant::now();
    let mut first = true;
    let inner = poll_fn(|_| {
        if std::mem::take(&mut first) {
            std::thread::sleep(ms(60));
        }
        Poll::<Answer>::Pending
    });
    assert_eq!(timeout("test", ms(50), inner).await, timed_out(ms(50)));
    assert!(start.elapsed() < ms(90), "fifty milliseconds from the first poll took {:?}", start.elapsed());
}

// ---- T6: DESIGN, "Is a layer without a time refused? Yes, unless requests carry deadlines."

#[test]
fn note_t6_a_layer_that_ends_nothing_is_refused() {
    assert!(TimeoutLayer::with_deadlines(Config::default(), NoDeadline).is_err());
}

// ---- T7: the core takes a configuration that nobody has checked

#[test]
fn note_t7_the_core_never_answers_a_deadline_that_has_passed() {
    let now = now();
    let deadline = Config::default().timeout(Duration::ZERO).deadline(None, now);
    assert!(deadline.is_err() || !deadline.unwrap().unwrap().has_passed(now));
}

// ---- T8: called in time, first polled too late

#[tokio::test(start_paused = true)]
async fn note_t8_no_work_is_begun_after_its_deadline() {
    let leaf = Leaf::answering(Ok(1));
    let config = Config::default().name("test").timeout(ms(10));
    let call = TimeoutLayer::with_deadlines(config, InMeta).unwrap().layer(leaf.clone()).call(Job::default());
    advance(ms(1_000)).await;
    let answer = call.await;
    assert_eq!(leaf.0.polls.get(), 0, "begun a second late, and answered {answer:?}");
}

// ---- T9: declared in the docs; what it means

#[tokio::test(start_paused = true)]
async fn note_t9_a_refused_call_does_not_hoard_the_only_slot() {
    struct OneSlot {
        free: Rc<Cell<bool>>,
        have: bool,
    }
    impl Clone for OneSlot {
        fn clone(&self) -> Self {
            Self { free: self.free.clone(), have: false }
        }
    }
    impl Service<Job> for OneSlot {
        type Response = u32;
        type Error = Error<&'static str>;
        type Future = std::future::Ready<Answer>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.have |= self.free.replace(false);
            if self.have { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
        fn call(&mut self, _: Job) -> Self::Future {
            assert!(std::mem::take(&mut self.have));
            self.free.set(true);
            ready(Ok(1))
        }
    }
    let slot = OneSlot { free: Rc::new(Cell::new(true)), have: false };
    let mut a = TimeoutLayer::with_deadlines(Config::default(), InMeta).unwrap().layer(slot);
    let mut b = a.clone();
    let late = Job { due: Some(Deadline::at(now())) };
    assert!(a.ready().await.unwrap().call(late).await.is_err());
    assert!(b.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready(), "`a` is idle, and keeps the slot");
}

#[cfg(feature = "http")]
mod over_http {
    use super::*;
    use allocation_counter::measure;
    use http::{HeaderMap, HeaderName, HeaderValue, Request};
    use mainstay_core::Meta;
    use mainstay_timeout::{DeadlineToHeaderLayer, HeaderForm, time_left};
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        future::Future as _,
        pin::pin,
    };
    use tokio_test::{block_on, task};

    /// The headers that go out.
    fn tell(form: HeaderForm, headers: &[(&'static str, &'static str)], left: Duration) -> HeaderMap {
        let mut request = Request::new(());
        for &(name, value) in headers {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request.set_meta(Deadline::after(now(), left));
        let leaf = service_fn(|r: Request<()>| ready(Ok::<_, Error<()>>(r.headers().clone())));
        block_on(DeadlineToHeaderLayer::new().form(form).layer(leaf).oneshot(request)).unwrap()
    }

    /// What a server sees that knows only this header.
    fn only(name: &'static str, headers: &HeaderMap) -> Option<Duration> {
        let name = HeaderName::from_static(name);
        let lines = headers.get_all(&name).iter().map(|value| (name.clone(), value.clone()));
        time_left(&lines.collect())
    }

    // ---- T3: "so that the server does not wait longer than the caller"

    /// A gateway sends a gRPC request on, in the default form; tonic reads `grpc-timeout` alone.
    #[test]
    fn should_t3_a_grpc_timeout_that_is_there_is_not_left_longer() {
        let headers = tell(HeaderForm::Millis, &[("grpc-timeout", "20S")], ms(500));
        assert!(only("grpc-timeout", &headers).is_none_or(|left| left <= ms(500)), "{headers:?}");
    }

    #[test]
    fn should_t3_a_plain_header_that_is_there_is_not_left_longer() {
        let headers = tell(HeaderForm::Grpc, &[("x-request-timeout-ms", "20000")], ms(500));
        assert!(only("x-request-timeout-ms", &headers).is_none_or(|left| left <= ms(500)), "{headers:?}");
    }

    // ---- T10

    #[test]
    fn note_t10_a_number_that_others_can_read() {
        let headers = tell(HeaderForm::Millis, &[], Duration::from_secs(u64::MAX / 4));
        let text = headers["x-request-timeout-ms"].to_str().unwrap();
        assert!(text.parse::<u64>().is_ok(), "{text}");
    }

    // ---- T11: `Timeout`'s future panics there

    #[tokio::test(start_paused = true)]
    async fn note_t11_a_refusal_is_answered_and_counted_once() {
        let leaf = service_fn(|_: Request<()>| ready(Ok::<_, Error<()>>(())));
        let mut request = Request::new(());
        request.set_meta(Deadline::at(now()));
        let mut call = task::spawn(DeadlineToHeaderLayer::new().layer(leaf).call(request));
        assert!(call.poll().is_ready());
        assert!(catch_unwind(AssertUnwindSafe(|| call.poll().is_ready())).is_err());
    }

    // ---- T12: `Config` refuses an empty name

    #[test]
    fn note_t12_a_name_is_checked() {
        let mut request = Request::new(());
        request.set_meta(Deadline::at(now()));
        let leaf = service_fn(|_: Request<()>| ready(Ok::<_, Error<()>>(())));
        let answer = block_on(DeadlineToHeaderLayer::new().name("").layer(leaf).oneshot(request));
        assert!(!matches!(answer, Err(Error::Refused(refused)) if refused.by().is_empty()), "{answer:?}");
    }

    // ---- T13: issue 6, "zero allocations"

    #[test]
    fn note_t13_a_deadline_that_is_there_is_changed_in_place() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _guard = runtime.enter();
        let leaf = service_fn(|_: Request<()>| ready(Ok::<_, Error<()>>(())));
        let layer = |time| TimeoutLayer::http(Config::default().timeout(ms(time))).unwrap();
        let mut one = layer(50).layer(leaf);
        let mut two = layer(90).layer(one.clone());
        let mut cx = Context::from_waker(Waker::noop());
        let first = measure(|| assert!(pin!(one.call(Request::new(()))).poll(&mut cx).is_ready())).count_total;
        let both = measure(|| assert!(pin!(two.call(Request::new(()))).poll(&mut cx).is_ready())).count_total;
        assert_eq!(both, first, "the map of the extensions is paid for once; the second layer pays again");
    }
}
