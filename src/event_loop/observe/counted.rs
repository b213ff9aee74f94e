//! Turns that are timed for a monitor: how long they take, and how late callbacks begin.
//!
//! The loop's thread. In each turn, the first callback that `call_soon` queues is timed.

use pyo3::prelude::*;

use crate::event_loop::observe::insight::TIMES;
use crate::event_loop::state::EventLoop;
use crate::sys::clock;

impl EventLoop {
    /// Notes when a callback is queued that is the next to be pushed, if it is the first of its turn.
    pub(crate) fn note_queued(&self, py: Python<'_>) {
        if !self.insight.wants(TIMES) {
            return;
        }
        let ahead = self.core.with(py, |core| core.ready.len());
        let place = self.progress.begun() + ahead as u64;
        self.insight.probe.with(py, |probe| {
            if probe.is_none() {
                *probe = Some((place, clock::monotonic()));
            }
        });
    }

    /// As `run_entries`, and counts how long it takes and how late it begins.
    #[cold]
    #[inline(never)]
    pub(crate) fn run_counted(
        this: &Bound<'_, Self>,
        count: usize,
        run: impl Fn(usize) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get();
        let Some(times) = event_loop.insight.times(py) else {
            return run(count);
        };
        let probe = event_loop.insight.probe.with(py, Option::take);
        let before = probe.and_then(|(place, queued)| {
            let before = place.checked_sub(event_loop.progress.begun())?;
            let before = usize::try_from(before).ok()?;
            (before < count).then_some((before, queued))
        });
        let begin = clock::monotonic();
        let result = match before {
            Some((0, queued)) => {
                times.delays.add(begin - queued);
                run(count)
            }
            Some((before, queued)) => run(before).and_then(|()| {
                times.delays.add(clock::monotonic() - queued);
                run(count - before)
            }),
            None => run(count),
        };
        if count > 0 {
            times.turns.add(clock::monotonic() - begin);
        }
        result
    }
}
