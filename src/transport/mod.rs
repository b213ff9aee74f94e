//! Transports and servers: what moves bytes between descriptors and protocols.
//!
//! - `address`: addresses as Python sees them
//! - `chunk`: bytes that wait to be sent
//! - `descriptor`: the owner of a descriptor
//! - `endpoint`: the state and the behaviour that all transports share
//! - `flow`: water marks, and when a protocol is asked to stop writing
//! - `native_protocol`: protocols written in Rust, which stream transports call without Python
//! - `protocol`: the kinds of protocols, and the reports of their exceptions
//! - `refusals`: methods that a transport has but does not support
//! - `transfer`: the futures that wait while a file is sent
//! - `stream`: connections
//! - `datagram`: datagram endpoints
//! - `pipe`: the ends of pipes
//! - `server`: listening sockets and the connections of a server
//!
//! The loop calls transports through `SourceClass` and does not know their types.

pub(crate) mod address;
pub(crate) mod chunk;
pub(crate) mod datagram;
pub(crate) mod descriptor;
pub(crate) mod endpoint;
pub(crate) mod flow;
pub(crate) mod native_protocol;
pub(crate) mod pipe;
pub(crate) mod protocol;
pub(crate) mod refusals;
pub(crate) mod server;
pub(crate) mod stream;
pub(crate) mod transfer;

use pyo3::prelude::*;

use crate::py::calling::method::install as install_method;
use crate::py::lifetime::finalizer;
use crate::py::stdlib::asyncio;
use crate::transport::endpoint::install_properties;

/// Gives the transports their shared attributes, their fast methods, their `__del__` and the methods that
/// they refuse. Call once, when the module is initialised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_properties::<stream::StreamTransport>(py)?;
    install_properties::<datagram::DatagramTransport>(py)?;
    install_properties::<pipe::PipeTransport>(py)?;
    finalizer::install::<stream::StreamTransport>(py)?;
    finalizer::install::<datagram::DatagramTransport>(py)?;
    finalizer::install::<pipe::ReadPipeTransport>(py)?;
    finalizer::install::<pipe::WritePipeTransport>(py)?;
    install_method::<server::Transports>(py)?;
    install_method::<stream::Write>(py)?;
    install_method::<stream::ConnectLiteral>(py)?;
    refusals::complete::<stream::StreamTransport>(asyncio::transport(py)?)?;
    refusals::complete::<datagram::DatagramTransport>(asyncio::transport(py)?)?;
    refusals::complete::<pipe::ReadPipeTransport>(asyncio::read_transport(py)?)?;
    refusals::complete::<pipe::WritePipeTransport>(asyncio::transport(py)?)
}
