//! The layer: what answers, when, and who is told.

use crate::{
    answer::{Function, OnError, Value},
    choose::{Failed, OnlyIf},
    observe::{self, Nobody, Observe},
    other::{Cloned, Other},
    service::Fallback,
};
use mainstay_core::{AnyError, Refusable};
use std::fmt;
use tower_layer::Layer;

/// Puts a [`Fallback`] around a service.
///
/// `A` is what answers, `W` says which calls, and `O` is told of them. It has no state, so clones share nothing, except a
/// [`value`](Self::value), which is not changed.
///
/// Of a call that failed it makes another answer. By default those are the calls that ended in an error; refusals from
/// further in are errors, too. With hyper, axum and reqwest a response of status 500 is an `Ok`: say `http` there, or
/// [`classify`](FallbackLayer::classify).
///
/// ```
/// use mainstay_core::{Class, Error, Failure, classify_fn};
/// use mainstay_fallback::FallbackLayer;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let stock = || service_fn(async |item: u32| if item == 0 { Err("no such item") } else { Ok(0) }).map_err(Error::Inner);
///
/// let value = FallbackLayer::value(1).layer(stock());
/// assert_eq!(value.oneshot(0).await, Ok(1));
///
/// let function = FallbackLayer::on_error(|error: Error<&str>| error.to_string().len()).layer(stock());
/// assert_eq!(function.oneshot(0).await, Ok("the service failed".len()));
///
/// // A response can be a failure too; then a function sees it.
/// let empty = classify_fn(|stock: Result<&usize, &Error<&str>>| match stock {
///     Ok(0) => Class::Failure(Failure::Transient),
///     _ => Class::Success,
/// });
/// let function = FallbackLayer::function(|failed: Result<usize, _>| failed.map(|stock| stock + 7)).classify(empty);
/// assert_eq!(function.layer(stock()).oneshot(5).await, Ok(7));
/// # }
/// ```
#[derive(Clone, Copy)]
#[must_use]
pub struct FallbackLayer<A, W = Failed<AnyError>, O = Nobody> {
    answer: A,
    rule: Rule<W, O>,
}

/// Which calls fall back, and who is told.
#[derive(Clone, Copy)]
pub(crate) struct Rule<W, O> {
    pub(crate) name: &'static str,
    pub(crate) choose: W,
    pub(crate) observer: O,
}

impl<V> FallbackLayer<Value<V>> {
    /// Answers with a clone of `value`, made when it is needed.
    ///
    /// Calls share the value by an `Arc`. Where every nanosecond counts, a function is cheaper: `on_error(|_| 7)`.
    pub fn value(value: V) -> Self {
        Self::with(Value::new(value))
    }
}

impl<F> FallbackLayer<Function<F>> {
    /// Answers with what `make` makes of the outcome, which is an error or a response that is a failure.
    ///
    /// An error that it returns is the answer as it is. To call it a refusal would be a lie unless the original was one.
    pub const fn function<Res, E>(make: F) -> Self
    where
        F: Fn(Result<Res, E>) -> Result<Res, E>,
    {
        Self::with(Function::new(make))
    }
}

impl<F> FallbackLayer<OnError<F>> {
    /// Answers errors with the response that `make` makes of them.
    ///
    /// Failed responses stay as they are, whatever the classifier: those calls do not fall back, and nobody is told of them.
    /// To answer them too takes a [`function`](FallbackLayer::function).
    pub const fn on_error<Res, E>(make: F) -> Self
    where
        F: Fn(E) -> Res,
    {
        Self::with(OnError::new(make))
    }
}

impl<T> FallbackLayer<Other<T>> {
    /// Asks `other` for the answer, with a clone of the request.
    ///
    /// Each call clones `other`, in case it is needed, so cloning should be cheap. See [`Fallback`] for what becomes of two
    /// failures.
    pub const fn service(other: T) -> Self {
        Self::with(Other { service: other, keep: Cloned })
    }
}

impl<T, K, W, O> FallbackLayer<Other<T, K>, W, O> {
    /// Asks with what `keep` keeps of a request, before that is handed on; `None` if its call shall not fall back.
    ///
    /// ```
    /// use mainstay_core::Error;
    /// use mainstay_fallback::FallbackLayer;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// enum Query {
    ///     Price(u32),
    ///     Order,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let dead = service_fn(async |_: Query| Err::<u32, _>("connection refused")).map_err(Error::Inner);
    /// let list = service_fn(async |item: u32| Ok::<_, Error<&str>>(item * 100));
    /// // An order must not be made twice, so it is not kept.
    /// let layer = FallbackLayer::service(list).keep(|query: &Query| match query {
    ///     Query::Price(item) => Some(*item),
    ///     Query::Order => None,
    /// });
    ///
    /// let shop = layer.layer(dead);
    /// assert_eq!(shop.clone().oneshot(Query::Price(7)).await, Ok(700));
    /// assert!(shop.oneshot(Query::Order).await.is_err());
    /// # }
    /// ```
    pub fn keep<Req, Kept, L>(self, keep: L) -> FallbackLayer<Other<T, L>, W, O>
    where
        L: Fn(&Req) -> Option<Kept>,
    {
        FallbackLayer { answer: Other { service: self.answer.service, keep }, rule: self.rule }
    }
}

