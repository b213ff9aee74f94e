//! The methods of a stream reader that every message calls.
//!
//! The thread of the reader's loop. For a derived class, and for odd or missing arguments, asyncio's
//! method is called with the same arguments.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use crate::py::calling::coroutine::origins_are_tracked;
use crate::py::calling::fast_method::fast_method;
use crate::py::calling::method::Arguments;
use crate::py::data::bytearray;
use crate::py::stdlib::asyncio;
use crate::py::value::{self, Text};
use crate::streams::coroutine::StreamCoroutine;
use crate::streams::reader::StreamReaderBase;
use crate::streams::work::{Want, Work};

/// Whether the native coroutine may be used.
#[inline]
fn is_native(this: &Bound<'_, StreamReaderBase>) -> bool {
    this.get().is_exact() && !origins_are_tracked()
}

/// A coroutine that has not begun.
fn coroutine<'py>(this: &Bound<'py, StreamReaderBase>, want: Want) -> PyResult<Bound<'py, PyAny>> {
    let work = Work::Read(this.clone().unbind(), want);
    StreamCoroutine::begin(this.py(), work)
}

/// Calls asyncio's own method `name` of `this`.
#[cold]
fn asyncio_method<'py>(
    this: &Bound<'py, StreamReaderBase>,
    name: &str,
    arguments: &Arguments<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = this.py();
    let method = asyncio::stream_reader(py)?.getattr(Text(name))?;
    let given = arguments.from(0).map(Borrowed::to_owned);
    let values = value::collected(py, std::iter::once(this.as_any().clone()).chain(given))?;
    let keywords = value::dict(py)?;
    for (key, value) in arguments.keywords() {
        keywords.set_item(key, value)?;
    }
    method.call(value::tuple(py, &values)?, Some(&keywords))
}

fast_method!(
    FeedData,
    StreamReaderBase,
    "feed_data",
    [],
    c"feed_data($self, data)\n--\n\n\
        Put data behind what is buffered, and wake who waits for it.",
    |this, arguments| {
        let py = arguments.py;
        if let (1, Some(data), false) =
            (arguments.len(), arguments.get(0), arguments.has_keywords())
            && let Ok(data) = data.cast_exact::<PyBytes>()
            && !data.as_bytes().is_empty()
            && this.get().takes(py)
        {
            let append = |buffer: &Bound<'_, _>| bytearray::append(buffer, data.as_bytes());
            StreamReaderBase::feed(this, || Ok(data.to_owned()), append)?;
            return Ok(py.None().into_bound(py));
        }
        asyncio_method(this, "feed_data", arguments)
    }
);

/// The one argument that was given by its place, if none was given by name.
#[inline]
fn only<'a, 'py>(arguments: &Arguments<'a, 'py>) -> Option<Borrowed<'a, 'py, PyAny>> {
    let alone = arguments.len() == 1 && !arguments.has_keywords();
    if alone { arguments.get(0) } else { None }
}

/// A count above 0.
#[inline]
fn positive(count: Borrowed<'_, '_, PyAny>) -> Option<usize> {
    let count = count.cast_exact::<PyInt>().ok()?.extract::<usize>().ok()?;
    (count > 0).then_some(count)
}

/// A method whose one argument is a count.
#[inline]
fn counted<'py>(
    this: &Bound<'py, StreamReaderBase>,
    name: &str,
    want: fn(usize) -> Want,
    arguments: &Arguments<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    match only(arguments).and_then(positive) {
        Some(count) if is_native(this) => coroutine(this, want(count)),
        _ => asyncio_method(this, name, arguments),
    }
}

fast_method!(
    Read,
    StreamReaderBase,
    "read",
    [],
    c"read($self, n=-1)\n--\n\n\
        A coroutine: at most n bytes as soon as there are any, all until the end for a negative n, \
        b\"\" at the end.",
    |this, arguments| { counted(this, "read", Want::Some, arguments) }
);

fast_method!(
    ReadExactly,
    StreamReaderBase,
    "readexactly",
    [],
    c"readexactly($self, n)\n--\n\n\
        A coroutine: n bytes. Raises IncompleteReadError, with what there was, at the end.",
    |this, arguments| { counted(this, "readexactly", Want::Exactly, arguments) }
);

fast_method!(
    ReadLine,
    StreamReaderBase,
    "readline",
    [],
    c"readline($self)\n--\n\n\
        A coroutine: a line with its newline; what there is, or b\"\", at the end. Raises \
        ValueError for a line beyond the limit.",
    |this, arguments| {
        if arguments.len() == 0 && !arguments.has_keywords() && is_native(this) {
            return coroutine(this, Want::Line);
        }
        asyncio_method(this, "readline", arguments)
    }
);

fast_method!(
    ReadUntil,
    StreamReaderBase,
    "readuntil",
    [],
    c"readuntil($self, separator=b'\\n')\n--\n\n\
        A coroutine: what comes up to the separator (since 3.13 one of several, as a tuple) and \
        the separator. Raises IncompleteReadError at the end, LimitOverrunError beyond the limit.",
    |this, arguments| {
        if is_native(this)
            && let Some(separator) = only(arguments)
            && let Ok(separator) = separator.cast_exact::<PyBytes>()
            && !separator.as_bytes().is_empty()
        {
            let separator = separator.to_owned().unbind();
            return coroutine(this, Want::Until(separator));
        }
        asyncio_method(this, "readuntil", arguments)
    }
);
