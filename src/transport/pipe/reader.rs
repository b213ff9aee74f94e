//! `ReadPipeTransport`: from a pipe to its protocol, one read for each event.
//!
//! Loop thread only. A short read does not mean that a pipe is empty, since each read may return one
//! packet (O_DIRECT, which only the writer can see), so the kernel is asked how much is left. A terminal
//! returns one line for each read and a datagram socket one message; both are read again after the next poll.
//!
//! Without the GIL its state is protected as that of `end`.

use std::io;
use std::os::fd::RawFd;

use pyo3::PyClassInitializer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};

use crate::error::os_error;
use crate::event_loop::{EventLoop, Readiness, SourceClass, Step};
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::data::bytes;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Count, Text};
use crate::sys::pipe::{self, Kind};
use crate::sys::socket::readable_bytes;
use crate::transport::endpoint::{Extends, ReadSide, Reads, Transport, finalized};
use crate::transport::pipe::end::{Parts, PipeTransport};
use crate::transport::protocol::Parties;

/// asyncio's message for a failed read.
const READ_FAILED: &str = "Fatal read error on pipe transport";

/// From this size on, data is read directly into the object that the protocol gets.
const LARGE: usize = 32 * 1024;
/// The most that one read takes: asyncio's `max_size`.
const MOST: usize = 256 * 1024;
/// asyncio's error for a regular file.
const REFUSAL: &str = "Pipe transport is for pipes/sockets only.";

/// The state of the reading end.
#[derive(Default)]
struct State {
    /// `On` or `Paused`: a pipe that ended is closed.
    side: ReadSide,
    /// Whether the writer has gone, so that reading goes on until end of file.
    hung_up: bool,
    /// Whether the last read was large, so that the next goes into its final object.
    large: bool,
}

/// The reading end of a pipe.
#[pyclass(frozen, extends = PipeTransport, module = "ferroloop._native")]
pub(crate) struct ReadPipeTransport {
    /// The parts that change.
    state: LoopCell<State>,
    /// Whether a short read means that nothing is left.
    short_is_drained: bool,
}

/// Reading ends, as a kind of source.
struct ReaderClass;

static READER: ReaderClass = ReaderClass;

impl SourceClass for ReaderClass {
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<ReadPipeTransport>()?;
        let transport = this.as_super().get();
        transport.in_context(this.py(), || ReadPipeTransport::read_ready(this, readiness))
    }

    fn step(&self, object: &Bound<'_, PyAny>, step: Step) -> PyResult<()> {
        let this = object.cast::<ReadPipeTransport>()?;
        let run = PipeTransport::run_step(this.as_super(), step, true);
        ReadPipeTransport::loosen(this);
        run
    }

    fn may_be_watched(&self, object: &Bound<'_, PyAny>) -> bool {
        object
            .cast::<PipeTransport>()
            .is_ok_and(|this| this.get().is_closing(this.py()))
    }
}

impl ReadPipeTransport {
    fn read_ready(this: &Bound<'_, Self>, readiness: Readiness) -> PyResult<()> {
        let py = this.py();
        let reader = this.get();
        let end = &this.as_super().get().end;
        let (life, number) = end.with(py, |end| (end.endpoint.life, end.number));
        let event_loop = this.as_super().get().event_loop.bind(py);
        let turn = event_loop.get().turn(py);
        let (reads, early, large) = reader.state.with(py, |state| {
            state.hung_up |= readiness.read_closed;
            let reads = state.side.is_on(life);
            state.side.readable = !reads;
            // asyncio would have cancelled an event that was queued before the program resumed
            // reading.
            let early = std::mem::take(&mut state.side.resumed) == turn;
            (reads, early, state.large)
        });
        if !reads {
            return Ok(());
        }
        if early {
            this.as_super().get().resume(py);
            return Ok(());
        }
        let received = match receive(event_loop, number, large) {
            Ok(received) => received,
            // The data that was read is lost, so nothing may follow it.
            Err(error) => return Self::fatal_error(this, error, READ_FAILED),
        };
        match received {
            Ok((data, _)) if data.as_bytes().is_empty() => Self::end_of_file(this),
            Ok((data, full)) => {
                Self::note_read(this, data.as_bytes().len(), full);
                Self::deliver(this, &data)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Self::fatal_error(this, os_error(&error), READ_FAILED),
        }
    }

    /// After a read of `count` bytes: asks to be resumed if there may be more, or end of file.
    fn note_read(this: &Bound<'_, Self>, count: usize, full: bool) {
        let py = this.py();
        let again = this.get().state.with(py, |state| {
            state.large = count >= LARGE;
            full || state.hung_up || !this.get().short_is_drained
        });
        if again {
            this.as_super().get().resume(py);
        }
    }

    /// Passes data to the protocol. As in asyncio, an exception of `data_received` is reported and
    /// does not end the connection.
    fn deliver(this: &Bound<'_, Self>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = this.py();
        let Some(protocol) = this.as_super().get().protocol(py) else {
            return Ok(());
        };
        let call = PipeTransport::tell(this.as_super(), &protocol, name!(py, data_received));
        match call.call1(data) {
            Ok(_) => Ok(()),
            Err(error) => PipeTransport::report(this.as_super(), error, "_read_ready"),
        }
    }

    fn end_of_file(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let end = this.as_super();
        PipeTransport::log(end, name!(py, info), "%r was closed by peer")?;
        end.get()
            .with(py, |endpoint| endpoint.life = Lifecycle::Closing);
        PipeTransport::queue(end, "eof_received", None)
            .or_else(|error| PipeTransport::report(end, error, "_read_ready"))?;
        PipeTransport::force_close(end, None)
    }

    /// Ends the connection with `error`. A terminal reports with EIO that its other side is closed.
    #[cold]
    fn fatal_error(this: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        let py = this.py();
        let transport = this.as_super().get();
        let errno: Option<i32> = error
            .value(py)
            .getattr(name!(py, errno))
            .and_then(|errno| errno.extract())
            .ok();
        if errno.is_some_and(pipe::is_hang_up) {
            return PipeTransport::fatal_error(this.as_super(), error, message);
        }
        let protocol = transport.protocol(py);
        let parties = Parties {
            event_loop: transport.event_loop.bind(py),
            transport: this.as_any(),
            protocol: protocol.as_ref(),
        };
        let reported = parties.report(message, &error);
        let reason = error.into_value(py).into_any();
        reported.and(PipeTransport::force_close(this.as_super(), Some(reason)))
    }
}

impl Extends for ReadPipeTransport {
    type Base = PipeTransport;

