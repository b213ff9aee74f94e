//! `Insight`: what debug mode and a monitor measure, and what was counted for a monitor.
//!
//! The loop's thread; any attached thread may change what is measured, and read totals.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::event_loop::observe::slow::Subject;
use crate::logic::histogram::Histogram;
use crate::py::cell::LoopCell;
use crate::py::value;
use crate::sys::clock;

/// Debug mode is on.
pub(crate) const DEBUG: u8 = 1;
/// Slow callbacks are reported to a monitor.
pub(crate) const SLOW: u8 = 2;
/// Calls and seconds are counted by name.
pub(crate) const TOTALS: u8 = 4;
/// Turns and delays are counted.
pub(crate) const TIMES: u8 = 8;
/// The callback that `call_soon` queues next is the first of its turn, whose delay is counted.
pub(crate) const PROBE: u8 = 16;
/// A watcher's thread looks for stalls.
pub(crate) const STALLS: u8 = 32;

/// The bits for which turns are measured.
pub(crate) const TURNS: u8 = SLOW | TOTALS | TIMES;
/// The bits for which entries of the queue are measured.
pub(crate) const ENTRIES: u8 = DEBUG | SLOW | TOTALS;
/// The bits for which calls of user code are measured.
pub(crate) const CALLS: u8 = ENTRIES | STALLS;

/// How many names are counted separately.
const NAMES: usize = 1000;

/// How long turns and delays are.
pub(crate) struct Times {
    /// The durations of turns that ran something.
    pub(crate) turns: Arc<Histogram>,
    /// The times between when something was due and when it began.
    pub(crate) delays: Arc<Histogram>,
    /// The first callback that the current turn has queued: the value that `Progress::begun` has
    /// when it begins, and when it was queued, in nanoseconds.
    pub(crate) probe: Option<(u64, i64)>,
    /// If the delay of an entry of the current turn has to be counted that is not its first: how
    /// many entries come before it, and when it was queued.
    pub(crate) later: Option<(usize, i64)>,
    /// When the current turn began, in nanoseconds; 0 if it has ended.
    pub(crate) began: i64,
}

impl Times {
    pub(crate) fn new(turns: Arc<Histogram>, delays: Arc<Histogram>) -> Self {
        Self {
            turns,
            delays,
            probe: None,
            later: None,
            began: 0,
        }
    }

    /// Counts the current turn, which ends at the time `now`. `next` is when the next one begins,
    /// or 0.
    #[inline]
    pub(crate) fn end_turn(&mut self, now: i64, next: i64) {
        let began = std::mem::replace(&mut self.began, next);
        if began != 0 {
            self.turns.add(clock::between(began, now));
        }
    }
}

/// What was counted under one name.
struct Total {
    /// The object from which Python makes the name.
    key: Py<PyAny>,
    calls: u64,
    seconds: f64,
    longest: f64,
}

/// The measurement of the current entry so far.
#[derive(Default, Clone, Copy)]
pub(crate) struct Span {
    /// Whether an entry runs.
    open: bool,
    /// How many of its nanoseconds are reported for other calls.
    pub(crate) reported: i64,
    /// How many nanoseconds of it are counted under other names.
    pub(crate) counted: i64,
}

/// The measurements that are under way.
#[derive(Default)]
struct Timing {
    span: Span,
    /// When the previous entry ended, in nanoseconds, if the next one follows directly; else 0.
    ended: i64,
    /// The calls that have to be reported when the entry is over, with their seconds.
    slow: Vec<(f64, Subject)>,
    totals: HashMap<(usize, u64), Total>,
    /// Calls, seconds and the longest call of all names for which there was no room.
    others: (u64, f64, f64),
}

/// What is measured, and what was counted.
pub(crate) struct Insight {
    wanted: AtomicU8,
    /// The monitor's `slow_after`, in nanoseconds.
    slow_after: AtomicI64,
    /// The histograms of turns and delays.
    pub(crate) times: LoopCell<Option<Times>>,
    timing: LoopCell<Timing>,
}

