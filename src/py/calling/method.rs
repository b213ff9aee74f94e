//! Methods in CPython's fastest calling convention, put on a `#[pyclass]` by hand.
//!
//! They are installed when the module is initialised. `#[pymethods]` packs `*args` into a tuple. A
//! `METH_FASTCALL | METH_KEYWORDS` descriptor leaves the arguments on the caller's stack, which measured
//! 10 to 20 % more calls a second.

use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{PyClass, PyTypeInfo};

use crate::error::{exception, no_memory};
use crate::py::calling::names::name;
use crate::py::value::{self, Text, shown};

/// One argument.
type Given<'a, 'py> = Borrowed<'a, 'py, PyAny>;

/// The arguments of one call, borrowed from the caller's stack.
pub(crate) struct Arguments<'a, 'py> {
    /// Proof of attachment.
    pub(crate) py: Python<'py>,
    /// Positional values, then the keyword values in the order of `names`.
    values: &'a [*mut ffi::PyObject],
    /// How many of `values` are positional.
    positional: usize,
    /// The keyword names, if there are keywords.
    names: Option<Borrowed<'a, 'py, PyTuple>>,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// How many positional arguments there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.positional
    }

    /// The positional argument at `index`.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        (index < self.positional).then(|| self.value(index))
    }

    /// The positional arguments from `index` on.
    #[inline]
    pub(crate) fn from(
        &self,
        index: usize,
    ) -> impl ExactSizeIterator<Item = Borrowed<'a, 'py, PyAny>> {
        (index.min(self.positional)..self.positional).map(|place| self.value(place))
    }

    /// The keyword arguments as name and value.
    #[inline]
    pub(crate) fn keywords(
        &self,
    ) -> impl Iterator<Item = (Borrowed<'a, 'py, PyString>, Borrowed<'a, 'py, PyAny>)> + use<'_, 'a, 'py>
    {
        let count = self.values.len() - self.positional;
        let names = self.names;
        (0..count).filter_map(move |place| {
            let name = tuple_item(names?, place);
            // SAFETY: CPython promises that keyword names are strings.
            let name = unsafe { name.cast_unchecked::<PyString>() };
            Some((name, self.value(self.positional + place)))
        })
    }

    /// The value of `context`, if that is the only keyword, as in calls by tasks and futures.
    #[inline]
    fn only_context(&self) -> Option<Borrowed<'a, 'py, PyAny>> {
        let names = self.names?;
        (known_names::are(names) || is_context(names)).then(|| self.value(self.positional))
    }

    /// Whether a keyword gives one of `parameters`.
    #[inline]
    fn names_parameter(&self, parameters: &[&str]) -> bool {
        self.has_keywords() && self.only_context().is_none() && self.names_any(parameters)
    }

    #[cold]
    fn names_any(&self, parameters: &[&str]) -> bool {
        self.keywords()
            .any(|(key, _)| key.to_str().is_ok_and(|key| parameters.contains(&key)))
    }

    /// The same arguments, with those of `parameters` that were given as keywords moved to their
    /// positions: values, names and the count of positional values.
    #[cold]
    #[allow(clippy::type_complexity, reason = "the three parts of `Arguments`")]
    fn reordered(
        &self,
        parameters: &[&str],
    ) -> PyResult<(Vec<*mut ffi::PyObject>, Bound<'py, PyTuple>, usize)> {
        let mut values = Vec::new();
        let room = values.try_reserve_exact(self.values.len());
        room.map_err(|_| no_memory(self.py))?;
        values.extend_from_slice(&self.values[..self.positional]);
        let mut rest = value::collected(self.py, self.keywords())?;
        for parameter in parameters.iter().skip(self.positional) {
            let place = rest
                .iter()
                .position(|(key, _)| key.to_str().is_ok_and(|it| it == *parameter));
            let Some(place) = place else { break };
            values.push(rest.remove(place).1.as_ptr());
        }
        let positional = values.len();
        values.extend(rest.iter().map(|(_, value)| value.as_ptr()));
        let names = rest.into_iter().map(|(key, _)| key.to_owned().into_any());
        let names = value::collected(self.py, names)?;
        let names = value::tuple(self.py, &names)?;
        Ok((values, names, positional))
    }

    /// Whether there are keyword arguments.
    #[inline]
    pub(crate) fn has_keywords(&self) -> bool {
        self.values.len() > self.positional
    }

    #[inline]
    fn value(&self, index: usize) -> Borrowed<'a, 'py, PyAny> {
        // SAFETY: the values are live objects that the caller keeps alive during the call.
        unsafe { Borrowed::from_ptr(self.py, self.values[index]) }
    }

    /// Reads the arguments of `name(required…, *rest, context=None)`: the required ones, and the
    /// context, if one was given.
    ///
    /// # Errors
    /// `TypeError` for a missing argument or a keyword other than `context`.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "else `call_later`, which has two, calls it: 4 % more instructions"
    )]
    pub(crate) fn context<const N: usize>(
        &self,
        name: &str,
        required: [&str; N],
    ) -> PyResult<([Given<'a, 'py>; N], Option<Given<'a, 'py>>)> {
        if self.positional < N {
            return Err(self.refused(name, &required, &["context"]));
        }
        let values = std::array::from_fn(|index| self.value(index));
        let context = if self.has_keywords() {
            self.keyword_context(name, &required)?
        } else {
            None
        };
        Ok((values, context))
    }

    /// A function of its own, so that `context` is small enough to be inlined.
    fn keyword_context(&self, name: &str, required: &[&str]) -> PyResult<Option<Given<'a, 'py>>> {
        match self.only_context() {
            Some(context) => Ok((!context.is_none()).then_some(context)),
            None => self.odd_context(name, required),
        }
    }

    #[cold]
    fn odd_context(&self, name: &str, required: &[&str]) -> PyResult<Option<Given<'a, 'py>>> {
        if let Some(error) = self.odd_keyword(name, required, &["context"]) {
            return Err(error);
        }
        let context = self.keywords().next().map(|(_, value)| value);
        Ok(context.filter(|value| !value.is_none()))
    }

    #[cold]
    fn missing(&self, name: &str, required: &[&str]) -> PyErr {
        let given = |name: &str| {
            self.keywords()
                .any(|(key, _)| key.to_str().is_ok_and(|key| key == name))
        };
        let missing: Vec<_> = required[self.positional..]
            .iter()
            .filter(|name| !given(name))
            .map(|name| format!("'{name}'"))
            .collect();
        let plural = if missing.len() == 1 { "" } else { "s" };
        exception::<PyTypeError>(
            self.py,
            format_args!(
                "{name}() missing {} required positional argument{plural}: {}",
                missing.len(),
                missing.join(" and "),
            ),
        )
    }

    /// CPython's error for a keyword that is not among `allowed`, or that is given twice.
    #[cold]
    fn odd_keyword(&self, name: &str, required: &[&str], allowed: &[&str]) -> Option<PyErr> {
        self.keywords().find_map(|(key, _)| {
            let key = key.to_str().unwrap_or("?");
            let place = required.iter().position(|it| *it == key);
            let fault = if key == "self" || place.is_some_and(|place| place < self.positional) {
                "multiple values for argument"
            } else if place.is_some() || allowed.contains(&key) {
                return None;
            } else {
                "an unexpected keyword argument"
            };
            Some(exception::<PyTypeError>(
                self.py,
                format_args!("{name}() got {fault} '{key}'"),
            ))
        })
    }

    /// Reads the arguments of `name(required…)`.
    ///
    /// # Errors
    /// `TypeError` with CPython's text for a missing argument and for any other.
    #[inline]
    pub(crate) fn exactly<const N: usize>(
        &self,
        name: &str,
        required: [&str; N],
    ) -> PyResult<[Given<'a, 'py>; N]> {
        if self.positional == N && !self.has_keywords() {
            return Ok(std::array::from_fn(|index| self.value(index)));
        }
        Err(self.refused(name, &required, &[]))
    }

    /// Reads the positional argument of `name(required, **keywords)`.
    ///
    /// # Errors
    /// As `exactly`, but for keywords.
    #[inline]
    pub(crate) fn only(&self, name: &str, required: &str) -> PyResult<Borrowed<'a, 'py, PyAny>> {
        if self.positional == 1 {
            return Ok(self.value(0));
        }
        Err(self.miscounted(name, &[required]))
    }

    /// CPython's error for keywords that are neither among `required` nor among `allowed`, or else
    /// for the count of arguments.
    #[cold]
    fn refused(&self, name: &str, required: &[&str], allowed: &[&str]) -> PyErr {
        self.odd_keyword(name, required, allowed)
            .unwrap_or_else(|| self.miscounted(name, required))
    }

    #[cold]
    fn miscounted(&self, name: &str, required: &[&str]) -> PyErr {
        if self.positional < required.len() {
            return self.missing(name, required);
        }
        // CPython counts the object that the method belongs to.
        let (takes, given) = (required.len() + 1, self.positional + 1);
        let plural = if takes == 1 { "" } else { "s" };
        exception::<PyTypeError>(
            self.py,
            format_args!(
                "{name}() takes {takes} positional argument{plural} but {given} were given"
            ),
        )
    }
}

