//! The ledger: what the driver did and what the inner service saw, in order.

use crate::{action::Action, trap::Point};
use std::fmt::{self, Write as _};

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// What the driver did.
    Did(Action),
    /// What the layer returned.
    Saw(Seen),
    Note(&'static str),
    PolledReady {
        instance: usize,
        answer: Readiness,
    },
    Called {
        instance: usize,
        call: usize,
        request: u32,
        token: bool,
    },
    Polled {
        call: usize,
        answer: Progress,
    },
    FutureDropped {
        call: usize,
        unfinished: bool,
    },
    InstanceCloned {
        from: usize,
        to: usize,
        in_call: bool,
    },
    InstanceDropped {
        instance: usize,
        token: bool,
    },
    RequestCloned {
        request: u32,
    },
    RequestDropped {
        request: u32,
    },
    Woken {
        task: Task,
    },
    Panicked {
        point: Point,
    },
}

/// What `poll_ready` of the inner service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    TookToken,
    StillReady,
    Pending,
    Error(u32),
}

/// What the inner future said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Pending,
    Ok,
    Error(u32),
    /// It had completed before.
    Again,
}

/// What the layer returned to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Ready,
    Pending,
    Reply(Option<u32>),
    Error(String),
    Panic,
}

/// Who is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Service(usize),
    Call(usize),
}

/// The letter of a service: `a`, `b`, and so on.
pub(crate) struct Letter(pub(crate) usize);

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = u8::try_from(self.0 % 26).map_or('?', |at| char::from(b'a' + at));
        write!(f, "{letter}")?;
        if self.0 >= 26 { write!(f, "{}", self.0 / 26) } else { Ok(()) }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "the task that waits for {} to be ready", Letter(*service)),
            Self::Call(call) => write!(f, "the task of call {call}"),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Pending => f.write_str("pending"),
            Self::Reply(Some(request)) => write!(f, "the reply to call {request}"),
            Self::Reply(None) => f.write_str("a reply that the layer made up"),
            Self::Error(text) => write!(f, "error: {text}"),
            Self::Panic => f.write_str("a panic"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Did(action) => write!(f, "{action}"),
            Self::Saw(seen) => write!(f, "=> {seen}"),
            Self::Note(note) => f.write_str(note),
            Self::PolledReady { instance, answer } => write!(f, "inner {instance}: poll_ready, {answer}"),
            Self::Called { instance, request, token, .. } => {
                let how = if *token { "its token is spent" } else { "although it has no token" };
                write!(f, "inner {instance}: called for call {request}, {how}")
            }
            Self::Polled { call, answer } => write!(f, "inner future {call}: polled, {answer}"),
            Self::FutureDropped { call, unfinished } => {
                write!(f, "inner future {call}: dropped{}", if *unfinished { " unfinished" } else { "" })
            }
            Self::InstanceCloned { from, to, in_call } => {
                write!(f, "inner {from}: cloned to inner {to}{}", if *in_call { ", in `call`" } else { "" })
            }
            Self::InstanceDropped { instance, token } => {
                write!(f, "inner {instance}: dropped{}", if *token { ", its token is free again" } else { "" })
            }
            Self::RequestCloned { request } => write!(f, "request {request}: cloned"),
            Self::RequestDropped { request } => write!(f, "request {request}: dropped"),
            Self::Woken { task } => write!(f, "woken: {task}"),
            Self::Panicked { point } => write!(f, "panic in {point}"),
        }
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TookToken => f.write_str("ready, it takes a token"),
            Self::StillReady => f.write_str("ready, it has its token"),
            Self::Pending => f.write_str("pending"),
            Self::Error(id) => write!(f, "inner error {id}"),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Ok => f.write_str("reply"),
            Self::Error(id) => write!(f, "inner error {id}"),
            Self::Again => f.write_str("although it has completed"),
        }
    }
}

/// The events as text: what the driver did is numbered, what followed from it is indented, and what repeats is said once.
pub(crate) fn text(events: &[Event]) -> String {
    let lines: Vec<String> = events.iter().map(line).collect();
    let (mut text, mut steps, mut at) = (String::new(), 0, 0);
    while at < lines.len() {
        let (length, times) = repetition(&lines[at..]);
        for (event, line) in events[at..].iter().zip(&lines[at..]).take(length) {
            if let Event::Did(_) = event {
                steps += 1;
                let _ = writeln!(text, "{steps:>4}. {line}");
            } else {
                let _ = writeln!(text, "      {line}");
            }
        }
        if times > 1 {
            let _ = writeln!(text, "      … and the same {} times more", times - 1);
        }
        at += length * times;
    }
    text
}

fn line(event: &Event) -> String {
    let margin = if matches!(event, Event::Did(_) | Event::Saw(_)) { "" } else { "  " };
    format!("{margin}{event}")
}

/// How many lines come how many times in a row; one line once, unless it is worth saying.
fn repetition(lines: &[String]) -> (usize, usize) {
    const LONGEST: usize = 6;
    const WORTH: usize = 4;
    (1..=LONGEST)
        .find_map(|length| {
            let first = lines.get(..length)?;
            let times = lines.chunks_exact(length).take_while(|chunk| *chunk == first).count();
            (times >= WORTH).then_some((length, times))
        })
        .unwrap_or((1, 1))
}
