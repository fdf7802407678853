//! Going through a tree with more than one thread: what costs are the system calls, a handful for each
//! file. Each takes a directory, all of it, and leaves those below it to whoever is free.

use std::{
    num::NonZero,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::Result;

/// Directories that wait, and how many are being gone through.
struct Queue {
    waiting: Vec<String>,
    taken: usize,
    failed: Option<anyhow::Error>,
}

/// What those who go through a tree share.
struct Shared {
    queue: Mutex<Queue>,
    change: Condvar,
}

/// Calls `visit` for the directory `start` and for every one that a call names. Each thread has a value of
/// its own, made by `begin`; all of them are returned.
pub(super) fn go_through<T: Send>(
    start: &str,
    begin: impl Fn() -> T + Sync,
    visit: impl Fn(&mut T, &str) -> Result<Vec<String>> + Sync,
) -> Result<Vec<T>> {
    let queue = Queue { waiting: vec![start.to_owned()], taken: 0, failed: None };
    let shared = Shared { queue: Mutex::new(queue), change: Condvar::new() };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(4);
    let work = || {
        let mut own = begin();
        while let Some(dir) = shared.next() {
            shared.done(visit(&mut own, &dir));
        }
        own
    };
    let all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = vec![work()];
        all.extend(others.into_iter().map(|other| other.join().expect("a visit does not panic")));
        all
    });
    match shared.queue.into_inner().unwrap_or_else(PoisonError::into_inner).failed {
        Some(error) => Err(error),
        None => Ok(all),
    }
}

impl Shared {
    fn next(&self) -> Option<String> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.failed.is_some() {
                return None;
            }
            if let Some(dir) = queue.waiting.pop() {
                queue.taken += 1;
                return Some(dir);
            }
            if queue.taken == 0 {
                return None;
            }
            queue = self.change.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, done: Result<Vec<String>>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.taken -= 1;
        match done {
            Ok(below) => queue.waiting.extend(below),
            Err(error) => {
                queue.failed.get_or_insert(error);
            }
        }
        self.change.notify_all();
    }
}
