//! `Watcher`: looks for stalls of loops, in a thread of its own that never needs the GIL.
//!
//! That thread checks the loops and keeps what it finds. A Python thread calls `wait`, which is detached
//! until something is found: the loops are watched even while it waits for the GIL, or while a program's
//! `on_stall` takes long. The other methods may be called in any thread. The watcher
//! refers to the progress of loops only, and keeps no loop alive.

use std::collections::TryReserveError;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::error::{exception, no_memory};
use crate::event_loop::state::EventLoop;
use crate::logic::progress::{Finding, StallWatch};
use crate::py::value;
use crate::sys::{clock, wakeup};

/// A thread that checks loops. `Default` is one that was not started.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Looker {
    #[default]
    Absent,
    /// It was started and has not checked the loops yet.
    Starts,
    Looks,
    /// It has to end.
    Ends,
}

/// The state that the threads share. The lock is held briefly, and nothing is called meanwhile.
#[derive(Default)]
struct Shared {
    /// The loops, with their numbers.
    watches: Vec<(u64, StallWatch)>,
    /// What was found and not returned yet.
    found: Vec<(u64, Finding)>,
    /// Whether `wait` has to return.
    woken: bool,
    looker: Looker,
}

#[derive(Default)]
struct Lookout {
    shared: Mutex<Shared>,
    /// Notified when a stall was found, or the thread has begun to check.
    finding: Condvar,
    /// Notified when there is another loop to check, or the thread has to end.
    changed: Condvar,
}

/// Watches loops for stalls.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct Watcher {
    lookout: Arc<Lookout>,
}

#[pymethods]
impl Watcher {
    #[new]
    fn new() -> Self {
        Self {
            lookout: Arc::default(),
        }
    }

    /// Watch a loop, under a number, for callbacks that take `stall_after` seconds or more.
    ///
    /// Returns when the thread checks it, or after a second. Raises RuntimeError if there can be no
    /// thread.
    fn watch(
        &self,
        py: Python<'_>,
        event_loop: &Bound<'_, EventLoop>,
        number: u64,
        stall_after: f64,
    ) -> PyResult<()> {
        self.start(py)?;
        let progress = Arc::clone(&event_loop.get().progress);
        let watch = StallWatch::new(progress, stall_after);
        let added = self.lookout.add(number, watch);
        // Making an exception may run the collector, which may run a finalizer that takes the lock.
        added.map_err(|_| no_memory(py))
    }

    /// Stop watching the loop of that number.
    fn forget(&self, number: u64) {
        let mut shared = self.lookout.lock();
        shared.watches.retain(|(it, _)| *it != number);
        shared.found.retain(|(it, _)| *it != number);
    }

    /// Whether the stall of the loop of that number that began at the time `since` continues.
    fn stands(&self, number: u64, since: f64) -> bool {
        let shared = self.lookout.lock();
        let mut watches = shared.watches.iter();
        watches.any(|(it, watch)| *it == number && watch.stands_since(since))
    }

    /// Make the current or the next `wait` return.
    fn wake(&self) {
        self.lookout.lock().woken = true;
        self.lookout.finding.notify_all();
    }

    /// Stop watching all loops: for the end of the thread that calls `wait`.
    fn stop(&self) {
        self.lookout.lock().looker = Looker::Ends;
        self.lookout.changed.notify_all();
    }

    /// Wait until something is found, `wake` was called, or `timeout` seconds have passed.
    ///
    /// Returns a list of (number of the loop, when the stall began in seconds of the monotonic
    /// clock, how long it was in seconds). The second is None for the end of a stall that was
    /// returned before, the third for a stall that continues.
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let found = py.detach(|| self.lookout.await_findings(timeout));
        let stalls = joined(&found).map_err(|_| no_memory(py))?;
        let seconds = |it: Option<f64>| match it {
            Some(it) => value::float(py, it).map(Bound::into_any),
            None => Ok(py.None().into_bound(py)),
        };
        let items = stalls.iter().map(|(number, since, length)| {
            let item = [
                value::int(py, number.cast_signed())?.into_any(),
                seconds(*since)?,
                seconds(*length)?,
            ];
            Ok(value::tuple(py, &item)?.into_any())
        });
        let items = value::collected(py, items)?;
        value::list(py, items.into_iter().collect::<PyResult<Vec<_>>>()?)
    }
}

