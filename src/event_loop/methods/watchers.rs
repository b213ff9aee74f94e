//! `add_reader` and `add_writer`: level-triggered watches with one handle for each direction.
//!
//! Loop thread only. A program may close a watched descriptor without removing the watch; the kernel
//! then forgets it. The poller notices at the next watch of that number and registers it again.

use std::os::fd::RawFd;

use pyo3::exceptions::{
    PyAttributeError, PyOverflowError, PyRuntimeError, PyRuntimeWarning, PyTypeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

use crate::error::{exception, os_error};
use crate::event_loop::registry::Claim;
use crate::event_loop::source::{Direction, Watch};
use crate::event_loop::state::{Core, Entry, EventLoop};
use crate::handle::{Callback, Handle, cancel_handle};
use crate::logic::slab::Key;
use crate::py::calling::call::Args;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::method::Arguments;
use crate::py::calling::names::name;
use crate::py::value::shown;
use crate::sys::poller::Directions;

/// CPython's text for a number that does not fit into a C int.
const TOO_LARGE: &str = "Python int too large to convert to C int";

/// The number that an int is or that an object's `fileno()` returns, of any size.
///
/// # Errors
/// `ValueError` with asyncio's text, and exceptions of `fileno()` that asyncio does not catch.
fn number<'py>(file: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = file.py();
    if file.is_instance_of::<PyInt>() {
        return Ok(file.to_owned());
    }
    let number = file
        .call_method0(name!(py, fileno))
        .and_then(|number| py.get_type::<PyInt>().call1((number,)));
    number.or_else(|error| {
        if error.is_instance_of::<PyAttributeError>(py)
            || error.is_instance_of::<PyTypeError>(py)
            || error.is_instance_of::<PyValueError>(py)
        {
            let repr = file.repr()?;
            let text = format_args!("Invalid file object: {}", shown(&repr));
            return Err(exception::<PyValueError>(py, text));
        }
        Err(error)
    })
}

/// The descriptor behind an int or an object with `fileno()`.
///
/// # Errors
/// As `number`, `ValueError` with asyncio's text for a negative one, `OverflowError` for a number
/// that no descriptor has.
fn descriptor(file: Borrowed<'_, '_, PyAny>) -> PyResult<RawFd> {
    let py = file.py();
    let number = number(file)?;
    match number.extract::<RawFd>() {
        Ok(fd) if fd >= 0 => Ok(fd),
        Err(_) if number.gt(0)? => Err(exception::<PyOverflowError>(py, TOO_LARGE)),
        _ => Err(exception::<PyValueError>(
            py,
            format_args!("Invalid file descriptor: {}", shown(&number.str()?)),
        )),
    }
}

/// Raises for a descriptor that a transport owns.
///
/// # Errors
/// `RuntimeError` with asyncio's text; as `number`.
pub(crate) fn check_free(
    this: &Bound<'_, EventLoop>,
    file: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    let py = this.py();
    let Ok(number) = number(file)?.extract::<usize>() else {
        return Ok(());
    };
    let source = this.get().core.with(py, |core| {
        let key = core.descriptors.get(number).copied().flatten()?;
        core.entries.get(key)?.source(py)
    });
    if let Some(source) = source {
        let transport = source.object.bind(py);
        if !source.class.may_be_watched(transport) {
            return Err(exception::<PyRuntimeError>(
                py,
                format_args!(
                    "File descriptor {} is used by transport {}",
                    shown(&file.repr()?),
                    shown(&transport.repr()?)
                ),
            ));
        }
    }
    Ok(())
}

/// Watches `file` in `direction`, with the callback at `arguments[1]`; replaces an older handle.
fn add<'py>(
    this: &Bound<'py, EventLoop>,
    arguments: &Arguments<'_, 'py>,
    method: &str,
    direction: Direction,
    checked: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let event_loop = this.get();
    let ([file, callback], context) = arguments.context(method, ["fd", "callback"])?;
    if context.is_some() || arguments.has_keywords() {
        return Err(exception::<PyTypeError>(
            py,
            format_args!("{method}() got an unexpected keyword argument 'context'"),
        ));
    }
    if checked {
        check_free(this, file)?;
    }
    event_loop.check_closed()?;
    if cfg!(Py_3_13) && file.is_exact_instance_of::<PyBool>() {
        let category = py.get_type::<PyRuntimeWarning>();
        PyErr::warn(py, &category, c"bool is used as a file descriptor", 1)?;
    }
    let number = descriptor(file)?;
    let callback = Callback {
        function: callback.to_owned().unbind(),
        args: Args::new(py, arguments.from(2))?,
        context: event_loop.capture_context(py)?,
    };
    let handle = Handle::new(this.as_any(), callback)?;
    if event_loop.is_debug() {
        handle.get().note_source(py)?;
    }
    let replaced = watch(event_loop, file, number, direction, handle.clone().unbind())?;
    if let Some(replaced) = replaced {
        cancel_handle(replaced.bind(py))?;
    }
    if checked {
        Ok(py.None().into_bound(py))
    } else {
        Ok(handle.into_any())
    }
}

