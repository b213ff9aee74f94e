//! From the protocol to the kernel: gathering, sending, flow control.
//!
//! Loop thread only. The one surprise: within a callback, data is sent when the callback returns, or
//! earlier if the program asks something whose answer would reveal that it was not sent; more than
//! the high-water mark is sent at once.

use std::io;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{exception, os_error};
use crate::logic::flow_control::{DEFAULT_HIGH, LOST_WRITES};
use crate::logic::slab::Key;
use crate::py::asyncio;
use crate::py::bytes::Pinned;
use crate::py::names::name;
use crate::py::value::{self, Text};
use crate::sys::socket;
use crate::transport::chunk::Data;
use crate::transport::limits::water_marks;
use crate::transport::protocol::{Kind, tell_flow};
use crate::transport::sending::Sent;
use crate::transport::stream::{Native, State, StreamTransport, Writing};

/// What a program is told that writes after `write_eof`, or while a file is being sent.
type Refusals = [&'static str; 2];
const WRITE: Refusals = [
    "Cannot call write() after write_eof()",
    "unable to write; sendfile is in progress",
];
const WRITELINES: Refusals = [
    "Cannot call writelines() after write_eof()",
    "unable to writelines; sendfile is in progress",
];

/// What the log says of a connection that sending broke.
const FAILED: &str = "Fatal write error on socket transport";

/// What `write` does next.
enum Next {
    Nothing,
    Flush,
    Gather,
    Pause,
    Warn,
}

impl StreamTransport {
    /// `transport.write(data)`.
    ///
    /// # Errors
    /// `TypeError` for data that is not bytes-like, `RuntimeError` after `write_eof`.
    #[inline]
    pub fn write(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let data = Data::from_write(data)?;
        if let Some(text) = transport.state.with(py, |state| state.refusal(&WRITE)) {
            return Err(exception::<PyRuntimeError>(py, text));
        }
        if data.is_empty() {
            return Ok(());
        }
        let next = transport.state.with(py, |state| state.gather([data]));
        Self::go_on(this, next)
    }

    /// `transport.writelines(chunks)`.
    ///
    /// # Errors
    /// `TypeError` for a chunk without a buffer, `RuntimeError` after `write_eof`.
    pub fn writelines(this: &Bound<'_, Self>, chunks: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        if py.version_info() < (3, 12) {
            // asyncio joins the chunks first, which shows in its errors.
            let joined = value::bytes(py, b"")?.call_method1(name!(py, join), (chunks,))?;
            return Self::write(this, &joined);
        }
        if let Some(text) = transport.state.with(py, |state| state.refusal(&WRITELINES)) {
            return Err(exception::<PyRuntimeError>(py, text));
        }
        if !chunks.is_truthy()? {
            return Ok(());
        }
        let mut gathered = Vec::new();
        for chunk in chunks.try_iter()? {
            let chunk = Data::from_writelines(&chunk?)?;
            if !chunk.is_empty() {
                gathered.push(chunk);
            }
        }
        if gathered.is_empty() {
            return Ok(());
        }
        let next = transport.state.with(py, |state| state.gather(gathered));
        Self::go_on(this, next)
    }

    #[inline]
    fn go_on(this: &Bound<'_, Self>, next: (Next, Option<Key>)) -> PyResult<()> {
        let py = this.py();
        Self::hold(this);
        match next {
            (Next::Gather, Some(key)) => {
                if this.get().event_loop.bind(py).get().mark_dirty(py, key) {
                    return Ok(());
                }
                Self::flush(this)
            }
            (Next::Nothing, _) => Ok(()),
            (Next::Flush, Some(key)) => {
                // If sending fails, the loop asks when that was.
                this.get().event_loop.bind(py).get().mark_dirty(py, key);
                Self::flush(this)
            }
            (Next::Flush | Next::Gather, None) => Self::flush(this),
            (Next::Pause, _) => Self::maybe_pause(this),
            (Next::Warn, _) => Self::warn_lost(py),
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

    /// Sends what was gathered, and tells the protocol to pause if too much is left.
    ///
    /// # Errors
    /// What the protocol's `pause_writing` or an exception handler lets leave the loop.
    pub fn flush(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        match this.get().send(py) {
            Sent::Everything => {
                Self::loosen(this);
                Ok(())
            }
            Sent::Blocked => {
                this.get().watch_for_room(py)?;
                Self::maybe_pause(this)
            }
            Sent::Failed(error) => {
                let key = this.get().state.with(py, |state| state.key);
                let core = &this.get().event_loop.bind(py).get().core;
                core.with(py, |core| core.failed = key);
                Self::fatal_error(this, os_error(&error), FAILED)
            }
        }
    }

    /// Sends before something that would show whether everything was sent.
    ///
    /// # Errors
    /// As `flush`.
    pub fn settle(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let (gathered, class) = transport.state.with(py, |state| {
            let gathered = state.writing == Writing::Gathered;
            match state.kind {
                Kind::Direct(class)
                    if gathered && class.gathers() && state.native == Native::Idle =>
                {
                    state.native = Native::HandsOver;
                    (gathered, Some(class))
                }
                _ => (gathered, None),
            }
        });
        if !gathered {
            return Ok(());
        }
        let Some(class) = class else {
            return Self::flush(this);
        };
        let handed = transport
            .protocol(py)
            .map_or(Ok(()), |protocol| class.flush(&protocol));
        transport
            .state
            .with(py, |state| state.native = Native::Idle);
        // Whatever leaves the loop: nobody else sends what was gathered.
        let sent = Self::flush(this);
        handed.and(sent)
    }

    /// Has the native protocol's `flush` called when everything gathered is sent. False if that is
    /// not going to happen: it has to write at once.
    #[inline]
    pub fn gathers(this: &Bound<'_, Self>) -> bool {
        let py = this.py();
        let transport = this.get();
        let (gathered, key) = transport.state.with(py, |state| match state.writing {
            _ if state.native == Native::HandsOver => (false, None),
            Writing::Gathered => (true, None),
            Writing::Idle => (false, state.key),
            Writing::Blocked => (false, None),
        });
        let Some(key) = key else { return gathered };
        let gathers = transport.event_loop.bind(py).get().mark_dirty(py, key);
        if gathers {
            Self::hold(this);
            transport
                .state
                .with(py, |state| state.writing = Writing::Gathered);
        }
        gathers
    }

    /// Writes a `bytes` as `write` does.
    ///
    /// # Errors
    /// As `write`.
    pub fn write_bytes(this: &Bound<'_, Self>, data: Bound<'_, PyBytes>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let data = Data::Held(Pinned::new(data));
        let next = transport
            .state
            .with(py, |state| match state.refusal(&WRITE) {
                Some(text) => Err(text),
                None => Ok(state.gather([data])),
            });
        let next = next.map_err(|text| exception::<PyRuntimeError>(py, text));
        Self::go_on(this, next?)
    }

    /// Sends what `fill` puts into a room at once, if nothing waits and it would be sent next: for
    /// a native protocol that hands over what it has gathered, without an object in between. What
    /// the kernel does not take is written as `write_bytes` does. False if `fill` may have more.
    ///
    /// # Errors
    /// As `write`.
    pub fn send_filled(
        this: &Bound<'_, Self>,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> PyResult<bool> {
        let py = this.py();
        let transport = this.get();
        let number = transport.state.with(py, |state| {
            let next = state.native == Native::HandsOver && state.queue.is_empty();
            let open = !state.life.is_lost() && state.refusal(&WRITE).is_none();
            (next && open && state.writing != Writing::Blocked).then(|| state.descriptor.number(py))
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
                // The kernel says what is wrong once.
                Err(error) => Err(error),
            };
            (left, all)
        });
        match left {
            Ok(None) => {}
            Ok(Some(left)) => Self::write_bytes(this, left?)?,
            Err(error) => Self::fatal_error(this, os_error(&error), FAILED)?,
        }
        Ok(all)
    }

    /// Asks the loop to say when there is room.
    pub fn watch_for_room(&self, py: Python<'_>) -> PyResult<()> {
        let (key, number) = self.state.with(py, |state| {
            state.writing = Writing::Blocked;
            (state.key, state.descriptor.registered())
        });
        let Some(key) = key else { return Ok(()) };
        self.event_loop
            .bind(py)
            .get()
            .poller(py)?
            .change_edge(number, key.0, true)
            .map_err(|error| os_error(&error))
    }

    /// Tells the protocol to pause if more than the high-water mark waits.
    ///
    /// # Errors
    /// What leaves the loop.
    pub fn maybe_pause(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let pauses = transport.state.with(py, |state| {
            let waiting = state.queue.size();
            state.flow.pauses_at(waiting)
        });
        match transport.protocol(py) {
            Some(protocol) if pauses => tell_flow(
                transport.event_loop.bind(py),
                this.as_any(),
                &protocol,
                name!(py, pause_writing),
            ),
            _ => Ok(()),
        }
    }

    fn maybe_resume(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let resumes = transport.state.with(py, |state| {
            let waiting = state.queue.size();
            state.flow.resumes_at(waiting)
        });
        match transport.protocol(py) {
            Some(protocol) if resumes => tell_flow(
                transport.event_loop.bind(py),
                this.as_any(),
                &protocol,
                name!(py, resume_writing),
            ),
            _ => Ok(()),
        }
    }

    /// The loop says that there is room.
    ///
    /// # Errors
    /// What leaves the loop.
    pub fn write_ready(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let blocked = transport.state.with(py, |state| {
            state.writing == Writing::Blocked && !state.life.is_lost()
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
        Self::maybe_resume(this)?;
        Self::drained(this)
    }

    fn stop_watching_for_room(&self, py: Python<'_>) {
        let (key, number) = self
            .state
            .with(py, |state| (state.key, state.descriptor.registered()));
        if let Some(key) = key {
            // A failure leaves the watch for room on, which costs wake-ups and nothing else.
            let poller = self.event_loop.bind(py).get().poller(py);
            let _ = poller.map(|poller| poller.change_edge(number, key.0, false));
        }
    }

    /// Everything is sent: what waited for that happens now, in this very callback.
    fn drained(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        // What `resume_writing` wrote counts as sent before.
        Self::settle(this)?;
        let (drained, closes, ends, number) = transport.state.with(py, |state| {
            let drained = state.queue.is_empty() && !state.life.is_lost();
            let closes = drained && state.life.is_closing();
            let ends = drained && !closes && state.eof;
            (drained, closes, ends, state.descriptor.number(py))
        });
        if drained {
            transport.wake_transfer(py)?;
            Self::loosen(this);
        }
        if closes {
            transport.unwatch(py);
            return Self::connection_lost(this, None);
        }
        if ends {
            return socket::shutdown_write(number).map_err(|error| os_error(&error));
        }
        Ok(())
    }

    /// `transport.write_eof()`.
    ///
    /// # Errors
    /// `OSError` from shutdown(2).
    pub fn write_eof(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        Self::settle(this)?;
        let (ends, number) = this.get().state.with(py, |state| {
            if state.life.is_closing() || state.eof {
                return (false, -1);
            }
            state.eof = true;
            (state.queue.is_empty(), state.descriptor.number(py))
        });
        if ends {
            return socket::shutdown_write(number).map_err(|error| os_error(&error));
        }
        Ok(())
    }

    /// `transport.set_write_buffer_limits(high, low)`, in bytes.
    ///
    /// # Errors
    /// `ValueError` with asyncio's text unless `high >= low >= 0`.
    pub fn set_limits(
        this: &Bound<'_, Self>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Self::settle(this)?;
        let marks = water_marks(this.py(), high, low, DEFAULT_HIGH)?;
        let old = this.get().state.with(this.py(), |state| {
            (state.flow.high, state.flow.low) = (marks.high, marks.low);
            std::mem::replace(&mut state.given, marks.given)
        });
        drop(old);
        Self::maybe_pause(this)
    }
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

    /// Queues chunks, or counts a write to a lost connection.
    #[inline]
    fn gather(&mut self, chunks: impl IntoIterator<Item = Data>) -> (Next, Option<Key>) {
        if self.life.is_lost() {
            let warn = self.lost_writes >= LOST_WRITES;
            self.lost_writes = self.lost_writes.saturating_add(1);
            return (if warn { Next::Warn } else { Next::Nothing }, None);
        }
        for chunk in chunks {
            self.queue.push(chunk);
        }
        if self.writing == Writing::Blocked {
            return (Next::Pause, None);
        }
        if self.queue.size() > self.flow.high {
            // If something was gathered before, that fails first.
            let first = self.writing != Writing::Gathered;
            return (Next::Flush, self.key.filter(|_| first));
        }
        if self.writing == Writing::Gathered {
            return (Next::Nothing, None);
        }
        self.writing = Writing::Gathered;
        (Next::Gather, self.key)
    }
}
