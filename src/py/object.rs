//! Questions about an object itself: how many references it has, whether the collector tracks it.
//!
//! Any attached thread may call it. The one surprise: objects of `#[pyclass]` types are tracked
//! from birth; ours that live for one turn are untracked, and tracked later if they are kept.

use pyo3::ffi;
use pyo3::prelude::*;

/// How many references `object` has.
#[inline]
pub fn refcount<T>(object: &Py<T>) -> isize {
    // SAFETY: `object` is alive; reading the count of a live object is always allowed.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Whether the value of a `#[pyclass]` that always holds `field` is in its object already. CPython
/// 3.11 makes the dictionary of an object that has one before that, which may start the collector
/// while everything else is zero.
#[inline]
pub fn is_filled<T>(field: &Py<T>) -> bool {
    let place = std::ptr::from_ref(field).cast::<*const u8>();
    // SAFETY: a `Py` is one pointer. Read as such, and not through a type for which null is no
    // value, null is an answer.
    !unsafe { place.read_volatile() }.is_null()
}

/// Whether the collector tracks `object`.
pub fn is_tracked<T>(object: &Py<T>) -> bool {
    // SAFETY: `object` is alive.
    unsafe { ffi::PyObject_GC_IsTracked(object.as_ptr()) != 0 }
}

/// Makes the collector track `object`, whose type supports it; does nothing if it does already.
pub fn track<T>(object: &Py<T>) {
    if !is_tracked(object) {
        // SAFETY: `object` is alive, of a collected type and not tracked.
        unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) }
    }
}

/// Takes `object` off the collector's lists, if it is on them.
pub fn untrack<T>(object: &Py<T>) {
    // SAFETY: `object` is alive and of a collected type; untracking twice is allowed.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) }
}
