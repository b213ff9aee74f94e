//! Calls into Python through the vectorcall protocol, without copying the arguments.
//!
//! Any attached thread may call it. Up to three arguments of a callback are kept beside the callable
//! instead of in a tuple, which saves one allocation for each callback.

use std::mem::ManuallyDrop;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::py::value;

/// How many arguments fit beside the callable.
const INLINE: usize = 3;

/// Positional arguments of a callback.
///
/// # Invariant
/// The items before the first null are owned references. More than `INLINE` arguments are one owned
/// tuple in the first place and the same address, not owned, in the last, behind a null.
pub(crate) struct Args([*mut ffi::PyObject; INLINE]);

// SAFETY: owned references may be moved between threads; they are used by attached threads only.
unsafe impl Send for Args {}

impl Args {
    /// No arguments.
    pub(crate) const NONE: Self = Self([std::ptr::null_mut(); INLINE]);

    /// Takes new references to `items`.
    #[inline]
    pub(crate) fn new<'a, 'py: 'a>(
        py: Python<'py>,
        items: impl ExactSizeIterator<Item = Borrowed<'a, 'py, PyAny>>,
    ) -> PyResult<Self> {
        if items.len() > INLINE {
            return Self::many(py, items);
        }
        let mut args = Self::NONE;
        for (place, item) in args.0.iter_mut().zip(items) {
            *place = item.to_owned().into_ptr();
        }
        Ok(args)
    }

    #[cold]
    fn many<'a, 'py: 'a>(
        py: Python<'py>,
        items: impl Iterator<Item = Borrowed<'a, 'py, PyAny>>,
    ) -> PyResult<Self> {
        let items = value::collected(py, items.map(Borrowed::to_owned))?;
        let tuple = value::tuple(py, &items)?.into_ptr();
        Ok(Self([tuple, std::ptr::null_mut(), tuple]))
    }

    /// Whether the first item is a tuple of all arguments.
    #[inline]
    fn is_tuple(&self) -> bool {
        self.0[1].is_null() && !self.0[2].is_null()
    }

    /// How many of the items are references.
    #[inline]
    fn held(&self) -> usize {
        let [first, second, third] = self.0;
        if first.is_null() {
            0
        } else if second.is_null() {
            1
        } else if third.is_null() {
            2
        } else {
            3
        }
    }

    /// The same arguments with references of their own.
    pub(crate) fn duplicate(&self, py: Python<'_>) -> Self {
        for item in &self.0[..self.held()] {
            // SAFETY: the invariant: a live object. The new reference belongs to the copy.
            let _ = unsafe { Bound::from_borrowed_ptr(py, *item) }.into_ptr();
        }
        Self(self.0)
    }

    /// The first argument, if there is one; not of more than `INLINE`.
    pub(crate) fn first(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        if self.held() == 0 || self.is_tuple() {
            return None;
        }
        // SAFETY: the invariant: a live object.
        Some(unsafe { Bound::from_borrowed_ptr(py, self.0[0]) }.unbind())
    }

    /// The arguments as a tuple.
    pub(crate) fn to_tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let held = self.0[..self.held()].iter().map(|item| {
            // SAFETY: the invariant: a live object.
            unsafe { Bound::from_borrowed_ptr(py, *item) }
        });
        if self.is_tuple() {
            return held.map(Bound::cast_into::<PyTuple>).next().map_or_else(
                || Ok(PyTuple::empty(py)),
                |tuple| tuple.map_err(PyErr::from),
            );
        }
        value::tuple(py, &held.collect::<Vec<_>>())
    }

    /// Shows the references to the collector.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs in attached threads only.
        let py = unsafe { Python::assume_attached() };
        for item in &self.0[..self.held()] {
            // SAFETY: the invariant: a live object.
            let object = unsafe { Bound::from_owned_ptr(py, *item) }.unbind();
            // Its count is left as it is.
            visit.call(&*ManuallyDrop::new(object))?;
        }
        Ok(())
    }

    /// Calls `callable(*self)`.
    #[inline]
    pub(crate) fn call<'py>(&self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if self.is_tuple() {
            return callable.call1(self.to_tuple(callable.py())?);
        }
        let [first, second, third] = self.0;
        let mut stack = [std::ptr::null_mut(), first, second, third];
        vectorcall(callable, &mut stack, self.held())
    }

    /// Releases the references; may run Python code.
    #[inline]
    pub(crate) fn release(self, py: Python<'_>) {
        let args = ManuallyDrop::new(self);
        for item in &args.0[..args.held()] {
            // SAFETY: the invariant, and it is not released again.
            drop(unsafe { Bound::from_owned_ptr(py, *item) });
        }
    }
}

