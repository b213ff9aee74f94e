//! Connections with an `SSLObject`, or a `MemoryBIO`, of a program's own class: asyncio's calls.
//!
//! Loop thread only. What these objects return is not used as a length or an index. A count stays a
//! Python object: it is compared and added as Python does it, and passed to the protocol unchanged.
//! These objects may keep the buffers that they are given, so they get the protocol's own buffer and
//! copies, never memory that connections share.

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PySlice};

use crate::error::exception;
use crate::logic::tls_records::Records;
use crate::py::calling::call;
use crate::py::calling::names::name;
use crate::py::data::bytes::Pinned;
use crate::py::stdlib::asyncio;
use crate::py::value;
use crate::tls::below::Below;
use crate::tls::engine::{Engine, again};
use crate::tls::read::EMPTY_BUFFER;
use crate::tls::session::{Phase, TlsProtocol};
use crate::transport::protocol::Kind;

/// How much asyncio asks for at a time: its `max_size`.
const MOST: usize = 256 * 1024;

/// The first version whose asyncio reads into the buffer of a `BufferedProtocol`, and writes what a
/// program wrote; before, it read `bytes` and wrote `memoryview`s.
const READS_INTO_BUFFERS: (u8, u8) = (3, 11);

/// Whether asyncio of this Python version does so.
fn reads_into_buffers(py: Python<'_>) -> bool {
    py.version_info() >= READS_INTO_BUFFERS
}

impl Engine {
    /// `read(size)`, or `read(size, buffer)`; `None` if the object has to wait for the peer.
    fn read_foreign<'py>(
        &self,
        size: &Bound<'py, PyAny>,
        buffer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = size.py();
        self.forget_errors();
        let (object, method) = (self.object(py), name!(py, read));
        let read = match buffer {
            Some(buffer) => call::method2(object, method, size, buffer),
            None => call::method1(object, method, size),
        };
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) => foreign_again(py, error).map(|()| None),
        }
    }

    /// `write(data)`; `None` if the object has to wait for the peer.
    fn write_foreign<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = data.py();
        self.forget_errors();
        let written = if reads_into_buffers(py) {
            call::method1(self.object(py), name!(py, write), data)
        } else {
            let view = PyMemoryView::from(data)?;
            call::method1(self.object(py), name!(py, write), view.as_any())
        };
        match written {
            Ok(written) => Ok(Some(written)),
            Err(error) => foreign_again(py, error).map(|()| None),
        }
    }

    /// Takes out what is to be sent: an object of any kind.
    fn take_foreign<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        call::method0(self.outgoing(py), name!(py, read))
    }
}

impl TlsProtocol {
    /// The first step of the handshake, also for a server that has nothing yet: asyncio's
    /// `connection_made`.
    ///
    /// # Errors
    /// What the objects and the program's `connection_made` raise.
    pub(crate) fn start_foreign(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().feed_all(this.py())?;
        Self::do_handshake(this)
    }

    /// Gives the object everything that was received, and continues: asyncio's `buffer_updated`.
    ///
    /// # Errors
    /// Errors for which the transport below has to end the connection.
    pub(crate) fn go_on_foreign(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let fed = session.feed_all(py)?;
        match session.phase(py) {
            Phase::DoHandshake if fed => Self::do_handshake(this),
            Phase::Shutdown if fed => Self::do_shutdown(this),
            Phase::Wrapped => Self::do_read(this),
            Phase::Flushing => Self::do_flush(this),
            Phase::DoHandshake | Phase::Shutdown | Phase::Unwrapped => Ok(()),
        }
    }

    /// Gives the object everything that was received. True if there was anything.
    fn feed_all(&self, py: Python<'_>) -> PyResult<bool> {
        let mut fed = false;
        while self.feed_next(py)? {
            fed = true;
        }
        // The content of the object's own memory is not counted.
        self.state
            .with(py, |state| state.input.records = Records::default());
        Ok(fed)
    }

    /// Reads what there is and delivers it: asyncio's `_do_read__buffered` or `_do_read__copied`.
    pub(crate) fn read_foreign(this: &Bound<'_, Self>) -> PyResult<()> {
        let kind = this.get().state.with(this.py(), |state| state.kind);
        let ended = if kind.is_buffered() && reads_into_buffers(this.py()) {
            Self::read_foreign_buffered(this)?
        } else {
            Self::read_foreign_copied(this)?
        };
        if ended {
            Self::call_eof_received(this)?;
            Self::start_shutdown(this)?;
        }
        Ok(())
    }

    /// Reads into objects that the object makes. True at the peer's `close_notify`.
    fn read_foreign_copied(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let session = this.get();
        let most = value::count(py, MOST)?;
        let chunks = value::list(py, [])?;
        let ended = loop {
            match session.engine.read_foreign(most.as_any(), None) {
                Ok(Some(chunk)) if chunk.is_truthy()? => chunks.append(chunk)?,
                Ok(Some(_)) => break Ok(true),
                Ok(None) => break Ok(false),
                Err(error) if error.is_instance_of::<PyException>(py) => break Err(error),
                Err(error) => return Err(error),
            }
        };
        if let Some(app) = session.app(py)
            && !chunks.is_empty()
        {
            let data = if chunks.len() == 1 {
                chunks.get_item(0)?
            } else {
                let nothing = value::bytes(py, b"")?;
                call::method1(nothing.as_any(), name!(py, join), chunks.as_any())?
            };
            Self::deliver_foreign(this, &app, &data)?;
        }
        ended
    }

