//! Bytes as a sequence of calls, for tests that make up bytes.

use super::run::Run;
use mainstay_rate_limit::{Quota, Rule};
use std::time::Duration;

/// Does what the bytes say, beside the model. Any bytes say something.
pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script { bytes: bytes.iter().copied(), unit: 1 };
    let shape = script.below(16);
    // As short as a clock can tell, some odd ones, and a tenth of a second.
    script.unit = [1, 1, 1, 3, 1_000, 999_983, 100_000_000, 1 << 27][usize::from(script.byte() % 8)];
    let rules = script.rules();
    let mut run = match shape {
        0..8 => Run::new(&rules),
        8..12 => Run::keyed(&rules, 3, 1_000),
        max_keys => Run::keyed(&rules, 12, u32::try_from(max_keys - 11).unwrap_or(1)),
    };
    // Longer ones say little more, and the model is slow.
    for _ in 0..MAX_ACTS {
        let Some(act) = script.bytes.next() else { break };
        script.act(act, &mut run);
    }
    run.end();
}

const MAX_ACTS: usize = 80;

struct Script<'a> {
    bytes: std::iter::Copied<std::slice::Iter<'a, u8>>,
    /// The nanoseconds in which times are told.
    unit: u64,
}

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }

    fn below(&mut self, end: u8) -> u64 {
        u64::from(self.byte() % end)
    }

    fn key(&mut self) -> usize {
        usize::from(self.byte())
    }

    /// So many units of time, and sometimes a nanosecond more or less.
    fn time(&mut self, end: u8) -> u64 {
        let time = self.below(end) * self.unit;
        match self.byte() % 8 {
            0 => time.saturating_sub(1),
            1 => time + 1,
            _ => time,
        }
    }

    fn rules(&mut self) -> Vec<Rule> {
        let rules = [1, 1, 2, 3][usize::from(self.byte() % 4)];
        (0..rules).map(|_| self.rule()).collect()
    }

    fn rule(&mut self) -> Rule {
        let (algorithm, limit, burst) = (self.below(4), 1 + self.below(8), 1 + self.below(10));
        let period = (limit + self.time(30)).max(limit * self.unit);
        let quota = Quota::new(limit, Duration::from_nanos(period)).expect("at most one unit in a nanosecond");
        match algorithm {
            0 => Rule::token_bucket(quota.burst(burst).expect("a small burst")),
            1 => Rule::sliding_log(quota),
            2 => Rule::sliding_counter(quota),
            _ => Rule::fixed_window(quota),
        }
    }

    fn act(&mut self, act: u8, run: &mut Run) {
        match act % 16 {
            0 | 1 => run.pass(self.time(12)),
            2 => run.pass(self.time(150)),
            3 => run.pass_to_last(self.key()),
            4..=6 => _ = run.check(self.key(), self.below(9)),
            // Just then, and not a nanosecond before, the answer is yes.
            7 => {
                let (key, cost) = (self.key(), self.below(7));
                let wait = run.check(key, cost);
                run.pass(u64::try_from(wait.as_nanos()).unwrap_or(0).saturating_sub(self.below(2)));
                run.check(key, cost);
            }
            8 => run.peek(self.key()),
            9..=11 => run.reserve(self.key(), self.below(8), self.time(100)),
            12 | 13 => run.give_back(self.key(), self.key() % 6),
            14 => match self.byte() % 4 {
                0 | 1 => run.refund(self.key(), self.below(12)),
                2 => run.step_back(self.time(20)),
                _ => run.step_back(self.time(150)),
            },
            _ => run.reconfigure(&self.rules()),
        }
    }
}