impl Default for Insight {
    fn default() -> Self {
        Self {
            wanted: AtomicU8::new(0),
            slow_after: AtomicI64::new(i64::MAX),
            times: LoopCell::new(None),
            timing: LoopCell::new(Timing::default()),
        }
    }
}

impl Insight {
    /// Whether any of these bits is set.
    #[inline]
    pub(crate) fn wants(&self, bits: u8) -> bool {
        self.wanted.load(Ordering::Relaxed) & bits != 0
    }

    /// Sets or clears these bits.
    pub(crate) fn want(&self, bits: u8, wanted: bool) {
        if wanted {
            self.wanted.fetch_or(bits, Ordering::Relaxed);
        } else {
            self.wanted.fetch_and(!bits, Ordering::Relaxed);
        }
    }

    /// From how many nanoseconds on a call is reported to the monitor.
    #[inline]
    pub(crate) fn slow_after(&self) -> i64 {
        self.slow_after.load(Ordering::Relaxed)
    }

    /// As `want`, for bits that only attached threads change: with the GIL, this needs no locked
    /// instruction.
    #[inline]
    pub(crate) fn switch(&self, _py: Python<'_>, bits: u8, wanted: bool) {
        if cfg!(Py_GIL_DISABLED) {
            return self.want(bits, wanted);
        }
        let others = self.wanted.load(Ordering::Relaxed) & !bits;
        let bits = if wanted { bits } else { 0 };
        self.wanted.store(others | bits, Ordering::Relaxed);
    }

    /// Sets what a monitor wants: slow callbacks of so many seconds, times, totals, stalls.
    pub(crate) fn follow(
        &self,
        py: Python<'_>,
        slow_after: Option<f64>,
        times: Option<Times>,
        totals: bool,
        stalls: bool,
    ) {
        let threshold = slow_after.map_or(i64::MAX, clock::in_nanoseconds);
        self.slow_after.store(threshold, Ordering::Relaxed);
        self.want(SLOW, slow_after.is_some());
        self.want(TOTALS, totals);
        self.want(STALLS, stalls);
        self.want(TIMES | PROBE, times.is_some());
        self.pause(py, 0);
        drop(self.times.with(py, |place| std::mem::replace(place, times)));
    }

    /// Begins to measure an entry. Returns the measurement that was under way, and when the entry
    /// begins, in nanoseconds.
    #[inline]
    pub(crate) fn open(&self, py: Python<'_>) -> (Span, i64) {
        let new = Span {
            open: true,
            ..Span::default()
        };
        let (outer, ended) = self.timing.with(py, |timing| {
            let ended = std::mem::take(&mut timing.ended);
            (std::mem::replace(&mut timing.span, new), ended)
        });
        let begin = if ended == 0 {
            clock::nanoseconds()
        } else {
            ended
        };
        (outer, begin)
    }

    /// Ends what `open` began, and continues the measurement `outer`. Returns the measurement of
    /// the entry, and when it ended. The next entry begins at that time, unless `pause` is called.
    #[inline]
    pub(crate) fn close(&self, py: Python<'_>, outer: Span) -> (Span, i64) {
        let end = clock::nanoseconds();
        let span = self.timing.with(py, |timing| {
            timing.ended = end;
            std::mem::replace(&mut timing.span, outer)
        });
        (span, end)
    }

    /// Has the next entry begin at the time `next`, or read the clock if that is 0, because something
    /// else runs before it.
    #[inline]
    pub(crate) fn pause(&self, py: Python<'_>, next: i64) {
        self.timing.with(py, |timing| timing.ended = next);
    }

    /// The measurement of the current entry when a call within it begins, if an entry is measured.
    #[inline]
    pub(crate) fn enter(&self, py: Python<'_>) -> Option<Span> {
        self.timing
            .with(py, |timing| timing.span.open.then_some(timing.span))
    }

    /// Ends a call of `length` nanoseconds, before which `enter` returned `before`. Returns how many
    /// of them have to be reported, if the call was slow.
    #[inline]
    pub(crate) fn leave(&self, py: Python<'_>, before: Span, length: i64) -> Option<i64> {
        let after = self.slow_after();
        self.timing.with(py, |timing| {
            let span = &mut timing.span;
            let own = length - (span.reported - before.reported);
            (own >= after).then(|| {
                span.reported = before.reported + length;
                own
            })
        })
    }

