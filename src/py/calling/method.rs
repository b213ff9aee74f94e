//! Methods in CPython's fastest calling convention, put on a `#[pyclass]` by hand.
//!
//! Install at module initialisation, attached. `#[pymethods]` packs `*args` into a tuple. A
//! `METH_FASTCALL | METH_KEYWORDS` descriptor leaves the arguments on the caller's stack, which measured
//! 10 to 20 % more calls a second.

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyTuple, PyType};
use pyo3::{PyClass, PyTypeInfo};

use crate::error::exception;
use crate::py::calling::arguments::Arguments;
use crate::py::value::{Text, shown};

/// One method of a class.
pub(crate) trait FastMethod {
    /// The class that has it.
    type Class: PyClass<Frozen = True> + Sync;
    /// What Python calls it, and a NUL.
    const NAME: &'static str;
    /// Its docstring, with a `name(signature)\n--\n\n` head.
    const DOC: &'static CStr;
    /// The names of its leading parameters, which may be given as keywords too.
    const PARAMETERS: &'static [&'static str] = &[];
    /// Runs it.
    fn call<'py>(
        this: &Bound<'py, Self::Class>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>>;
}

/// Declares `$name`, the method of `$class` that Python calls `$python`.
///
/// The last argument is written as a closure and becomes a function. Its second parameter is either
/// the arguments, after the names of the leading ones that may be given as keywords too, or an array
/// of all the parameters the method has.
macro_rules! fast_method {
    (
        $name:ident, $class:ty, $python:literal, [$($parameter:expr),*], $doc:expr,
        |$this:ident, $arguments:ident| $body:block
    ) => {
        #[doc = concat!("`", $python, "` of `", stringify!($class), "`")]
        pub(crate) struct $name;

        impl $crate::py::calling::method::FastMethod for $name {
            type Class = $class;
            const NAME: &'static str = concat!($python, "\0");
            const DOC: &'static std::ffi::CStr = $doc;
            const PARAMETERS: &'static [&'static str] = &[$($parameter),*];

            #[inline]
            fn call<'py>(
                $this: &Bound<'py, $class>,
                $arguments: &$crate::py::calling::arguments::Arguments<'_, 'py>,
            ) -> PyResult<Bound<'py, PyAny>> {
                $body
            }
        }
    };
    (
        $name:ident, $class:ty, $python:literal, $doc:expr,
        |$this:ident, [$($given:ident),*]| $body:block
    ) => {
        fast_method!(
            $name, $class, $python, [$(stringify!($given)),*], $doc,
            |$this, arguments| {
                let [$($given),*] = arguments.exactly($python, [$(stringify!($given)),*])?;
                $body
            }
        );
    };
}
pub(crate) use fast_method;

/// Puts `M` on its class.
pub(crate) fn install<M: FastMethod>(py: Python<'_>) -> PyResult<()> {
    install_on::<M>(&M::Class::type_object(py))
}

/// Puts `M` on `class`, which is its class or a subclass: CPython's fastest call wants the method
/// to be defined by the very class of the object.
///
/// # Errors
/// `TypeError` if `class` is no subclass.
pub(crate) fn install_on<M: FastMethod>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    if !class.is_subclass_of::<M::Class>()? {
        return Err(exception::<PyTypeError>(
            py,
            format_args!("{} cannot have native methods", shown(&class.repr()?)),
        ));
    }
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: M::NAME.as_ptr().cast::<c_char>(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: trampoline::<M>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: M::DOC.as_ptr().cast::<c_char>(),
    }));
    // SAFETY: the class is alive, and the definition lives for ever, as CPython requires.
    let descriptor = unsafe { ffi::PyDescr_NewMethod(class.as_type_ptr(), definition) };
    // SAFETY: `descriptor` is null or a reference that we own.
    let descriptor = unsafe { Bound::from_owned_ptr_or_err(py, descriptor) }?;
    class.setattr(Text(plain_name::<M>()), descriptor)
}

fn plain_name<M: FastMethod>() -> &'static str {
    M::NAME.trim_end_matches('\0')
}

/// The C function behind the descriptor of `M`.
unsafe extern "C" fn trampoline<M: FastMethod>(
    this: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let body = || {
        // SAFETY: CPython calls methods in attached threads only. `Python::attach` would say the
        // same to PyO3 at the price of three thread-local accesses a call; without it, references
        // that are dropped without a token while no loop runs are released a little later.
        let py = unsafe { Python::assume_attached() };
        let positional = positional.cast_unsigned();
        // SAFETY: CPython passes null or a tuple that outlives the call.
        let names = unsafe { Borrowed::from_ptr_or_opt(py, names) };
        // SAFETY: CPython promises a tuple of strings.
        let names = names.map(|names| unsafe { names.cast_unchecked::<PyTuple>() });
        let count = positional + names.map_or(0, |names| names.len());
        let values = if count == 0 {
            &[]
        } else {
            // SAFETY: CPython passes `positional` values and one for each name.
            unsafe { std::slice::from_raw_parts(values, count) }
        };
        let arguments = Arguments {
            py,
            values,
            positional,
            names,
        };
        // SAFETY: the method descriptor checked that `this` is an instance of its class.
        let this = unsafe { Borrowed::from_ptr(py, this) };
        // SAFETY: see above; the class is `M::Class` or extends it.
        let this = unsafe { this.cast_unchecked::<M::Class>() };
        let result = if arguments.names_parameter(M::PARAMETERS) {
            let (values, names, positional) = match arguments.reordered(M::PARAMETERS) {
                Ok(reordered) => reordered,
                Err(error) => {
                    error.restore(py);
                    return std::ptr::null_mut();
                }
            };
            let names = Some(names.as_borrowed());
            M::call(
                &this,
                &Arguments {
                    py,
                    values: &values,
                    positional,
                    names,
                },
            )
        } else {
            M::call(&this, &arguments)
        };
        match result {
            Ok(value) => value.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    };
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| raise_panic(PhantomData::<M>))
}

/// Turns a panic of this crate into a `RuntimeError`: none may unwind through CPython.
#[cold]
fn raise_panic<M: FastMethod>(_: PhantomData<M>) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let name = plain_name::<M>();
        exception::<PyRuntimeError>(py, format_args!("internal error of ferroloop in {name}()"))
            .restore(py);
    });
    std::ptr::null_mut()
}
