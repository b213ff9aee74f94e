//! CPython as this crate uses it: safe functions around `pyo3::ffi`.
//!
//! - `data`: bytes that Python and this crate share
//! - `stdlib`: parts of the standard library
//! - `cell`: interior state that is lent out while no Python code runs
//! - `borrow_watch`: whether what is lent out stays as it is, in debug builds
//! - `object`: reference counts and tracking
//! - `call`: vectorcall with arguments in place
//! - `method`: methods in the fast calling convention
//! - `pool`: free lists
//! - `finalizer`: `__del__`
//! - `context`: contexts of callbacks
//! - `blank`: freeing what was never filled in
//! - `names`: interned names of attributes and methods
//! - `value`: new objects of built-in types
//! - `coroutine`: how native coroutines end
//! - `interpreter`: which interpreter may use this
//! - `thread`: which thread this is
//! - `watched`: what modules are asked for at every call
//!
//! `pyo3::ffi` is named here and nowhere else.

pub(crate) mod blank;
#[cfg(all(debug_assertions, Py_3_13))]
pub(crate) mod borrow_watch;
pub(crate) mod call;
pub(crate) mod cell;
pub(crate) mod context;
pub(crate) mod coroutine;
pub(crate) mod data;
pub(crate) mod finalizer;
pub(crate) mod interpreter;
pub(crate) mod method;
pub(crate) mod names;
pub(crate) mod object;
pub(crate) mod pool;
pub(crate) mod stdlib;
pub(crate) mod thread;
pub(crate) mod value;
#[cfg(Py_GIL_DISABLED)]
pub(crate) mod watched;
