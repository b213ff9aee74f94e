//! `TimerHandle`: a handle with a deadline.
//!
//! Loop thread only. As in asyncio, order compares deadlines, and equality also callbacks, arguments
//! and cancellation: of two timers with one deadline, none may be less than, equal to or greater than
//! the other.
//!
//! Without the GIL it belongs to the thread that made it, and other threads lock it.

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::handle::Handle;
use crate::handle::callback::Callback;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::lifetime::object;
use crate::py::lifetime::pool::{self, Pooled};
use crate::py::stdlib::asyncio;
use crate::py::value;

/// When a timer is due.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    /// In seconds of the loop's clock.
    pub(crate) seconds: f64,
    /// Whether the program gave an `int`. `when()` returns the number that was given, and programs round
    /// deadlines to whole seconds, as aiohttp does.
    whole: bool,
}

impl Deadline {
    /// A deadline that is a `float` on asyncio.
    #[inline]
    pub(crate) fn at(seconds: f64) -> Self {
        Self {
            seconds,
            whole: false,
        }
    }

    /// A deadline that the program gave.
    ///
    /// # Errors
    /// `TypeError` if it is no number, `OverflowError` if it is an `int` that no `float` can hold.
    #[inline]
    pub(crate) fn given(when: &Bound<'_, PyAny>) -> PyResult<Self> {
        let seconds: f64 = when.extract()?;
        // A `float` has each of these exactly, of larger numbers not every one.
        let whole = when.is_exact_instance_of::<PyInt>() && seconds.abs() < 9e15;
        Ok(Self { seconds, whole })
    }

    /// The number that `when()` returns.
    fn number(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        if !self.whole {
            return Ok(value::float(py, self.seconds)?.into_any());
        }
        #[allow(clippy::cast_possible_truncation, reason = "`given` has compared it")]
        let seconds = self.seconds as i64;
        Ok(value::int(py, seconds)?.into_any())
    }
}

/// The deadline and where the handle is.
struct State {
    // The fields of a `Deadline`, which would take eight bytes more as a field of its own.
    seconds: f64,
    whole: bool,
    /// Whether it sits in the loop's heap.
    scheduled: bool,
}

/// A callback that was given to `call_later` or `call_at`.
#[pyclass(frozen, extends = Handle, module = "ferroloop._native")]
pub(crate) struct TimerHandle {
    /// The deadline and where the handle is.
    state: LoopCell<State>,
}

impl Pooled for TimerHandle {
    const NUMBER: usize = 1;

    fn emptied(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        let timer = Self {
            state: LoopCell::owned(State {
                seconds: 0.0,
                whole: false,
                scheduled: false,
            }),
        };
        Bound::new(
            py,
            PyClassInitializer::from(Handle::vacant()).add_subclass(timer),
        )
    }

    fn empty(this: &Bound<'_, Self>) {
        Handle::empty(this.as_super());
    }

    #[inline]
    fn own(this: &Bound<'_, Self>) {
        Handle::own(this.as_super());
        this.get().state.inherit();
    }
}

impl TimerHandle {
    /// A scheduled handle that the collector does not track yet.
    #[inline]
    pub(crate) fn new<'py>(
        when: Deadline,
        event_loop: &Bound<'py, PyAny>,
        callback: Callback,
    ) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        let Deadline { seconds, whole } = when;
        let state = State {
            seconds,
            whole,
            scheduled: true,
        };
        if let Some(handle) = pool::reuse::<Self>(py) {
            handle.as_super().get().fill(event_loop, callback);
            handle.get().state.with(py, |old| *old = state);
            return Ok(handle);
        }
        let base = Handle::filled(event_loop, callback);
        let timer = Self {
            state: LoopCell::owned(state),
        };
        let handle = Bound::new(py, PyClassInitializer::from(base).add_subclass(timer))?;
        object::untrack(handle.as_unbound());
        Ok(handle)
    }

    /// Notes that the handle has left the heap. False if it had left before.
    #[inline]
    pub(crate) fn unschedule(&self, py: Python<'_>) -> bool {
        self.state
            .with(py, |state| std::mem::take(&mut state.scheduled))
    }

    /// Whether it sits in the loop's heap.
    #[inline]
    pub(crate) fn is_scheduled(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.scheduled)
    }

    /// The deadline, in seconds of the loop's clock.
    pub(crate) fn deadline(&self, py: Python<'_>) -> f64 {
        self.state.with(py, |state| state.seconds)
    }

    /// The deadline as the program gave it.
    fn number<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let when = self.state.with(py, |state| Deadline {
            seconds: state.seconds,
            whole: state.whole,
        });
        when.number(py)
    }
}

#[pymethods]
impl TimerHandle {
    /// `asyncio.TimerHandle`, so that `isinstance` holds without the storage of that class.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(asyncio::timer_handle(py)?.clone().unbind())
    }

    /// The deadline, in seconds of the loop's clock (`loop.time()`): an `int` if `call_at` was given one.
    fn when<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.number(py)
    }

    #[getter]
    fn _when<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.number(py)
    }

    #[getter]
    fn _scheduled(&self, py: Python<'_>) -> bool {
        self.is_scheduled(py)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        value::float(py, self.deadline(py))?.hash()
    }

    fn __richcmp__(
        this: &Bound<'_, Self>,
        other: &Bound<'_, PyAny>,
        operation: CompareOp,
    ) -> PyResult<Py<PyAny>> {
        let py = this.py();
        let name = match operation {
            CompareOp::Lt => name!(py, __lt__),
            CompareOp::Le => name!(py, __le__),
            CompareOp::Eq => name!(py, __eq__),
            CompareOp::Ne => {
                let equal =
                    asyncio::timer_handle(py)?.call_method1(name!(py, __eq__), (this, other))?;
                if equal.is(py.NotImplemented()) {
                    return Ok(equal.unbind());
                }
                let unequal = pyo3::types::PyBool::new(py, !equal.is_truthy()?);
                return Ok(unequal.to_owned().into_any().unbind());
            }
            CompareOp::Gt => name!(py, __gt__),
            CompareOp::Ge => name!(py, __ge__),
        };
        Ok(asyncio::timer_handle(py)?
            .call_method1(name, (this, other))?
            .unbind())
    }
}
