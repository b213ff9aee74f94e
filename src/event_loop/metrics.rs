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
        let closed = self.is_closed();
        let (ready, timers, descriptors) = if closed { (0, 0, 0) } else { self.pending(py) };
        self.core.with(py, |core| {
            let tally = &mut core.tally;
            if closed {
                // In a forked child the parent's wait would go on for ever.
                tally.wake_up(|| now);
            }
            let (callbacks, waits, idle) = (tally.callbacks, tally.waits, tally.idle_at(now));
            let turns = core.turn;
            (
                now,
                turns,
                callbacks,
                waits,
                idle,
                ready,
                timers,
                descriptors,
            )
        })
    }

    /// How much is queued, how many timers wait, how many descriptors are watched.
    fn pending(&self, py: Python<'_>) -> (usize, usize, usize) {
        let arrived = self.inbox.with(py, |inbox| inbox.items().len());
        self.core.with(py, |core| {
            let timers = core.timers.iter();
            let live = timers.filter(|timer| !timer.get().is_cancelled(py));
            let entries = core.entries.iter();
            let watched = entries.filter(|entry| !matches!(entry, Entry::Signals));
            (core.ready.len() + arrived, live.count(), watched.count())
        })
    }
}
