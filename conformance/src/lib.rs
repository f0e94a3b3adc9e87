// Its examples need the feature.
#![cfg_attr(feature = "tokio", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "tokio"), doc = "Does my tower middleware keep the contract of `Service`?")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod action;
mod auto_traits;
mod backend;
mod check;
mod clause;
mod clock;
mod drills;
mod heart;
mod ledger;
mod probe;
mod profile;
mod quiet;
mod report;
mod request;
mod search;
mod subject;
mod task;
mod told;
mod trap;
mod world;

pub use auto_traits::AutoTraits;
pub use check::check;
pub use clause::Clause;
pub use probe::{Probe, ProbeFuture};
pub use profile::Profile;
pub use report::{Counterexample, Outcome, Report};
pub use request::{ProbeError, Reply, Request};
pub use subject::Subject;

#[doc(hidden)]
pub mod __private {
    pub use crate::auto_traits::{no, yes};
}

/// Asks the compiler which auto traits the subject's service and future have, so that [`check`] can say whether they are
/// as declared.
///
/// ```
/// use mainstay_conformance::{Clause, Outcome, Subject, check, subject_types};
///
/// let subject = subject_types!(Subject::new("identity", tower_layer::Identity::new));
/// assert!(matches!(check(subject).outcome(Clause::AutoTraitsHold), Outcome::Holds));
/// ```
#[macro_export]
macro_rules! subject_types {
    ($subject:expr) => {{
        let subject = $subject;
        let service = $crate::__auto_traits!(subject.service_type());
        let future = $crate::__auto_traits!(subject.future_type());
        subject.auto_traits(service, future)
    }};
}

/// One `#[test]` for each [`Clause`], in a module of the given name.
///
/// The layer is checked once; each test asks for its clause. Auto traits are checked too.
///
/// ```
/// mod conformance {
///     use mainstay_conformance::{Profile, Subject, conformance_suite};
///
///     conformance_suite!(
///         identity,
///         Subject::new("identity", tower_layer::Identity::new).profile(Profile::pass_through().future_overhead(0)),
///     );
/// }
/// ```
#[macro_export]
macro_rules! conformance_suite {
    ($name:ident, $subject:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "the subject may need nothing from around")]
            use super::*;

            #[allow(dead_code, reason = "outside tests there are none")]
            fn report() -> &'static $crate::Report {
                static REPORT: ::std::sync::OnceLock<$crate::Report> = ::std::sync::OnceLock::new();
                REPORT.get_or_init(|| $crate::check($crate::subject_types!($subject)))
            }

            $crate::__each_clause!(report);
        }
    };
}
