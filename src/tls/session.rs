//! `TlsProtocol`: one TLS connection between a program's protocol and the transport below, and
//! `TlsTransport`: the transport that the program's protocol writes to.
//!
//! Loop thread only. As in asyncio, the two refer to each other until the connection is lost; after that
//! only the transport refers to the session.
//!
//! Without the GIL the states belong to the thread that made the connection, and other threads lock them;
//! OpenSSL is called through the methods of `ssl`, which lock the connection.

use std::collections::{TryReserveError, VecDeque};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::event_loop::{EventLoop, UserCall};
use crate::logic::tls_records::Records;
use crate::logic::write_queue::WriteQueue;
use crate::py::cell::LoopCell;
use crate::py::data::bytes::Pinned;
use crate::py::data::window::Window;
use crate::py::lifetime::finalizer::{Destructor, Finalized};
use crate::py::stdlib::warning;
use crate::tls::below::Below;
use crate::tls::engine::Engine;
use crate::transport::flow::Marks;
use crate::transport::native_protocol::NativeProtocol;
use crate::transport::protocol::Kind;

/// The state of the session: asyncio's `SSLProtocolState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Not begun, or over.
    Unwrapped,
    /// The handshake is going on.
    DoHandshake,
    /// Data goes both ways.
    Wrapped,
    /// `close()` was called or the peer has ended its side; what was written is being encrypted.
    Flushing,
    /// Our `close_notify` is sent; the peer's has not come.
    Shutdown,
}

impl Phase {
    /// Whether nothing can be written any more.
    #[inline]
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Flushing | Self::Shutdown | Self::Unwrapped)
    }
}

/// The last call of the program's protocol: asyncio's `AppProtocolState`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppPhase {
    /// None.
    Init,
    /// `connection_made`.
    Made,
    /// `eof_received`.
    Eof,
    /// `connection_lost`, or no call may follow.
    Lost,
}

/// Received bytes in a window, of which those before `at` were fed to OpenSSL.
pub(crate) struct Received {
    /// The window that holds them; other connections use it too.
    pub(crate) window: Py<Window>,
    /// Where the bytes that were not fed begin.
    pub(crate) at: usize,
    /// Where the received bytes end.
    pub(crate) end: usize,
}

/// The reading side.
pub(crate) struct Input {
    /// What was received in the current callback.
    pub(crate) now: Option<Received>,
    /// Data that came while the program did not read.
    pub(crate) held: VecDeque<u8>,
    /// Follows the data that OpenSSL was given, and knows whether that contains a whole record.
    pub(crate) records: Records,
    /// The program called `pause_reading`.
    pub(crate) paused: bool,
    /// How many callbacks are queued that continue to read.
    pub(crate) queued_reads: u32,
    /// The transport below was paused.
    pub(crate) below_paused: bool,
    /// When the transport below is paused and resumed.
    pub(crate) marks: Marks,
    /// The transport below has received the peer's end.
    pub(crate) ended: bool,
}

impl Input {
    /// Appends `bytes` to the data that came while the program did not read.
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Result<(), TryReserveError> {
        self.held.try_reserve(bytes.len())?;
        self.held.extend(bytes);
        Ok(())
    }
}

/// What is to be done with the backlog.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing for now: it is empty, or has to wait.
    Idle,
    /// It is the head of a response, and is encrypted with its body or when the callback that runs
    /// now returns.
    Delayed,
    /// It is being encrypted. Python code that runs meanwhile may only append to it.
    Encrypting,
}

/// The writing side.
pub(crate) struct Output {
    /// What is not encrypted yet.
    pub(crate) backlog: WriteQueue<Pinned>,
    /// How many bytes at the front of it asyncio would have given to the transport below already.
    pub(crate) handed: usize,
    /// How many records asyncio would have made of the rest.
    pub(crate) records: usize,
    /// By how much a record is longer than its content; known after the first one.
    pub(crate) overhead: Option<usize>,
    /// What is to be done with the backlog.
    pub(crate) work: Work,
    /// `close_notify` has to be sent after what is being encrypted.
    pub(crate) close_notify: bool,
    /// The transport below asked to pause.
    pub(crate) below_paused: bool,
    /// The program's protocol was asked to pause.
    pub(crate) paused: bool,
    /// When the program's protocol is asked to pause and to resume.
    pub(crate) marks: Marks,
    /// How many writes came after the end, for the warning.
    pub(crate) lost: u32,
}

