//! The methods of `TlsTransport` that Python sees.
//!
//! A table of contents: each calls the file that implements it. Loop thread only. A transport that was
//! closed again after its connection was lost has no session: its methods then do nothing, or answer as
//! asyncio's do.

use std::collections::TryReserveError;

use pyo3::exceptions::{PyNotImplementedError, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyTuple};

use crate::error::{exception, exception_of, no_memory};
use crate::event_loop::EventLoop;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::data::bytes::Pinned;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Count, Text, shown};
use crate::tls::callbacks::{READ_MARKS, WRITE_MARKS};
use crate::tls::session::{AppPhase, Closed, Face, Phase, State, TlsProtocol, TlsTransport};
use crate::transport::flow::{counts, water_marks};
use crate::transport::protocol::Kind;

#[pymethods]
impl TlsTransport {
    /// asyncio's class of TLS transports, so that `isinstance` holds without its storage: programs
    /// tell by it, and by its name, that a transport is encrypted.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(asyncio::tls_transport(py)?.clone().unbind())
    }

    /// Write every item of an iterable, in as few records as they fit into.
    ///
    /// Raises TypeError for an item that is not bytes-like; a lost connection is treated as by
    /// write(). Mirrors asyncio's writelines of 3.11 to 3.15; 3.10 joins the items.
    fn writelines(this: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(session) = this.get().session(this.py()) else {
            return Ok(());
        };
        let mut chunks = Vec::new();
        if session.get().phase(this.py()).is_over() {
            // asyncio counts it as a write, whatever it is.
            return TlsProtocol::append(&session, chunks);
        }
        for item in list_of_data.try_iter()? {
            let chunk = held(&item?)?;
            if !chunk.bytes().is_empty() {
                let room = chunks.try_reserve(1);
                room.map_err(|_| no_memory(list_of_data.py()))?;
                chunks.push(chunk);
            }
        }
        if chunks.is_empty() {
            return Ok(());
        }
        TlsProtocol::append(&session, chunks)
    }

    /// Not possible over TLS: raises NotImplementedError.
    ///
    /// Mirrors asyncio's write_eof, the same on 3.10 to 3.15.
    fn write_eof(&self, py: Python<'_>) -> PyResult<()> {
        Err(exception_of::<PyNotImplementedError>(py, ()))
    }

    /// False: TLS has no write_eof().
    ///
    /// Mirrors asyncio's can_write_eof, the same on 3.10 to 3.15.
    fn can_write_eof(&self) -> bool {
        false
    }

    /// Send close_notify after everything that was written, and close when the peer has answered.
    ///
    /// A peer that does not answer within ssl_shutdown_timeout seconds is cut off. Mirrors
    /// asyncio's close of 3.11 to 3.15; raises nothing of its own.
    fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        let transport = this.get();
        let Some(session) = transport.session(py) else {
            return Ok(());
        };
        if transport.face.with(py, Face::close) {
            return TlsProtocol::start_shutdown(&session);
        }
        transport.face.with(py, |face| face.closed = Closed::Again);
        let lost = session
            .get()
            .state
            .with(py, |state| state.app_phase == AppPhase::Lost);
        if lost {
            transport.let_go(py);
        }
        Ok(())
    }

    /// Close at once, without close_notify; what is not sent is dropped.
    ///
    /// Raises nothing of its own. Mirrors asyncio's abort, the same on 3.10 to 3.15.
    fn abort(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::_force_close(this, None)
    }

    #[pyo3(signature = (exc))]
    fn _force_close(this: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        let py = this.py();
        this.get().face.with(py, Face::close);
        match this.get().session(py) {
            Some(session) => TlsProtocol::abort(&session, exc),
            None => Ok(()),
        }
    }

    /// Whether the connection is closing or lost. A delayed write is sent first: a broken connection
    /// shows in the answer.
    ///
    /// Mirrors asyncio's is_closing of 3.14 and 3.15, which asks the transport below too.
    fn is_closing(this: &Bound<'_, Self>) -> PyResult<bool> {
        let py = this.py();
        let Some(session) = this.get().session(py) else {
            return Ok(true);
        };
        TlsProtocol::settle(&session)?;
        if this.get().face.with(py, |face| face.closed) != Closed::Never {
            return Ok(true);
        }
        match session.get().below(py) {
            Some(below) => below
                .object(py)
                .call_method0(name!(py, is_closing))?
                .is_truthy(),
            None => Ok(false),
        }
    }

    /// Deliver no more data until resume_reading().
    ///
    /// What comes while it is paused is kept up to the water mark for reading. Mirrors asyncio's
    /// pause_reading of 3.11 to 3.15.
    fn pause_reading(&self, py: Python<'_>) {
        if let Some(session) = self.session(py) {
            let state = &session.get().state;
            state.with(py, |state| state.input.paused = true);
        }
    }

    /// Deliver data again, from the next turn of the loop on.
    ///
    /// Does nothing unless reading is paused. Mirrors asyncio's resume_reading of 3.11 to 3.15.
    fn resume_reading(&self, py: Python<'_>) -> PyResult<()> {
        match self.session(py) {
            Some(session) => TlsProtocol::resume_reading(&session),
            None => Ok(()),
        }
    }

    /// Whether reading is not paused.
    ///
    /// Mirrors asyncio's is_reading of 3.11 to 3.15, which says so of a closing connection too.
    fn is_reading(&self, py: Python<'_>) -> bool {
        self.ask(py, false, |state| !state.input.paused)
    }

    /// Talk to protocol from now on; a BufferedProtocol lends its buffer from now on.
    ///
    /// Raises nothing of its own. Mirrors asyncio's set_protocol, the same on 3.10 to 3.15.
    fn set_protocol(&self, py: Python<'_>, protocol: Bound<'_, PyAny>) -> PyResult<()> {
        let kind = Kind::of(&protocol)?;
        let Some(session) = self.session(py) else {
            return Ok(());
        };
        let old = session.get().state.with(py, |state| {
            state.kind = kind;
            state.app.replace(protocol.unbind())
        });
        drop(old);
        Ok(())
    }

    /// The protocol; None once the connection is lost, unless another was set since.
    ///
    /// Mirrors asyncio's get_protocol of 3.11 to 3.15.
    fn get_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.session(py)?.get().app(py)
    }

    /// How many bytes the transport below has not been given.
    fn get_write_buffer_size(&self, py: Python<'_>) -> PyResult<Count> {
        let Some(session) = self.session(py) else {
            return Ok(Count(0));
        };
        TlsProtocol::settle(&session)?;
        session.get().written_size(py).map(Count)
    }

    /// The (low, high) water marks for writing, in bytes.
    fn get_write_buffer_limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (low, high) = self.ask(py, (0, 0), |state| {
            (state.output.marks.low, state.output.marks.high)
        });
        counts(py, low, high)
    }

    /// Set the water marks for writing, in bytes. Raises ValueError unless high >= low >= 0.
    ///
    /// Without high it is 4 * low, or 512 KiB without both; without low it is a quarter of high.
    /// Mirrors asyncio's set_write_buffer_limits of 3.11 to 3.15.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(
        &self,
        py: Python<'_>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (marks, _) = water_marks(py, high, low, WRITE_MARKS.high)?;
        let Some(session) = self.session(py) else {
            return Ok(());
        };
        TlsProtocol::settle(&session)?;
        let state = &session.get().state;
        state.with(py, |state| state.output.marks = marks);
        TlsProtocol::control_app(&session)
    }

    /// How many bytes were received and not decrypted.
    fn get_read_buffer_size(&self, py: Python<'_>) -> PyResult<Count> {
        match self.session(py) {
            Some(session) => session.get().received_size(py).map(Count),
            None => Ok(Count(0)),
        }
    }

    /// The (low, high) water marks for reading, in bytes.
    fn get_read_buffer_limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (low, high) = self.ask(py, (0, 0), |state| {
            (state.input.marks.low, state.input.marks.high)
        });
        counts(py, low, high)
    }

    /// Set the water marks for reading, in bytes: when the transport below is paused and resumed.
    /// Raises ValueError unless high >= low >= 0.
    ///
    /// Without high it is 4 * low, or 256 KiB without both; without low it is a quarter of high.
    /// Mirrors asyncio's set_read_buffer_limits, which it has since 3.11.
    #[pyo3(signature = (high=None, low=None))]
    fn set_read_buffer_limits(
        &self,
        py: Python<'_>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (marks, _) = water_marks(py, high, low, READ_MARKS.high)?;
        let Some(session) = self.session(py) else {
            return Ok(());
        };
        let session = session.get();
        session.state.with(py, |state| state.input.marks = marks);
        session.control_below(py)
    }

    /// sslcontext, ssl_object, peercert, cipher, compression, or what the transport below knows.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let default = default.unwrap_or_else(|| py.None().into_bound(py));
        let Some(session) = self.session(py) else {
            return Ok(default);
        };
        let found = match name.extract::<&str>() {
            Ok(name) => session.get().detail(py, name),
            // asyncio looks every name up in a dictionary.
            Err(_) => value::dict(py)?.get_item(name)?,
        };
        if let Some(found) = found {
            return Ok(found);
        }
        match session.get().below(py) {
            Some(below) => below
                .object(py)
                .call_method1(name!(py, get_extra_info), (name, default)),
            None => Ok(default),
        }
    }

    #[getter]
    fn _protocol_paused(&self, py: Python<'_>) -> bool {
        self.ask(py, false, |state| state.output.paused)
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Option<Py<EventLoop>> {
        Some(self.session(py)?.get().event_loop.clone_ref(py))
    }

    #[getter]
    fn _ssl_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, TlsProtocol>> {
        self.session(py)
    }

    #[getter]
    fn _sslcontext<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.session(py)?.get().detail(py, "sslcontext")
    }

    #[getter]
    fn _sendfile_compatible<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::sendfile_mode(py)?.getattr(name!(py, fallback))
    }

    #[classattr]
    fn _start_tls_compatible() -> bool {
        true
    }

    /// For CPython's own tests: queues data as if OpenSSL had to wait for the peer.
    #[pyo3(name = "_test__append_write_backlog")]
    fn append_write_backlog(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let chunk = held(data)?;
        let room = self.ask(py, Ok(()), |state| {
            state.output.backlog.make_room(1)?;
            state.output.backlog.push(chunk);
            Ok::<_, TryReserveError>(())
        });
        room.map_err(|_| no_memory(py))
    }

    fn __repr__(&self, py: Python<'_>) -> Text<String> {
        let closed = self.face.with(py, |face| face.closed) != Closed::Never;
        let (below, phase) = self.ask(py, (false, Phase::Unwrapped), |state| {
            (state.below.is_some(), state.phase)
        });
        let adjective = match (closed, below) {
            (true, true) => " closing",
            (true, false) => " closed",
            _ => "",
        };
        Text(format!("<TlsTransport{adjective} {phase:?}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.face.try_with(&visit, |face| visit.call(&face.session));
        visited.unwrap_or(Ok(()))
    }

    fn __clear__(&self) {
        Python::attach(|py| drop(self.face.with(py, |face| face.session.take())));
    }
}

impl TlsTransport {
    /// The result of `look` for the session's state; `gone` if the session is released.
    fn ask<R>(&self, py: Python<'_>, gone: R, look: impl FnOnce(&mut State) -> R) -> R {
        match self.session(py) {
            Some(session) => session.get().state.with(py, look),
            None => gone,
        }
    }
}

/// A `bytes` of what a program writes, because the program may change its buffer afterwards.
#[inline]
fn held(data: &Bound<'_, PyAny>) -> PyResult<Pinned> {
    if let Ok(bytes) = data.cast_exact::<PyBytes>() {
        return Ok(Pinned::new(bytes.clone()));
    }
    let copy = PyMemoryView::from(data)?
        .as_any()
        .call_method0(name!(data.py(), tobytes))?;
    Ok(Pinned::new(copy.cast_into::<PyBytes>()?))
}

#[cold]
fn refused(data: &Bound<'_, PyAny>) -> PyErr {
    match data.get_type().name() {
        Ok(name) => exception::<PyTypeError>(
            data.py(),
            format_args!(
                "data: expecting a bytes-like instance, got {}",
                shown(&name)
            ),
        ),
        Err(error) => error,
    }
}

fast_method!(
    Write,
    TlsTransport,
    "write",
    c"write($self, data)\n--\n\n\
        Encrypt and send data: bytes, bytearray or memoryview.\n\nThat is done at once, but for \
        the head of an HTTP/1 response, which waits for its body until the callback returns. Raises \
        TypeError for other data. Once the connection is lost nothing is sent, and from the fifth \
        such write on a warning is logged; writes after close() are dropped and counted too. \
        Mirrors asyncio's write of 3.11 to 3.15.",
    |this, [data]| {
        let py = this.py();
        let known = data.is_instance_of::<PyBytes>()
            || data.is_instance_of::<PyByteArray>()
            || data.is_instance_of::<PyMemoryView>();
        if !known {
            return Err(refused(&data));
        }
        let chunk = held(&data)?;
        if !chunk.bytes().is_empty()
            && let Some(session) = this.get().session(py)
        {
            TlsProtocol::append(&session, [chunk])?;
        }
        Ok(py.None().into_bound(py))
    }
);
