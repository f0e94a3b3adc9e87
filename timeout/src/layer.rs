//! The layer: plain data.

#[cfg(feature = "http")]
use crate::deadlines::InMeta;
use crate::{config::Config, deadlines::NoDeadline, service::Timeout};
use mainstay_core::InvalidConfig;
use tower_layer::Layer;

/// Puts a [`Timeout`] around a service.
///
/// It has no state, so there is nothing that clones could share. `D` says where requests carry their deadlines, by default
/// nowhere.
///
/// Inside a retry it bounds each attempt, outside it bounds all of them together:
///
/// ```
/// use mainstay_core::Error;
/// use mainstay_timeout::{Config, TimeoutLayer};
/// use std::{future::pending, time::Duration};
/// use tower::{Service, ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), mainstay_core::InvalidConfig> {
/// let total = TimeoutLayer::new(Config::default().name("total").timeout(Duration::from_secs(5)))?;
/// let attempt = TimeoutLayer::new(Config::default().name("attempt").timeout(Duration::from_secs(2)))?;
/// let mut stack = ServiceBuilder::new()
///     .layer(total)
///     // The retry comes here.
///     .layer(attempt)
///     .map_err(Error::<&str>::Inner)
///     .service_fn(async |_: ()| pending::<Result<(), &str>>().await);
///
/// let Ok(ready) = stack.ready().await else { unreachable!() };
/// let Err(Error::TimedOut(timed_out)) = ready.call(()).await else { unreachable!() };
/// assert_eq!((timed_out.by(), timed_out.after()), ("attempt", Duration::from_secs(2)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct TimeoutLayer<D = NoDeadline> {
    config: Config,
    deadlines: D,
}

impl TimeoutLayer {
    /// A layer that gives each call the configured time.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or there is no [`timeout`](Config#structfield.timeout); the error names both.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        if config.timeout.is_none() {
            return Err(InvalidConfig::new("timeout", config.timeout, "a time, where requests carry no deadline"));
        }
        Self::with_deadlines(config, NoDeadline(()))
    }
}

impl<D> TimeoutLayer<D> {
    /// A layer that heeds the deadlines of requests, too: [`InMeta`](crate::InMeta), or what [`deadline_fn`](crate::deadline_fn) makes.
    ///
    /// Without a [`timeout`](Config#structfield.timeout) it heeds nothing else.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn with_deadlines(config: Config, deadlines: D) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self { config, deadlines })
    }
}

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
impl TimeoutLayer<InMeta> {
    /// A layer that heeds the deadlines in the extensions of HTTP requests, too; see
    /// [`with_deadlines`](Self::with_deadlines).
    ///
    /// # Errors
    ///
    /// If a setting is out of its range; the error names both.
    pub fn http(config: Config) -> Result<Self, InvalidConfig> {
        Self::with_deadlines(config, InMeta)
    }
}

impl<S, D: Clone> Layer<S> for TimeoutLayer<D> {
    type Service = Timeout<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, self.config, self.deadlines.clone())
    }
}
