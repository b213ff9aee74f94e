//! `DatagramTransport`: one socket that sends and receives datagrams, and its protocol.
//!
//! Loop thread only. An error of the socket is passed to `error_received`, and the endpoint stays open;
//! only an exception that is no `OSError` ends it.
//!
//! Without the GIL the state belongs to the thread that made the endpoint, and other threads lock it.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::event_loop::EventLoop;
use crate::py::cell::LoopCell;
use crate::sys::address::RawAddress;
use crate::sys::nonblocking::Family;
use crate::transport::descriptor::Descriptor;
use crate::transport::endpoint::{Endpoint, ReadSide};
use crate::transport::flow::Flow;

/// An address in both forms.
pub(crate) struct Peer {
    /// As the kernel gave it.
    pub(crate) raw: RawAddress,
    /// As Python sees it.
    pub(crate) object: Py<PyAny>,
}

/// The parts of an endpoint that change.
pub(crate) struct DatagramState {
    /// Who owns the descriptor; `Closed` once the endpoint is lost.
    pub(crate) descriptor: Descriptor,
    /// What all transports have.
    pub(crate) endpoint: Endpoint,
    /// Whether datagrams are delivered, and whether the kernel may have more.
    pub(crate) side: ReadSide,
    /// Datagrams that were received and not delivered yet, with their senders.
    pub(crate) received: VecDeque<(Py<PyBytes>, Py<PyAny>)>,
    /// The last sender: the next datagram often comes from it, and the next answer goes to it.
    pub(crate) peer: Option<Peer>,
    /// Whether the kernel's buffer is full, and the loop watches for room.
    pub(crate) blocked: bool,
    /// Whether the next event of any kind continues to send, although the kernel has not reported
    /// room.
    pub(crate) sends_on: bool,
    /// Datagrams that wait to be sent, with their destinations.
    pub(crate) queue: VecDeque<(Py<PyBytes>, Py<PyAny>)>,
    /// What `get_write_buffer_size` returns.
    pub(crate) size: usize,
    /// When the protocol is asked to stop sending.
    pub(crate) flow: Flow,
    /// Sends after the endpoint was lost, for the warning.
    pub(crate) lost_sends: u32,
}

/// An endpoint for datagrams.
#[pyclass(frozen, dict, weakref, module = "ferroloop._native")]
pub(crate) struct DatagramTransport {
    /// The loop of the endpoint.
    pub(crate) event_loop: Py<EventLoop>,
    /// The number of the descriptor, also when it is closed.
    pub(crate) number: i32,
    /// The only permitted destination, if the endpoint was made with one.
    pub(crate) address: Option<Py<PyAny>>,
    /// Whether the socket is connected, so that no address is given to the kernel.
    pub(crate) connected: bool,
    /// The family of the socket.
    pub(crate) family: Family,
    /// How many bytes a waiting datagram counts in addition to its data.
    pub(crate) header: usize,
    /// Whether empty datagrams are sent.
    pub(crate) sends_empty: bool,
    /// The parts that change.
    pub(crate) state: LoopCell<DatagramState>,
}

impl DatagramTransport {
    /// The Python socket, until the endpoint is lost.
    pub(crate) fn sock<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| match &state.descriptor {
            Descriptor::Socket { socket, .. } => Some(socket.object().clone_ref(py).into_bound(py)),
            _ => None,
        })
    }

    /// Shows what the endpoint holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(visit, |state| {
            visit.call(&self.event_loop)?;
            visit.call(&self.address)?;
            state.endpoint.visit(visit)?;
            state.descriptor.visit(visit)?;
            let mut waiting = state.queue.iter().chain(&state.received);
            waiting.try_for_each(|(_, address)| visit.call(address))
        });
        visited.unwrap_or(Ok(()))
    }
}
