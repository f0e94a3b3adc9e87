//! What a definition refuses, and what it assumes.

use mainstay_core::InvalidConfig;
use mainstay_retry::Backoff;
use mainstay_saga::{BuildError, Conditional, Data, Draft, Effect, Kind, Out, Saga, Step};
use std::time::Duration;

type Body = for<'s> fn(Draft<'s, ()>, Out<'s, u32>) -> Out<'s, u32>;

fn refused(body: Body) -> BuildError {
    Saga::define("test", 1, body).unwrap_err()
}

/// The names of the step and of the setting that is wrong.
fn setting(body: Body) -> (String, String) {
    match refused(body) {
        BuildError::Setting { step, error } => (step.to_string(), InvalidConfig::field(&error).to_owned()),
        other => panic!("{other}"),
    }
}

fn step<'s>(s: &mut Draft<'s, ()>, step: Step<'s>, n: Out<'s, u32>) -> Out<'s, u32> {
    s.step(step, n, async |_, n| Ok(n), async |_, _, _: Effect<u32>| Ok(()))
}

fn read<'s>(s: &mut Draft<'s, ()>, step: Step<'s>, n: Out<'s, u32>) -> Out<'s, u32> {
    s.read(step, n, async |_, n| Ok(n))
}

fn at<'s>(name: &str) -> Step<'s> {
    Step::named(name)
}

#[test]
fn names_are_checked_and_named() {
    let long = "x".repeat(65);
    for name in ["", "Reserve", "reserve stock", "réserve", "a/b", "a\n", &long] {
        let of_saga = Saga::<(), u32, u32>::define(name, 1, |_, n| n).unwrap_err();
        assert_eq!(of_saga, BuildError::SagaName { name: name.into() });
        let of_step = Saga::<(), u32, u32>::define("test", 1, |mut s, n| s.read(name, n, async |_, n| Ok(n)));
        assert_eq!(of_step.unwrap_err(), BuildError::StepName { step: name.into() });
    }
    let longest = "x".repeat(64);
    for name in ["a", "reserve-stock_2.b", &longest] {
        Saga::<(), u32, u32>::define(name, 1, |mut s, n| s.read(name, n, async |_, n| Ok(n))).unwrap();
    }
}

#[test]
fn a_name_is_used_once() {
    let twice = refused(|mut s, n| {
        step(&mut s, at("buy"), n);
        let (mut s, _) = s.pivot("sell", n, async |_, n| Ok(n));
        s.retriable("buy", n, async |_, n| Ok(n))
    });
    assert_eq!(twice, BuildError::RepeatedStep { step: "buy".into() });
}

#[test]
fn a_saga_has_at_most_a_thousand_steps() {
    fn many(count: u32) -> Result<Saga<(), u32, u32>, BuildError> {
        Saga::define("many", 1, |mut s, n| {
            (0..count).fold(n, |last, i| s.read(format!("step-{i}"), last, async |_, n| Ok(n)))
        })
    }
    assert!(many(1_000).is_ok());
    assert_eq!(many(1_001).unwrap_err(), BuildError::TooManySteps);
}

#[test]
fn what_has_no_effect_cannot_be_set() {
    let of = |step: &str, setting: &str| (step.to_owned(), setting.to_owned());

    assert_eq!(setting(|mut s, n| read(&mut s, at("r").undo_attempts(2), n)), of("r", "undo_attempts"));
    assert_eq!(setting(|mut s, n| read(&mut s, at("r").undo_backoff(Backoff::default()), n)), of("r", "undo_backoff"));
    assert_eq!(setting(|mut s, n| read(&mut s, at("r").no_undo_timeout(), n)), of("r", "undo_timeout"));
    assert_eq!(
        setting(|s, n| s.pivot(at("p").undo_timeout(Duration::from_secs(1)), n, async |_, n| Ok(n)).1),
        of("p", "undo_timeout")
    );
    assert_eq!(setting(|mut s, _| s.signal(at("s").attempts(2), None)), of("s", "attempts"));
    assert_eq!(setting(|mut s, _| s.signal(at("s").backoff(Backoff::default()), None)), of("s", "backoff"));
    assert_eq!(setting(|mut s, _| s.signal(at("s").no_timeout(), None)), of("s", "attempt_timeout"));
    let timer: Body = |mut s, n| {
        s.wait(at("t").attempts(2), Duration::ZERO);
        n
    };
    assert_eq!(setting(timer), of("t", "attempts"));
    let retriable: Body =
        |s, n| s.pivot("p", n, async |_, n| Ok(n)).0.retriable(at("m").attempts(2), n, async |_, n| Ok(n));
    assert_eq!(setting(retriable), of("m", "attempts"));
    let late_read: Body = |s, n| s.pivot("p", n, async |_, n| Ok(n)).0.read(at("r").attempts(2), n, async |_, n| Ok(n));
    assert_eq!(setting(late_read), of("r", "attempts"));

    let text = refused(retriable).to_string();
    assert_eq!(text, "in the step \"m\", `attempts` is 2, allowed is only before the pivot, on what runs");
}

