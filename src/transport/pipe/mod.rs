//! Pipes: FIFOs, character devices and sockets, used in one direction.
//!
//! - `end`: what both ends share: from `connection_made` to `connection_lost`
//! - `end_methods`: the methods of both ends that Python sees
//! - `reader`: `ReadPipeTransport`
//! - `writer`: `WritePipeTransport`
//! - `writer_methods`: its methods

pub(crate) mod end;
pub(crate) mod end_methods;
pub(crate) mod reader;
pub(crate) mod writer;
pub(crate) mod writer_methods;

pub(crate) use end::PipeTransport;
pub(crate) use reader::ReadPipeTransport;
pub(crate) use writer::WritePipeTransport;
