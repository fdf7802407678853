//! Fake programs, which say what is in their files.

use super::Fake;
use crate::{
    domain::{layout::HostPath, version::Version},
    system::Programs,
};

impl Programs for Fake {
    fn version(&self, program: &HostPath) -> Option<Version> {
        let text = std::fs::read_to_string(self.path(&program.to_string())).ok()?;
        Version::find(&text)
    }
}
