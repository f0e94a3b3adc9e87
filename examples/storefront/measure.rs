//! From what became of each customer to the numbers of the table and the lines of the charts.

use crate::load::Errand;
use mainstay::circuit_breaker::State;
use serde::Serialize;
use std::{ops::Range, time::Duration};

/// The grain of goodput over time, from which the recovery is read.
pub(crate) const GRAIN: Duration = Duration::from_millis(250);
/// Goodput is full again from this share on; a few requests may always fail for other reasons.
const FULL: f64 = 0.95;

/// What became of one customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    /// When the customer came, counted from the start of the run.
    pub(crate) at: Duration,
    pub(crate) errand: Errand,
    pub(crate) outcome: Outcome,
    /// Whether the answer came from the stale price list.
    pub(crate) stale: bool,
    /// Whether it was refused because the client asks too often.
    pub(crate) limited: bool,
    /// From the arrival to the answer, or to the end of the patience.
    pub(crate) waited: Duration,
}

/// How it ended for the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A 2xx within the patience.
    Ok,
    /// No answer within the patience.
    Late,
    /// A 503 or 429 with `Retry-After`: not served, and told at once when to come back.
    Refused,
    /// Any other answer, or a connection that broke.
    Failed,
}

/// The numbers of one run, as in `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Numbers {
    pub(crate) offered: usize,
    pub(crate) ok: usize,
    pub(crate) late: usize,
    pub(crate) refused: usize,
    pub(crate) failed: usize,
    /// `ok` divided by `offered`.
    pub(crate) goodput: f64,
    /// How long customers waited, whatever became of them; who gave up waited to the end of the patience.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Requests that reached the provider while it was sick.
    pub(crate) provider_calls: u64,
    /// From the provider's recovery to full goodput; none if the run ended before.
    pub(crate) recovery_s: Option<f64>,
}

/// How long after the provider fell silent the payment circuit opened; none if it was not closed then, or did not open while
/// the provider was silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) after: Option<Duration>,
    /// What it would have been without calls that vote in flight: measured by the circuit in shadow mode.
    pub(crate) settled_only: Option<Duration>,
}

/// Answers from the stale price list, and when the first and the last of the customers came who got one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) answers: usize,
    pub(crate) first: Option<Duration>,
    pub(crate) last: Option<Duration>,
}

/// The requests of the abuser, and how they ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Abuse {
    pub(crate) records: Vec<Record>,
    pub(crate) tally: Tally,
    /// Those that the limit refused.
    pub(crate) limited: usize,
}

/// How it went for those who looked at products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    pub(crate) tally: Tally,
    /// How long they waited until they were served; who was not has waited to the end of the patience. Otherwise those whom a
    /// full pool sends away at once would make a shop look fast.
    pub(crate) p99: Option<Duration>,
}

/// The customers who came within one piece of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) time: Range<Duration>,
    pub(crate) tally: Tally,
    pub(crate) browse: Tally,
    pub(crate) checkout: Tally,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

/// How many customers ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) ok: usize,
    pub(crate) late: usize,
    pub(crate) refused: usize,
    pub(crate) failed: usize,
}

impl Tally {
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut tally = Self::default();
        for record in records {
            *match record.outcome {
                Outcome::Ok => &mut tally.ok,
                Outcome::Late => &mut tally.late,
                Outcome::Refused => &mut tally.refused,
                Outcome::Failed => &mut tally.failed,
            } += 1;
        }
        tally
    }

    pub(crate) const fn offered(&self) -> usize {
        self.ok + self.late + self.refused + self.failed
    }

    /// The share that was served in time; none if nobody came.
    pub(crate) fn goodput(&self) -> Option<f64> {
        ratio(self.ok, self.offered())
    }
}

impl Numbers {
    pub(crate) fn of(records: &[Record], provider_calls: u64, recovery: Option<Duration>) -> Self {
        let tally = Tally::of(records);
        let waits = sorted_waits(records);
        let millis = |rank| percentile(&waits, rank).map_or(0.0, |wait| round(wait.as_secs_f64() * 1e3, 10.0));
        Self {
            offered: tally.offered(),
            ok: tally.ok,
            late: tally.late,
            refused: tally.refused,
            failed: tally.failed,
            goodput: round(tally.goodput().unwrap_or(0.0), 1e4),
            p50_ms: millis(50),
            p99_ms: millis(99),
            provider_calls,
            recovery_s: recovery.map(|time| time.as_secs_f64()),
        }
    }
}

impl Stale {
    /// The records are in the order of arrival.
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut came = records.iter().filter(|record| record.stale).map(|record| record.at);
        let first = came.next();
        Self { answers: records.iter().filter(|record| record.stale).count(), first, last: came.next_back().or(first) }
    }
}

impl Abuse {
    pub(crate) fn of(records: Vec<Record>) -> Self {
        Self { tally: Tally::of(&records), limited: limited(&records), records }
    }

