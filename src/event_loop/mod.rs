//! One event loop: its turn, what it watches, what it owes its callers.
//!
//! - `source`: what the loop knows about a transport or a listener
//! - `state`: `EventLoop` itself: the queues and the flags
//! - `check`: closed loops, foreign threads, callbacks that are coroutines
//! - `registry`: sources under generational keys, flushes and resumptions
//! - `watchers`: `add_reader`, `add_writer`
//! - `signals`: the wake-up descriptor
//! - `schedule`: `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`
//! - `tasks`: `create_future`, `create_task`
//! - `turn`: one turn, and turns until `stop()`
//! - `surface`: the methods that Python sees
//!
//! The loop never names a transport: it knows sources as objects with a `dyn SourceClass`.

mod check;
mod registry;
mod schedule;
mod signals;
mod source;
mod state;
mod surface;
mod tasks;
mod turn;
mod watchers;

pub use registry::Claim;
pub use source::{Readiness, Source, SourceClass};
pub use state::{EventLoop, SCRATCH};

use pyo3::prelude::*;

use crate::py::method::install as method;

/// Puts the methods that are called for every callback on the class, in the fast convention.
pub fn install(py: Python<'_>) -> PyResult<()> {
    method::<schedule::CallSoon>(py)?;
    method::<schedule::CallSoonThreadsafe>(py)?;
    method::<schedule::CallLater>(py)?;
    method::<schedule::CallAt>(py)?;
    method::<schedule::TimerHandleCancelled>(py)?;
    method::<schedule::Time>(py)?;
    method::<tasks::CreateFuture>(py)?;
    method::<tasks::CreateTask>(py)?;
    method::<tasks::GetDebug>(py)?;
    method::<watchers::AddReader>(py)?;
    method::<watchers::AddWriter>(py)?;
    method::<watchers::RemoveReader>(py)?;
    method::<watchers::RemoveWriter>(py)?;
    method::<watchers::PrivateAddReader>(py)?;
    method::<watchers::PrivateAddWriter>(py)?;
    method::<watchers::PrivateRemoveReader>(py)?;
    method::<watchers::PrivateRemoveWriter>(py)
}
