//! One client who asks far too often: it copies the price list, again and again.

use crate::{
    faults::{Phase, Script},
    load::{Arrival, Errand, gap},
    services::catalog::PRODUCTS,
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use std::{ops::Range, time::Duration};

/// Its credential, which it sends with every request as honest customers send theirs.
pub(crate) const TOKEN: &str = "abuser";

/// For each customer who comes while it is there it sends so many requests.
const PER_CUSTOMER: u32 = 2;

/// When it is there: in the second and in the last quarter of every phase. So customers meet the same troubles beside it and
/// without it, and what became of either can be compared. Not in the last phase, where the recovery is measured.
pub(crate) fn stays(script: &Script) -> Vec<Range<Duration>> {
    let quarters = |phase: &Phase| {
        let quarter = phase.until.saturating_sub(phase.from) / 4;
        [1, 3].map(|number| phase.from + quarter * number..phase.from + quarter * (number + 1))
    };
    script.phases[..script.phases.len() - 1].iter().flat_map(quarters).collect()
}

/// Its requests: in each stay a Poisson process, twice as busy as all customers together. The same seed gives the same requests.
pub(crate) fn requests(seed: u64, rate: u32, stays: &[Range<Duration>]) -> Vec<Arrival> {
    // Others than those of the customers, who are the same with and without an abuser.
    let mut random = Xoshiro256PlusPlus::seed_from_u64(!seed);
    let mut requests = Vec::new();
    for stay in stays {
        let mut at = stay.start.as_secs_f64();
        loop {
            at += gap(&mut random, rate * PER_CUSTOMER);
            if at >= stay.end.as_secs_f64() {
                break;
            }
            requests.push(Arrival {
                at: Duration::from_secs_f64(at),
                errand: Errand::Scrape,
                product: random.random_range(1..=PRODUCTS),
                number: requests.len(),
            });
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn shared(stays: &[Range<Duration>], time: &Range<Duration>) -> Duration {
        stays.iter().map(|stay| stay.end.min(time.end).saturating_sub(stay.start.max(time.start))).sum()
    }

    #[test]
    fn it_is_there_for_half_of_whatever_happens() {
        let script = Script::over(MINUTE);
        let outage = &script.catalog_outage;
        let phases = script.phases.iter().map(|phase| phase.from..phase.until).take(6);
        for time in phases.chain([outage.clone(), Duration::ZERO..script.recovery()]) {
            let share =
                shared(&stays(&script), &time).as_secs_f64() / time.end.saturating_sub(time.start).as_secs_f64();
            assert!((share - 0.5).abs() < 0.05, "{share} of {time:?}");
        }
    }

    #[test]
    fn the_same_seed_brings_the_same_requests_and_all_while_it_is_there() {
        let stays = stays(&Script::over(MINUTE));
        let of = |seed| requests(seed, 300, &stays);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));

        let requests = of(7);
        assert!(requests.is_sorted_by_key(|request| request.at));
        assert!(requests.iter().all(|request| stays.iter().any(|stay| stay.contains(&request.at))));
        // 600 in each second of 24, with a standard deviation of 120 in all: five of them.
        assert!(requests.len().abs_diff(14_400) < 600, "{}", requests.len());
    }
}
