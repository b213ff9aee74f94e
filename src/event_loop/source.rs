//! `Source`: a transport or a listener as the loop sees it, and `Watch`: a descriptor of `add_reader` and
//! `add_writer`.
//!
//! Loop thread only. An I/O event carries the key of its source and not the source, so an event for a
//! connection that was closed meanwhile finds nothing.

use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::handle::Handle;
use crate::sys::poller::Directions;
pub(crate) use crate::sys::poller::Readiness;

/// A kind of object with a descriptor that the loop watches edge-triggered: the loop calls these
/// with the object that was registered.
///
/// An error that a method returns leaves the loop: it is `KeyboardInterrupt` or `SystemExit`.
/// Everything else is reported where it happens.
pub(crate) trait SourceClass: Sync {
    /// The descriptor became readable, writable, or both.
    fn ready(&self, object: &Bound<'_, PyAny>, readiness: Readiness) -> PyResult<()>;
    /// Runs a step that the source queued with `push_step`.
    fn step(&self, _object: &Bound<'_, PyAny>, _step: Step) -> PyResult<()> {
        Ok(())
    }
    /// The callback in which the source called `delay` has returned.
    fn flush(&self, _object: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(())
    }
    /// Whether the program may watch the descriptor with `add_reader` and `add_writer`: not while a
    /// transport is open.
    fn may_be_watched(&self, _object: &Bound<'_, PyAny>) -> bool {
        true
    }
    /// Called when a watch of the program for `direction` takes the descriptor over, which happens
    /// only to a source that may be watched.
    fn displaced(&self, _object: &Bound<'_, PyAny>, _direction: Direction) {}
}

/// A step that a transport queues for itself.
pub(crate) enum Step {
    /// After `connection_made`: begin to read, and wake the waiter.
    Start,
    /// `connection_lost` is due, with this exception.
    Lost(Option<Py<PyAny>>),
}

/// A registered object and its kind.
pub(crate) struct Source {
    /// The object itself.
    pub(crate) object: Py<PyAny>,
    /// The functions to call with it.
    pub(crate) class: &'static dyn SourceClass,
}

impl Source {
    /// Another reference to the same object.
    #[inline]
    pub(crate) fn duplicate(&self, py: Python<'_>) -> Self {
        Self {
            object: self.object.clone_ref(py),
            class: self.class,
        }
    }

    /// The object to which this one's weak reference refers, if it lives.
    #[cold]
    pub(crate) fn upgrade(&self, py: Python<'_>) -> Option<Self> {
        let object = self.object.bind(py).cast::<PyWeakrefReference>().ok()?;
        Some(Self {
            object: object.upgrade()?.unbind(),
            class: self.class,
        })
    }
}

/// The handles of one descriptor that a user watches.
#[derive(Default)]
pub(crate) struct Watch {
    /// The object given to `add_reader`, if it was no number: a closed file no longer has its
    /// number.
    pub(crate) file: Option<Py<PyAny>>,
    /// Runs when the descriptor is readable.
    pub(crate) reader: Option<Py<Handle>>,
    /// Runs when the descriptor is writable.
    pub(crate) writer: Option<Py<Handle>>,
}

/// A direction of a watch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Readable.
    Read,
    /// Writable.
    Write,
}

impl Watch {
    /// The handles that are set.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &Py<Handle>> {
        self.reader.iter().chain(&self.writer)
    }

    /// The place of the handle for `direction`.
    pub(crate) fn place(&mut self, direction: Direction) -> &mut Option<Py<Handle>> {
        match direction {
            Direction::Read => &mut self.reader,
            Direction::Write => &mut self.writer,
        }
    }

    /// Which directions have a handle.
    pub(crate) fn directions(&self) -> Directions {
        Directions {
            read: self.reader.is_some(),
            write: self.writer.is_some(),
        }
    }
}
