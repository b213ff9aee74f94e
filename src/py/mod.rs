//! CPython as this crate uses it: safe functions around `pyo3::ffi`.
//!
//! - `calling`: calls of Python and from Python
//! - `lifetime`: how objects are made, counted, reused and finalized
//! - `data`: bytes that Python and this crate share
//! - `stdlib`: parts of the standard library
//! - `cell`: interior state that is lent out while no Python code runs
//! - `borrow_watch`: whether an object is destroyed while a cell is lent out, in debug builds
//! - `context`: contexts of callbacks
//! - `value`: new objects of built-in types
//! - `interpreter`: which interpreter may use this
//! - `thread`: which thread this is
//!
//! `pyo3::ffi` is named here and nowhere else.

#[cfg(all(debug_assertions, Py_3_13))]
pub(crate) mod borrow_watch;
pub(crate) mod calling;
pub(crate) mod cell;
pub(crate) mod context;
pub(crate) mod data;
pub(crate) mod interpreter;
pub(crate) mod lifetime;
pub(crate) mod stdlib;
pub(crate) mod thread;
pub(crate) mod value;
