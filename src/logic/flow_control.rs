//! `FlowControl`: when a writer has to pause and when it may continue.
//!
//! Loop thread only. `pause_at` and `resume_at` change the state before the protocol is told, so a
//! protocol that writes inside `pause_writing` is not told twice.

/// asyncio's default high-water mark, in bytes.
pub(crate) const DEFAULT_HIGH: usize = 64 * 1024;

/// After how many writes to a lost connection a warning is logged: asyncio's
/// `LOG_THRESHOLD_FOR_CONNLOST_WRITES`.
pub(crate) const LOST_WRITES: u32 = 5;

/// The two marks and the state between them.
pub(crate) struct FlowControl {
    /// The protocol is paused if more than this many bytes wait.
    pub(crate) high: usize,
    /// It is resumed if this many bytes or fewer wait.
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
    /// Updates the state for `waiting` bytes. True if the protocol has to be told to pause.
    #[inline]
    pub(crate) fn pause_at(&mut self, waiting: usize) -> bool {
        let pauses = !self.paused && waiting > self.high;
        self.paused |= pauses;
        pauses
    }

    /// Updates the state for `waiting` bytes. True if the protocol has to be told to resume.
    #[inline]
    pub(crate) fn resume_at(&mut self, waiting: usize) -> bool {
        let resumes = self.paused && waiting <= self.low;
        self.paused &= !resumes;
        resumes
    }

    /// Whether the protocol has been told to pause.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }
}

#[cfg(test)]
mod tests {
    use super::FlowControl;

    #[test]
    fn a_protocol_is_paused_above_high_and_resumed_at_low() {
        let mut flow = FlowControl::default();
        assert!(!flow.pause_at(64 * 1024));
        assert!(flow.pause_at(64 * 1024 + 1));
        assert!(!flow.pause_at(1 << 20), "it is told once");
        assert!(!flow.resume_at(16 * 1024 + 1));
        assert!(flow.resume_at(16 * 1024));
        assert!(!flow.resume_at(0), "it is told once");
    }
}
