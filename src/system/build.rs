//! Running a stranger's programs: one command of a build, in a transient unit that sees hardly anything.
//!
//! The unit runs under the project's build account, which owns nothing but the tree that is built and a
//! cache. The tree is seen where the release will lie, so that paths that are written into it are right.

mod bounds;
mod machine;
mod sandbox;
mod watch;

use anyhow::{Result, bail};

use self::watch::Watch;
pub use self::watch::held;
pub use self::{bounds::Bounds, machine::Machine};
use super::{
    accounts::end_processes,
    job::{self, End},
};
use crate::domain::layout::{HostPath, UnitName};

/// One command of a build.
#[derive(Clone, Debug)]
pub struct Job {
    /// The unit it runs in.
    pub unit: UnitName,
    /// The account it runs as.
    pub account: String,
    /// The account's number.
    pub uid: u32,
    /// The tree that is built; the account's.
    pub tree: HostPath,
    /// Where the command sees the tree.
    pub place: HostPath,
    /// The account's home, which outlives the build.
    pub home: HostPath,
    /// A file that only root can read, with the command's environment.
    pub environment: HostPath,
    /// The program and its arguments, each to be taken as it is. The program is looked up inside.
    pub argv: Vec<String>,
    /// What it may use.
    pub bounds: Bounds,
}

/// How a command of a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Well.
    Done,
    /// With this exit status.
    Failed(i32),
    /// By this signal, which was not sent by HostKit.
    Killed(String),
    /// It needed more memory than it may use.
    OutOfMemory,
    /// It took longer than it may.
    TimedOut,
    /// The tree and the cache together grew larger than they may.
    TooLarge,
    /// The filesystem has hardly any space left.
    DiskFull,
}

/// Runs a command to its end. Nothing of it is left when this returns, however it returns.
pub(super) fn run(job: &Job, hear: &mut dyn FnMut(&str)) -> Result<Ending> {
    let mut watch = Watch::begin(job)?;
    let mut over = None;
    let ran = job::run(&sandbox::unit(job), hear, &mut || {
        over = watch.look(job)?;
        Ok(over.is_some())
    });
    // A daemon may have left the unit's control group where the account may make others.
    end_processes(job.uid)?;
    judge(ran?, watch.starved, over)
}

/// How a command ended, and why it was made to.
fn judge(end: End, starved: bool, over: Option<Ending>) -> Result<Ending> {
    Ok(match (end, over) {
        (End::Cut, Some(over)) => over,
        (End::Well, _) => Ending::Done,
        (End::Never(why), _) => bail!("the build's unit could not be run: {why}"),
        _ if starved => Ending::OutOfMemory,
        (End::OutOfMemory, _) => Ending::OutOfMemory,
        (End::Late, _) => Ending::TimedOut,
        (End::Status(status), _) => Ending::Failed(status),
        (End::Signal(number), _) => Ending::Killed(number),
        // Only a stop of this process cuts without a reason, and that is an error of its own.
        (End::Cut, None) => Ending::Killed("9".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_did_comes_before_what_the_program_said() {
        let judged = |end, starved, over| judge(end, starved, over).map_err(|e| e.to_string());
        assert_eq!(judged(End::Status(1), true, None), Ok(Ending::OutOfMemory));
        assert_eq!(judged(End::Status(1), false, None), Ok(Ending::Failed(1)));
        // It went on without the child that was killed.
        assert_eq!(judged(End::Well, true, None), Ok(Ending::Done));
        assert_eq!(judged(End::Cut, false, Some(Ending::TooLarge)), Ok(Ending::TooLarge));
        assert_eq!(judged(End::Cut, true, Some(Ending::DiskFull)), Ok(Ending::DiskFull));
        assert_eq!(judged(End::Signal("9".into()), false, None), Ok(Ending::Killed("9".into())));
        assert!(
            judged(End::Never("no such user".into()), false, None).is_err_and(|e| e.contains("no such user"))
        );
    }
}
