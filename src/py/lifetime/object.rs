//! Questions about an object itself: how many references it has, whether the collector tracks it.
//!
//! Any attached thread may call it. Objects of `#[pyclass]` types are tracked when they are made. Those
//! that live for one turn are untracked, and tracked again if they are kept.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;

/// How many references `object` has. Without the GIL that is a guess while another thread counts: see
/// `is_unique`.
#[inline]
pub(crate) fn refcount<T>(object: &Py<T>) -> isize {
    // SAFETY: `object` is alive; reading the count of a live object is always allowed.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// Whether the caller's reference is the only one, so that no other thread can come by one either.
///
/// Without the GIL the count is split: what the object's own thread counts, and what all others do.
/// Reading the sum of both while others count proves nothing; CPython's own question does, and says
/// no of an object that another thread made.
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

/// Whether `object` may have attributes of its own, beside those of its class.
#[inline]
pub(crate) fn has_attributes(object: &Bound<'_, PyAny>) -> bool {
    let pointer = object.as_ptr();
    // SAFETY: `object` is alive.
    let class = unsafe { ffi::Py_TYPE(pointer) };
    // SAFETY: the class of a live object is alive.
    let offset = unsafe { (*class).tp_dictoffset };
    if offset <= 0 {
        return true;
    }
    let dictionary = pointer
        .wrapping_byte_offset(offset)
        .cast::<*mut ffi::PyObject>();
    // SAFETY: an instance of a class with a positive offset has its dictionary, or null, there.
    !unsafe { dictionary.read() }.is_null()
}

/// Whether `object`, found on a class, is a method that is written in native code.
pub(crate) fn is_native_method(object: &Bound<'_, PyAny>) -> bool {
    let class = &raw mut ffi::PyMethodDescr_Type;
    // SAFETY: `object` is alive; the class is CPython's own.
    unsafe { ffi::Py_IS_TYPE(object.as_ptr(), class) != 0 }
}

/// What is known of a callable without asking it.
pub(crate) enum FunctionKind {
    /// A function that is written in Python: `types.FunctionType`.
    Python,
    /// A function or a method that is written in native code: `types.BuiltinFunctionType`.
    Native,
    /// What a task written in C gives `call_soon`.
    TaskStep,
    /// Anything else, which may answer for its attributes in code of its own.
    Other,
}

/// Of which of the interpreter's own classes `object` is.
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
    // No module gives the class away. Until Python 3.11 it is static, and later its name has a dot, which no
    // `class` statement makes.
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

/// Sets an attribute of `object` as for an object whose class says nothing about it.
///
/// A class that does more has a `__setattr__` by `fast_method!`. With one in its `tp_setattro`, CPython 3.10 to
/// 3.12 refuse `object.__setattr__` to it and to classes of the program that derive from it.
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

/// Whether the collector knows objects of the type of `object`.
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

/// Takes `object` off the collector's lists, if it is on them.
#[inline]
pub(crate) fn untrack<T>(object: &Py<T>) {
    if is_collected(object) {
        // SAFETY: `object` is alive and of a collected type; untracking twice is allowed.
        unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) }
    }
}
