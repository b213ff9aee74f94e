//! `create_future`, `create_task`, and `get_debug`, which every future calls.
//!
//! Loop thread only. Futures and tasks are asyncio's own, so `current_task`, debuggers and eager tasks
//! work. What `create_task` accepts depends on the Python version.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

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
        if factory.is_none() && !arguments.has_keywords() {
            let values = [coro.to_owned(), this.as_any().clone()];
            let class = asyncio::task(py)?;
            call::call_named(&class, &values.each_ref(), 1, asyncio::loop_keyword(py)?)
        } else {
            let keywords = keywords(arguments)?;
            if let Some(factory) = factory {
                return asyncio::create_with_factory(py)?.call1((this, factory, coro, keywords));
            }
            keywords.set_item(name!(py, event_loop), this)?;
            asyncio::task(py)?.call((coro,), Some(&keywords))
        }
    }
);

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
