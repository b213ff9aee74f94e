//! `ReadyQueue`: what runs next, in order.
//!
//! Whoever shares it locks it. The one surprise: callbacks without a handle have a queue of their own
//! beside that of the entries, which stay small: what an I/O event or a handle costs to queue is
//! moving two words.

use std::collections::VecDeque;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::event_loop::source::{Readiness, Source};
use crate::handle::{Callback, Handle};
use crate::logic::inbox::Queue;
use crate::logic::slab::Key;
use crate::py::object;

/// One entry of the queue.
pub enum Ready {
    /// A callback of `call_soon`, a due timer, or a watched descriptor.
    Handle(Py<Handle>),
    /// A callback of `call_soon` whose handle nobody has kept: the next of `callbacks`.
    Callback,
    /// An event of a source.
    Io(Key, Readiness),
    /// A step of a source.
    Step(Box<(Source, u8)>),
    /// Signals arrived.
    Signals,
}

/// A queued callback, as `ReadyQueue::callbacks` shows it.
pub enum Queued<'a> {
    /// With its handle.
    Handle(&'a Py<Handle>),
    /// Without one.
    Callback(&'a Callback),
}

/// A first-in-first-out queue.
///
/// # Invariant
/// There are as many callbacks as entries that say `Callback`, in the same order.
#[derive(Default)]
pub struct ReadyQueue {
    entries: VecDeque<Ready>,
    callbacks: VecDeque<Callback>,
}

impl Queue for ReadyQueue {
    #[inline]
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl ReadyQueue {
    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry that is no `Callback`.
    #[inline]
    pub fn push(&mut self, ready: Ready) {
        self.entries.push_back(ready);
    }

    /// Adds a callback without a handle.
    pub fn push_callback(&mut self, callback: Callback) {
        self.entries.push_back(Ready::Callback);
        self.callbacks.push_back(callback);
    }

    /// Takes the first entry out. Of a `Callback`, `take_callback` has to take the rest at once.
    #[inline]
    pub fn pop(&mut self) -> Option<Ready> {
        self.entries.pop_front()
    }

    /// Takes out what belongs to a `Callback` that was taken out.
    #[inline]
    pub fn take_callback(&mut self) -> Option<Callback> {
        self.callbacks.pop_front()
    }

    /// Takes the callback out of the handle that was added last, if nobody else has that, and gives
    /// the handle back.
    #[inline]
    pub fn give_up<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, Handle>> {
        let last = self.entries.back_mut()?;
        let Ready::Handle(handle) = last else {
            return None;
        };
        self.callbacks.push_back(Handle::give_up(py, handle)?);
        match std::mem::replace(last, Ready::Callback) {
            Ready::Handle(handle) => Some(handle.into_bound(py)),
            _ => None,
        }
    }

    /// Adds everything of `other`.
    pub fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            std::mem::swap(self, &mut other);
        }
        self.entries.append(&mut other.entries);
        self.callbacks.append(&mut other.callbacks);
    }

    /// The handles, in order.
    pub fn handles(&self) -> impl Iterator<Item = &Py<Handle>> {
        self.entries.iter().filter_map(|ready| match ready {
            Ready::Handle(handle) => Some(handle),
            _ => None,
        })
    }

    /// The callbacks with and without handles, in order.
    pub fn callbacks(&self) -> impl Iterator<Item = Queued<'_>> {
        let mut bare = self.callbacks.iter();
        self.entries.iter().filter_map(move |ready| match ready {
            Ready::Handle(handle) => Some(Queued::Handle(handle)),
            Ready::Callback => bare.next().map(Queued::Callback),
            _ => None,
        })
    }

    /// Shows everything to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for ready in &self.entries {
            match ready {
                Ready::Handle(handle) => visit_handle(handle, visit)?,
                Ready::Step(step) => visit.call(&step.0.object)?,
                Ready::Callback | Ready::Io(..) | Ready::Signals => {}
            }
        }
        self.callbacks.iter().try_for_each(|it| it.visit(visit))
    }
}

/// Shows a queued handle to the collector: itself, or, since it is not tracked, its content.
pub fn visit_handle(handle: &Py<Handle>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    visit.call(handle)?;
    if object::refcount(handle) == 1 && !object::is_tracked(handle) {
        handle.get().visit(visit)?;
    }
    Ok(())
}