    fn deliver_foreign<'py>(
        this: &Bound<'py, Self>,
        app: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let py = app.py();
        let kind = this.get().state.with(py, |state| state.kind);
        if matches!(kind, Kind::Buffered) {
            let feed = asyncio::feed_data_to_buffered_protocol(py)?;
            return call::function2(feed, app, data).map(drop);
        }
        if let (Kind::Native(class), Ok(bytes)) = (kind, data.cast_exact::<PyBytes>()) {
            return class.data_received(app, bytes);
        }
        let received = name!(py, data_received);
        Self::tell(this, app, received).call1(data).map(drop)
    }

    /// Reads into the protocol's buffers. True at the peer's `close_notify`.
    fn read_foreign_buffered(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let session = this.get();
        let Some(app) = session.app(py) else {
            return Ok(false);
        };
        let hint = value::count(py, session.received_size(py)?)?;
        let space = Self::tell(this, &app, name!(py, get_buffer)).call1(hint.as_any())?;
        let size = space.len()?;
        if size == 0 {
            return Err(exception::<PyRuntimeError>(py, EMPTY_BUFFER));
        }
        let wants = value::count(py, size)?.into_any();
        let zero = value::count(py, 0)?;
        let mut filled: Option<Bound<'_, PyAny>> = None;
        let (mut left, mut room) = (wants.clone(), space.clone());
        let ended = loop {
            let count = match session.engine.read_foreign(&left, Some(&room)) {
                Ok(Some(count)) => count,
                Ok(None) => break Ok(false),
                Err(error) if error.is_instance_of::<PyException>(py) => break Err(error),
                Err(error) => return Err(error),
            };
            if !count.gt(&zero)? {
                let ended = !count.is_truthy()?;
                // A read into an empty buffer returns 0 too: the program has emptied it.
                if ended && room.len()? == 0 {
                    Self::read_on(this)?;
                    break Ok(false);
                }
                break Ok(ended);
            }
            let sum = match &filled {
                Some(filled) => filled.add(&count)?,
                None => count,
            };
            let goes_on = sum.lt(&wants)?;
            if goes_on {
                left = wants.sub(&sum)?;
                room = behind(&space, &sum)?;
            }
            filled = Some(sum);
            if !goes_on {
                Self::read_on(this)?;
                break Ok(false);
            }
        };
        drop((room, space));
        if let Some(filled) = filled {
            Self::tell(this, &app, name!(py, buffer_updated)).call1(&filled)?;
        }
        ended
    }

    /// Writes what the program wrote, even if the transport below has paused: asyncio's
    /// `_do_write`.
    pub(crate) fn write_foreign(&self, py: Python<'_>) -> PyResult<()> {
        while let Some(data) = self.state.with(py, |state| {
            let (chunk, _) = state.output.backlog.first()?;
            Some(chunk.object().clone_ref(py).into_bound(py))
        }) {
            let Some(count) = self.engine.write_foreign(data.as_any())? else {
                break;
            };
            let rest = if count.lt(value::count(py, data.as_bytes().len())?)? {
                let rest = data.as_any().get_item(from(&count)?)?;
                Some(Pinned::new(rest.cast_into::<PyBytes>()?))
            } else {
                None
            };
            let written = self
                .state
                .with(py, |state| state.output.backlog.replace_first(rest));
            drop(written);
        }
        Ok(())
    }

    /// Hands over what is to be sent.
    pub(crate) fn hand_over_foreign(&self, py: Python<'_>, below: &Below) -> PyResult<()> {
        let data = self.engine.take_foreign(py)?;
        if data.len()? == 0 {
            return Ok(());
        }
        match data.cast_into_exact::<PyBytes>() {
            Ok(data) => below.write(data),
            Err(other) => {
                let below = below.object(py);
                call::method1(&below, name!(py, write), &other.into_inner()).map(drop)
            }
        }
    }

    /// Drops what was to be sent: the connection is lost.
    pub(crate) fn forget_outgoing(&self, py: Python<'_>) -> PyResult<()> {
        if self.engine.is_foreign() {
            self.engine.take_foreign(py).map(drop)
        } else {
            self.engine.take_outgoing(py).map(drop)
        }
    }
}

/// The bytes of `space` behind the first `count`, without a copy.
fn behind<'py>(
    space: &Bound<'py, PyAny>,
    count: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = space.py();
    let view = PyMemoryView::from(space)?;
    let bytes = call::method1(&view, name!(py, cast), name!(py, bytes_format))?;
    bytes.get_item(from(count)?)
}

/// `slice(start, None)`
fn from<'py>(start: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = start.py();
    let none = py.None().into_bound(py);
    call::function2(py.get_type::<PySlice>().as_any(), start, &none)
}

/// Ok if `error` only says that the object has to wait, by the rules of this Python's asyncio.
#[cold]
fn foreign_again(py: Python<'_>, error: PyErr) -> PyResult<()> {
    if reads_into_buffers(py) || !error.matches(py, asyncio::ssl_want_write_error(py)?)? {
        return again(py, error);
    }
    Ok(())
}