    /// The requests that came past the limit.
    pub(crate) const fn admitted(&self) -> usize {
        self.tally.offered() - self.limited
    }
}

impl Looked {
    /// Of those who came while the abuser was there, or of the others.
    pub(crate) fn beside(records: &[Record], stays: &[Range<Duration>], there: bool, patience: Duration) -> Self {
        let is_there = |at| stays.iter().any(|stay| stay.contains(&at));
        let looked = |record: &&Record| record.errand == Errand::Browse && is_there(record.at) == there;
        let until_served = |record: &Record| if record.outcome == Outcome::Ok { record.waited } else { patience };
        let mut waits: Vec<_> = records.iter().filter(looked).map(until_served).collect();
        waits.sort_unstable();
        Self { tally: Tally::of(records.iter().filter(looked)), p99: percentile(&waits, 99) }
    }
}

/// How many were refused because their client asks too often.
pub(crate) fn limited(records: &[Record]) -> usize {
    records.iter().filter(|record| record.limited).count()
}

/// How long those waited who came for one thing; 99 of 100 waited no longer.
pub(crate) fn p99(records: &[Record], errand: Errand) -> Option<Duration> {
    percentile(&sorted_waits(records.iter().filter(|record| record.errand == errand)), 99)
}

/// From the provider's recovery to full goodput.
///
/// The time after the recovery is cut into pieces of [`GRAIN`], and each customer counts where it arrived. The recovery
/// took until the end of the last piece in which fewer than 95 % of the customers were served in time: zero if there is
/// none, and `None` if it is the last piece of the run. The records are in the order of arrival.
pub(crate) fn recovery(records: &[Record], recovered: Duration, end: Duration) -> Option<Duration> {
    let pieces = series(records, recovered..end, GRAIN);
    let is_short = |bucket: &Bucket| bucket.tally.goodput().is_some_and(|goodput| goodput < FULL);
    match pieces.iter().rposition(is_short) {
        None if pieces.is_empty() => None,
        None => Some(Duration::ZERO),
        Some(last) if last + 1 == pieces.len() => None,
        Some(last) => Some(pieces[last].time.end.saturating_sub(recovered)),
    }
}

/// From the start of a time to the opening of a circuit, which was closed at the start, within it.
pub(crate) fn opened_after(states: &[(Duration, State)], time: &Range<Duration>) -> Option<Duration> {
    let (before, after) = states.split_at(states.partition_point(|(begun, _)| *begun < time.start));
    let (_, at_start) = before.last()?;
    let (opened, _) = after.iter().find(|(begun, state)| *state == State::Open && *begun < time.end)?;
    (*at_start == State::Closed).then(|| opened.saturating_sub(time.start))
}

/// Cuts a time into pieces, the last of which may be longer by half. The records are in the order of arrival.
pub(crate) fn series(records: &[Record], time: Range<Duration>, grain: Duration) -> Vec<Bucket> {
    let mut buckets = Vec::new();
    let mut from = time.start;
    while from < time.end {
        let until = (from + grain).min(time.end);
        // Less than half a grain is too little to say anything: it belongs to the last whole one.
        let until = if time.end.saturating_sub(until) < grain / 2 { time.end } else { until };
        buckets.push(Bucket::of(records, from..until));
        from = until;
    }
    buckets
}

impl Bucket {
    pub(crate) fn of(records: &[Record], time: Range<Duration>) -> Self {
        let first = records.partition_point(|record| record.at < time.start);
        let last = records.partition_point(|record| record.at < time.end);
        let inside = &records[first..last];
        let errand = |errand| Tally::of(inside.iter().filter(|record| record.errand == errand));
        let waits = sorted_waits(inside);
        Self {
            tally: Tally::of(inside),
            browse: errand(Errand::Browse),
            checkout: errand(Errand::Checkout),
            p50: percentile(&waits, 50),
            p99: percentile(&waits, 99),
            time,
        }
    }
}

fn sorted_waits<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Duration> {
    let mut waits: Vec<_> = records.into_iter().map(|record| record.waited).collect();
    waits.sort_unstable();
    waits
}

/// The smallest wait that at least so many hundredths of all did not exceed.
fn percentile(sorted: &[Duration], hundredths: usize) -> Option<Duration> {
    let rank = (sorted.len() * hundredths).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Rounds to a fraction of one, such as a tenth with 10.
fn round(value: f64, fraction: f64) -> f64 {
    (value * fraction).round() / fraction
}

/// None if there was nothing.
pub(crate) fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| number(part) / number(whole))
}

