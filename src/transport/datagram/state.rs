//! `DatagramTransport`: one socket that sends and receives datagrams, and its protocol.
//!
//! Loop thread only. An error of the socket is told to `error_received` and the
//! endpoint lives on; only what is no `OSError` ends it.
//!
//! Without the GIL the state belongs to the thread that made the endpoint, and other threads lock it.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::event_loop::{EventLoop, Place, Registration};
use crate::logic::flow_control::FlowControl;
use crate::logic::lifecycle::Lifecycle;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::finalizer::{Destructor, Finalized};
use crate::py::stdlib::warning;
use crate::sys::address::RawAddress;
use crate::sys::nonblocking::Family;
use crate::transport::descriptor::Descriptor;
use crate::transport::hold::{self, Hold};
use crate::transport::limits::Given;
use crate::transport::stream::state::{Reading, Writing};

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
    /// `None` once the endpoint is lost.
    pub(crate) protocol: Option<Py<PyAny>>,
    /// Where the endpoint stands.
    pub(crate) life: Lifecycle,
    /// Whether datagrams are delivered; `Ended` is not used.
    pub(crate) reading: Reading,
    /// Whether the kernel may have datagrams.
    pub(crate) readable: bool,
    /// In which turn the program resumed reading.
    pub(crate) resumed: u64,
    /// Datagrams that were received and not delivered yet, with their senders.
    pub(crate) received: VecDeque<(Py<PyBytes>, Py<PyAny>)>,
    /// The last sender, whom the next datagram may come from and the next answer may go to.
    pub(crate) peer: Option<Peer>,
    /// Whether the loop watches for room; `Delayed` is not used.
    pub(crate) writing: Writing,
    /// Whether sending goes on with the next event although the kernel says nothing new.
    pub(crate) sends_on: bool,
    /// Datagrams that wait to be sent, with where they go.
    pub(crate) queue: VecDeque<(Py<PyBytes>, Py<PyAny>)>,
    /// What `get_write_buffer_size` says.
    pub(crate) size: usize,
    /// The water marks in bytes, and whether the protocol was asked to pause.
    pub(crate) flow: FlowControl,
    /// The water marks as the program gave them.
    pub(crate) given: Given,
    /// Sends after the endpoint was lost, for the warning.
    pub(crate) lost_sends: u32,
    /// While the loop watches it.
    pub(crate) registration: Option<Registration>,
    /// How the loop holds us.
    pub(crate) hold: Hold,
    /// The context that read and write callbacks run in; `None` while one runs.
    pub(crate) context: Option<Context>,
    /// What `get_extra_info` finds.
    pub(crate) extra: Option<Py<PyDict>>,
    /// The future that is done when the endpoint is made.
    pub(crate) waiter: Option<Py<PyAny>>,
}

impl DatagramState {
    /// Whether the loop holds us for nothing.
    #[inline]
    fn is_idle(&self) -> bool {
        self.reading != Reading::On
            && self.hold == Hold::Strong
            && self.life == Lifecycle::Open
            && self.writing == Writing::Idle
            && self.queue.is_empty()
    }

    /// Where the loop's registry has it, while it does.
    #[inline]
    pub(crate) fn place(&self) -> Option<Place> {
        self.registration.as_ref().map(Registration::place)
    }
}

/// An endpoint for datagrams.
#[pyclass(frozen, dict, weakref, module = "ferroloop._native")]
pub(crate) struct DatagramTransport {
    /// The loop of the endpoint.
    pub(crate) event_loop: Py<EventLoop>,
    /// The number of the descriptor, also when it is closed.
    pub(crate) number: i32,
    /// The only address that may be sent to, if the endpoint was made with one.
    pub(crate) address: Option<Py<PyAny>>,
    /// Whether the socket is connected, so that no address is given to the kernel.
    pub(crate) connected: bool,
    /// What its addresses are.
    pub(crate) family: Family,
    /// How much a waiting datagram counts beside its data.
    pub(crate) header: usize,
    /// Whether empty datagrams are sent.
    pub(crate) sends_empty: bool,
    /// The parts that change.
    pub(crate) state: LoopCell<DatagramState>,
}

impl DatagramTransport {
    /// Runs `body` in the context of this endpoint's read and write callbacks.
    ///
    /// # Errors
    /// What `body` returns.
    #[inline]
    pub(crate) fn in_context(
        &self,
        py: Python<'_>,
        body: impl FnOnce() -> PyResult<()>,
    ) -> PyResult<()> {
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

    /// Lets the loop hold us weakly if it has nothing to do for us: reading is paused, and nothing
    /// waits to be sent.
    #[inline]
    pub(crate) fn loosen(this: &Bound<'_, Self>) {
        let py = this.py();
        if this.get().state.with(py, |state| state.is_idle()) {
            hold::loosen(this.as_any(), &this.get().event_loop, || {
                this.get().state.with(py, |state| {
                    let idle = state.is_idle();
                    let place = state.place().filter(|_| idle);
                    place.inspect(|_| state.hold = Hold::Weak)
                })
            });
        }
    }

    /// Has the loop hold us again, before it is to do something for us.
    #[inline]
    pub(crate) fn hold(this: &Bound<'_, Self>) {
        let py = this.py();
        let place = this.get().state.with(py, |state| {
            match std::mem::replace(&mut state.hold, Hold::Strong) {
                Hold::Weak => state.place(),
                Hold::Strong => None,
            }
        });
        if let Some(place) = place {
            let event_loop = this.get().event_loop.bind(py).get();
            event_loop.hold(place, this.as_any());
        }
    }

    /// The protocol, until the endpoint is lost.
    #[inline]
    pub(crate) fn protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| {
            Some(state.protocol.as_ref()?.clone_ref(py).into_bound(py))
        })
    }

    /// The Python socket, until the endpoint is lost.
    pub(crate) fn sock<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state.with(py, |state| match &state.descriptor {
            Descriptor::Socket { socket, .. } => Some(socket.object().clone_ref(py).into_bound(py)),
            _ => None,
        })
    }

    /// Closes the descriptor of an endpoint that its loop does not hold. Whoever has the endpoint
    /// again finds it as one whose socket was closed behind its back, as in asyncio.
    fn close_abandoned(&self, py: Python<'_>) -> PyResult<()> {
        let (registration, descriptor) = self.state.with(py, |state| {
            let descriptor = std::mem::replace(&mut state.descriptor, Descriptor::Closed);
            (state.registration.take(), descriptor)
        });
        drop(registration);
        descriptor.close_abandoned(py)
    }

    /// Shows what the endpoint holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let visited = self.state.try_with(|state| {
            visit.call(&self.event_loop)?;
            visit.call(&self.address)?;
            if let Some(registration) = &state.registration {
                registration.visit(visit)?;
            }
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
            visit.call(&state.waiter)
        });
        visited.unwrap_or(Ok(()))
    }
}

impl Finalized for DatagramTransport {
    fn destructor() -> &'static Destructor {
        static DESTRUCTOR: Destructor = Destructor::new();
        &DESTRUCTOR
    }

    fn is_unfinished(this: &Bound<'_, Self>) -> bool {
        let open = (this.get().state).with_whole(this.py(), |state| !state.descriptor.is_closed());
        open.unwrap_or(false)
    }

    /// An endpoint that nobody closed: warns as asyncio's does, and closes it in any case.
    fn finalize(this: &Bound<'_, Self>) -> PyResult<()> {
        if !Self::is_unfinished(this) {
            return Ok(());
        }
        let warned = warning::unclosed_transport(this.as_any());
        let closed = this.get().close_abandoned(this.py());
        warned.and(closed)
    }
}
