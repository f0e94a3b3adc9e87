//! A body that can be sent again.
//!
//! One owner at a time has the original body and what was read of it, as a [`Recording`]: the attempt that is being sent,
//! without a lock for each frame; and the [`Slot`] while none is. An attempt puts the recording there when it is dropped, or
//! as soon as the body has come to its end. An attempt whose recording is not the whole body lets go of the slot. So an empty
//! slot means that an attempt may still read on, or, if nobody else holds it, that the body is gone for good.

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

/// The body of one attempt: what earlier attempts have read, then the rest of the original body.
///
/// What is read is kept for another attempt, as long as one may come. Data of any type becomes [`Bytes`], without a copy if
/// it is that already and is not short: what is shorter than 1 KiB is kept as a copy, so that it does not hold a large buffer.
///
/// # Cancel safety
///
/// Dropping it gives the rest of the original body back for another attempt.
pub struct ReplayBody<B> {
    /// `None` at the end.
    recording: Option<Recording<B>>,
    /// Where the recording belongs; `None` if it is wanted by nobody.
    slot: Option<Arc<Slot<B>>>,
}

/// Makes the bodies of later attempts.
pub(super) struct Replays<B> {
    /// `None` if there is nothing in the body.
    slot: Option<Arc<Slot<B>>>,
}

/// Nothing foreign runs under the lock: recordings are only moved in and out, or cloned, which clones `Bytes`.
type Slot<B> = Mutex<Option<Recording<B>>>;

struct Recording<B> {
    /// `None` once it has ended.
    inner: Option<B>,
    pieces: Vec<Piece>,
    /// The first piece that the present attempt has not sent.
    next: usize,
    /// Bytes of data in the pieces that the present attempt has not sent.
    unsent: u64,
    /// Bytes that may still be recorded.
    room: usize,
    /// Whether `pieces` and `inner` are the whole body.
    is_whole: bool,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    /// Boxed, since a piece is nearly always data.
    Trailers(Box<HeaderMap>),
}

/// What a piece takes besides its data: 32 bytes, in a vector that may be half empty.
const OVERHEAD: usize = 64;

/// Shorter pieces are copied: they may be slices of something much larger.
const SHORT: usize = 1024;

impl<B: Body> ReplayBody<B> {
    /// The body of the first attempt, and what makes the others.
    pub(super) fn new(inner: B, cap: usize) -> (Self, Replays<B>) {
        if inner.is_end_stream() {
            return (Self::empty(), Replays { slot: None });
        }
        let slot = Arc::new(Mutex::new(None));
        let recording =
            Recording { inner: Some(inner), pieces: Vec::new(), next: 0, unsent: 0, room: cap, is_whole: true };
        (Self { recording: Some(recording), slot: Some(Arc::clone(&slot)) }, Replays { slot: Some(slot) })
    }
}

impl<B> ReplayBody<B> {
    const fn empty() -> Self {
        Self { recording: None, slot: None }
    }

    /// Whether another attempt may come.
    fn is_kept(&self) -> bool {
        // Whoever could make another attempt holds the other reference. A count that is read late only records in vain.
        self.slot.as_ref().is_some_and(|slot| Arc::strong_count(slot) > 1)
    }

    /// Lets go of the slot once there is nothing to give back.
    fn let_go(&mut self) {
        if self.recording.as_ref().is_some_and(|recording| !recording.is_whole) {
            self.slot = None;
        }
    }

    /// Gives back what another attempt needs, and lets go of the slot.
    fn hand_over(&mut self) {
        let ours = self.recording.take().zip(self.slot.take());
        if let Some((recording, slot)) = ours.filter(|(recording, _)| recording.is_whole) {
            // It was empty, so nothing is dropped under the lock.
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(recording);
        }
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        self.hand_over();
    }
}

impl<B> Replays<B> {
    /// Whether there is a body for another attempt, or may still come to be one.
    pub(super) fn can_repeat(&self) -> bool {
        // The count first: whoever puts a recording into the slot lets go of it only then.
        self.slot.as_ref().is_none_or(|slot| {
            Arc::strong_count(slot) > 1 || slot.lock().unwrap_or_else(PoisonError::into_inner).is_some()
        })
    }

    /// The body of another attempt, if nobody may still read the last one, and nothing of it is lost.
    pub(super) fn again(&self) -> Option<ReplayBody<B>> {
        let Some(slot) = &self.slot else {
            return Some(ReplayBody::empty());
        };
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(copy) = kept.as_ref().and_then(Recording::copy) {
            return Some(ReplayBody { recording: Some(copy), slot: None });
        }
        let mut recording = kept.take()?;
        recording.rewind();
        Some(ReplayBody { recording: Some(recording), slot: Some(Arc::clone(slot)) })
    }
}