/// A count, to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 customers")]
pub(crate) const fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn record(at_ms: u64, outcome: Outcome, waited_ms: u64) -> Record {
        let [at, waited] = [at_ms, waited_ms].map(Duration::from_millis);
        Record { at, errand: Errand::Browse, outcome, stale: false, limited: false, waited }
    }

    /// One customer each 10 ms from one second to two; those until `bad_until` fail.
    fn after_outage(bad_until: u64) -> Vec<Record> {
        let outcome = |at| if at < bad_until { Outcome::Refused } else { Outcome::Ok };
        (1_000..2_000).step_by(10).map(|at| record(at, outcome(at), 5)).collect()
    }

    #[test]
    fn a_refusal_is_no_failure_and_no_success() {
        let records = [Outcome::Ok, Outcome::Ok, Outcome::Late, Outcome::Refused, Outcome::Failed]
            .map(|outcome| record(0, outcome, 1));
        let numbers = Numbers::of(&records, 3, None);

        assert_eq!((numbers.ok, numbers.late, numbers.refused, numbers.failed), (2, 1, 1, 1));
        assert_eq!((numbers.offered, numbers.provider_calls, numbers.recovery_s), (5, 3, None));
        assert!((numbers.goodput - 0.4).abs() < 1e-9);
    }

    #[test]
    fn stale_answers_are_counted_with_their_first_and_last_moment() {
        let mut records = after_outage(0);
        assert_eq!(Stale::of(&records), Stale::default());
        records[10].stale = true;
        let [first, last] = [10, 20].map(|number: usize| Some(records[number].at));
        assert_eq!(Stale::of(&records), Stale { answers: 1, first, last: first });
        records[20].stale = true;
        assert_eq!(Stale::of(&records), Stale { answers: 2, first, last });
    }

    #[test]
    fn who_comes_while_the_abuser_is_there_is_told_from_the_others() {
        // The abuser is there for the first 300 ms of a second; those who come then wait longer, and some are sent away soon.
        let mut records = after_outage(1_100);
        for record in &mut records[..30] {
            record.waited *= 2;
        }
        records[0].errand = Errand::Checkout;
        let stays = [Duration::ZERO..Duration::from_millis(500), SECOND..Duration::from_millis(1_300)];
        let patience = Duration::from_millis(500);
        let beside = |there| Looked::beside(&records, &stays, there, patience);
        let tally = |ok, refused| Tally { ok, refused, ..Tally::default() };
        assert_eq!(beside(true), Looked { tally: tally(20, 9), p99: Some(patience) });
        assert_eq!(beside(false), Looked { tally: tally(70, 0), p99: Some(Duration::from_millis(5)) });
    }

    #[test]
    fn what_the_limit_refused_is_told_from_what_came_past_it() {
        let mut records = after_outage(1_100);
        for record in &mut records[..4] {
            record.limited = true;
        }
        let abuse = Abuse::of(records);
        assert_eq!((abuse.tally.refused, abuse.limited, abuse.admitted()), (10, 4, 96));
    }

    #[test]
    fn percentiles_are_waits_of_customers() {
        let waits: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&waits, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&waits, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&waits[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn the_recovery_ends_with_the_last_bad_piece() {
        let recovered = |bad_until| recovery(&after_outage(bad_until), SECOND, 2 * SECOND);
        assert_eq!(recovered(0), Some(Duration::ZERO));
        assert_eq!(recovered(1_100), Some(GRAIN));
        assert_eq!(recovered(1_300), Some(2 * GRAIN));
        assert_eq!(recovered(2_000), None, "never");
    }

    #[test]
    fn a_relapse_counts_and_a_single_failure_does_not() {
        let mut records = after_outage(0);
        records[60].outcome = Outcome::Failed;
        assert_eq!(recovery(&records, SECOND, 2 * SECOND), Some(Duration::ZERO), "one of 25 is within 5 %");
        records[61].outcome = Outcome::Failed;
        assert_eq!(recovery(&records, SECOND, 2 * SECOND), Some(3 * GRAIN));
    }

    #[test]
    fn a_run_that_ended_before_the_recovery_has_none() {
        assert_eq!(recovery(&[], SECOND, SECOND), None);
    }

    #[test]
    fn only_a_circuit_that_was_closed_opens() {
        let [zero, half, most, one] = [0, 500, 750, 1_000].map(Duration::from_millis);
        let opened = |states: &[_]| opened_after(states, &(SECOND..2 * SECOND));
        let cycle = [(zero, State::Closed), (half, State::Open), (most, State::HalfOpen), (one, State::Open)];

        assert_eq!(
            opened(&[(zero, State::Closed), (one + GRAIN, State::Open), (one + half, State::HalfOpen)]),
            Some(GRAIN)
        );
        assert_eq!(opened(&cycle), None, "it was half-open");
        assert_eq!(opened(&[(zero, State::Closed), (2 * SECOND, State::Open)]), None, "too late");
        assert_eq!(opened(&[(zero, State::Closed)]), None, "never");
        assert_eq!(opened(&[]), None, "there is none");
    }

    #[test]
    fn pieces_fill_the_time_and_a_rest_joins_the_last() {
        let pieces = series(&after_outage(0), SECOND..SECOND + Duration::from_millis(600), GRAIN);
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[1].time, SECOND + GRAIN..SECOND + Duration::from_millis(600));
        assert_eq!(pieces.iter().map(|bucket| bucket.tally.offered()).sum::<usize>(), 60);
    }
}
