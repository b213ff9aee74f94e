//! The methods of `StreamTransport` that Python sees.
//!
//! A table of contents: each calls the file that implements it. Loop thread only. A method that would
//! show whether everything is sent (the buffer's size, the socket, `abort`) sends a delayed write first.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::event_loop::EventLoop;
use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Count, Text};
use crate::sys::address::Address;
use crate::sys::socket;
use crate::transport::address;
use crate::transport::descriptor::{self, Descriptor};
use crate::transport::endpoint::{Endpoint, Reads, Transport};
use crate::transport::flow::Buffers;
use crate::transport::protocol::Kind;
use crate::transport::server::base::ServerBase;
use crate::transport::stream::open::{Parts, open};
use crate::transport::stream::state::{StreamTransport, Writing};

#[pymethods]
impl StreamTransport {
    #[new]
    #[classmethod]
    #[pyo3(signature = (event_loop, sock, protocol, waiter=None, extra=None, server=None))]
    fn make<'py>(
        _class: &Bound<'py, PyType>,
        event_loop: &Bound<'py, EventLoop>,
        sock: &Bound<'py, PyAny>,
        protocol: &Bound<'py, PyAny>,
        waiter: Option<Bound<'py, PyAny>>,
        extra: Option<Bound<'py, PyDict>>,
        server: Option<Bound<'py, ServerBase>>,
    ) -> PyResult<Bound<'py, Self>> {
        let py = event_loop.py();
        event_loop.get().check_closed()?;
        let descriptor = Descriptor::of(sock)?;
        // Read now, as in asyncio: after a reset the kernel no longer knows the peer.
        let local = socket::local_address(descriptor.registered()).ok();
        let peer = socket::peer_address(descriptor.registered()).ok();
        let parts = Parts {
            descriptor,
            has_nodelay: false,
            protocol: protocol.clone(),
            context: event_loop.get().capture_context(py)?,
            server,
            extra: match local {
                Some(Address::Other) => Some(address::described(extra, sock)?),
                _ => extra,
            },
            peer,
            local,
            waiter,
        };
        open(event_loop, parts)
    }

    /// `asyncio.Transport`, so that `isinstance` holds without the storage of that class.
    #[getter]
    fn __class__(this: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = this.py();
        Ok(asyncio::transport(py)?.clone().unbind())
    }

    /// Send every item of an iterable, in one system call where the kernel takes it.
    ///
    /// Raises TypeError for an item that is not bytes-like, RuntimeError after write_eof() and
    /// while a file is sent; writes to a lost connection are treated as by write(). Mirrors
    /// asyncio's writelines, which joins the items before 3.12.
    #[pyo3(name = "writelines")]
    fn py_writelines(this: &Bound<'_, Self>, list_of_data: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::writelines(this, list_of_data)
    }

    /// End our side once everything is sent; reading goes on.
    ///
    /// Does nothing after close() or a second time. Raises OSError if shutdown(2) fails. Mirrors
    /// asyncio's write_eof, the same on 3.10 to 3.15.
    #[pyo3(name = "write_eof")]
    fn py_write_eof(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::write_eof(this)
    }

    /// True: write_eof() is possible.
    ///
    /// Mirrors asyncio's can_write_eof, the same on 3.10 to 3.15.
    fn can_write_eof(&self) -> bool {
        true
    }

    /// Stop reading, and close once everything is sent; connection_lost(None) follows.
    ///
    /// Does nothing if the connection is closing or lost. Mirrors asyncio's close on 3.10 to 3.15,
    /// but raises no RuntimeError when the loop is closed.
    #[pyo3(name = "close")]
    fn py_close(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::close(this)
    }

    /// Close at once; what the kernel has not taken is dropped, and connection_lost(None) follows.
    ///
    /// Does nothing if the connection is lost. Mirrors asyncio's abort on 3.10 to 3.15, but raises
    /// no RuntimeError when the loop is closed.
    fn abort(this: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(this)?;
        Self::force_close(this, None)
    }

    /// Whether the connection is closing or lost.
    ///
    /// Sends a delayed write first, so that a broken connection shows. Mirrors asyncio's is_closing,
    /// the same on 3.10 to 3.15.
    #[pyo3(name = "is_closing")]
    fn py_is_closing(this: &Bound<'_, Self>) -> PyResult<bool> {
        Self::settled_is_closing(this)
    }

    fn _call_connection_lost(
        this: &Bound<'_, Self>,
        exc: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Self::end(this, exc.as_ref())
    }

    /// Deliver no more data until resume_reading().
    ///
    /// Does nothing if reading is paused or the connection is closing. Mirrors asyncio's
    /// pause_reading, the same on 3.10 to 3.15.
    fn pause_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Reads::pause_reading(this)
    }

    /// Deliver data again, not before the next turn of the loop.
    ///
    /// Does nothing unless reading is paused and the connection open. Mirrors asyncio's
    /// resume_reading, the same on 3.10 to 3.15.
    fn resume_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        Reads::resume_reading(this)
    }

    /// Whether reading is not paused and the connection not closing.
    ///
    /// Mirrors asyncio's is_reading, the same on 3.10 to 3.15.
    fn is_reading(this: &Bound<'_, Self>) -> bool {
        Reads::is_reading(this)
    }

    /// Talk to protocol from now on; a BufferedProtocol lends its buffer from now on.
    ///
    /// Does nothing once the connection is lost. Raises nothing of its own. Mirrors asyncio's
    /// set_protocol, the same on 3.10 to 3.15.
    fn set_protocol(this: &Bound<'_, Self>, protocol: Bound<'_, PyAny>) -> PyResult<()> {
        let kind = Kind::of(&protocol)?;
        // The old protocol may have delayed a write.
        Self::settle(this)?;
        let old = this.get().state.with(this.py(), |state| {
            if state.endpoint.life == Lifecycle::Lost {
                return None;
            }
            state.kind = kind;
            state.endpoint.protocol.replace(protocol.unbind())
        });
        drop(old);
        Ok(())
    }

    /// The protocol; None once the connection is lost.
    ///
    /// Mirrors asyncio's get_protocol, the same on 3.10 to 3.15.
    fn get_protocol<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.protocol(py)
    }

    /// How many bytes the kernel has not taken.
    fn get_write_buffer_size(this: &Bound<'_, Self>) -> PyResult<Count> {
        Self::settle(this)?;
        let size = this.get().state.with(this.py(), |state| state.queue.size());
        Ok(Count(size))
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
        Self::settle(this)?;
        Self::set_limits(this, high, low)
    }

    /// socket, sockname, peername, or what the connection was made with; else default.
    #[pyo3(signature = (name, default=None))]
    fn get_extra_info<'py>(
        this: &Bound<'py, Self>,
        name: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, transport) = (this.py(), this.get());
        let extra = transport.with(py, |endpoint| {
            endpoint.extra.as_ref().map(|extra| extra.clone_ref(py))
        });
        if let Some(extra) = extra
            && let Some(found) = extra.bind(py).get_item(name)?
        {
            return Ok(found);
        }
        let known = match name.extract::<&str>() {
            Ok("peername") => Some(transport.peer_address(py)?),
            Ok("sockname") => Some(transport.local_address(py)?),
            Ok("socket") => {
                // The program may shut the socket down, or send on it directly.
                Self::settle(this)?;
                Some(transport.socket(py)?)
            }
            Ok(_) => None,
            // asyncio looks every name up in a dictionary.
            Err(_) => value::dict(py)?.get_item(name)?,
        };
        Ok(known
            .or(default)
            .unwrap_or_else(|| py.None().into_bound(py)))
    }

    fn _force_close(this: &Bound<'_, Self>, exc: Option<Py<PyAny>>) -> PyResult<()> {
        Self::settle(this)?;
        Self::force_close(this, exc)
    }

    #[pyo3(signature = (exc, message="Fatal error on transport"))]
    fn _fatal_error(this: &Bound<'_, Self>, exc: Bound<'_, PyAny>, message: &str) -> PyResult<()> {
        Self::settle(this)?;
        Self::fatal_error(this, PyErr::from_value(exc), message)
    }

    fn _make_empty_waiter<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::make_empty_waiter(this)
    }

    fn _reset_empty_waiter(this: &Bound<'_, Self>) {
        this.get().reset_empty_waiter(this.py());
        Self::loosen(this);
    }

    fn _wait_for_room<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::wait_for_room(this)
    }

    #[getter]
    fn _sendfile_compatible<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        asyncio::sendfile_mode(py)?.getattr(name!(py, try_native))
    }

    #[getter]
    fn _paused(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.side.is_paused())
    }

    #[getter]
    fn _protocol_paused(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.flow.is_paused())
    }

    #[getter]
    fn _server(&self, py: Python<'_>) -> Option<Py<ServerBase>> {
        self.state.with(py, |state| {
            state.server.as_ref().map(|server| server.clone_ref(py))
        })
    }

    #[classattr]
    fn _start_tls_compatible() -> bool {
        true
    }

    fn __repr__(&self, py: Python<'_>) -> Text<String> {
        Text(self.state.with(py, |state| {
            let life = state.endpoint.life.adjective();
            if state.descriptor.is_closed() {
                return format!("<StreamTransport{life} fd={}>", state.last_number);
            }
            let reads = state.side.describe(state.endpoint.life);
            let writes = if state.writing == Writing::Blocked {
                "polling"
            } else {
                "idle"
            };
            let (number, size) = (state.descriptor.registered(), state.queue.size());
            format!(
                "<StreamTransport{life} fd={number} read={reads} write=<{writes}, bufsize={size}>>"
            )
        }))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit(&visit)
    }

    fn __clear__(&self) {
        Python::attach(|py| {
            drop(self.with(py, Endpoint::clear));
        });
    }
}

