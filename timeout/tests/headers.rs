//! Deadlines in headers, without a wire.
#![cfg(feature = "http")]

mod support;

use http::{HeaderMap, Request};
use mainstay_core::{Deadline, Error, Meta, Reason};
use mainstay_timeout::{Config, DeadlineFromHeaderLayer, DeadlineToHeaderLayer, HeaderForm, TimeoutLayer, time_left};
use proptest::prelude::*;
use std::{
    cell::Cell,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Waker},
    time::Duration,
};
use support::{NANO, ms, now};
use tokio::time::advance;
use tokio_test::{assert_ready, task};
use tower::{Layer, Service, ServiceExt, service_fn};

fn with(headers: &[(&'static str, &'static str)], deadline: Option<Deadline>) -> Request<()> {
    let mut request = Request::new(());
    for &(name, value) in headers {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    if let Some(deadline) = deadline {
        request.set_meta(deadline);
    }
    request
}

fn after(wait: Duration) -> Deadline {
    Deadline::after(now(), wait)
}

/// The deadline that the leaf of a server sees.
async fn read(request: Request<()>) -> Option<Deadline> {
    let leaf = service_fn(async |request: Request<()>| Ok::<Option<Deadline>, Infallible>(request.meta()));
    let Ok(deadline) = DeadlineFromHeaderLayer.layer(leaf).oneshot(request).await;
    deadline
}

/// The headers that go out.
async fn written(form: HeaderForm, request: Request<()>) -> Result<HeaderMap, Error<Infallible>> {
    let leaf = service_fn(async |request: Request<()>| Ok(request.headers().clone()));
    DeadlineToHeaderLayer::new().name("test").form(form).layer(leaf).oneshot(request).await
}

#[tokio::test(start_paused = true)]
async fn the_smallest_of_headers_and_extension_is_the_deadline() {
    const GRPC: (&str, &str) = ("grpc-timeout", "3S");
    const MILLIS: (&str, &str) = ("x-request-timeout-ms", "2000");
    const JUNK: (&str, &str) = ("grpc-timeout", "soon");
    for (headers, known, expected) in [
        (&[][..], None, None),
        (&[JUNK], None, None),
        (&[JUNK], Some(1), Some(1)),
        (&[GRPC], None, Some(3)),
        (&[MILLIS], None, Some(2)),
        (&[GRPC, MILLIS], None, Some(2)),
        (&[JUNK, GRPC], Some(4), Some(3)),
        (&[GRPC, MILLIS], Some(1), Some(1)),
        (&[("grpc-timeout", "1S"), MILLIS], Some(9), Some(1)),
        (&[("x-request-timeout-ms", "0")], Some(9), Some(0)),
    ] {
        let deadline = |secs| after(Duration::from_secs(secs));
        assert_eq!(read(with(headers, known.map(deadline))).await, expected.map(deadline), "{headers:?} {known:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hostile_number_is_far_away_and_lengthens_nothing() {
    let far = with(&[("x-request-timeout-ms", "99999999999999999999999999999999")], None);
    let far = read(far).await.unwrap();
    assert!(far > after(Duration::from_hours(24 * 365)));
    let mut bounded = with(&[("x-request-timeout-ms", "99999999999999999999999999999999")], Some(after(ms(5))));
    assert_eq!(read(bounded.clone()).await, Some(after(ms(5))));
    bounded.set_meta(far);
    let headers = written(HeaderForm::Both, bounded).await.unwrap();
    assert!(time_left(&headers).unwrap() <= far.remaining(now()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_left_is_written_in_the_chosen_form() {
    let request = with(&[], Some(after(ms(1_500))));
    advance(ms(250)).await;
    for (form, millis, grpc) in [
        (HeaderForm::Millis, Some("1250"), None),
        (HeaderForm::Grpc, None, Some("1250000u")),
        (HeaderForm::Both, Some("1250"), Some("1250000u")),
    ] {
        let headers = written(form, request.clone()).await.unwrap();
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text("x-request-timeout-ms").as_deref(), millis, "{form:?}");
        assert_eq!(text("grpc-timeout").as_deref(), grpc, "{form:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_the_request_goes_out_as_it_is() {
    let headers = written(HeaderForm::Both, with(&[("grpc-timeout", "0n")], None)).await.unwrap();
    assert_eq!((headers.len(), &headers["grpc-timeout"]), (1, &"0n".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_time_that_the_request_tells_already_is_kept() {
    let smaller = with(&[("grpc-timeout", "1S")], Some(after(ms(1_500))));
    let headers = written(HeaderForm::Millis, smaller).await.unwrap();
    assert_eq!(headers["x-request-timeout-ms"], "1000");
    let larger = with(&[("x-request-timeout-ms", "9000")], Some(after(ms(1_500))));
    let headers = written(HeaderForm::Millis, larger).await.unwrap();
    assert_eq!(headers["x-request-timeout-ms"], "1500");
    let two = with(&[("x-request-timeout-ms", "junk"), ("x-request-timeout-ms", "9000")], Some(after(ms(1_500))));
    let headers = written(HeaderForm::Millis, two).await.unwrap();
    assert_eq!(headers.get_all("x-request-timeout-ms").iter().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_there_is_written_whatever_the_form() {
    // What a gateway passes on, in the form that it was not told of; a server may read that one alone.
    for (form, there) in [
        (HeaderForm::Millis, ("grpc-timeout", "20S")),
        (HeaderForm::Millis, ("grpc-timeout", "junk")),
        (HeaderForm::Grpc, ("x-request-timeout-ms", "20000")),
    ] {
        let headers = written(form, with(&[there, there], Some(after(ms(500))))).await.unwrap();
        let told: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.contains(&("x-request-timeout-ms", "500")), "{told:?}");
        assert!(told.contains(&("grpc-timeout", "500000u")) || told.contains(&("grpc-timeout", "500m")), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_answered_once() {
    let leaf = service_fn(async |_: Request<()>| Ok::<_, Error<Infallible>>(()));
    let mut call = task::spawn(DeadlineToHeaderLayer::new().layer(leaf).call(with(&[], Some(after(ms(0))))));
    assert!(matches!(assert_ready!(call.poll()), Err(Error::Refused(_))));
    let again = catch_unwind(AssertUnwindSafe(|| call.poll())).unwrap_err();
    assert_eq!(again.downcast_ref(), Some(&"the future was polled after its answer"));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_deadline_has_passed_is_not_sent() {
    let calls = Cell::new(0);
    let leaf = service_fn(|_: Request<()>| {
        calls.set(calls.get() + 1);
        async { Ok::<_, Error<Infallible>>(()) }
    });
    let mut client = DeadlineToHeaderLayer::new().name("test").layer(leaf);
    for late in [with(&[], Some(after(ms(0)))), with(&[("x-request-timeout-ms", "0")], Some(after(ms(9))))] {
        let Err(Error::Refused(refused)) = client.ready().await.unwrap().call(late).await else {
            panic!("it was sent")
        };
        assert_eq!((refused.reason(), refused.by()), (Reason::DeadlinePassed, "test"));
    }
    assert_eq!(calls.get(), 0);
    // The readiness that was not used is there.
    assert!(client.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(client.call(with(&[], Some(after(NANO)))).await, Ok(()));
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_hop_takes_the_smaller() {
    // A client with two seconds, a server that gives one.
    let server = tower::ServiceBuilder::new()
        .layer(DeadlineFromHeaderLayer)
        .layer(TimeoutLayer::http(Config::default().timeout(ms(1_000))).unwrap())
        .layer(DeadlineToHeaderLayer::new())
        .service_fn(async |request: Request<()>| Ok::<_, Error<Infallible>>(time_left(request.headers())));
    let client = with(&[("x-request-timeout-ms", "2000")], None);
    assert_eq!(server.oneshot(client).await, Ok(Some(ms(1_000))));
    let client = with(&[("x-request-timeout-ms", "300")], None);
    assert_eq!(server.oneshot(client).await, Ok(Some(ms(300))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_chain_of_hops_lengthens_a_deadline(
        wait in 1_000_000_u64..10_000_000_000_000,
        hops in prop::collection::vec((0_usize..3, 0_u64..1_000_000), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let first = after(Duration::from_nanos(wait));
            let mut known = first;
            for (form, nanos) in hops {
                advance(Duration::from_nanos(nanos)).await;
                let form = [HeaderForm::Millis, HeaderForm::Grpc, HeaderForm::Both][form];
                let Ok(headers) = written(form, with(&[], Some(known))).await else { return Ok(()) };
                let mut request = Request::new(());
                *request.headers_mut() = headers;
                known = read(request).await.unwrap();
                // Only less than a millisecond, rounded up to one, may be more than it was.
                prop_assert!(known <= first.max(after(ms(1))));
            }
            Ok(())
        })?;
    }
}
