//! `Snapshot`: what a loop has done so far and what is queued now.
//!
//! Any attached thread. It reads counts, so its cost does not depend on how much is queued.

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::event_loop::state::{Entry, EventLoop};
use crate::py::value;
use crate::sys::clock;

impl EventLoop {
    /// The fields of Python's `Metrics`, in their order.
    pub(crate) fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let now = clock::monotonic();
        let closed = self.is_closed();
        let (ready, timers, descriptors) = if closed { (0, 0, 0) } else { self.pending(py) };
        let (turns, waits, idle) = self.core.with(py, |core| {
            let tally = &mut core.tally;
            if closed {
                // In a forked child, the wait of the parent would never end.
                tally.wake_up(|| now);
            }
            (core.turn, tally.waits, tally.idle_at(now))
        });
        let int = |number: u64| value::int(py, number.cast_signed()).map(Bound::into_any);
        let count = |number: usize| value::count(py, number).map(Bound::into_any);
        let fields = [
            value::float(py, now)?.into_any(),
            int(turns)?,
            int(self.progress.begun())?,
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
            (
                core.ready.len() + arrived,
                core.timers.live(),
                core.watched(),
            )
        })
    }

    /// The sources whose descriptors are watched, and how many descriptors the program watches itself.
    pub(crate) fn watched<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let sources = self.sources(py)?;
        let watches = self.core.with(py, |core| {
            let entries = core.entries.iter();
            entries.filter(|it| matches!(it, Entry::Watch(_))).count()
        });
        let sources = value::list(py, sources.into_iter().map(|it| it.into_bound(py)))?;
        let watches = value::count(py, watches)?;
        value::tuple(py, &[sources.into_any(), watches.into_any()])
    }
}
