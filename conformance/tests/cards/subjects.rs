//! tower's layers, each with what its documentation says about it.

use mainstay_conformance::{Probe, ProbeError, Profile, Reply, Report, Request, Subject, check, subject_types};
use std::{error, fmt, future, hash, sync::Arc, time::Duration};
use tower::{
    BoxError, ServiceBuilder,
    balance::p2c::Balance,
    buffer::BufferLayer,
    discover::ServiceList,
    filter::{AsyncFilterLayer, FilterLayer},
    hedge::Hedge,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    load::Constant,
    load_shed::{LoadShedLayer, error::Overloaded},
    retry::{
        RetryLayer,
        budget::{Budget, TpsBudget},
    },
    spawn_ready::SpawnReadyLayer,
    timeout::TimeoutLayer,
    util::{MapErrLayer, MapRequestLayer, rng::HasherRng},
};
use tower_layer::layer_fn;

pub(crate) fn concurrency_limit() -> Report {
    let subject = Subject::new("ConcurrencyLimit", || ConcurrencyLimitLayer::new(2));
    check(subject_types!(subject.profile(Profile::pass_through().owns_permits(2))))
}

pub(crate) fn global_concurrency_limit() -> Report {
    let subject = Subject::new("GlobalConcurrencyLimit", || GlobalConcurrencyLimitLayer::new(2));
    check(subject_types!(subject.profile(Profile::pass_through().owns_permits(2))))
}

pub(crate) fn buffer() -> Report {
    let subject = Subject::new("Buffer", || BufferLayer::new(4)).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().buffers())))
}

pub(crate) fn load_shed() -> Report {
    let subject = Subject::new("LoadShed", LoadShedLayer::new).refusal(<dyn error::Error>::is::<Overloaded>);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn load_shed_over_concurrency_limit() -> Report {
    let make = || ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(2)).into_inner();
    let subject = Subject::new("LoadShed over ConcurrencyLimit", make).refusal(<dyn error::Error>::is::<Overloaded>);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse().owns_permits(2))))
}

pub(crate) fn rate_limit() -> Report {
    let make = || RateLimitLayer::new(2, Duration::from_secs(1));
    let subject = Subject::without_clone("RateLimit", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().backpressure())))
}

pub(crate) fn timeout() -> Report {
    let subject = Subject::new("Timeout", || TimeoutLayer::new(Duration::from_secs(1))).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().may_fail())))
}

/// Three attempts, one after the other without a pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempts(usize);

impl<Req: Clone, Res, E> tower::retry::Policy<Req, Res, E> for Attempts {
    type Future = future::Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Self::Future> {
        self.0 = self.0.checked_sub(usize::from(result.is_err()))?;
        result.is_err().then(|| future::ready(()))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

pub(crate) fn retry_attempts() -> Report {
    let subject = Subject::new("Retry with a fixed number of attempts", || RetryLayer::new(Attempts(2)));
    check(subject_types!(subject.profile(Profile::pass_through().max_inner_calls(3))))
}

/// As many attempts as a budget pays for, and at most three.
#[derive(Clone, Debug)]
pub(crate) struct Budgeted {
    budget: Arc<TpsBudget>,
    left: usize,
}

impl Budgeted {
    fn new() -> Self {
        Self { budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 1, 0.2)), left: 2 }
    }
}

impl<Req: Clone, Res, E> tower::retry::Policy<Req, Res, E> for Budgeted {
    type Future = future::Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Self::Future> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| future::ready(()))
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

pub(crate) fn retry_budget() -> Report {
    let subject = Subject::new("Retry with TpsBudget", || RetryLayer::new(Budgeted::new())).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().max_inner_calls(3))))
}

/// Every request may be hedged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Always;

impl<Req: Clone> tower::hedge::Policy<Req> for Always {
    fn clone_request(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn can_retry(&self, _: &Req) -> bool {
        true
    }
}

pub(crate) fn hedge() -> Report {
    let make = || {
        layer_fn(|probe: Probe| {
            Hedge::new_with_mock_latencies::<Request>(probe, Always, 1, 0.9, Duration::from_secs(60), &[500; 10])
        })
    };
    let subject = Subject::without_clone("Hedge", make).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().max_inner_calls(2))))
}

pub(crate) fn spawn_ready() -> Report {
    let subject = Subject::without_clone("SpawnReady", SpawnReadyLayer::new).on_tokio();
    check(subject_types!(subject.profile(Profile::pass_through().backpressure())))
}

/// Hashes alike in every process.
type Seeded = hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher>;

pub(crate) fn balance() -> Report {
    let make = || {
        layer_fn(|probe: Probe| {
            let endpoints: Vec<_> = (0..2).map(|_| Constant::new(probe.clone(), 1)).collect();
            let list = ServiceList::new::<Request>(endpoints);
            Balance::<_, Request>::from_rng(list, HasherRng::with_hasher(Seeded::default()))
        })
    };
    let subject = Subject::without_clone("Balance", make);
    check(subject_types!(subject.profile(Profile::pass_through().replaces_failed())))
}

/// What the filters below say to every fourth request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwanted;

impl fmt::Display for Unwanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the predicate says no")
    }
}

impl error::Error for Unwanted {}

// Not the first ones: where a single call has to work, for example after a panic, a refusal is no answer.
fn three_of_four(request: Request) -> Result<Request, BoxError> {
    if request.id() % 4 == 3 { Err(Unwanted.into()) } else { Ok(request) }
}

pub(crate) fn filter() -> Report {
    let subject =
        Subject::new("Filter", || FilterLayer::new(three_of_four)).refusal(<dyn error::Error>::is::<Unwanted>);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn async_filter() -> Report {
    let make = || AsyncFilterLayer::new(|request: Request| future::ready(three_of_four(request)));
    let subject = Subject::new("AsyncFilter", make).refusal(<dyn error::Error>::is::<Unwanted>);
    check(subject_types!(subject.profile(Profile::pass_through().may_refuse())))
}

pub(crate) fn map_request() -> Report {
    let subject = Subject::new("MapRequest", || MapRequestLayer::new(|request: Request| request));
    check(subject_types!(subject))
}

/// An error that says more, and keeps the inner one as its source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explained(ProbeError);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl error::Error for Explained {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.0)
    }
}

pub(crate) fn map_err() -> Report {
    let subject = Subject::new("MapErr", || MapErrLayer::new(Explained));
    check(subject_types!(subject))
}

pub(crate) fn box_clone_service() -> Report {
    let make = || layer_fn(|probe: Probe| tower::util::BoxCloneService::<Request, Reply, ProbeError>::new(probe));
    check(subject_types!(Subject::new("BoxCloneService", make)))
}