impl Output {
    /// The size of what is not handed over, as records if asyncio would have made records of it.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        match self.backlog.size() - self.handed {
            0 => 0,
            waiting => waiting + self.records * self.overhead.unwrap_or(0),
        }
    }

    /// Counts everything as handed over.
    #[inline]
    pub(crate) fn hand_all(&mut self) {
        self.handed = self.backlog.size();
        self.records = 0;
    }

    /// Takes out the backlog; the caller drops it.
    pub(crate) fn drop_backlog(&mut self) -> VecDeque<Pinned> {
        (self.handed, self.records) = (0, 0);
        self.backlog.take()
    }
}

/// What `get_extra_info` returns for the names of TLS.
pub(crate) struct Details {
    /// The `ssl.SSLContext` that the connection was made with.
    pub(crate) sslcontext: Py<PyAny>,
    /// `None` until the handshake is made.
    pub(crate) negotiated: Option<Negotiated>,
}

/// The result of the handshake, as Python objects.
pub(crate) struct Negotiated {
    /// `getpeercert()`.
    pub(crate) peercert: Py<PyAny>,
    /// `cipher()`: shared with other connections if equal.
    pub(crate) cipher: Py<PyAny>,
    /// `compression()`.
    pub(crate) compression: Py<PyAny>,
}

/// Both time-outs, in seconds, as they were given.
pub(crate) struct Timeouts {
    /// From `connection_made` to the end of the handshake.
    pub(crate) handshake: Py<PyAny>,
    /// From `close()`, and again from the peer's `close_notify`, to the end of the connection.
    pub(crate) shutdown: Py<PyAny>,
}

/// The parts of a session that change.
pub(crate) struct State {
    /// The state of the session.
    pub(crate) phase: Phase,
    /// The last call of the program's protocol.
    pub(crate) app_phase: AppPhase,
    /// `None` before `connection_made` and after `connection_lost`.
    pub(crate) below: Option<Below>,
    /// The program's protocol; `None` when the connection is lost, unless the program sets another.
    pub(crate) app: Option<Py<PyAny>>,
    /// The methods by which that protocol receives.
    pub(crate) kind: Kind,
    /// The program's transport, until the connection is lost.
    pub(crate) transport: Option<Py<TlsTransport>>,
    /// The future that is done when the handshake is made or has failed; `None` from then on.
    pub(crate) waiter: Option<Py<PyAny>>,
    /// The timer of the time-out, while the handshake goes on.
    pub(crate) handshake_timer: Option<Py<PyAny>>,
    /// The timer of the time-out, once the shutdown has begun.
    pub(crate) shutdown_timer: Option<Py<PyAny>>,
    /// When the handshake began, in debug mode.
    pub(crate) began: Option<f64>,
    /// What `get_extra_info` returns for the names of TLS.
    pub(crate) details: Details,
    /// The reading side.
    pub(crate) input: Input,
    /// The writing side.
    pub(crate) output: Output,
    /// The buffer into which a transport below that is not ours receives.
    pub(crate) space: Option<Py<PyAny>>,
}

/// One TLS connection.
#[pyclass(frozen, weakref, extends = NativeProtocol, module = "ferroloop._native")]
pub(crate) struct TlsProtocol {
    /// The loop of the connection.
    pub(crate) event_loop: Py<EventLoop>,
    /// OpenSSL, behind its Python objects.
    pub(crate) engine: Engine,
    /// How long the peer has for the handshake and for its `close_notify`.
    pub(crate) timeouts: Timeouts,
    /// Whether this is the side that waits for the handshake to begin.
    pub(crate) is_server: bool,
    /// The parts that change.
    pub(crate) state: LoopCell<State>,
}

impl TlsProtocol {
    /// The state of the session.
    #[inline]
    pub(crate) fn phase(&self, py: Python<'_>) -> Phase {
        self.state.with(py, |state| state.phase)
    }

    /// The transport below, while there is one.
    #[inline]
    pub(crate) fn below(&self, py: Python<'_>) -> Option<Below> {
        self.state
            .with(py, |state| Some(state.below.as_ref()?.duplicate(py)))
    }

