//! A body that is sent again loses no frame and doubles none, however it is polled and dropped.
#![cfg(feature = "http")]

use bytes::{Buf, Bytes, buf::Chain};
use http::{HeaderMap, HeaderValue, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::StreamBody;
use mainstay_core::Attempt;
use mainstay_retry::{HttpRepeat, KeptRequest, Repeat, ReplayBody};
use proptest::prelude::*;
use std::{
    cell::Cell,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};
use tokio_test::task;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Pending,
    Data(usize),
    Trailers,
    Fail,
    Panic,
}

/// A body that does what it is told.
#[derive(Clone, Debug)]
struct Scripted {
    steps: Vec<Step>,
    done: usize,
    /// Whether it knows its length and its end.
    is_exact: bool,
}

impl Body for Scripted {
    type Data = Chain<Bytes, Bytes>;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, &'static str>>> {
        let Some(&step) = self.steps.get(self.done) else {
            return Poll::Ready(None);
        };
        self.done += 1;
        Poll::Ready(Some(match step {
            Step::Pending => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Step::Data(len) => {
                let mut front = data(self.done - 1, len);
                let back = front.split_off(len / 2);
                Ok(Frame::data(front.chain(back)))
            }
            Step::Trailers => Ok(Frame::trailers(trailers())),
            Step::Fail => Err("the body failed"),
            Step::Panic => panic!("the body panicked"),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_exact && self.done == self.steps.len()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_exact { SizeHint::with_exact(data_len(&self.steps[self.done..])) } else { SizeHint::new() }
    }
}

/// Each piece of data is filled with its place in the script.
fn data(place: usize, len: usize) -> Bytes {
    vec![u8::try_from(place).expect("scripts are short"); len].into()
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::SERVER, HeaderValue::from_static("kitchen"))])
}

fn data_len(steps: &[Step]) -> u64 {
    steps.iter().map(|step| if let Step::Data(len) = step { *len as u64 } else { 0 }).sum()
}

type Shown = Result<Result<Bytes, HeaderMap>, &'static str>;

fn show(frame: Result<Frame<Bytes>, &'static str>) -> Shown {
    frame.map(|frame| match frame.into_data() {
        Ok(data) => Ok(data),
        Err(frame) => Err(frame.into_trailers().expect("there are two kinds of frames")),
    })
}

/// What the body is to send, with the bytes that each counts for.
fn expected(steps: &[Step]) -> Vec<(Shown, usize)> {
    let shown = steps.iter().enumerate().filter_map(|(place, step)| match step {
        Step::Pending | Step::Panic => None,
        Step::Data(len) => Some((Ok(Ok(data(place, *len))), *len)),
        Step::Trailers => Some((Ok(Err(trailers())), "server".len() + "kitchen".len())),
        Step::Fail => Some((Err("the body failed"), 0)),
    });
    shown.collect()
}

fn first(body: Scripted, cap: usize) -> (ReplayBody<Scripted>, KeptRequest<Scripted>) {
    let (first, kept) = HttpRepeat::new().cap(cap).first(Request::new(body));
    (first.into_body(), kept.expect("a request is kept"))
}

fn again(kept: &mut KeptRequest<Scripted>) -> Option<ReplayBody<Scripted>> {
    HttpRepeat::new().again(kept, Attempt::FIRST.next()).map(Request::into_body)
}

fn script(steps: &[Step]) -> Scripted {
    Scripted { steps: steps.to_vec(), done: 0, is_exact: false }
}

fn poll(body: &mut ReplayBody<Scripted>) -> Poll<Option<Shown>> {
    let mut task = task::spawn(());
    let polled = task.enter(|cx, _| Pin::new(body).poll_frame(cx)).map(|frame| frame.map(show));
    assert_eq!(polled.is_pending(), task.is_woken(), "the waker of the poller is the one that is woken");
    polled
}

