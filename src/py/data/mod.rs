//! Bytes that Python and this crate share.
//!
//! - `bytes`, `buffer`: data without copies
//! - `spare`: memory of received data, used again
//! - `bytearray`: data that waits to be read
//! - `window`: memory of ours, of which Python sees a range

pub(crate) mod buffer;
pub(crate) mod bytearray;
pub(crate) mod bytes;
pub(crate) mod spare;
pub(crate) mod window;
