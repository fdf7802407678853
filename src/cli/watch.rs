//! Looking at a young release: what a timer of HostKit's own has this program do.
//!
//! It is no command: it answers nobody, and is refused to whoever comes through `sudo` or is not root.

use std::ffi::OsStr;

use anyhow::{Context as _, Result, bail};

use super::context::{Context, Environment};
use crate::operation::{probation, session::Mode};

/// Looks once. Whether that went well.
pub(super) fn watch(name: &OsStr, release: &OsStr) -> bool {
    look(name, release).unwrap_or_default()
}

fn look(name: &OsStr, release: &OsStr) -> Result<bool> {
    let name = name.to_str().context("a name is text")?.parse()?;
    let release = release.to_str().context("a release is text")?.parse()?;
    let mut cx = Context::unheard(Environment::default());
    cx.prepare()?;
    if cx.caller()?.uid != 0 {
        bail!("only root looks at releases");
    }
    cx.session(Mode::Run, |session| probation::watch(session, &name, &release))?;
    Ok(true)
}
