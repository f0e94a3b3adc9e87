//! The check: every phase, on a thread of its own that is watched.

use crate::{
    clause::{Clause, ClauseSet},
    drills::{self, Crowd},
    heart::Heart,
    ledger, quiet,
    report::{Counterexample, Finding, Report},
    search::{self, Effort, Outcome},
    subject::{Erased, Subject},
    trap::{self, Point},
    world::{Breach, Setting, World, panic_text},
};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

/// The search of a layer that takes its time is cut short after this.
const MOST_TIME: Duration = Duration::from_secs(15);

/// Checks every clause, and reports.
///
/// About a second for a layer in a debug build, unless the environment asks for more:
///
/// | variable | meaning | default |
/// | --- | --- | --- |
/// | `CONFORMANCE_EFFORT` | how many times as much is searched; 1 to 1000 | 1 |
/// | `CONFORMANCE_SEED` | the seed of the random search, which is the same each time | 0 |
///
/// Auto traits are checked where the compiler can be asked about the types, by
/// [`conformance_suite!`](crate::conformance_suite) and [`subject_types!`](crate::subject_types).
///
/// # Panics
///
/// If one of the variables is not such a number. A panic of the layer is a finding.
pub fn check<L>(subject: Subject<L>) -> Report {
    check_erased(subject.erased)
}

fn check_erased(subject: Erased) -> Report {
    let effort = effort(subject.on_tokio);
    let (subject, heart) = (Arc::new(subject), Arc::new(Heart::default()));
    let mut lab = Lab { findings: Vec::new(), masked: unbound(&subject), runs: 0, allocations: None };
    let mut blocked = false;
    for &phase in Phase::ALL {
        if blocked {
            break;
        }
        blocked = !watched(phase, &subject, &heart, effort, &mut lab);
    }
    report(&subject, effort, lab, blocked)
}

/// What is found so far.
struct Lab {
    findings: Vec<Finding>,
    masked: ClauseSet,
    runs: usize,
    allocations: Option<u64>,
}

/// What a phase tells the thread that watches it.
enum News {
    Found(Finding),
    Runs(usize),
    #[cfg(feature = "allocations")]
    Allocations(Option<u64>),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Search,
    Crowds,
    Panics,
    Launder,
    #[cfg(feature = "allocations")]
    Allocations,
    /// Last, since a layer that blocks here has passed everything else.
    ComeBack,
}

impl Phase {
    const ALL: &[Self] = &[
        Self::Search,
        Self::Crowds,
        Self::Panics,
        Self::Launder,
        #[cfg(feature = "allocations")]
        Self::Allocations,
        Self::ComeBack,
    ];
}

/// Clauses that need not be looked at.
fn unbound(subject: &Erased) -> ClauseSet {
    let mut set = ClauseSet::default();
    for clause in Clause::ALL {
        if subject.exempt(*clause).is_some() {
            set.insert(*clause);
        }
    }
    set
}

fn effort(on_tokio: bool) -> Effort {
    let times = number("CONFORMANCE_EFFORT", 1);
    assert!((1..=1_000).contains(&times), "CONFORMANCE_EFFORT is {times}, allowed is 1 to 1000");
    // A runtime for each run takes its time.
    let (short, long) = if on_tokio { (8_000, 300) } else { (20_000, 1_000) };
    let scaled = |runs: usize| runs.saturating_mul(usize::try_from(times).unwrap_or(usize::MAX));
    Effort {
        until: search::now() + MOST_TIME.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)),
        short: scaled(short),
        long: scaled(long),
        length: 60,
        seed: number("CONFORMANCE_SEED", 0),
    }
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is `{text}`, allowed is a whole number")),
        Err(_) => default,
    }
}

/// Runs a phase on its own thread; `false` if it blocked, and then its thread is left behind.
fn watched(phase: Phase, subject: &Arc<Erased>, heart: &Arc<Heart>, effort: Effort, lab: &mut Lab) -> bool {
    let (tell, hear) = channel();
    let (worker, pulse, masked) = (Arc::clone(subject), Arc::clone(heart), lab.masked);
    let thread = thread::spawn(move || {
        quiet::this_thread();
        let setting = Setting { subject: &worker, heart: &pulse, masked };
        Worker { setting, tell: &tell }.work(phase, effort);
        let _ = tell.send(News::Done);
    });
    let mut beats = heart.beats();
    loop {
        match hear.recv_timeout(subject.patience) {
            Ok(News::Done) => return true,
            Ok(News::Found(finding)) => {
                lab.masked.insert(finding.clause);
                lab.findings.push(finding);
            }
            Ok(News::Runs(runs)) => lab.runs += runs,
            #[cfg(feature = "allocations")]
            Ok(News::Allocations(counted)) => lab.allocations = counted,
            Err(RecvTimeoutError::Timeout) if heart.beats() == beats => {
                lab.findings.push(blocked(heart));
                return false;
            }
            Err(RecvTimeoutError::Timeout) => beats = heart.beats(),
            // Something of the layer panicked where nothing can go on: it could not even be made.
            Err(RecvTimeoutError::Disconnected) => {
                let Err(payload) = thread.join() else { return true };
                lab.findings.push(could_not_go_on(heart, &*payload));
                return false;
            }
        }
    }
}

fn log_of(heart: &Heart) -> Vec<ledger::Event> {
    heart.backend().map(|backend| backend.with(|state| state.log.clone())).unwrap_or_default()
}

fn could_not_go_on(heart: &Heart, payload: &(dyn Any + Send)) -> Finding {
    let what = format!("the layer panicked when it was made, cloned or dropped: {}", panic_text(payload));
    let counterexample = Counterexample::new(what, ledger::text(&log_of(heart)));
    Finding { clause: Clause::PanicsDoNotSpread, counterexample }
}

