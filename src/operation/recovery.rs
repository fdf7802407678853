//! Undoing what an interrupted process left. Runs first in every command that changes the host.

use std::path::Path;

use anyhow::{Context, Result};

use super::roll_back;
use crate::{
    event::{Event, Ui},
    store::{OpenOperation, Store},
    system::{Host, lock::Lock},
};

/// The name of the lock that stands for an owner: a project, or the host.
pub fn lock_name(owner: &str) -> &str {
    if owner.is_empty() { ".host" } else { owner }
}

/// Undoes every operation whose process is gone.
///
/// A process holds its owner's lock as long as it lives, so an open operation whose lock is free, or
/// held by this very process (`held`), is a dead one's. The others are left alone.
pub fn recover(
    held: &str,
    locks: &Path,
    host: &mut Host,
    store: &mut Store,
    ui: &mut dyn Ui,
) -> Result<usize> {
    let mut undone = 0;
    for open in store.open_operations()? {
        let OpenOperation { id, verb, owner } = &open;
        let _lock = if owner == held {
            None
        } else {
            match Lock::attempt(locks, lock_name(owner), &format!("recover {owner}"), host.clock.now())? {
                Ok(lock) => Some(lock),
                Err(_) => continue,
            }
        };
        // It may have ended between the list and the lock.
        if !store.is_open(*id)? {
            continue;
        }
        ui.emit(Event::Recovering { operation: *id, verb });
        let undoing = roll_back(*id, "interrupted; undone by a later command", host, store)
            .with_context(|| format!("undoing operation {id} (`{verb} {owner}`), which was interrupted"));
        match undoing {
            Ok(()) => undone += 1,
            // What is not this command's concern must not stop it.
            Err(error) if owner != held => {
                ui.emit(Event::Warned { message: &format!("{error:#}; run `hostkit repair`") });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(undone)
}
