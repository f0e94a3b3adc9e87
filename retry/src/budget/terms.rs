//! The part of the configuration that each deposit needs, in one word.

use super::{BudgetConfig, bucket::TOKEN};

const RATIO: u32 = 32;
const SHADOW: u64 = 1 << 62;
const RESERVE: u64 = 1 << 63;

/// Cap and ratio that belong together, read at once.
///
/// From the lowest bit: 32 bits of tokens that can be saved, 20 bits of units that a success earns, and on top whether the
/// budget is in shadow mode and whether it has a reserve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms(u64);

impl Terms {
    pub(super) fn new(config: &BudgetConfig) -> Self {
        let numbers = u64::from(config.cap) | u64::from(config.units_per_success()) << RATIO;
        let shadow = if config.shadow { SHADOW } else { 0 };
        let reserve = if config.units_per_second() > 0 { RESERVE } else { 0 };
        Self(numbers | shadow | reserve)
    }

    pub(super) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u64 {
        self.0
    }

    /// The most units that can be saved.
    pub(super) const fn cap(self) -> u64 {
        (self.0 & 0xffff_ffff) * TOKEN
    }

    /// The units that a success earns.
    pub(super) const fn earned(self) -> u64 {
        (self.0 & !(SHADOW | RESERVE)) >> RATIO
    }

    pub(super) const fn is_shadow(self) -> bool {
        self.0 & SHADOW != 0
    }

    pub(super) const fn has_reserve(self) -> bool {
        self.0 & RESERVE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        for cap in [1, 10, u32::MAX] {
            for (ratio, earned) in [(0.0, 0), (0.000_001, 1), (0.1, 100_000), (0.6, 600_000), (1.0, TOKEN)] {
                for (shadow, reserve) in [(false, 0.0), (true, 0.0), (false, 0.5), (true, 1_000_000.0)] {
                    let config = BudgetConfig::default().cap(cap).ratio(ratio).shadow(shadow).reserve_rate(reserve);
                    let terms = Terms::from_word(Terms::new(&config).word());
                    assert_eq!((terms.cap(), terms.earned()), (u64::from(cap) * TOKEN, earned), "{config:?}");
                    assert_eq!((terms.is_shadow(), terms.has_reserve()), (shadow, reserve > 0.0), "{config:?}");
                }
            }
        }
    }
}
