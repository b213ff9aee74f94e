//! The methods of `DatagramTransport` that Python sees.
//!
//! A table of contents: each is one step away from the file that owns the matter. Loop thread only.
//! Reading can be paused on Python 3.10 too, where asyncio's endpoints cannot.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::event_loop::EventLoop;
use crate::logic::flow_control::DEFAULT_HIGH;
use crate::logic::flow_control::FlowControl;
use crate::logic::lifecycle::Lifecycle;
use crate::py::cell::LoopCell;
use crate::py::context::Context;
use crate::py::names::name;
use crate::py::stdlib::asyncio;
use crate::py::stdlib::socket;
use crate::py::value::{self, Count, Text};
use crate::sys::nonblocking::Family;
use crate::transport::address;
use crate::transport::datagram::lifecycle::open;
use crate::transport::datagram::state::{DatagramState, DatagramTransport};
use crate::transport::descriptor::Descriptor;
use crate::transport::hold::Hold;
use crate::transport::limits::{self, water_marks};
use crate::transport::stream::state::{Reading, Writing};

/// The state of an endpoint that nobody has been told of yet.
fn new_state(
    descriptor: Descriptor,
    protocol: &Bound<'_, PyAny>,
    context: Context,
    extra: &Bound<'_, PyDict>,
    waiter: Option<Bound<'_, PyAny>>,
) -> DatagramState {
    DatagramState {
        descriptor,
        protocol: Some(protocol.clone().unbind()),
        life: Lifecycle::Starting,
        reading: Reading::On,
        readable: false,
        resumed: 0,
        received: VecDeque::new(),
        peer: None,
        writing: Writing::Idle,
        sends_on: false,
        queue: VecDeque::new(),
        size: 0,
        flow: FlowControl::default(),
        given: None,
        lost_sends: 0,
        registration: None,
        hold: Hold::Strong,
        context: Some(context),
        extra: Some(extra.clone().unbind()),
        waiter: waiter.map(Bound::unbind),
    }
}