    fn base<'a, 'py>(this: &'a Bound<'py, Self>) -> &'a Bound<'py, PipeTransport> {
        this.as_super()
    }
}

impl Reads for ReadPipeTransport {
    fn with_read_side<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut ReadSide) -> R) -> R {
        let state = &this.get().state;
        state.with(this.py(), |state| look(&mut state.side))
    }

    fn is_idle(this: &Bound<'_, Self>) -> bool {
        Self::with_read_side(this, |side| side.is_paused())
    }
}

/// Reads once, into an object of the right size. The `bool` says whether more may wait.
fn receive<'py>(
    event_loop: &Bound<'py, EventLoop>,
    number: RawFd,
    large: bool,
) -> PyResult<io::Result<(Bound<'py, PyBytes>, bool)>> {
    let py = event_loop.py();
    let waiting = if large { readable_bytes(number) } else { 0 };
    if waiting >= LARGE {
        let size = waiting.min(MOST);
        let data = bytes::filled(py, size, |space| pipe::read(number, space))?;
        return Ok(data.map(|data| {
            let more = waiting > data.as_bytes().len();
            (data, more)
        }));
    }
    event_loop.get().with_scratch(py, |scratch| {
        let count = match pipe::read(number, scratch) {
            Ok(count) => count,
            Err(error) => return Ok(Err(error)),
        };
        let data = value::bytes(py, &scratch[..count])?;
        Ok(Ok((data, readable_bytes(number) > 0)))
    })?
}

#[pymethods]
impl ReadPipeTransport {
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
            PipeTransport::new(event_loop, parts, "ReadPipeTransport", &READER, REFUSAL)?;
        let reader = Self {
            state: LoopCell::owned(State::default()),
            short_is_drained: kind == Kind::Fifo,
        };
        let whole = PyClassInitializer::from(end).add_subclass(reader);
        let this = Bound::new(event_loop.py(), whole)?;
        PipeTransport::open(this.as_super(), pipe)?;
        Ok(this)
    }

    /// `asyncio.ReadTransport`, so that `isinstance` holds without the storage of that class.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(asyncio::read_transport(py)?.clone().unbind())
    }

    /// Whether reading is not paused and the transport not closing.
    ///
    /// Mirrors asyncio's is_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    fn is_reading(this: &Bound<'_, Self>) -> bool {
        Reads::is_reading(this)
    }

    /// Deliver no more data until resume_reading().
    ///
    /// Does nothing if reading is paused or the transport is closing. Mirrors asyncio's
    /// pause_reading, the same on 3.10 to 3.15.
    fn pause_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Reads::pause_reading(this)
    }

    /// Deliver data again, not before the next turn of the loop.
    ///
    /// Does nothing unless reading is paused and the transport open. Mirrors asyncio's
    /// resume_reading, the same on 3.10 to 3.15.
    fn resume_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Reads::resume_reading(this)
    }

    /// Close at once; connection_lost(None) follows.
    ///
    /// Does nothing if the transport is closing. Mirrors asyncio's close on 3.10 to 3.15, but
    /// raises no RuntimeError when the loop is closed.
    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        if this.as_super().get().is_closing(this.py()) {
            return Ok(());
        }
        PipeTransport::force_close(this.as_super(), None)
    }

    /// How many bytes wait to be read; 0 while reading is paused or closed.
    fn _waiting(this: &Bound<'_, Self>) -> Count {
        if !Self::is_reading(this) {
            return Count(0);
        }
        let number = this.as_super().get().end.with(this.py(), |end| end.number);
        Count(readable_bytes(number))
    }

    fn _close(this: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        PipeTransport::force_close(this.as_super(), exc)
    }

    #[pyo3(signature = (exc, message="Fatal error on pipe transport"))]
    fn _fatal_error(this: &Bound<'_, Self>, exc: Bound<'_, PyAny>, message: &str) -> PyResult<()> {
        Self::fatal_error(this, PyErr::from_value(exc), message)
    }

    fn __repr__(this: &Bound<'_, Self>) -> Text<String> {
        let py = this.py();
        let paused = Self::with_read_side(this, |side| side.is_paused());
        let stopped = this.as_super().get().event_loop.bind(py).get().is_closed();
        Text(this.as_super().get().end.with(py, |end| {
            let watched = end.endpoint.registration.is_some() && !paused;
            format!(
                "<ReadPipeTransport{} fd={} {}>",
                end.endpoint.life.adjective(),
                end.number,
                if end.file.is_none() {
                    "closed"
                } else if stopped {
                    "open"
                } else if watched {
                    "polling"
                } else {
                    "idle"
                }
            )
        }))
    }
}

finalized!(ReadPipeTransport);
