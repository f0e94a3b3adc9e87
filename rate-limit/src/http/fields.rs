//! The fields by which a response says how much is left.

use crate::{Decision, Quota, Rule, decision::NEVER};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{fmt::Write, time::Duration};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

const SECOND: u128 = 1_000_000_000;

/// Writes `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers) for the decisions of one limiter.
///
/// ```text
/// ratelimit-policy: "visitors";q=100;w=60
/// ratelimit: "visitors";r=42;t=35
/// ```
///
/// - `q` units are allowed in `w` seconds. A period that is no whole number of seconds is rounded up to one, and `q` with it,
///   downwards.
/// - `r` units are left, and more come back within `t` seconds, rounded up: for a refused request the time to wait, as in
///   `Retry-After`; if waiting does not help, or if it was allowed, the time until everything has come back. With a burst above
///   the limit, `r` may be above `q`.
/// - The policy has the name of the limiter. With several rules it is followed by the place of the rule, as in `"visitors-2"`;
///   `RateLimit` is about the one that binds.
/// - A decision whose `limit` is not that of the rule here leaves the policy out. The layer also leaves it out when the client
///   has a quota by a function, and from a change of the rules on; a handler makes new fields then.
/// - What a name has beside printable ASCII is percent-encoded.
///
/// The layer writes them by itself. For a handler that has a limiter of its own:
///
/// ```
/// use http::HeaderMap;
/// use mainstay_rate_limit::{Limiter, Quota, http::RateLimitFields};
///
/// let quota = Quota::per_minute(100)?;
/// let limiter = Limiter::new(quota)?;
/// let fields = RateLimitFields::new("visitors", &[quota.into()]);
///
/// let mut headers = HeaderMap::new();
/// fields.write(&limiter.check(), &mut headers);
///
/// assert_eq!(headers["ratelimit-policy"], r#""visitors";q=100;w=60"#);
/// assert_eq!(headers["ratelimit"], r#""visitors";r=99;t=1"#);
/// # Ok::<(), mainstay_core::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
pub struct RateLimitFields {
    items: Vec<Item>,
    policy: HeaderValue,
    /// That of the rules, if it is known.
    version: Option<u64>,
}

/// What is known of a rule.
#[derive(Clone, Debug)]
struct Item {
    /// A string of a structured field.
    name: String,
    capacity: u64,
}

/// Which responses have `RateLimit` and `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fields {
    /// All, so that clients can slow down before they are refused. In shadow mode not those that would have been refused.
    #[default]
    Always,
    /// Those to refused requests. The others then cost no allocation.
    WhenRefused,
    /// None. A refused request is told `Retry-After` all the same.
    Never,
}

impl RateLimitFields {
    /// Writes what does not change from decision to decision, for a limiter of this name with these rules.
    pub fn new(name: &str, rules: &[Rule]) -> Self {
        let names = names(name, rules.len());
        let policies: Vec<_> = names.iter().zip(rules).map(|(name, rule)| policy(name, rule.quota())).collect();
        let item = |(name, rule): (String, &Rule)| Item { name, capacity: rule.capacity() };
        Self {
            policy: header_value(policies.join(", ").into()),
            items: names.into_iter().zip(rules).map(item).collect(),
            version: None,
        }
    }

    /// The same, for rules of this version.
    pub(super) fn of_version(self, version: Option<u64>) -> Self {
        Self { version, ..self }
    }

    pub(super) const fn version(&self) -> Option<u64> {
        self.version
    }

    /// Adds both fields, beside those of other limiters that the response may have been through. Of a rule that is not one of
    /// these it says nothing.
    pub fn write(&self, decision: &Decision, headers: &mut HeaderMap) {
        self.write_if(true, decision, headers);
    }

    /// Adds both, or without the policy if that does not hold any more.
    pub(super) fn write_if(&self, holds: bool, decision: &Decision, headers: &mut HeaderMap) {
        let Some(Item { name, capacity }) = self.items.get(decision.rule) else {
            return;
        };
        if holds && *capacity == decision.limit {
            headers.append(RATE_LIMIT_POLICY, self.policy.clone());
        }
        headers.append(RATE_LIMIT, item(name, decision.remaining, wait(decision)));
    }
}

/// The names of the rules, in quotes.
fn names(name: &str, rules: usize) -> Vec<String> {
    let name = text(name);
    match rules {
        1 => vec![format!("\"{name}\"")],
        rules => (1..=rules).map(|rule| format!("\"{name}-{rule}\"")).collect(),
    }
}

/// The content of a string of a structured field (RFC 9651, section 3.3.3).
fn text(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', byte.into()]),
            b' '..=b'~' => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").expect("a string takes all that is written"),
        }
    }
    text
}

