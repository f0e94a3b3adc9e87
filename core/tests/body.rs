//! The settling body: told once, as early as can be known, and not at all when nobody waited.
#![cfg(feature = "http")]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use mainstay_core::http::{End, Settle, SettleBody};
use proptest::prelude::*;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio_test::{assert_pending, task};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Pending,
    Data,
    Trailers,
    Fail,
    Panic,
}

/// A body that does what it is told. If `honest`, it says that it is at its end when it is.
struct Script {
    steps: VecDeque<Step>,
    honest: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Data) => Some(Ok(Frame::data(Bytes::from_static(b"data")))),
            Some(Step::Trailers) => Some(Ok(Frame::trailers(trailers()))),
            Some(Step::Fail) => Some(Err("reset")),
            Some(Step::Panic) => panic!("as told"),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.honest && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.steps.iter().filter(|&&step| step == Step::Data).count();
        if self.honest { SizeHint::with_exact(4 * data as u64) } else { SizeHint::default() }
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])
}

/// What a settler lived through, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>, Rc<Cell<u32>>);

impl Log {
    fn settler(&self) -> Settler {
        Settler(self.clone())
    }

    fn push(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    fn progress(&self) {
        self.1.set(self.1.get() + 1);
    }

    fn entries(&self) -> Vec<&'static str> {
        self.0.borrow().clone()
    }
}

struct Settler(Log);

impl Settle for Settler {
    fn settle(self, end: End<'_>) {
        self.0.push(match end {
            End::Complete { trailers: None } => "complete",
            End::Complete { trailers: Some(_) } => "trailers",
            End::Failed => "failed",
            End::HeadOnly => "head only",
        });
    }

    fn progress(&mut self) {
        self.0.progress();
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        self.0.push("dropped");
    }
}

type Scripted = task::Spawn<SettleBody<Script, Settler>>;
type Frames = Poll<Option<Result<Frame<Bytes>, &'static str>>>;

fn scripted(log: &Log, honest: bool, steps: &[Step]) -> Scripted {
    let script = Script { steps: steps.iter().copied().collect(), honest };
    task::spawn(SettleBody::new(script, log.settler()))
}

fn poll(body: &mut Scripted) -> Frames {
    body.enter(|cx, body| body.poll_frame(cx))
}

#[test]
fn the_end_of_the_frames_is_the_end() {
    let log = Log::default();
    let mut body = scripted(&log, false, &[Step::Data]);
    assert!(poll(&mut body).is_ready());
    assert!(log.entries().is_empty());
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert_eq!(log.entries(), ["complete", "dropped"]);
}

#[test]
fn the_last_frame_of_data_is_the_end_if_the_body_says_so() {
    let log = Log::default();
    let mut body = scripted(&log, true, &[Step::Data, Step::Data]);
    assert!(poll(&mut body).is_ready());
    assert!(log.entries().is_empty());
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
    assert_eq!(log.entries(), ["complete", "dropped"]);
}

#[test]
fn trailers_are_the_end_and_are_shown() {
    for honest in [false, true] {
        let log = Log::default();
        let mut body = scripted(&log, honest, &[Step::Data, Step::Trailers]);
        assert!(poll(&mut body).is_ready());
        assert!(log.entries().is_empty());
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        assert_eq!(log.entries(), ["trailers", "dropped"]);
    }
}

#[test]
fn an_error_is_the_end() {
    let log = Log::default();
    let mut body = scripted(&log, true, &[Step::Data, Step::Fail]);
    assert!(poll(&mut body).is_ready());
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err("reset")))));
    assert_eq!(log.entries(), ["failed", "dropped"]);
}

#[test]
fn an_empty_body_is_settled_when_it_is_made() {
    let log = Log::default();
    let body = SettleBody::new(Empty::<Bytes>::new(), log.settler());
    assert_eq!(log.entries(), ["complete", "dropped"]);
    drop(body);
    assert_eq!(log.entries(), ["complete", "dropped"]);
}

#[test]
fn a_body_that_waits_is_woken_by_the_inner_one_and_not_settled() {
    let log = Log::default();
    let mut body = scripted(&log, true, &[Step::Pending, Step::Data]);
    assert_pending!(poll(&mut body));
    assert!(body.is_woken());
    assert!(log.entries().is_empty());
    assert!(poll(&mut body).is_ready());
    assert_eq!(log.entries(), ["complete", "dropped"]);
}

#[test]
fn nothing_is_settled_twice_by_a_poll_after_the_end() {
    let log = Log::default();
    let mut body = scripted(&log, false, &[Step::Fail, Step::Data, Step::Trailers]);
    for _ in 0..5 {
        let _ = poll(&mut body);
    }
    drop(body);
    assert_eq!(log.entries(), ["failed", "dropped"]);
}

