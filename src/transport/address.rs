//! Addresses as Python's `socket` module gives them.
//!
//! Any attached thread.

use std::net::Ipv6Addr;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::py::asyncio;
use crate::sys::address::{self, Address};

/// `address` as `getsockname()` or `getpeername()` would return it.
pub fn to_python<'py>(py: Python<'py>, address: &Address) -> PyResult<Bound<'py, PyAny>> {
    match address {
        Address::V4(host, port) => Ok((host.to_string(), *port).into_pyobject(py)?.into_any()),
        Address::V6(address) => {
            let (host, port, flow, scope) = &**address;
            Ok((host_text(*host, *scope), *port, *flow, *scope)
                .into_pyobject(py)?
                .into_any())
        }
        Address::Unix(name) if name.first() == Some(&0) => Ok(PyBytes::new(py, name).into_any()),
        Address::Unix(name) => asyncio::fsdecode(py)?.call1((PyBytes::new(py, name),)),
        Address::Other => Ok(py.None().into_bound(py)),
    }
}

/// glibc's `getnameinfo` appends the zone to link-local addresses, and `socket` shows it.
fn host_text(host: Ipv6Addr, scope: u32) -> String {
    let text = address::v6_text(host);
    match address::zone(host, scope) {
        Some(zone) => format!("{text}%{zone}"),
        None => text,
    }
}
