//! CPython as this crate uses it: safe functions around `pyo3::ffi`.
//!
//! - `cell`: interior state that is lent out while no Python code runs
//! - `object`: reference counts and tracking
//! - `call`: vectorcall with arguments in place
//! - `method`: methods in the fast calling convention
//! - `pool`: free lists
//! - `context`: contexts of callbacks
//! - `bytes`, `buffer`: data without copies
//! - `window`: memory of ours that Python sees a range of
//! - `asyncio`: the classes and functions of asyncio, looked up once
//! - `ssl`: what the objects of `_ssl` wrap
//! - `thread`: which thread this is
//!
//! `pyo3::ffi` is named here and nowhere else.

pub mod asyncio;
pub mod buffer;
pub mod bytes;
pub mod call;
pub mod cell;
pub mod context;
pub mod method;
pub mod object;
pub mod pool;
pub mod ssl;
pub mod thread;
pub mod window;
