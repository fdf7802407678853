//! The service manager.
//!
//! Whether a unit runs, and since when, is read from the link that systemd keeps for every unit that
//! is up: that needs no child process. What changes a unit goes through `systemctl`.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context, Result};

use super::{
    Meta, Root,
    build::{self, Ending},
    exec::Tool,
    job::{self, End, Job},
};
use crate::domain::{
    fault::{Code, Fault},
    layout::{self, HostPath, UnitName},
};

/// A unit as `systemctl list-units` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStatus {
    /// `active`, `activating`, `failed`, …
    pub active: String,
    /// `running`, `auto-restart`, …
    pub sub: String,
}

impl UnitStatus {
    /// Whether its process is down and will be started again by systemd itself.
    pub fn is_waiting(&self) -> bool {
        self.active == "activating" && self.sub == "auto-restart"
    }
}

/// What is known of a unit that did not do what it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Postmortem {
    /// `success`, `exit-code`, `oom-kill`, `start-limit-hit`, …
    pub result: String,
    /// The exit status or signal of its main process.
    pub status: String,
}

impl Postmortem {
    /// Whether its process came to its own end, without an error.
    pub fn is_well(&self) -> bool {
        self.result == "success"
    }
}

/// Changing units.
pub trait Systemd: fmt::Debug {
    /// Reads all unit files again.
    fn reload(&mut self) -> Result<()>;
    /// Starts a unit, or stops and starts it when it runs.
    fn restart(&mut self, unit: &UnitName) -> Result<()>;
    /// Stops a unit; fine when it does not run.
    fn stop(&mut self, unit: &UnitName) -> Result<()>;
    /// Asks units to stop, all at the same time, and waits for none of them.
    fn end_together(&mut self, units: &[&UnitName]) -> Result<()>;
    /// Stops a unit that was made for once, and forgets how it ended.
    fn forget(&mut self, unit: &UnitName) -> Result<()>;
    /// Every unit of HostKit's that systemd knows, in one call.
    fn list(&self) -> Result<BTreeMap<String, UnitStatus>>;
    /// How a unit ended.
    fn postmortem(&self, unit: &UnitName) -> Result<Postmortem>;
    /// Runs one command of a build in a unit of its own, and waits until nothing of it is left. `hear` gets
    /// every line it writes. Says how it ended; fails only where it could not be run.
    fn work(&mut self, job: &build::Job, hear: &mut dyn FnMut(&str)) -> Result<Ending>;
    /// Runs a program once, hands on every line it writes, and waits until nothing of it is left.
    fn run(&mut self, job: &Job, said: &mut dyn FnMut(&str)) -> Result<End>;
    /// Starts a program in a unit of its own that outlives this process. With `stdin` it reads what this
    /// process would have read.
    fn detach(&mut self, job: &Job, stdin: bool) -> Result<()>;
    /// Runs a program every so often until its timer is stopped, or the host is. The timer has the name of
    /// the program's unit.
    fn repeat(&mut self, job: &Job, every: Duration) -> Result<()>;
    /// How often systemd has started a unit again by itself since somebody started it.
    fn restarts(&self, unit: &UnitName) -> Result<u32>;
    /// Asks the main process of a unit to stop, as Ctrl-C does.
    fn interrupt(&mut self, unit: &UnitName) -> Result<()>;
    /// Checks a unit file's text with systemd's own judge.
    fn verify(&self, unit: &UnitName, text: &str) -> Result<()>;
}

/// Which start of a unit is running: systemd's invocation id, and when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// A new one for every start.
    pub id: String,
    /// The link that carries it; it is as old as the start.
    pub meta: Meta,
}

/// The running invocation of a unit, or `None` when it is down or waiting to be started again.
pub fn invocation(root: &Root, unit: &UnitName) -> Result<Option<Invocation>> {
    let link = HostPath::fixed("/run/systemd/units").join(&format!("invocation:{unit}"));
    let (Some(id), Some(meta)) = (root.target(&link)?, root.meta(&link)?) else { return Ok(None) };
    Ok(Some(Invocation { id, meta }))
}

/// `systemctl`.
#[derive(Debug)]
pub struct Systemctl;

pub(super) fn systemctl() -> Result<Tool> {
    Tool::find("systemctl", "systemd")
}

