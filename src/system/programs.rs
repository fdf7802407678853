//! What the host's programs say of themselves.

use std::{fmt, path::Path};

use super::exec::Tool;
use crate::domain::{layout::HostPath, version::Version};

/// Asking programs.
pub trait Programs: fmt::Debug {
    /// The version of a program, if it says one.
    fn version(&self, program: &HostPath) -> Option<Version>;
}

/// The programs of this machine.
#[derive(Debug)]
pub struct Installed;

impl Programs for Installed {
    fn version(&self, program: &HostPath) -> Option<Version> {
        version(program.as_path())
    }
}

/// The version that a program says it has.
pub fn version(program: &Path) -> Option<Version> {
    let tool = Tool::at("a program that is asked for its version", program.to_owned());
    // Go knows no `--version`.
    ["--version", "version"].into_iter().find_map(|word| {
        let ran = tool.output([word]).ok().filter(|ran| ran.status.success())?;
        Version::find(&ran.stdout)
    })
}
