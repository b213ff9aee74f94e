//! `Handle` and `TimerHandle`: what `call_soon` and `call_later` return.
//!
//! - `scheduled`: `Handle`, a callback with its arguments and its context
//! - `timer`: `TimerHandle`, which also has a deadline
//!
//! Handles know their loop only as a Python object; the loop knows handles as what it runs.

mod scheduled;
mod timer;

pub use scheduled::Handle;
pub use timer::TimerHandle;

use pyo3::prelude::*;

/// Makes finished handles return to their pools. Call once, when the module is initialised.
pub fn install(py: Python<'_>) {
    crate::py::pool::install::<Handle>(py);
    crate::py::pool::install::<TimerHandle>(py);
}
