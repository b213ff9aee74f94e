//! `create_future`, `create_task`, and `get_debug`, which every future calls.
//!
//! Loop thread only. Futures and tasks are asyncio's own, so `current_task`, debuggers and eager tasks
//! work. What `create_task` accepts depends on the Python version.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use crate::error::exception;
use crate::event_loop::state::EventLoop;
use crate::py::calling::call;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::method::Arguments;
use crate::py::calling::names::name;
use crate::py::stdlib::asyncio;
use crate::py::value;

fast_method!(
    CreateFuture,
    EventLoop,
    "create_future",
    c"create_future($self)\n--\n\nA new asyncio.Future attached to this loop.\n\n\
        Raises nothing, also when the loop is closed. Mirrors asyncio's create_future, the same on \
        3.10 to 3.15.",
    |this, []| {
        let py = this.py();
        let class = asyncio::future(py)?;
        if class.is(asyncio::native_future(py)?)
            && let Some(keywords) = EventLoop::keywords(this)?
        {
            return class.call(PyTuple::empty(py), Some(&keywords));
        }
        call::call_named(&class, &[this.as_any()], 0, asyncio::loop_keyword(py)?)
    }
);

fast_method!(
    CreateTask,
    EventLoop,
    "create_task",
    ["coro"],
    c"create_task($self, coro, **kwargs)\n--\n\n\
        A new asyncio.Task that runs coro in this loop.\n\nTakes name, since 3.11 context, since \
        3.13.3 whatever the task class takes (eager_start from 3.14). Raises RuntimeError if the \
        loop is closed, TypeError if coro is no coroutine. Mirrors asyncio's create_task of the \
        running Python.",
    |this, arguments| {
        let py = arguments.py;
        let coro = arguments.only("create_task", "coro")?;
        this.get().check_closed()?;
        let factory = this.get().slots.with(py, |slots| {
            slots.task_factory.as_ref().map(|it| it.clone_ref(py))
        });
        if let Some(factory) = factory {
            let keywords = keywords(arguments)?;
            return asyncio::create_with_factory(py)?.call1((this, factory, coro, keywords));
        }
        let class = asyncio::task(py)?;
        let native = class.is(asyncio::native_task(py)?);
        if native
            && is_unnamed(arguments)
            && let Some(keywords) = EventLoop::keywords(this)?
        {
            return class.call((coro,), Some(&keywords));
        }
        if !arguments.has_keywords() {
            let values = [coro.to_owned(), this.as_any().clone()];
            return call::call_named(&class, &values.each_ref(), 1, asyncio::loop_keyword(py)?);
        }
        let keywords = keywords(arguments)?;
        keywords.set_item(name!(py, event_loop), this)?;
        class.call((coro,), Some(&keywords))
    }
);

impl EventLoop {
    /// `{"loop": this}`, for asyncio's classes written in C: they read their keywords and keep no
    /// reference to the dictionary, so all calls of a run get the same one. `None` if the loop does not run:
    /// a loop that refers to itself is freed only by the collector.
    #[inline]
    fn keywords<'py>(this: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let py = this.py();
        let kept = this.get().slots.with(py, |slots| {
            slots.keywords.as_ref().map(|it| it.clone_ref(py))
        });
        match kept {
            Some(keywords) => Ok(Some(keywords.into_bound(py))),
            None => Self::new_keywords(this),
        }
    }

    #[cold]
    fn new_keywords<'py>(this: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let py = this.py();
        if !this.get().runs_here() {
            return Ok(None);
        }
        let keywords = value::dict(py)?;
        keywords.set_item(name!(py, event_loop), this)?;
        let kept = keywords.clone().unbind();
        drop((this.get().slots).with(py, |slots| slots.keywords.replace(kept)));
        Ok(Some(keywords))
    }
}

/// Whether there is no keyword but a name that is None, which is what `asyncio.create_task` passes in
/// CPython 3.13.
#[inline]
fn is_unnamed(arguments: &Arguments<'_, '_>) -> bool {
    if !arguments.has_keywords() {
        return true;
    }
    let mut keywords = arguments.keywords();
    match (keywords.next(), keywords.next()) {
        (Some((key, value)), None) => value.is_none() && key.is(name!(arguments.py, name)),
        _ => false,
    }
}

/// The keyword arguments of `create_task` that this Python version takes.
fn keywords<'py>(arguments: &Arguments<'_, 'py>) -> PyResult<Bound<'py, PyDict>> {
    let py = arguments.py;
    let keywords = value::dict(py)?;
    for (name, value) in arguments.keywords() {
        let text = name.to_str()?;
        let known = text == "name" || (text == "context" && cfg!(Py_3_11));
        if !known && !asyncio::create_task_takes_any(py)?.is_truthy()? {
            return Err(exception::<PyTypeError>(
                py,
                format_args!("create_task() got an unexpected keyword argument '{text}'"),
            ));
        }
        keywords.set_item(name, value)?;
    }
    Ok(keywords)
}

fast_method!(
    GetDebug,
    EventLoop,
    "get_debug",
    c"get_debug($self)\n--\n\nWhether debug mode is on.\n\n\
        Raises nothing; any thread may ask. Mirrors asyncio's get_debug, the same on 3.10 to 3.15.",
    |this, []| {
        let debug = this.get().debug.load(Ordering::Relaxed);
        Ok(PyBool::new(this.py(), debug).to_owned().into_any())
    }
);
