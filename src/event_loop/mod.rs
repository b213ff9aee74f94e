//! One event loop: its turn, what it watches, and its methods.
//!
//! - `methods`: the methods that Python sees
//! - `source`: what the loop knows about a transport or a listener
//! - `queue`: what runs next
//! - `state`: `EventLoop` itself: the queues and the flags
//! - `buffers`: memory that transports share while they receive
//! - `check`: closed loops, foreign threads, callbacks that are coroutines
//! - `fork`: loops in a forked child
//! - `job`: a call in a thread of an executor
//! - `registry`: sources under generational keys, delayed writes and resumptions
//! - `registration`: the place of one source there, and the kernel's watch of its descriptor
//! - `signals`: the loop's pipe, to which signals write
//! - `wakeup`: which loop CPython's signal handler writes to
//! - `user_code`: the one place through which user code is called
//! - `poll`: the poll of a turn, and when there is none
//! - `turn`: one turn, and turns until `stop()`
//! - `observe`: what debug mode and a monitor measure
//!
//! The loop never names a transport: it knows sources as objects with a `dyn SourceClass`.

mod buffers;
mod check;
mod fork;
mod job;
pub(crate) mod methods;
mod observe;
mod poll;
mod queue;
mod registration;
mod registry;
mod signals;
mod source;
mod state;
mod turn;
mod user_code;
mod wakeup;

pub(crate) use job::{IdleWorkers, Job};
pub(crate) use observe::histogram::Histogram;
pub(crate) use observe::watcher::Watcher;
pub(crate) use registration::{Edges, Place, Registration};
pub(crate) use registry::Claim;
pub(crate) use source::{Direction, Readiness, Source, SourceClass, Step};
pub(crate) use state::{EventLoop, Purpose, SCRATCH};
pub(crate) use user_code::{UserCall, about, call_factory, call_soon_about, note_about};

use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::handle::set_owner;
use crate::py::calling::method::install_on as method;
use crate::py::lifetime::blank;

/// Prepares the class and the handles. Call once, when the module is initialised.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    blank::install::<EventLoop>(py);
    set_owner(&methods::owner::Loops);
    let class = EventLoop::type_object(py);
    method::<methods::object::SetAttribute>(&class)?;
    accelerate(&class)
}

/// Puts the methods that are called for every callback on `cls`, in the fast calling convention.
///
/// `cls` is EventLoop or a subclass; CPython calls a method fastest if the object's own class
/// defines it. Raises TypeError for any other class.
#[pyfunction]
#[pyo3(name = "_accelerate")]
pub(crate) fn accelerate(cls: &Bound<'_, PyType>) -> PyResult<()> {
    method::<methods::schedule::CallSoon>(cls)?;
    method::<methods::schedule::CallSoonThreadsafe>(cls)?;
    method::<methods::schedule::CallLater>(cls)?;
    method::<methods::schedule::CallAt>(cls)?;
    method::<methods::schedule::TimerHandleCancelled>(cls)?;
    method::<methods::schedule::Time>(cls)?;
    method::<methods::tasks::CreateFuture>(cls)?;
    method::<methods::tasks::CreateTask>(cls)?;
    method::<methods::tasks::GetDebug>(cls)?;
    method::<methods::watchers::AddReader>(cls)?;
    method::<methods::watchers::AddWriter>(cls)?;
    method::<methods::watchers::RemoveReader>(cls)?;
    method::<methods::watchers::RemoveWriter>(cls)?;
    method::<methods::watchers::PrivateAddReader>(cls)?;
    method::<methods::watchers::PrivateAddWriter>(cls)?;
    method::<methods::watchers::PrivateRemoveReader>(cls)?;
    method::<methods::watchers::PrivateRemoveWriter>(cls)
}
