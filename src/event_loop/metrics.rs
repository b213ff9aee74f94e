//! `Snapshot`: what a loop has done so far and what it has to do now.
//!
//! Any attached thread. The one surprise: timers and descriptors are counted when somebody asks, so
//! that they cost nothing otherwise.

use pyo3::prelude::*;

use crate::event_loop::state::{Entry, EventLoop};
use crate::sys::clock;

/// The fields of Python's `Metrics`, in its order.
pub type Snapshot = (f64, u64, u64, u64, f64, usize, usize, usize);

impl EventLoop {
    /// What Python's `loop.metrics()` gives. Goes through all timers and sources.
    pub fn snapshot(&self, py: Python<'_>) -> Snapshot {
        let now = clock::monotonic();
        if self.is_closed() {
            return self.core.with(py, |core| {
                // In a forked child the parent's wait would go on for ever.
                core.tally.wake_up(|| now);
                let tally = &mut core.tally;
                let idle = tally.idle_at(now);
                (now, core.turn, tally.callbacks, tally.waits, idle, 0, 0, 0)
            });
        }
        let arrived = self.inbox.with(py, |inbox| inbox.items().len());
        self.core.with(py, |core| {
            let live = core
                .timers
                .iter()
                .filter(|timer| !timer.get().is_cancelled(py));
            let watched = core
                .entries
                .iter()
                .filter(|entry| !matches!(entry, Entry::Signals));
            (
                now,
                core.turn,
                core.tally.callbacks,
                core.tally.waits,
                core.tally.idle_at(now),
                core.ready.len() + arrived,
                live.count(),
                watched.count(),
            )
        })
    }
}
