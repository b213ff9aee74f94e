//! The OpenSSL that another module is linked to.
//!
//! - `functions`: its functions, which are looked up by name
//! - `shape`: whether words are addresses of its objects
//! - `memory`: reads an address that may not be mapped

pub(crate) mod functions;
mod memory;
pub(crate) mod shape;