impl Watcher {
    /// Starts the thread unless it was started, and waits until it checks the loops, so that the
    /// time of its start is not taken for a stall.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        let absent = {
            let mut shared = self.lookout.lock();
            let absent = shared.looker == Looker::Absent;
            if absent {
                shared.looker = Looker::Starts;
            }
            absent
        };
        if absent {
            let lookout = Arc::clone(&self.lookout);
            // The kernel's limit for the name is 15 bytes.
            let thread = thread::Builder::new().name("ferroloop-stall".to_owned());
            if thread.spawn(move || lookout.look()).is_err() {
                self.lookout.lock().looker = Looker::Absent;
                return Err(exception::<PyRuntimeError>(py, "can't start new thread"));
            }
        }
        py.detach(|| {
            let starts = |shared: &mut Shared| shared.looker == Looker::Starts;
            let second = Duration::from_secs(1);
            let shared = self.lookout.lock();
            drop((self.lookout.finding).wait_timeout_while(shared, second, starts));
        });
        Ok(())
    }
}

impl Lookout {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a loop.
    fn add(&self, number: u64, watch: StallWatch) -> Result<(), TryReserveError> {
        let mut shared = self.lock();
        shared.watches.try_reserve(1)?;
        shared.watches.push((number, watch));
        // So that the thread checks now, and knows when to check again.
        self.changed.notify_all();
        Ok(())
    }

    /// Checks the loops until the thread has to end.
    fn look(&self) {
        wakeup::leave_signals_to_others();
        let mut shared = self.lock();
        if shared.looker == Looker::Starts {
            shared.looker = Looker::Looks;
            self.finding.notify_all();
        }
        while shared.looker == Looker::Looks {
            // If there is no memory for a finding, a later check finds it again.
            if shared.look(clock::monotonic()) {
                self.finding.notify_all();
            }
            let pauses = shared.watches.iter().map(|(_, watch)| watch.pause());
            let pause = pauses.fold(f64::INFINITY, f64::min);
            shared = if let Ok(pause) = Duration::try_from_secs_f64(pause) {
                let waited = self.changed.wait_timeout(shared, pause);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.changed.wait(shared);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }

    /// Waits until something is found, and takes it.
    fn await_findings(&self, timeout: Option<f64>) -> Vec<(u64, Finding)> {
        let nothing = |shared: &mut Shared| !shared.woken && shared.found.is_empty();
        let shared = self.lock();
        let timeout = timeout.and_then(|it| Duration::try_from_secs_f64(it).ok());
        let mut shared = if let Some(timeout) = timeout {
            let waited = self.finding.wait_timeout_while(shared, timeout, nothing);
            waited.unwrap_or_else(PoisonError::into_inner).0
        } else {
            let waited = self.finding.wait_while(shared, nothing);
            waited.unwrap_or_else(PoisonError::into_inner)
        };
        shared.woken = false;
        std::mem::take(&mut shared.found)
    }
}

impl Shared {
    /// Checks each loop once. True if something new was found.
    fn look(&mut self, now: f64) -> bool {
        if self.found.try_reserve(self.watches.len()).is_err() {
            return false;
        }
        let before = self.found.len();
        for (number, watch) in &mut self.watches {
            let finding = watch.look(now);
            self.found.extend(finding.map(|it| (*number, it)));
        }
        self.found.len() > before
    }
}

/// A stall: the number of the loop, when it began unless that was returned before, and how long it
/// was if it is over.
type Told = (u64, Option<f64>, Option<f64>);

/// The stalls in `found`, in order.
fn joined(found: &[(u64, Finding)]) -> Result<Vec<Told>, TryReserveError> {
    let mut stalls: Vec<Told> = Vec::new();
    stalls.try_reserve_exact(found.len())?;
    for (number, finding) in found {
        match finding {
            Finding::Began(since) => stalls.push((*number, Some(*since), None)),
            Finding::Ended(seconds) => {
                let mut begun = stalls.iter_mut().rev();
                match begun.find(|it| it.0 == *number && it.2.is_none()) {
                    Some(stall) => stall.2 = Some(*seconds),
                    None => stalls.push((*number, None, Some(*seconds))),
                }
            }
        }
    }
    Ok(stalls)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::joined;
    use crate::logic::progress::Finding::{Began, Ended};

    #[test]
    fn the_end_of_a_stall_belongs_to_the_beginning_that_is_told_with_it() {
        let found = [
            (1, Ended(0.5)),
            (2, Began(7.0)),
            (1, Began(8.0)),
            (1, Ended(2.0)),
            (1, Began(11.0)),
        ];
        let stalls = [
            (1, None, Some(0.5)),
            (2, Some(7.0), None),
            (1, Some(8.0), Some(2.0)),
            (1, Some(11.0), None),
        ];
        assert_eq!(joined(&found).unwrap(), stalls);
    }
}
