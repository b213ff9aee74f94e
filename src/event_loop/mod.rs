//! One event loop: its turn, what it watches, what it owes its callers.
//!
//! - `source`: what the loop knows about a transport or a listener
//! - `queue`: what runs next
//! - `state`: `EventLoop` itself: the queues and the flags
//! - `buffers`: memory that transports share while they receive
//! - `check`: closed loops, foreign threads, callbacks that are coroutines
//! - `fork`: what becomes of a loop in a forked child
//! - `registry`: sources under generational keys, delayed writes and resumptions
//! - `watchers`: `add_reader`, `add_writer`
//! - `signals`: what signals write to the loop's pipe
//! - `wakeup`: whose pipe that is
//! - `schedule`: `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`
//! - `owner`: answers to handles
//! - `tasks`: `create_future`, `create_task`
//! - `slow`: what the calls within one event took
//! - `user_code`: the one place through which user code is called
//! - `turn`: one turn, and turns until `stop()`
//! - `running`, `completing`: `run_forever`, `run_until_complete`
//! - `metrics`: what the loop has done, in numbers
//! - `surface`: the methods that Python sees
//!
//! The loop never names a transport: it knows sources as objects with a `dyn SourceClass`.

mod buffers;
mod check;
mod completing;
mod fork;
mod metrics;
mod owner;
mod queue;
mod registry;
mod running;
mod schedule;
mod signals;
mod slow;
mod source;
mod state;
mod surface;
mod tasks;
mod turn;
mod user_code;
mod wakeup;
mod watchers;

pub use registry::Claim;
pub use source::{Readiness, Source, SourceClass};
pub use state::{Entry, EventLoop, Purpose, SCRATCH};
pub(crate) use user_code::{UserCall, about, call_factory, call_soon_about, note_about};

use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::handle::set_owner;
use crate::py::blank;
use crate::py::method::install_on as method;

/// Prepares the class and the handles. Call once, when the module is initialised.
pub fn install(py: Python<'_>) -> PyResult<()> {
    blank::install::<EventLoop>(py);
    set_owner(&owner::Loops);
    accelerate(&EventLoop::type_object(py))
}

/// Puts the methods that are called for every callback on `cls`, in the fast calling convention.
///
/// `cls` is EventLoop or a subclass; CPython calls a method fastest if the object's own class
/// defines it. Raises TypeError for any other class.
#[pyfunction]
#[pyo3(name = "_accelerate")]
pub fn accelerate(cls: &Bound<'_, PyType>) -> PyResult<()> {
    method::<schedule::CallSoon>(cls)?;
    method::<schedule::CallSoonThreadsafe>(cls)?;
    method::<schedule::CallLater>(cls)?;
    method::<schedule::CallAt>(cls)?;
    method::<schedule::TimerHandleCancelled>(cls)?;
    method::<schedule::Time>(cls)?;
    method::<tasks::CreateFuture>(cls)?;
    method::<tasks::CreateTask>(cls)?;
    method::<tasks::GetDebug>(cls)?;
    method::<watchers::AddReader>(cls)?;
    method::<watchers::AddWriter>(cls)?;
    method::<watchers::RemoveReader>(cls)?;
    method::<watchers::RemoveWriter>(cls)?;
    method::<watchers::PrivateAddReader>(cls)?;
    method::<watchers::PrivateAddWriter>(cls)?;
    method::<watchers::PrivateRemoveReader>(cls)?;
    method::<watchers::PrivateRemoveWriter>(cls)
}