impl<B> Recording<B> {
    /// A copy for one more attempt, if no more will come of the original body: attempts then need not wait for each other.
    fn copy(&self) -> Option<Self> {
        if self.inner.is_some() {
            return None;
        }
        let mut copy = Self { inner: None, pieces: self.pieces.clone(), ..*self };
        copy.rewind();
        Some(copy)
    }

    fn rewind(&mut self) {
        self.next = 0;
        self.unsent = self.pieces.iter().map(Piece::data_len).sum();
    }

    /// What was read before and not sent by this attempt; taken out if no other attempt will need it.
    fn next_piece(&mut self, is_kept: bool) -> Option<Piece> {
        let piece = self.pieces.get_mut(self.next)?;
        self.next += 1;
        self.unsent -= piece.data_len();
        if is_kept {
            return Some(piece.clone());
        }
        self.is_whole = false;
        Some(mem::replace(piece, Piece::Data(Bytes::new())))
    }

    /// Keeps a new piece, or lets all go.
    fn record(&mut self, piece: &Piece, is_kept: bool) {
        if piece.is_empty() {
            return;
        }
        let overhead = if self.pieces.is_empty() { 0 } else { OVERHEAD };
        match self.room.checked_sub(piece.len().saturating_add(overhead)) {
            Some(room) if self.is_whole && is_kept => {
                self.room = room;
                self.pieces.push(piece.to_keep());
                self.next = self.pieces.len();
            }
            _ => self.forget(),
        }
    }

    fn forget(&mut self) {
        self.is_whole = false;
        self.pieces = Vec::new();
        self.next = 0;
    }
}

impl<B: Body + Unpin> Recording<B> {
    fn poll_frame(&mut self, is_kept: bool, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(piece) = self.next_piece(is_kept) {
            return Poll::Ready(Some(Ok(piece.into())));
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        // Foreign code: a body or a frame that panics has failed.
        let was_whole = mem::replace(&mut self.is_whole, false);
        let polled = Pin::new(&mut *inner).poll_frame(cx).map_ok(Piece::of);
        if matches!(polled, Poll::Ready(None)) || polled.is_ready() && inner.is_end_stream() {
            self.inner = None;
        }
        self.is_whole = was_whole;
        Poll::Ready(match ready!(polled) {
            Some(Ok(Ok(piece))) => {
                self.record(&piece, is_kept);
                Some(Ok(piece.into()))
            }
            Some(Ok(Err(unknown))) => {
                self.forget();
                Some(Ok(unknown))
            }
            Some(Err(error)) => {
                self.forget();
                Some(Err(error))
            }
            None => None,
        })
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(self.unsent));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(self.unsent)) {
            hint.set_upper(upper);
        }
        hint
    }

    fn is_at_end(&self) -> bool {
        self.next == self.pieces.len() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl<B: Body + Unpin> Body for ReplayBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let is_kept = self.is_kept();
        let Some(recording) = &mut self.recording else {
            return Poll::Ready(None);
        };
        // Pending: the inner body will wake us.
        let frame = ready!(recording.poll_frame(is_kept, cx));
        if recording.inner.is_none() && recording.is_at_end() {
            // Not only when it is dropped: a client may answer before it lets the body go.
            self.hand_over();
        } else {
            self.let_go();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.recording.as_ref().is_none_or(Recording::is_at_end)
    }

    fn size_hint(&self) -> SizeHint {
        self.recording.as_ref().map_or_else(|| SizeHint::with_exact(0), Recording::size_hint)
    }
}

impl Piece {
    /// The frame as a piece; a frame of a kind that is not known is given back, if it is one without data.
    fn of<D: Buf>(frame: Frame<D>) -> Result<Self, Frame<Bytes>> {
        let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        let frame = match frame.into_data() {
            Ok(data) => return Ok(Self::Data(data)),
            Err(frame) => frame,
        };
        frame.into_trailers().map(|trailers| Self::Trailers(Box::new(trailers)))
    }

    /// The same without the rest of a buffer that it may be a part of.
    fn to_keep(&self) -> Self {
        match self {
            Self::Data(data) if data.len() < SHORT => Self::Data(Bytes::copy_from_slice(data)),
            piece => piece.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Data(data) if data.is_empty())
    }

    fn len(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Trailers(trailers) => trailers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        }
    }

    fn data_len(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

impl From<Piece> for Frame<Bytes> {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Data(data) => Self::data(data),
            Piece::Trailers(trailers) => Self::trailers(*trailers),
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("at_end", &self.recording.is_none()).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Replays<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replays").field("is_empty", &self.slot.is_none()).finish_non_exhaustive()
    }
}
