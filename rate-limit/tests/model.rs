//! Every decision against a slow and obvious model, at the scale of nanoseconds.

mod support;

use mainstay_rate_limit::{Limiter, Quota, Reserved, Rule};
use proptest::{collection::vec, prelude::*};
use std::time::Duration;
use support::{Model, run::Run, script};

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Check(u64),
    Peek,
    Reserve {
        cost: u64,
        wait: u64,
    },
    /// The reservation of this number, from the newest on.
    GiveBack(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_u64..12).prop_map(Act::Pass),
        1 => (0_u64..150).prop_map(Act::Pass),
        4 => (0_u64..7).prop_map(Act::Check),
        1 => Just(Act::Peek),
        4 => (1_u64..7, 0_u64..100).prop_map(|(cost, wait)| Act::Reserve { cost, wait }),
        4 => (0_usize..6).prop_map(Act::GiveBack),
    ]
}

/// Many who wait, and who leave before anybody asks.
fn act_of_waiters() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0_u64..12).prop_map(Act::Pass),
        1 => (0_u64..7).prop_map(Act::Check),
        6 => (1_u64..5, 0_u64..1_000).prop_map(|(cost, wait)| Act::Reserve { cost, wait }),
        6 => (0_usize..9).prop_map(Act::GiveBack),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (1_u64..8, 0_u64..30, 1_u64..10, 0..4).prop_map(|(limit, more, burst, algorithm)| {
        let quota = Quota::new(limit, Duration::from_nanos(limit + more)).unwrap();
        match algorithm {
            0 => Rule::token_bucket(quota.burst(burst).unwrap()),
            1 => Rule::sliding_log(quota),
            2 => Rule::sliding_counter(quota),
            _ => Rule::fixed_window(quota),
        }
    })
}

impl Act {
    fn on(&self, run: &mut Run) {
        match *self {
            Self::Pass(time) => run.pass(time),
            Self::Check(cost) => _ = run.check(0, cost),
            Self::Peek => run.peek(0),
            Self::Reserve { cost, wait } => run.reserve(0, cost, wait),
            Self::GiveBack(number) => run.give_back(0, number),
        }
    }
}

fn run(rules: &[Rule], acts: &[Act]) {
    let mut run = Run::new(rules);
    for act in acts {
        act.on(&mut run);
    }
    run.end();
}

/// Of two limiters the second is only asked for places at the end, so that it computes late what has come nearer.
fn ask(rules: &[Rule], acts: &[Act]) {
    let start = tokio::time::Instant::now().into_std();
    let [asked, silent] = [(); 2].map(|()| Limiter::new_at(rules.to_vec(), start).unwrap());
    let mut places: Vec<[Reserved; 2]> = Vec::new();
    let mut now = start;
    for act in acts {
        match *act {
            Act::Pass(time) => now += Duration::from_nanos(time),
            Act::Check(cost) => assert_eq!(asked.check_cost_at(cost, now), silent.check_cost_at(cost, now)),
            Act::Peek => unreachable!("nothing moves"),
            Act::Reserve { cost, wait } => {
                let reserve = |limiter: &Limiter| limiter.reserve_at(cost, Duration::from_nanos(wait), now);
                match (reserve(&asked), reserve(&silent)) {
                    (Ok(one), Ok(other)) => {
                        assert_eq!((one.wait(), one.decision()), (other.wait(), other.decision()));
                        places.push([one, other]);
                    }
                    (one, other) => assert_eq!(one.unwrap_err(), other.unwrap_err()),
                }
            }
            Act::GiveBack(number) => {
                if let Some(index) = places.len().checked_sub(number + 1) {
                    let [one, other] = places.remove(index);
                    asked.give_back_at(one, now);
                    silent.give_back_at(other, now);
                }
            }
        }
        for [place, _] in &places {
            let _ = asked.wait_at(place, now);
        }
    }
    for [one, other] in &places {
        assert_eq!(asked.wait_at(one, now), silent.wait_at(other, now));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_rule_decides_as_the_model(rule in rule(), acts in vec(act(), 0..40)) {
        run(&[rule], &acts);
    }

    #[test]
    fn several_rules_decide_as_the_model(rules in vec(rule(), 2..4), acts in vec(act(), 0..40)) {
        run(&rules, &acts);
    }

    #[test]
    fn moments_do_not_depend_on_whether_somebody_asks(rules in vec(rule(), 1..4), acts in vec(act_of_waiters(), 0..60)) {
        ask(&rules, &acts);
    }

    /// The model looks for moments by halves.
    #[test]
    fn whatever_the_model_admits_it_admits_later(rule in rule(), takes in vec((0_u64..12, 1_u64..12), 0..20)) {
        let (mut model, mut now) = (Model::new(&[rule]), 0);
        for (time, cost) in takes {
            now += time;
            model.take((now, cost));
        }
        let remaining: Vec<_> = (now..now + 200).map(|at| model.remaining(None, at)).collect();
        prop_assert!(remaining.is_sorted(), "{remaining:?} by {model:?}");
    }

    #[test]
    fn whatever_is_called_decides_as_the_model(bytes in vec(any::<u8>(), 0..300)) {
        script::run(&bytes);
    }
}
