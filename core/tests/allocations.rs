//! What is promised to allocate nothing.

use allocation_counter::measure;
use mainstay_core::{Error, Reason, Refusable, Refused, Verdict};
use std::hint::black_box;

#[test]
fn a_refusal_allocates_nothing() {
    let info = measure(|| {
        let error: Error<()> = Refused::new(black_box(Reason::CircuitOpen), "test").into();
        assert!(matches!(black_box(error).verdict(), Verdict::Refused(_)));
    });
    assert_eq!(info.count_total, 0);
}

#[cfg(feature = "http")]
mod http {
    use super::*;
    use ::http::{Request, Response};
    use http_body::Body;
    use http_body_util::Full;
    use mainstay_core::{
        Attempt, Meta,
        http::{End, RefusalResponse, SettleBody},
    };
    use std::{
        convert::Infallible,
        future::ready,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };
    use tower::{Service, service_fn};

    #[test]
    fn a_settling_body_allocates_nothing() {
        let mut settled = false;
        let info = measure(|| {
            let data = Full::new(&b"data"[..]);
            let mut body = pin!(SettleBody::new(data, |_: End<'_>| settled = true));
            let mut cx = Context::from_waker(Waker::noop());
            while !matches!(body.as_mut().poll_frame(&mut cx), Poll::Ready(None)) {}
        });
        assert_eq!(info.count_total, 0);
        assert!(settled);
    }

    #[test]
    fn metadata_that_is_there_is_changed_in_place() {
        let mut request = Request::new(());
        request.set_meta(Attempt::FIRST);
        let info = measure(|| request.set_meta(black_box(Attempt::FIRST.next())));
        assert_eq!(info.count_total, 0);
        assert_eq!(request.meta(), Some(Attempt::FIRST.next()));
    }

    #[test]
    fn a_response_passes_without_an_allocation() {
        let leaf = |_: Request<()>| ready(Ok::<Response<()>, Error<Infallible>>(Response::new(())));
        let mut service = RefusalResponse::new(service_fn(leaf));
        let mut cx = Context::from_waker(Waker::noop());
        let info = measure(|| {
            let mut call = service.call(Request::new(()));
            assert!(Pin::new(&mut call).poll(&mut cx).is_ready());
        });
        assert_eq!(info.count_total, 0);
    }
}
