//! `Handle` and `TimerHandle`: what `call_soon` and `call_later` return.
//!
//! - `scheduled`: `Handle`, a callback with its arguments and its context
//! - `timer`: `TimerHandle`, which also has a deadline
//! - `runner`: which thread runs a callback
//! - `callback`: a callback outside of a handle
//! - `named`: callbacks that fail, and those of debug mode
//! - `unkept`: handles that the program has not kept
//! - `threadsafe`: cancelling from another thread
//! - `owner`: what a handle asks of its loop
//! - `cancel`: `cancel()` of both, in the fast calling convention
//!
//! A handle refers to its loop as a Python object only; the loop imports handles.

mod callback;
mod cancel;
mod named;
mod owner;
mod runner;
mod scheduled;
mod threadsafe;
mod timer;
mod unkept;

pub(crate) use callback::{Callback, Flavour};
pub(crate) use cancel::cancel_handle;
pub(crate) use owner::{Owner, set_owner};
pub(crate) use scheduled::Handle;
pub(crate) use timer::{Deadline, TimerHandle};

use pyo3::prelude::*;

use crate::py::calling::method;
use crate::py::lifetime::pool;

/// Makes finished handles return to their pools, and gives them their fast methods. Call once, when
/// the module is initialised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    pool::install::<Handle>(py)?;
    pool::install::<TimerHandle>(py)?;
    method::install::<cancel::Cancel>(py)?;
    method::install::<cancel::CancelTimer>(py)
}
