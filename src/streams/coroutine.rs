//! `StreamCoroutine`: one call of `read`, `readexactly`, `readline`, `readuntil` or `drain`.
//!
//! The thread of the loop; pooled. The one surprise: what does not simply succeed or wait is begun anew as
//! asyncio's own coroutine of the same name, which finds everything as it was, because nothing is
//! taken out of the buffer before the whole result is there.

use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::cell::LoopCell;
use crate::py::coroutine::{already_awaited, just_started, never_awaited, stop_with, thrown};
use crate::py::object;
use crate::py::pool::{self, Pool, Pooled};
use crate::py::{asyncio, call};
use crate::streams::buffered::{self, Look};
use crate::streams::reader::StreamReaderBase;
use crate::streams::work::{Want, Work};
use crate::streams::writer::StreamWriterBase;

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

/// One call: what it does and how far it is.
struct State {
    work: Work,
    phase: Phase,
}

/// A coroutine of a stream.
#[pyclass(frozen, weakref, module = "ferroloop._native")]
pub struct StreamCoroutine {
    state: LoopCell<State>,
}

static POOL: Pool = Pool::new();

impl Pooled for StreamCoroutine {
    fn pool() -> &'static Pool {
        &POOL
    }

    fn emptied(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        Bound::new(py, Self::of(Work::Nothing, Phase::Over))
    }

    /// Warns as CPython does if nobody awaited it.
    fn empty(this: &Bound<'_, Self>) {
        let py = this.py();
        let (work, phase) = this.get().state.with(py, |state| {
            let phase = std::mem::replace(&mut state.phase, Phase::Over);
            (std::mem::replace(&mut state.work, Work::Nothing), phase)
        });
        match phase {
            Phase::Fresh => never_awaited(py, work.name()),
            Phase::Waiting(object, _) | Phase::Asyncio(object) => object.drop_ref(py),
            Phase::Running | Phase::Over => {}
        }
        work.release(py);
    }
}

impl StreamCoroutine {
    fn of(work: Work, phase: Phase) -> Self {
        let state = State { work, phase };
        Self {
            state: LoopCell::new(state),
        }
    }

    /// A coroutine that has not begun.
    ///
    /// # Errors
    /// `MemoryError`.
    pub fn begin(py: Python<'_>, work: Work) -> PyResult<Bound<'_, PyAny>> {
        let Some(coroutine) = pool::reuse::<Self>(py) else {
            return Ok(Bound::new(py, Self::of(work, Phase::Fresh))?.into_any());
        };
        let old = coroutine.get().state.with(py, |state| {
            state.phase = Phase::Fresh;
            std::mem::replace(&mut state.work, work)
        });
        drop(old);
        object::track(coroutine.as_unbound());
        Ok(coroutine.into_any())
    }

    fn enter(&self, py: Python<'_>, next: Phase) -> Phase {
        self.state
            .with(py, |state| std::mem::replace(&mut state.phase, next))
    }

    fn name(&self, py: Python<'_>) -> (&'static str, &'static str) {
        self.state.with(py, |state| state.work.name())
    }

    fn work(&self, py: Python<'_>) -> Work {
        self.state.with(py, |state| state.work.clone_ref(py))
    }

    /// Goes on, or begins, until the next thing to wait for.
    fn step<'py>(&self, py: Python<'py>, sent: Option<&Bound<'py, PyAny>>) -> PyResult<Step<'py>> {
        match self.enter(py, Phase::Running) {
            Phase::Fresh if sent.is_some_and(|sent| !sent.is_none()) => {
                self.enter(py, Phase::Fresh);
                Err(just_started())
            }
            Phase::Fresh => self.first(py),
            Phase::Waiting(future, from) => {
                let Work::Read(reader, want) = self.work(py) else {
                    self.end(py);
                    return Err(already_awaited());
                };
                let reader = reader.bind(py);
                let woken = reader.get().forget_waiter(py);
                // The reader marked it done: there is nothing to learn from it.
                let result = if woken {
                    Ok(None)
                } else {
                    call::method0(future.bind(py), intern!(py, "result")).map(Some)
                };
                future.drop_ref(py);
                match result {
                    Ok(_) => self.look(reader, &want, from, true),
                    Err(error) => self.raised(py, error),
                }
            }
            Phase::Asyncio(coroutine) => self.step_asyncio(coroutine.into_bound(py), sent),
            Phase::Running => Err(PyValueError::new_err("coroutine already executing")),
            Phase::Over => {
                self.end(py);
                Err(already_awaited())
            }
        }
    }

    /// Begins.
    #[inline]
    fn first<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        match self.work(py) {
            Work::Read(reader, want) => {
                let reader = reader.bind(py);
                let ordinary = reader
                    .get()
                    .state
                    .with(py, |state| state.exception.is_none());
                if ordinary {
                    self.look(reader, &want, 0, false)
                } else {
                    self.begin_asyncio(py)
                }
            }
            Work::Drain(writer) => match StreamWriterBase::flows(writer.bind(py)) {
                Ok(true) => {
                    self.end(py);
                    Ok(Step::Nothing)
                }
                Ok(false) => self.begin_asyncio(py),
                Err(error) => {
                    self.end(py);
                    Err(error)
                }
            },
            Work::Nothing => {
                self.end(py);
                Err(already_awaited())
            }
        }
    }