/// Puts `handle` into the watch of `number` and returns the one that it replaces.
fn watch(
    event_loop: &EventLoop,
    file: Borrowed<'_, '_, PyAny>,
    number: RawFd,
    direction: Direction,
    handle: Py<Handle>,
) -> PyResult<Option<Py<Handle>>> {
    let py = file.py();
    let key = event_loop.watch_key(py, number);
    if let Some(key) = key {
        let (replaced, directions) = event_loop.core.with(py, |core| {
            let Some(Entry::Watch(watch)) = core.entries.get_mut(key) else {
                let none = Directions {
                    read: false,
                    write: false,
                };
                return (None, none);
            };
            let replaced = watch.place(direction).replace(handle);
            (replaced, watch.directions())
        });
        // The kernel is asked even without a change, because the number may belong to a new file.
        let poller = event_loop.poller(py)?;
        if let Err(error) = poller.watch_level(number, key.0, directions, true) {
            event_loop.restore(py, key, direction, replaced);
            return Err(os_error(&error));
        }
        return Ok(replaced);
    }
    if let Claim::Source(source, _) = event_loop.claim(py, number) {
        let object = source.object.into_bound(py);
        source.class.displaced(&object, direction);
    }
    let mut watch = Watch {
        file: (!file.is_instance_of::<PyInt>()).then(|| file.to_owned().unbind()),
        ..Watch::default()
    };
    *watch.place(direction) = Some(handle);
    let directions = watch.directions();
    let key = event_loop.enter(py, number, Entry::Watch(watch))?;
    let poller = event_loop.poller(py)?;
    if let Err(error) = poller.watch_level(number, key.0, directions, false) {
        drop(event_loop.leave(py, key, number));
        return Err(os_error(&error));
    }
    Ok(None)
}

/// Ends the watch of `file` in `direction`. True if there was one.
fn remove<'py>(
    this: &Bound<'py, EventLoop>,
    arguments: &Arguments<'_, 'py>,
    method: &str,
    direction: Direction,
    checked: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let [file] = arguments.exactly(method, ["fd"])?;
    if checked {
        check_free(this, file)?;
    }
    let event_loop = this.get();
    let removed = if event_loop.is_closed() {
        None
    } else {
        match descriptor(file) {
            Ok(number) => event_loop.unwatch(py, number, direction),
            // A number that does not fit into a C int is never watched.
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => None,
            Err(error) => match event_loop.watched_as(file) {
                Some(number) => event_loop.unwatch(py, number, direction),
                None => return Err(error),
            },
        }
    };
    let found = removed.is_some();
    if let Some(handle) = removed {
        cancel_handle(handle.bind(py))?;
    }
    Ok(PyBool::new(py, found).to_owned().into_any())
}

impl EventLoop {
    /// The number that `file` had when its watch began; it was closed since.
    #[cold]
    fn watched_as(&self, file: Borrowed<'_, '_, PyAny>) -> Option<RawFd> {
        let is_its = |key: &Key, core: &Core| match core.entries.get(*key) {
            Some(Entry::Watch(watch)) => watch.file.as_ref().is_some_and(|own| own.is(&*file)),
            _ => false,
        };
        self.core.with(file.py(), |core| {
            let mut keys = core.descriptors.iter();
            let place = keys.position(|key| key.is_some_and(|key| is_its(&key, core)))?;
            RawFd::try_from(place).ok()
        })
    }

    /// The key of the watch of `number`, if there is one.
    fn watch_key(&self, py: Python<'_>, number: RawFd) -> Option<Key> {
        self.core.with(py, |core| {
            let key = core
                .descriptors
                .get(usize::try_from(number).ok()?)
                .copied()
                .flatten()?;
            matches!(core.entries.get(key), Some(Entry::Watch(_))).then_some(key)
        })
    }