impl Drop for Args {
    #[inline]
    fn drop(&mut self) {
        if !self.0[0].is_null() {
            Python::attach(|py| std::mem::replace(self, Self::NONE).release(py));
        }
    }
}

/// Calls `callable` with `stack[1..=count]`; `stack[0]` is scratch space for the callee.
#[inline]
fn vectorcall<'py>(
    callable: &Bound<'py, PyAny>,
    stack: &mut [*mut ffi::PyObject],
    count: usize,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = stack.as_mut_ptr().wrapping_add(1);
    let flags = count | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
    // SAFETY: `arguments` points at `count` live objects that the caller keeps alive during the
    // call, with one writable slot before them.
    let result = unsafe {
        ffi::PyObject_Vectorcall(callable.as_ptr(), arguments, flags, std::ptr::null_mut())
    };
    // SAFETY: `result` is null or a reference that we own.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}

/// Calls `object.name(argument)` without making a bound method.
#[inline]
pub(crate) fn method1<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let stack = [object.as_ptr(), argument.as_ptr()];
    vectorcall_method(name, &stack)
}

/// Calls `object.name(first, second)` without making a bound method.
#[inline]
pub(crate) fn method2<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let stack = [object.as_ptr(), first.as_ptr(), second.as_ptr()];
    vectorcall_method(name, &stack)
}

/// Calls `object.name()` without making a bound method.
#[inline]
pub(crate) fn method0<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    vectorcall_method(name, &[object.as_ptr()])
}

#[inline]
fn vectorcall_method<'py>(
    name: &Bound<'py, PyString>,
    stack: &[*mut ffi::PyObject],
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: `stack` holds the object and its arguments, kept alive by the caller.
    let result = unsafe {
        ffi::PyObject_VectorcallMethod(
            name.as_ptr(),
            stack.as_ptr(),
            stack.len(),
            std::ptr::null_mut(),
        )
    };
    // SAFETY: `result` is null or a reference that we own.
    unsafe { Bound::from_owned_ptr_or_err(name.py(), result) }
}

/// Calls `callable(first)`.
#[inline]
pub(crate) fn function1<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut stack = [std::ptr::null_mut(), first.as_ptr()];
    vectorcall(callable, &mut stack, 1)
}

/// Calls `callable(first, second)`.
#[inline]
pub(crate) fn function2<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut stack = [std::ptr::null_mut(), first.as_ptr(), second.as_ptr()];
    vectorcall(callable, &mut stack, 2)
}

/// Calls `callable(first, second, third)`.
#[inline]
pub(crate) fn function3<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
    third: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (first, second, third) = (first.as_ptr(), second.as_ptr(), third.as_ptr());
    let mut stack = [std::ptr::null_mut(), first, second, third];
    vectorcall(callable, &mut stack, 3)
}

/// Calls `callable` with `values`, of which all behind the first `positional` are keyword arguments
/// with the given `names`.
#[inline]
pub(crate) fn call_named<'py, const COUNT: usize>(
    callable: &Bound<'py, PyAny>,
    values: &[&Bound<'py, PyAny>; COUNT],
    positional: usize,
    names: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    debug_assert_eq!(COUNT, positional + names.len());
    let stack = values.map(Bound::as_ptr);
    // SAFETY: `stack` holds `positional` objects and one for each name, kept alive by the caller.
    let result = unsafe {
        ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            stack.as_ptr(),
            positional,
            names.as_ptr(),
        )
    };
    // SAFETY: `result` is null or a reference that we own.
    unsafe { Bound::from_owned_ptr_or_err(callable.py(), result) }
}
