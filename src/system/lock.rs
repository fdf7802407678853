//! Kernel locks that name their holder. They die with the process that holds them.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Clock;
use crate::domain::fault::{Code, Fault};

/// How often a lock that is held is tried again, and how long between the tries.
const GRACE: usize = 30;
const PACE: Duration = Duration::from_millis(10);

/// How long the short work of others may take.
const WAIT: Duration = Duration::from_mins(1);

/// Who holds a lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it is doing.
    pub verb: String,
    /// Since when.
    pub since: Timestamp,
}

/// A lock that is held as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    // Owned, so that nothing else can close it: closing is unlocking.
    _file: File,
}

impl Lock {
    /// Takes the lock called `name` in `dir`, or fails at once with `BUSY` naming its holder.
    pub fn take(dir: &Path, name: &str, verb: &str, now: Timestamp) -> Result<Self> {
        match Self::attempt(dir, name, verb, now)? {
            Ok(lock) => Ok(lock),
            Err(holder) => {
                let who = holder.map_or_else(
                    || "another process".to_owned(),
                    |h| {
                        let age = now.duration_since(h.since).as_secs().max(0);
                        format!("`{}` (process {}, for {age} s)", h.verb, h.pid)
                    },
                );
                Err(Fault::new(Code::Busy, format!("`{name}` is held by {who}"))
                    .next("try again when it has ended")
                    .into())
            }
        }
    }

    /// Takes the lock, waiting for short work of others.
    pub fn wait(dir: &Path, name: &str, verb: &str, clock: &dyn Clock) -> Result<Self> {
        let mut waited = Duration::ZERO;
        loop {
            match Self::attempt(dir, name, verb, clock.now())? {
                Ok(lock) => return Ok(lock),
                Err(_) if waited < WAIT => {
                    std::thread::sleep(PACE);
                    waited += PACE * u32::try_from(GRACE + 1).unwrap_or(1);
                }
                Err(_) => return Self::take(dir, name, verb, clock.now()),
            }
        }
    }

    /// Whether nobody holds the lock now; leaves it as it is.
    pub fn is_free(dir: &Path, name: &str) -> Result<bool> {
        let path = dir.join(format!("{name}.lock"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(e).with_context(|| format!("opening the lock `{}`", path.display())),
        };
        // Shared, and for no longer than this: whoever takes it meanwhile tries more than once.
        match file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("looking at `{}`", path.display())),
        }
    }

    /// Takes the lock, or says who holds it.
    pub fn attempt(
        dir: &Path,
        name: &str,
        verb: &str,
        now: Timestamp,
    ) -> Result<std::result::Result<Self, Option<Holder>>> {
        std::fs::create_dir_all(dir).with_context(|| format!("creating `{}`", dir.display()))?;
        let path = dir.join(format!("{name}.lock"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening the lock `{}`", path.display()))?;
        let mut tried = file.try_lock();
        // A process that is just being started shares our descriptors until it has begun; a lock that
        // is held for milliseconds is that, and nobody's work.
        for _ in 0..GRACE {
            if !matches!(tried, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(PACE);
            tried = file.try_lock();
        }
        match tried {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // The holder may be between locking and writing its name.
                let holder =
                    file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
                return Ok(Err(holder));
            }
            Err(TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("locking `{}`", path.display()));
            }
        }
        let holder = Holder { pid: std::process::id(), verb: verb.to_owned(), since: now };
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(serde_json::to_string(&holder)?.as_bytes())?;
        Ok(Ok(Self { _file: file }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it_and_a_dropped_lock_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let held = Lock::take(dir.path(), "blog", "deploy blog", now).unwrap();
        assert!(!Lock::is_free(dir.path(), "blog").unwrap());
        let error = Lock::take(dir.path(), "blog", "rollback blog", now).unwrap_err();
        let fault = error.downcast_ref::<Fault>().unwrap();
        assert_eq!(fault.code, Code::Busy);
        assert!(fault.message.contains("`deploy blog` (process "), "{fault}");
        drop(held);
        assert!(Lock::is_free(dir.path(), "blog").unwrap() && Lock::is_free(dir.path(), "other").unwrap());
        Lock::take(dir.path(), "blog", "rollback blog", now).unwrap();
    }

    #[test]
    fn a_lock_that_is_held_for_a_moment_is_nobodys_work() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path(), "blog", "deploy blog", Timestamp::now()).unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        Lock::take(dir.path(), "blog", "rollback blog", Timestamp::now()).unwrap();
        other.join().unwrap();
    }

    #[test]
    fn short_work_of_others_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::take(dir.path(), "host", "provision blog", Timestamp::now()).unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(PACE * 40);
            drop(held);
        });
        Lock::wait(dir.path(), "host", "provision shop", &crate::system::clock::System).unwrap();
        other.join().unwrap();
    }
}