fn rest(body: &mut ReplayBody<Scripted>) -> Vec<Shown> {
    let mut frames = Vec::new();
    loop {
        match poll(body) {
            Poll::Pending => {}
            Poll::Ready(Some(frame)) => frames.push(frame),
            Poll::Ready(None) => return frames,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Poll,
    Drop,
    Again,
    DropKept,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Pending),
        8 => (0_usize..6).prop_map(Step::Data),
        1 => Just(Step::Fail),
    ];
    (prop::collection::vec(step, 0..8), any::<bool>()).prop_map(|(mut steps, with_trailers)| {
        steps.extend(with_trailers.then_some(Step::Trailers));
        steps
    })
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        20 => Just(Act::Poll),
        2 => Just(Act::Drop),
        3 => Just(Act::Again),
        1 => Just(Act::DropKept),
    ];
    prop::collection::vec(act, 0..60)
}

/// What a body that can be sent again is, slowly: a list of frames, and how far one has come.
#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
struct Model {
    frames: Vec<(Shown, usize)>,
    is_exact: bool,
    /// How many were read of the original.
    read: usize,
    /// How many the live attempt has sent.
    sent: usize,
    live: bool,
    end_is_known: bool,
    is_lost: bool,
    cap: usize,
}

impl Model {
    fn polled(&mut self, frame: Option<&Shown>) {
        let Some(frame) = frame else {
            assert_eq!(self.sent, self.frames.len(), "the end came too early");
            self.end_is_known = true;
            return;
        };
        assert_eq!(frame, &self.frames[self.sent].0);
        self.sent += 1;
        self.read = self.read.max(self.sent);
        let bytes = self.kept().map(|len| len + 64).sum::<usize>().saturating_sub(64);
        self.is_lost |= frame.is_err() || bytes > self.cap;
        self.end_is_known |= self.is_exact && self.sent == self.frames.len();
    }

    /// What is kept, by length: frames that are empty are not.
    fn kept(&self) -> impl Iterator<Item = usize> {
        self.frames[..self.read].iter().map(|(_, len)| *len).filter(|len| *len > 0)
    }

    fn sent_again(&mut self) {
        let rest = self.frames.split_off(self.read);
        self.frames.retain(|(_, len)| *len > 0);
        self.read = self.frames.len();
        self.frames.extend(rest);
        (self.sent, self.live) = (0, true);
    }

