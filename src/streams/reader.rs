//! `StreamReaderBase`: the fields of a stream reader, and what every message does to them.
//!
//! The thread of the reader's loop. The buffer is a real `bytearray`, which Python finds as `_buffer`;
//! programs and asyncio's own methods may change it at any time. What comes while it is empty stays a
//! `bytes` until the buffer is looked at, because most messages are taken out as they came in.
//!
//! Without the GIL the fields belong to the thread that made the reader, and other threads lock them; the
//! `bytearray`, which any code may hold, is used in a critical section of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyNotImplementedError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyTuple, PyType};

use crate::error::exception;
use crate::py::calling::call;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::calling::property::Property;
use crate::py::cell::LoopCell;
use crate::py::data::bytearray;
use crate::py::lifetime::blank::may_be_blank;
use crate::py::lifetime::object;
use crate::py::stdlib::asyncio;
use crate::streams::field::{self, flag_field, object_field};

/// asyncio's fields.
#[derive(Default)]
pub(crate) struct State {
    /// `_buffer`; `None` until asyncio's `__init__` sets it.
    buffer: Option<Py<PyByteArray>>,
    /// Data that belongs to the buffer and was not copied into it yet.
    ///
    /// # Invariant
    /// Not empty, and `None` unless the `bytearray` is empty.
    chunk: Option<Py<PyBytes>>,
    /// `None` for a limit that is not a non-negative `int`.
    pub(crate) limit: Option<usize>,
    /// The limit as it was given.
    given_limit: Option<Py<PyAny>>,
    /// Whether `feed_eof` was called.
    pub(crate) eof: bool,
    /// Whether the transport was paused because the buffer holds more than twice the limit.
    paused: bool,
    /// The future that a reading coroutine waits for; `None` while none waits.
    waiter: Option<Py<PyAny>>,
    /// The address of the last waiter that was marked done here.
    woken: Option<usize>,
    /// What `set_exception` was given, which every read raises.
    pub(crate) exception: Option<Py<PyAny>>,
    /// What is paused and resumed; `None` until it is set, or if it cannot be paused.
    transport: Option<Py<PyAny>>,
    /// The loop that makes the waiters.
    event_loop: Option<Py<PyAny>>,
}

/// The native half of a stream reader.
#[pyclass(frozen, subclass, module = "ferroloop._native")]
pub(crate) struct StreamReaderBase {
    /// asyncio's fields.
    pub(crate) state: LoopCell<State>,
    /// Whether all its methods are ours: it is a `ferroloop.StreamReader` and of no derived class,
    /// and the program has replaced no method on the object.
    is_exact: AtomicBool,
}

may_be_blank!(StreamReaderBase);

/// Those of asyncio's fields that are only read and set.
pub(super) fn fields() -> [Property<StreamReaderBase>; 6] {
    [
        flag_field!(c"_eof", eof),
        flag_field!(c"_paused", paused),
        object_field!(c"_waiter", waiter),
        object_field!(c"_exception", exception),
        object_field!(c"_transport", transport),
        object_field!(c"_loop", event_loop),
    ]
}

/// The methods that the native code does without, and those that asyncio's versions of them call.
const METHODS: &[&str] = &[
    "__class__",
    "_maybe_resume_transport",
    "_wait_for_data",
    "_wakeup_waiter",
    "feed_data",
    "read",
    "readexactly",
    "readline",
    "readuntil",
];

