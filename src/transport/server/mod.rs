//! Servers: listening sockets and the connections that they accepted.
//!
//! - `listener`: accepting connections
//! - `base`: `ServerBase`, which counts a server's connections
//! - `members`: the transports of a server

pub(crate) mod base;
pub(crate) mod listener;
pub(crate) mod members;

pub(crate) use base::ServerBase;
pub(crate) use listener::Listener;
pub(crate) use members::Transports;
