//! Frees objects that were never filled in.
//!
//! Any attached thread. `object.__new__` of Python 3.11 and 3.12 makes the attributes of an instance
//! after the instance. If memory is short, it frees the instance by its class's `tp_dealloc`, before
//! PyO3 has put a Rust value into it: all its bytes are zero, which is not a valid value of our types,
//! and PyO3 would drop it.

use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::prelude::*;

/// A class whose instances, or those of its subclasses, may have attributes of their own, and that
/// has no `tp_dealloc` of ours for another reason.
pub(crate) trait MayBeBlank: PyClass {
    /// Where `install` keeps the class's former `tp_dealloc`.
    fn destructor() -> &'static OnceLock<ffi::destructor>;
}

/// Implements `MayBeBlank`.
macro_rules! may_be_blank {
    ($class:ty) => {
        impl $crate::py::lifetime::blank::MayBeBlank for $class {
            fn destructor()
            -> &'static ::std::sync::OnceLock<$crate::py::lifetime::blank::Destructor> {
                static DESTRUCTOR: ::std::sync::OnceLock<$crate::py::lifetime::blank::Destructor> =
                    ::std::sync::OnceLock::new();
                &DESTRUCTOR
            }
        }
    };
}

pub(crate) use may_be_blank;

/// CPython's type of `tp_dealloc`.
pub(crate) type Destructor = ffi::destructor;

/// Whether `object` was never filled in.
///
/// # Safety
/// `object` has its class, and is as large as that says.
#[inline]
pub(crate) unsafe fn is_blank(object: *mut ffi::PyObject) -> bool {
    if !cfg!(all(Py_3_11, not(Py_3_13))) {
        return false;
    }
    // SAFETY: the caller's promise.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: the class of an object is alive.
    let size = unsafe { (*class).tp_basicsize }.cast_unsigned();
    let words = (size - size_of::<ffi::PyObject>()) / size_of::<usize>();
    let value = object.wrapping_add(1).cast::<usize>();
    (0..words).all(|index| {
        // SAFETY: the caller's promise.
        unsafe { value.wrapping_add(index).read_unaligned() == 0 }
    })
}

/// Frees a blank object.
///
/// # Safety
/// `object` is blank and without references; the function is called once, by its `tp_dealloc`.
#[cold]
pub(crate) unsafe fn free(object: *mut ffi::PyObject) {
    // SAFETY: the object has its head.
    let class = unsafe { ffi::Py_TYPE(object) };
    // SAFETY: as above; untracking what is not tracked does nothing.
    unsafe { ffi::PyObject_GC_UnTrack(object.cast()) };
    // SAFETY: the class of an object is alive, and ready.
    if let Some(free) = unsafe { (*class).tp_free } {
        // SAFETY: the caller's promise; there is nothing in the object that would have to go first.
        unsafe { free(object.cast()) };
    }
    // SAFETY: instances of a class made at run time hold a reference to it.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

/// Makes `T` free blank instances. Call once, before the first instance exists.
pub(crate) fn install<T: MayBeBlank>(py: Python<'_>) {
    if !cfg!(all(Py_3_11, not(Py_3_13))) {
        return;
    }
    let class = T::type_object(py).as_type_ptr();
    // SAFETY: the type is alive, and has no instances yet.
    let slot = unsafe { &mut (*class).tp_dealloc };
    if let Some(original) = slot.replace(dealloc::<T>) {
        T::destructor().get_or_init(|| original);
    }
}

/// `tp_dealloc` of a class whose instances may be blank.
unsafe extern "C" fn dealloc<T: MayBeBlank>(object: *mut ffi::PyObject) {
    // SAFETY: an instance of the type whose `tp_dealloc` this is, or of a subclass.
    if unsafe { is_blank(object) } {
        // SAFETY: blank, and CPython has asked for it to be freed.
        unsafe { free(object) };
    } else if let Some(original) = T::destructor().get() {
        // SAFETY: this is the destructor that the class was made with.
        unsafe { original(object) };
    }
}
