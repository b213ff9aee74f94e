//! `StreamCoroutine`: one call of `read`, `readexactly`, `readline`, `readuntil` or `drain`.
//!
//! The thread of the loop; pooled. It handles calls that succeed or wait. For anything else asyncio's
//! own coroutine of the same name is run from its beginning, which is possible because nothing is taken
//! out of the buffer before. Without the GIL it belongs to the thread that made it.

use pyo3::exceptions::{PyStopIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{exception, exception_of};
use crate::py::calling::call;
use crate::py::calling::coroutine::{already_awaited, ended, just_started, never_awaited};
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::lifetime::object;
use crate::py::lifetime::pool::{self, Pooled};
use crate::py::stdlib::asyncio;
use crate::py::value::{Count, Text};
use crate::streams::buffered::{self, Look};
use crate::streams::reader::StreamReaderBase;
use crate::streams::work::{Want, Work};
use crate::streams::writer::StreamWriterBase;

/// The state of a coroutine.
pub(super) enum Phase {
    Fresh,
    /// One of its steps runs now.
    Running,
    /// It waits for data: the reader's waiter, and how far the buffer was searched.
    Waiting(Py<PyAny>, usize),
    /// asyncio's coroutine runs in its place.
    Asyncio(Py<PyAny>),
    Over,
}

/// The result of a step.
pub(super) enum Step<'py> {
    /// It waits for this future.
    Yield(Bound<'py, PyAny>),
    Bytes(Bound<'py, PyBytes>),
    Nothing,
}

/// One call: what it does, and its state.
pub(super) struct State {
    /// Which method of which stream was called, with its arguments.
    pub(super) work: Work,
    /// The state of the coroutine.
    pub(super) phase: Phase,
}

/// A coroutine of a stream.
#[pyclass(frozen, weakref, module = "ferroloop._native")]
pub(crate) struct StreamCoroutine {
    /// What it does, and its state.
    pub(super) state: LoopCell<State>,
}

impl Pooled for StreamCoroutine {
    const NUMBER: usize = 2;

    fn emptied(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        Bound::new(py, Self::of(Work::NONE, Phase::Over))
    }

    fn empty(this: &Bound<'_, Self>) {
        this.get().abandon(this.py());
    }

    #[inline]
    fn own(this: &Bound<'_, Self>) {
        this.get().state.inherit();
    }

    /// Warns of one that was never awaited; code that reaches it again may still await it.
    const FINALIZE: Option<fn(&Bound<'_, Self>)> = Some(|this| {
        if Self::is_unfinished(this) {
            never_awaited(this.as_any(), this.get().name(this.py()));
        }
    });

    fn is_unfinished(this: &Bound<'_, Self>) -> bool {
        let fresh = |state: &mut State| matches!(state.phase, Phase::Fresh);
        this.get().state.with_whole(this.py(), fresh) == Some(true)
    }
}

impl StreamCoroutine {
    pub(super) fn of(work: Work, phase: Phase) -> Self {
        let state = State { work, phase };
        Self {
            state: LoopCell::owned(state),
        }
    }

    /// A coroutine that has not begun.
    pub(crate) fn begin(py: Python<'_>, work: Work) -> PyResult<Bound<'_, PyAny>> {
        let Some(coroutine) = pool::reuse::<Self>(py) else {
            return Ok(Bound::new(py, Self::of(work, Phase::Fresh))?.into_any());
        };
        coroutine.get().put(py, work, Phase::Fresh);
        object::track(coroutine.as_unbound());
        Ok(coroutine.into_any())
    }

    /// Takes out what it does and its state, and marks it as running. Unless it has to wait it
    /// keeps only its name, because a task keeps its coroutine for as long as the task itself
    /// lives.
    #[inline]
    pub(super) fn take(&self, py: Python<'_>) -> (Work, Phase) {
        self.state.with(py, |state| {
            let done = Work::Done(state.work.name());
            let phase = std::mem::replace(&mut state.phase, Phase::Running);
            (std::mem::replace(&mut state.work, done), phase)
        })
    }

    #[inline]
    pub(super) fn put(&self, py: Python<'_>, work: Work, phase: Phase) {
        let old = self.state.with(py, |state| {
            let phase = std::mem::replace(&mut state.phase, phase);
            (std::mem::replace(&mut state.work, work), phase)
        });
        drop(old);
    }

    pub(super) fn enter(&self, py: Python<'_>, next: Phase) -> Phase {
        self.state
            .with(py, |state| std::mem::replace(&mut state.phase, next))
    }

    pub(super) fn name(&self, py: Python<'_>) -> (&'static str, &'static str) {
        self.state.with(py, |state| state.work.name())
    }

    /// Nothing refers to it any more: stops waiting, as CPython's destructor does.
    pub(super) fn abandon(&self, py: Python<'_>) {
        let (work, phase) = self.take(py);
        self.enter(py, Phase::Over);
        match (phase, &work) {
            (Phase::Waiting(future, _), Work::Read(reader, _)) => {
                reader.get().forget_waiter(py, &future);
                future.drop_ref(py);
            }
            (Phase::Waiting(object, _) | Phase::Asyncio(object), _) => object.drop_ref(py),
            (Phase::Fresh | Phase::Running | Phase::Over, _) => {}
        }
        work.release(py);
    }

    /// Runs until the next future to wait for, or to the end.
    pub(super) fn step<'py>(
        &self,
        py: Python<'py>,
        sent: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Step<'py>> {
        match self.take(py) {
            (work, Phase::Fresh) if sent.is_some_and(|sent| !sent.is_none()) => {
                self.put(py, work, Phase::Fresh);
                Err(just_started(py))
            }
            (work, Phase::Fresh) => self.first(py, work),
            (Work::Read(reader, want), Phase::Waiting(future, from)) => {
                let woken = reader.get().forget_waiter(py, &future);
                let future = future.into_bound(py);
                // The reader itself has marked it done, so it has no exception.
                match if woken { Ok(()) } else { ended(&future) } {
                    Ok(()) => self.look(py, reader, want, from, true),
                    Err(error) => self.raised(py, Work::Read(reader, want), error),
                }
            }
            (_, Phase::Asyncio(coroutine)) => self.step_asyncio(coroutine.into_bound(py), sent),
            (_, Phase::Running) => {
                Err(exception::<PyValueError>(py, "coroutine already executing"))
            }
            (_, Phase::Over | Phase::Waiting(..)) => {
                self.end(py);
                Err(already_awaited(py))
            }
        }
    }

    /// The first step.
    #[inline]
    pub(super) fn first<'py>(&self, py: Python<'py>, work: Work) -> PyResult<Step<'py>> {
        match work {
            Work::Read(reader, want) => {
                let ordinary = reader.get().state.with(py, |state| {
                    state.exception.is_none() && state.limit.is_some()
                });
                if ordinary {
                    self.look(py, reader, want, 0, false)
                } else {
                    self.begin_asyncio(py, Work::Read(reader, want))
                }
            }
            Work::Drain(writer) => match StreamWriterBase::flows(writer.bind(py)) {
                Ok(true) => {
                    self.end(py);
                    Ok(Step::Nothing)
                }
                Ok(false) => self.begin_asyncio(py, Work::Drain(writer)),
                Err(error) => self.failed(py, error),
            },
            Work::Done(_) => {
                self.end(py);
                Err(already_awaited(py))
            }
        }
    }

    #[inline]
    pub(super) fn end(&self, py: Python<'_>) {
        drop(self.enter(py, Phase::Over));
    }

    /// `error` was raised where it waited for data.
    #[cold]
    pub(super) fn raised<'py>(
        &self,
        py: Python<'py>,
        work: Work,
        error: PyErr,
    ) -> PyResult<Step<'py>> {
        // `readline` turns some exceptions into results, even if a program has set them.
        if let Work::Read(_, Want::Line) = work
            && error.matches(py, asyncio::incomplete_reads(py)?)?
        {
            return match self.begin_asyncio(py, work)? {
                Step::Yield(_) => self.throw_asyncio(py, error),
                step => Ok(step),
            };
        }
        self.failed(py, error)
    }

    /// Ends with `error`.
    #[cold]
    fn failed<'py>(&self, py: Python<'py>, error: PyErr) -> PyResult<Step<'py>> {
        self.end(py);
        Err(error)
    }

    /// Takes what is wanted out of the buffer, or waits.
    pub(super) fn look<'py>(
        &self,
        py: Python<'py>,
        reader: Py<StreamReaderBase>,
        want: Want,
        from: usize,
        woken: bool,
    ) -> PyResult<Step<'py>> {
        let place = reader.bind(py);
        let look = match &want {
            Want::Some(count) => buffered::some(place, *count, woken),
            Want::Exactly(count) => buffered::exactly(place, *count),
            Want::Line => buffered::until(place, b"\n", from),
            Want::Until(separator) => buffered::until(place, separator.as_bytes(py), from),
        };
        match look {
            Ok(Look::Bytes(bytes)) => {
                self.end(py);
                Ok(Step::Bytes(bytes))
            }
            Ok(Look::Wait(from)) if reader.get().may_wait(py) => self.wait(py, reader, want, from),
            Ok(Look::Wait(_) | Look::Asyncio) if woken => {
                // asyncio checks the reader's exception before it waits, and not after.
                let own = reader.clone_ref(py);
                let hidden = own.get().hide_exception(py);
                let step = self.begin_asyncio(py, Work::Read(reader, want));
                own.get().show_exception(py, hidden);
                step
            }
            Ok(Look::Wait(_) | Look::Asyncio) => self.begin_asyncio(py, Work::Read(reader, want)),
            Err(error) => self.failed(py, error),
        }
    }

    /// asyncio's `_wait_for_data`.
    pub(super) fn wait<'py>(
        &self,
        py: Python<'py>,
        reader: Py<StreamReaderBase>,
        want: Want,
        from: usize,
    ) -> PyResult<Step<'py>> {
        let future = reader.get().wait(py).inspect_err(|_| self.end(py))?;
        let waiting = Phase::Waiting(future.clone().unbind(), from);
        self.put(py, Work::Read(reader, want), waiting);
        Ok(Step::Yield(future))
    }

    /// Continues with asyncio's method.
    #[cold]
    pub(super) fn begin_asyncio<'py>(&self, py: Python<'py>, work: Work) -> PyResult<Step<'py>> {
        let (_, name) = work.name();
        let coroutine = match work {
            Work::Read(reader, want) => {
                let method = asyncio::stream_reader(py)?.getattr(Text(name))?;
                match want {
                    Want::Some(count) | Want::Exactly(count) => {
                        method.call1((reader, Count(count)))
                    }
                    Want::Line => method.call1((reader,)),
                    Want::Until(separator) => method.call1((reader, separator)),
                }
            }
            Work::Drain(writer) => asyncio::stream_writer(py)?
                .getattr(Text(name))?
                .call1((writer,)),
            Work::Done(_) => Err(already_awaited(py)),
        };
        let coroutine = coroutine.inspect_err(|_| self.end(py))?;
        self.step_asyncio(coroutine, None)
    }

    #[cold]
    pub(super) fn step_asyncio<'py>(
        &self,
        coroutine: Bound<'py, PyAny>,
        sent: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Step<'py>> {
        let py = coroutine.py();
        let none = py.None().into_bound(py);
        let result = call::method1(&coroutine, name!(py, send), sent.unwrap_or(&none));
        self.stepped(coroutine, result)
    }

    /// Raises `error` where asyncio's coroutine waits.
    #[cold]
    pub(super) fn throw_asyncio<'py>(&self, py: Python<'py>, error: PyErr) -> PyResult<Step<'py>> {
        let Phase::Asyncio(coroutine) = self.enter(py, Phase::Running) else {
            return self.failed(py, error);
        };
        let coroutine = coroutine.into_bound(py);
        let result = coroutine.call_method1(name!(py, throw), (error,));
        self.stepped(coroutine, result)
    }

    /// Keeps asyncio's coroutine and returns what it yielded. Its `StopIteration` is passed on as
    /// any other exception.
    pub(super) fn stepped<'py>(
        &self,
        coroutine: Bound<'py, PyAny>,
        result: PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Step<'py>> {
        let py = coroutine.py();
        let yielded = result.inspect_err(|_| self.end(py))?;
        self.enter(py, Phase::Asyncio(coroutine.unbind()));
        Ok(Step::Yield(yielded))
    }

    /// Converts a step into the result of `send`.
    pub(super) fn answer<'py>(py: Python<'py>, step: Step<'py>) -> PyResult<Bound<'py, PyAny>> {
        match step {
            Step::Yield(future) => Ok(future),
            Step::Bytes(bytes) => Err(exception_of::<PyStopIteration>(py, (bytes,))),
            Step::Nothing => Err(exception_of::<PyStopIteration>(py, (py.None(),))),
        }
    }
}
