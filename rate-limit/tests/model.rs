//! Every decision against a slow and obvious model, at the scale of nanoseconds.

mod support;

use mainstay_rate_limit::{Algorithm, Limiter, Quota, ReserveError, Reserved, Rule};
use proptest::{collection::vec, prelude::*};
use std::time::{Duration, Instant};
use support::{Entry, Model, nanos};

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

struct Run {
    limiter: Limiter,
    model: Model,
    start: Instant,
    now: u64,
    reserved: Vec<(Reserved, Entry)>,
    /// A bucket may give back less than all, from then on it may admit less than the model.
    may_lag: bool,
    has_bucket: bool,
}

impl Run {
    fn new(rules: &[Rule]) -> Self {
        let start = tokio::time::Instant::now().into_std();
        Self {
            limiter: Limiter::new_at(rules.to_vec(), start).unwrap(),
            model: Model::new(rules),
            start,
            now: 0,
            reserved: Vec::new(),
            may_lag: false,
            has_bucket: rules.iter().any(|rule| rule.algorithm() == Algorithm::TokenBucket),
        }
    }

    fn capacity(&self) -> u64 {
        self.model.rules.iter().map(|rule| rule.quota().capacity()).min().unwrap()
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_nanos(self.now)
    }

    /// The limiter may be behind the model, never before it.
    fn compare(&self, real: u64, model: u64) {
        assert!(real >= model, "admitted at {real}, but the model only at {model}: {:?}", self.model.history);
        assert!(real == model || self.may_lag, "admitted at {real}, the model at {model}: {:?}", self.model.history);
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Pass(time) => self.now += time,
            Act::Check(cost) => self.check(cost),
            Act::Peek => {
                let model = self.model.earliest(1, self.now);
                self.compare(self.now + nanos(self.limiter.peek_at(self.at()).retry_after), model);
            }
            Act::Reserve { cost, wait } => self.reserve(cost, wait),
            Act::GiveBack(number) => {
                if let Some(index) = self.reserved.len().checked_sub(number + 1) {
                    self.give_back(index);
                }
            }
        }
    }

    fn check(&mut self, cost: u64) {
        let decision = self.limiter.check_cost_at(cost, self.at());
        if cost > self.capacity() {
            assert_eq!(decision.unwrap_err().limit, self.capacity());
            return;
        }
        let decision = decision.unwrap();
        if cost == 0 {
            assert!(decision.allowed);
            return;
        }
        self.compare(self.now + nanos(decision.retry_after), self.model.earliest(cost, self.now));
        assert_eq!(decision.allowed, decision.retry_after.is_zero());
        let nobody_waits = self.model.history.last().is_none_or(|last| last.0 <= self.now);
        if decision.allowed {
            self.model.history.push((self.now, cost));
        }
        if nobody_waits && !self.may_lag {
            let rule = &self.model.rules[decision.rule];
            assert_eq!(decision.remaining, self.model.remaining(rule, self.now), "{:?}", self.model.history);
            if decision.allowed {
                let least = self.model.rules.iter().map(|rule| self.model.remaining(rule, self.now)).min();
                assert_eq!(Some(decision.remaining), least);
            }
        }
    }

    fn reserve(&mut self, cost: u64, wait: u64) {
        match self.limiter.reserve_at(cost, Duration::from_nanos(wait), self.at()) {
            Ok(reserved) => {
                let at = self.now + nanos(reserved.wait());
                assert!(at <= self.now + wait);
                self.compare(at, self.model.earliest(cost, self.now));
                self.model.history.push((at, cost));
                self.reserved.push((reserved, (at, cost)));
            }
            Err(ReserveError::TooLate(decision)) => {
                let at = self.now + nanos(decision.retry_after);
                assert!(at > self.now + wait);
                self.compare(at, self.model.earliest(cost, self.now));
            }
            Err(error) => assert!(cost > self.capacity(), "{error}"),
        }
    }

    fn give_back(&mut self, index: usize) {
        let (reserved, entry) = self.reserved.remove(index);
        // Of equal ones it may be any.
        let position = self.model.history.iter().position(|other| *other == entry).unwrap();
        self.model.history.remove(position);
        let is_newest = position == self.model.history.len();
        // A place that is still to come leaves without a trace, and so does what was taken last.
        self.may_lag |= self.has_bucket && entry.0 <= self.now && !is_newest;
        self.limiter.give_back_at(reserved, self.at());
        self.bring_forward();
    }

    /// Those who wait come as soon as they can, in their order, and no later than they were told.
    fn bring_forward(&mut self) {
        self.model.history.retain(|entry| entry.0 <= self.now);
        for index in 0..self.reserved.len() {
            let (reserved, (told, cost)) = &self.reserved[index];
            let (told, cost) = (*told, *cost);
            if told <= self.now {
                continue;
            }
            let at = self.now + nanos(self.limiter.wait_at(reserved, self.at()));
            assert!(at <= told);
            self.compare(at, self.model.earliest(cost, self.now).min(told));
            self.model.history.push((at, cost));
            self.reserved[index].1.0 = at;
        }
    }
}

fn run(rules: &[Rule], acts: &[Act]) {
    let mut run = Run::new(rules);
    for act in acts {
        run.act(act);
    }
    run.model.check_bounds();
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
}
