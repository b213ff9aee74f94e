//! How objects of this crate's classes are made, counted, reused and finalized.
//!
//! - `object`: reference counts, and tracking by the collector
//! - `pool`: free lists
//! - `shelf`: the objects of free lists
//! - `blank`: freeing an object that was never filled in
//! - `finalizer`: `__del__`

pub(crate) mod blank;
pub(crate) mod finalizer;
pub(crate) mod object;
pub(crate) mod pool;
pub(crate) mod shelf;
