//! The life of a datagram endpoint, from its socket to `connection_lost`: what the loop calls.
//!
//! Loop thread only. As in asyncio, an endpoint that was closed while datagrams wait continues to send,
//! and `connection_lost` is called in the event in which the last one is sent.

use pyo3::prelude::*;

use crate::event_loop::{EventLoop, Readiness, SourceClass, Step};
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::transport::datagram::state::{DatagramState, DatagramTransport};
use crate::transport::descriptor::Descriptor;
use crate::transport::endpoint::{Endpoint, Reads, Transport, finalized};
use crate::transport::flow::{Buffers, Flow};

/// Datagram endpoints, as a kind of source.
pub(crate) struct DatagramClass;

static DATAGRAM: DatagramClass = DatagramClass;

impl SourceClass for DatagramClass {
    #[inline]
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()> {
        let this = object.cast::<DatagramTransport>()?;
        let py = this.py();
        let transport = this.get();
        // An edge comes once, so both halves run even if the first one raises.
        let read = transport.in_context(py, || DatagramTransport::read_ready(this, readiness));
        let read = read.or_else(|error| DatagramTransport::report(this, error, "_read_ready"));
        let writes = transport.state.with(py, |state| {
            !state.endpoint.life.is_lost()
                && (state.sends_on || (readiness.writable && state.blocked))
        });
        if !writes {
            return read;
        }
        let written = transport.in_context(py, || DatagramTransport::write_ready(this));
        read.and(written.or_else(|error| DatagramTransport::report(this, error, "_sendto_ready")))
    }

    fn step(&self, object: &Bound<'_, PyAny>, step: Step) -> PyResult<()> {
        let this = object.cast::<DatagramTransport>()?;
        let Step::Lost(reason) = step else {
            return start(this);
        };
        let py = this.py();
        let reason = reason.map(|reason| reason.into_bound(py));
        let lost = this.get().in_context(py, || {
            DatagramTransport::connection_lost(this, reason.as_ref())
        });
        lost.or_else(|error| DatagramTransport::report(this, error, "_call_connection_lost"))
    }

    fn may_be_watched(&self, object: &Bound<'_, PyAny>) -> bool {
        let this = object.cast::<DatagramTransport>();
        this.is_ok_and(|this| this.get().is_closing(this.py()))
    }
}

impl Transport for DatagramTransport {
    type State = DatagramState;

    fn name(&self) -> &'static str {
        "DatagramTransport"
    }

    fn class(&self) -> &'static dyn SourceClass {
        &DATAGRAM
    }

    #[inline]
    fn event_loop(&self) -> &Py<EventLoop> {
        &self.event_loop
    }

    #[inline]
    fn state(&self) -> &LoopCell<DatagramState> {
        &self.state
    }

    #[inline]
    fn endpoint(state: &mut DatagramState) -> &mut Endpoint {
        &mut state.endpoint
    }

    fn has_descriptor(state: &DatagramState) -> bool {
        !state.descriptor.is_closed()
    }

    fn force_close(this: &Bound<'_, Self>, reason: Option<Py<PyAny>>) -> PyResult<()> {
        let dropped = this.get().state.with(this.py(), |state| {
            if state.endpoint.life.is_lost() {
                return None;
            }
            state.size = 0;
            Some(std::mem::take(&mut state.queue))
        });
        match dropped {
            Some(dropped) => {
                drop(dropped);
                Self::lose(this, reason)
            }
            None => Ok(()),
        }
    }

    fn unwatch(&self, py: Python<'_>) -> bool {
        let (first, registration, received) = self.state.with(py, |state| {
            let first = !state.endpoint.life.is_lost();
            state.endpoint.life = Lifecycle::Losing;
            let received = std::mem::take(&mut state.received);
            (first, state.endpoint.registration.take(), received)
        });
        drop((registration, received));
        first
    }

    fn close_descriptor(&self, py: Python<'_>) -> PyResult<()> {
        let peer = self.state.with(py, |state| state.peer.take());
        drop(peer);
        self.take_descriptor(py).close(py)
    }

    fn close_abandoned(&self, py: Python<'_>) -> PyResult<()> {
        self.take_descriptor(py).close_abandoned(py)
    }
}

impl Buffers for DatagramTransport {
    #[inline]
    fn with_flow<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut Flow, usize) -> R) -> R {
        this.get()
            .state
            .with(this.py(), |state| look(&mut state.flow, state.size))
    }
}

/// Queues `connection_made` and the first step.
///
/// # Errors
/// `AttributeError` if the protocol has no `connection_made`; the socket stays with the caller
/// then.
pub(crate) fn open(
    this: &Bound<'_, DatagramTransport>,
    protocol: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = this.py();
    let transport = this.get();
    let begun = || {
        let made = protocol.getattr(name!(py, connection_made))?;
        let context = transport.event_loop.bind(py).get().capture_context(py)?;
        DatagramTransport::begin(this, transport.number, made, context)
    };
    begun().inspect_err(|_| drop(transport.take_descriptor(py)))
}

/// After `connection_made`: begins to read, and wakes the waiter.
fn start(this: &Bound<'_, DatagramTransport>) -> PyResult<()> {
    let py = this.py();
    let transport = this.get();
    let (place, blocked) = transport.state.with(py, |state| {
        state.endpoint.start();
        (state.endpoint.place(), state.blocked)
    });
    // A datagram that `connection_made` sent may have begun the watch already, for both directions.
    if let Some(place) = place
        && !blocked
    {
        let event_loop = transport.event_loop.bind(py);
        event_loop.get().poller(py)?;
        if let Err(error) = place.watch(event_loop) {
            DatagramTransport::fatal_error(this, error, "Fatal error on transport")?;
        }
    }
    DatagramTransport::read_on(this);
    DatagramTransport::loosen(this);
    DatagramTransport::wake_waiter(this)
}

impl DatagramTransport {
    /// Closes once everything queued is sent.
    pub(crate) fn close(this: &Bound<'_, Self>) -> PyResult<()> {
        let lost = this.get().state.with(this.py(), |state| {
            state.endpoint.close() && state.queue.is_empty()
        });
        if lost { Self::lose(this, None) } else { Ok(()) }
    }

    /// Ends the watch and tells the protocol at once.
    pub(crate) fn lose_now(this: &Bound<'_, Self>) -> PyResult<()> {
        this.get().unwatch(this.py());
        Self::connection_lost(this, None)
    }

    fn take_descriptor(&self, py: Python<'_>) -> Descriptor {
        self.state.with(py, |state| {
            std::mem::replace(&mut state.descriptor, Descriptor::Closed)
        })
    }
}

finalized!(DatagramTransport);
