//! `build` of `hostkit.toml`: a command, several, or a table that also says how much they may use.

use super::{
    commands,
    table::{Shape, Value},
};
use crate::{
    domain::{command::StartCommand, fault::Fault, size},
    project::limits::Limits,
};

/// The keys of the table.
const KEYS: &[&str] = &["commands", "memory", "disk", "timeout", "tasks", "cpu"];

pub(super) fn read(value: &Value<'_>) -> Result<(Option<Vec<StartCommand>>, Limits), Fault> {
    if value.shape() != Shape::Other {
        return Ok((Some(commands(value)?), Limits::default()));
    }
    let table = value.table("a command, a list of commands or a table")?;
    table.allow(KEYS)?;
    let bytes = |key, (least, most): (u64, u64)| {
        let read = |value: Value<'_>| {
            let bytes = size::parse(value.string()?).map_err(|wrong| value.fault(&wrong))?;
            if (least..=most).contains(&bytes) {
                return Ok(bytes);
            }
            Err(value.fault(&format!("`{key}` is a size of at least {}", size::text(least))))
        };
        table.get(key).map(read).transpose()
    };
    let number = |key, (least, most): (u32, u32)| {
        let read = |value: Value<'_>| match u32::try_from(value.integer()?) {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(value.fault(&format!("`{key}` is a number from {least} to {most}"))),
        };
        table.get(key).map(read).transpose()
    };
    let limits = Limits {
        memory: bytes("memory", Limits::MEMORY)?,
        disk: bytes("disk", Limits::DISK)?,
        timeout: number("timeout", Limits::TIMEOUT)?,
        tasks: number("tasks", Limits::TASKS)?,
        cpu: number("cpu", Limits::CPU)?,
    };
    Ok((table.get("commands").map(|value| commands(&value)).transpose()?, limits))
}
