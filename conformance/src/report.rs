//! What a check found.

use crate::{auto_traits::AutoTraits, clause::Clause, search::Effort, subject::Erased};
use std::fmt::{self, Write as _};

/// The outcome of a [`check`](crate::check): each clause, and what was measured.
#[derive(Clone, Debug)]
#[must_use]
pub struct Report {
    name: String,
    outcomes: Vec<(Clause, Outcome)>,
    runs: usize,
    seed: u64,
    future_size: usize,
    auto_traits: Option<(AutoTraits, AutoTraits)>,
    allocations: Option<u64>,
}

/// What became of one clause.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// No run broke it.
    Holds,
    /// A run broke it.
    Fails(Counterexample),
    /// It is declared not to hold.
    Deviates {
        /// What was declared.
        reason: &'static str,
        /// The run that broke it, if one did.
        seen: Option<Counterexample>,
    },
    /// It does not bind this layer.
    NotBound {
        /// Why.
        reason: &'static str,
    },
    /// It was not looked at, since the layer blocked before.
    NotReached,
}

/// A run that broke a clause.
#[derive(Clone, Debug)]
pub struct Counterexample {
    what: String,
    log: String,
}

pub(crate) struct Finding {
    pub(crate) clause: Clause,
    pub(crate) counterexample: Counterexample,
}

impl Counterexample {
    pub(crate) const fn new(what: String, log: String) -> Self {
        Self { what, log }
    }

    /// What went wrong.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What was done, step by step, and what the inner service saw; empty for what was measured.
    pub fn log(&self) -> &str {
        &self.log
    }
}

impl Report {
    pub(crate) fn new(
        subject: &Erased,
        effort: Effort,
        findings: Vec<Finding>,
        runs: usize,
        allocations: Option<u64>,
        blocked: bool,
    ) -> Self {
        let mut findings = findings;
        let mut outcome = |clause: Clause| {
            let at = findings.iter().position(|finding| finding.clause == clause);
            let seen = at.map(|at| findings.swap_remove(at).counterexample);
            judge(subject, clause, seen, blocked)
        };
        Self {
            name: subject.name.clone(),
            outcomes: Clause::ALL.iter().map(|clause| (*clause, outcome(*clause))).collect(),
            runs,
            seed: effort.seed,
            future_size: subject.future_size,
            auto_traits: subject.auto_traits,
            allocations,
        }
    }

    /// The name of the subject.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What became of a clause.
    ///
    /// # Panics
    ///
    /// Never: a report has them all.
    pub fn outcome(&self, clause: Clause) -> &Outcome {
        let entry = self.outcomes.iter().find(|(other, _)| *other == clause);
        entry.map_or_else(|| unreachable!("a report has every clause"), |(_, outcome)| outcome)
    }

    /// Every clause with what became of it, in the order of [`Clause::ALL`].
    pub fn outcomes(&self) -> impl Iterator<Item = (Clause, &Outcome)> {
        self.outcomes.iter().map(|(clause, outcome)| (*clause, outcome))
    }

    /// The clauses that were broken and not declared.
    pub fn failures(&self) -> impl Iterator<Item = Clause> {
        let fails = |(clause, outcome): &(Clause, Outcome)| matches!(outcome, Outcome::Fails(_)).then_some(*clause);
        self.outcomes.iter().filter_map(fails)
    }

    /// # Panics
    ///
    /// If a clause was broken and not declared; the message teaches all that were.
    pub fn assert(&self) {
        let failures: Vec<String> = self.failures().map(|clause| self.lesson(clause)).collect();
        assert!(failures.is_empty(), "{} breaks {} clauses\n\n{}", self.name, failures.len(), failures.join("\n"));
        self.assert_reached();
    }

