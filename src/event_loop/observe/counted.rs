//! Turns that are timed for a monitor: how long they take, and how late callbacks begin.
//!
//! The loop's thread. In each turn, the first callback that `call_soon` queues is timed. A turn ends
//! when the next one begins to run entries, or before that when the loop waits or its run ends. So
//! one reading of the clock ends a turn and begins another.

use pyo3::prelude::*;

use crate::event_loop::observe::insight::{PROBE, SLOW, TIMES, TOTALS};
use crate::event_loop::state::EventLoop;
use crate::sys::clock;

impl EventLoop {
    /// Notes when a callback is queued that is pushed next, which is the first of its turn.
    #[inline]
    pub(crate) fn note_queued(&self, py: Python<'_>) {
        self.insight.switch(py, PROBE, false);
        let ahead = self.core.with(py, |core| core.ready.len());
        let place = self.progress.begun() + ahead as u64;
        let now = clock::nanoseconds();
        self.insight.times.with(py, |times| {
            if let Some(times) = times {
                times.probe = Some((place, now));
            }
        });
    }

    /// Begins a turn of `count` entries for a monitor. Counts the previous turn, unless it has
    /// ended, and the delay of the first entry, if delays are counted. True if something has to be
    /// measured within the turn.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_turn(&self, py: Python<'_>, count: usize) -> bool {
        let insight = &self.insight;
        let (mut begin, mut later) = (0, false);
        if insight.wants(TIMES) && count > 0 {
            begin = clock::nanoseconds();
            insight.switch(py, PROBE, true);
            let passed = self.progress.begun();
            later = insight.times.with(py, |times| {
                let Some(times) = times else {
                    return false;
                };
                times.end_turn(begin, begin);
                let Some((place, queued)) = times.probe.take() else {
                    return false;
                };
                if place == passed {
                    times.delays.add(clock::between(queued, begin));
                    return false;
                }
                let before = place
                    .checked_sub(passed)
                    .and_then(|it| usize::try_from(it).ok());
                times.later = before
                    .filter(|before| *before < count)
                    .map(|before| (before, queued));
                times.later.is_some()
            });
        }
        if insight.wants(SLOW | TOTALS) {
            insight.pause(py, begin);
            return true;
        }
        later
    }

    /// Counts the current turn, if turns are counted, because the loop waits or its run ends.
    #[inline]
    pub(crate) fn end_turn(&self, py: Python<'_>) {
        if self.insight.wants(TIMES) {
            self.end_timed_turn(py);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_timed_turn(&self, py: Python<'_>) {
        let now = clock::nanoseconds();
        self.insight.times.with(py, |times| {
            if let Some(times) = times {
                times.end_turn(now, 0);
            }
        });
    }

    /// Runs the `count` entries of a turn for which `begin_turn` returned true. `run` runs the
    /// number of entries that it is given.
    #[allow(
        clippy::inline_always,
        reason = "it has one caller, which is a function of its own"
    )]
    #[inline(always)]
    pub(crate) fn run_watched(
        this: &Bound<'_, Self>,
        count: usize,
        run: impl Fn(usize) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = this.py();
        let insight = &this.get().insight;
        let later = if insight.wants(TIMES) {
            insight.times.with(py, |times| times.as_mut()?.later.take())
        } else {
            None
        };
        let (mut next, mut left) = (later.map_or(count, |(before, _)| before), count);
        loop {
            run(next)?;
            left -= next;
            let Some((_, queued)) = later.filter(|_| left > 0) else {
                return Ok(());
            };
            let delay = clock::between(queued, clock::nanoseconds());
            insight.times.with(py, |times| {
                if let Some(times) = times {
                    times.delays.add(delay);
                }
            });
            next = left;
        }
    }
}
