//! `ReadyQueue`: what runs next, in order.
//!
//! The owner of a queue that threads share locks it. Callbacks without a handle are kept in a second
//! queue, so that an entry is two words, and queueing an I/O event or a handle moves no more.

use std::collections::{TryReserveError, VecDeque};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::event_loop::source::{Readiness, Source, Step};
use crate::handle::{Callback, Flavour, Handle};
use crate::logic::inbox::Queue;
use crate::logic::slab::Key;
use crate::py::lifetime::object;

/// An empty queue with room for more entries than this frees its memory.
const ROOMY: usize = 4096;

/// One entry of the queue.
pub(crate) enum Ready {
    /// A callback of `call_soon`, a due timer, or a watched descriptor.
    Handle(Py<Handle>),
    /// A callback whose handle the program has not kept, with the class of that handle. The
    /// callback is the next one of `callbacks`.
    Callback(Flavour),
    /// An event of a source.
    Io(Key, Readiness),
    /// A step of a source.
    Step(Box<(Source, Step)>),
    /// Signals arrived.
    Signals,
}

/// A first-in-first-out queue.
///
/// # Invariant
/// There are as many callbacks as entries that say `Callback`, in the same order.
#[derive(Default)]
pub(crate) struct ReadyQueue {
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
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes room for `count` entries, of which each may be a callback.
    pub(crate) fn make_room(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.entries.try_reserve(count)?;
        self.callbacks.try_reserve(count)
    }

    /// Makes room for `count` entries other than `Callback`.
    #[inline]
    pub(crate) fn make_room_for_entries(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.entries.try_reserve(count)
    }

    /// Adds an entry other than `Callback`, to which the caller has another reference.
    #[inline]
    pub(crate) fn push(&mut self, ready: Ready) -> Result<(), TryReserveError> {
        make_room_for_one(&mut self.entries)?;
        self.entries.push_back(ready);
        Ok(())
    }

    /// Adds an entry other than `Callback`, for which room was made.
    #[inline]
    pub(crate) fn put(&mut self, ready: Ready) {
        self.entries.push_back(ready);
    }

    /// Adds a callback without a handle, for which room was made.
    pub(crate) fn put_callback(&mut self, callback: Callback) {
        self.entries.push_back(Ready::Callback(Flavour::Plain));
        self.callbacks.push_back(callback);
    }

    /// Takes the first entry out. If it is a `Callback`, `take_callback` has to be called at once.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Ready> {
        self.entries.pop_front()
    }

    /// Takes out the callback of a `Callback` entry that was taken out.
    #[inline]
    pub(crate) fn take_callback(&mut self) -> Option<Callback> {
        self.callbacks.pop_front()
    }

    /// The callback that `take_callback` takes out next.
    #[inline]
    pub(crate) fn first_callback(&self) -> Option<&Callback> {
        self.callbacks.front()
    }

    /// Takes the callback out of the handle that was added last, if nothing else refers to that
    /// handle and there is memory for the callback, and returns the handle.
    #[inline]
    pub(crate) fn give_up<'py>(&mut self, py: Python<'py>) -> Option<Bound<'py, Handle>> {
        let last = self.entries.back_mut()?;
        let Ready::Handle(handle) = last else {
            return None;
        };
        make_room_for_one(&mut self.callbacks).ok()?;
        let (callback, flavour) = Handle::give_up(py, handle)?;
        self.callbacks.push_back(callback);
        match std::mem::replace(last, Ready::Callback(flavour)) {
            Ready::Handle(handle) => Some(handle.into_bound(py)),
            _ => None,
        }
    }

    /// Makes room for all entries of a queue of that `size`.
    pub(crate) fn make_room_for(&mut self, size: (usize, usize)) -> Result<(), TryReserveError> {
        if self.is_empty() {
            // `append` swaps the queues then.
            return Ok(());
        }
        self.entries.try_reserve(size.0)?;
        self.callbacks.try_reserve(size.1)
    }

    /// How many entries there are, and how many of them are a `Callback`.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.callbacks.len())
    }

    /// Appends all entries of `other`, for which `make_room_for` has made room.
    pub(crate) fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            std::mem::swap(self, &mut other);
        }
        self.entries.append(&mut other.entries);
        self.callbacks.append(&mut other.callbacks);
    }

    /// The handles, in order.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &Py<Handle>> {
        self.entries.iter().filter_map(|ready| match ready {
            Ready::Handle(handle) => Some(handle),
            _ => None,
        })
    }

    /// The callbacks that have no handle, in order.
    pub(crate) fn without_handle(&self) -> impl Iterator<Item = (&Callback, Flavour)> {
        let flavours = self.entries.iter().filter_map(|ready| match ready {
            Ready::Callback(flavour) => Some(*flavour),
            _ => None,
        });
        self.callbacks.iter().zip(flavours)
    }

    /// Replaces the first callbacks by `handles`, which were made for them. Returns the callbacks,
    /// which the handles hold as well, to be dropped outside any borrow.
    pub(crate) fn give_handles(
        &mut self,
        handles: &mut Vec<Py<Handle>>,
    ) -> Result<Vec<Callback>, TryReserveError> {
        let mut replaced = Vec::new();
        replaced.try_reserve_exact(handles.len().min(self.callbacks.len()))?;
        let count = handles.len().min(self.callbacks.len());
        let bare = self
            .entries
            .iter_mut()
            .filter(|ready| matches!(ready, Ready::Callback(_)));
        for (ready, handle) in bare.zip(handles.drain(..count)) {
            *ready = Ready::Handle(handle);
        }
        replaced.extend(self.callbacks.drain(..count));
        Ok(replaced)
    }

    /// Frees the memory that a burst has used, if the burst is over.
    #[inline]
    pub(crate) fn shrink(&mut self) {
        if self.entries.capacity() > ROOMY && self.is_empty() {
            *self = Self::default();
        }
    }

    /// Shows everything to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for ready in &self.entries {
            match ready {
                Ready::Handle(handle) => visit_handle(handle, visit)?,
                Ready::Step(step) => {
                    visit.call(&step.0.object)?;
                    if let Step::Lost(reason) = &step.1 {
                        visit.call(reason)?;
                    }
                }
                Ready::Callback(_) | Ready::Io(..) | Ready::Signals => {}
            }
        }
        self.callbacks.iter().try_for_each(|it| it.visit(visit))
    }
}

/// As `try_reserve(1)`, which is not inlined.
#[inline]
fn make_room_for_one<T>(queue: &mut VecDeque<T>) -> Result<(), TryReserveError> {
    if queue.len() < queue.capacity() {
        Ok(())
    } else {
        grow(queue)
    }
}

#[cold]
fn grow<T>(queue: &mut VecDeque<T>) -> Result<(), TryReserveError> {
    queue.try_reserve(1)
}

/// Shows a queued handle to the collector: the handle itself, or its content if the collector does
/// not track it.
pub(crate) fn visit_handle(
    handle: &Py<Handle>,
    visit: &PyVisit<'_>,
) -> Result<(), PyTraverseError> {
    visit.call(handle)?;
    if object::refcount(handle) == 1 && !object::is_tracked(handle) {
        handle.get().visit(visit)?;
    }
    Ok(())
}
