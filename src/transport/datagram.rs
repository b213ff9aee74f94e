//! `DatagramTransport`: one socket that sends and receives datagrams, and its protocol.
//!
//! Loop thread only. The one surprise: an error of the socket is told to `error_received` and the
//! endpoint lives on; only what is no `OSError` ends it.

use std::collections::VecDeque;

use pyo3::exceptions::PyResourceWarning;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::event_loop::EventLoop;
use crate::logic::flow_control::FlowControl;
use crate::logic::lifecycle::Lifecycle;
use crate::logic::slab::Key;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::warning;
use crate::sys::address::RawAddress;
use crate::sys::nonblocking::Family;
use crate::transport::descriptor::Descriptor;
use crate::transport::limits::Given;
use crate::transport::stream::{Reading, Writing};

/// An address in both forms.
pub struct Peer {
    /// As the kernel gave it.
    pub raw: RawAddress,
    /// As Python sees it.
    pub object: Py<PyAny>,
}

/// The parts of an endpoint that change.
pub struct DatagramState {
    /// Who owns the descriptor; `Closed` once the endpoint is lost.
    pub descriptor: Descriptor,
    /// `None` once the endpoint is lost.
    pub protocol: Option<Py<PyAny>>,
    /// Where the endpoint stands.
    pub life: Lifecycle,
    /// Whether datagrams are delivered; `Ended` is not used.
    pub reading: Reading,
    /// Whether the kernel may have datagrams.
    pub readable: bool,
    /// In which turn the program resumed reading.
    pub resumed: u64,
    /// Datagrams that were received and not delivered yet, with their senders.
    pub received: VecDeque<(Py<PyBytes>, Py<PyAny>)>,
    /// The last sender, whom the next datagram may come from and the next answer may go to.
    pub peer: Option<Peer>,
    /// Whether the loop watches for room; `Gathered` is not used.
    pub writing: Writing,
    /// Whether sending goes on with the next event although the kernel says nothing new.
    pub sends_on: bool,
    /// Datagrams that wait to be sent, with where they go.
    pub queue: VecDeque<(Py<PyBytes>, Py<PyAny>)>,
    /// What `get_write_buffer_size` says.
    pub size: usize,
    /// The water marks in bytes, and whether the protocol was asked to pause.
    pub flow: FlowControl,
    /// The water marks as the program gave them.
    pub given: Given,
    /// Sends after the endpoint was lost, for the warning.
    pub lost_sends: u32,
    /// The key in the loop's registry, while it is watched.
    pub key: Option<Key>,
    /// The context that read and write callbacks run in; `None` while one runs.
    pub context: Option<Context>,
    /// What `get_extra_info` finds.
    pub extra: Option<Py<PyDict>>,
    /// The future that is done when the endpoint is made.
    pub waiter: Option<Py<PyAny>>,
    /// What `connection_lost` will be told.
    pub reason: Option<Py<PyAny>>,
}

/// An endpoint for datagrams.
#[pyclass(frozen, dict, weakref, module = "ferroloop._native")]
pub struct DatagramTransport {
    /// The loop of the endpoint.
    pub event_loop: Py<EventLoop>,
    /// The number of the descriptor, also when it is closed.
    pub number: i32,
    /// The only address that may be sent to, if the endpoint was made with one.
    pub address: Option<Py<PyAny>>,
    /// Whether the socket is connected, so that no address is given to the kernel.
    pub connected: bool,
    /// What its addresses are.
    pub family: Family,
    /// How much a waiting datagram counts beside its data.
    pub header: usize,
    /// Whether empty datagrams are sent.
    pub sends_empty: bool,
    /// The parts that change.
    pub state: LoopCell<DatagramState>,
}

impl DatagramTransport {
    /// Runs `body` in the context of this endpoint's read and write callbacks.
    ///
    /// # Errors
    /// What `body` returns.
    #[inline]
    pub fn in_context(&self, py: Python<'_>, body: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
        let Some(mut context) = self.state.with(py, |state| state.context.take()) else {
            // Another callback of this endpoint is running and has the context.
            return body();
        };
        let Ok(entered) = context.enter(py) else {
            // A program runs the loop again inside this very context.
            self.state.with(py, |state| state.context = Some(context));
            return body();
        };
        let result = body();
        let left = context.leave(py, entered);
        let spare = self.state.with(py, |state| {
            // There is another one if `close()` was called meanwhile: that of the last callback.
            if state.life == Lifecycle::Lost || state.context.is_some() {
                return Some(context);
            }
            state.context.replace(context)
        });
        if let Some(spare) = spare {
            spare.release(py);
        }
        result.and(left)
    }

    /// The protocol, until the endpoint is lost.
    #[inline]
    pub fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            Some(state.protocol.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// The Python socket, until the endpoint is lost.
    pub fn sock<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| match &state.descriptor {
            Descriptor::Socket { socket, .. } => Some(socket.object().clone_ref(py).into_bound(py)),
            _ => None,
        })
    }

    /// Shows what the endpoint holds to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(|state| {
            visit.call(&self.event_loop)?;
            visit.call(&self.address)?;
            state.descriptor.visit(visit)?;
            for (_, address) in state.queue.iter().chain(&state.received) {
                visit.call(address)?;
            }
            visit.call(&state.protocol)?;
            state
                .context
                .as_ref()
                .map_or(Ok(()), |it| it.visit(visit))?;
            visit.call(&state.extra)?;
            visit.call(&state.waiter)?;
            visit.call(&state.reason)
        });
        visited.unwrap_or(Ok(()))
    }
}

impl Drop for DatagramState {
    /// An endpoint that nobody closed: warns as asyncio's does, and closes it.
    fn drop(&mut self) {
        if self.descriptor.is_closed() {
            return;
        }
        let descriptor = std::mem::replace(&mut self.descriptor, Descriptor::Closed);
        let number = descriptor.registered();
        let text = format!("unclosed transport <DatagramTransport fd={number}>");
        warning::while_freeing::<PyResourceWarning>(&text, |py| descriptor.close_abandoned(py));
    }
}
