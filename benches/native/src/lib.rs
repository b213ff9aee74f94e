//! What the benchmarks need in native code: a load generator that is never slower than the server it
//! loads, and an epoll echo server that shows the least that any event loop can cost.
//!
//! The generator is one thread over mio's edge-triggered poller. A message costs it one `send`, one
//! `recv` and a share of one `epoll_wait`: exactly what it costs the floor server. Every fault
//! counts as an error: a wrong length, a wrong byte, an early end or a status other than 2xx.

pub mod address;
pub mod args;
pub mod connect;
pub mod echo;
pub mod floor;
pub mod histogram;
pub mod http;
pub mod loopback;
pub mod pace;
pub mod report;
pub mod session;
