//! TLS: a state machine over CPython's own `ssl.MemoryBIO` and `ssl.SSLObject`.
//!
//! - `engine`: the calls of these two
//! - `foreign`: the calls of objects of a class of the program
//! - `flow`: flow control in both directions
//! - `below`: the transport that carries the records
//! - `session`: `TlsProtocol`, one connection, and `TlsTransport`, its transport for the program
//! - `read`: from records to the protocol
//! - `write`: from the protocol to records
//! - `handshake`: the beginning
//! - `close`: `close_notify`, and the ends without it
//! - `callbacks`: what the transport below calls
//! - `methods`: the methods that Python sees
//!
//! The order of events is that of asyncio's `sslproto`, and the states have its names.

pub(crate) mod below;
pub(crate) mod callbacks;
pub(crate) mod close;
pub(crate) mod engine;
pub(crate) mod flow;
pub(crate) mod foreign;
pub(crate) mod handshake;
pub(crate) mod methods;
pub(crate) mod read;
pub(crate) mod session;
pub(crate) mod write;

pub(crate) use session::{TlsProtocol, TlsTransport};

use pyo3::prelude::*;

use crate::py::calling::method;
use crate::py::lifetime::finalizer;
use crate::py::stdlib::asyncio;
use crate::transport::refusals;

/// Gives TLS transports their fast methods, their `__del__` and the methods that they refuse. Call once,
/// when the module is initialised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    finalizer::install::<TlsTransport>(py)?;
    method::install::<methods::Write>(py)?;
    refusals::complete::<TlsTransport>(asyncio::transport(py)?)
}
