//! The methods of `DatagramTransport` that Python sees.
//!
//! A table of contents: each calls the file that implements it. Loop thread only. Reading can be paused
//! on Python 3.10 too, where asyncio's endpoints cannot.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::event_loop::EventLoop;
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::names::name;
use crate::py::cell::LoopCell;
use crate::py::stdlib::asyncio;
use crate::py::stdlib::socket;
use crate::py::value::{Count, Text};
use crate::sys::nonblocking::Family;
use crate::transport::address;
use crate::transport::datagram::lifecycle::open;
use crate::transport::datagram::state::{DatagramState, DatagramTransport};
use crate::transport::descriptor::Descriptor;
use crate::transport::endpoint::{Endpoint, ReadSide, Reads, Transport};
use crate::transport::flow::{Buffers, Flow};

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
            state: LoopCell::owned(DatagramState {
                endpoint: Endpoint::new(protocol, context, waiter, Some(extra)),
                descriptor,
                side: ReadSide::default(),
                received: VecDeque::new(),
                peer: None,
                blocked: false,
                sends_on: false,
                queue: VecDeque::new(),
                size: 0,
                flow: Flow::default(),
                lost_sends: 0,
            }),
        };
        let transport = Bound::new(py, transport)?;
        open(&transport, protocol)?;
        Ok(transport)
    }

    /// The class that asyncio's datagram endpoints derive from, so that `isinstance` is true.
    #[getter]
    fn __class__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(asyncio::datagram_transport(py)?.clone().unbind())
    }

    /// Send one datagram: bytes, bytearray or memoryview, to addr, or to the endpoint's own peer.
    ///
    /// Raises TypeError for other data, and ValueError for an addr other than the one that the
    /// endpoint was made with, if it was. Errors of the socket are passed to the protocol's
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
    #[pyo3(name = "is_closing")]
    fn py_is_closing(&self, py: Python<'_>) -> bool {
        self.is_closing(py)
    }

    /// Deliver no more datagrams until resume_reading().
    ///
    /// Does nothing if reading is paused or the endpoint is closing. Mirrors asyncio's
    /// pause_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    fn pause_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Reads::pause_reading(this)
    }

    /// Deliver datagrams again.
    ///
    /// Does nothing unless reading is paused and the endpoint open. Mirrors asyncio's
    /// resume_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    fn resume_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Reads::resume_reading(this)
    }

    /// Whether reading is not paused and the endpoint not closing.
    ///
    /// Mirrors asyncio's is_reading of 3.11 to 3.15; on 3.10 that raises NotImplementedError.
    fn is_reading(this: &Bound<'_, Self>) -> bool {
        Reads::is_reading(this)
    }

    /// Talk to protocol from now on.
    ///
    /// Does nothing once the endpoint is lost; raises nothing. Mirrors asyncio's set_protocol, the
    /// same on 3.10 to 3.15.
    fn set_protocol(&self, py: Python<'_>, protocol: Py<PyAny>) {
        self.replace_protocol(py, protocol);
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
    fn get_write_buffer_limits<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        Self::limits(this)
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
        Self::set_limits(this, high, low)
    }

    /// socket, sockname, peername, or what the endpoint was made with; else default.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        &self,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.extra_info(name, default)
    }

    fn _force_close(this: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        Self::force_close(this, exc)
    }

    #[pyo3(signature = (exc, message="Fatal error on transport"))]
    fn _fatal_error(this: &Bound<'_, Self>, exc: Bound<'_, PyAny>, message: &str) -> PyResult<()> {
        Self::fatal_error(this, PyErr::from_value(exc), message)
    }

    #[getter]
    fn _address(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.address.as_ref().map(|address| address.clone_ref(py))
    }

    fn __repr__(&self, py: Python<'_>) -> Text<String> {
        Text(self.state.with(py, |state| {
            let (life, number) = (state.endpoint.life.adjective(), self.number);
            if state.endpoint.life == Lifecycle::Lost {
                return format!("<DatagramTransport{life} fd={number}>");
            }
            let reads = state.side.describe(state.endpoint.life);
            let writes = if state.blocked { "polling" } else { "idle" };
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
            (queued, received, state.endpoint.clear())
        });
        drop(cleared);
    }
}
