//! Pipes: FIFOs, character devices and sockets, used in one direction.
//!
//! - `end`: what both ends have in common: beginning, watch, and `connection_lost`, once
//! - `end_surface`: the methods that both ends show to Python
//! - `reader`: `ReadPipeTransport`
//! - `writer`: `WritePipeTransport`
//! - `writer_surface`: its methods

mod end;
mod end_surface;
mod reader;
mod writer;
mod writer_surface;

pub use end::PipeTransport;
pub use reader::ReadPipeTransport;
pub use writer::WritePipeTransport;
