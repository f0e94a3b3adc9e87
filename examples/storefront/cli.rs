//! The command line: every wrong input is one line and exit code 2, before anything runs.

use crate::{experiment::Plan, report};
use clap::{Parser, ValueEnum, error::ErrorKind};
use std::{fmt, path::PathBuf, process::ExitCode, time::Duration};

/// A wrong flag, a directory that cannot be written, a port that is taken.
pub(crate) const WRONG_INPUT: u8 = 2;
/// Ctrl-C, as shells report it.
pub(crate) const INTERRUPTED: u8 = 130;

const LONG_ABOUT: &str = "\
A shop that breaks and recovers, on loopback, with nothing installed.

Customers browse the catalog (60 %) and check out (40 %). The payment provider behind the checkout is flaky for a while, \
and nearly half of the time sick: slow, then failing, and after a recovery silent. One of the two replicas of the catalog \
pauses now and then, and once both fail for a moment. One client comes and goes and asks far too often. The same customers \
and the same troubles come twice, with resilience off (a customer's patience is the only limit) and on (a rate limit for \
each client, deadlines, retries from a budget, hedges, circuit breakers, a stale price list, refusals with Retry-After). A \
table compares the two.";

const EXAMPLES: &str = "\
Examples:
  storefront                                          both runs, 40 s in all, and the table
  storefront --duration 1m --report out               the same for longer; charts in out/report.html
  storefront --kill-orders                            the orders service is killed half-way; the books balance
  storefront --serve --port 8080                      keeps the shop running, to be broken by hand

Exit codes: 0 done, 1 something failed on the way or the books with resilience on do not balance, 2 wrong input, 130 Ctrl-C
(the table so far is printed; with --serve, Ctrl-C is the way to end and the code is 0).";

/// A shop that breaks and recovers, on loopback, with nothing installed
#[derive(Debug, Parser)]
#[command(name = "storefront", long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How long each of the two runs lasts: 4s to 10m
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration)]
    duration: Duration,

    /// Customers per second, on average: 10 to 2000
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=2_000))]
    rate: u32,

    /// The same seed brings the same customers at the same moments
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,

    /// How long a customer waits before giving up: 200ms to 5s
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = patience)]
    patience: Duration,

    /// Requests of one client in one window, at most: 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,

    /// The window of that limit: 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = window)]
    window: Duration,

    /// Write report.json and report.html (charts, offline) into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "serve")]
    pub(crate) report: Option<PathBuf>,

    /// Keep the shop running, with resilience on, until Ctrl-C
    #[arg(long, conflicts_with = "duration")]
    pub(crate) serve: bool,

    /// Run the orders service as a process of its own; kill and restart it in the middle of each run
    #[arg(long, conflicts_with = "serve")]
    pub(crate) kill_orders: bool,

    /// The gateway's port on 127.0.0.1; a free one if not given
    #[arg(long, value_name = "PORT", requires = "serve")]
    pub(crate) port: Option<u16>,

    /// Be one service of a shop in another process
    #[arg(long, hide = true, requires = "settings")]
    pub(crate) service: Option<Service>,

    /// What that service has to know, as JSON
    #[arg(long, hide = true, requires = "service")]
    pub(crate) settings: Option<String>,
}

/// What can be a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    Orders,
}

impl Arguments {
    pub(crate) const fn plan(&self) -> Plan {
        let Self { duration, rate, seed, patience, limit, window, kill_orders, .. } = *self;
        Plan { duration, rate, seed, patience, limit, window, kill_orders }
    }
}

/// The arguments, or the exit code when there is nothing more to do.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    let arguments = Arguments::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => {
            print!("{error}");
            ExitCode::SUCCESS
        }
        _ => wrong_input(one_line(&error)),
    })?;
    if let Some(directory) = &arguments.report {
        report::check(directory)
            .map_err(|error| wrong_input(format_args!("cannot write to `{}`: {error}", directory.display())))?;
    }
    Ok(arguments)
}

/// Says in one line what is wrong with the input.
pub(crate) fn wrong_input(what: impl fmt::Display) -> ExitCode {
    eprintln!("error: {what} (--help explains)");
    ExitCode::from(WRONG_INPUT)
}

/// The first paragraph of an error of the parser; usage and tips follow in others.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

fn duration(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(4), Duration::from_mins(10))
}

fn patience(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(200), Duration::from_secs(5))
}

fn window(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_secs(1), Duration::from_hours(1))
}

fn between(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let time =
        humantime::parse_duration(text).map_err(|error| format!("{error}, a time is written as 20s or 500ms"))?;
    if (least..=most).contains(&time) {
        return Ok(time);
    }
    Err(format!("allowed is {} to {}", humantime::format_duration(least), humantime::format_duration(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        let all = ["storefront"].iter().chain(arguments);
        one_line(&Arguments::try_parse_from(all).unwrap_err())
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let plan = Arguments::try_parse_from(["storefront"]).unwrap().plan();
        assert_eq!(plan, Plan::DEFAULT);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (arguments, said) in [
            (&["--frobnicate"][..], "unexpected argument '--frobnicate' found"),
            (&["--rate", "0"], "invalid value '0' for '--rate <N>': 0 is not in 10..=2000"),
            (&["--patience", "0s"], "invalid value '0s' for '--patience <TIME>': allowed is 200ms to 5s"),
            (&["--limit", "0"], "invalid value '0' for '--limit <N>': 0 is not in 1..=10000"),
            (&["--window", "2h"], "invalid value '2h' for '--window <TIME>': allowed is 1s to 1h"),
            (&["--duration", "1h"], "invalid value '1h' for '--duration <TIME>': allowed is 4s to 10m"),
            (&["--port", "80"], "the following required arguments were not provided: --serve"),
            (&["--serve", "--report", "x"], "the argument '--serve' cannot be used with '--report <DIR>'"),
        ] {
            assert_eq!(refused(arguments), said);
        }
        assert!(refused(&["--duration", "fast"]).ends_with("a time is written as 20s or 500ms"));
    }
}
