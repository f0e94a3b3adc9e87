// The example on the front page needs the pattern that it shows.
#![cfg_attr(feature = "circuit-breaker", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "circuit-breaker"), doc = "Resilience patterns for tower, one crate each.")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

#[doc(inline)]
pub use mainstay_core::*;

#[cfg(feature = "circuit-breaker")]
#[cfg_attr(docsrs, doc(cfg(feature = "circuit-breaker")))]
pub use mainstay_circuit_breaker as circuit_breaker;

#[cfg(feature = "fallback")]
#[cfg_attr(docsrs, doc(cfg(feature = "fallback")))]
pub use mainstay_fallback as fallback;

#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub use mainstay_rate_limit as rate_limit;

#[cfg(feature = "retry")]
#[cfg_attr(docsrs, doc(cfg(feature = "retry")))]
pub use mainstay_retry as retry;

#[cfg(feature = "saga")]
#[cfg_attr(docsrs, doc(cfg(feature = "saga")))]
pub use mainstay_saga as saga;

#[cfg(feature = "timeout")]
#[cfg_attr(docsrs, doc(cfg(feature = "timeout")))]
pub use mainstay_timeout as timeout;

/// Compiles and runs the example of the repository's README, which is not part of the published package.
#[cfg(all(doctest, feature = "circuit-breaker"))]
#[doc = include_str!("../../README.md")]
struct RepositoryReadme;
