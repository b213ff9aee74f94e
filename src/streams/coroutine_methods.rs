//! The methods of `StreamCoroutine` that Python sees: those of every coroutine.
//!
//! Loop thread only.

use crate::error::exception;
use crate::py::calling::call;
use crate::py::calling::coroutine::{already_awaited, stop_with, thrown};
use crate::py::calling::names::name;
use crate::py::value::Text;
use crate::streams::coroutine::{Phase, State, Step, StreamCoroutine};
use crate::streams::work::Work;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

#[pymethods]
impl StreamCoroutine {
    fn __await__(this: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let waits =
            |state: &mut State| matches!(state.phase, Phase::Waiting(..) | Phase::Asyncio(_));
        if this.get().state.with(this.py(), waits) {
            let text = "coroutine is being awaited already";
            return Err(exception::<PyRuntimeError>(this.py(), text));
        }
        Ok(this)
    }

    #[inline]
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.step(py, None)? {
            Step::Yield(future) => Ok(Some(future)),
            Step::Bytes(bytes) => {
                stop_with(&bytes);
                Ok(None)
            }
            Step::Nothing => Ok(None),
        }
    }

    #[pyo3(signature = (value, /))]
    /// Continue with value, as a coroutine does. Raises StopIteration with the result at the end.
    fn send<'py>(&self, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        Self::answer(py, self.step(py, Some(&value))?)
    }

    /// Raise an exception where the coroutine waits, as a coroutine does.
    #[pyo3(signature = (typ, val=None, tb=None, /))]
    fn throw<'py>(
        &self,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = typ.py();
        let error = thrown(typ, val, tb);
        let step = match self.take(py) {
            (work, Phase::Asyncio(coroutine)) => {
                self.put(py, work, Phase::Asyncio(coroutine));
                self.throw_asyncio(py, error)?
            }
            (_, Phase::Running) => {
                return Err(exception::<PyValueError>(py, "coroutine already executing"));
            }
            (Work::Read(reader, want), Phase::Waiting(future, _)) => {
                reader.get().forget_waiter(py, &future);
                self.raised(py, Work::Read(reader, want), error)?
            }
            (_, Phase::Over) => {
                self.end(py);
                return Err(already_awaited(py));
            }
            (_, Phase::Fresh | Phase::Waiting(..)) => {
                self.end(py);
                return Err(error);
            }
        };
        Self::answer(py, step)
    }

    /// Close, as a coroutine does.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let (work, phase) = self.take(py);
        let result = match (phase, work) {
            (Phase::Running, _) => {
                return Err(exception::<PyValueError>(py, "coroutine already executing"));
            }
            (Phase::Asyncio(coroutine), _) => {
                call::method0(coroutine.bind(py), name!(py, close)).map(drop)
            }
            (Phase::Waiting(future, _), Work::Read(reader, _)) => {
                reader.get().forget_waiter(py, &future);
                Ok(())
            }
            _ => Ok(()),
        };
        self.end(py);
        result
    }

    #[getter]
    fn __name__(&self, py: Python<'_>) -> Text<&'static str> {
        Text(self.name(py).1)
    }

    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> Text<String> {
        let (class, name) = self.name(py);
        Text(format!("{class}.{name}"))
    }

    fn __repr__(this: &Bound<'_, Self>) -> Text<String> {
        let (class, name) = this.get().name(this.py());
        Text(format!(
            "<coroutine object {class}.{name} at {:p}>",
            this.as_ptr()
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            match &state.work {
                Work::Read(reader, _) => visit.call(reader)?,
                Work::Drain(writer) => visit.call(writer)?,
                Work::Done(_) => {}
            }
            match &state.phase {
                Phase::Waiting(object, _) | Phase::Asyncio(object) => visit.call(object),
                Phase::Fresh | Phase::Running | Phase::Over => Ok(()),
            }
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        self.abandon(py);
    }
}
