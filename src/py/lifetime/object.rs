//! Questions about an object itself: how many references it has, whether the collector tracks it.
//!
//! Any attached thread may call it. Objects of `#[pyclass]` types are tracked when they are made. Those
//! that live for one turn are untracked, and tracked again if they are kept.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;

/// How many references `object` has. Without the GIL, the number is uncertain while another thread
/// changes it: see `is_unique`.
#[inline]
pub(crate) fn refcount<T>(object: &Py<T>) -> isize {
    // SAFETY: `object` is alive; reading the count of a live object is always allowed.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Whether the caller's reference is the only one, so that no other thread can get one either.
///
/// Without the GIL the count has two parts: that of the object's own thread, and that of all
/// others. The sum of both proves nothing while other threads count. CPython's own test is correct,
/// and returns false for an object that another thread has made.
#[inline]
pub(crate) fn is_unique<T>(object: &Py<T>) -> bool {
    #[cfg(all(Py_GIL_DISABLED, Py_3_14))]
    {
        // SAFETY: `object` is alive.
        unsafe { ffi::PyUnstable_Object_IsUniquelyReferenced(object.as_ptr()) != 0 }
    }
    #[cfg(all(Py_GIL_DISABLED, not(Py_3_14)))]
    {
        let _ = object;
        false
    }
    #[cfg(not(Py_GIL_DISABLED))]
    {
        refcount(object) == 1
    }
}

/// Whether the collector tracks `object`.
pub(crate) fn is_tracked<T>(object: &Py<T>) -> bool {
    // SAFETY: `object` is alive.
    unsafe { ffi::PyObject_GC_IsTracked(object.as_ptr()) != 0 }
}

/// Whether `object` may have attributes of its own, in addition to those of its class.
#[inline]
pub(crate) fn has_attributes(object: &Bound<'_, PyAny>) -> bool {
    let pointer = object.as_ptr();
    // SAFETY: `object` is alive.
    let class = unsafe { ffi::Py_TYPE(pointer) };
    // SAFETY: the class of a live object is alive.
    let offset = unsafe { (*class).tp_dictoffset };
    // SAFETY: an instance of a class with a positive offset has its dictionary, or null, there.
    unsafe { is_set(pointer, offset) }
}

/// Whether the pointer that `object` has `offset` bytes from its beginning is not null. True if
/// `offset` is not positive, because then CPython does not say where the pointer is.
///
/// # Safety
/// `object` is whole, and has a pointer, or null, at a positive offset.
#[inline]
pub(super) unsafe fn is_set(object: *mut ffi::PyObject, offset: ffi::Py_ssize_t) -> bool {
    if offset <= 0 {
        return true;
    }
    let place = object
        .wrapping_byte_offset(offset)
        .cast::<*mut ffi::PyObject>();
    // SAFETY: the caller's promise.
    !unsafe { place.read() }.is_null()
}

/// Whether `object`, found on a class, is a method that is written in native code.
pub(crate) fn is_native_method(object: &Bound<'_, PyAny>) -> bool {
    let class = &raw mut ffi::PyMethodDescr_Type;
    // SAFETY: `object` is alive; the class is CPython's own.
    unsafe { ffi::Py_IS_TYPE(object.as_ptr(), class) != 0 }
}

/// The kind of a callable, found out without running any of its code.
pub(crate) enum FunctionKind {
    /// A function that is written in Python: `types.FunctionType`.
    Python,
    /// A function or a method that is written in native code: `types.BuiltinFunctionType`.
    Native,
    /// The step of a task written in C, which such a task passes to `call_soon`.
    TaskStep,
    /// Anything else; looking up its attributes may run code of the program.
    Other,
}

/// The kind of `object`.
pub(crate) fn function_kind(object: &Bound<'_, PyAny>) -> FunctionKind {
    let pointer = object.as_ptr();
    // SAFETY: a live object; the macro only compares its type, of which there is no subclass.
    if unsafe { ffi::PyFunction_Check(pointer) != 0 } {
        return FunctionKind::Python;
    }
    // SAFETY: likewise.
    if unsafe { ffi::PyCFunction_Check(pointer) != 0 } {
        return FunctionKind::Native;
    }
    // SAFETY: `object` is alive.
    let class = unsafe { ffi::Py_TYPE(pointer) };
    // SAFETY: the class of a live object is alive.
    let name = unsafe { (*class).tp_name };
    // SAFETY: the name of a class lives as long as the class, and ends with a null byte.
    let name = unsafe { CStr::from_ptr(name) };
    // SAFETY: the class of a live object is alive.
    let is_static = unsafe { ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HEAPTYPE) == 0 };
    // No module exports the class. Until Python 3.11 it is static, and later its name has a dot,
    // which no `class` statement makes.
    let step = if is_static {
        c"TaskStepMethWrapper"
    } else {
        c"_asyncio.TaskStepMethWrapper"
    };
    if name == step {
        FunctionKind::TaskStep
    } else {
        FunctionKind::Other
    }
}

/// Sets an attribute of `object` as `object.__setattr__` does.
///
/// A class that does more defines `__setattr__` by `fast_method!`. If its `tp_setattro` were set
/// directly, CPython 3.10 to 3.12 would refuse `object.__setattr__` for it and for classes of the
/// program that derive from it.
///
/// # Errors
/// `AttributeError`, `TypeError` if `name` is not a `str`, and what a descriptor raises.
pub(crate) fn set_attribute(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyAny>,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (pointer, name, value) = (object.as_ptr(), name.as_ptr(), value.as_ptr());
    // SAFETY: `object`, `name` and `value` are alive.
    let result = unsafe { ffi::PyObject_GenericSetAttr(pointer, name, value) };
    if result < 0 {
        return Err(PyErr::fetch(object.py()));
    }
    Ok(())
}

/// Whether the type of `object` supports garbage collection.
#[inline]
fn is_collected<T>(object: &Py<T>) -> bool {
    // SAFETY: `object` is alive.
    let class = unsafe { ffi::Py_TYPE(object.as_ptr()) };
    // SAFETY: the class of a live object is alive.
    unsafe { ffi::PyType_IS_GC(class) != 0 }
}

/// Makes the collector track `object`, if its type supports that and it is not tracked already.
pub(crate) fn track<T>(object: &Py<T>) {
    if is_collected(object) && !is_tracked(object) {
        // SAFETY: `object` is alive, of a collected type and not tracked.
        unsafe { ffi::PyObject_GC_Track(object.as_ptr().cast()) }
    }
}

/// Removes `object` from the collector's lists, if it is on them.
#[inline]
pub(crate) fn untrack<T>(object: &Py<T>) {
    if is_collected(object) {
        // SAFETY: `object` is alive and of a collected type; untracking twice is allowed.
        unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) }
    }
}
