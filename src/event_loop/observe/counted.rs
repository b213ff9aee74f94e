//! Turns that are timed for a monitor: how long they take, and how late callbacks begin.
//!
//! The loop's thread. In each turn, the first callback that `call_soon` queues is timed.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::event_loop::observe::insight::{PROBE, SLOW, TIMES, TOTALS};
use crate::event_loop::state::EventLoop;
use crate::logic::histogram::Histogram;
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

    /// Runs a turn of `count` entries for a monitor; `run` runs the number of entries that it is
    /// given.
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
        let times = insight.wants(TIMES);
        if insight.wants(SLOW | TOTALS) {
            insight.pause(py);
        }
        let begin = if times { clock::nanoseconds() } else { 0 };
        let (monitor, probe) = if times {
            this.get().begin_turn(py, count, begin)
        } else {
            (std::ptr::null(), None)
        };
        let (mut next, mut left) = (probe.map_or(count, |(before, _)| before), count);
        let result = loop {
            let result = run(next);
            left -= next;
            let Some((_, queued)) = probe.filter(|_| left > 0 && result.is_ok()) else {
                break result;
            };
            let delay = clock::between(queued, clock::nanoseconds());
            insight.times.with(py, |times| {
                if let Some(times) = times {
                    times.delays.add(delay);
                }
            });
            next = left;
        };
        if times && count > 0 {
            let seconds = clock::between(begin, clock::nanoseconds());
            insight.times.with(py, |times| {
                if let Some(times) = times
                    && Arc::as_ptr(&times.turns) == monitor
                {
                    times.turns.add(seconds);
                }
            });
        }
        result
    }

    /// Counts the delay of the first of `count` entries, if delays are counted. Returns the
    /// histograms for the turn, and for the entry whose delay has to be counted, how many entries
    /// come before it and when it was queued.
    fn begin_turn(
        &self,
        py: Python<'_>,
        count: usize,
        begin: i64,
    ) -> (*const Histogram, Option<(usize, i64)>) {
        self.insight.switch(py, PROBE, true);
        let passed = self.progress.begun();
        self.insight.times.with(py, |times| {
            let Some(times) = times else {
                return (std::ptr::null(), None);
            };
            let monitor = Arc::as_ptr(&times.turns);
            let probe = times.probe.take().and_then(|(place, queued)| {
                let before = usize::try_from(place.checked_sub(passed)?).ok()?;
                (before < count).then_some((before, queued))
            });
            match probe {
                Some((0, queued)) => {
                    times.delays.add(clock::between(queued, begin));
                    (monitor, None)
                }
                later => (monitor, later),
            }
        })
    }
}