#[test]
fn settings_are_in_range() {
    let of = |step: &str, setting: &str| (step.to_owned(), setting.to_owned());

    assert_eq!(setting(|mut s, n| step(&mut s, at("a").attempts(0), n)), of("a", "attempts"));
    assert_eq!(setting(|mut s, n| step(&mut s, at("a").undo_attempts(0), n)), of("a", "undo_attempts"));
    assert_eq!(
        setting(|mut s, n| step(&mut s, at("a").attempt_timeout(Duration::ZERO), n)),
        of("a", "attempt_timeout")
    );
    assert_eq!(setting(|mut s, n| step(&mut s, at("a").undo_timeout(Duration::ZERO), n)), of("a", "undo_timeout"));
    let nan = Backoff::exponential(Duration::from_secs(1)).factor(f64::NAN);
    let nan_backoff: fn(Backoff) -> (String, String) = |nan| {
        let saga = Saga::<(), u32, u32>::define("test", 1, |mut s, n| step(&mut s, at("a").backoff(nan), n));
        let BuildError::Setting { step, error } = saga.unwrap_err() else { panic!("the setting is not named") };
        (step.to_string(), error.field().to_owned())
    };
    assert_eq!(nan_backoff(nan), of("a", "backoff.factor"));

    let extremes: Body = |mut s, n| {
        let all =
            at("a").attempts(u32::MAX).undo_attempts(1).attempt_timeout(Duration::MAX).undo_timeout(Duration::MAX);
        s.wait("zero", Duration::ZERO);
        s.wait("for-ever", Duration::MAX);
        s.signal::<u32>("never", Duration::MAX);
        step(&mut s, all, n)
    };
    Saga::define("test", u32::MAX, extremes).unwrap().deadline(Duration::MAX).unwrap();
}

#[test]
fn mistake_in_a_setting_is_one_sentence() {
    let told = |body: Body| refused(body).to_string();
    let attempts = told(|mut s, n| step(&mut s, at("a").attempts(0), n));
    assert_eq!(attempts, "in the step \"a\", `attempts` is 0, allowed is 1 to 4294967295");
    let error = Saga::define("test", 1, (|_, n| n) as Body).unwrap().deadline(Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "in the saga, `deadline` is 0ns, allowed is above zero");
    // Whoever prints an error with its sources does not read it twice.
    assert!(std::error::Error::source(&error).is_none());
}

#[test]
fn the_first_mistake_is_told() {
    let two = refused(|mut s, n| {
        read(&mut s, at("first").attempts(0), n);
        read(&mut s, at("second").attempts(0), n)
    });
    assert!(matches!(two, BuildError::Setting { step, .. } if *step == *"first"));
}

#[test]
fn a_condition_is_the_output_of_a_step() {
    let saga = Saga::<(), bool, Conditional<u32>>::define("test", 1, |mut s, flag| {
        s.when(flag).read("look", (), async |_, ()| Ok(1))
    });
    let BuildError::Setting { step, error } = saga.unwrap_err() else { panic!("the step is not named") };
    assert_eq!((&*step, error.field()), ("look", "when"));
}

