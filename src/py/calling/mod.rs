//! Calls of Python from Rust, and of Rust from Python.
//!
//! - `call`: vectorcall with arguments in place
//! - `method`: methods in the fast calling convention
//! - `fast_method`: declares one
//! - `property`: tables of attributes
//! - `function`: Python functions whose calls run native code
//! - `names`: interned names of attributes and methods
//! - `coroutine`: how native coroutines end
//! - `watched`: names of modules that are looked up at every call

pub(crate) mod call;
pub(crate) mod coroutine;
pub(crate) mod fast_method;
pub(crate) mod function;
pub(crate) mod method;
pub(crate) mod names;
pub(crate) mod property;
#[cfg(Py_GIL_DISABLED)]
pub(crate) mod watched;
