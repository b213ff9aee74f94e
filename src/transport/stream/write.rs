//! From the protocol to the kernel: sending, queueing, flow control.
//!
//! Loop thread only. What is written is sent at once, except for the head of a response that has a body
//! (`logic/response_head.rs`). The head is sent with the next write, when the callback returns, or when
//! the program asks for something that would show that it was not sent.

use std::io;
use std::os::fd::RawFd;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Raises, exception, no_memory, os_error};
use crate::event_loop::{Edges, Place};
use crate::logic::flow_control::LOST_WRITES;
use crate::logic::response_head;
use crate::logic::write_queue::Chunk;
use crate::py::calling::names::name;
use crate::py::data::buffer;
use crate::py::data::bytes::Pinned;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Text};
use crate::sys::{allocation, socket};
use crate::transport::chunk::{Data, Sent, is_exact_view};
use crate::transport::endpoint::{Reads, Transport};
use crate::transport::flow::Buffers;
use crate::transport::protocol::Kind;
use crate::transport::stream::state::{State, StreamTransport, Writing};

/// The texts of the errors for writes after `write_eof`, and while a file is being sent.
type Refusals = [&'static str; 2];
const WRITE: Refusals = [
    "Cannot call write() after write_eof()",
    "unable to write; sendfile is in progress",
];
const WRITELINES: Refusals = [
    "Cannot call writelines() after write_eof()",
    "unable to writelines; sendfile is in progress",
];

/// asyncio's message for a failed write.
const FAILED: &str = "Fatal write error on socket transport";

/// What `write` does next.
enum Next {
    /// Nothing is to be sent.
    Nothing,
    /// Send it at once on this descriptor; nothing waits before it.
    Send(RawFd),
    /// Delay it: it is the head of a response, and waits for its body.
    Delay(Place),
    /// Send it together with the delayed head.
    Join,
    /// Queue it until the kernel takes more.
    Wait,
    /// Count a write to a lost connection, and log a warning.
    Warn,
}

impl StreamTransport {
    /// `transport.write(data)`.
    ///
    /// # Errors
    /// `TypeError` for data that is not bytes-like, `RuntimeError` after `write_eof`.
    #[inline]
    pub(crate) fn write(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        if is_exact_view(data) {
            return Self::write_view(this, data);
        }
        Self::write_data(this, Data::from_write(data)?)
    }

    /// As `write`, for memory that is lent without running Python code: what the kernel takes at once
    /// is not copied.
    fn write_view(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let number = transport.state.with(py, |state| {
            let idle = state.writing == Writing::Idle && state.queue.is_empty();
            let open = !state.endpoint.life.is_lost() && state.refusal(&WRITE).is_none();
            (idle && open).then(|| state.descriptor.number(py))
        });
        let lent = number.map(|number| buffer::with_bytes(data, |bytes| send_lent(number, bytes)));
        match lent {
            Some(Ok(Lent::Sent)) => Ok(()),
            Some(Ok(Lent::Left(rest))) => {
                let rest = Data::Copied(rest);
                Self::not_sent(this, transport.put_back(py, rest, Ok(0)))
            }
            Some(Ok(Lent::Failed(error))) => Self::not_sent(this, Sent::Failed(error)),
            Some(Ok(Lent::NoMemory { cut: false })) => Err(no_memory(py)),
            // The peer has a part of the data and would never get the rest.
            Some(Ok(Lent::NoMemory { cut: true })) => {
                Self::fatal_error(this, no_memory(py), FAILED)
            }
            Some(Ok(Lent::Unsent) | Err(_)) | None => {
                Self::write_data(this, Data::from_write(data)?)
            }
        }
    }

    /// Writes a `bytes` as `write` does.
    pub(crate) fn write_bytes(this: &Bound<'_, Self>, data: Bound<'_, PyBytes>) -> PyResult<()> {
        Self::write_data(this, Data::Held(Pinned::new(data)))
    }

    #[inline]
    fn write_data(this: &Bound<'_, Self>, data: Data) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let next = transport.state.with(py, |state| {
            if let Some(text) = state.refusal(&WRITE) {
                return Err(text);
            }
            Ok(match data.bytes() {
                [] => Next::Nothing,
                bytes => state.next(py, || response_head::waits_for_body(bytes)),
            })
        });
        match next.map_err(|text| exception::<PyRuntimeError>(py, text))? {
            Next::Nothing => {
                data.release(py);
                Ok(())
            }
            Next::Send(number) => match transport.send_first(py, data, number) {
                Sent::Everything => Ok(()),
                sent => Self::not_sent(this, sent),
            },
            next => Self::go_on(this, next, [data]),
        }
    }

    /// `transport.writelines(chunks)`.
    ///
    /// # Errors
    /// `TypeError` for a chunk without a buffer, `RuntimeError` after `write_eof`.
    pub(crate) fn writelines(this: &Bound<'_, Self>, chunks: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        if py.version_info() < (3, 12) {
            // asyncio joins the chunks first, so its errors are those of `join`.
            let joined = value::bytes(py, b"")?.call_method1(name!(py, join), (chunks,))?;
            return Self::write(this, &joined);
        }
        if let Some(text) = transport.state.with(py, |state| state.refusal(&WRITELINES)) {
            return Err(exception::<PyRuntimeError>(py, text));
        }
        if !chunks.is_truthy()? {
            return Ok(());
        }
        let mut data = Vec::new();
        for chunk in chunks.try_iter()? {
            let chunk = Data::from_writelines(&chunk?)?;
            if !chunk.is_empty() {
                data.try_reserve(1).map_err(|_| no_memory(py))?;
                data.push(chunk);
            }
        }
        if data.is_empty() {
            return Ok(());
        }
        let next = transport.state.with(py, |state| {
            state.next(py, || response_head::wait_for_body(&data))
        });
        Self::go_on(this, next, data)
    }

    /// Sends, delays or queues `chunks`, none of which is empty.
    #[inline]
    fn go_on(
        this: &Bound<'_, Self>,
        next: Next,
        chunks: impl IntoIterator<Item = Data, IntoIter: ExactSizeIterator>,
    ) -> PyResult<()> {
        let py = this.py();
        let event_loop = this.get().event_loop.bind(py).get();
        let chunks = chunks.into_iter();
        let room = (this.get().state).with(py, |state| state.queue.make_room(chunks.len()));
        room.map_err(|_| no_memory(py))?;
        let delayed = match next {
            Next::Nothing => return Ok(()),
            Next::Warn => return Self::warn_lost(py),
            Next::Delay(place) => event_loop.delay(py, place),
            Next::Send(_) | Next::Join | Next::Wait => false,
        };
        this.get().state.with(py, |state| {
            chunks.for_each(|chunk| state.queue.push(chunk));
            if delayed {
                state.writing = Writing::Delayed;
            }
        });
        Self::hold(this);
        match next {
            Next::Delay(_) if delayed => Ok(()),
            Next::Wait => Self::maybe_pause(this),
            Next::Join => {
                this.get().undelay(py);
                Self::flush(this)
            }
            _ => Self::flush(this),
        }
    }

    #[cold]
    fn warn_lost(py: Python<'_>) -> PyResult<()> {
        let logger = asyncio::logger(py)?;
        logger.call_method1(
            name!(py, warning),
            (Text("socket.send() raised exception."),),
        )?;
        Ok(())
    }

    /// Sends what waits, and tells the protocol to pause if too much is left.
    ///
    /// # Errors
    /// An exception of the protocol's `pause_writing` or of an exception handler, if it leaves the
    /// loop.
    fn flush(this: &Bound<'_, Self>) -> PyResult<()> {
        match this.get().send(this.py()) {
            Sent::Everything => {
                Self::loosen(this);
                Ok(())
            }
            sent => Self::not_sent(this, sent),
        }
    }

    /// Not everything was sent.
    #[cold]
    fn not_sent(this: &Bound<'_, Self>, sent: Sent) -> PyResult<()> {
        match sent {
            Sent::Everything => Ok(()),
            Sent::Blocked => {
                Self::hold(this);
                this.get().watch_for_room(this.py())?;
                Self::maybe_pause(this)
            }
            Sent::Failed(error) => Self::fatal_error(this, os_error(&error), FAILED),
        }
    }

    /// Sends a delayed write before something that would show it.
    #[inline]
    pub(crate) fn settle(this: &Bound<'_, Self>) -> PyResult<()> {
        let (delayed, class) = this.get().state.with(this.py(), |state| {
            let class = match state.kind {
                Kind::Native(class) if class.carries() => Some(class),
                _ => None,
            };
            (state.writing == Writing::Delayed, class)
        });
        let flushed = if delayed {
            this.get().undelay(this.py());
            Self::flush(this)
        } else {
            Ok(())
        };
        let Some(class) = class else { return flushed };
        let carried = match this.get().protocol(this.py()) {
            Some(protocol) => class.flush(&protocol),
            None => Ok(()),
        };
        Self::loosen(this);
        flushed.and(carried)
    }

    /// Has the native protocol's `flush` called when the current callback returns. False if the
    /// protocol has to write at once: no callback runs, or the kernel takes nothing.
    pub(crate) fn delays(this: &Bound<'_, Self>) -> bool {
        let py = this.py();
        let transport = this.get();
        let place = transport.state.with(py, |state| {
            let idle = state.writing == Writing::Idle;
            state.endpoint.place().filter(|_| idle)
        });
        let event_loop = transport.event_loop.bind(py).get();
        let delays = place.is_some_and(|place| event_loop.delay(py, place));
        if delays {
            Self::hold(this);
        }
        delays
    }

    /// Marks a delayed write as sent now, so that nothing is sent at the end of the callback.
    #[inline]
    pub(crate) fn undelay(&self, py: Python<'_>) {
        if let Some(place) = self.state.with(py, |state| state.endpoint.place()) {
            self.event_loop.bind(py).get().undelay(py, place);
        }
    }

    /// Sends what `fill` writes into a buffer, if nothing waits: for a native protocol, without
    /// making an object. What the kernel does not take is written as `write_bytes` does. False if
    /// `fill` may have more.
    pub(crate) fn send_filled(
        this: &Bound<'_, Self>,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> PyResult<bool> {
        let py = this.py();
        let transport = this.get();
        let number = transport.state.with(py, |state| {
            let open = !state.endpoint.life.is_lost() && state.refusal(&WRITE).is_none();
            let next = open && state.writing == Writing::Idle && state.queue.is_empty();
            next.then(|| state.descriptor.number(py))
        });
        let Some(number) = number else {
            return Ok(false);
        };
        let event_loop = transport.event_loop.bind(py).get();
        let (left, all) = event_loop.with_scratch(py, |scratch| {
            let count = fill(scratch);
            let all = count < scratch.len();
            let sent = match &scratch[..count] {
                [] => Ok(0),
                filled => socket::send(number, filled),
            };
            let left = match sent {
                Ok(sent) if sent == count => Ok(None),
                Ok(sent) => Ok(Some(value::bytes(py, &scratch[sent..count]))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Ok(Some(value::bytes(py, &scratch[..count])))
                }
                // The kernel reports an error only once, so it is passed on.
                Err(error) => Err(error),
            };
            (left, all)
        })?;
        match left {
            Ok(None) => {}
            Ok(Some(Ok(left))) => Self::write_bytes(this, left)?,
            // A part of the data is missing.
            Ok(Some(Err(error))) => Self::fatal_error(this, error, FAILED)?,
            Err(error) => Self::fatal_error(this, os_error(&error), FAILED)?,
        }
        Ok(all)
    }

    /// Has the loop watch for room.
    pub(crate) fn watch_for_room(&self, py: Python<'_>) -> PyResult<()> {
        let place = self.state.with(py, |state| {
            state.writing = Writing::Blocked;
            state.endpoint.place()
        });
        match place {
            Some(place) => place.rearm(self.event_loop.bind(py), Edges::Both),
            None => Ok(()),
        }
    }

    /// Called by the loop when there is room.
    pub(crate) fn write_ready(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let blocked = transport.state.with(py, |state| {
            state.writing == Writing::Blocked && !state.endpoint.life.is_lost()
        });
        if !blocked {
            return Ok(());
        }
        transport
            .state
            .with(py, |state| state.writing = Writing::Idle);
        match transport.send(py) {
            Sent::Everything => {}
            Sent::Blocked => {
                transport
                    .state
                    .with(py, |state| state.writing = Writing::Blocked);
                return Self::maybe_resume(this);
            }
            Sent::Failed(error) => {
                return Self::fatal_error(this, os_error(&error), FAILED);
            }
        }
        transport.stop_watching_for_room(py);
        // There is no later event, so the rest runs even if `resume_writing` raises.
        let resumed = Self::maybe_resume(this);
        resumed.and(Self::drained(this))
    }

    fn stop_watching_for_room(&self, py: Python<'_>) {
        if let Some(place) = self.state.with(py, |state| state.endpoint.place()) {
            // If it fails, the watch for room stays, which costs wake-ups only.
            let _ = place.rearm(self.event_loop.bind(py), Edges::Read);
        }
    }

    /// After everything is sent: continues a transfer, and closes the connection or ends our side
    /// if that was asked for.
    fn drained(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        // What `resume_writing` wrote counts as sent before.
        Self::settle(this)?;
        let (drained, closes, ends, number) = transport.state.with(py, |state| {
            let drained = state.queue.is_empty() && !state.endpoint.life.is_lost();
            let closes = drained && state.endpoint.life.is_closing();
            let ends = drained && !closes && state.eof;
            (drained, closes, ends, state.descriptor.number(py))
        });
        if drained {
            transport.wake_transfer(py)?;
            Self::loosen(this);
        }
        if closes {
            transport.unwatch(py);
            return Self::end(this, None);
        }
        if ends {
            return socket::shutdown_write(number).or_raise();
        }
        Ok(())
    }

    /// `transport.write_eof()`.
    ///
    /// # Errors
    /// `OSError` from shutdown(2).
    pub(crate) fn write_eof(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        Self::settle(this)?;
        let (ends, number) = this.get().state.with(py, |state| {
            if state.endpoint.life.is_closing() || state.eof {
                return (false, -1);
            }
            state.eof = true;
            (state.queue.is_empty(), state.descriptor.number(py))
        });
        if ends {
            return socket::shutdown_write(number).or_raise();
        }
        Ok(())
    }
}

