//! `Watcher`: a thread that notices loops that stand still.
//!
//! One thread calls `wait`, detached from Python, so that it also sees a loop while a callback holds
//! the GIL; the other methods may be called in any thread. It knows loops only by their `Progress` and
//! keeps none of them alive.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList};

use crate::error::no_memory;
use crate::event_loop::state::EventLoop;
use crate::logic::progress::{Finding, StallWatch};
use crate::py::value;
use crate::sys::clock;

/// What the thread and its callers share. Locked for moments in which nothing is called.
#[derive(Default)]
struct Shared {
    /// The loops, under the numbers that they were given.
    watches: Vec<(u64, StallWatch)>,
    /// Whether `wait` is to return.
    woken: bool,
    /// Whether `wait` was called at all.
    attended: bool,
}

/// Watches loops for stalls.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct Watcher {
    shared: Mutex<Shared>,
    changed: Condvar,
}

#[pymethods]
impl Watcher {
    #[new]
    fn new() -> Self {
        Self {
            shared: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Watch a loop, under a number, for callbacks that take `stall_after` seconds or more.
    fn watch(
        &self,
        py: Python<'_>,
        event_loop: &Bound<'_, EventLoop>,
        number: u64,
        stall_after: f64,
    ) -> PyResult<()> {
        let progress = Arc::clone(&event_loop.get().progress);
        let mut shared = self.lock();
        shared.watches.try_reserve(1).map_err(|_| no_memory(py))?;
        let watch = StallWatch::new(progress, stall_after);
        shared.watches.push((number, watch));
        // So that the thread looks now, and knows how soon to look again.
        self.changed.notify_all();
        Ok(())
    }

    /// Watch the loop of that number no more.
    fn forget(&self, number: u64) {
        self.lock().watches.retain(|(it, _)| *it != number);
    }

    /// Whether the loop of that number is still where it was when a stall was found last.
    fn stands(&self, number: u64) -> bool {
        let shared = self.lock();
        let mut watches = shared.watches.iter();
        watches.any(|(it, watch)| *it == number && watch.stalls() && watch.stands())
    }

    /// Wait until another thread has called `wait`, or a second has passed: until then stalls that hold the GIL
    /// would escape.
    fn await_thread(&self, py: Python<'_>) {
        py.detach(|| {
            let absent = |shared: &mut Shared| !shared.attended;
            let second = Duration::from_secs(1);
            drop(self.changed.wait_timeout_while(self.lock(), second, absent));
        });
    }

    /// Have the present or the next `wait` return.
    fn wake(&self) {
        self.lock().woken = true;
        self.changed.notify_all();
    }

    /// Wait until something is found, `wake` was called, or `timeout` seconds have passed.
    ///
    /// Returns a list of (number of the loop, whether a stall has begun, and since when in seconds of
    /// the monotonic clock, or else how long it was in seconds).
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let findings = py
            .detach(|| self.watch_until(timeout))
            .map_err(|_| no_memory(py))?;
        let items = findings.iter().map(|(number, finding)| {
            let (began, seconds) = match finding {
                Finding::Began(since) => (true, *since),
                Finding::Ended(seconds) => (false, *seconds),
            };
            let item = [
                value::int(py, number.cast_signed())?.into_any(),
                PyBool::new(py, began).to_owned().into_any(),
                value::float(py, seconds)?.into_any(),
            ];
            Ok(value::tuple(py, &item)?.into_any())
        });
        let items = value::collected(py, items)?;
        value::list(py, items.into_iter().collect::<PyResult<Vec<_>>>()?)
    }
}

impl Watcher {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the loops until there is something to tell.
    fn watch_until(
        &self,
        timeout: Option<f64>,
    ) -> Result<Vec<(u64, Finding)>, std::collections::TryReserveError> {
        let deadline = timeout.map(|timeout| clock::monotonic() + timeout);
        let mut found = Vec::new();
        let mut shared = self.lock();
        if !shared.attended {
            shared.attended = true;
            self.changed.notify_all();
        }
        loop {
            let now = clock::monotonic();
            found.try_reserve(shared.watches.len())?;
            for (number, watch) in &mut shared.watches {
                found.extend(watch.look(now).map(|finding| (*number, finding)));
            }
            let late = deadline.is_some_and(|deadline| now >= deadline);
            if std::mem::take(&mut shared.woken) || late || !found.is_empty() {
                return Ok(found);
            }
            let pauses = shared.watches.iter().map(|(_, watch)| watch.pause());
            let left = deadline.map(|deadline| deadline - now);
            let pause = pauses.chain(left).fold(f64::INFINITY, f64::min);
            shared = if let Ok(pause) = Duration::try_from_secs_f64(pause) {
                let waited = self.changed.wait_timeout(shared, pause);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.changed.wait(shared);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}
