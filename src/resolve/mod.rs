//! `getaddrinfo` without libc, for the questions that need no resolver.
//!
//! - `literal`: numeric hosts

mod literal;

pub(crate) use literal::getaddrinfo_literal;