#[test]
fn a_panic_is_a_failure_at_once_and_for_good() {
    let log = Log::default();
    let mut body = scripted(&log, false, &[Step::Panic, Step::Data]);
    catch_unwind(AssertUnwindSafe(|| poll(&mut body))).unwrap_err();
    assert_eq!(log.entries(), ["failed", "dropped"]);
    assert!(poll(&mut body).is_ready());
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert_eq!(log.entries(), ["failed", "dropped"]);
}

#[test]
fn taking_the_inner_body_out_is_as_dropping_the_body() {
    let log = Log::default();
    let body = SettleBody::new(Full::new(Bytes::from_static(b"data")), log.settler());
    body.into_inner();
    assert_eq!(log.entries(), ["head only", "dropped"]);
}

#[test]
fn a_reader_who_stops_at_the_announced_length_has_read_it_all() {
    for (announced, entries) in [(8, &["head only", "dropped"][..]), (9, &["dropped"][..])] {
        let log = Log::default();
        let script = Script { steps: [Step::Data, Step::Data].into(), honest: false };
        let mut body = task::spawn(SettleBody::new(script, log.settler()).announced(Some(announced)));
        assert!(poll(&mut body).is_ready());
        assert!(poll(&mut body).is_ready());
        drop(body);
        assert_eq!(log.entries(), entries);
    }
}

#[test]
fn each_frame_that_is_not_the_last_is_progress() {
    let log = Log::default();
    let mut body = scripted(&log, true, &[Step::Data, Step::Pending, Step::Data, Step::Data]);
    for _ in 0..4 {
        let _ = poll(&mut body);
    }
    assert_eq!(log.1.get(), 2);
    assert_eq!(log.entries(), ["complete", "dropped"]);
}

#[test]
fn hints_are_those_of_the_inner_body() {
    let log = Log::default();
    let body = scripted(&log, true, &[Step::Data, Step::Data]);
    assert_eq!(body.size_hint().exact(), Some(8));
    assert!(!body.is_end_stream());
    assert!(scripted(&log, true, &[]).is_end_stream());
}

#[tokio::test]
async fn the_frames_are_those_of_the_inner_body() {
    let script = Script { steps: [Step::Data, Step::Pending, Step::Data, Step::Trailers].into(), honest: true };
    let log = Log::default();
    let collected = SettleBody::new(script, log.settler()).collect().await;
    let collected = collected.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers()));
    assert_eq!(collected.to_bytes(), "datadata");
    assert_eq!(log.entries(), ["trailers", "dropped"]);
}

#[tokio::test]
async fn a_default_body_is_empty_and_settles_nothing() {
    let body = SettleBody::<Empty<Bytes>, Settler>::default();
    assert!(body.is_end_stream());
    assert!(body.collect().await.unwrap().to_bytes().is_empty());
}

/// What the settler of a body that is polled `polls` times must live through.
fn expected(steps: &[Step], honest: bool, polls: usize) -> Vec<&'static str> {
    if honest && steps.is_empty() {
        return vec!["complete", "dropped"];
    }
    for i in 0..polls {
        let last = i + 1 == steps.len();
        match steps.get(i) {
            None => return vec!["complete", "dropped"],
            Some(Step::Trailers) => return vec!["trailers", "dropped"],
            Some(Step::Fail) => return vec!["failed", "dropped"],
            Some(Step::Data) if honest && last => return vec!["complete", "dropped"],
            Some(Step::Data | Step::Pending | Step::Panic) => {}
        }
    }
    let data = |steps: &[Step]| steps.iter().filter(|&&step| step == Step::Data).count();
    let all_read = honest && data(&steps[..polls.min(steps.len())]) == data(steps);
    if polls == 0 || all_read { vec!["head only", "dropped"] } else { vec!["dropped"] }
}

proptest! {
    #[test]
    fn a_body_dropped_anywhere_settles_as_far_as_it_came(
        steps in prop::collection::vec(
            prop_oneof![
                4 => Just(Step::Data),
                2 => Just(Step::Pending),
                1 => Just(Step::Trailers),
                1 => Just(Step::Fail),
            ],
            0..6,
        ),
        honest: bool,
        polls in 0_usize..10,
    ) {
        let log = Log::default();
        let mut body = scripted(&log, honest, &steps);
        for _ in 0..polls {
            let _ = poll(&mut body);
        }
        drop(body);
        prop_assert_eq!(log.entries(), expected(&steps, honest, polls));
    }
}
