//! `create_connection` to an address: socket, connection, protocol and transport in one call.
//!
//! Loop thread only. For a host name, an option, debug mode, or an audit hook, which has to see the
//! Python socket, it returns `None`, and Python makes the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use crate::error::Raises;
use crate::event_loop::EventLoop;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::names::name;
use crate::py::stdlib::audit;
use crate::py::value;
use crate::sys::address::{Address, is_tcp_request};
use crate::sys::socket;
use crate::transport::descriptor::Descriptor;
use crate::transport::stream::open::{Parts, open};

fast_method!(
    ConnectLiteral,
    EventLoop,
    "_connect_literal",
    [],
    c"_connect_literal($self, protocol_factory, host, port, family, \
        proto, /)\n--\n\n(transport, protocol, waiter) if the connection is made at once, (socket, \
        address, None) if it is under way, None if host is no numeric address or Python has to \
        connect for another reason.",
    |this, arguments| {
        let py = arguments.py;
        let names = ["protocol_factory", "host", "port", "family", "proto"];
        let [factory, host, port, family, proto] = arguments.exactly("_connect_literal", names)?;
        let not_ours = Ok(py.None().into_bound(py));
        let Some(target) = target(host, port, family, proto) else {
            return not_ours;
        };
        if this.get().is_debug() || audit::has_hooks(py)? {
            return not_ours;
        }
        let (connection, peer) = socket::begin_connect(target).or_raise()?;
        match peer {
            Some(peer) => made(this, &factory, connection, peer),
            None => under_way(host, &target, connection),
        }
    }
);

/// The address of a numeric `host` and an int `port`; `None` if Python has to check them.
fn target(
    host: Borrowed<'_, '_, PyAny>,
    port: Borrowed<'_, '_, PyAny>,
    family: Borrowed<'_, '_, PyAny>,
    proto: Borrowed<'_, '_, PyAny>,
) -> Option<SocketAddr> {
    let host = host.cast_exact::<PyString>().ok()?;
    let host = host.to_str().ok()?;
    let port = port.cast_exact::<PyInt>().ok()?.extract::<u16>().ok()?;
    let host = match host.parse::<Ipv4Addr>() {
        Ok(host) => IpAddr::V4(host),
        Err(_) => IpAddr::V6(host.parse::<Ipv6Addr>().ok()?),
    };
    let (family, proto) = (family.extract().ok()?, proto.extract().ok()?);
    is_tcp_request(host, family, proto).then(|| SocketAddr::new(host, port))
}

/// The protocol and the transport of a `connection` that is established already.
fn made<'py>(
    this: &Bound<'py, EventLoop>,
    factory: &Bound<'py, PyAny>,
    connection: OwnedFd,
    peer: Address,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let protocol = factory.call0()?;
    let waiter = this.call_method0(name!(py, create_future))?;
    this.get().check_closed()?;
    let parts = Parts {
        descriptor: Descriptor::Owned(connection),
        has_nodelay: false,
        protocol: protocol.clone(),
        context: this.get().capture_context(py)?,
        server: None,
        peer: Some(peer),
        local: None,
        extra: None,
        waiter: Some(waiter.clone()),
    };
    let transport = open(this, parts)?;
    Ok(value::tuple(py, &[transport.into_any(), protocol, waiter])?.into_any())
}

/// The Python socket of a connection that is not established yet, and the address in asyncio's
/// form.
fn under_way<'py>(
    host: Borrowed<'_, 'py, PyAny>,
    target: &SocketAddr,
    connection: OwnedFd,
) -> PyResult<Bound<'py, PyAny>> {
    let py = host.py();
    let connection = Descriptor::Owned(connection).adopt(py)?;
    let sock = connection
        .socket()
        .map_or_else(|| py.None(), |sock| sock.clone_ref(py));
    let int = |value: i64| value::int(py, value).map(Bound::into_any);
    let (host, port) = (host.to_owned(), int(target.port().into())?);
    let address = if target.is_ipv4() {
        value::tuple(py, &[host, port])?
    } else {
        value::tuple(py, &[host, port, int(0)?, int(0)?])?
    };
    let none = py.None().into_bound(py);
    Ok(value::tuple(py, &[sock.bind(py).clone(), address.into_any(), none])?.into_any())
}
