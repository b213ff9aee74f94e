//! Transports and listeners: what moves bytes between descriptors and protocols.
//!
//! - `address`: addresses as Python sees them
//! - `chunk`: bytes that wait to be sent
//! - `descriptor`: who owns a descriptor
//! - `direct`: native protocols, which stream transports call without Python
//! - `protocol`: which calls a protocol wants, and what happens when one raises
//! - `server`: the connections that belong to a server
//! - `transfer`: what waits while a file is sent
//! - `stream`: `StreamTransport` and its state
//! - `hold`: how the loop holds a transport
//! - `reading`: from the kernel to the protocol
//! - `writing`: from the protocol to the kernel
//! - `sending`: one attempt to send
//! - `sendfile`: what a transport does while a file is sent past it
//! - `losing`: the end of a connection
//! - `driver`: what the loop calls
//! - `connecting`: from a numeric address to a transport
//! - `opening`: the beginning of a connection
//! - `members`: the transports of a server
//! - `surface`: the methods that Python sees
//! - `listener`: accepting connections
//! - `datagram`: `DatagramTransport` and its state
//! - `datagram_reading`: from the kernel to a datagram protocol
//! - `datagram_writing`: from a datagram protocol to the kernel
//! - `datagram_life`: from socket to `connection_lost`, and what the loop calls
//! - `datagram_surface`: the methods that Python sees
//! - `limits`: water marks as Python gives them
//! - `pipe`: the ends of pipes
//! - `tls`: TLS between a protocol and the transport below
//!
//! A transport is called by its loop through `driver`; the loop does not know it.

pub mod address;
mod chunk;
mod connecting;
mod datagram;
mod datagram_life;
mod datagram_reading;
mod datagram_surface;
mod datagram_writing;
mod descriptor;
mod direct;
mod driver;
mod hold;
mod limits;
mod listener;
mod losing;
mod members;
mod opening;
mod pipe;
mod protocol;
mod reading;
mod sendfile;
mod sending;
mod server;
mod stream;
mod surface;
mod tls;
mod transfer;
mod writing;

pub use datagram::DatagramTransport;
pub use direct::{DirectClass, DirectProtocol};
pub use listener::Listener;
pub use pipe::{PipeTransport, ReadPipeTransport, WritePipeTransport};
pub use server::ServerBase;
pub use stream::StreamTransport;
pub use tls::{TlsProtocol, TlsTransport};

use pyo3::prelude::*;

use crate::py::blank;
use crate::py::finalizer;
use crate::py::method::install as install_method;

/// Gives the transports their fast methods and their `__del__`. Call once, when the module is
/// initialised.
pub fn install(py: Python<'_>) -> PyResult<()> {
    blank::install::<ServerBase>(py);
    finalizer::install::<StreamTransport>(py)?;
    finalizer::install::<DatagramTransport>(py)?;
    finalizer::install::<ReadPipeTransport>(py)?;
    finalizer::install::<WritePipeTransport>(py)?;
    finalizer::install::<TlsTransport>(py)?;
    install_method::<members::Transports>(py)?;
    install_method::<surface::Write>(py)?;
    install_method::<connecting::ConnectLiteral>(py)?;
    install_method::<tls::Write>(py)
}
