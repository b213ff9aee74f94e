//! `WritePipeTransport`: from a protocol to a pipe.
//!
//! Loop thread only. No write is delayed, and each write is a system call of its own: a pipe that
//! several processes write to keeps small writes whole, and programs read the other end of a pipe in
//! the callback that wrote to it.
//!
//! Without the GIL its state is protected as that of `end`.

use std::collections::TryReserveError;
use std::io;

use pyo3::exceptions::{PyAssertionError, PyBrokenPipeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use crate::error::{exception, exception_of, no_memory, os_error};
use crate::event_loop::{Edges, Readiness, SourceClass, Step};
use crate::logic::flow_control::LOST_WRITES;
use crate::logic::lifecycle::Lifecycle;
use crate::logic::write_queue::WriteQueue;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::data::buffer;
use crate::py::stdlib::asyncio;
use crate::py::value::{Text, shown};
use crate::sys::pipe;
use crate::transport::chunk::{Data, Finished, Sent, send_queue};
use crate::transport::endpoint::{Endpoint, Extends, Transport, finalized};
use crate::transport::flow::{Buffers, Flow};
use crate::transport::pipe::end::PipeTransport;

/// asyncio's message for a failed write.
const WRITE_ERROR: &str = "Fatal write error on pipe transport";

/// The state of the writing end.
#[derive(Default)]
pub(crate) struct State {
    /// What the kernel has not taken. While it holds anything, the loop watches for room.
    pub(crate) queue: WriteQueue<Data>,
    /// When the protocol is asked to stop writing.
    flow: Flow,
    /// What the watch is for; with `Read` it only shows that the reader has closed its end.
    watched: Option<Edges>,
    /// Writes after the connection was lost, for the warning.
    lost_writes: u32,
}

/// The writing end of a pipe.
#[pyclass(frozen, extends = PipeTransport, module = "ferroloop._native")]
pub(crate) struct WritePipeTransport {
    /// The parts that change.
    pub(crate) state: LoopCell<State>,
    /// Whether the kernel reports that the reader has closed its end. It does so for pipes and
    /// sockets, by reporting the writing end as readable.
    pub(crate) sees_reader_go: bool,
    /// Whether the watch for room may stay: a pipe reports room only after it was full.
    pub(crate) stays_armed: bool,
}

/// Writing ends, as a kind of source.
pub(crate) struct WriterClass;

/// The one value of `WriterClass`.
pub(crate) static WRITER: WriterClass = WriterClass;

impl SourceClass for WriterClass {
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<WritePipeTransport>()?;
        this.as_super().get().in_context(this.py(), || {
            // As in asyncio, every event but urgent data means that the reader has closed its end.
            if readiness.readable && this.get().sees_reader_go {
                WritePipeTransport::reader_gone(this)?;
            }
            if readiness.writable {
                WritePipeTransport::write_ready(this)?;
            }
            Ok(())
        })
    }

    fn step(&self, object: &Bound<'_, PyAny>, step: Step) -> PyResult<()> {
        let this = object.cast::<WritePipeTransport>()?;
        PipeTransport::run_step(this.as_super(), step, this.get().sees_reader_go)
    }

    fn may_be_watched(&self, object: &Bound<'_, PyAny>) -> bool {
        object
            .cast::<PipeTransport>()
            .is_ok_and(|this| this.get().is_closing(this.py()))
    }
}

impl WritePipeTransport {
    /// `transport.write(data)`.
    ///
    /// # Errors
    /// `AssertionError`, as asyncio, for data that is not bytes-like.
    pub(crate) fn write(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        let known = data.is_instance_of::<PyBytes>()
            || data.is_instance_of::<PyByteArray>()
            || data.is_instance_of::<PyMemoryView>();
        if !known {
            return Err(exception::<PyAssertionError>(py, shown(&data.repr()?)));
        }
        if !data.is_truthy()? {
            return Ok(());
        }
        let closing = this.as_super().get().is_closing(py);
        let (refused, warns, waits) = this.get().state.with(py, |state| {
            let refused = closing || state.lost_writes > 0;
            let warns = refused && state.lost_writes >= LOST_WRITES;
            state.lost_writes = state.lost_writes.saturating_add(u32::from(refused));
            (refused, warns, !state.queue.is_empty())
        });
        if warns {
            let text = "pipe closed by peer or os.write(pipe, data) raised exception.";
            asyncio::logger(py)?.call_method1(name!(py, warning), (Text(text),))?;
        }
        if refused {
            return Ok(());
        }
        let sent = if waits {
            Ok((0, usize::MAX))
        } else {
            Self::send_now(this, data)
        };
        let (sent, size) = match sent {
            Ok(sent) => sent,
            Err(error) => return Self::write_failed(this, &error),
        };
        if sent < size {
            Self::keep(this, data, sent, waits)
        } else {
            Ok(())
        }
    }

