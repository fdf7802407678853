//! `[processes]`: what runs besides what answers requests.

use super::start;
use super::table::{Shape, Value};
use crate::domain::command::StartCommand;
use crate::domain::fault::Fault;
use crate::project::process::{Cron, Process, is_name};

/// The command of `web`, if it is there, and all other processes in the order of their names.
pub(super) fn read(value: &Value<'_>) -> Result<(Option<StartCommand>, Vec<Process>), Fault> {
    let table = value.table("a table")?;
    let (mut web, mut others) = (None, Vec::new());
    for (name, value) in table.entries() {
        if !is_name(name) {
            return Err(
                value.fault("the name of a process is made of at most 32 letters, digits, `-` and `_`")
            );
        }
        match (name, value.shape()) {
            ("web", _) => web = Some(start(&value)?),
            (_, Shape::Other) => others.push(timed(name, &value)?),
            _ => others.push(Process { name: name.to_owned(), command: start(&value)?, at: None }),
        }
    }
    Ok((web, others))
}

/// `NAME = { cron = "TIMES", command = "…" }`.
fn timed(name: &str, value: &Value<'_>) -> Result<Process, Fault> {
    let table = value.table("a command, or a table with `cron` and `command`")?;
    table.allow(&["cron", "command"])?;
    let Some(command) = table.get("command") else {
        return Err(value.fault(&format!("`{name}` has no `command`")));
    };
    let cron = |value: Value<'_>| value.string()?.parse::<Cron>().map_err(|fault| value.relabel(fault));
    let at = table.get("cron").map(cron).transpose()?;
    Ok(Process { name: name.to_owned(), command: start(&command)?, at })
}
