//! `StreamTransport`: one connected stream socket, TCP or Unix, and its protocol.
//!
//! Loop thread only. What is written is sent at once, except for the head of a response, which waits for
//! its body until the callback returns, or until the program could notice.
//!
//! Without the GIL the state belongs to the thread that made the transport, and other threads lock it
//! for one step at a time; calls from several threads at once are not ordered.

use std::os::fd::RawFd;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::event_loop::EventLoop;
use crate::logic::write_queue::WriteQueue;
use crate::py::cell::LoopCell;
use crate::py::lifetime::object;
use crate::sys::address::Address;
use crate::transport::chunk::Data;
use crate::transport::descriptor::Descriptor;
use crate::transport::endpoint::{Endpoint, ReadSide, Reading, Reads, Transport};
use crate::transport::flow::Flow;
use crate::transport::protocol::Kind;
use crate::transport::server::base::ServerBase;
use crate::transport::transfer::Transfer;

/// What the writing side is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// Everything written is sent.
    Idle,
    /// The head of a response was written in the callback that runs now, and is sent with its body
    /// or when the callback returns.
    Delayed,
    /// The kernel's buffer is full; the loop watches for room.
    Blocked,
}

/// The parts of a transport that change.
pub(crate) struct State {
    /// The descriptor and its owner, and what is left of them once the connection is lost.
    pub(crate) descriptor: Descriptor,
    /// What all transports have.
    pub(crate) endpoint: Endpoint,
    /// How the protocol wants to receive.
    pub(crate) kind: Kind,
    /// What the reading side is doing.
    pub(crate) side: ReadSide,
    /// What the writing side is doing.
    pub(crate) writing: Writing,
    /// Whether the peer has ended its side, so that reading goes on until end of file.
    pub(crate) peer_closed: bool,
    /// How many bytes the last read returned. After a large one, the next is received into its
    /// final object.
    pub(crate) last_read: usize,
    /// Whether `write_eof` was called.
    pub(crate) eof: bool,
    /// How many writes came after the connection was lost, and its loss, for the warning.
    pub(crate) lost_writes: u32,
    /// The number that the descriptor had, once the connection is lost: for `repr`.
    pub(crate) last_number: RawFd,
    /// What was written and the kernel has not taken.
    pub(crate) queue: WriteQueue<Data>,
    /// When the protocol is asked to stop writing.
    pub(crate) flow: Flow,
    /// A file that is being sent without passing through the queue.
    pub(crate) transfer: Option<Box<Transfer>>,
    /// The server that accepted the connection; `None` without one, or once it is lost.
    pub(crate) server: Option<Py<ServerBase>>,
    /// The peer's address, if accept(2) returned it.
    pub(crate) peer: Option<Address>,
    /// Our own address, kept when the connection ends.
    pub(crate) local: Option<Address>,
}

impl State {
    /// Whether it is a Unix socket.
    #[inline]
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.peer, Some(Address::Unix(_)))
    }
}

/// A connected stream socket.
#[pyclass(frozen, dict, weakref, module = "ferroloop._native")]
pub(crate) struct StreamTransport {
    /// The loop of the connection.
    pub(crate) event_loop: Py<EventLoop>,
    /// The parts that change.
    pub(crate) state: LoopCell<State>,
}

impl StreamTransport {
    /// `transport` if it is one of ours, and the program has replaced no methods on the object.
    #[inline]
    pub(crate) fn plain<'a, 'py>(transport: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, Self>> {
        let ours = transport.cast_exact::<Self>().ok()?;
        (!object::has_attributes(transport)).then_some(ours)
    }

    /// `transport.is_closing()`. A delayed write is sent first, so that the result shows a broken
    /// connection.
    #[inline]
    pub(crate) fn settled_is_closing(this: &Bound<'_, Self>) -> PyResult<bool> {
        Self::settle(this)?;
        Ok(this.get().is_closing(this.py()))
    }

    /// Whether the connection belongs to `server`.
    pub(crate) fn belongs_to(&self, py: Python<'_>, server: &Bound<'_, ServerBase>) -> bool {
        self.state.with(py, |state| {
            state.server.as_ref().is_some_and(|own| own.is(server))
        })
    }

    /// Shows what the transport holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(visit, |state| {
            visit.call(&self.event_loop)?;
            state.endpoint.visit(visit)?;
            state.descriptor.visit(visit)?;
            visit.call(&state.server)?;
            state
                .transfer
                .as_ref()
                .map_or(Ok(()), |transfer| transfer.visit(visit))
        });
        visited.unwrap_or(Ok(()))
    }
}

impl Reads for StreamTransport {
    fn with_read_side<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut ReadSide) -> R) -> R {
        let state = &this.get().state;
        state.with(this.py(), |state| look(&mut state.side))
    }

    /// Reading is paused, or the peer has ended its side and the program keeps its own open, and
    /// nothing waits to be sent.
    #[inline]
    fn is_idle(this: &Bound<'_, Self>) -> bool {
        this.get().state.with(this.py(), |state| {
            state.side.reading != Reading::On
                && state.endpoint.is_held_open()
                && state.writing == Writing::Idle
                && state.transfer.is_none()
        })
    }
}