fn policy(name: &str, quota: Quota) -> String {
    let period = quota.period().as_nanos();
    let window = period.div_ceil(SECOND);
    let limit = u128::from(quota.limit()) * window * SECOND / period;
    format!("{name};q={};w={}", integer(limit), integer(window))
}

fn integer(number: u128) -> u64 {
    u64::try_from(number).map_or(MAX_INTEGER, |number| number.min(MAX_INTEGER))
}

/// When there is more, in seconds.
fn wait(decision: &Decision) -> u64 {
    // Where waiting does not help, more is there all the same.
    let told = !decision.retry_after.is_zero() && decision.retry_after != NEVER;
    let wait = if told { decision.retry_after } else { decision.reset_after };
    whole_seconds(wait)
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// One item of `RateLimit`. Its length is known, so it is allocated once and to measure.
fn item(name: &str, remaining: u64, wait: u64) -> HeaderValue {
    let [remaining, wait] = [remaining, wait].map(|number| number.min(MAX_INTEGER));
    let length = name.len() + ";r=".len() + digits(remaining) + ";t=".len() + digits(wait);
    let mut item = String::with_capacity(length);
    write!(item, "{name};r={remaining};t={wait}").expect("a string takes all that is written");
    header_value(item.into())
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

fn header_value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("printable ASCII is a valid header value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decision(rule: usize, remaining: u64, retry_after: Duration, reset_after: Duration) -> Decision {
        Decision { allowed: true, shadow: false, rule, limit: 1, remaining, retry_after, reset_after }
    }

    fn quota(limit: u64, period: Duration) -> Quota {
        Quota::new(limit, period).unwrap()
    }

    fn written(fields: &RateLimitFields, decision: &Decision) -> [String; 2] {
        let mut headers = HeaderMap::new();
        let limit = fields.items[decision.rule].capacity;
        fields.write(&Decision { limit, ..*decision }, &mut headers);
        [RATE_LIMIT_POLICY, RATE_LIMIT].map(|name| headers[name].to_str().unwrap().to_owned())
    }

    /// Reads a list of strings with parameters that are integers, as RFC 9651 has it, and nothing else.
    fn read(list: &str) -> Vec<(String, Vec<(String, u64)>)> {
        let mut rest = list;
        let mut items = Vec::new();
        loop {
            let (name, after) = read_string(rest);
            let mut parameters = Vec::new();
            rest = after;
            while let Some(parameter) = rest.strip_prefix(';') {
                let (key, value) = parameter.split_once('=').unwrap();
                let end = value.find(|character: char| !character.is_ascii_digit()).unwrap_or(value.len());
                assert!((1..=15).contains(&end), "{list}");
                parameters.push((key.to_owned(), value[..end].parse().unwrap()));
                rest = &value[end..];
            }
            items.push((name, parameters));
            let Some(next) = rest.strip_prefix(", ") else { break };
            rest = next;
        }
        assert_eq!(rest, "", "{list}");
        items
    }

    fn read_string(text: &str) -> (String, &str) {
        let mut content = String::new();
        let mut characters = text.strip_prefix('"').unwrap().chars();
        loop {
            match characters.next().unwrap() {
                '"' => return (content, characters.as_str()),
                '\\' => content.push(characters.next().filter(|character| "\"\\".contains(*character)).unwrap()),
                character @ ' '..='~' => content.push(character),
                other => panic!("{other:?} in {text:?}"),
            }
        }
    }

    fn item_of(name: &str, keys: [&str; 2], values: [u64; 2]) -> (String, Vec<(String, u64)>) {
        (name.to_owned(), keys.map(str::to_owned).into_iter().zip(values).collect())
    }

    #[test]
    fn a_refusal_names_the_time_to_wait_and_else_the_time_until_all_is_back() {
        let fields = RateLimitFields::new("visitors", &[quota(100, Duration::from_mins(1)).into()]);
        for (retry_after, reset_after, seconds) in
            [(0, 0, 0), (0, 1, 1), (0, 1_000, 1), (0, 1_001, 2), (1, 60_000, 1), (1_001, 60_000, 2)]
        {
            let [retry_after, reset_after] = [retry_after, reset_after].map(Duration::from_millis);
            let [policy, item] = written(&fields, &decision(0, 42, retry_after, reset_after));
            assert_eq!(policy, r#""visitors";q=100;w=60"#);
            assert_eq!(item, format!(r#""visitors";r=42;t={seconds}"#));
        }
        let [_, item] = written(&fields, &decision(0, 42, NEVER, Duration::from_secs(7)));
        assert_eq!(item, r#""visitors";r=42;t=7"#, "waiting does not help");
    }

    #[test]
    fn several_rules_have_names_of_their_own_and_the_binding_one_is_told() {
        let rules = [quota(10, Duration::from_secs(1)), quota(1_000, Duration::from_hours(1))].map(Rule::from);
        let fields = RateLimitFields::new("shop", &rules);
        let [policies, item] = written(&fields, &decision(1, 7, Duration::ZERO, Duration::from_secs(9)));
        assert_eq!(policies, r#""shop-1";q=10;w=1, "shop-2";q=1000;w=3600"#);
        assert_eq!(item, r#""shop-2";r=7;t=9"#);
    }

    #[test]
    fn the_largest_numbers_are_those_that_a_structured_field_can_hold() {
        let fields = RateLimitFields::new("", &[quota(1 << 60, Duration::from_hours(639_480)).into()]);
        let [policy, item] = written(&fields, &decision(0, u64::MAX, Duration::ZERO, Duration::MAX));
        assert_eq!(read(&policy), [item_of("", ["q", "w"], [MAX_INTEGER, 2_302_128_000])]);
        assert_eq!(read(&item), [item_of("", ["r", "t"], [MAX_INTEGER, MAX_INTEGER])]);
    }

    #[test]
    fn what_other_limiters_have_written_stays() {
        let fields = RateLimitFields::new("outer", &[quota(1, Duration::from_secs(1)).into()]);
        let mut headers = HeaderMap::new();
        headers.insert(RATE_LIMIT, HeaderValue::from_static(r#""inner";r=1;t=1"#));
        fields.write(&decision(0, 0, Duration::ZERO, Duration::ZERO), &mut headers);
        let all: Vec<_> = headers.get_all(RATE_LIMIT).iter().collect();
        assert_eq!(all, [r#""inner";r=1;t=1"#, r#""outer";r=0;t=0"#]);
    }

    #[test]
    fn a_policy_that_does_not_hold_is_left_out() {
        let rule = quota(10, Duration::from_secs(1)).burst(50).unwrap();
        let fields = RateLimitFields::new("bucket", &[rule.into()]);
        for (limit, holds) in [(50, true), (10, false), (51, false)] {
            let mut headers = HeaderMap::new();
            fields.write(&Decision { limit, ..decision(0, 7, Duration::ZERO, Duration::ZERO) }, &mut headers);
            assert_eq!(headers.contains_key(RATE_LIMIT_POLICY), holds, "{limit}");
            assert_eq!(headers[RATE_LIMIT], r#""bucket";r=7;t=0"#);
        }
    }

    #[test]
    fn a_rule_that_is_not_there_writes_nothing() {
        let fields = RateLimitFields::new("one", &[quota(1, Duration::from_secs(1)).into()]);
        let mut headers = HeaderMap::new();
        fields.write(&decision(1, 0, Duration::ZERO, Duration::ZERO), &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn a_name_in_any_script_is_written_in_ascii() {
        assert_eq!(text("a\"b\\c \u{e9}\n"), r#"a\"b\\c %C3%A9%0A"#);
        assert_eq!(read_string(&names("a\"b\\", 1)[0]), ("a\"b\\".to_owned(), ""));
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            name in any::<String>(),
            remaining: u64,
            reset_after: Duration,
            limits in prop::collection::vec((1_u64..1_000_000, 1_000_000_u64..10_000_000_000_000), 1..9),
        ) {
            let quotas: Vec<_> = limits.iter().map(|&(limit, nanos)| quota(limit, Duration::from_nanos(nanos))).collect();
            let rules: Vec<_> = quotas.iter().copied().map(Rule::from).collect();
            let rule = rules.len() - 1;
            let [policies, items] = written(&RateLimitFields::new(&name, &rules), &decision(rule, remaining, Duration::ZERO, reset_after));
            let (policies, items) = (read(&policies), read(&items));

            let [(bound, item)] = &items[..] else { panic!() };
            prop_assert_eq!(bound, &policies[rule].0);
            prop_assert_eq!(item[0].1, remaining.min(MAX_INTEGER));
            prop_assert_eq!(u128::from(item[1].1), reset_after.as_nanos().div_ceil(SECOND).min(MAX_INTEGER.into()));
            for (quota, (_, policy)) in quotas.iter().zip(&policies) {
                let [(_, limit), (_, window)] = policy[..] else { panic!() };
                let [limit, window] = [limit, window].map(u128::from);
                let nanos = quota.period().as_nanos();
                prop_assert!(window * SECOND >= nanos && (window - 1) * SECOND < nanos);
                prop_assert!(limit * nanos <= u128::from(quota.limit()) * window * SECOND, "no more than the quota");
                prop_assert!((limit + 1) * nanos > u128::from(quota.limit()) * window * SECOND, "and not less");
            }
        }

        #[test]
        fn names_stay_apart(one in any::<String>(), other in any::<String>()) {
            prop_assume!(!one.contains('%') && !other.contains('%'));
            prop_assert_eq!(text(&one) == text(&other), one == other);
        }
    }
}