/// The last tuple of keyword names that was `("context",)`. That of asyncio's C code has an item
/// that is not interned, so the tuple itself is compared.
#[cfg(not(Py_GIL_DISABLED))]
mod known_names {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    use crate::py::cell::LoopCell;

    static NAMES: LoopCell<Option<Py<PyTuple>>> = LoopCell::new(None);

    #[inline]
    pub(super) fn are(names: Borrowed<'_, '_, PyTuple>) -> bool {
        NAMES.with(names.py(), |known| {
            known.as_ref().is_some_and(|known| known.is(names))
        })
    }

    pub(super) fn remember(names: Borrowed<'_, '_, PyTuple>) {
        let py = names.py();
        let names = names.to_owned().unbind();
        drop(NAMES.with(py, |known| known.replace(names)));
    }
}

/// The same for several threads at once: the first such tuple is kept, so that threads share an
/// address that does not change.
#[cfg(Py_GIL_DISABLED)]
mod known_names {
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use pyo3::ffi;
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    static NAMES: AtomicPtr<ffi::PyObject> = AtomicPtr::new(null_mut());

    #[inline]
    pub(super) fn are(names: Borrowed<'_, '_, PyTuple>) -> bool {
        NAMES.load(Ordering::Relaxed) == names.as_ptr()
    }

