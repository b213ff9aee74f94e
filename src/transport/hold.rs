//! How the loop holds a transport: strongly, or weakly while it has nothing to do for it.
//!
//! Loop thread only. asyncio's selector refers to a transport only while it is watched. Ours keeps an
//! edge-triggered watch while reading is paused, so the registry's reference becomes a weak one then:
//! otherwise a peer could leave connections behind that the program no longer has.

use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::event_loop::{EventLoop, Place};

/// How the loop holds a transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Until the connection is lost.
    Strong,
    /// For as long as somebody else does: the loop has nothing to do for it.
    Weak,
}

/// Has `event_loop` hold `object` weakly. `place` says where it is registered, and notes the change;
/// it says `None` if the loop has something to do for it after all, because the collector ran Python
/// code meanwhile.
///
/// Without memory for a weak reference the loop goes on holding it.
#[cold]
pub(crate) fn loosen(
    object: &Bound<'_, PyAny>,
    event_loop: &Py<EventLoop>,
    place: impl FnOnce() -> Option<Place>,
) {
    let Ok(reference) = PyWeakrefReference::new(object) else {
        return;
    };
    if let Some(place) = place() {
        let py = object.py();
        event_loop.bind(py).get().loosen(py, place, reference);
    }
}
