//! What it costs to start the program at all.

use super::{HOSTKIT, in_turn, say_value, timed};
use crate::Error;

/// `--version`, beside a program that does nothing; and the size of the program.
pub(super) fn measure(runs: usize) -> Result<(), Error> {
    in_turn("startup", runs, |_| timed(&[HOSTKIT, "--version"]), |_| timed(&["/bin/true"]))?;
    say_value("size", std::fs::metadata(HOSTKIT)?.len());
    Ok(())
}