    /// Tries to send `data` at once. Returns how many bytes the kernel has taken, and how many
    /// there are.
    fn send_now(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> io::Result<(usize, usize)> {
        let number = this.as_super().get().end.with(this.py(), |end| end.number);
        let send = |bytes: &[u8]| match pipe::write(number, bytes) {
            Ok(count) => Ok((count, bytes.len())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((0, bytes.len())),
            Err(error) => Err(error),
        };
        match data.cast_exact::<PyBytes>() {
            Ok(bytes) => send(bytes.as_bytes()),
            // A view that is not contiguous is flattened when it is queued, and sent after that.
            Err(_) => buffer::with_bytes(data, send).unwrap_or(Ok((0, usize::MAX))),
        }
    }

    /// Queues what the kernel has not taken and waits for room.
    fn keep(
        this: &Bound<'_, Self>,
        data: &Bound<'_, PyAny>,
        sent: usize,
        waits: bool,
    ) -> PyResult<()> {
        let py = this.py();
        let data = Data::from_write(data)?;
        let room = this.get().state.with(py, |state| {
            state.queue.make_room(1)?;
            state.queue.push(data);
            state.queue.sent(sent, drop);
            Ok::<_, TryReserveError>(())
        });
        room.map_err(|_| no_memory(py))?;
        if !waits {
            Self::watch_for_room(this)?;
        }
        Self::maybe_pause(this)
    }

    fn write_failed(this: &Bound<'_, Self>, error: &io::Error) -> PyResult<()> {
        this.get().state.with(this.py(), |state| {
            state.lost_writes = state.lost_writes.saturating_add(1);
        });
        PipeTransport::fatal_error(this.as_super(), os_error(error), WRITE_ERROR)
    }

    fn watch_for_room(this: &Bound<'_, Self>) -> PyResult<()> {
        PipeTransport::hold(this.as_super());
        let watched = this.get().state.with(this.py(), |state| state.watched);
        if watched == Some(Edges::Both) && this.get().stays_armed {
            Ok(())
        } else {
            Self::rearm(this, Edges::Both)
        }
    }

    fn rearm(this: &Bound<'_, Self>, edges: Edges) -> PyResult<()> {
        let py = this.py();
        let place = PipeTransport::watch(this.as_super())?;
        place.rearm(this.as_super().get().event_loop.bind(py), edges)?;
        this.get()
            .state
            .with(py, |state| state.watched = Some(edges));
        Ok(())
    }

    /// Called by the loop when there is room.
    fn write_ready(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        if this.get().state.with(py, |state| state.queue.is_empty()) {
            return Ok(());
        }
        let number = this.as_super().get().end.with(py, |end| end.number);
        let mut finished = Finished::new();
        let sent = this.get().state.with(py, |state| {
            send_queue(
                &mut state.queue,
                number,
                pipe::write_vectored,
                &mut finished,
            )
        });
        finished.release(py);
        match sent {
            Sent::Everything => Self::drained(this),
            // As in asyncio, a writer may continue only when the pipe has taken everything.
            Sent::Blocked => Ok(()),
            Sent::Failed(error) => {
                Self::drop_queue(this);
                Self::write_failed(this, &error)
            }
        }
    }

    /// After everything is sent: resumes the protocol, and ends the connection if that was asked
    /// for.
    fn drained(this: &Bound<'_, Self>) -> PyResult<()> {
        if !this.get().stays_armed {
            // If it fails, the watch for room stays, which costs wake-ups only.
            let _ = Self::rearm(this, Edges::Read);
        }
        // There is no later event, so the rest runs even if `resume_writing` raises.
        let resumed = Self::maybe_resume(this);
        let end = this.as_super();
        // If the kernel does not report that the reader has closed its end, the loop has nothing to
        // wait for.
        PipeTransport::loosen(end, || {
            let sent = |state: &mut State| state.queue.is_empty();
            !this.get().sees_reader_go && this.get().state.with(this.py(), sent)
        });
        let py = this.py();
        let closes = end
            .get()
            .with(py, |endpoint| endpoint.life == Lifecycle::Closing);
        if closes && end.get().unwatch(py) {
            return resumed.and(PipeTransport::end(end, None));
        }
        resumed
    }

    /// Called when the reader has closed its end.
    fn reader_gone(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        PipeTransport::log(this.as_super(), name!(py, info), "%r was closed by peer")?;
        let unsent = this.get().state.with(py, |state| !state.queue.is_empty());
        let reason = unsent.then(|| {
            exception_of::<PyBrokenPipeError>(py, ())
                .into_value(py)
                .into_any()
        });
        Self::force_close(this, reason)
    }

    /// Closes once everything is sent.
    ///
    /// # Errors
    /// What closing the file raises when the loop is closed.
    pub(crate) fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let end = this.as_super();
        let closes = end.get().with(py, Endpoint::close);
        let unsent = this.get().state.with(py, |state| !state.queue.is_empty());
        if !closes || (unsent && !end.get().event_loop.bind(py).get().is_closed()) {
            return Ok(());
        }
        Self::force_close(this, None)
    }

    /// Drops what was not sent and queues `connection_lost(reason)`.
    pub(crate) fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        Self::drop_queue(this);
        PipeTransport::force_close(this.as_super(), reason)
    }

    /// Drops what was not sent.
    pub(crate) fn drop_queue(this: &Bound<'_, Self>) {
        let dropped = this.get().state.with(this.py(), |state| state.queue.take());
        drop(dropped);
    }
}

impl Extends for WritePipeTransport {
    type Base = PipeTransport;

    fn base<'a, 'py>(this: &'a Bound<'py, Self>) -> &'a Bound<'py, PipeTransport> {
        this.as_super()
    }
}

impl Buffers for WritePipeTransport {
    fn with_flow<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut Flow, usize) -> R) -> R {
        this.get().state.with(this.py(), |state| {
            let waiting = state.queue.size();
            look(&mut state.flow, waiting)
        })
    }
}

impl State {
    /// The state of the watch for room, for a repr, and the size of the queue.
    pub(crate) fn describe(&self) -> (&'static str, usize) {
        (
            if self.queue.is_empty() {
                "idle"
            } else {
                "polling"
            },
            self.queue.size(),
        )
    }
}

finalized!(WritePipeTransport);
