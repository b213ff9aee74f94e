//! `Endpoint`: the part of a transport's state that all transports have.
//!
//! Loop thread only.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::event_loop::{Place, Registration};
use crate::logic::lifecycle::Lifecycle;
use crate::py::context::Context;

/// How the loop holds a transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Until the connection is lost.
    Strong,
    /// As long as something else does: the loop has nothing to do for it.
    Weak,
}

/// The part of a transport's state that all transports have.
pub(crate) struct Endpoint {
    /// The state of the connection.
    pub(crate) life: Lifecycle,
    /// `None` once the connection is lost.
    pub(crate) protocol: Option<Py<PyAny>>,
    /// While the loop's registry has the transport.
    pub(crate) registration: Option<Registration>,
    /// The dictionary in which `get_extra_info` looks.
    pub(crate) extra: Option<Py<PyDict>>,
    /// How the registry holds the transport.
    pub(super) hold: Hold,
    /// The context of the callbacks; `None` while one runs.
    pub(super) context: Option<Context>,
    /// The future that is done when the connection is made.
    pub(super) waiter: Option<Py<PyAny>>,
}

/// What an endpoint gives up; the caller drops it outside of any borrow.
pub(super) type Released = (Option<Py<PyAny>>, Option<Context>, Option<Py<PyAny>>);

impl Endpoint {
    /// The endpoint of a transport whose `connection_made` is still to be called.
    pub(crate) fn new(
        protocol: &Bound<'_, PyAny>,
        context: Context,
        waiter: Option<Bound<'_, PyAny>>,
        extra: Option<Bound<'_, PyDict>>,
    ) -> Self {
        Self {
            life: Lifecycle::Starting,
            protocol: Some(protocol.clone().unbind()),
            registration: None,
            extra: extra.map(Bound::unbind),
            hold: Hold::Strong,
            context: Some(context),
            waiter: waiter.map(Bound::unbind),
        }
    }

    /// The transport's place in the loop's registry, as long as it has one.
    #[inline]
    pub(crate) fn place(&self) -> Option<Place> {
        self.registration.as_ref().map(Registration::place)
    }

    /// Whether the loop holds an open transport strongly. It need not if it has nothing to do for
    /// it.
    #[inline]
    pub(crate) fn is_held_open(&self) -> bool {
        self.life == Lifecycle::Open && self.hold == Hold::Strong
    }

    /// `connection_made` was called.
    pub(crate) fn start(&mut self) {
        if self.life == Lifecycle::Starting {
            self.life = Lifecycle::Open;
        }
    }

    /// `close()` was called. False if the connection was closing or lost before.
    pub(crate) fn close(&mut self) -> bool {
        let first = !self.life.is_closing();
        if first {
            self.life = Lifecycle::Closing;
        }
        first
    }

    /// Gives up what a lost connection does not need.
    pub(super) fn release(&mut self) -> Released {
        (
            self.protocol.take(),
            self.context.take(),
            self.waiter.take(),
        )
    }

    /// Gives up what may be part of a cycle: for the collector.
    pub(crate) fn clear(&mut self) -> (Released, Option<Py<PyDict>>) {
        (self.release(), self.extra.take())
    }

    /// Shows what it holds to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.protocol)?;
        if let Some(registration) = &self.registration {
            registration.visit(visit)?;
        }
        visit.call(&self.extra)?;
        if let Some(context) = &self.context {
            context.visit(visit)?;
        }
        visit.call(&self.waiter)
    }
}
