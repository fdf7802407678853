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
pub fn main() -> ExitCode {
    let text = |name| std::env::var_os(name).and_then(|value| value.into_string().ok());
    let environment = cli::Environment {
        // One that is no text is no number either, and is refused; it is not "absent".
        sudo_uid: std::env::var_os("SUDO_UID").map(|uid| uid.to_string_lossy().into_owned()),
        no_color: std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()),
        terminal: std::env::var_os("TERM").and_then(|name| name.into_string().ok()),
        directory: std::env::current_dir().ok(),
        editor: text("VISUAL").or_else(|| text("EDITOR")),
        // What the log's reader is, as it says of itself. `sudo` lets neither through.
        github: text("GITHUB_ACTIONS").is_some_and(|yes| yes == "true"),
        gitlab: text("GITLAB_CI").is_some_and(|yes| yes == "true"),
        argv: std::env::args_os().collect(),
    };
    cli::main(environment)
}
