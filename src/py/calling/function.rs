//! Python functions whose calls run native code.
//!
//! A coroutine method has to be a Python function for `inspect.iscoroutinefunction`, mocks and signatures. Such a
//! function keeps the code of asyncio's, which runs where the native method does not apply. CPython 3.11 runs
//! a function's code without its vectorcall function, so there the method is a native descriptor.
//!
//! Any attached thread may call it.

#[cfg(any(not(Py_3_11), Py_3_12))]
mod calls {
    use std::sync::OnceLock;

    use pyo3::exceptions::PyRuntimeError;
    use pyo3::ffi;
    use pyo3::prelude::*;
    use pyo3::types::PyFunction;

    use crate::error::exception;
    use crate::py::calling::method::{FastMethod, trampoline};

    /// The vectorcall function of every Python function.
    static ORDINARY: OnceLock<ffi::vectorcallfunc> = OnceLock::new();

    #[cfg(Py_3_12)]
    unsafe extern "C" {
        fn PyFunction_SetVectorcall(
            function: *mut ffi::PyFunctionObject,
            vectorcall: ffi::vectorcallfunc,
        );
    }

    /// Makes calls of `function` run `M`, if the first argument is of its class.
    pub(super) fn set<M: FastMethod>(function: &Bound<'_, PyFunction>) {
        let pointer = function.as_ptr();
        // SAFETY: a live object, which supports the protocol.
        if let Some(ordinary) = unsafe { ffi::PyVectorcall_Function(pointer) } {
            ORDINARY.get_or_init(|| ordinary);
        }
        let pointer = pointer.cast::<ffi::PyFunctionObject>();
        #[cfg(Py_3_12)]
        // SAFETY: a function that was just made and that no other thread has.
        unsafe {
            PyFunction_SetVectorcall(pointer, entry::<M>);
        }
        #[cfg(not(Py_3_12))]
        // SAFETY: a function that was just made; the field is what CPython's own constructor sets.
        unsafe {
            (*pointer).vectorcall = Some(entry::<M>);
        }
    }

    /// The vectorcall function of `function` after `set`.
    unsafe extern "C" fn entry<M: FastMethod>(
        function: *mut ffi::PyObject,
        values: *const *mut ffi::PyObject,
        flags: usize,
        names: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject {
        // SAFETY: CPython calls functions in attached threads only.
        let py = unsafe { Python::assume_attached() };
        // SAFETY: arithmetic.
        let positional = unsafe { ffi::PyVectorcall_NARGS(flags) };
        if positional > 0 {
            // SAFETY: there are `positional` values.
            let this = unsafe { *values };
            // SAFETY: a live object that the caller keeps alive during the call.
            if unsafe { Borrowed::from_ptr(py, this) }.is_instance_of::<M::Class>() {
                let rest = values.wrapping_add(1);
                // SAFETY: `this` is of the class, and the rest are the arguments of the call.
                return unsafe { trampoline::<M>(this, rest, positional - 1, names) };
            }
        }
        let Some(ordinary) = ORDINARY.get() else {
            exception::<PyRuntimeError>(py, "a function without code").restore(py);
            return std::ptr::null_mut();
        };
        // SAFETY: the very call that was made.
        unsafe { ordinary(function, values, flags, names) }
    }
}

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::py::calling::method::{self, FastMethod};

/// Puts `M` on `class`: as the vectorcall function of the Python function with its name, if the
/// class defines one and the interpreter can do that, else as a native descriptor.
///
/// # Errors
/// `TypeError` if `class` is not of the method's class.
pub(crate) fn install_on<M: FastMethod>(class: &Bound<'_, PyType>) -> PyResult<()> {
    #[cfg(any(not(Py_3_11), Py_3_12))]
    {
        use crate::py::value::Text;
        use pyo3::types::PyFunction;

        let name = method::plain_name::<M>();
        let own = class.getattr(Text("__dict__"))?;
        if let Ok(function) = own.get_item(Text(name))
            && let Ok(function) = function.cast_into_exact::<PyFunction>()
        {
            calls::set::<M>(&function);
            return Ok(());
        }
    }
    method::install_on::<M>(class)
}
