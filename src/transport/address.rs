//! Addresses as Python's `socket` module gives them.
//!
//! Any attached thread. The one surprise: a Unix name that begins with a zero byte, one of Linux's
//! abstract names, is `bytes`; every other one is a `str`, an empty one too.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::py::asyncio;
use crate::sys::address::{self, Address};

/// `address` as `getsockname()` or `getpeername()` would return it.
pub fn to_python<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    match address {
        Address::V4(host, port) => Ok((host.to_string(), *port).into_pyobject(py)?.into_any()),
        Address::V6(address) => {
            // The zone of a link-local address is not part of the text since Python 3.7.
            let (host, port, flow, scope) = &**address;
            Ok((address::v6_text(*host), *port, *flow, *scope)
                .into_pyobject(py)?
                .into_any())
        }
        Address::Unix(name) if name.first() == Some(&0) => Ok(PyBytes::new(py, name).into_any()),
        Address::Unix(name) => asyncio::fsdecode(py)?.call1((PyBytes::new(py, name),)),
        Address::Other => Ok(py.None().into_bound(py)),
    }
}

/// `extra`, or a new dictionary, with what `sock` says of itself, where `get_extra_info` finds it.
pub fn described<'py>(
    extra: Option<Bound<'py, PyDict>>,
    sock: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let py = sock.py();
    let extra = extra.unwrap_or_else(|| PyDict::new(py));
    extra.set_item(
        intern!(py, "socket"),
        asyncio::transport_socket(py)?.call1((sock,))?,
    )?;
    // An OSError says that there is no such address.
    let ask = |name: &str| {
        sock.call_method0(name)
            .unwrap_or_else(|_| py.None().into_bound(py))
    };
    extra.set_item(intern!(py, "sockname"), ask("getsockname"))?;
    if !extra.contains(intern!(py, "peername"))? {
        extra.set_item(intern!(py, "peername"), ask("getpeername"))?;
    }
    Ok(extra)
}
