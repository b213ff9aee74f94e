//! `Registration`: the place of a source in the loop's registry, and the kernel's watch of its
//! descriptor.
//!
//! Loop thread only, except for `Registration::drop`, which runs in any thread in which the collector runs. This is
//! the one file that has the kernel watch a source's descriptor; `add_reader` and `add_writer` have
//! watches of their own (`methods/watchers.rs`).

use std::io;
use std::os::fd::RawFd;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::error::Raises;
use crate::event_loop::source::Source;
use crate::event_loop::state::{Entry, EventLoop};
use crate::logic::slab::Key;
use crate::py::thread;
pub(crate) use crate::sys::poller::Edges;
use crate::sys::poller::Poller;

/// Names a registered source: the key that its events carry, and the number of its descriptor.
/// Names nothing once the source is no longer registered.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its key in the registry.
    pub(super) key: Key,
    /// The number of its descriptor.
    pub(super) number: RawFd,
}

impl Place {
    /// A place in the registry for `source`, whose descriptor `number` the kernel does not watch
    /// yet.
    ///
    /// # Errors
    /// `OverflowError` for a negative number, `OSError` for one without a file, `MemoryError`.
    pub(crate) fn reserve(
        event_loop: &Bound<'_, EventLoop>,
        number: RawFd,
        source: Source,
    ) -> PyResult<Self> {
        let entry = Entry::of(source);
        let key = event_loop.get().enter(event_loop.py(), number, entry)?;
        Ok(Self { key, number })
    }

    /// As `reserve`, and has the kernel watch the descriptor for reading.
    ///
    /// # Errors
    /// As `reserve`, and `OSError` if the kernel refuses.
    pub(crate) fn watched(
        event_loop: &Bound<'_, EventLoop>,
        number: RawFd,
        source: Source,
    ) -> PyResult<Self> {
        let place = Self::reserve(event_loop, number, source)?;
        let py = event_loop.py();
        place.watch(event_loop).inspect_err(|_| {
            drop(event_loop.get().leave(py, place.key, number));
        })?;
        Ok(place)
    }

    /// Asks the kernel to watch the descriptor for reading.
    ///
    /// # Errors
    /// `OSError` if it refuses, `RuntimeError` once the loop is closed.
    pub(crate) fn watch(self, event_loop: &Bound<'_, EventLoop>) -> PyResult<()> {
        self.ask(event_loop, |poller, token| {
            poller.add_edge(self.number, token)
        })
    }

    /// Asks the kernel to watch for `edges`, whether it watched before or not. It reports
    /// again what is ready at that moment.
    pub(crate) fn rearm(self, event_loop: &Bound<'_, EventLoop>, edges: Edges) -> PyResult<()> {
        self.ask(event_loop, |poller, token| {
            poller.change_edge(self.number, token, edges)
        })
    }

    fn ask(
        self,
        event_loop: &Bound<'_, EventLoop>,
        request: impl FnOnce(&Poller, u64) -> io::Result<()>,
    ) -> PyResult<()> {
        let poller = event_loop.get().poller(event_loop.py())?;
        request(&poller, self.key.0).or_raise()
    }
}

/// A registered source, which is removed from the registry when this is dropped.
pub(crate) struct Registration {
    event_loop: Py<EventLoop>,
    place: Place,
}

impl Registration {
    /// The registration of the source at `place`.
    pub(crate) fn new(event_loop: &Bound<'_, EventLoop>, place: Place) -> Self {
        Self {
            event_loop: event_loop.clone().unbind(),
            place,
        }
    }

    /// The place of the source.
    #[inline]
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Removes the source from the registry without ending the kernel's watch: the caller closes
    /// the descriptor, which ends it. If a duplicate keeps the file open, an event may still come,
    /// and finds nothing under the old key.
    pub(crate) fn end_with_descriptor(self, py: Python<'_>) {
        let Place { key, number } = self.place;
        drop(self.event_loop.bind(py).get().leave(py, key, number));
    }

    /// Shows the loop to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        thread::if_attached(|py| {
            let Place { key, number } = self.place;
            let event_loop = self.event_loop.bind(py).get();
            let entry = event_loop.leave(py, key, number);
            if entry.is_some() {
                // The kernel may have forgotten a descriptor that the program has closed.
                let _ = event_loop
                    .poller(py)
                    .map(|poller| poller.remove_edge(number));
            }
            drop(entry);
        });
    }
}
