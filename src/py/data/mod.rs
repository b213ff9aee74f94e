//! Bytes that Python and this crate share.
//!
//! - `bytes`, `buffer`: data without copies
//! - `bytearray`: data that waits to be read
//! - `window`: memory of ours, of which Python sees a range

pub(crate) mod buffer;
pub(crate) mod bytearray;
pub(crate) mod bytes;
pub(crate) mod window;