    fn can_be_sent_again(&self) -> bool {
        !self.is_lost && (!self.live || self.end_is_known)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_body_is_the_body(
        mut steps in steps(), acts in acts(), is_exact: bool, cap in prop_oneof![Just(usize::MAX), 0_usize..300],
    ) {
        if is_exact {
            // Only what it can know: that nothing but waiting is left, it cannot.
            while steps.last() == Some(&Step::Pending) {
                steps.pop();
            }
        }
        let frames = expected(&steps);
        let end_is_known = is_exact && steps.is_empty();
        let mut model =
            Model { frames, is_exact, read: 0, sent: 0, live: true, end_is_known, is_lost: false, cap };
        let (body, kept) = first(Scripted { steps: steps.clone(), done: 0, is_exact }, cap);
        let (mut body, mut kept) = (Some(body), Some(kept));
        for act in acts {
            match (act, &mut body, &mut kept) {
                (Act::Poll, Some(body), _) => {
                    if let Poll::Ready(frame) = poll(body) {
                        model.polled(frame.as_ref());
                    }
                }
                (Act::Drop, body, _) => {
                    *body = None;
                    model.live = false;
                }
                (Act::Again, body, Some(kept)) => {
                    prop_assert_eq!(HttpRepeat::new().can_repeat(kept), !model.is_lost);
                    let next = again(kept);
                    prop_assert_eq!(next.is_some(), model.can_be_sent_again());
                    if let Some(next) = next {
                        let old = body.replace(next);
                        prop_assert!(old.is_none_or(|mut old| model.sent < model.frames.len() || rest(&mut old).is_empty()));
                        model.sent_again();
                    }
                }
                (Act::DropKept, _, kept) => *kept = None,
                _ => {}
            }
            if let Some(body) = &body {
                let left = &model.frames[model.sent..];
                prop_assert!(!body.is_end_stream() || left.is_empty());
                let bytes: usize = left.iter().filter(|(frame, _)| matches!(frame, Ok(Ok(_)))).map(|(_, len)| len).sum();
                let hint = body.size_hint();
                prop_assert!(hint.lower() <= bytes as u64 && hint.upper().is_none_or(|upper| upper >= bytes as u64));
                if is_exact {
                    prop_assert_eq!(hint.exact(), Some(bytes as u64));
                    prop_assert_eq!(body.is_end_stream(), left.is_empty());
                }
            }
        }
        if let Some(mut body) = body {
            let frames: Vec<_> = model.frames[model.sent..].iter().map(|(frame, _)| frame.clone()).collect();
            prop_assert_eq!(rest(&mut body), frames);
        }
    }
}

#[test]
fn an_empty_body_is_sent_again_even_while_it_is_alive() {
    let (body, mut kept) = first(Scripted { is_exact: true, ..script(&[]) }, 0);
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert_eq!(rest(&mut again(&mut kept).unwrap()), []);
    drop(body);
}

#[test]
fn what_was_not_read_yet_can_be_of_any_size() {
    let (body, mut kept) = first(script(&[Step::Data(100)]), 1);
    drop(body);
    let mut second = again(&mut kept).expect("nothing was read");
    assert_eq!(rest(&mut second), [Ok(Ok(data(0, 100)))]);
    drop(second);
    assert!(again(&mut kept).is_none(), "more than the cap was read");
}

#[test]
fn exactly_the_cap_is_kept() {
    let frames = [Step::Data(6), Step::Data(4)];
    for (frames, cap, is_kept) in
        [(&frames[..1], 6, true), (&frames[..1], 5, false), (&frames, 74, true), (&frames, 73, false)]
    {
        let (mut body, mut kept) = first(script(frames), cap);
        assert_eq!(rest(&mut body).len(), frames.len());
        assert_eq!(again(&mut kept).is_some(), is_kept, "each frame but the first counts as 64 bytes more than it has");
    }
}

#[test]
fn an_answer_in_the_middle_of_the_body_is_no_reason_to_send_again_nor_to_stop() {
    let (mut body, mut kept) = first(script(&[Step::Data(1), Step::Pending, Step::Data(1), Step::Trailers]), 100);
    assert!(poll(&mut body).is_ready());
    assert!(again(&mut kept).is_none(), "the transport has it");
    assert!(poll(&mut body).is_pending());
    assert!(again(&mut kept).is_none(), "the transport has it");
    drop(kept);
    assert_eq!(rest(&mut body), [Ok(Ok(data(2, 1))), Ok(Err(trailers()))]);
}

#[test]
fn a_body_at_its_end_is_sent_again_though_nobody_let_it_go() {
    let (mut body, mut kept) = first(script(&[Step::Data(3)]), 100);
    assert_eq!(rest(&mut body).len(), 1);
    let mut second = again(&mut kept).expect("all of it is known");
    let mut third = again(&mut kept).expect("all of it is known");
    assert_eq!(rest(&mut second), [Ok(Ok(data(0, 3)))]);
    assert_eq!(rest(&mut third), [Ok(Ok(data(0, 3)))]);
    assert_eq!(rest(&mut body), []);
}

#[test]
fn the_rest_is_read_by_whoever_comes_next() {
    let (mut body, mut kept) = first(script(&[Step::Data(1), Step::Pending, Step::Data(2)]), 100);
    assert!(poll(&mut body).is_ready());
    assert!(poll(&mut body).is_pending());
    drop(body);
    let mut second = again(&mut kept).unwrap();
    assert_eq!(rest(&mut second), [Ok(Ok(data(0, 1))), Ok(Ok(data(2, 2)))]);
}

#[test]
fn a_body_that_failed_or_panicked_is_not_sent_again() {
    let (mut body, mut kept) = first(script(&[Step::Data(1), Step::Fail, Step::Data(1)]), 100);
    assert_eq!(rest(&mut body).len(), 3);
    drop(body);
    assert!(again(&mut kept).is_none());

    let (mut body, mut kept) = first(script(&[Step::Panic, Step::Data(1)]), 100);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut body))).is_err());
    drop(body);
    assert!(again(&mut kept).is_none());
}

