//! `Job`: a call that a thread of an executor makes for a loop.
//!
//! It replaces the executor's own work item and its `concurrent.futures.Future`; `run_in_executor` returns neither
//! of them. The executor's worker calls `run`, and the loop calls `bring` and `give_up`. A thread that shuts the
//! executor down calls `cancel` or `set_exception`. Only the thread that takes the call out of the state may make
//! it or end the job; the GIL, or the lock of the state, serialises that.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyTuple};

use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Text};

/// How the call ended.
enum Outcome {
    /// With this result.
    Result(Py<PyAny>),
    /// With this exception.
    Error(Py<PyAny>),
    /// It was cancelled before it began.
    Cancelled,
}

/// The parts that change.
struct State {
    /// The function and its arguments; `None` once a thread calls the function, or once it will not be called.
    call: Option<(Py<PyAny>, Py<PyTuple>)>,
    /// The loop's future, which gets the outcome.
    waiter: Option<Py<PyAny>>,
    /// The outcome, until the loop brings it to the waiter.
    outcome: Option<Outcome>,
}

/// A call in another thread, for a loop.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct Job {
    /// Whose thread brings the outcome.
    event_loop: Py<PyAny>,
    /// Called with the waiter and the exception that the call raised.
    fail: Py<PyAny>,
    /// The parts that change.
    state: LoopCell<State>,
}

impl Job {
    /// Takes the call out. A thread that gets it either makes the call or cancels it; `None` if another thread has it.
    fn claim(&self, py: Python<'_>) -> Option<(Py<PyAny>, Py<PyTuple>)> {
        self.state.with(py, |state| state.call.take())
    }

    /// Keeps `outcome` for the loop.
    fn put(&self, py: Python<'_>, outcome: Outcome) {
        let previous = self.state.with(py, |state| state.outcome.replace(outcome));
        drop(previous);
    }

    /// Has the loop bring the outcome. If that fails, it is logged, as `concurrent.futures` does.
    fn deliver(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get().event_loop.bind(py);
        let bring = this.getattr(name!(py, bring))?;
        let Err(error) = call::method1(event_loop, name!(py, call_soon_threadsafe), &bring) else {
            return Ok(());
        };
        if error.is_instance_of::<PyRuntimeError>(py)
            && event_loop.call_method0(name!(py, is_closed))?.is_truthy()?
        {
            // The outcome has no receiver.
            return Ok(());
        }
        let keywords = value::dict(py)?;
        keywords.set_item(name!(py, exc_info), error.into_value(py))?;
        let logger = asyncio::futures_logger(py)?;
        let text = Text("exception calling callback for %r");
        let log = logger.getattr(name!(py, error))?;
        log.call((text, this), Some(&keywords)).map(drop)
    }

    /// Delivers an outcome that no worker brings: at once in the loop's own thread, where this Python's
    /// asyncio does so.
    #[cold]
    fn deliver_from_anywhere(this: &Bound<'_, Self>, outcome: Outcome) -> PyResult<()> {
        let py = this.py();
        this.get().put(py, outcome);
        if asyncio::chains_at_once(py)?.is_truthy()?
            && asyncio::running_loop(py)?.is_some_and(|it| it.is(&this.get().event_loop))
        {
            return Self::bring(this);
        }
        Self::deliver(this)
    }
}

#[pymethods]
impl Job {
    #[new]
    fn make(
        event_loop: Py<PyAny>,
        waiter: Py<PyAny>,
        fail: Py<PyAny>,
        function: Py<PyAny>,
        args: Py<PyTuple>,
    ) -> Self {
        Self {
            event_loop,
            fail,
            state: LoopCell::new(State {
                call: Some((function, args)),
                waiter: Some(waiter),
                outcome: None,
            }),
        }
    }

    /// Make the call, unless it was cancelled; a worker of the executor does that.
    #[pyo3(signature = (_context=None))]
    fn run(this: &Bound<'_, Self>, _context: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = this.py();
        let Some((function, args)) = this.get().claim(py) else {
            return Ok(());
        };
        let outcome = match function.bind(py).call1(args.bind(py)) {
            Ok(result) => Outcome::Result(result.unbind()),
            Err(error) => Outcome::Error(error.into_value(py).into_any()),
        };
        drop((function, args));
        this.get().put(py, outcome);
        Self::deliver(this)
    }

