//! A file of cards: written when asked for, compared otherwise.

use mainstay_conformance::{Clause, Report};
use std::{
    env,
    fmt::Write as _,
    fs,
    num::NonZero,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// One card.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) check: fn() -> Report,
    /// What is declared, and where it is documented; how it is set up.
    pub(crate) declared: &'static str,
    pub(crate) findings: &'static [Finding],
}

/// A clause that does not hold.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) clause: Clause,
    /// The test that shows it without the kit.
    pub(crate) test: &'static str,
    pub(crate) note: &'static str,
}

/// Asserts that the file has these cards; with `UPDATE_CARDS=1` writes it.
///
/// `tests` is the source in which the tests of the findings are.
pub(crate) fn keep(file: &Path, introduction: &str, entries: &[Entry], tests: &str) {
    for variable in ["CONFORMANCE_EFFORT", "CONFORMANCE_SEED"] {
        assert!(env::var_os(variable).is_none(), "{variable} is set, and the cards are those of the default");
    }
    let mut text = introduction.to_owned();
    for (entry, report) in entries.iter().zip(reports(entries)) {
        entry.is_right(&report, tests);
        text.push('\n');
        text.push_str(&entry.card(&report));
    }
    text.push_str("\n## The clauses\n\n");
    for clause in Clause::ALL {
        let _ = writeln!(text, "- {clause}: {}", clause.rule());
    }
    if env::var_os("UPDATE_CARDS").is_some() {
        return fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let there = fs::read_to_string(file).unwrap_or_default();
    assert!(there == text, "{} is not what the kit says now:\n{}", file.display(), difference(&there, &text));
}

/// The version of a package in a lock file.
pub(crate) fn locked(lock: &str, package: &str) -> String {
    let line = format!("name = \"{package}\"\nversion = \"");
    let mut found = lock.split(&line).skip(1).filter_map(|rest| rest.split('"').next());
    match (found.next(), found.next()) {
        (Some(version), None) => version.to_owned(),
        (None, _) => panic!("{package} is not in the lock file"),
        (Some(_), Some(_)) => panic!("{package} is in the lock file more than once"),
    }
}

/// In the order of the entries, as many at once as there are processors.
fn reports(entries: &[Entry]) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Report>>> = Mutex::new(entries.iter().map(|_| None).collect());
    let work = || {
        // Relaxed: only hands out numbers.
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = (entry.check)();
            let at = entries.iter().position(|other| std::ptr::eq(other, entry)).expect("it is one of them");
            done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(report);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.into_iter().map(|report| report.expect("every entry was checked")).collect()
}

impl Entry {
    /// What does not hold is what is written here, and each is shown by a test.
    fn is_right(&self, report: &Report, tests: &str) {
        let failures: Vec<Clause> = report.failures().collect();
        let written: Vec<Clause> = self.findings.iter().map(|finding| finding.clause).collect();
        let lessons: Vec<String> = report
            .outcomes()
            .filter_map(|(clause, outcome)| match outcome {
                mainstay_conformance::Outcome::Fails(seen) => Some(format!("{clause}: {seen}")),
                _ => None,
            })
            .collect();
        assert_eq!(failures, written, "what does not hold for {}\n{}", report.name(), lessons.join("\n"));
        for finding in self.findings {
            assert!(tests.contains(&format!("fn {}()", finding.test)), "there is no test {}", finding.test);
        }
    }

    fn card(&self, report: &Report) -> String {
        let card = report.card();
        let (title, rest) = card.split_once("\n\n").expect("a card has a title");
        let rest = rest.lines().map(without_size).collect::<Vec<_>>().join("\n");
        let mut text = format!("{title}\n\n{}\n\n{rest}\n", self.declared);
        for Finding { clause, test, note } in self.findings {
            let _ = write!(text, "\n{clause} is shown by `{test}`. {note}\n");
        }
        text
    }
}

/// How large a timer is depends on the features of tokio that others in the same build switch on.
fn without_size(line: &str) -> &str {
    let after = line.strip_prefix("The future is ").and_then(|line| line.split_once("; "));
    after.map_or(line, |(_, rest)| rest)
}

/// The lines that differ, with those around them that do not.
fn difference(there: &str, now: &str) -> String {
    const AROUND: usize = 2;
    let (there, now): (Vec<&str>, Vec<&str>) = (there.lines().collect(), now.lines().collect());
    let same = there.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let rest = there.len().min(now.len()) - same;
    let tail = there.iter().rev().zip(now.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    let mut lines = |mark: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{mark} {line}");
        }
    };
    lines(' ', &there[same.saturating_sub(AROUND)..same]);
    lines('-', &there[same..there.len() - tail]);
    lines('+', &now[same..now.len() - tail]);
    lines(' ', &now[now.len() - tail..now.len().min(now.len() - tail + AROUND)]);
    text
}
