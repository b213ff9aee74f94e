//! `__del__` of native classes.
//!
//! Any attached thread: the collector runs in any of them. CPython calls `__del__` once in the life of
//! an object, when its last reference is dropped or when the collector finds it to be garbage, before anything
//! that it refers to is cleared. An exception goes to `sys.unraisablehook`, with the method that raised
//! it. The method may make the object reachable again.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

use crate::py::calling::method::{self, Arguments, FastMethod};
use crate::py::lifetime::blank;

/// A class with a `__del__`. Nothing may extend it: `tp_dealloc` is not inherited.
pub(crate) trait Finalized: PyClass<Frozen = True> + Sync + Sized + 'static {
    /// Where `install` keeps the class's former `tp_dealloc`.
    fn destructor() -> &'static Destructor;
    /// Whether `finalize` has anything to do.
    fn is_unfinished(this: &Bound<'_, Self>) -> bool;
    /// The method itself. A program may call it too, and may use the object afterwards.
    ///
    /// # Errors
    /// What is reported as unraisable.
    fn finalize(this: &Bound<'_, Self>) -> PyResult<()>;
}

/// The former `tp_dealloc` of a class.
pub(crate) struct Destructor(OnceLock<ffi::destructor>);

impl Destructor {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }
}

/// `__del__`
struct Del<T>(PhantomData<T>);

impl<T: Finalized> FastMethod for Del<T> {
    type Class = T;
    const NAME: &'static str = "__del__\0";
    const DOC: &'static CStr = c"__del__($self)\n--\n\n\
        Warn with ResourceWarning if this was not closed, and close it.";

    fn call<'py>(
        this: &Bound<'py, T>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        arguments.exactly("__del__", [])?;
        T::finalize(this)?;
        Ok(arguments.py.None().into_bound(arguments.py))
    }
}

/// Gives `T` its `__del__`. Call once, before the first instance exists.
pub(crate) fn install<T: Finalized>(py: Python<'_>) -> PyResult<()> {
    // Setting this name on a class sets its `tp_finalize`, which the collector calls.
    method::install::<Del<T>>(py)?;
    let class = T::type_object(py).as_type_ptr();
    // SAFETY: the type is alive, and has no instances yet.
    let slot = unsafe { &mut (*class).tp_dealloc };
    if let Some(original) = slot.replace(dealloc::<T>) {
        T::destructor().0.get_or_init(|| original);
    }
    Ok(())
}

/// `tp_dealloc` of a class whose `__del__` is called.
unsafe extern "C" fn dealloc<T: Finalized>(object: *mut ffi::PyObject) {
    // SAFETY: an object whose class's `tp_dealloc` is called.
    if unsafe { blank::is_blank(object) } {
        // SAFETY: blank, and CPython has asked for it to be freed.
        return unsafe { blank::free(object) };
    }
    // SAFETY: CPython destroys objects in attached threads only.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: the object is whole until its original `tp_dealloc` runs.
    let borrowed = unsafe { Borrowed::from_ptr(py, object) };
    // SAFETY: an instance of the type whose `tp_dealloc` this is.
    let instance = unsafe { borrowed.cast_unchecked::<T>() };
    if T::is_unfinished(&instance) {
        // SAFETY: whole, tracked, and without references, as the function demands; it calls what it
        // finds in `tp_finalize` unless that was called before.
        if unsafe { ffi::PyObject_CallFinalizerFromDealloc(object) } < 0 {
            // It is reachable again.
            return;
        }
    }
    if let Some(original) = T::destructor().0.get() {
        // SAFETY: this is the destructor that the class was made with.
        unsafe { original(object) };
    }
}
