//! Addresses as Python's `socket` module gives them.
//!
//! Any attached thread. A Unix name that begins with a zero byte (an abstract name) is `bytes`; every
//! other one is a `str`, an empty one too.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value;
use crate::sys::address::{self, Address};

/// `address` as `getsockname()` or `getpeername()` would return it.
pub(crate) fn to_python<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    match address {
        Address::V4(host, port) => {
            let host = value::text(py, &host.to_string())?.into_any();
            let port = value::int(py, i64::from(*port))?.into_any();
            Ok(value::tuple(py, &[host, port])?.into_any())
        }
        Address::V6(address) => {
            // The zone of a link-local address is not part of the text since Python 3.7.
            let (host, port, flow, scope) = &**address;
            let host = value::text(py, &address::v6_text(*host))?.into_any();
            let int = |value: u32| Ok::<_, PyErr>(value::int(py, i64::from(value))?.into_any());
            let items = [host, int((*port).into())?, int(*flow)?, int(*scope)?];
            Ok(value::tuple(py, &items)?.into_any())
        }
        Address::Unix(name) if name.first() == Some(&0) => Ok(value::bytes(py, name)?.into_any()),
        Address::Unix(name) => asyncio::fsdecode(py)?.call1((value::bytes(py, name)?,)),
        Address::Other => Ok(py.None().into_bound(py)),
    }
}

/// `extra`, or a new dictionary, with the names and addresses that `sock` itself gives, where
/// `get_extra_info` finds them.
pub(crate) fn described<'py>(
    extra: Option<Bound<'py, PyDict>>,
    sock: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = sock.py();
    let extra = extra.map_or_else(|| value::dict(py), Ok)?;
    extra.set_item(
        name!(py, socket),
        asyncio::transport_socket(py)?.call1((sock,))?,
    )?;
    // An OSError means that the address does not exist.
    let ask = |name: &Bound<'py, PyString>| match sock.call_method0(name) {
        Err(error) if error.is_instance_of::<PyOSError>(py) => Ok(py.None().into_bound(py)),
        result => result,
    };
    extra.set_item(name!(py, sockname), ask(name!(py, getsockname))?)?;
    if !extra.contains(name!(py, peername))? {
        extra.set_item(name!(py, peername), ask(name!(py, getpeername))?)?;
    }
    Ok(extra)
}