    /// As `leave`, for calls that are counted by name. Returns how many nanoseconds have to be counted.
    pub(crate) fn leave_counted(&self, py: Python<'_>, before: Span, length: i64) -> i64 {
        self.timing.with(py, |timing| {
            let span = &mut timing.span;
            let own = length - (span.counted - before.counted);
            span.counted = before.counted + length;
            own
        })
    }

    /// Keeps a slow call of so many nanoseconds until the entry is over. If memory is short, it is not reported.
    #[cold]
    #[inline(never)]
    pub(crate) fn keep(&self, py: Python<'_>, length: i64, subject: Subject) {
        let seconds = clock::between(0, length);
        let left = self.timing.with(py, |timing| {
            if timing.slow.try_reserve(1).is_ok() {
                timing.slow.push((seconds, subject));
                None
            } else {
                Some(subject)
            }
        });
        drop(left);
    }

    /// Takes the slow calls out.
    pub(crate) fn take_slow(&self, py: Python<'_>) -> Vec<(f64, Subject)> {
        self.timing
            .with(py, |timing| std::mem::take(&mut timing.slow))
    }

    /// Counts a call under a name: `place` identifies the name, and Python makes its text from
    /// `key`.
    pub(crate) fn count(&self, place: (usize, u64), key: Bound<'_, PyAny>, seconds: f64) {
        let py = key.py();
        let spare = self.timing.with(py, |timing| {
            let full = timing.totals.len() >= NAMES || timing.totals.try_reserve(1).is_err();
            match timing.totals.entry(place) {
                Entry::Occupied(mut total) => {
                    let total = total.get_mut();
                    total.calls += 1;
                    total.seconds += seconds;
                    total.longest = total.longest.max(seconds);
                    Some(key)
                }
                Entry::Vacant(_) if full => {
                    let (calls, sum, longest) = timing.others;
                    timing.others = (calls + 1, sum + seconds, longest.max(seconds));
                    Some(key)
                }
                Entry::Vacant(place) => {
                    place.insert(Total {
                        key: key.unbind(),
                        calls: 1,
                        seconds,
                        longest: seconds,
                    });
                    None
                }
            }
        });
        drop(spare);
    }

    /// What was counted: a list of (key, calls, seconds, longest).
    pub(crate) fn totals<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let (totals, others) = self.timing.with(py, |timing| {
            let totals = timing.totals.values().map(|total| {
                let key = total.key.clone_ref(py);
                (key, total.calls, total.seconds, total.longest)
            });
            (value::collected(py, totals), timing.others)
        });
        let list = value::list(py, std::iter::empty())?;
        let add = |key: Bound<'py, PyAny>, calls: u64, seconds: f64, longest: f64| {
            let item = [
                key,
                value::int(py, calls.cast_signed())?.into_any(),
                value::float(py, seconds)?.into_any(),
                value::float(py, longest)?.into_any(),
            ];
            list.append(value::tuple(py, &item)?)
        };
        for (key, calls, seconds, longest) in totals? {
            add(key.into_bound(py), calls, seconds, longest)?;
        }
        if others.0 > 0 {
            let key = value::text(py, "(others)")?.into_any();
            add(key, others.0, others.1, others.2)?;
        }
        Ok(list)
    }

    /// Forgets what was counted by name.
    pub(crate) fn forget(&self, py: Python<'_>) {
        drop(self.timing.with(py, |timing| {
            timing.others = (0, 0.0, 0.0);
            (
                std::mem::take(&mut timing.totals),
                std::mem::take(&mut timing.slow),
            )
        }));
    }

    /// Shows everything to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.timing.try_with(visit, |timing| {
            for total in timing.totals.values() {
                visit.call(&total.key)?;
            }
            timing.slow.iter().try_for_each(|(_, it)| it.visit(visit))
        });
        visited.unwrap_or(Ok(()))
    }
}
