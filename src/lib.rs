//! HostKit: one bare Linux server, many projects, every change atomic.

pub mod domain;
pub mod event;
pub mod operation;
pub mod plan;
pub mod project;
pub mod resource;
pub mod store;
pub mod system;
