//! Parts of the standard library that the native code calls or looks into.
//!
//! - `asyncio`: the classes and functions of asyncio, looked up once
//! - `socket`: the descriptor of a `socket.socket`
//! - `ssl`: what the objects of `_ssl` wrap
//! - `audit`: whether the interpreter has audit hooks
//! - `warning`: warnings of destructors

pub(crate) mod asyncio;
pub(crate) mod audit;
pub(crate) mod socket;
pub(crate) mod ssl;
pub(crate) mod warning;
