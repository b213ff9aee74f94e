//! `ReadSide` and `Reads`: whether a transport reads, and `pause_reading` and `resume_reading`.
//!
//! Loop thread only. What was queued before a program paused is not delivered in the turn in which it
//! resumes, because asyncio's reader handle would have been cancelled.

use pyo3::prelude::*;

use crate::logic::lifecycle::Lifecycle;
use crate::py::calling::names::name;
use crate::transport::endpoint::transport::{Extends, Transport};

/// What the reading side is doing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Data is delivered as it comes.
    #[default]
    On,
    /// `pause_reading` was called.
    Paused,
    /// The peer of a stream ended its side, and the protocol kept ours open.
    Ended,
}

/// The reading side of a transport.
#[derive(Default)]
pub(crate) struct ReadSide {
    /// What it is doing.
    pub(crate) reading: Reading,
    /// Whether the kernel reported something that was not read yet.
    pub(crate) readable: bool,
    /// The turn in which reading was last resumed.
    pub(crate) resumed: u64,
}

impl ReadSide {
    /// Whether data is delivered to the protocol of a connection in the state `life`.
    #[inline]
    pub(crate) fn is_on(&self, life: Lifecycle) -> bool {
        self.reading == Reading::On && life == Lifecycle::Open
    }

    /// Whether `pause_reading` was called.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.reading == Reading::Paused
    }

    /// What a repr says.
    pub(crate) fn describe(&self, life: Lifecycle) -> &'static str {
        if self.is_on(life) { "polling" } else { "idle" }
    }
}

/// A transport that reads.
pub(crate) trait Reads: Extends {
    /// Lends the reading side to `look`, which must not run Python code.
    fn with_read_side<R>(this: &Bound<'_, Self>, look: impl FnOnce(&mut ReadSide) -> R) -> R;

    /// Whether the loop has nothing to do for the transport, which is open.
    fn is_idle(this: &Bound<'_, Self>) -> bool;

    /// Lets the loop hold the transport weakly if it is idle.
    #[inline]
    fn loosen(this: &Bound<'_, Self>) {
        if Self::is_idle(this) {
            Self::Base::hold_weakly(Self::base(this), || Self::is_idle(this));
        }
    }

    /// Whether there is something to read as soon as reading is resumed.
    fn has_more(this: &Bound<'_, Self>) -> bool {
        Self::with_read_side(this, |side| side.readable)
    }

    /// `transport.is_reading()`
    fn is_reading(this: &Bound<'_, Self>) -> bool {
        !Self::base(this).get().is_closing(this.py())
            && !Self::with_read_side(this, |side| side.is_paused())
    }

    /// `transport.pause_reading()`
    fn pause_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        if !Self::is_reading(this) {
            return Ok(());
        }
        Self::with_read_side(this, |side| {
            // asyncio would read end of file again after a resume.
            side.readable |= side.reading == Reading::Ended;
            side.reading = Reading::Paused;
        });
        Self::loosen(this);
        Self::Base::log(
            Self::base(this),
            name!(this.py(), debug),
            "%r pauses reading",
        )
    }

    /// `transport.resume_reading()`
    fn resume_reading(this: &Bound<'_, Self>) -> PyResult<()> {
        let (py, base) = (this.py(), Self::base(this));
        if base.get().is_closing(py) || Self::is_reading(this) {
            return Ok(());
        }
        Self::Base::hold(base);
        let turn = base.get().event_loop().bind(py).get().turn(py);
        Self::with_read_side(this, |side| {
            side.reading = Reading::On;
            side.resumed = turn;
        });
        if Self::has_more(this) {
            base.get().resume(py);
        }
        Self::loosen(this);
        Self::Base::log(base, name!(py, debug), "%r resumes reading")
    }
}
