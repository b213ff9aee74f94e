//! CPython as this crate uses it: safe functions around `pyo3::ffi`.
//!
//! - `cell`: interior state that is lent out while no Python code runs
//! - `borrow_watch`: whether what is lent out stays as it is, in debug builds
//! - `object`: reference counts and tracking
//! - `call`: vectorcall with arguments in place
//! - `method`: methods in the fast calling convention
//! - `pool`: free lists
//! - `finalizer`: `__del__`
//! - `context`: contexts of callbacks
//! - `audit`: whether somebody listens to audit events
//! - `blank`: freeing what was never filled in
//! - `bytes`, `buffer`: data without copies
//! - `bytearray`: data that waits to be read
//! - `names`: interned names of attributes and methods
//! - `value`: new objects of built-in types
//! - `coroutine`: how native coroutines end
//! - `interpreter`: which interpreter may use this
//! - `window`: memory of ours that Python sees a range of
//! - `asyncio`: the classes and functions of asyncio, looked up once
//! - `socket`: the descriptor of a `socket.socket`
//! - `ssl`: what the objects of `_ssl` wrap
//! - `thread`: which thread this is
//! - `warning`: warnings of what nobody closed or awaited
//!
//! `pyo3::ffi` is named here and nowhere else.

pub mod asyncio;
pub mod audit;
pub mod blank;
#[cfg(all(debug_assertions, Py_3_13))]
pub(crate) mod borrow_watch;
pub mod buffer;
pub mod bytearray;
pub mod bytes;
pub mod call;
pub mod cell;
pub mod context;
pub mod coroutine;
pub mod finalizer;
pub mod interpreter;
pub mod method;
pub mod names;
pub mod object;
pub mod pool;
pub mod socket;
pub mod ssl;
pub mod thread;
pub mod value;
pub mod warning;
pub mod window;
