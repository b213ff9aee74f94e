//! Calls into Python through the vectorcall protocol, with arguments that sit where they are.
//!
//! Any attached thread may call it. The one surprise: up to three arguments of a callback are kept
//! beside the callable instead of in a tuple, which is one allocation less for each callback.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// How many arguments fit beside the callable.
const INLINE: usize = 3;

/// Positional arguments of a callback.
pub enum Args {
    /// Up to three, the used ones first.
    Inline([Option<Py<PyAny>>; INLINE]),
    /// Four or more.
    Many(Box<[Py<PyAny>]>),
}

impl Args {
    /// No arguments.
    pub const NONE: Self = Self::Inline([None, None, None]);

    /// Takes new references to `items`.
    #[inline]
    pub fn new<'a, 'py: 'a>(
        items: impl ExactSizeIterator<Item = Borrowed<'a, 'py, PyAny>>,
    ) -> Self {
        if items.len() > INLINE {
            return Self::Many(items.map(|item| item.to_owned().unbind()).collect());
        }
        let mut inline = [None, None, None];
        for (place, item) in inline.iter_mut().zip(items) {
            *place = Some(item.to_owned().unbind());
        }
        Self::Inline(inline)
    }

    /// The arguments as Python sees them.
    pub fn to_tuple<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.iter().collect::<Vec<_>>())
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &Py<PyAny>> {
        let (inline, many): (&[_], &[_]) = match self {
            Self::Inline(items) => (items, &[]),
            Self::Many(items) => (&[], items),
        };
        inline.iter().flatten().chain(many)
    }

    /// Calls `callable(*self)`.
    #[inline]
    pub fn call<'py>(&self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Inline(items) => {
                let count = items.iter().take_while(|item| item.is_some()).count();
                let mut stack = [std::ptr::null_mut(); INLINE + 1];
                for (place, item) in stack[1..].iter_mut().zip(items.iter().flatten()) {
                    *place = item.as_ptr();
                }
                vectorcall(callable, &mut stack, count)
            }
            Self::Many(items) => {
                let mut stack = Vec::with_capacity(items.len() + 1);
                stack.push(std::ptr::null_mut());
                stack.extend(items.iter().map(Py::as_ptr));
                vectorcall(callable, &mut stack, items.len())
            }
        }
    }

    /// Releases the references; may run Python code.
    #[inline]
    pub fn release(self, py: Python<'_>) {
        match self {
            Self::Inline(items) => {
                for item in items.into_iter().flatten() {
                    item.drop_ref(py);
                }
            }
            Self::Many(items) => drop(items),
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
