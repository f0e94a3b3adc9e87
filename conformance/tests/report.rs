//! What a report says, and to whom.

use mainstay_conformance::{
    Clause, Outcome, Probe, ProbeError, ProbeFuture, Profile, Reply, Report, Request, Subject, check,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::Duration,
};
use tower_service::Service;

/// Calls a clone of what it polled.
#[derive(Clone)]
struct CallsAClone(Probe);

impl Service<Request> for CallsAClone {
    type Response = Reply;
    type Error = ProbeError;
    type Future = ProbeFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> ProbeFuture {
        let mut clone = self.0.clone();
        clone.call(request)
    }
}

fn broken(profile: Profile) -> Report {
    check(Subject::new("calls a clone", || tower_layer::layer_fn(CallsAClone)).profile(profile))
}

fn message_of(act: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(act)).err()?;
    payload.downcast_ref::<String>().cloned()
}

const LESSON: &str = "\
calls a clone: R1 is broken: the inner value that was called is a clone of the one that was polled ready, and not ready itself
  the rule:  Readiness is spent where it was earned: `call` goes to the very inner value that `poll_ready` found ready.
  the harm:  The other value has no slot, so a service with limits panics or lets too many in, and the slot that was taken stays taken.
  the cure:  In `call`, `let clone = self.inner.clone(); let ready = mem::replace(&mut self.inner, clone);` and call `ready`.
  how to see it (seed 0):
   1. poll_ready on a
        inner 0: poll_ready, ready, it takes a token
      => ready
   2. call on a
        inner 0: cloned to inner 1, in `call`
        request 0: dropped
        inner 1: called for call 0, although it has no token
        inner 1: dropped
";

#[test]
fn a_failure_teaches_its_clause() {
    let report = broken(Profile::pass_through());
    assert_eq!(message_of(|| report.require(Clause::SpentWhereEarned)).as_deref(), Some(LESSON));
    assert_eq!(message_of(|| report.require(Clause::InnerErrorIsKept)), None);
    let all = message_of(|| report.assert()).expect("a clause is broken");
    assert_eq!(all, format!("calls a clone breaks 1 clauses\n\n{LESSON}"));
}

#[test]
fn the_readme_shows_this_very_failure() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(LESSON), "the README shows another text");
}

#[test]
fn the_readme_has_every_clause() {
    let readme = include_str!("../README.md");
    for clause in Clause::ALL {
        assert!(readme.contains(&format!("| {clause} | {} |", clause.rule())), "{clause}");
    }
    let rows = readme.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[3].is_ascii_digit()).count();
    assert_eq!(rows, Clause::ALL.len());
}

#[test]
fn a_declared_deviation_passes_and_is_on_the_card() {
    let report = broken(Profile::pass_through().deviates(Clause::SpentWhereEarned, "an experiment"));
    report.assert();
    report.require(Clause::SpentWhereEarned);
    assert!(matches!(
        report.outcome(Clause::SpentWhereEarned),
        Outcome::Deviates { reason: "an experiment", seen: Some(_) }
    ));
    assert!(report.card().contains("- R1 does not hold, as declared: an experiment."), "{}", report.card());
}

#[test]
fn a_deviation_that_does_not_show_is_said_to_be_unseen() {
    let profile = Profile::pass_through().deviates(Clause::NoBusyLoop, "to be sure");
    let report = check(Subject::new("identity", tower_layer::Identity::new).profile(profile));
    assert!(matches!(report.outcome(Clause::NoBusyLoop), Outcome::Deviates { seen: None, .. }));
    assert!(report.card().contains("It was not seen broken."));
}

#[test]
fn a_card_says_what_holds_and_what_does_not() {
    let card = broken(Profile::pass_through()).card();
    assert!(card.starts_with("### calls a clone\n\nHolds: R2, R3, "), "{card}");
    assert!(card.contains("- **R1 does not hold.** Readiness is spent where it was earned"), "{card}");
    assert!(card.contains("- P2 does not bind: owns no permits."), "{card}");
}

#[test]
fn the_same_is_found_each_time() {
    assert_eq!(broken(Profile::pass_through()).card(), broken(Profile::pass_through()).card());
}

#[test]
fn ids_and_test_names_are_unique_and_agree() {
    let mut names: Vec<&str> = Clause::ALL.iter().map(|clause| clause.test()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Clause::ALL.len());
    for clause in Clause::ALL {
        assert!(clause.test().starts_with(&clause.id().to_lowercase()), "{clause:?}");
        assert!(clause.test().contains('_'), "{clause:?}");
    }
}

#[test]
fn what_is_out_of_range_is_refused_by_name() {
    let refused: [(&str, fn()); 6] = [
        ("`max_inner_calls`", || drop(Profile::pass_through().max_inner_calls(0))),
        ("`owns_permits`", || drop(Profile::pass_through().owns_permits(0))),
        ("`owns_permits`", || drop(Profile::pass_through().owns_permits(usize::MAX))),
        ("`step`", || drop(Profile::pass_through().step(Duration::ZERO))),
        ("`step`", || drop(Profile::pass_through().step(Duration::MAX))),
        ("`patience`", || drop(Subject::new("identity", tower_layer::Identity::new).patience(Duration::ZERO))),
    ];
    for (field, act) in refused {
        let payload = catch_unwind(act).expect_err(field);
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
        assert!(text.contains(field) && text.contains("allowed is"), "{field}: {text}");
    }
}

#[test]
fn any_number_of_attempts_can_be_declared() {
    check(
        Subject::new("identity", tower_layer::Identity::new)
            .profile(Profile::pass_through().max_inner_calls(usize::MAX)),
    )
    .assert();
}
