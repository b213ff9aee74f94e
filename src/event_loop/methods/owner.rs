//! Answers what handles ask of their loop.
//!
//! Loop thread. The answers are native: `get_debug` and `_timer_handle_cancelled` of a subclass, which
//! asyncio would call, are not called.

use pyo3::prelude::*;

use crate::event_loop::methods::schedule::timer_cancelled;
use crate::event_loop::state::EventLoop;
use crate::handle::{Owner, TimerHandle};

/// The owner of all handles.
pub(crate) struct Loops;

impl Owner for Loops {
    #[inline]
    fn is_debug(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(event_loop.cast::<EventLoop>()?.get().is_debug())
    }

    #[inline]
    fn timer_cancelled(
        &self,
        event_loop: &Bound<'_, PyAny>,
        timer: &Bound<'_, TimerHandle>,
    ) -> PyResult<()> {
        timer_cancelled(event_loop.cast::<EventLoop>()?, timer.as_any());
        Ok(())
    }
}
