//! Phase, flags and generation in one atomic word.

use crate::status::State;

/// What a call has to know before it takes any lock.
///
/// Three bits of phase, seven of flags, fifty-four of generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// A flag of a [`Word`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag(u64);

impl Flag {
    /// The start of a call is written in its permit.
    pub(crate) const TIMED: Self = Self(1 << 3);
    /// A success is recorded with its time.
    pub(crate) const DATED: Self = Self(1 << 4);
    /// A success is recorded.
    pub(crate) const COUNTED: Self = Self(1 << 5);
    /// A success would end a row of failures or of abandoned calls.
    pub(crate) const STREAK: Self = Self(1 << 6);
    /// A success of a closed circuit is not without effect.
    pub(crate) const COUNTED_OR_STREAK: Self = Self(Self::COUNTED.0 | Self::STREAK.0);
    /// No flag.
    pub(crate) const NONE: Self = Self(0);
    /// Nothing is refused.
    pub(crate) const SHADOW: Self = Self(1 << 7);
    /// A call is counted while it is in flight.
    pub(crate) const TRACKED: Self = Self(1 << 8);
    /// A service waits where it would be refused.
    pub(crate) const WAIT: Self = Self(1 << 9);
}

const PHASE: u64 = 0b111;
const GENERATION_SHIFT: u32 = 10;

impl Word {
    /// The largest generation: at a million transitions a second it lasts five hundred years.
    pub(crate) const MAX_GENERATION: u64 = u64::MAX >> GENERATION_SHIFT;

    pub(crate) const fn new(state: State, generation: u64) -> Self {
        let phase = match state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
            State::Isolated => 3,
            State::Disabled => 4,
            State::Recovering => 5,
        };
        Self(generation << GENERATION_SHIFT | phase)
    }

    pub(crate) const fn with(self, flag: Flag, on: bool) -> Self {
        if on { Self(self.0 | flag.0) } else { self }
    }

    #[inline]
    pub(crate) const fn has(self, flag: Flag) -> bool {
        self.0 & flag.0 != 0
    }

    /// Whether the circuit is closed and the flag is not set, in one comparison.
    #[inline]
    pub(crate) const fn is_closed_without(self, flag: Flag) -> bool {
        // Closed is phase zero.
        self.0 & (PHASE | flag.0) == 0
    }

    #[inline]
    pub(crate) const fn state(self) -> State {
        match self.0 & PHASE {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            3 => State::Isolated,
            4 => State::Disabled,
            _ => State::Recovering,
        }
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_put_in() {
        for state in State::ALL {
            for generation in [0, 1, Word::MAX_GENERATION] {
                let word = Word::new(state, generation).with(Flag::STREAK, true).with(Flag::TIMED, false);
                let word = word.with(Flag::TRACKED, true);
                assert_eq!((word.state(), word.generation()), (state, generation));
                assert!(word.has(Flag::STREAK) && word.has(Flag::TRACKED) && !word.has(Flag::TIMED));
            }
        }
    }
}
