//! What a stream's coroutine is to do.
//!
//! The thread of the loop. Arguments are not looked at before the coroutine is awaited.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::streams::reader::StreamReaderBase;
use crate::streams::writer::StreamWriterBase;

/// What a reading coroutine is to return.
pub(crate) enum Want {
    /// At most so many bytes.
    Some(usize),
    /// So many bytes.
    Exactly(usize),
    /// Up to a newline.
    Line,
    /// Up to the separator, which is not empty.
    Until(Py<PyBytes>),
}

/// What a coroutine does.
pub(crate) enum Work {
    Read(Py<StreamReaderBase>, Want),
    Drain(Py<StreamWriterBase>),
    /// It has ended. Holds asyncio's class and method, for its name.
    Done((&'static str, &'static str)),
}

impl Work {
    /// Nothing, and no name.
    pub(crate) const NONE: Self = Self::Done(("", ""));

    /// Releases what it names.
    pub(crate) fn release(self, py: Python<'_>) {
        match self {
            Self::Read(reader, want) => {
                if let Want::Until(separator) = want {
                    separator.drop_ref(py);
                }
                reader.drop_ref(py);
            }
            Self::Drain(writer) => writer.drop_ref(py),
            Self::Done(_) => {}
        }
    }

    /// asyncio's class and method.
    pub(crate) fn name(&self) -> (&'static str, &'static str) {
        match self {
            Self::Read(_, Want::Some(_)) => ("StreamReader", "read"),
            Self::Read(_, Want::Exactly(_)) => ("StreamReader", "readexactly"),
            Self::Read(_, Want::Line) => ("StreamReader", "readline"),
            Self::Read(_, Want::Until(_)) => ("StreamReader", "readuntil"),
            Self::Drain(_) => ("StreamWriter", "drain"),
            Self::Done(name) => *name,
        }
    }
}