#[pymethods]
impl DatagramTransport {
    #[new]
    #[classmethod]
    #[pyo3(signature = (event_loop, sock, protocol, address=None, waiter=None, extra=None))]
    fn make<'py>(
        _class: &Bound<'py, PyType>,
        event_loop: &Bound<'py, EventLoop>,
        sock: &Bound<'py, PyAny>,
        protocol: &Bound<'py, PyAny>,
        address: Option<Bound<'py, PyAny>>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        event_loop.get().check_closed()?;
        let extra = address::described(extra, sock)?;
        let connected = match extra.get_item(name!(py, peername))? {
            Some(peer) => peer.is_truthy()?,
            None => false,
        };
        let address = match address {
            Some(address) if address.is_truthy()? => Some(address.unbind()),
            _ => None,
        };
        let descriptor = Descriptor::of(sock)?;
        let number = descriptor.registered();
        let family = if socket::replaces(sock, &["sendto", "send", "recvfrom"])? {
            Family::Foreign
        } else {
            Family::of(number)
        };
        let context = event_loop.get().capture_context(py)?;
        let version = py.version_info();
        let transport = Self {
            event_loop: event_loop.clone().unbind(),
            number,
            address,
            connected,
            family,
            header: if version >= (3, 13) { 8 } else { 0 },
            sends_empty: version >= (3, 13),
            state: LoopCell::owned(new_state(descriptor, protocol, context, &extra, waiter)),
        };
        let transport = Bound::new(py, transport)?;
        open(event_loop, &transport, protocol)?;
        Ok(transport)
    }

    /// What asyncio's own class of such endpoints derives from, so that `isinstance` holds.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(asyncio::datagram_transport(py)?.clone().unbind())
    }

    /// Send one datagram: bytes, bytearray or memoryview, to addr, or to the endpoint's own peer.
    ///
    /// Raises TypeError for other data, and ValueError for an addr other than the one that the
    /// endpoint was made with, if it was. What the socket refuses is told to the protocol's
    /// error_received(). Mirrors asyncio's sendto; an empty datagram is sent from 3.13 on and
    /// dropped before.
    #[pyo3(name = "sendto", signature = (data, addr=None))]
    fn py_sendto<'py>(
        this: &Bound<'py, Self>,
        data: &Bound<'py, PyAny>,
        addr: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        Self::sendto(this, data, addr)
    }

    /// Stop reading, and close once everything is sent; connection_lost(None) follows.
    ///
    /// Does nothing if the endpoint is closing or lost. Mirrors asyncio's close on 3.10 to 3.15,
    /// but raises no RuntimeError when the loop is closed.
    #[pyo3(name = "close")]
    fn py_close(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::close(this)
    }

    /// Close at once; what is not sent is dropped, and connection_lost(None) follows.
    ///
    /// Does nothing if the endpoint is lost. Mirrors asyncio's abort on 3.10 to 3.15, but raises no
    /// RuntimeError when the loop is closed.
    fn abort(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::force_close(this, None)
    }

    /// Whether the endpoint is closing or lost.
    ///
    /// Mirrors asyncio's is_closing, the same on 3.10 to 3.15.
    fn is_closing(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.life.is_closing())
    }

    /// Deliver no more datagrams until resume_reading().
    ///
    /// Does nothing if reading is paused or the endpoint is closing. Mirrors asyncio's
    /// pause_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    #[pyo3(name = "pause_reading")]
    fn py_pause_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        let changed = this.get().pause_reading(this.py());
        Self::loosen(this);
        log(this, changed, "%r pauses reading")
    }

    /// Deliver datagrams again.
    ///
    /// Does nothing unless reading is paused and the endpoint open. Mirrors asyncio's
    /// resume_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    #[pyo3(name = "resume_reading")]
    fn py_resume_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::hold(this);
        let changed = this.get().resume_reading(this.py());
        Self::loosen(this);
        log(this, changed, "%r resumes reading")
    }

    /// Whether reading is not paused and the endpoint not closing.
    ///
    /// Mirrors asyncio's is_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    fn is_reading(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| {
            !state.life.is_closing() && state.reading == Reading::On
        })
    }

    /// Talk to protocol from now on.
    ///
    /// Does nothing once the endpoint is lost; raises nothing. Mirrors asyncio's set_protocol, the
    /// same on 3.10 to 3.15.
    fn set_protocol(&self, py: Python<'_>, protocol: Bound<'_, PyAny>) {
        let old = self.state.with(py, |state| {
            if state.life == Lifecycle::Lost {
                return Some(protocol.unbind());
            }
            state.protocol.replace(protocol.unbind())
        });
        drop(old);
    }

    /// The protocol; None once the endpoint is lost.
    ///
    /// Mirrors asyncio's get_protocol, the same on 3.10 to 3.15.
    fn get_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.protocol(py)
    }

    /// How many bytes wait, from 3.13 on with 8 for the header of each datagram.
    fn get_write_buffer_size(&self, py: Python<'_>) -> Count {
        Count(self.state.with(py, |state| state.size))
    }

    /// The (low, high) water marks in bytes.
    fn get_write_buffer_limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let told = self
            .state
            .with(py, |state| limits::told(py, &state.flow, &state.given));
        limits::pair(py, told)
    }

    /// Set the water marks, in bytes. Raises ValueError unless high >= low >= 0.
    ///
    /// Without high it is 4 * low, or 64 KiB without both; without low it is a quarter of high.
    /// Mirrors asyncio's set_write_buffer_limits, the same on 3.10 to 3.15.
    #[pyo3(signature = (high=None, low=None))]
    fn set_write_buffer_limits(
        this: &Bound<'_, Self>,
        high: Option<&Bound<'_, PyAny>>,
        low: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let marks = water_marks(this.py(), high, low, DEFAULT_HIGH)?;
        let old = this.get().state.with(this.py(), |state| {
            (state.flow.high, state.flow.low) = (marks.high, marks.low);
            std::mem::replace(&mut state.given, marks.given)
        });
        drop(old);
        Self::maybe_pause(this)
    }

    /// socket, sockname, peername, or what the endpoint was made with; else default.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let found = self.extra(py)?.get_item(name)?.or(default);
        Ok(found.unwrap_or_else(|| py.None().into_bound(py)))
    }

    fn _force_close(this: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        Self::force_close(this, exc)
    }

    #[pyo3(signature = (exc, message="Fatal error on transport"))]
    fn _fatal_error(this: &Bound<'_, Self>, exc: Bound<'_, PyAny>, message: &str) -> PyResult<()> {
        Self::fatal_error(this, PyErr::from_value(exc), message)
    }

    #[getter]
    fn _extra<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.extra(py)
    }

    #[getter]
    fn _loop(&self, py: Python<'_>) -> Option<Py<EventLoop>> {
        let lost = self.state.with(py, |state| state.life == Lifecycle::Lost);
        (!lost).then(|| self.event_loop.clone_ref(py))
    }

    #[getter]
    fn _protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.protocol(py)
    }

    #[getter]
    fn _address(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.address.as_ref().map(|address| address.clone_ref(py))
    }

    fn __repr__(&self, py: Python<'_>) -> Text<String> {
        Text(self.state.with(py, |state| {
            let (life, number) = (state.life.adjective(), self.number);
            if state.life == Lifecycle::Lost {
                return format!("<DatagramTransport{life} fd={number}>");
            }
            let reads = state.life == Lifecycle::Open && state.reading == Reading::On;
            let reads = if reads { "polling" } else { "idle" };
            let writes = if state.writing == Writing::Blocked { "polling" } else { "idle" };
            let size = state.size;
            format!(
                "<DatagramTransport{life} fd={number} read={reads} write=<{writes}, bufsize={size}>>"
            )
        }))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        let cleared = self.state.with(py, |state| {
            let queued = std::mem::take(&mut state.queue);
            let received = std::mem::take(&mut state.received);
            let (protocol, context) = (state.protocol.take(), state.context.take());
            let (extra, waiter) = (state.extra.take(), state.waiter.take());
            (queued, received, protocol, context, extra, waiter)
        });
        drop(cleared);
    }
}

impl DatagramTransport {
    /// What `get_extra_info` finds.
    fn extra<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fresh = value::dict(py)?.unbind();
        let extra = self
            .state
            .with(py, |state| state.extra.as_ref().map(|it| it.clone_ref(py)));
        Ok(extra.unwrap_or(fresh).into_bound(py))
    }
}

/// A debug line of asyncio's, in debug mode, if something changed.
fn log(this: &Bound<'_, DatagramTransport>, changed: bool, text: &str) -> PyResult<()> {
    let py = this.py();
    if changed && this.get().event_loop.bind(py).get().is_debug() {
        asyncio::logger(py)?.call_method1(name!(py, debug), (Text(text), this))?;
    }
    Ok(())
}
