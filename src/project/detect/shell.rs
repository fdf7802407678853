//! A script that says it all: `start.sh`.

use super::draft::Draft;
use super::{Framework, Runtime};
use crate::domain::files::Files;

#[expect(clippy::unnecessary_wraps, reason = "a row like all others")]
pub(super) fn script(files: &dyn Files) -> anyhow::Result<Option<Draft>> {
    if !files.is_executable("start.sh") {
        return Ok(None);
    }
    Ok(Some(Draft::new(Framework::Shell, Runtime::Command).why("start.sh is there").starts(&["./start.sh"])))
}
