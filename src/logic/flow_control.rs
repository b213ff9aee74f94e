//! `FlowControl`: when a writer is to pause and when it may go on.
//!
//! Loop thread only. The paused state flips when the answer is given, before the
//! protocol is told, so a protocol that writes inside `pause_writing` is not told twice.

/// asyncio's default high-water mark, in bytes.
pub(crate) const DEFAULT_HIGH: usize = 64 * 1024;

/// Writes to a lost connection before the log says so: asyncio's
/// `LOG_THRESHOLD_FOR_CONNLOST_WRITES`.
pub(crate) const LOST_WRITES: u32 = 5;

/// The two marks and the state between them.
pub(crate) struct FlowControl {
    /// More than this many bytes waiting pause the protocol.
    pub(crate) high: usize,
    /// This many or fewer let it go on.
    pub(crate) low: usize,
    /// Whether the protocol has been told to pause.
    paused: bool,
}

impl Default for FlowControl {
    fn default() -> Self {
        Self {
            high: DEFAULT_HIGH,
            low: DEFAULT_HIGH / 4,
            paused: false,
        }
    }
}

impl FlowControl {
    /// Whether the protocol is to be paused now that `waiting` bytes wait.
    #[inline]
    pub(crate) fn pauses_at(&mut self, waiting: usize) -> bool {
        let pauses = !self.paused && waiting > self.high;
        self.paused |= pauses;
        pauses
    }

    /// Whether the protocol may go on now that `waiting` bytes wait.
    #[inline]
    pub(crate) fn resumes_at(&mut self, waiting: usize) -> bool {
        let resumes = self.paused && waiting <= self.low;
        self.paused &= !resumes;
        resumes
    }

    /// Whether the protocol has been told to pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Sets the marks; what is not given follows from the other as in asyncio, in steps of `unit`
    /// bytes for the default. False, with the marks unchanged, unless `high >= low`.
    #[cfg(test)]
    pub(crate) fn set(
        &mut self,
        high: Option<usize>,
        low: Option<usize>,
    ) -> Result<(), (usize, usize)> {
        let high = high.unwrap_or_else(|| low.map_or(DEFAULT_HIGH, |low| low.saturating_mul(4)));
        let low = low.unwrap_or(high / 4);
        if low > high {
            return Err((high, low));
        }
        (self.high, self.low) = (high, low);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::FlowControl;

    #[test]
    fn a_protocol_is_paused_above_high_and_resumed_at_low() {
        let mut flow = FlowControl::default();
        assert!(!flow.pauses_at(64 * 1024));
        assert!(flow.pauses_at(64 * 1024 + 1));
        assert!(!flow.pauses_at(1 << 20), "it is told once");
        assert!(!flow.resumes_at(16 * 1024 + 1));
        assert!(flow.resumes_at(16 * 1024));
        assert!(!flow.resumes_at(0), "it is told once");
    }

    #[test]
    fn a_missing_mark_follows_from_the_other() {
        let mut flow = FlowControl::default();
        assert_eq!(flow.set(Some(100), None), Ok(()));
        assert_eq!((flow.high, flow.low), (100, 25));
        assert_eq!(flow.set(None, Some(10)), Ok(()));
        assert_eq!((flow.high, flow.low), (40, 10));
        assert_eq!(flow.set(Some(1), Some(2)), Err((1, 2)));
        assert_eq!((flow.high, flow.low), (40, 10));
    }
}
