//! `Snapshot`: what a loop has done so far and what it has to do now.
//!
//! Any attached thread. Timers and descriptors are counted when somebody asks, so
//! that they cost nothing otherwise.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::event_loop::state::{Entry, EventLoop};
use crate::py::value;
use crate::sys::clock;

impl EventLoop {
    /// What Python's `loop.metrics()` gives: the fields of `Metrics` in its order. Goes through all timers and sources.
    pub(crate) fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let now = clock::monotonic();
        let closed = self.is_closed();
        let (ready, timers, descriptors) = if closed { (0, 0, 0) } else { self.pending(py) };
        let (turns, callbacks, waits, idle) = self.core.with(py, |core| {
            let tally = &mut core.tally;
            if closed {
                // In a forked child the parent's wait would go on for ever.
                tally.wake_up(|| now);
            }
            let (callbacks, waits, idle) = (tally.callbacks, tally.waits, tally.idle_at(now));
            (core.turn, callbacks, waits, idle)
        });
        let int = |number: u64| value::int(py, number.cast_signed()).map(Bound::into_any);
        let count = |number: usize| value::count(py, number).map(Bound::into_any);
        let fields = [
            value::float(py, now)?.into_any(),
            int(turns)?,
            int(callbacks)?,
            int(waits)?,
            value::float(py, idle)?.into_any(),
            count(ready)?,
            count(timers)?,
            count(descriptors)?,
        ];
        value::tuple(py, &fields)
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
