//! Connections: TCP and Unix stream sockets.
//!
//! - `state`: `StreamTransport` and its state
//! - `open`: from a socket to `connection_made`
//! - `connect`: from a numeric address to a transport
//! - `read`: from the kernel to the protocol
//! - `write`: from the protocol to the kernel, flow control
//! - `send`: one attempt to send
//! - `sendfile`: the transport while a file is sent on its descriptor
//! - `close`: `close`, `abort`, `connection_lost`
//! - `source`: what the loop calls
//! - `methods`: the methods that Python sees

pub(crate) mod close;
pub(crate) mod connect;
pub(crate) mod methods;
pub(crate) mod open;
pub(crate) mod read;
pub(crate) mod send;
pub(crate) mod sendfile;
pub(crate) mod source;
pub(crate) mod state;
pub(crate) mod write;

pub(crate) use connect::ConnectLiteral;
pub(crate) use methods::Write;
pub(crate) use state::StreamTransport;
