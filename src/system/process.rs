//! This process: surviving a hostile or careless caller, and stopping between steps when asked to.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit},
    stat::{Mode, umask},
};
use signal_hook::consts::{
    SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGXFSZ,
};

use crate::domain::fault::{Code, Fault};

/// Open files that this program may need.
const FILES: u64 = 1024;
/// Open files without which an operation could neither go on nor be undone.
const FEWEST: u64 = 64;

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Frees the process from what its caller set: limits, umask and signals that would stop it half-way.
///
/// A terminal that hangs up, or a caller that stops its job, must not freeze an operation that holds
/// a lock; SIGINT and SIGTERM only ask for a stop between two steps.
pub fn sanitize() -> Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGCHLD, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2, SIGXFSZ] {
        // A handler that sets an unread flag: unlike "ignored", it is not inherited by programs.
        signal_hook::flag::register(signal, Arc::clone(&ignored)).context("handling a signal")?;
    }
    let stop = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(stop)).context("handling a signal")?;
    }
    if nix::unistd::geteuid().is_root() {
        for limit in
            [Resource::RLIMIT_FSIZE, Resource::RLIMIT_CPU, Resource::RLIMIT_AS, Resource::RLIMIT_DATA]
        {
            lift(limit)?;
        }
        // Enough for every pipe and directory that is open at once; a caller may have left fewer.
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("reading a limit")?;
        let enough = FILES.max(soft);
        if setrlimit(Resource::RLIMIT_NOFILE, enough, hard.max(enough)).is_err() {
            if hard < FEWEST {
                return Err(stays("RLIMIT_NOFILE", hard));
            }
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("lifting the limit on open files")?;
        }
    }
    Ok(())
}

/// Where this program lies.
pub fn program() -> Result<std::path::PathBuf> {
    std::env::current_exe().context("finding this program")
}

/// Lifts a limit, or fails when the caller's limit stays: half a file is worse than no command.
fn lift(limit: Resource) -> Result<()> {
    let (soft, hard) = getrlimit(limit).context("reading a limit")?;
    if soft == RLIM_INFINITY || setrlimit(limit, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return Ok(());
    }
    // Without the capability to raise a hard limit, the soft one can still reach it.
    if hard == RLIM_INFINITY && setrlimit(limit, hard, hard).is_ok() {
        return Ok(());
    }
    Err(stays(&format!("{limit:?}"), soft))
}

fn stays(limit: &str, value: u64) -> anyhow::Error {
    Fault::new(Code::NotPermitted, format!("the caller's limit {limit} = {value} cannot be lifted"))
        .next("run the command without `ulimit`")
        .into()
}

/// How many pieces of work there are that only go forward.
static FORWARD: AtomicUsize = AtomicUsize::new(0);

/// As long as this lives, a request to stop waits: what has begun is finished first.
#[derive(Debug)]
#[must_use = "dropping it lets the user stop again"]
pub struct Forward(());

/// Begins work that only goes forward.
pub fn go_forward() -> Forward {
    FORWARD.fetch_add(1, Ordering::Relaxed);
    Forward(())
}

impl Drop for Forward {
    fn drop(&mut self) {
        FORWARD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Fails when the user has asked to stop; called between steps, where stopping can be undone.
pub fn keep_going() -> Result<()> {
    match STOP.get() {
        Some(stop) if stop.load(Ordering::Relaxed) && FORWARD.load(Ordering::Relaxed) == 0 => {
            Err(Fault::new(Code::Interrupted, "interrupted by a signal").into())
        }
        _ => Ok(()),
    }
}
