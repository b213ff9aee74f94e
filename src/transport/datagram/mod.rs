//! Datagram endpoints.
//!
//! - `state`: `DatagramTransport` and its state
//! - `lifecycle`: from a socket to `connection_lost`, and what the loop calls
//! - `read`: from the kernel to the protocol
//! - `write`: from the protocol to the kernel
//! - `methods`: the methods that Python sees

pub(crate) mod lifecycle;
pub(crate) mod methods;
pub(crate) mod read;
pub(crate) mod state;
pub(crate) mod write;

pub(crate) use state::DatagramTransport;