    pub(super) fn remember(names: Borrowed<'_, '_, PyTuple>) {
        let (relaxed, names) = (Ordering::Relaxed, names.to_owned());
        let first = NAMES.compare_exchange(null_mut(), names.as_ptr(), relaxed, relaxed);
        if first.is_ok() {
            // The reference belongs to `NAMES` now.
            let _ = names.into_ptr();
        }
    }
}

/// Whether `names` is `("context",)`; remembers the last such tuple.
#[inline]
fn is_context(names: Borrowed<'_, '_, PyTuple>) -> bool {
    names.len() == 1
        && (tuple_item(names, 0).is(name!(names.py(), context)) || reads_context(names))
}

#[cold]
fn reads_context(names: Borrowed<'_, '_, PyTuple>) -> bool {
    let name = tuple_item(names, 0);
    let same = name
        .cast_exact::<PyString>()
        .is_ok_and(|name| name.to_str().is_ok_and(|name| name == "context"));
    if same {
        known_names::remember(names);
    }
    same
}

/// The item of `tuple` at `index`, which must be there.
#[inline]
fn tuple_item<'a, 'py>(
    tuple: Borrowed<'a, 'py, PyTuple>,
    index: usize,
) -> Borrowed<'a, 'py, PyAny> {
    // SAFETY: `tuple` is a tuple, and the caller counted its items.
    let item = unsafe { ffi::PyTuple_GET_ITEM(tuple.as_ptr(), index.cast_signed()) };
    // SAFETY: the tuple keeps the item alive for as long as it lives itself.
    unsafe { Borrowed::from_ptr(tuple.py(), item) }
}

/// One method of a class.
pub(crate) trait FastMethod {
    /// The class that has it.
    type Class: PyClass<Frozen = True> + Sync;
    /// Its name in Python, and a NUL.
    const NAME: &'static str;
    /// Its docstring, which begins with `name(signature)\n--\n\n`.
    const DOC: &'static CStr;
    /// The names of its leading parameters, which may be given as keywords too.
    const PARAMETERS: &'static [&'static str] = &[];
    /// Runs it.
    fn call<'py>(
        this: &Bound<'py, Self::Class>,
        arguments: &Arguments<'_, 'py>,
    ) -> PyResult<Bound<'py, PyAny>>;
}

/// Puts `M` on its class.
pub(crate) fn install<M: FastMethod>(py: Python<'_>) -> PyResult<()> {
    install_on::<M>(&M::Class::type_object(py))
}

/// Puts `M` on `class`, which is its class or a subclass. CPython's fastest call needs a method
/// that the object's own class defines.
///
/// # Errors
/// `TypeError` if `class` is not a subclass.
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

pub(super) fn plain_name<M: FastMethod>() -> &'static str {
    M::NAME.trim_end_matches('\0')
}

/// The C function behind the descriptor of `M`.
pub(super) unsafe extern "C" fn trampoline<M: FastMethod>(
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
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        raise_panic(plain_name::<M>());
        std::ptr::null_mut()
    })
}

/// Turns a panic of this crate into a `RuntimeError`, because a panic must not unwind through
/// CPython.
#[cold]
pub(super) fn raise_panic(name: &str) {
    Python::attach(|py| {
        exception::<PyRuntimeError>(py, format_args!("internal error of ferroloop in {name}()"))
            .restore(py);
    });
}