    fn assert_reached(&self) {
        let reached = !self.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::NotReached));
        assert!(reached, "{} blocked, and some clauses were not looked at", self.name);
    }

    /// # Panics
    ///
    /// If this clause was broken and not declared, or was not looked at; the message teaches it.
    pub fn require(&self, clause: Clause) {
        match self.outcome(clause) {
            Outcome::Fails(_) => panic!("{}", self.lesson(clause)),
            Outcome::NotReached => panic!("{clause} was not looked at, since {} blocked before", self.name),
            Outcome::Holds | Outcome::Deviates { .. } | Outcome::NotBound { .. } => {}
        }
    }

    /// What is wrong, the shortest way to see it, why it matters, and where to look.
    fn lesson(&self, clause: Clause) -> String {
        let Outcome::Fails(Counterexample { what, log }) = self.outcome(clause) else { return String::new() };
        let mut text = format!("{}: {clause} is broken: {what}\n", self.name);
        let _ = writeln!(text, "  the rule:  {}", clause.rule());
        let _ = writeln!(text, "  the harm:  {}", clause.why());
        let _ = writeln!(text, "  the cure:  {}", clause.cure());
        if !log.is_empty() {
            let _ = write!(text, "  how to see it (seed {}):\n{log}", self.seed);
        }
        text
    }

    /// The conformance card, in Markdown: what holds, what does not, what was measured.
    pub fn card(&self) -> String {
        let mut card = format!("### {}\n\n", self.name);
        let holds: Vec<&str> = self.with(|outcome| matches!(outcome, Outcome::Holds)).map(Clause::id).collect();
        let _ = writeln!(card, "Holds: {}.\n", if holds.is_empty() { "nothing".into() } else { holds.join(", ") });
        for (clause, outcome) in &self.outcomes {
            let _ = match outcome {
                Outcome::Holds => Ok(()),
                Outcome::Fails(seen) => {
                    writeln!(card, "- **{clause} does not hold.** {}: {}.", rule(*clause), seen.what)
                }
                Outcome::Deviates { reason, seen: Some(_) } => {
                    writeln!(card, "- {clause} does not hold, as declared: {reason}. ({}.)", rule(*clause))
                }
                Outcome::Deviates { reason, seen: None } => {
                    writeln!(card, "- {clause} need not hold, as declared: {reason}. It was not seen broken.")
                }
                Outcome::NotBound { reason } => writeln!(card, "- {clause} does not bind: {reason}."),
                Outcome::NotReached => writeln!(card, "- {clause} was not looked at: the layer blocked before."),
            };
        }
        let _ = writeln!(card, "\n{}", self.measured());
        card
    }

    fn with(&self, is: impl Fn(&Outcome) -> bool) -> impl Iterator<Item = Clause> {
        self.outcomes.iter().filter(move |(_, outcome)| is(outcome)).map(|(clause, _)| *clause)
    }

    fn measured(&self) -> String {
        let mut text = format!("The future is {} bytes larger than the inner one", self.future_size);
        if let Some((service, future)) = self.auto_traits {
            let _ = write!(text, "; the service is {service}, the future {future}");
        }
        if let Some(allocations) = self.allocations {
            let _ = write!(text, "; a call allocates {allocations} times");
        }
        let _ = write!(text, ". {} runs, seed {}.", self.runs, self.seed);
        text
    }
}

fn rule(clause: Clause) -> &'static str {
    clause.rule().trim_end_matches('.')
}

fn judge(subject: &Erased, clause: Clause, seen: Option<Counterexample>, blocked: bool) -> Outcome {
    if let Some(reason) = subject.profile.deviation(clause) {
        return Outcome::Deviates { reason, seen };
    }
    if let Some(reason) = subject.exempt(clause) {
        return Outcome::NotBound { reason };
    }
    match seen {
        Some(seen) => Outcome::Fails(seen),
        None if clause == Clause::AutoTraitsHold && subject.auto_traits.is_none() => {
            Outcome::NotBound { reason: "the compiler was not asked about the types" }
        }
        None if blocked => Outcome::NotReached,
        None => Outcome::Holds,
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.log)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.card())
    }
}
