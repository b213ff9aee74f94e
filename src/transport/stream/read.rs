//! From the kernel to the protocol: one `recv` for each event.
//!
//! Loop thread only. The kernel reports an edge once. After a full read, or when the peer has closed,
//! the transport asks to be resumed and reads again after the next poll, where a level-triggered poll
//! would report it.

use std::io;
use std::os::fd::RawFd;

use pyo3::exceptions::{PyBufferError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use crate::error::{exception, os_error};
use crate::event_loop::{Purpose, Readiness, UserCall};
use crate::py::calling::names::name;
use crate::py::data::{buffer, bytes, spare};
use crate::py::value::{self, shown};
use crate::sys::socket;
use crate::transport::endpoint::{Reading, Reads, Transport};
use crate::transport::native_protocol::NativeClass;
use crate::transport::protocol::{Failure, Kind};
use crate::transport::stream::state::StreamTransport;

/// asyncio's message for a failed read.
const READ_FAILED: &str = "Fatal read error on socket transport";

/// From this size on, data is received directly into the object that the protocol gets.
const LARGE: usize = 32 * 1024;
/// The most that one read takes: asyncio's `max_size`.
const MOST: usize = 256 * 1024;

/// The result of a read.
enum Received<'py> {
    Data(Bound<'py, PyBytes>),
    /// The kernel has no more for now.
    Nothing,
    EndOfFile,
    Failed(io::Error),
}

impl StreamTransport {
    /// Called by the loop when something can be read, or when the transport has asked to be
    /// resumed.
    pub(crate) fn read_ready(this: &Bound<'_, Self>, readiness: Readiness) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let (kind, resumed) = transport.state.with(py, |state| {
            state.peer_closed |= readiness.read_closed;
            let reads = state.side.is_on(state.endpoint.life);
            state.side.readable = !reads;
            (reads.then_some(state.kind), state.side.resumed)
        });
        if resumed != 0 && kind.is_some() && transport.defer(py, resumed) {
            return Ok(());
        }
        match kind {
            None => Ok(()),
            Some(Kind::Plain) => Self::read_plain(this),
            Some(Kind::Buffered) => Self::read_buffered(this),
            Some(Kind::Native(class)) => Self::read_native(this, class),
        }
    }

    /// Delays an event to the next turn if reading was paused and resumed in this one. True if so.
    #[cold]
    fn defer(&self, py: Python<'_>, resumed: u64) -> bool {
        let event_loop = self.event_loop.bind(py).get();
        let same_turn = event_loop.turn(py) == resumed;
        self.state.with(py, |state| state.side.resumed = 0);
        if same_turn {
            self.resume(py);
        }
        same_turn
    }

    fn read_plain(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        match this.get().receive(py) {
            Ok(Received::Nothing) => Ok(()),
            Ok(Received::Data(data)) => {
                let delivered = Self::deliver(this, &data);
                this.get().event_loop.bind(py).get().give_spare(data);
                delivered
            }
            Ok(Received::EndOfFile) => Self::end_of_file(this),
            Ok(Received::Failed(error)) => Self::fatal_error(this, os_error(&error), READ_FAILED),
            Err(error) => Self::failed(this, error, READ_FAILED),
        }
    }

    #[inline]
    fn deliver(this: &Bound<'_, Self>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let py = this.py();
        let Some(protocol) = this.get().protocol(py) else {
            return Ok(());
        };
        let received = name!(py, data_received);
        match Self::tell(this, &protocol, received).call1(data) {
            Ok(_) => Ok(()),
            Err(error) => Self::failed(
                this,
                error,
                "Fatal error: protocol.data_received() call failed.",
            ),
        }
    }

    /// Handles an exception of a protocol's method: it leaves the loop, or it ends the connection.
    #[cold]
    fn failed(this: &Bound<'_, Self>, error: PyErr, message: &str) -> PyResult<()> {
        match Failure::of(this.py(), error) {
            Failure::Leaves(error) => Err(error),
            Failure::Stays(error) => {
                // A delayed write is sent, because it may tell the peer what has failed.
                Self::settle(this)?;
                Self::fatal_error(this, error, message)
            }
        }
    }

    /// Receives once, into an object of the right size.
    fn receive<'py>(&self, py: Python<'py>) -> PyResult<Received<'py>> {
        let (number, unix, large) = self.state.with(py, |state| {
            let number = state.descriptor.number(py);
            (number, state.is_unix(), state.last_read >= LARGE)
        });
        if large {
            let waiting = socket::readable_bytes(number);
            if waiting >= LARGE {
                return self.receive_large(py, number, waiting);
            }
        }
        let mut data = None;
        let event_loop = self.event_loop.bind(py).get();
        let received = event_loop.with_scratch(py, |scratch| {
            let result = recv(number, unix, scratch);
            if let Ok((count, _)) = result {
                let spare = event_loop.take_spare(py, count);
                data = Some(spare::bytes(py, spare, &scratch[..count]));
            }
            result
        })?;
        Ok(self.sort(py, received, data.transpose()?))
    }

    /// The descriptor's number, and whether it is a Unix socket.
    #[inline]
    fn place(&self, py: Python<'_>) -> (RawFd, bool) {
        self.state
            .with(py, |state| (state.descriptor.number(py), state.is_unix()))
    }

    /// Receives what waits directly into its final object. Data that arrives after the kernel was
    /// asked for the size causes a new edge, so nothing is left unread.
    fn receive_large<'py>(
        &self,
        py: Python<'py>,
        number: RawFd,
        waiting: usize,
    ) -> PyResult<Received<'py>> {
        let size = waiting.min(MOST);
        let received = bytes::filled(py, size, |space| socket::recv(number, space))?;
        Ok(match received {
            Ok(data) => {
                let count = data.as_bytes().len();
                // On a Unix socket, a read is short after a message that carried descriptors.
                let more = waiting > MOST || count < size;
                self.sort(py, Ok((count, more)), Some(data))
            }
            Err(error) => self.sort(py, Err(error), None),
        })
    }

    /// Converts the result of a read. `received` holds how many bytes came, and whether more may be
    /// waiting.
    fn sort<'py>(
        &self,
        py: Python<'py>,
        received: io::Result<(usize, bool)>,
        data: Option<Bound<'py, PyBytes>>,
    ) -> Received<'py> {
        match received {
            Ok((0, _)) => Received::EndOfFile,
            Ok((count, more)) => {
                self.note_read(py, count, more || count == MOST);
                data.map_or(Received::Nothing, Received::Data)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            Err(error) => Received::Failed(error),
        }
    }

    /// After a read of `count` bytes: asks to be resumed if there may be more, or end of file.
    #[inline]
    fn note_read(&self, py: Python<'_>, count: usize, full: bool) {
        let again = self.state.with(py, |state| {
            state.last_read = count;
            full || state.peer_closed
        });
        if again {
            self.resume(py);
        }
    }

    fn read_buffered(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let Some(protocol) = transport.protocol(py) else {
            return Ok(());
        };
        let space = match lent(Self::tell(this, &protocol, name!(py, get_buffer))) {
            Ok(space) => space,
            Err(error) => {
                let message = "Fatal error: protocol.get_buffer() call failed.";
                return Self::failed(this, error, message).inspect_err(|_| transport.resume(py));
            }
        };
        let (number, unix) = transport.place(py);
        let received = buffer::with_bytes_mut(&space, |space| {
            // The items of a buffer may have no size. For an empty buffer, recv(2) returns 0 as at
            // end of file.
            (!space.is_empty()).then(|| {
                let (count, more) = recv(number, unix, space)?;
                Ok::<_, io::Error>((count, more || count == space.len()))
            })
        });
        let received = received.map_err(|error| no_space(py, error, &space.get_type()));
        drop(space);
        let (count, more) = match received {
            Ok(Some(Ok(received))) => received,
            Ok(None) => {
                let message = "Fatal error: protocol.get_buffer() call failed.";
                return Self::failed(this, empty_buffer(py), message);
            }
            Ok(Some(Err(error))) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Ok(Some(Err(error))) => {
                return Self::fatal_error(this, os_error(&error), READ_FAILED);
            }
            Err(error) => return Self::failed(this, error, READ_FAILED),
        };
        if count == 0 {
            return Self::end_of_file(this);
        }
        // The kernel is asked, because the protocol would see a `get_buffer` call for another
        // attempt.
        let more = more && socket::readable_bytes(number) > 0;
        transport.note_read(py, count, more);
        let count = match value::count(py, count) {
            Ok(count) => count,
            Err(error) => return Self::failed(this, error, READ_FAILED),
        };
        // `get_buffer` may have replaced it.
        let Some(protocol) = transport.same_or_new_protocol(protocol) else {
            return Ok(());
        };
        let updated = name!(py, buffer_updated);
        match Self::tell(this, &protocol, updated).call1(&count) {
            Ok(_) => Ok(()),
            Err(error) => Self::failed(
                this,
                error,
                "Fatal error: protocol.buffer_updated() call failed.",
            ),
        }
    }

    /// Receives for a native protocol, into the window that the loop's connections share.
    fn read_native(this: &Bound<'_, Self>, class: &dyn NativeClass) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let Some(protocol) = transport.protocol(py) else {
            return Ok(());
        };
        let event_loop = transport.event_loop.bind(py).get();
        let (number, unix) = transport.place(py);
        let window = match event_loop.take_window(py, Purpose::Received) {
            Ok(window) => window,
            Err(error) => return Self::failed(this, error, READ_FAILED),
        };
        let received = window
            .get()
            .with_mut(py, |space| recv(number, unix, &mut space[..MOST]));
        let result = match received {
            Ok((0, _)) => Self::end_of_file(this),
            Ok((count, more)) => {
                transport.note_read(py, count, more || count == MOST);
                class
                    .received(&protocol, &window, count)
                    .or_else(|error| Self::failed(this, error, class.receiving_failed()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Self::fatal_error(this, os_error(&error), READ_FAILED),
        };
        event_loop.give_window(py, Purpose::Received, window);
        result
    }

    /// The peer ended its side: the protocol decides whether ours stays open.
    fn end_of_file(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        Self::log(this, name!(py, debug), "%r received EOF")?;
        transport
            .state
            .with(py, |state| state.side.reading = Reading::Ended);
        let Some(protocol) = transport.protocol(py) else {
            return Ok(());
        };
        match Self::tell(this, &protocol, name!(py, eof_received)).ask() {
            Ok(true) => {
                // If the call paused and resumed reading, reading does not begin again, as in
                // asyncio.
                transport.state.with(py, |state| {
                    if state.side.reading == Reading::On {
                        (state.side.reading, state.side.readable) = (Reading::Ended, false);
                    }
                });
                Self::loosen(this);
                Ok(())
            }
            Ok(false) => Self::close(this),
            Err(error) => {
                let message = "Fatal error: protocol.eof_received() call failed.";
                Self::failed(this, error, message).inspect_err(|_| {
                    // As in asyncio, the next run of the loop calls the protocol again.
                    transport.state.with(py, |state| {
                        if state.side.reading == Reading::Ended {
                            state.side.reading = Reading::On;
                        }
                    });
                    transport.resume(py);
                })
            }
        }
    }

    /// `transport.close()`.
    pub(crate) fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(this)?;
        Self::close_settled(this)
    }
}