    /// Puts back the handle that was replaced by one for which the kernel refused to watch.
    fn restore(&self, py: Python<'_>, key: Key, direction: Direction, handle: Option<Py<Handle>>) {
        let refused = self.core.with(py, |core| match core.entries.get_mut(key) {
            Some(Entry::Watch(watch)) => std::mem::replace(watch.place(direction), handle),
            _ => handle,
        });
        drop(refused);
    }

    /// Takes the handle of `direction` out of the watch of `number`.
    fn unwatch(&self, py: Python<'_>, number: RawFd, direction: Direction) -> Option<Py<Handle>> {
        let key = self.watch_key(py, number)?;
        let (handle, left) = self.core.with(py, |core| {
            let Some(Entry::Watch(watch)) = core.entries.get_mut(key) else {
                return None;
            };
            let handle = watch.place(direction).take()?;
            Some((handle, watch.directions()))
        })?;
        // The descriptor may be closed already; the kernel has forgotten it then.
        let poller = self.poller(py).ok()?;
        if left.read || left.write {
            let _ = poller.watch_level(number, key.0, left, true);
        } else {
            drop(self.leave(py, key, number));
            let _ = poller.remove_level(number);
        }
        Some(handle)
    }
}

/// Declares methods of the loop. Each calls `$run` for a direction; `$checked` says whether that raises
/// for a descriptor that a transport owns.
macro_rules! watch_methods {
    ($($name:ident = $python:literal: $run:ident($direction:ident, $checked:literal), $doc:literal;)*) => {$(
        fast_method!(
            $name,
            EventLoop,
            $python,
            ["fd", "callback"],
            $doc,
            |this, arguments| { $run(this, arguments, $python, Direction::$direction, $checked) }
        );
    )*};
}

watch_methods! {
    AddReader = "add_reader": add(Read, true),
    c"add_reader($self, fd, callback, *args)\n--\n\nCall callback(*args) whenever fd can be \
      read, replacing an earlier callback.\n\nfd is a number or has fileno(). Raises ValueError \
      for an invalid one, OverflowError for one that is no C int, RuntimeError if a transport owns \
      it or the loop is closed, OSError if the kernel cannot watch it. Mirrors asyncio's \
      add_reader, the same on 3.10 to 3.15.";
    AddWriter = "add_writer": add(Write, true),
    c"add_writer($self, fd, callback, *args)\n--\n\nCall callback(*args) whenever fd can be \
      written, replacing an earlier callback.\n\nfd is a number or has fileno(). Raises ValueError \
      for an invalid one, OverflowError for one that is no C int, RuntimeError if a transport owns \
      it or the loop is closed, OSError if the kernel cannot watch it. Mirrors asyncio's \
      add_writer, the same on 3.10 to 3.15.";
    RemoveReader = "remove_reader": remove(Read, true),
    c"remove_reader($self, fd)\n--\n\nStop watching fd for reading; True if it was \
      watched.\n\nfd is as for add_reader(). Raises ValueError for an invalid one, RuntimeError if \
      a transport owns it. Mirrors asyncio's remove_reader, the same on 3.10 to 3.15.";
    RemoveWriter = "remove_writer": remove(Write, true),
    c"remove_writer($self, fd)\n--\n\nStop watching fd for writing; True if it was \
      watched.\n\nfd is as for add_writer(). Raises ValueError for an invalid one, RuntimeError if \
      a transport owns it. Mirrors asyncio's remove_writer, the same on 3.10 to 3.15.";
    PrivateAddReader = "_add_reader": add(Read, false),
    c"_add_reader($self, fd, callback, *args)\n--\n\nadd_reader() without the check for \
      transports; returns the handle.";
    PrivateAddWriter = "_add_writer": add(Write, false),
    c"_add_writer($self, fd, callback, *args)\n--\n\nadd_writer() without the check for \
      transports; returns the handle.";
    PrivateRemoveReader = "_remove_reader": remove(Read, false),
    c"_remove_reader($self, fd)\n--\n\nremove_reader() without the check for transports.";
    PrivateRemoveWriter = "_remove_writer": remove(Write, false),
    c"_remove_writer($self, fd)\n--\n\nremove_writer() without the check for transports.";
}