impl<A> FallbackLayer<A> {
    /// Answers with what a type of one's own makes; an [`Answer`](crate::Answer).
    pub const fn with(answer: A) -> Self {
        let rule = Rule { name: "fallback", choose: Failed::new(AnyError), observer: Nobody };
        Self { answer, rule }
    }
}

impl<A, C, O> FallbackLayer<A, Failed<C>, O> {
    /// Sets what a failure is, by default any error. Refusals from further in are failures, whatever the classifier.
    ///
    /// It takes the place of an earlier classifier, and comes before [`only_if`](FallbackLayer::only_if), which would be lost:
    ///
    /// ```compile_fail,E0599
    /// use mainstay_core::{AnyError, Error};
    /// use mainstay_fallback::FallbackLayer;
    ///
    /// let guarded = FallbackLayer::value(0).only_if(|failed: Result<&u32, &Error<&str>>| failed.is_ok());
    /// let _ = guarded.classify(AnyError);
    /// ```
    pub fn classify<D>(self, classify: D) -> FallbackLayer<A, Failed<D>, O> {
        self.choose(|_| Failed::new(classify))
    }
}

impl<A, W, O> FallbackLayer<A, W, O> {
    /// Sets what logs and metrics call it; `"fallback"` by default.
    ///
    /// It is not checked. A name that is not a literal is made `'static` by [`intern`](mainstay_core::intern).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.rule.name = name;
        self
    }

    /// Of the failures, lets fall back only those for which `predicate` is true; the others are answered as they are.
    ///
    /// What a failure is comes first: `classify` and `http` can be said before, and not after.
    ///
    /// ```
    /// use mainstay_core::Error;
    /// use mainstay_fallback::FallbackLayer;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let layer = FallbackLayer::value(0).only_if(|failed: Result<&u32, &Error<&str>>| failed != Err(&Error::Inner("fraud")));
    /// let leaf = service_fn(async |error: &'static str| Err::<u32, _>(error)).map_err(Error::Inner);
    ///
    /// assert_eq!(layer.layer(leaf.clone()).oneshot("connection refused").await, Ok(0));
    /// assert_eq!(layer.layer(leaf).oneshot("fraud").await, Err(Error::Inner("fraud")));
    /// # }
    /// ```
    pub fn only_if<F, Res, E>(self, predicate: F) -> FallbackLayer<A, OnlyIf<W, F>, O>
    where
        F: Fn(Result<&Res, &E>) -> bool,
    {
        self.choose(|choose| OnlyIf::new(choose, predicate))
    }

    /// Shows the outcome of each call that falls back to `observer`, before the fallback answers: for the logs.
    pub fn observe<F, Res, E>(self, observer: F) -> FallbackLayer<A, W, F>
    where
        F: Fn(Result<&Res, &E>),
    {
        let Rule { name, choose, .. } = self.rule;
        FallbackLayer { answer: self.answer, rule: Rule { name, choose, observer } }
    }

    fn choose<V>(self, choose: impl FnOnce(W) -> V) -> FallbackLayer<A, V, O> {
        let Rule { name, choose: old, observer } = self.rule;
        FallbackLayer { answer: self.answer, rule: Rule { name, choose: choose(old), observer } }
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl<A, C, O> FallbackLayer<A, Failed<C>, O> {
    /// For HTTP: a status of 5xx, 408 or 429 is a failure, and so is any error. Like [`classify`](Self::classify) it comes
    /// before `only_if`.
    ///
    /// An [`on_error`](FallbackLayer::on_error) leaves these responses alone: take a [`function`](FallbackLayer::function), a
    /// value or another service.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use mainstay_core::Error;
    /// use mainstay_fallback::FallbackLayer;
    /// use std::convert::Infallible;
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let broken = service_fn(async |_: Request<()>| Ok(Response::builder().status(500).body("").unwrap()));
    /// let layer = FallbackLayer::function(|_| Ok(Response::new("yesterday's menu"))).http();
    ///
    /// let menu = layer.layer(broken.map_err(Error::<Infallible>::Inner)).oneshot(Request::new(())).await.unwrap();
    /// assert_eq!((menu.status().as_u16(), *menu.body()), (200, "yesterday's menu"));
    /// # }
    /// ```
    pub fn http(self) -> FallbackLayer<A, Failed<mainstay_core::HttpStatus>, O> {
        self.classify(mainstay_core::HttpStatus)
    }
}

impl<W, O> Rule<W, O> {
    pub(crate) fn tell<Res, E: Refusable>(&self, original: Result<&Res, &E>)
    where
        O: Observe<Res, E>,
    {
        observe::fell_back(self.name, original);
        self.observer.observe(original);
    }
}

// Closures have no `Debug`, and so they are left out.
impl<A, W, O> fmt::Debug for FallbackLayer<A, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").field("name", &self.rule.name).finish_non_exhaustive()
    }
}

impl<S, A, W, O> Layer<S> for FallbackLayer<A, W, O>
where
    A: Clone,
    W: Clone,
    O: Clone,
{
    type Service = Fallback<S, A, W, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback::new(inner, self.answer.clone(), self.rule.clone())
    }
}