/// The buffer that a protocol lends.
///
/// # Errors
/// What `get_buffer` raises, and `RuntimeError` for an empty one.
fn lent<'py>(get_buffer: UserCall<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = get_buffer.protocol.py();
    let hint = value::int(py, -1)?;
    let space = get_buffer.call1(&hint)?;
    if space.len()? == 0 {
        Err(empty_buffer(py))
    } else {
        Ok(space)
    }
}

/// Receives into `space`. The `bool` says whether more may be waiting although `space` is not full.
#[inline]
fn recv(number: RawFd, unix: bool, space: &mut [u8]) -> io::Result<(usize, bool)> {
    if unix {
        return socket::recv_unix(number, space);
    }
    Ok((socket::recv(number, space)?, false))
}

/// The error of `recv_into` for a buffer that cannot be written to.
#[cold]
fn no_space(py: Python<'_>, error: PyErr, class: &Bound<'_, PyType>) -> PyErr {
    let refused =
        error.is_instance_of::<PyBufferError>(py) || error.is_instance_of::<PyTypeError>(py);
    match class.name() {
        Ok(name) if refused => exception::<PyTypeError>(
            py,
            format_args!(
                "recv_into() argument 1 must be read-write bytes-like object, not {}",
                shown(&name)
            ),
        ),
        _ => error,
    }
}

#[cold]
fn empty_buffer(py: Python<'_>) -> PyErr {
    exception::<PyRuntimeError>(py, "get_buffer() returned an empty buffer")
}