#[test]
fn nothing_is_kept_for_nobody() {
    let frames: [Bytes; 2] = [vec![1; 1000].into(), vec![2; 1000].into()];
    let stream = futures_util::stream::iter(frames.clone().map(|frame| Ok::<_, Infallible>(Frame::data(frame))));
    let (first, kept) = HttpRepeat::new().first(Request::new(StreamBody::new(stream)));
    drop(kept);
    let mut body = first.into_body();
    let sent = task::spawn(()).enter(|cx, _| Pin::new(&mut body).poll_frame(cx));
    assert!(matches!(sent, Poll::Ready(Some(Ok(_)))));
    drop(sent);
    assert!(frames[0].is_unique(), "no copy is left in the body");
}

/// A body of one frame that panics in the middle of it.
enum Panics {
    WhenAskedForItsEnd,
    WhenItsDataIsRead,
}

impl Body for Panics {
    type Data = PanicsWhenRead;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<PanicsWhenRead>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(PanicsWhenRead(data(0, 3), matches!(*self, Self::WhenItsDataIsRead))))))
    }

    fn is_end_stream(&self) -> bool {
        // Not yet when the request is made.
        assert!(matches!(self, Self::WhenItsDataIsRead) || !IS_SENT.get(), "panic in is_end_stream");
        false
    }
}

struct PanicsWhenRead(Bytes, bool);

impl Buf for PanicsWhenRead {
    fn remaining(&self) -> usize {
        self.0.remaining()
    }

    fn chunk(&self) -> &[u8] {
        assert!(!self.1, "panic in chunk");
        self.0.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}

thread_local! {
    static IS_SENT: Cell<bool> = const { Cell::new(false) };
}

#[test]
fn a_body_that_panics_in_the_middle_of_a_frame_is_not_sent_again_without_it() {
    for body in [Panics::WhenAskedForItsEnd, Panics::WhenItsDataIsRead] {
        let (first, kept) = HttpRepeat::new().first(Request::new(body));
        let (mut first, mut kept) = (first.into_body(), kept.unwrap());
        IS_SENT.set(true);
        let mut task = task::spawn(());
        let polled =
            catch_unwind(AssertUnwindSafe(|| task.enter(|cx, _| Pin::new(&mut first).poll_frame(cx).is_ready())));
        assert!(polled.is_err());
        IS_SENT.set(false);
        drop(first);
        assert!(!HttpRepeat::new().can_repeat(&kept));
        assert!(HttpRepeat::new().again(&mut kept, Attempt::FIRST.next()).is_none());
    }
}

#[test]
fn what_is_kept_holds_no_buffer_that_is_much_larger() {
    for (len, is_shared) in [(1, false), (1023, false), (1024, true)] {
        let buffer = Bytes::from(vec![7; 1 << 16]);
        let stream = futures_util::stream::iter([Ok::<_, Infallible>(Frame::data(buffer.slice(..len)))]);
        let (first, kept) = HttpRepeat::new().first(Request::new(StreamBody::new(stream)));
        let mut body = first.into_body();
        let sent = task::spawn(()).enter(|cx, _| Pin::new(&mut body).poll_frame(cx));
        assert!(matches!(sent, Poll::Ready(Some(Ok(_)))));
        drop((sent, body));
        assert_eq!(!buffer.is_unique(), is_shared, "{len}");
        drop(kept);
        assert!(buffer.is_unique());
    }
}
