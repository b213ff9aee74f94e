//! What the transport below calls: natively if it is a stream transport of ours, else as methods of
//! a `BufferedProtocol`.
//!
//! Loop thread only. `__class__` is `asyncio.BufferedProtocol`, so that any transport can carry TLS, even
//! another TLS connection.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::event_loop::EventLoop;
use crate::logic::tls_records::Records;
use crate::logic::write_queue::WriteQueue;
use crate::py::cell::LoopCell;
use crate::py::data::window::Window;
use crate::py::stdlib::asyncio;
use crate::tls::engine::Engine;
use crate::tls::session::{
    AppPhase, Details, Input, Output, Phase, State, Timeouts, TlsProtocol, TlsTransport, Work,
};
use crate::transport::flow::Marks;
use crate::transport::native_protocol::{NativeClass, NativeProtocol};
use crate::transport::protocol::Kind;

/// The size of the buffer into which a transport that is not ours receives, in bytes.
const SPACE: usize = 64 * 1024;
/// asyncio's `FLOW_CONTROL_HIGH_WATER_SSL_READ`.
pub(crate) const READ_MARKS: Marks = Marks {
    high: 256 * 1024,
    low: 64 * 1024,
};
/// asyncio's `FLOW_CONTROL_HIGH_WATER_SSL_WRITE`.
pub(crate) const WRITE_MARKS: Marks = Marks {
    high: 512 * 1024,
    low: 128 * 1024,
};

/// TLS connections, as native protocols.
struct TlsClass;

static TLS: TlsClass = TlsClass;

impl NativeClass for TlsClass {
    #[inline]
    fn received(
        &self,
        protocol: &Bound<'_, PyAny>,
        window: &Bound<'_, Window>,
        count: usize,
    ) -> PyResult<()> {
        TlsProtocol::received(protocol.cast::<TlsProtocol>()?, window, count)
    }

    fn receiving_failed(&self) -> &'static str {
        "Fatal error: protocol.buffer_updated() call failed."
    }

    fn carries(&self) -> bool {
        true
    }

    fn flush(&self, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        TlsProtocol::settle(protocol.cast::<TlsProtocol>()?)
    }
}

