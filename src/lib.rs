//! HostKit: one bare Linux server, many projects, every change atomic.
//!
//! Imports only go down: `cli` → `ui` → `operation` → `store`, `event` → `plan`, `project` →
//! `resource` → `system` → `domain`. See `docs/ARCHITECTURE.md`.

mod cli;
pub mod domain;
pub mod event;
pub mod operation;
pub mod plan;
pub mod project;
pub mod resource;
pub mod store;
pub mod system;
pub mod ui;

use std::process::ExitCode;

/// One run of the program: the only place that reads arguments and environment.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub fn main() -> ExitCode {
    let environment = cli::Environment {
        sudo_uid: std::env::var("SUDO_UID").ok(),
        no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        directory: std::env::current_dir().ok(),
    };
    cli::main(std::env::args_os().collect(), environment)
}
