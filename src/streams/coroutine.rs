//! `StreamCoroutine`: one call of `read`, `readexactly`, `readline`, `readuntil` or `drain`.
//!
//! The thread of the loop. The one surprise: what does not simply succeed or wait is begun anew as
//! asyncio's own coroutine of the same name, which finds everything as it was, because nothing is
//! taken out of the buffer before the whole result is there.

use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::cell::LoopCell;
use crate::py::coroutine::{just_started, stop_with, thrown};
use crate::py::{asyncio, call};
use crate::streams::buffered::{self, Look};
use crate::streams::reader::StreamReaderBase;
use crate::streams::writer::StreamWriterBase;

/// What a reading coroutine is to return.
pub enum Want {
    /// At most so many bytes.
    Some(usize),
    /// So many bytes.
    Exactly(usize),
    /// Up to a newline.
    Line,
    /// Up to the separator, which is not empty.
    Until(Py<PyBytes>),
}

/// What a coroutine does.
pub enum Work {
    Read(Py<StreamReaderBase>, Want),
    Drain(Py<StreamWriterBase>),
}

/// How far a coroutine is.
enum Phase {
    Fresh,
    /// Now.
    Running,
    /// For data, with the reader's waiter; up to where the buffer was searched.
    Waiting(Py<PyAny>, usize),
    /// asyncio's coroutine does it.
    Asyncio(Py<PyAny>),
    Over,
}