fn blocked(heart: &Heart) -> Finding {
    let log = log_of(heart);
    let (clause, what) = if heart.is_reentrant() {
        (
            Clause::NothingForeignUnderLock,
            "foreign code used another clone of the service from within, and neither came back",
        )
    } else {
        (Clause::NeverBlocks, "the last step never came back")
    };
    Finding { clause, counterexample: Counterexample::new(what.into(), ledger::text(&log)) }
}

/// What runs on the watched thread.
struct Worker<'a> {
    setting: Setting<'a>,
    tell: &'a Sender<News>,
}

impl Worker<'_> {
    fn work(&mut self, phase: Phase, effort: Effort) {
        match phase {
            Phase::Search => self.search(effort),
            Phase::Crowds => self.crowds(effort),
            Phase::Panics => self.panics(),
            Phase::Launder => {
                let world = drills::launder(self.setting);
                self.conclude(world);
            }
            #[cfg(feature = "allocations")]
            Phase::Allocations => self.allocations(),
            Phase::ComeBack => self.come_back(),
        }
    }

    fn search(&mut self, effort: Effort) {
        let tell = self.tell;
        let mut found = |_, outcome: Outcome| {
            if let Some(breach) = outcome.breach {
                let _ = tell.send(News::Found(finding(breach, &outcome.log)));
            }
        };
        let short = search::short(&mut self.setting, effort, &mut found);
        let long = search::long(&mut self.setting, effort, &mut found);
        let _ = tell.send(News::Runs(short + long));
    }

    fn crowds(&mut self, effort: Effort) {
        const ORDERS: u64 = 10;
        let sizes = [(1, 0, 2), (1, 0, 4), (2, 0, 5), (3, 0, 4), (0, 1, 2), (0, 1, 4), (0, 2, 5)];
        for (tokens, late, clones) in sizes {
            for order in 0..ORDERS {
                let seed = effort.seed.wrapping_add(order);
                let world = drills::crowd(self.setting, Crowd { tokens, late, clones }, seed);
                self.conclude(world);
            }
        }
    }

    fn panics(&mut self) {
        use Point::{Call, CloneRequest, DropFuture, DropRequest, DropService, Poll, PollReady};
        for point in [PollReady, Call, Poll, DropFuture, DropService, CloneRequest, DropRequest] {
            for skip in 0..3 {
                let world = drills::panic(self.setting, point, skip);
                if let Some(world) = world {
                    self.conclude(world);
                }
            }
        }
    }

    fn come_back(&mut self) {
        use Point::{
            Call, CloneRequest, CloneService, DropFuture, DropRequest, DropService, DropWaker, Poll, PollReady, Wake,
        };
        let services = [PollReady, Call, Poll, DropFuture, CloneService, DropService];
        for point in services.into_iter().chain([Wake, DropWaker, CloneRequest, DropRequest]) {
            for tokens in 0..3 {
                let world = drills::come_back(self.setting, point, tokens);
                self.conclude(world);
            }
        }
    }

    #[cfg(feature = "allocations")]
    fn allocations(&self) {
        if self.setting.subject.profile.allocations.is_some() {
            let _ = self.tell.send(News::Allocations(drills::allocations(self.setting)));
        }
    }

    fn conclude(&mut self, mut world: World<'_>) {
        if let Some(breach) = world.breach.take() {
            self.setting.masked.insert(breach.clause);
            let _ = self.tell.send(News::Found(finding(breach, &world.log())));
        }
        // What is dropped here may still hold services.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(world)));
        debug_assert!(dropped.is_ok() || !trap::disarm(), "a trap was left armed");
    }
}

fn finding(breach: Breach, log: &[ledger::Event]) -> Finding {
    Finding { clause: breach.clause, counterexample: Counterexample::new(breach.what, ledger::text(log)) }
}

fn report(subject: &Erased, effort: Effort, mut lab: Lab, blocked: bool) -> Report {
    let mut measure = |clause: Clause, what: Option<String>| {
        if let Some(what) = what {
            lab.findings.push(Finding { clause, counterexample: Counterexample::new(what, String::new()) });
        }
    };
    measure(Clause::FutureIsSmall, too_large(subject));
    measure(Clause::AutoTraitsHold, lacking(subject));
    #[cfg(feature = "allocations")]
    measure(Clause::FewAllocations, too_many(subject, lab.allocations));
    Report::new(subject, effort, lab.findings, lab.runs, lab.allocations, blocked)
}

fn too_large(subject: &Erased) -> Option<String> {
    let most = subject.profile.future_overhead?;
    let size = subject.future_size;
    (size > most).then(|| format!("the response future is {size} bytes larger than the inner one; declared are {most}"))
}

fn lacking(subject: &Erased) -> Option<String> {
    let (service, future) = subject.auto_traits?;
    let checks =
        [("service", service, subject.profile.service_is), ("response future", future, subject.profile.future_is)];
    checks
        .iter()
        .find(|(_, found, declared)| !found.cover(*declared))
        .map(|(what, found, declared)| format!("the {what} is declared to be {declared}, and of these it is: {found}"))
}

#[cfg(feature = "allocations")]
fn too_many(subject: &Erased, counted: Option<u64>) -> Option<String> {
    let most = subject.profile.allocations?;
    match counted {
        None => {
            Some("the allocations could not be counted: a call to an inner service that answers at once did not".into())
        }
        Some(counted) => {
            (counted > most).then(|| format!("a call allocates {counted} times; declared are at most {most}"))
        }
    }
}