#[pymethods]
impl TlsProtocol {
    /// TLS around protocol, over the SSLObject that wrap_bio() made of the two MemoryBIOs.
    #[new]
    #[pyo3(signature = (
        event_loop, protocol, sslcontext, waiter, ssl_object, incoming, outgoing, *,
        server_side, handshake_timeout, shutdown_timeout, call_connection_made=true,
    ))]
    #[allow(clippy::too_many_arguments, reason = "what a connection is made of")]
    fn make<'py>(
        event_loop: Bound<'py, EventLoop>,
        protocol: Bound<'py, PyAny>,
        sslcontext: Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        ssl_object: Bound<'py, PyAny>,
        incoming: Bound<'py, PyAny>,
        outgoing: Bound<'py, PyAny>,
        server_side: bool,
        handshake_timeout: Bound<'py, PyAny>,
        shutdown_timeout: Bound<'py, PyAny>,
        call_connection_made: bool,
    ) -> PyResult<PyClassInitializer<Self>> {
        let state = State {
            phase: Phase::Unwrapped,
            app_phase: if call_connection_made {
                AppPhase::Init
            } else {
                AppPhase::Made
            },
            below: None,
            kind: Kind::of(&protocol)?,
            app: Some(protocol.unbind()),
            transport: None,
            waiter: waiter.map(Bound::unbind),
            handshake_timer: None,
            shutdown_timer: None,
            began: None,
            details: Details {
                sslcontext: sslcontext.unbind(),
                negotiated: None,
            },
            input: Input {
                now: None,
                held: VecDeque::new(),
                records: Records::default(),
                paused: false,
                queued_reads: 0,
                below_paused: false,
                marks: READ_MARKS,
                ended: false,
            },
            output: Output {
                backlog: WriteQueue::default(),
                handed: 0,
                records: 0,
                overhead: None,
                work: Work::Idle,
                close_notify: false,
                below_paused: false,
                paused: false,
                marks: WRITE_MARKS,
                lost: 0,
            },
            space: None,
        };
        let session = Self {
            event_loop: event_loop.unbind(),
            engine: Engine::new(ssl_object, incoming, outgoing)?,
            timeouts: Timeouts {
                handshake: handshake_timeout.unbind(),
                shutdown: shutdown_timeout.unbind(),
            },
            is_server: server_side,
            state: LoopCell::owned(state),
        };
        Ok(PyClassInitializer::from(NativeProtocol { class: Some(&TLS) }).add_subclass(session))
    }

    /// `asyncio.BufferedProtocol`, so that any transport takes it for one.
    #[getter]
    fn __class__(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        Ok(asyncio::buffered_protocol(py)?.clone().unbind())
    }

    /// Take transport as the one below and begin the handshake.
    ///
    /// Raises what the SSLObject, the time-out or the transport raise. Mirrors asyncio's
    /// SSLProtocol of 3.11 to 3.15, as the other methods do.
    fn connection_made(this: &Bound<'_, Self>, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::start_handshake(this, transport)
    }

    /// The transport below is lost; exc is its exception or None. The program's connection_lost()
    /// is queued.
    #[pyo3(name = "connection_lost")]
    fn py_connection_lost(this: &Bound<'_, Self>, exc: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::connection_lost(this, exc)
    }

    /// A bytearray of 64 KiB to receive into, whatever sizehint (bytes) says.
    fn get_buffer<'py>(
        &self,
        py: Python<'py>,
        sizehint: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = sizehint;
        let known = self
            .state
            .with(py, |state| state.space.as_ref().map(|it| it.clone_ref(py)));
        if let Some(known) = known {
            return Ok(known.into_bound(py));
        }
        let fresh = PyByteArray::new_with(py, SPACE, |_| Ok(()))?.into_any();
        let kept = fresh.clone().unbind();
        let old = self.state.with(py, |state| state.space.replace(kept));
        drop(old);
        Ok(fresh)
    }

    /// Use the first nbytes bytes of the buffer. Raises what ends the connection below.
    fn buffer_updated(this: &Bound<'_, Self>, nbytes: usize) -> PyResult<()> {
        let py = this.py();
        let session = this.get();
        let space = session
            .state
            .with(py, |state| state.space.as_ref().map(|it| it.clone_ref(py)));
        let Some(space) = space else { return Ok(()) };
        session.keep(space.bind(py), nbytes)?;
        Self::go_on(this)
    }

    /// Use data, any buffer, as if it had come through get_buffer().
    ///
    /// Raises TypeError for what has no buffer, and what ends the connection below. asyncio has
    /// this method on 3.10 only.
    fn data_received(this: &Bound<'_, Self>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        this.get().keep(data, usize::MAX)?;
        Self::go_on(this)
    }

    /// The peer of the transport below has ended its side. True keeps that transport open, because
    /// something is not read yet.
    #[pyo3(name = "eof_received")]
    fn py_eof_received(this: &Bound<'_, Self>) -> PyResult<Option<bool>> {
        Ok(Self::eof_received(this)?.then_some(true))
    }

    /// The transport below asks to pause: encrypt no more until resume_writing(). Raises nothing.
    #[pyo3(name = "pause_writing")]
    fn py_pause_writing(&self, py: Python<'_>) {
        self.pause_writing(py);
    }

    /// The transport below takes more: encrypt what waits. Raises an exception of the program's
    /// protocol if it leaves the loop.
    #[pyo3(name = "resume_writing")]
    fn py_resume_writing(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::resume_writing(this)
    }

    /// Takes bytes that were received before TLS began.
    fn _feed(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        self.keep(data, usize::MAX)
    }

    /// The transport below has asked its former protocol, which is the program's, to pause.
    fn _inherit_pause(&self, py: Python<'_>) {
        self.pause_writing(py);
        self.state.with(py, |state| state.output.paused = true);
    }

    fn _resume(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::resumed(this)
    }

    fn _do_read(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::queued_read(this)
    }

    fn _check_handshake_timeout(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::check_handshake_timeout(this)
    }

    fn _check_shutdown_timeout(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::check_shutdown_timeout(this)
    }

    #[getter]
    fn _app_transport<'py>(this: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, TlsTransport>>> {
        Self::transport(this)
    }

    #[getter]
    fn _app_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.app(py)
    }

    #[getter]
    fn _transport<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        Some(self.below(py)?.object(py))
    }

    #[getter]
    fn _sslobj<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.engine.object(py).clone()
    }

    #[getter]
    fn _sslcontext<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.detail(py, "sslcontext")
    }

    #[getter]
    fn _incoming<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.engine.incoming(py).clone()
    }

    #[getter]
    fn _outgoing<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.engine.outgoing(py).clone()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        Python::attach(|py| self.clear(py));
    }
}
