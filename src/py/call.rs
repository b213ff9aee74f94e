//! Calls into Python through the vectorcall protocol, with arguments that sit where they are.
//!
//! Any attached thread may call it. The one surprise: up to three arguments of a callback are kept
//! beside the callable instead of in a tuple, which is one allocation less for each callback.

use std::mem::ManuallyDrop;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// How many arguments fit beside the callable.
const INLINE: usize = 3;
/// The count that says: the first item is a tuple of all arguments.
const TUPLE: usize = INLINE + 1;

/// Positional arguments of a callback.
///
/// # Invariant
/// `items[..count]` are owned references; with `count == TUPLE`, `items[0]` is an owned tuple.
pub struct Args {
    count: usize,
    items: [*mut ffi::PyObject; INLINE],
}

// SAFETY: owned references may be moved between threads; they are used by attached threads only.
unsafe impl Send for Args {}

impl Args {
    /// No arguments.
    pub const NONE: Self = Self {
        count: 0,
        items: [std::ptr::null_mut(); INLINE],
    };

    /// Takes new references to `items`.
    #[inline]
    pub fn new<'a, 'py: 'a>(
        py: Python<'py>,
        items: impl ExactSizeIterator<Item = Borrowed<'a, 'py, PyAny>>,
    ) -> PyResult<Self> {
        let mut args = Self::NONE;
        if items.len() > INLINE {
            let all: Vec<_> = items.collect();
            args.items[0] = PyTuple::new(py, all)?.into_ptr();
            args.count = TUPLE;
            return Ok(args);
        }
        for (place, item) in args.items.iter_mut().zip(items) {
            *place = item.to_owned().into_ptr();
            args.count += 1;
        }
        Ok(args)
    }

    /// How many of `items` are references.
    #[inline]
    fn held(&self) -> usize {
        if self.count == TUPLE { 1 } else { self.count }
    }

    /// The arguments as Python sees them.
    pub fn to_tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let held = self.items[..self.held()].iter().map(|item| {
            // SAFETY: the invariant: a live object.
            unsafe { Bound::from_borrowed_ptr(py, *item) }
        });
        if self.count == TUPLE {
            return held.map(Bound::cast_into::<PyTuple>).next().map_or_else(
                || Ok(PyTuple::empty(py)),
                |tuple| tuple.map_err(PyErr::from),
            );
        }
        PyTuple::new(py, held.collect::<Vec<_>>())
    }

    /// Shows the references to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs in attached threads only.
        let py = unsafe { Python::assume_attached() };
        for item in &self.items[..self.held()] {
            // SAFETY: the invariant: a live object.
            let object = unsafe { Bound::from_owned_ptr(py, *item) }.unbind();
            // Its count is left as it is.
            visit.call(&*ManuallyDrop::new(object))?;
        }
        Ok(())
    }

    /// Calls `callable(*self)`.
    #[inline]
    pub fn call<'py>(&self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        if self.count == TUPLE {
            return callable.call1(self.to_tuple(callable.py())?);
        }
        let [first, second, third] = self.items;
        let mut stack = [std::ptr::null_mut(), first, second, third];
        vectorcall(callable, &mut stack, self.count)
    }

    /// Releases the references; may run Python code.
    #[inline]
    pub fn release(mut self, py: Python<'_>) {
        let held = std::mem::take(&mut self.count);
        let held = if held == TUPLE { 1 } else { held };
        for item in &self.items[..held] {
            // SAFETY: the invariant, and the count says now that nothing is held.
            drop(unsafe { Bound::from_owned_ptr(py, *item) });
        }
    }
}

impl Drop for Args {
    #[inline]
    fn drop(&mut self) {
        if self.count > 0 {
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
pub fn method1<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let stack = [object.as_ptr(), argument.as_ptr()];
    vectorcall_method(name, &stack)
}

/// Calls `object.name(first, second)` without making a bound method.
#[inline]
pub fn method2<'py>(
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
pub fn method0<'py>(
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
pub fn function1<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut stack = [std::ptr::null_mut(), first.as_ptr()];
    vectorcall(callable, &mut stack, 1)
}

/// Calls `callable(first, second)`.
#[inline]
pub fn function2<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut stack = [std::ptr::null_mut(), first.as_ptr(), second.as_ptr()];
    vectorcall(callable, &mut stack, 2)
}

/// Calls `callable(first, second, third)`.
#[inline]
pub fn function3<'py>(
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
pub fn call_named<'py, const COUNT: usize>(
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
