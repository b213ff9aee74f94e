//! `WatchedSignals`: the signals for which a loop has handlers.
//!
//! Loop thread only. The numbers of all signals that CPython catches come through one pipe. While no signal is
//! watched, a busy loop does not read it, so the numbers of old signals may be there when the first handler comes.

/// A set of signal numbers.
#[derive(Default)]
pub(crate) struct WatchedSignals {
    /// A bit for each number.
    bits: [u64; 2],
    /// The turn in which the last number was taken out.
    emptied: Option<u64>,
}

impl WatchedSignals {
    fn place(signal: u8) -> (usize, u64) {
        (usize::from(signal >> 6) & 1, 1 << (signal & 63))
    }

    /// Whether no signal is watched.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bits == [0; 2]
    }

    /// Whether `signal` is watched.
    pub(crate) fn contains(&self, signal: u8) -> bool {
        let (word, bit) = Self::place(signal);
        self.bits[word] & bit != 0
    }

    /// Adds `signal` in this `turn`. True if what the pipe holds came while no signal was watched. What came in the
    /// turn in which the last handler was removed is for a handler of the next turn, since asyncio reads it then.
    pub(crate) fn add(&mut self, signal: u8, turn: u64) -> bool {
        let stale = self.is_empty() && self.emptied.is_none_or(|emptied| turn > emptied + 1);
        let (word, bit) = Self::place(signal);
        self.bits[word] |= bit;
        stale
    }

    /// Takes `signal` out in this `turn`.
    pub(crate) fn remove(&mut self, signal: u8, turn: u64) {
        if !self.contains(signal) {
            return;
        }
        let (word, bit) = Self::place(signal);
        self.bits[word] &= !bit;
        if self.is_empty() {
            self.emptied = Some(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WatchedSignals;

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let mut watched = WatchedSignals::default();
        for signal in 1..=64 {
            assert!(!watched.contains(signal));
            watched.add(signal, 0);
            assert!(watched.contains(signal));
        }
        watched.remove(10, 0);
        assert!(!watched.contains(10) && watched.contains(12));
    }

    #[test]
    fn what_came_before_the_first_handler_is_stale() {
        let mut watched = WatchedSignals::default();
        assert!(watched.add(10, 0));
        assert!(!watched.add(12, 5), "another handler has heard it");
    }

    #[test]
    fn what_came_with_the_last_handler_is_for_one_of_the_next_turn() {
        for (turn, stale) in [(5, false), (6, false), (7, true)] {
            let mut watched = WatchedSignals::default();
            watched.add(10, 0);
            watched.remove(10, 5);
            assert_eq!(watched.add(10, turn), stale);
        }
    }
}