impl StreamTransport {
    /// The `TransportSocket` of this connection; that of a closed socket once the connection is
    /// lost.
    fn socket<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let view = descriptor::view(py, &self.state, |state| &mut state.descriptor)?;
            if let Some(view) = view {
                return Ok(view);
            }
            let family = match self.state.with(py, |state| state.local.clone()) {
                Some(Address::V4(..)) => asyncio::af_inet(py)?,
                Some(Address::V6(..)) => asyncio::af_inet6(py)?,
                _ => asyncio::af_unix(py)?,
            };
            let shut = Descriptor::shut(py, family)?;
            let unused = self.state.with(py, |state| match state.descriptor {
                Descriptor::Closed => std::mem::replace(&mut state.descriptor, shut),
                _ => shut,
            });
            drop(unused);
        }
    }
}

fast_method!(
    Write,
    StreamTransport,
    "write",
    c"write($self, data)\n--\n\n\
        Send data: bytes, bytearray or memoryview.\n\nIt is sent at once, but for the head of an \
        HTTP/1 response, which waits for its body until the callback returns. Raises TypeError for \
        other data, RuntimeError after write_eof() and while a file is sent. Once the connection is \
        lost nothing is sent, and from the fifth such write on a warning is logged. Mirrors \
        asyncio's write, the same on 3.10 to 3.15.",
    |this, [data]| {
        StreamTransport::write(this, &data)?;
        Ok(this.py().None().into_bound(this.py()))
    }
);
