//! TLS: a state machine over CPython's own `ssl.MemoryBIO` and `ssl.SSLObject`.
//!
//! - `engine`: the calls of these two
//! - `foreign`: the calls of objects of a class of the program
//! - `below`: the transport that carries the records
//! - `session`: `TlsProtocol`, what one connection is, and `TlsTransport`, its face to the program
//! - `reading`: from records to the protocol
//! - `writing`: from the protocol to records
//! - `flow`: flow control in both directions
//! - `handshake`: the beginning
//! - `closing`: the orderly and the other ends
//! - `callbacks`: what the transport below calls
//! - `surface`: the methods that programs see
//!
//! What happens, and in which order, is asyncio's `sslproto`; its names for states are kept.

mod below;
mod callbacks;
mod closing;
mod engine;
mod flow;
mod foreign;
mod handshake;
mod reading;
mod session;
mod surface;
mod writing;

pub use session::{TlsProtocol, TlsTransport};
pub use surface::Write;