/// What came of a step.
enum Step<'py> {
    /// It waits for this future.
    Yield(Bound<'py, PyAny>),
    Bytes(Bound<'py, PyBytes>),
    Nothing,
}

/// A coroutine of a stream.
#[pyclass(frozen, module = "ferroloop._native")]
pub struct StreamCoroutine {
    work: Work,
    phase: LoopCell<Phase>,
}

impl StreamCoroutine {
    /// A coroutine that has not begun.
    pub fn new(work: Work) -> Self {
        Self {
            work,
            phase: LoopCell::new(Phase::Fresh),
        }
    }

    /// asyncio's class, method and this call's object.
    fn name(&self) -> (&'static str, &'static str) {
        match &self.work {
            Work::Read(_, Want::Some(_)) => ("StreamReader", "read"),
            Work::Read(_, Want::Exactly(_)) => ("StreamReader", "readexactly"),
            Work::Read(_, Want::Line) => ("StreamReader", "readline"),
            Work::Read(_, Want::Until(_)) => ("StreamReader", "readuntil"),
            Work::Drain(_) => ("StreamWriter", "drain"),
        }
    }

    /// Goes on, or begins, until the next thing to wait for.
    fn step<'py>(&self, py: Python<'py>, sent: Option<&Bound<'py, PyAny>>) -> PyResult<Step<'py>> {
        let phase = self
            .phase
            .with(py, |phase| std::mem::replace(phase, Phase::Running));
        match (phase, &self.work) {
            (Phase::Fresh, _) if sent.is_some_and(|sent| !sent.is_none()) => {
                self.phase.with(py, |phase| *phase = Phase::Fresh);
                Err(just_started())
            }
            (Phase::Fresh, Work::Read(reader, want)) => {
                let reader = reader.bind(py);
                let ordinary = reader
                    .get()
                    .state
                    .with(py, |state| state.exception.is_none());
                if ordinary {
                    self.look(reader, want, 0, false)
                } else {
                    self.begin_asyncio(py)
                }
            }
            (Phase::Fresh, Work::Drain(writer)) => {
                if StreamWriterBase::flows(writer.bind(py))? {
                    self.end(py);
                    Ok(Step::Nothing)
                } else {
                    self.begin_asyncio(py)
                }
            }
            (Phase::Waiting(future, from), Work::Read(reader, want)) => {
                let reader = reader.bind(py);
                forget_waiter(reader);
                let result = call::method0(future.bind(py), intern!(py, "result"));
                future.drop_ref(py);
                match result {
                    Ok(_) => self.look(reader, want, from, true),
                    Err(error) => self.raised(py, error),
                }
            }
            (Phase::Asyncio(coroutine), _) => self.step_asyncio(coroutine.into_bound(py), sent),
            (Phase::Running, _) => Err(PyValueError::new_err("coroutine already executing")),
            (Phase::Over | Phase::Waiting(..), _) => {
                self.end(py);
                let text = "cannot reuse already awaited coroutine";
                Err(PyRuntimeError::new_err(text))
            }
        }
    }

    #[inline]
    fn end(&self, py: Python<'_>) {
        self.phase.with(py, |phase| *phase = Phase::Over);
    }

    /// `error` was raised where it waited for data.
    #[cold]
    fn raised<'py>(&self, py: Python<'py>, error: PyErr) -> PyResult<Step<'py>> {
        self.end(py);
        // A `readline` turns some exceptions into results, also those that a program has set.
        if let Work::Read(_, Want::Line) = self.work
            && error.matches(py, asyncio::incomplete_reads(py)?)?
        {
            return match self.begin_asyncio(py)? {
                Step::Yield(_) => self.throw_asyncio(py, error),
                step => Ok(step),
            };
        }
        if error.matches(py, asyncio::invalid_state_error(py)?)? {
            let text = "await wasn't used with future";
            return Err(PyRuntimeError::new_err(text));
        }
        Err(error)
    }

    /// Looks whether the buffer holds what is wanted, and waits if not.
    fn look<'py>(
        &self,
        reader: &Bound<'py, StreamReaderBase>,
        want: &Want,
        from: usize,
        woken: bool,
    ) -> PyResult<Step<'py>> {
        let py = reader.py();
        let look = match want {
            Want::Some(count) => buffered::some(reader, *count, woken),
            Want::Exactly(count) => buffered::exactly(reader, *count),
            Want::Line => buffered::until(reader, b"\n", from),
            Want::Until(separator) => buffered::until(reader, separator.as_bytes(py), from),
        };
        match look {
            Ok(Look::Bytes(bytes)) => {
                self.end(py);
                Ok(Step::Bytes(bytes))
            }
            Ok(Look::Wait(from)) => self.wait(reader, from),
            Ok(Look::Asyncio) => self.begin_asyncio(py),
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }

    /// asyncio's `_wait_for_data`.
    fn wait<'py>(&self, reader: &Bound<'py, StreamReaderBase>, from: usize) -> PyResult<Step<'py>> {
        let py = reader.py();
        let (taken, paused, event_loop) = reader.get().state.with(py, |state| {
            let event_loop = state.event_loop.as_ref().map(|it| it.clone_ref(py));
            (
                state.waiter.is_some() || state.eof,
                state.paused,
                event_loop,
            )
        });
        let (false, Some(event_loop)) = (taken, event_loop) else {
            return self.begin_asyncio(py);
        };
        let future = (if paused {
            reader.get().resume(py)
        } else {
            Ok(())
        })
        .and_then(|()| call::method0(event_loop.bind(py), intern!(py, "create_future")));
        event_loop.drop_ref(py);
        let future = match future {
            Ok(future) => future,
            Err(error) => {
                self.end(py);
                return Err(error);
            }
        };
        let waiter = future.clone().unbind();
        let old = reader
            .get()
            .state
            .with(py, |state| state.waiter.replace(waiter));
        drop(old);
        // What a task wants to see of a future that it is given.
        if let Err(error) = future.setattr(intern!(py, "_asyncio_future_blocking"), true) {
            forget_waiter(reader);
            self.end(py);
            return Err(error);
        }
        let waiting = future.clone().unbind();
        self.phase
            .with(py, |phase| *phase = Phase::Waiting(waiting, from));
        Ok(Step::Yield(future))
    }

    /// Leaves it to asyncio's method.
    #[cold]
    fn begin_asyncio<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        let (_, name) = self.name();
        let coroutine = match &self.work {
            Work::Read(reader, want) => {
                let method = asyncio::stream_reader(py)?.getattr(name)?;
                match want {
                    Want::Some(count) | Want::Exactly(count) => method.call1((reader, *count)),
                    Want::Line => method.call1((reader,)),
                    Want::Until(separator) => method.call1((reader, separator)),
                }
            }
            Work::Drain(writer) => asyncio::stream_writer(py)?.getattr(name)?.call1((writer,)),
        };
        match coroutine {
            Ok(coroutine) => self.step_asyncio(coroutine, None),
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }

    #[cold]
    fn step_asyncio<'py>(
        &self,
        coroutine: Bound<'py, PyAny>,
        sent: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Step<'py>> {
        let py = coroutine.py();
        let none = py.None().into_bound(py);
        let result = call::method1(&coroutine, intern!(py, "send"), sent.unwrap_or(&none));
        self.stepped(coroutine, result)
    }

    /// Raises `error` where asyncio's coroutine waits.
    #[cold]
    fn throw_asyncio<'py>(&self, py: Python<'py>, error: PyErr) -> PyResult<Step<'py>> {
        let phase = self
            .phase
            .with(py, |phase| std::mem::replace(phase, Phase::Running));
        let Phase::Asyncio(coroutine) = phase else {
            self.end(py);
            return Err(error);
        };
        let coroutine = coroutine.into_bound(py);
        let result = coroutine.call_method1(intern!(py, "throw"), (error,));
        self.stepped(coroutine, result)
    }

    /// Notes what asyncio's coroutine did; its `StopIteration` is an error like others here.
    fn stepped<'py>(
        &self,
        coroutine: Bound<'py, PyAny>,
        result: PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Step<'py>> {
        let py = coroutine.py();
        match result {
            Ok(yielded) => {
                let coroutine = coroutine.unbind();
                self.phase
                    .with(py, |phase| *phase = Phase::Asyncio(coroutine));
                Ok(Step::Yield(yielded))
            }
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }

    #[cold]
    fn warn(&self) {
        Python::try_attach(|py| {
            let raised = PyErr::take(py);
            let (class, name) = self.name();
            let text = format!("coroutine '{class}.{name}' was never awaited");
            let category = py.get_type::<PyRuntimeWarning>();
            let warned = asyncio::warn(py).and_then(|warn| warn.call1((text, category)).map(drop));
            if let Err(error) = warned {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }

    /// A step as a method's result.
    fn answer<'py>(py: Python<'py>, step: Step<'py>) -> PyResult<Bound<'py, PyAny>> {
        match step {
            Step::Yield(future) => Ok(future),
            Step::Bytes(bytes) => Err(PyStopIteration::new_err((bytes.unbind(),))),
            Step::Nothing => Err(PyStopIteration::new_err((py.None(),))),
        }
    }
}

impl Drop for StreamCoroutine {
    /// A coroutine that nobody awaited: warns as CPython does.
    fn drop(&mut self) {
        let fresh = self.phase.try_with(|phase| matches!(phase, Phase::Fresh));
        if fresh == Some(true) {
            self.warn();
        }
    }
}

/// The reader's waiter is over, however it ended.
fn forget_waiter(reader: &Bound<'_, StreamReaderBase>) {
    let old = reader
        .get()
        .state
        .with(reader.py(), |state| state.waiter.take());
    drop(old);
}

#[pymethods]
impl StreamCoroutine {
    fn __await__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
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
    /// Go on with value, as a coroutine does. Raises StopIteration with the result at the end.
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
        let phase = self
            .phase
            .with(py, |phase| std::mem::replace(phase, Phase::Over));
        let step = match phase {
            Phase::Asyncio(_) => {
                self.phase.with(py, |running| *running = phase);
                self.throw_asyncio(py, error)?
            }
            Phase::Running => {
                self.phase.with(py, |phase| *phase = Phase::Running);
                return Err(PyValueError::new_err("coroutine already executing"));
            }
            Phase::Over => {
                let text = "cannot reuse already awaited coroutine";
                return Err(PyRuntimeError::new_err(text));
            }
            Phase::Fresh => return Err(error),
            Phase::Waiting(future, _) => {
                drop(future);
                if let Work::Read(reader, _) = &self.work {
                    forget_waiter(reader.bind(py));
                }
                self.raised(py, error)?
            }
        };
        Self::answer(py, step)
    }

    /// Give up, as a coroutine does.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let phase = self
            .phase
            .with(py, |phase| std::mem::replace(phase, Phase::Over));
        match (phase, &self.work) {
            (Phase::Asyncio(coroutine), _) => {
                call::method0(coroutine.bind(py), intern!(py, "close")).map(drop)
            }
            (Phase::Running, _) => {
                self.phase.with(py, |phase| *phase = Phase::Running);
                Err(PyValueError::new_err("coroutine already executing"))
            }
            (Phase::Waiting(future, _), Work::Read(reader, _)) => {
                drop(future);
                forget_waiter(reader.bind(py));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[getter]
    fn __name__(&self) -> &'static str {
        self.name().1
    }

    #[getter]
    fn __qualname__(&self) -> String {
        let (class, name) = self.name();
        format!("{class}.{name}")
    }

    fn __repr__(this: &Bound<'_, Self>) -> String {
        let (class, name) = this.get().name();
        format!("<coroutine object {class}.{name} at {:p}>", this.as_ptr())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.phase.try_with(|phase| {
            match &self.work {
                Work::Read(reader, _) => visit.call(reader)?,
                Work::Drain(writer) => visit.call(writer)?,
            }
            match phase {
                Phase::Waiting(object, _) | Phase::Asyncio(object) => visit.call(&*object),
                Phase::Fresh | Phase::Running | Phase::Over => Ok(()),
            }
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self
            .phase
            .with(py, |phase| std::mem::replace(phase, Phase::Over));
        drop(cleared);
    }
}
