//! `Insight`: what debug mode and a monitor ask to measure, and what was counted for a monitor.
//!
//! The loop's thread; any attached thread may ask for something and read totals.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::event_loop::observe::slow::Subject;
use crate::logic::histogram::Histogram;
use crate::py::cell::LoopCell;
use crate::py::value;

/// Debug mode is on.
pub(crate) const DEBUG: u8 = 1;
/// Slow callbacks are reported to a monitor.
pub(crate) const SLOW: u8 = 2;
/// Calls and seconds are counted by name.
pub(crate) const TOTALS: u8 = 4;
/// Turns and delays are counted.
pub(crate) const TIMES: u8 = 8;

/// How many names are told apart.
const NAMES: usize = 1000;

/// What turns and delays take.
#[derive(Clone)]
pub(crate) struct Times {
    /// Of turns that ran something.
    pub(crate) turns: Arc<Histogram>,
    /// Between when something was to begin and when it did.
    pub(crate) delays: Arc<Histogram>,
}

/// What was counted under one name.
struct Total {
    /// What Python makes the name of.
    key: Py<PyAny>,
    calls: u64,
    seconds: f64,
    longest: f64,
}

/// What is known of the entry that runs, or of the call within it.
#[derive(Default, Clone, Copy)]
pub(crate) struct Span {
    /// Whether an entry runs.
    open: bool,
    /// How many seconds of it are reported as calls of their own.
    pub(crate) told: f64,
    /// How many seconds of it are counted under other names.
    pub(crate) counted: f64,
}

/// What is timed.
#[derive(Default)]
struct Timing {
    span: Span,
    /// The calls that are to be reported when the entry is over, with their seconds.
    slow: Vec<(f64, Subject)>,
    totals: HashMap<(usize, u64), Total>,
    /// What came when there was no room for more names.
    others: (u64, f64, f64),
}

/// What is wanted, and what was counted.
pub(crate) struct Insight {
    wanted: AtomicU8,
    /// The bits of the monitor's `slow_after`, in seconds.
    slow_after: AtomicU64,
    times: LoopCell<Option<Times>>,
    timing: LoopCell<Timing>,
    /// The first callback that the present turn has queued: what `Progress::begun` is when it begins, and when it was
    /// queued.
    pub(crate) probe: LoopCell<Option<(u64, f64)>>,
}

impl Default for Insight {
    fn default() -> Self {
        Self {
            wanted: AtomicU8::new(0),
            slow_after: AtomicU64::new(f64::INFINITY.to_bits()),
            times: LoopCell::new(None),
            timing: LoopCell::new(Timing::default()),
            probe: LoopCell::new(None),
        }
    }
}

impl Insight {
    /// Whether any of these is wanted.
    #[inline]
    pub(crate) fn wants(&self, bits: u8) -> bool {
        self.wanted.load(Ordering::Relaxed) & bits != 0
    }

    /// Says whether these are wanted.
    pub(crate) fn want(&self, bits: u8, wanted: bool) {
        if wanted {
            self.wanted.fetch_or(bits, Ordering::Relaxed);
        } else {
            self.wanted.fetch_and(!bits, Ordering::Relaxed);
        }
    }

    /// From how many seconds on a call is reported to a monitor.
    pub(crate) fn slow_after(&self) -> f64 {
        f64::from_bits(self.slow_after.load(Ordering::Relaxed))
    }

    /// What a monitor wants: slow callbacks of so many seconds, times, totals.
    pub(crate) fn follow(
        &self,
        py: Python<'_>,
        slow_after: Option<f64>,
        times: Option<Times>,
        totals: bool,
    ) {
        let threshold = slow_after.unwrap_or(f64::INFINITY);
        self.slow_after
            .store(threshold.to_bits(), Ordering::Relaxed);
        self.want(SLOW, slow_after.is_some());
        self.want(TOTALS, totals);
        self.want(TIMES, times.is_some());
        drop(self.times.with(py, |place| std::mem::replace(place, times)));
    }

    /// Where turns and delays are counted.
    pub(crate) fn times(&self, py: Python<'_>) -> Option<Times> {
        self.times.with(py, |times| times.clone())
    }

    /// Begins to time an entry, or a call within one; gives back what was timed until then.
    pub(crate) fn open(&self, py: Python<'_>) -> Span {
        let new = Span {
            open: true,
            ..Span::default()
        };
        self.timing
            .with(py, |timing| std::mem::replace(&mut timing.span, new))
    }

    /// Whether an entry is timed.
    pub(crate) fn is_open(&self, py: Python<'_>) -> bool {
        self.timing.with(py, |timing| timing.span.open)
    }

    /// Ends what `open` began, and goes on with `outer`.
    pub(crate) fn close(&self, py: Python<'_>, outer: Span) -> Span {
        self.timing
            .with(py, |timing| std::mem::replace(&mut timing.span, outer))
    }

    /// Keeps a slow call until the entry is over. If memory is short, it is not reported.
    pub(crate) fn keep(&self, py: Python<'_>, seconds: f64, subject: Subject) {
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

    /// Counts a call under a name: `place` tells names apart, `key` is what Python makes it of.
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
