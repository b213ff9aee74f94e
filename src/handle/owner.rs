//! What a handle asks of its loop.
//!
//! Any attached thread. The layer of the loop sets one `Owner` for all loops when the module is
//! initialised, so a handle needs no pointer to it.

use std::sync::OnceLock;

use pyo3::prelude::*;

use crate::handle::TimerHandle;

/// Answers for the loop that a handle belongs to.
pub(crate) trait Owner: Sync {
    /// Whether `event_loop` is in debug mode.
    fn is_debug(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<bool>;
    /// Notes that a timer of `event_loop` was cancelled.
    fn timer_cancelled(
        &self,
        event_loop: &Bound<'_, PyAny>,
        timer: &Bound<'_, TimerHandle>,
    ) -> PyResult<()>;
}

static OWNER: OnceLock<&'static dyn Owner> = OnceLock::new();

/// Sets the owner of all handles; only the first call has an effect.
pub(crate) fn set_owner(owner: &'static dyn Owner) {
    OWNER.get_or_init(|| owner);
}

/// The owner; `None` before the module is initialised.
#[inline]
pub(crate) fn owner() -> Option<&'static dyn Owner> {
    OWNER.get().copied()
}
