//! HostKit: one bare Linux server, many projects, every change atomic.

pub mod domain;
pub mod system;