    /// The program's protocol: see `State::app`.
    #[inline]
    pub(crate) fn app<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            Some(state.app.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// The program's transport, which is made when first asked for; `None` once it is lost.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(crate) fn transport<'py>(
        this: &Bound<'py, Self>,
    ) -> PyResult<Option<Bound<'py, TlsTransport>>> {
        let py = this.py();
        let known = this.get().state.with(py, |state| {
            let gone = state.app_phase == AppPhase::Lost || state.app.is_none();
            let known = state.transport.as_ref().map(|it| it.clone_ref(py));
            (known, gone)
        });
        match known {
            (Some(transport), _) => Ok(Some(transport.into_bound(py))),
            (None, true) => Ok(None),
            (None, false) => {
                let transport = Bound::new(py, TlsTransport::new(this))?;
                let kept = transport.clone().unbind();
                this.get()
                    .state
                    .with(py, |state| state.transport = Some(kept));
                Ok(Some(transport))
            }
        }
    }

    /// The call `app.method()`.
    #[inline]
    pub(super) fn tell<'a, 'py>(
        this: &'a Bound<'py, Self>,
        app: &'a Bound<'py, PyAny>,
        method: &'a Bound<'py, PyString>,
    ) -> UserCall<'a, 'py> {
        UserCall {
            event_loop: this.get().event_loop.bind(this.py()),
            transport: this.as_any(),
            protocol: app,
            method,
        }
    }

    /// Marks the transport as closed, so that `__del__` does not warn.
    pub(crate) fn mark_closed(&self, py: Python<'_>) {
        let transport = self.state.with(py, |state| {
            state.transport.as_ref().map(|it| it.clone_ref(py))
        });
        if let Some(transport) = transport {
            transport.get().face.with(py, Face::close);
        }
    }

    /// Shows what the session holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(visit, |state| {
            visit.call(&self.event_loop)?;
            self.engine.visit(visit)?;
            visit.call(&self.timeouts.handshake)?;
            visit.call(&self.timeouts.shutdown)?;
            if let Some(below) = &state.below {
                below.visit(visit)?;
            }
            visit.call(&state.app)?;
            visit.call(&state.transport)?;
            visit.call(&state.waiter)?;
            visit.call(&state.handshake_timer)?;
            visit.call(&state.shutdown_timer)?;
            visit.call(&state.details.sslcontext)?;
            if let Some(negotiated) = &state.details.negotiated {
                visit.call(&negotiated.peercert)?;
            }
            visit.call(&state.space)
        });
        visited.unwrap_or(Ok(()))
    }

    /// Releases what can be part of a cycle.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| {
            (
                state.below.take(),
                state.app.take(),
                state.transport.take(),
                state.waiter.take(),
                (state.handshake_timer.take(), state.shutdown_timer.take()),
                state.details.negotiated.take(),
            )
        });
        drop(cleared);
    }
}

/// How often a transport was closed, by the program or by the end of the connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Closed {
    Never,
    Once,
    /// Once more, by the program: it needs nothing more of a lost connection.
    Again,
}

/// The parts of a transport that change.
pub(crate) struct Face {
    /// `None` once the connection is lost and the program has closed the transport again, as in
    /// asyncio: such a transport keeps nothing of the session alive.
    pub(crate) session: Option<Py<TlsProtocol>>,
    /// How often it was closed.
    pub(crate) closed: Closed,
}

impl Face {
    /// Marks the transport as closed. True if it was not.
    pub(crate) fn close(&mut self) -> bool {
        let first = self.closed == Closed::Never;
        if first {
            self.closed = Closed::Once;
        }
        first
    }
}

/// The transport that a program writes to.
#[pyclass(frozen, dict, weakref, module = "ferroloop._native")]
pub(crate) struct TlsTransport {
    /// The parts that change.
    pub(crate) face: LoopCell<Face>,
}

impl TlsTransport {
    /// The transport of `session`.
    fn new(session: &Bound<'_, TlsProtocol>) -> Self {
        Self {
            face: LoopCell::owned(Face {
                session: Some(session.clone().unbind()),
                closed: Closed::Never,
            }),
        }
    }

    /// The session, until `let_go`.
    #[inline]
    pub(crate) fn session<'py>(&self, py: Python<'py>) -> Option<Bound<'py, TlsProtocol>> {
        self.face.with(py, |face| {
            Some(face.session.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// Releases the session if the connection is lost and the program has closed the transport
    /// again.
    pub(crate) fn let_go(&self, py: Python<'_>) {
        let session = self.face.with(py, |face| {
            if face.closed == Closed::Again {
                face.session.take()
            } else {
                None
            }
        });
        drop(session);
    }
}

impl Finalized for TlsTransport {
    fn destructor() -> &'static Destructor {
        static DESTRUCTOR: Destructor = Destructor::new();
        &DESTRUCTOR
    }

    fn is_unfinished(this: &Bound<'_, Self>) -> bool {
        let closed = this.get().face.with_whole(this.py(), |face| face.closed);
        closed == Some(Closed::Never)
    }

    /// `__del__` of a connection that was not closed: warns as asyncio's does. The transport below
    /// closes it.
    fn finalize(this: &Bound<'_, Self>) -> PyResult<()> {
        let py = this.py();
        if !this.get().face.with(py, Face::close) {
            return Ok(());
        }
        warning::unclosed(py, "<TlsTransport object>", None)
    }
}