    /// Give the outcome to the waiter, unless that has given up. Loop thread only.
    fn bring(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let (waiter, outcome) = this
            .get()
            .state
            .with(py, |state| (state.waiter.take(), state.outcome.take()));
        let (Some(waiter), Some(outcome)) = (waiter, outcome) else {
            return Ok(());
        };
        let waiter = waiter.bind(py);
        if call::method0(waiter, name!(py, done))?.is_truthy()? {
            return Ok(());
        }
        match outcome {
            Outcome::Result(result) => {
                call::method1(waiter, name!(py, set_result), result.bind(py))
            }
            Outcome::Error(error) => {
                call::function2(this.get().fail.bind(py), waiter, error.bind(py))
            }
            Outcome::Cancelled => call::method0(waiter, name!(py, cancel)),
        }
        .map(drop)
    }

    /// Never make the call if the waiter was cancelled before it began. The waiter calls it when it is done.
    fn give_up(this: &Bound<'_, Self>, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        if call::method0(waiter, name!(py, cancelled))?.is_truthy()? {
            let (call, waiter) = this
                .get()
                .state
                .with(py, |state| (state.call.take(), state.waiter.take()));
            drop((call, waiter));
        }
        Ok(())
    }

    /// Drop the reference to the waiter, because the executor refused the job.
    fn forget(&self, py: Python<'_>) {
        let waiter = self.state.with(py, |state| state.waiter.take());
        drop(waiter);
    }

    /// The job itself, in the place of the future of the executor's work item.
    #[getter]
    fn future(this: &Bound<'_, Self>) -> Py<Self> {
        this.clone().unbind()
    }

    /// Cancel the waiter and return True, unless the call has begun.
    fn cancel<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyBool>> {
        let py = this.py();
        let call = this.get().claim(py);
        if call.is_some() {
            Self::deliver_from_anywhere(this, Outcome::Cancelled)?;
        }
        Ok(PyBool::new(py, call.is_some()).to_owned())
    }

    /// End with `exception` instead of the call: no worker could begin.
    fn set_exception(this: &Bound<'_, Self>, exception: Py<PyAny>) -> PyResult<()> {
        let call = this.get().claim(this.py());
        if call.is_some() {
            Self::deliver_from_anywhere(this, Outcome::Error(exception))?;
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            visit.call(&self.event_loop)?;
            visit.call(&self.fail)?;
            if let Some((function, args)) = &state.call {
                visit.call(function)?;
                visit.call(args)?;
            }
            visit.call(&state.waiter)?;
            match &state.outcome {
                Some(Outcome::Result(object) | Outcome::Error(object)) => visit.call(object),
                Some(Outcome::Cancelled) | None => Ok(()),
            }
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| {
            (state.call.take(), state.waiter.take(), state.outcome.take())
        });
        drop(cleared);
    }
}

/// A count of an executor's idle workers, in the place of its semaphore: CPython never waits for that semaphore.
#[pyclass(frozen, module = "ferroloop._native")]
pub(crate) struct IdleWorkers(AtomicUsize);

#[pymethods]
impl IdleWorkers {
    #[new]
    fn make() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Take one of them, if there is one; never waits.
    #[pyo3(signature = (blocking=None, timeout=None))]
    fn acquire<'py>(
        this: &Bound<'py, Self>,
        blocking: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> Bound<'py, PyBool> {
        let _ = (blocking, timeout);
        let (count, order) = (&this.get().0, Ordering::Relaxed);
        let taken = count.fetch_update(order, order, |count| count.checked_sub(1));
        PyBool::new(this.py(), taken.is_ok()).to_owned()
    }

    /// One more has nothing to do.
    fn release(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are: programs that measure their executors read this attribute of semaphores.
    #[getter]
    fn _value<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyInt>> {
        value::count(this.py(), this.get().0.load(Ordering::Relaxed))
    }
}
