//! The beginning of a connection: from a descriptor to a transport that its loop watches.
//!
//! Loop thread only. The transport has its place in the loop's registry from the start. The kernel is
//! asked to watch the descriptor only when `connection_made` has run, so that the first data comes in
//! the turn in which asyncio would deliver it.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::EventLoop;
use crate::logic::write_queue::WriteQueue;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::sys::address::Address;
use crate::sys::socket;
use crate::transport::descriptor::Descriptor;
use crate::transport::endpoint::{Endpoint, ReadSide, Transport};
use crate::transport::flow::Flow;
use crate::transport::protocol::Kind;
use crate::transport::server::base::ServerBase;
use crate::transport::stream::state::{State, StreamTransport, Writing};

/// The parts from which a transport is made.
pub(crate) struct Parts<'py> {
    /// A connected socket that does not block.
    pub(crate) descriptor: Descriptor,
    /// Whether it has TCP_NODELAY already, from the listening socket.
    pub(crate) has_nodelay: bool,
    /// The protocol.
    pub(crate) protocol: Bound<'py, PyAny>,
    /// The context in which the protocol's read and write callbacks run.
    pub(crate) context: Context,
    /// The server that the connection belongs to.
    pub(crate) server: Option<Bound<'py, ServerBase>>,
    /// The peer's address, if it is known already.
    pub(crate) peer: Option<Address>,
    /// Additional entries for `get_extra_info`.
    pub(crate) extra: Option<Bound<'py, PyDict>>,
    /// Our own address, if it is known already.
    pub(crate) local: Option<Address>,
    /// Done when the connection is made.
    pub(crate) waiter: Option<Bound<'py, PyAny>>,
}

impl Parts<'_> {
    fn into_state(self, kind: Kind) -> State {
        State {
            endpoint: Endpoint::new(&self.protocol, self.context, self.waiter, self.extra),
            descriptor: self.descriptor,
            kind,
            side: ReadSide::default(),
            writing: Writing::Idle,
            peer_closed: false,
            last_read: 0,
            eof: false,
            lost_writes: 1,
            last_number: -1,
            queue: WriteQueue::default(),
            flow: Flow::default(),
            transfer: None,
            server: self.server.map(Bound::unbind),
            peer: self.peer,
            local: self.local,
        }
    }
}

/// Makes a transport and queues `connection_made` and the first step.
///
/// # Errors
/// `AttributeError` if the protocol has no `connection_made`. The descriptor is closed then, unless
/// a Python socket owns it.
pub(crate) fn open<'py>(
    event_loop: &Bound<'py, EventLoop>,
    parts: Parts<'py>,
) -> PyResult<Bound<'py, StreamTransport>> {
    let py = event_loop.py();
    let kind = Kind::of(&parts.protocol)?;
    let made = parts.protocol.getattr(name!(py, connection_made))?;
    let context = parts.context.duplicate(py);
    let number = parts.descriptor.registered();
    let has_nodelay = parts.has_nodelay;
    let server = parts.server.clone();
    let transport = StreamTransport {
        event_loop: event_loop.clone().unbind(),
        state: LoopCell::owned(parts.into_state(kind)),
    };
    let transport = Bound::new(py, transport)?;
    if let Err(error) = StreamTransport::begin(&transport, number, made, context) {
        let unused = transport.get().state.with(py, |state| {
            state.server = None;
            std::mem::replace(&mut state.descriptor, Descriptor::Closed)
        });
        drop(unused);
        return Err(error);
    }
    if !has_nodelay {
        // As in asyncio; it fails on a Unix socket.
        let _ = socket::set_nodelay(number);
    }
    if let Some(server) = server {
        server.get().attach();
    }
    Ok(transport)
}
