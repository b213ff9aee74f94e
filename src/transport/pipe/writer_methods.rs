//! The methods of `WritePipeTransport` that Python sees, beside those of both ends.
//!
//! A table of contents: each calls the file that implements it.

use pyo3::PyClassInitializer;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::event_loop::EventLoop;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Count, Text};
use crate::sys::pipe::Kind;
use crate::transport::endpoint::Transport;
use crate::transport::flow::Buffers;
use crate::transport::pipe::end::{Parts, PipeTransport};
use crate::transport::pipe::writer::{State, WRITER, WritePipeTransport};

/// asyncio's error for a regular file.
const REFUSAL: &str = "Pipe transport is only for pipes, sockets and character devices";

#[pymethods]
impl WritePipeTransport {
    #[new]
    #[classmethod]
    #[pyo3(signature = (event_loop, pipe, protocol, waiter=None, extra=None))]
    fn make<'py>(
        _class: &Bound<'py, PyType>,
        event_loop: &Bound<'py, EventLoop>,
        pipe: &Bound<'py, PyAny>,
        protocol: &Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Self>> {
        let parts = Parts {
            file: pipe,
            protocol,
            waiter,
            extra,
        };
        let (end, kind) =
            PipeTransport::new(event_loop, parts, "WritePipeTransport", &WRITER, REFUSAL)?;
        let writer = Self {
            state: LoopCell::owned(State::default()),
            sees_reader_go: matches!(kind, Kind::Fifo | Kind::Socket),
            stays_armed: kind == Kind::Fifo,
        };
        let whole = PyClassInitializer::from(end).add_subclass(writer);
        let this = Bound::new(event_loop.py(), whole)?;
        PipeTransport::open(this.as_super(), pipe)?;
        Ok(this)
    }

    /// `asyncio.Transport`, as asyncio's write pipes are: `isinstance` holds without that class's
    /// storage.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(asyncio::transport(py)?.clone().unbind())
    }

    /// Send data: bytes, bytearray or memoryview; what the pipe does not take at once is queued.
    ///
    /// Raises AssertionError for other data. After close() nothing is sent, and from the sixth
    /// such write on a warning is logged; from the fifth on if a write failed. Mirrors asyncio's
    /// write, the same on 3.10 to 3.15.
    #[pyo3(name = "write")]
    fn py_write(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::write(this, data)
    }

    /// Send all items of an iterable as one piece.
    ///
    /// Raises TypeError for an item that is not bytes-like. Mirrors asyncio's writelines, the same
    /// on 3.10 to 3.15.
    fn writelines(this: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        let joined = value::bytes(py, b"")?.call_method1(name!(py, join), (list_of_data,))?;
        Self::write(this, &joined)
    }

    /// The same as close(): a pipe has no other way to say that nothing follows.
    ///
    /// Mirrors asyncio's write_eof on 3.10 to 3.15, but raises no RuntimeError when the loop is
    /// closed.
    fn write_eof(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::close(this)
    }

    /// True: write_eof() is possible.
    ///
    /// Mirrors asyncio's can_write_eof, the same on 3.10 to 3.15.
    fn can_write_eof(&self) -> bool {
        true
    }

    /// Close once everything is sent; connection_lost(None) follows.
    ///
    /// Does nothing if the transport is closing. Mirrors asyncio's close on 3.10 to 3.15, but
    /// raises no RuntimeError when the loop is closed.
    #[pyo3(name = "close")]
    fn py_close(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::close(this)
    }

    /// Close at once; what is not sent is dropped, and connection_lost(None) follows.
    ///
    /// Mirrors asyncio's abort on 3.10 to 3.15, but raises no RuntimeError when the loop is closed.
    fn abort(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::force_close(this, None)
    }

    /// How many bytes the kernel has not taken.
    fn get_write_buffer_size(&self, py: Python<'_>) -> Count {
        Count(self.state.with(py, |state| state.queue.size()))
    }

    /// The (low, high) water marks in bytes.
    fn get_write_buffer_limits<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        Self::limits(this)
    }

    /// Set the water marks, in bytes. Raises ValueError unless high >= low >= 0.
    ///
    /// Without high it is 4 * low, or 64 KiB without both; without low it is a quarter of high.
    /// Mirrors asyncio's set_write_buffer_limits, the same on 3.10 to 3.15.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(
        this: &Bound<'_, Self>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Self::set_limits(this, high, low)
    }

    #[pyo3(signature = (exc=None))]
    fn _close(this: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        Self::force_close(this, exc)
    }

    #[pyo3(signature = (exc, message="Fatal error on pipe transport"))]
    fn _fatal_error(this: &Bound<'_, Self>, exc: Bound<'_, PyAny>, message: &str) -> PyResult<()> {
        let error = PyErr::from_value(exc);
        let ended = PipeTransport::fatal_error(this.as_super(), error, message);
        Self::drop_queue(this);
        ended
    }

    fn __repr__(this: &Bound<'_, Self>) -> Text<String> {
        let py = this.py();
        let stopped = this.as_super().get().event_loop.bind(py).get().is_closed();
        let (waits, size) = this.get().state.with(py, |state| state.describe());
        Text(this.as_super().get().end.with(py, |end| {
            let (life, number) = (end.endpoint.life.adjective(), end.number);
            if end.file.is_none() || stopped {
                let state = if stopped && end.file.is_some() {
                    "open"
                } else {
                    "closed"
                };
                return format!("<WritePipeTransport{life} fd={number} {state}>");
            }
            format!("<WritePipeTransport{life} fd={number} {waits} bufsize={size}>")
        }))
    }
}