impl Systemd for Systemctl {
    fn reload(&mut self) -> Result<()> {
        systemctl()?.run(["daemon-reload"]).context("having systemd read its unit files again")?;
        Ok(())
    }
    fn restart(&mut self, unit: &UnitName) -> Result<()> {
        let ran = systemctl()?.output(["restart", "--quiet", unit.as_str()])?;
        if ran.status.success() {
            return Ok(());
        }
        // A unit that failed too often refuses to start until it is forgiven.
        systemctl()?.output(["reset-failed", unit.as_str()])?;
        let again = systemctl()?.output(["restart", "--quiet", unit.as_str()])?;
        if again.status.success() {
            return Ok(());
        }
        let end = self.postmortem(unit)?;
        let said = super::exec::tail(&again.stderr).lines().next().unwrap_or_default().to_owned();
        Err(Fault::new(
            Code::Unhealthy,
            format!("`{unit}` does not start: {} {} {said}", end.result, end.status).trim_end(),
        )
        .next(format!("systemctl status {unit}"))
        .into())
    }
    fn stop(&mut self, unit: &UnitName) -> Result<()> {
        systemctl()?.run(["stop", "--quiet", unit.as_str()]).with_context(|| format!("stopping `{unit}`"))?;
        Ok(())
    }
    fn end_together(&mut self, units: &[&UnitName]) -> Result<()> {
        let words =
            ["stop", "--quiet", "--no-block"].into_iter().chain(units.iter().map(|unit| unit.as_str()));
        systemctl()?.run(words.collect::<Vec<_>>()).context("asking processes to end")?;
        Ok(())
    }
    fn forget(&mut self, unit: &UnitName) -> Result<()> {
        // One that has ended well is not there, and says so.
        systemctl()?.output(["stop", "--quiet", unit.as_str()])?;
        job::forget(unit)
    }
    fn list(&self) -> Result<BTreeMap<String, UnitStatus>> {
        let ran =
            systemctl()?.run(["list-units", "--all", "--plain", "--no-legend", "--no-pager", "hostkit-*"])?;
        Ok(parse_list(&ran.stdout))
    }
    fn postmortem(&self, unit: &UnitName) -> Result<Postmortem> {
        postmortem(unit)
    }
    fn run(&mut self, job: &Job, said: &mut dyn FnMut(&str)) -> Result<End> {
        job::run(job, said, &mut || Ok(false))
    }
    fn detach(&mut self, job: &Job, stdin: bool) -> Result<()> {
        job::detach(job, stdin)
    }
    fn repeat(&mut self, job: &Job, every: Duration) -> Result<()> {
        job::repeat(job, every)
    }
    fn restarts(&self, unit: &UnitName) -> Result<u32> {
        let ran = systemctl()?.run(["show", "--value", "-p", "NRestarts", unit.as_str()])?;
        Ok(ran.stdout.trim().parse().unwrap_or_default())
    }
    fn interrupt(&mut self, unit: &UnitName) -> Result<()> {
        job::interrupt(unit)
    }
    fn work(&mut self, job: &build::Job, hear: &mut dyn FnMut(&str)) -> Result<Ending> {
        build::run(job, hear)
    }
    fn verify(&self, unit: &UnitName, text: &str) -> Result<()> {
        // In a directory of root's alone: a name in /tmp could be somebody else's link.
        let dir = layout::host::run().join(&format!("verify-{}", std::process::id()));
        std::fs::create_dir_all(dir.as_path()).with_context(|| format!("making `{dir}`"))?;
        let file = dir.join(unit.as_str());
        let judged = std::fs::write(file.as_path(), text).map_err(Into::into).and_then(|()| {
            Tool::find("systemd-analyze", "systemd")?.output(["verify".as_ref(), file.as_path().as_os_str()])
        });
        std::fs::remove_dir_all(dir.as_path())?;
        let judged = judged?;
        let own = |l: &&str| l.contains(unit.as_str());
        let complaint = judged.stderr.lines().filter(own).collect::<Vec<_>>().join("; ");
        if complaint.is_empty() {
            return Ok(());
        }
        Err(Fault::new(
            Code::InvalidTemplate,
            format!("systemd refuses the unit made from the template: {complaint}"),
        )
        .next("mend or remove `/etc/hostkit/templates/unit.service`")
        .into())
    }
}

/// How a unit ended, as systemd has it.
pub(super) fn postmortem(unit: &UnitName) -> Result<Postmortem> {
    let ran = systemctl()?.run(["show", "-p", "Result,ExecMainStatus,ExecMainCode", unit.as_str()])?;
    let field = |name: &str| {
        let found = ran.stdout.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().to_owned()
    };
    let kind = if field("ExecMainCode") == "1" { "exit status" } else { "signal" };
    Ok(Postmortem { result: field("Result"), status: format!("{kind} {}", field("ExecMainStatus")) })
}

fn parse_list(text: &str) -> BTreeMap<String, UnitStatus> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next()?.to_owned();
            let active = fields.nth(1)?.to_owned();
            Some((name, UnitStatus { active, sub: fields.next()?.to_owned() }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_units_is_read() {
        let list = parse_list(
            "hostkit-blog.service loaded active running HostKit project blog\n\
             hostkit-shop.service loaded activating auto-restart HostKit project shop\n",
        );
        assert_eq!(
            list["hostkit-blog.service"],
            UnitStatus { active: "active".into(), sub: "running".into() }
        );
        assert_eq!(list["hostkit-shop.service"].sub, "auto-restart");
    }
}