#[test]
fn defaults_are_as_documented() {
    let saga = Saga::define("test", 1, (|mut s, n| step(&mut s, at("a"), n)) as Body).unwrap();
    let spelled_out: Body = |mut s, n| {
        let wait = Duration::from_millis(200);
        let all = at("a")
            .attempts(5)
            .backoff(Backoff::exponential(wait).cap(Duration::from_secs(30)))
            .attempt_timeout(Duration::from_secs(30))
            .undo_attempts(10)
            .undo_backoff(Backoff::exponential(wait).cap(Duration::from_secs(60)))
            .undo_timeout(Duration::from_secs(30));
        step(&mut s, all, n)
    };
    assert_eq!(saga.graph(), Saga::define("test", 1, spelled_out).unwrap().graph());
    let other: Body = |mut s, n| step(&mut s, at("a").no_timeout().no_undo_timeout(), n);
    assert_ne!(saga.graph(), Saga::define("test", 1, other).unwrap().graph());
}

#[test]
fn kinds_are_what_was_written() {
    let saga = Saga::define(
        "test",
        1,
        (|mut s, n| {
            step(&mut s, at("a"), n);
            read(&mut s, at("b"), n);
            s.signal::<u32>("c", None);
            s.signal::<u32>("d", Duration::from_secs(2));
            s.wait("e", Duration::from_secs(3));
            let (mut s, _) = s.pivot("f", n, async |_, n| Ok(n));
            s.read("g", n, async |_, n| Ok(n));
            s.signal::<u32>("h", None);
            s.wait("i", Duration::from_secs(4));
            s.retriable("j", n, async |_, n| Ok(n))
        }) as Body,
    );
    let kinds: Vec<_> = saga.unwrap().graph().nodes().iter().map(|node| (node.kind(), node.is_committed())).collect();
    let signal = |at_most| Kind::Signal { at_most };
    let timer = |seconds| Kind::Timer { wait: Duration::from_secs(seconds) };
    let before = [Kind::Compensatable, Kind::ReadOnly, signal(None), signal(Some(Duration::from_secs(2))), timer(3)];
    let after = [Kind::ReadOnly, signal(None), timer(4), Kind::Retriable];
    let mut expected: Vec<_> = before.map(|kind| (kind, false)).into();
    expected.push((Kind::Pivot, false));
    expected.extend(after.map(|kind| (kind, true)));
    assert_eq!(kinds, expected);
}

#[test]
fn what_waits_may_wait_for_others() {
    fn body<'s>(mut s: Draft<'s, ()>, n: Out<'s, u32>) -> Out<'s, u32> {
        let look = read(&mut s, at("look"), n);
        let pause = s.wait(at("pause").after(look), Duration::from_secs(1));
        let approved = s.signal::<bool>(at("approved").after((look, pause)).after(n), None);
        read(&mut s, at("again").after(approved).after(pause), look)
    }
    let saga = Saga::define("test", 1, body).unwrap();
    let needs: Vec<_> = saga.graph().nodes().iter().map(|node| node.needed().to_vec()).collect();
    assert_eq!(needs, [vec![], vec![0], vec![0, 1], vec![0, 1, 2]]);
}

#[test]
fn a_part_of_a_saga_is_a_function() {
    fn pair<'s, A: Send + Sync + 'static, T: Data + Clone>(
        s: &mut Draft<'s, A>,
        n: Out<'s, T>,
        name: &str,
    ) -> Out<'s, (T, T)> {
        s.read(name, n, async |_, n: T| Ok((n.clone(), n)))
    }
    let saga = Saga::<(), u32, ((u32, u32), (u32, u32))>::define("test", 1, |mut s, n| {
        let once = pair(&mut s, n, "once");
        pair(&mut s, once, "twice")
    });
    assert_eq!(saga.unwrap().graph().nodes().len(), 2);
}

#[test]
fn the_graph_on_the_front_page_is_that_of_its_order() {
    fn order<'s>(mut s: Draft<'s, ()>, request: Out<'s, u32>) -> Out<'s, u32> {
        let stock = step(&mut s, at("reserve-stock"), request);
        let paid = step(&mut s, at("charge").after(stock), request);
        let order = s.step("create-order", (stock, paid), async |_, (n, _)| Ok(n), async |_, _, _| Ok(()));
        let (mut s, _) = s.pivot("confirm-stock", stock, async |_, n| Ok(n));
        s.retriable("send-mail", order, async |_, n| Ok(n));
        order
    }
    let saga = Saga::define("order", 1, order).unwrap();
    let drawn = format!("```mermaid\n{}```", saga.mermaid());
    assert!(include_str!("../README.md").contains(&drawn), "{drawn}");
    assert_eq!((saga.mermaid(), saga.dot()), (saga.graph().mermaid(), saga.graph().dot()));
}