    #[inline]
    fn end(&self, py: Python<'_>) {
        drop(self.enter(py, Phase::Over));
    }

    /// `error` was raised where it waited for data.
    #[cold]
    fn raised<'py>(&self, py: Python<'py>, error: PyErr) -> PyResult<Step<'py>> {
        self.end(py);
        // A `readline` turns some exceptions into results, also those that a program has set.
        if let Work::Read(_, Want::Line) = self.work(py)
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
        let old = reader.get().state.with(py, |state| {
            state.woken = false;
            state.waiter.replace(waiter)
        });
        drop(old);
        // What a task wants to see of a future that it is given.
        if let Err(error) = future.setattr(intern!(py, "_asyncio_future_blocking"), true) {
            reader.get().forget_waiter(py);
            self.end(py);
            return Err(error);
        }
        let waiting = future.clone().unbind();
        self.enter(py, Phase::Waiting(waiting, from));
        Ok(Step::Yield(future))
    }

    /// Leaves it to asyncio's method.
    #[cold]
    fn begin_asyncio<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        let work = self.work(py);
        let (_, name) = work.name();
        let coroutine = match work {
            Work::Read(reader, want) => {
                let method = asyncio::stream_reader(py)?.getattr(name)?;
                match want {
                    Want::Some(count) | Want::Exactly(count) => method.call1((reader, count)),
                    Want::Line => method.call1((reader,)),
                    Want::Until(separator) => method.call1((reader, separator)),
                }
            }
            Work::Drain(writer) => asyncio::stream_writer(py)?.getattr(name)?.call1((writer,)),
            Work::Nothing => Err(already_awaited()),
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
        let Phase::Asyncio(coroutine) = self.enter(py, Phase::Running) else {
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
                self.enter(py, Phase::Asyncio(coroutine.unbind()));
                Ok(Step::Yield(yielded))
            }
            Err(error) => {
                self.end(py);
                Err(error)
            }
        }
    }

    /// The reader's waiter is over.
    fn forget_waiter(&self, py: Python<'_>) {
        if let Work::Read(reader, _) = self.work(py) {
            reader.get().forget_waiter(py);
        }
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
        let step = match self.enter(py, Phase::Over) {
            Phase::Asyncio(coroutine) => {
                self.enter(py, Phase::Asyncio(coroutine));
                self.throw_asyncio(py, error)?
            }
            Phase::Running => {
                self.enter(py, Phase::Running);
                return Err(PyValueError::new_err("coroutine already executing"));
            }
            Phase::Over => return Err(already_awaited()),
            Phase::Fresh => return Err(error),
            Phase::Waiting(future, _) => {
                drop(future);
                self.forget_waiter(py);
                self.raised(py, error)?
            }
        };
        Self::answer(py, step)
    }

    /// Give up, as a coroutine does.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.enter(py, Phase::Over) {
            Phase::Asyncio(coroutine) => {
                call::method0(coroutine.bind(py), intern!(py, "close")).map(drop)
            }
            Phase::Running => {
                self.enter(py, Phase::Running);
                Err(PyValueError::new_err("coroutine already executing"))
            }
            Phase::Waiting(future, _) => {
                drop(future);
                self.forget_waiter(py);
                Ok(())
            }
            Phase::Fresh | Phase::Over => Ok(()),
        }
    }

    #[getter]
    fn __name__(&self, py: Python<'_>) -> &'static str {
        self.name(py).1
    }

    #[getter]
    fn __qualname__(&self, py: Python<'_>) -> String {
        let (class, name) = self.name(py);
        format!("{class}.{name}")
    }

    fn __repr__(this: &Bound<'_, Self>) -> String {
        let (class, name) = this.get().name(this.py());
        format!("<coroutine object {class}.{name} at {:p}>", this.as_ptr())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(|state| {
            match &state.work {
                Work::Read(reader, _) => visit.call(reader)?,
                Work::Drain(writer) => visit.call(writer)?,
                Work::Nothing => {}
            }
            match &state.phase {
                Phase::Waiting(object, _) | Phase::Asyncio(object) => visit.call(object),
                Phase::Fresh | Phase::Running | Phase::Over => Ok(()),
            }
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| {
            let phase = std::mem::replace(&mut state.phase, Phase::Over);
            (std::mem::replace(&mut state.work, Work::Nothing), phase)
        });
        drop(cleared);
    }
}
