//! `Frame`: the durations of the calls of user code within one event, while slow calls are reported.
//!
//! The loop's thread. A frame holds its Python objects only while the event lasts.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A call of user code, as a report names it.
pub(crate) struct Subject {
    /// The protocol, or the factory of protocols.
    pub(crate) object: Py<PyAny>,
    /// The method of it that is called; `None` if the object itself is called.
    pub(crate) method: Option<Py<PyString>>,
    /// The transport or the listener that the call is for.
    pub(crate) transport: Py<PyAny>,
    /// The peer's address, if the transport does not know it: of a datagram, or of a connection
    /// that is not made yet.
    pub(crate) peer: Option<Py<PyAny>>,
}

impl Subject {
    /// Shows what it holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        visit.call(&self.method)?;
        visit.call(&self.transport)?;
        visit.call(&self.peer)
    }
}

/// What has happened since an event, or a call within it, began.
#[derive(Default)]
pub(crate) struct Frame {
    /// How many seconds of it are reported for other calls.
    pub(crate) reported: f64,
    /// How many calls of user code ended.
    pub(crate) calls: usize,
    /// The longest of them, and its seconds.
    pub(crate) longest: Option<(f64, Subject)>,
    /// The calls that have to be reported, with their seconds, in the order in which they ended.
    pub(crate) slow: Vec<(f64, Subject)>,
}

impl Frame {
    /// Adds a call of `total` seconds within which `inner` happened. Returns the call that is no
    /// longer the longest, to be dropped outside any borrow.
    pub(crate) fn add(
        &mut self,
        total: f64,
        threshold: f64,
        inner: Self,
        subject: impl Fn() -> Subject,
    ) -> Option<(f64, Subject)> {
        let own = total - inner.reported;
        self.slow.extend(inner.slow);
        self.calls += inner.calls + 1;
        if own >= threshold {
            self.slow.push((own, subject()));
            self.reported += total;
        } else {
            self.reported += inner.reported;
        }
        let longest = self.longest.as_ref().map_or(0.0, |longest| longest.0);
        if total < longest {
            return inner.longest;
        }
        let shorter = self.longest.replace((total, subject()));
        shorter.or(inner.longest)
    }
}
