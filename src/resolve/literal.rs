//! Answers `getaddrinfo` for numeric hosts exactly as libc does, and leaves everything else to it.
//!
//! Any attached thread. Some numeric forms are not answered here, because libc treats them specially:
//! `127.1`, zones, no socket type (three results), ports out of range.

use std::net::{Ipv4Addr, Ipv6Addr};

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyString};

use crate::py::stdlib::asyncio;
use crate::py::value;
use crate::sys::address::{self, AddressInfo};

/// The list that `socket.getaddrinfo` would return, or None if only libc can tell.
///
/// Answers a dotted IPv4 or a plain IPv6 address as `host`, with `port` an int, None or digits.
/// Never raises for what libc would have to judge.
#[pyfunction]
pub(crate) fn getaddrinfo_literal<'py>(
    host: &Bound<'py, PyAny>,
    port: &Bound<'py, PyAny>,
    family: &Bound<'py, PyAny>,
    r#type: &Bound<'py, PyAny>,
    proto: &Bound<'py, PyAny>,
    flags: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyList>>> {
    let py = host.py();
    let Ok(name) = host.cast_exact::<PyString>() else {
        return Ok(None);
    };
    // Python's own function refuses hints that do not fit into libc's integers.
    let (Some(port), Ok(family), Ok(class), Ok(proto), Ok(flags)) = (
        port_number(port),
        family.extract(),
        r#type.extract(),
        proto.extract(),
        flags.extract(),
    ) else {
        return Ok(None);
    };
    let Some(info) = address::numeric_request(family, class, proto, flags) else {
        return Ok(None);
    };
    // Python's own function refuses a name with a lone surrogate.
    let Ok(text) = name.to_str() else {
        return Ok(None);
    };
    let class = match info {
        AddressInfo { stream: true, .. } => asyncio::sock_stream(py)?,
        AddressInfo { stream: false, .. } => asyncio::sock_dgram(py)?,
    };
    let int = |value: i64| value::int(py, value).map(Bound::into_any);
    let (family, address) = if info.v4 && text.parse::<Ipv4Addr>().is_ok() {
        // Only the form in which libc writes an address is accepted: four numbers without leading
        // zeros.
        let address = [name.clone().into_any(), int(port.into())?];
        let address = value::tuple(py, &address)?;
        (asyncio::af_inet(py)?, address)
    } else if info.v6
        && let Ok(host) = text.parse::<Ipv6Addr>()
    {
        let host = value::text(py, &address::v6_text(host))?.into_any();
        let address = value::tuple(py, &[host, int(port.into())?, int(0)?, int(0)?])?;
        (asyncio::af_inet6(py)?, address)
    } else {
        return Ok(None);
    };
    // musl gives the host itself as its canonical name, whether asked for one or not.
    let canonical = if cfg!(target_env = "musl") {
        name.clone()
    } else {
        value::text(py, "")?
    };
    let entry = [
        family.clone(),
        class.clone(),
        int(info.proto.into())?,
        canonical.into_any(),
        address.into_any(),
    ];
    value::list(py, [value::tuple(py, &entry)?.into_any()]).map(Some)
}

/// The port, if it is given as libc would read it.
fn port_number(port: &Bound<'_, PyAny>) -> Option<u16> {
    if port.is_none() {
        return Some(0);
    }
    if let Ok(number) = port.cast_exact::<PyInt>() {
        return number.extract().ok();
    }
    let text = port.cast_exact::<PyString>().ok()?.to_str().ok()?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
