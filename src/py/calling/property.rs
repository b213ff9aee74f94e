//! Attributes that native code reads and sets, put on a `#[pyclass]` by hand.
//!
//! They are installed when the module is initialised. `#[pymethods]` has every getter and setter written
//! out in each class. Here a class has a table of its attributes, and classes can share one.

use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use pyo3::PyClass;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;

use crate::error::exception;
use crate::py::calling::method::raise_panic;
use crate::py::value::Text;

/// Reads an attribute.
type Get<C> = for<'py> fn(&Bound<'py, C>) -> PyResult<Bound<'py, PyAny>>;
/// Sets an attribute.
type Set<C> = for<'py> fn(&Bound<'py, C>, Bound<'py, PyAny>) -> PyResult<()>;

/// An attribute of the class `C`.
pub(crate) struct Property<C> {
    /// Its name in Python.
    pub(crate) name: &'static CStr,
    /// Reads it.
    pub(crate) get: Get<C>,
    /// Sets it; `None` if it can only be read. It cannot be deleted.
    pub(crate) set: Option<Set<C>>,
}

/// Puts `properties` on their class. Call once for each class.
pub(crate) fn install<C: PyClass<Frozen = True> + Sync>(
    py: Python<'_>,
    properties: impl IntoIterator<Item = Property<C>>,
) -> PyResult<()> {
    let class = C::type_object(py);
    for property in properties {
        let property = Box::leak(Box::new(property));
        let definition = Box::leak(Box::new(ffi::PyGetSetDef {
            name: property.name.as_ptr(),
            get: Some(getter::<C>),
            set: property.set.map(|_| setter::<C> as ffi::setter),
            doc: std::ptr::null(),
            closure: std::ptr::from_mut(property).cast(),
        }));
        // SAFETY: the class is alive, and the definition lives for ever, as CPython requires.
        let descriptor = unsafe { ffi::PyDescr_NewGetSet(class.as_type_ptr(), definition) };
        // SAFETY: `descriptor` is null or a reference that we own.
        let descriptor = unsafe { Bound::from_owned_ptr_or_err(py, descriptor) }?;
        class.setattr(Text(property.name.to_string_lossy()), descriptor)?;
    }
    Ok(())
}

/// Runs `body` with the object and the property of a call by CPython; `failed` is what it returns after an
/// exception.
///
/// # Safety
/// CPython has called the getter or the setter of a `Property<C>` with `this` and `property`.
unsafe fn call<C: PyClass, R>(
    this: *mut ffi::PyObject,
    property: *mut c_void,
    failed: R,
    body: impl FnOnce(&Bound<'_, C>, &Property<C>) -> PyResult<R>,
) -> R {
    // SAFETY: CPython reads and sets attributes in attached threads only.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: `install` has put it into the definition; it lives for ever and is never changed.
    let property = unsafe { &*property.cast::<Property<C>>() };
    // SAFETY: a live object that the caller keeps alive during the call.
    let this = unsafe { Borrowed::from_ptr(py, this) };
    // SAFETY: the descriptor checked that `this` is an instance of its class.
    let this = unsafe { this.cast_unchecked::<C>() };
    match catch_unwind(AssertUnwindSafe(|| body(&this, property))) {
        Ok(Ok(result)) => return result,
        Ok(Err(error)) => error.restore(py),
        Err(_) => raise_panic(&property.name.to_string_lossy()),
    }
    failed
}

unsafe extern "C" fn getter<C: PyClass>(
    this: *mut ffi::PyObject,
    property: *mut c_void,
) -> *mut ffi::PyObject {
    let body =
        |this: &Bound<'_, C>, property: &Property<C>| (property.get)(this).map(Bound::into_ptr);
    // SAFETY: the getter of a `Property<C>`.
    unsafe { call::<C, _>(this, property, null_mut(), body) }
}

unsafe extern "C" fn setter<C: PyClass>(
    this: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    property: *mut c_void,
) -> c_int {
    let body = |this: &Bound<'_, C>, property: &Property<C>| {
        let py = this.py();
        // SAFETY: null to delete the attribute, or an object that the caller keeps alive.
        let value = unsafe { Borrowed::from_ptr_or_opt(py, value) };
        let Some((value, set)) = value.zip(property.set) else {
            return Err(exception::<PyAttributeError>(py, "can't delete attribute"));
        };
        set(this, value.to_owned()).map(|()| 0)
    };
    // SAFETY: the setter of a `Property<C>`.
    unsafe { call::<C, _>(this, property, -1, body) }
}