/// What became of memory that the program has lent for one `send`.
enum Lent {
    /// Nothing was tried: it is empty, or a head that waits for its body.
    Unsent,
    /// The kernel took everything.
    Sent,
    /// A copy of what the kernel did not take.
    Left(Box<[u8]>),
    /// There is no memory for that copy; whether the kernel took a part.
    NoMemory { cut: bool },
    /// The connection is broken.
    Failed(io::Error),
}

/// Sends `bytes` on the descriptor `number`.
#[inline]
fn send_lent(number: RawFd, bytes: &[u8]) -> Lent {
    if bytes.is_empty() || response_head::waits_for_body(bytes) {
        return Lent::Unsent;
    }
    let count = match socket::send(number, bytes) {
        Ok(count) if count == bytes.len() => return Lent::Sent,
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Lent::Failed(error),
    };
    let rest = bytes.get(count..).unwrap_or_default();
    allocation::copied(rest).map_or(Lent::NoMemory { cut: count > 0 }, Lent::Left)
}

impl State {
    /// Why nothing may be written now.
    #[inline]
    fn refusal(&self, texts: &Refusals) -> Option<&'static str> {
        if self.eof {
            return Some(texts[0]);
        }
        self.transfer.as_ref().map(|_| texts[1])
    }

    /// What to do with a write that is not empty; `waits` says whether it is a head whose body is
    /// to come.
    #[inline]
    fn next(&mut self, py: Python<'_>, waits: impl FnOnce() -> bool) -> Next {
        if self.endpoint.life.is_lost() {
            let warn = self.lost_writes >= LOST_WRITES;
            self.lost_writes = self.lost_writes.saturating_add(1);
            return if warn { Next::Warn } else { Next::Nothing };
        }
        match (self.writing, self.endpoint.place()) {
            (Writing::Blocked, _) => Next::Wait,
            (Writing::Delayed, _) => Next::Join,
            (Writing::Idle, Some(place)) if waits() => Next::Delay(place),
            (Writing::Idle, _) => Next::Send(self.descriptor.number(py)),
        }
    }
}