impl StreamReaderBase {
    /// Whether all methods are ours.
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.is_exact.load(Ordering::Relaxed)
    }

    /// The buffer, with everything in it.
    ///
    /// # Errors
    /// `BufferError` if something has a view of it, `MemoryError`.
    fn buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let (buffer, chunk) = self.state.with(py, |state| {
            let buffer = state.buffer.as_ref().map(|it| it.clone_ref(py));
            // The chunk stays in the state until it is in the buffer, because making an exception
            // runs Python code.
            (buffer, state.chunk.as_ref().map(|it| it.clone_ref(py)))
        });
        let buffer = buffer
            .ok_or_else(|| exception::<PyTypeError>(py, "StreamReader.__init__() was not called"))?
            .into_bound(py);
        if let Some(chunk) = chunk {
            bytearray::append(&buffer, chunk.as_bytes(py))?;
            chunk.drop_ref(py);
            if let Some(kept) = self.state.with(py, |state| state.chunk.take()) {
                kept.drop_ref(py);
            }
        }
        Ok(buffer)
    }

    /// How many bytes the buffer holds.
    #[inline]
    pub(crate) fn held(&self, py: Python<'_>) -> usize {
        self.state
            .with(py, |state| match (&state.chunk, &state.buffer) {
                (Some(chunk), _) => chunk.as_bytes(py).len(),
                (None, Some(buffer)) => buffer.bind(py).len(),
                (None, None) => 0,
            })
    }

    /// Lends the bytes of the buffer from `start` on to `read`, which runs no Python code.
    #[inline]
    pub(crate) fn with_bytes<R>(
        &self,
        py: Python<'_>,
        start: usize,
        read: impl FnOnce(&[u8]) -> R + Send,
    ) -> R {
        self.state
            .with(py, |state| match (&state.chunk, &state.buffer) {
                (Some(chunk), _) => read(chunk.as_bytes(py).get(start..).unwrap_or_default()),
                (None, Some(buffer)) => bytearray::with_bytes(buffer.bind(py), |bytes| {
                    read(bytes.get(start..).unwrap_or_default())
                }),
                (None, None) => read(&[]),
            })
    }

    /// Takes the first `count` bytes out of the buffer, or all if there are fewer, and lets the
    /// transport go on if there is room.
    ///
    /// # Errors
    /// As `buffer`, and what resuming the transport raises.
    #[inline]
    pub(crate) fn take<'py>(&self, py: Python<'py>, count: usize) -> PyResult<Bound<'py, PyBytes>> {
        let whole = self.state.with(py, |state| {
            let fits = |chunk: &mut Py<PyBytes>| chunk.as_bytes(py).len() <= count;
            state.chunk.take_if(fits)
        });
        if let Some(chunk) = whole {
            self.maybe_resume(py, 0)?;
            return Ok(chunk.into_bound(py));
        }
        let buffer = self.buffer(py)?;
        let taken = bytearray::take(&buffer, count)?;
        self.maybe_resume(py, buffer.len())?;
        Ok(taken)
    }

    /// Whether data may stay outside of the buffer: the buffer is empty, and there is no other
    /// reference to it or view of it that could show that the data is missing.
    #[inline]
    fn keeps_chunks(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| {
            state.chunk.is_none()
                && state
                    .buffer
                    .as_ref()
                    .is_some_and(|buffer| buffer.bind(py).len() == 0 && object::is_unique(buffer))
        })
    }

    /// Whether `feed` may be used; else asyncio's `feed_data` has to do it.
    #[inline]
    pub(crate) fn takes(&self, py: Python<'_>) -> bool {
        self.is_exact()
            && self
                .state
                .with(py, |state| !state.eof && state.limit.is_some())
    }

    /// asyncio's `feed_data` for a reader that `takes`: `append` puts the data, which is not empty,
    /// behind what a buffer holds, and `data` makes an object of it.
    ///
    /// # Errors
    /// What `append` returns, what waking the waiter and pausing the transport raise.
    #[inline]
    pub(crate) fn feed<'py>(
        this: &Bound<'py, Self>,
        data: impl FnOnce() -> PyResult<Bound<'py, PyBytes>>,
        append: impl FnOnce(&Bound<'_, PyByteArray>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = this.py();
        let reader = this.get();
        if reader.keeps_chunks(py) {
            let chunk = data()?.unbind();
            reader.state.with(py, |state| state.chunk = Some(chunk));
        } else {
            append(&reader.buffer(py)?)?;
        }
        let held = reader.held(py);
        let (waiter, overfull) = reader.state.with(py, |state| {
            let room = state.limit.unwrap_or(usize::MAX).saturating_mul(2);
            let overfull = held > room && !state.paused && state.transport.is_some();
            (state.waiter.take(), overfull)
        });
        if let Some(waiter) = waiter {
            reader.wake(&waiter.into_bound(py))?;
        }
        if overfull { Self::pause(this) } else { Ok(()) }
    }

    /// Marks `waiter` done, unless it was cancelled.
    #[inline]
    fn wake(&self, waiter: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = waiter.py();
        let none = py.None().into_bound(py);
        // Another kind of future may take a result although it was cancelled.
        if !waiter.get_type().is(asyncio::c_future(py)?)
            && call::method0(waiter, name!(py, cancelled))?.is_truthy()?
        {
            return Ok(());
        }
        match call::method1(waiter, name!(py, set_result), &none) {
            Ok(_) => {
                let address = waiter.as_ptr().addr();
                self.state.with(py, |state| state.woken = Some(address));
                Ok(())
            }
            Err(error) => {
                let cancelled = call::method0(waiter, name!(py, cancelled))?.is_truthy()?;
                if cancelled { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Whether a coroutine may begin to wait: no other one does, and something may come.
    #[inline]
    pub(crate) fn may_wait(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| {
            state.waiter.is_none() && !state.eof && state.event_loop.is_some()
        })
    }

    /// A new waiter, for a task to wait for; lets the transport go on before.
    #[inline]
    pub(crate) fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.state.with(py, |state| state.paused) {
            self.resume(py)?;
        }
        let event_loop = field::object(&self.state, py, |state| &mut state.event_loop);
        let future = call::method0(&event_loop, name!(py, create_future))?;
        // A task requires this of a future that its coroutine yields.
        future.setattr(name!(py, _asyncio_future_blocking), true)?;
        let waiter = future.clone().unbind();
        let old = self.state.with(py, |state| {
            state.woken = None;
            state.waiter.replace(waiter)
        });
        drop(old);
        Ok(future)
    }

    /// Forgets the waiter, which is done. True if it was `future` and was marked done here.
    #[inline]
    pub(crate) fn forget_waiter(&self, py: Python<'_>, future: &Py<PyAny>) -> bool {
        let (old, woken) = self
            .state
            .with(py, |state| (state.waiter.take(), state.woken.take()));
        if let Some(old) = old {
            old.drop_ref(py);
        }
        woken == Some(future.as_ptr().addr())
    }

    /// Removes the exception, which must not be seen until `show_exception` puts it back.
    #[cold]
    pub(crate) fn hide_exception(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.with(py, |state| state.exception.take())
    }

    /// Puts a hidden exception back, unless there is another now.
    #[cold]
    pub(crate) fn show_exception(&self, py: Python<'_>, hidden: Option<Py<PyAny>>) {
        let extra = self.state.with(py, |state| {
            if state.exception.is_none() {
                state.exception = hidden;
                None
            } else {
                hidden
            }
        });
        drop(extra);
    }

    #[cold]
    fn pause(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let state = &this.get().state;
        let Some(transport) = field::get(state, py, |state| &mut state.transport) else {
            return Ok(());
        };
        // On asyncio's loop, a dropped `Py` would be released later.
        let transport = transport.into_bound(py);
        match call::method0(&transport, name!(py, pause_reading)) {
            Ok(_) => state.with(py, |state| state.paused = true),
            Err(error) if error.is_instance_of::<PyNotImplementedError>(py) => {
                // It cannot be paused: asyncio forgets the transport.
                drop(state.with(py, |state| state.transport.take()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// After something was taken out of the buffer: asyncio's `_maybe_resume_transport`.
    #[inline]
    fn maybe_resume(&self, py: Python<'_>, held: usize) -> PyResult<()> {
        let resumes = self.state.with(py, |state| {
            state.paused && state.limit.is_some_and(|limit| held <= limit)
        });
        if resumes { self.resume(py) } else { Ok(()) }
    }

    /// Lets the transport read again.
    #[cold]
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        let transport = field::object(&self.state, py, |state| {
            state.paused = false;
            &mut state.transport
        });
        call::method0(&transport, name!(py, resume_reading)).map(drop)
    }
}

fast_method!(
    SetAttribute,
    StreamReaderBase,
    "__setattr__",
    [],
    c"__setattr__($self, name, value, /)\n--\n\n\
        As for any object; a method that a program puts on the reader is called from then on.",
    |this, arguments| {
        field::set_attribute(this.as_any(), arguments, METHODS, &this.get().is_exact)
    }
);

#[pymethods]
impl StreamReaderBase {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn make(
        class: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            state: LoopCell::owned(State::default()),
            is_exact: AtomicBool::new(class.is(asyncio::our_stream_reader(class.py())?)),
        })
    }

    #[getter(_buffer)]
    fn get_buffer<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        self.buffer(py)
    }

    #[setter(_buffer)]
    fn set_buffer(&self, buffer: Bound<'_, PyByteArray>) {
        let py = buffer.py();
        let buffer = buffer.unbind();
        let old = self.state.with(py, |state| {
            (state.chunk.take(), state.buffer.replace(buffer))
        });
        drop(old);
    }

    #[getter(_limit)]
    fn get_limit(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        field::get(&self.state, py, |state| &mut state.given_limit)
    }

    #[setter(_limit)]
    fn set_limit(&self, limit: Bound<'_, PyAny>) {
        let py = limit.py();
        let count = limit.extract::<usize>().ok();
        self.state.with(py, |state| state.limit = count);
        field::set(&self.state, limit, |state| &mut state.given_limit);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(&visit, |state| {
            visit.call(&state.buffer)?;
            visit.call(&state.given_limit)?;
            visit.call(&state.waiter)?;
            visit.call(&state.exception)?;
            visit.call(&state.transport)?;
            visit.call(&state.event_loop)
        });
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| {
            let ends = (state.waiter.take(), state.exception.take());
            (ends, state.transport.take(), state.event_loop.take())
        });
        drop(cleared);
    }
}
